//! A market and an account at one moment, in exact numbers.

use crate::error::{Error, Result};
use crate::margin::{AMOUNT_MAX, Position};
use crate::units::{Decimal, Instrument, pow10};

/// Best prices, mark and instrument of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Market {
    /// Grids, contract size, minimum order.
    pub instrument: Instrument,
    /// Best bid in ticks, positive.
    pub best_bid_ticks: i64,
    /// Best ask in ticks, above the best bid.
    pub best_ask_ticks: i64,
    /// Mark price, positive.
    pub mark: Decimal,
    /// Last traded price, positive.
    pub last: Decimal,
}

/// A price as ticks.
///
/// # Errors
/// Names `argument` when the price is not positive, off the price grid, or too large.
pub fn ticks(argument: &'static str, price: Decimal, instrument: &Instrument) -> Result<i64> {
    match price.steps(instrument.tick) {
        Some((count, true)) if count > 0 && count <= AMOUNT_MAX => {
            if instrument.price_floor(count) == count {
                Ok(count)
            } else {
                Err(Error::new(argument, "a price with the significant figures the venue allows", price))
            }
        }
        Some((_, false)) if price.mantissa() > 0 => Err(Error::new(argument, "a multiple of the tick", price)),
        Some((count, _)) if count <= 0 => Err(Error::new(argument, "positive", price)),
        _ => Err(Error::new(argument, "below 2^53 ticks", price)),
    }
}

/// A size as lots, signed.
///
/// # Errors
/// Names `argument` when the size is off the lot grid or too large.
pub fn lots(argument: &'static str, size: Decimal, instrument: &Instrument) -> Result<i64> {
    match size.steps(instrument.lot) {
        Some((count, true)) if count.unsigned_abs() <= AMOUNT_MAX.unsigned_abs() => Ok(count),
        Some((_, false)) => Err(Error::new(argument, "a multiple of the lot", size)),
        _ => Err(Error::new(argument, "below 2^53 lots", size)),
    }
}

fn positive(argument: &'static str, value: Decimal) -> Result<Decimal> {
    if value.mantissa() > 0 { Ok(value) } else { Err(Error::new(argument, "positive", value)) }
}

impl Market {
    /// Checks and converts a market given in decimals. `last` defaults to the mark.
    ///
    /// # Errors
    /// Names the argument that is off its grid, not positive, or crossed.
    pub fn new(
        instrument: Instrument,
        bid: Decimal,
        ask: Decimal,
        mark: Decimal,
        last: Option<Decimal>,
    ) -> Result<Self> {
        let instrument = instrument.checked()?;
        let market = Self {
            best_bid_ticks: ticks("bid", bid, &instrument)?,
            best_ask_ticks: ticks("ask", ask, &instrument)?,
            mark: positive("mark", mark)?,
            last: positive("last", last.unwrap_or(mark))?,
            instrument,
        };
        market.uncrossed(ask)
    }

    fn uncrossed(self, ask: impl std::fmt::Display) -> Result<Self> {
        if self.best_ask_ticks > self.best_bid_ticks {
            Ok(self)
        } else {
            Err(Error::new("ask", "above the best bid", ask))
        }
    }

    /// The same symbol at other prices; what is not given stays.
    ///
    /// # Errors
    /// As [`Market::new`].
    pub fn moved(
        mut self,
        bid: Option<Decimal>,
        ask: Option<Decimal>,
        mark: Option<Decimal>,
        last: Option<Decimal>,
    ) -> Result<Self> {
        if let Some(bid) = bid {
            self.best_bid_ticks = ticks("bid", bid, &self.instrument)?;
        }
        if let Some(ask) = ask {
            self.best_ask_ticks = ticks("ask", ask, &self.instrument)?;
        }
        if let Some(mark) = mark {
            self.mark = positive("mark", mark)?;
        }
        if let Some(last) = last {
            self.last = positive("last", last)?;
        }
        if self.best_ask_ticks > self.best_bid_ticks {
            return Ok(self);
        }
        let got = format!("{} ticks over a bid of {} ticks", self.best_ask_ticks, self.best_bid_ticks);
        Err(Error::new(if ask.is_some() || bid.is_none() { "ask" } else { "bid" }, "an uncrossed market", got))
    }
}

/// Margin, position and limits of one account in one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Equity − position margin − margin of orders that are not being replaced, in micro-units (rounded down). Not negative.
    pub margin_available: i64,
    /// Net position in lots, long positive.
    pub position_lots: i64,
    /// Lots held long and short at once in hedge mode, else zero.
    pub hedged_lots: i64,
    /// Leverage, at least 1.
    pub leverage: Decimal,
    /// Limit on |position| in lots (rounded down). Not negative.
    pub position_max_lots: i64,
    /// Equity in micro-units (rounded down), where the caller knows it.
    pub equity: Option<i64>,
}

/// An amount of account currency as micro-units, rounded down.
///
/// # Errors
/// Names `argument` when the amount leaves ±(2⁵³ − 1) micro-units.
pub fn micros(argument: &'static str, amount: Decimal) -> Result<i64> {
    match amount.floor_units(6) {
        Some(value) if value.unsigned_abs() <= AMOUNT_MAX.unsigned_abs() => Ok(value),
        _ => Err(Error::new(argument, "below 2^53 micro-units", amount)),
    }
}

/// A leverage of at least 1.
///
/// # Errors
/// Names `leverage` when it is below 1.
pub fn leverage(value: Decimal) -> Result<Decimal> {
    let one = pow10(u32::from(value.scale()));
    if i128::from(value.mantissa()) >= one { Ok(value) } else { Err(Error::new("leverage", "at least 1", value)) }
}

impl Account {
    /// Checks and converts an account given in decimals, for one instrument.
    ///
    /// `margin_available` below zero means nothing may be added and reads as zero.
    ///
    /// # Errors
    /// Names the argument that is off its grid or out of range.
    pub fn new(
        instrument: &Instrument,
        margin_available: Decimal,
        position: Decimal,
        leverage_given: Decimal,
        position_max: Decimal,
        equity: Option<Decimal>,
    ) -> Result<Self> {
        if position_max.mantissa() < 0 {
            return Err(Error::new("position_max", "at least 0", position_max));
        }
        let too_large = || Error::new("position_max", "below 2^53 lots", position_max);
        let (position_max_lots, _) = position_max.steps(instrument.lot).ok_or_else(too_large)?;
        if position_max_lots > AMOUNT_MAX {
            return Err(too_large());
        }
        Ok(Self {
            margin_available: micros("margin_available", margin_available)?.max(0),
            position_lots: lots("position", position, instrument)?,
            hedged_lots: 0,
            leverage: leverage(leverage_given)?,
            position_max_lots,
            equity: equity.map(|value| micros("equity", value)).transpose()?,
        })
    }

    /// The position as the margin rules take it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { lots: self.position_lots, hedged_lots: self.hedged_lots }
    }
}
