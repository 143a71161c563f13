//! The charge of one lot: price basis × rate + fee reserve + open loss, as an exact fraction of micro-units.

use crate::error::{Error, Result};
use crate::market;
use crate::units::{Decimal, Side, div_ceil};

use super::{FeeReserve, MarginContext, OrderMarginRule, PriceBasis, Ratio, Tiers, overflow};

const POW10: [i128; 39] = {
    let mut table = [1_i128; 39];
    let mut index = 1;
    while index < 39 {
        table[index] = table[index - 1] * 10;
        index += 1;
    }
    table
};

/// Exact micro-units per lot, `num / den` with `num ≥ 0`, `den > 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChargeRate {
    /// Numerator in micro-units.
    pub num: i128,
    /// Denominator in lots.
    pub den: i128,
}

impl ChargeRate {
    /// Nothing is charged.
    pub const ZERO: Self = Self { num: 0, den: 1 };

    /// Charge of `lots`, rounded up to one micro-unit; saturates where it leaves `i64`, so that it fits no budget.
    #[must_use]
    pub fn charge(&self, lots: i64) -> i64 {
        self.checked_charge(lots).unwrap_or(i64::MAX)
    }

    /// Charge of `lots`, rounded up to one micro-unit; `None` where it leaves `i64` or the product leaves `i128`.
    #[must_use]
    pub fn checked_charge(&self, lots: i64) -> Option<i64> {
        // Nearly every charge fits 64 bits, where a division costs a third.
        if let (Ok(num), Ok(den)) = (i64::try_from(self.num), i64::try_from(self.den))
            && let Some(product) = num.checked_mul(lots)
        {
            return Some(product / den + i64::from(product % den > 0));
        }
        i64::try_from(div_ceil(self.num.checked_mul(i128::from(lots))?, self.den)).ok()
    }

    /// Largest number of lots whose charge is at most `budget` micro-units; `i64::MAX` where a lot costs nothing, 0 for a
    /// negative budget.
    #[must_use]
    pub fn lots_within(&self, budget: i64) -> i64 {
        if budget < 0 {
            return 0;
        }
        if self.num == 0 {
            return i64::MAX;
        }
        // ⌈n·x⌉ ≤ b ⇔ n·x ≤ b for integers b, so flooring b / x is exact.
        if let (Ok(num), Ok(den)) = (i64::try_from(self.num), i64::try_from(self.den))
            && let Some(product) = budget.checked_mul(den)
        {
            return product / num;
        }
        match i128::from(budget).checked_mul(self.den) {
            Some(product) => i64::try_from(product / self.num).unwrap_or(i64::MAX),
            None => self.lots_within_by_search(budget),
        }
    }

    fn lots_within_by_search(&self, budget: i64) -> i64 {
        let (mut low, mut high) = (0_i64, i64::MAX);
        while low < high {
            let middle = low + (high - low) / 2 + (high - low) % 2;
            if self.checked_charge(middle).is_some_and(|charge| charge <= budget) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// Micro-units per lot as the nearest float, for the optimizer.
    #[must_use]
    pub fn per_lot(&self) -> f64 {
        // Both conversions round to nearest, the short one in one instruction.
        let float = |value: i128| i64::try_from(value).map_or(value as f64, |short| short as f64);
        float(self.num) / float(self.den)
    }

    /// Micro-units of one lot, rounded up: the integer rate of `larger_leg`.
    #[must_use]
    pub fn per_lot_ceil(&self) -> Option<i64> {
        self.checked_charge(1)
    }
}

/// `num / den · 10^exp` with `den > 0`: products cancel powers of ten before they can overflow.
#[derive(Clone, Copy, Debug)]
struct Scaled {
    num: i128,
    den: i128,
    exp: i32,
}

fn shifted(value: i128, exponent: i32) -> Option<i128> {
    value.checked_mul(*POW10.get(usize::try_from(exponent).ok()?)?)
}

impl Scaled {
    fn ratio(ratio: Ratio) -> Self {
        Self { num: ratio.num(), den: ratio.den(), exp: 0 }
    }

    fn times(self, other: Self) -> Option<Self> {
        let exp = self.exp + other.exp;
        match (self.num.checked_mul(other.num), self.den.checked_mul(other.den)) {
            (Some(num), Some(den)) => Some(Self { num, den, exp }),
            _ => {
                // Cross-cancel and try once more; rare enough to pay for the gcd.
                let (a, b) = (Ratio::new(self.num, other.den)?, Ratio::new(other.num, self.den)?);
                Some(Self { num: a.num().checked_mul(b.num())?, den: a.den().checked_mul(b.den())?, exp })
            }
        }
    }

    fn over(self, other: Self) -> Option<Self> {
        self.times(Self { num: other.den, den: other.num, exp: -other.exp })
    }

    fn plus(self, other: Self) -> Option<Self> {
        let exp = self.exp.min(other.exp);
        let left = shifted(self.num.checked_mul(other.den)?, self.exp - exp)?;
        let right = shifted(other.num.checked_mul(self.den)?, other.exp - exp)?;
        Some(Self { num: left.checked_add(right)?, den: self.den.checked_mul(other.den)?, exp })
    }

    fn negated(self) -> Self {
        Self { num: -self.num, ..self }
    }

    fn fraction(self) -> Option<(i128, i128)> {
        if self.exp >= 0 {
            Some((shifted(self.num, self.exp)?, self.den))
        } else {
            Some((self.num, shifted(self.den, -self.exp)?))
        }
    }

    fn rate(self) -> Option<ChargeRate> {
        self.fraction().map(|(num, den)| ChargeRate { num, den })
    }
}

impl From<Decimal> for Scaled {
    fn from(value: Decimal) -> Self {
        Self { num: i128::from(value.mantissa()), den: 1, exp: -i32::from(value.scale()) }
    }
}

impl From<i64> for Scaled {
    fn from(value: i64) -> Self {
        Self { num: i128::from(value), den: 1, exp: 0 }
    }
}

/// What orders of one side cost by their price in ticks.
#[derive(Clone, Copy, Debug)]
struct SidePricer {
    /// Linear: micro-units per lot and tick. Inverse: micro-units × ticks per lot.
    unit: (i128, i128),
    /// Orders at or beyond this range of ticks are charged at a price of their own.
    limit_from: i64,
    limit_to: i64,
    /// Charge below `limit_from` and above `limit_to`.
    below: ChargeRate,
    above: ChargeRate,
}

/// Charges at one market, leverage and worst-case exposure. Cheap to build (one per quote or event) and cheaper to ask.
#[derive(Clone, Copy, Debug)]
pub struct Pricer {
    bid: SidePricer,
    ask: SidePricer,
    position: ChargeRate,
    inverse: bool,
    loss: Option<LossPricer>,
}

/// Open loss: what an order would lose against the mark if it filled now.
#[derive(Clone, Copy, Debug)]
struct LossPricer {
    lot_value: Scaled,
    tick: Scaled,
    mark: Scaled,
    mark_ticks_floor: i64,
    mark_ticks_ceil: i64,
}

impl LossPricer {
    fn rate(&self, side: Side, price_ticks: i64, inverse: bool) -> Option<ChargeRate> {
        let loses = match side {
            Side::Bid => price_ticks > self.mark_ticks_floor,
            Side::Ask => price_ticks < self.mark_ticks_ceil,
        };
        if !loses {
            return Some(ChargeRate::ZERO);
        }
        let price = self.tick.times(Scaled::from(price_ticks))?;
        let one = Scaled::from(1);
        let (near, far) = match (side, inverse) {
            (Side::Bid, false) | (Side::Ask, true) => (price, self.mark),
            (Side::Ask, false) | (Side::Bid, true) => (self.mark, price),
        };
        let loss = if inverse { one.over(near)?.plus(one.over(far)?.negated())? } else { near.plus(far.negated())? };
        self.lot_value.times(loss)?.rate()
    }
}

impl Pricer {
    /// Prepares the charges of `rule` at `ctx` for a worst-case exposure of `lots_worst` lots (only tiers look at it).
    ///
    /// # Errors
    /// The context is out of range, or an amount leaves 128 bits.
    pub fn new(rule: &OrderMarginRule, ctx: &MarginContext<'_>, lots_worst: i64) -> Result<Self> {
        market::leverage(ctx.leverage)?;
        for (argument, price) in [("mark", ctx.mark), ("last", ctx.last)] {
            if price.mantissa() <= 0 {
                return Err(Error::new(argument, "positive", price));
            }
        }
        Self::build(rule, ctx, lots_worst).ok_or_else(|| overflow("market", ctx.mark))
    }

    fn build(rule: &OrderMarginRule, ctx: &MarginContext<'_>, lots_worst: i64) -> Option<Self> {
        let instrument = ctx.instrument;
        let mut lot_value = Scaled::from(instrument.lot).times(Scaled::from(instrument.contract_value))?;
        lot_value.exp += 6;
        let margin = margin_rate(rule, ctx, lots_worst)?;
        let side = |side: Side, basis: PriceBasis| {
            SidePricer::build(ctx, lot_value, order_rate(rule, ctx, margin, side)?, basis)
        };
        let position_price = match basis_floor(rule.position_price, ctx)? {
            Some((_, price)) => price,
            None => Scaled::from(ctx.mark),
        };
        let loss = if rule.open_loss { Some(LossPricer::build(ctx, lot_value)?) } else { None };
        Some(Self {
            bid: side(Side::Bid, rule.buy_price)?,
            ask: side(Side::Ask, rule.sell_price)?,
            position: value(instrument.inverse, lot_value, position_price)?.times(margin)?.rate()?,
            inverse: instrument.inverse,
            loss,
        })
    }

    /// Charge of one order per lot: margin at the charged price, fee reserve, buffer and open loss.
    ///
    /// # Errors
    /// The price is not positive, or the charge leaves 128 bits.
    pub fn charge_rate(&self, side: Side, price_ticks: i64) -> Result<ChargeRate> {
        let bare = self.bare_rate(side, price_ticks)?;
        if self.loss.is_none() {
            return Ok(bare);
        }
        let loss = self.loss_rate(side, price_ticks)?;
        if loss.num == 0 {
            return Ok(bare);
        }
        let (bare, loss) =
            (Scaled { num: bare.num, den: bare.den, exp: 0 }, Scaled { num: loss.num, den: loss.den, exp: 0 });
        bare.plus(loss).and_then(Scaled::rate).ok_or_else(|| overflow("price_ticks", price_ticks))
    }

    /// The charge without the open loss.
    ///
    /// # Errors
    /// As [`Pricer::charge_rate`].
    pub fn bare_rate(&self, side: Side, price_ticks: i64) -> Result<ChargeRate> {
        if price_ticks <= 0 {
            return Err(Error::new("price_ticks", "positive", price_ticks));
        }
        let pricer = match side {
            Side::Bid => &self.bid,
            Side::Ask => &self.ask,
        };
        if price_ticks < pricer.limit_from {
            return Ok(pricer.below);
        }
        if price_ticks > pricer.limit_to {
            return Ok(pricer.above);
        }
        let (num, den) = pricer.unit;
        let scaled = if self.inverse {
            den.checked_mul(i128::from(price_ticks)).map(|den| ChargeRate { num, den })
        } else {
            num.checked_mul(i128::from(price_ticks)).map(|num| ChargeRate { num, den })
        };
        scaled.ok_or_else(|| overflow("price_ticks", price_ticks))
    }

    /// Open loss of one order per lot; zero where the rule does not charge it.
    ///
    /// # Errors
    /// The amount leaves 128 bits.
    pub fn loss_rate(&self, side: Side, price_ticks: i64) -> Result<ChargeRate> {
        let Some(loss) = &self.loss else { return Ok(ChargeRate::ZERO) };
        loss.rate(side, price_ticks, self.inverse).ok_or_else(|| overflow("price_ticks", price_ticks))
    }

    /// Margin of the position per lot.
    #[must_use]
    pub fn position_rate(&self) -> ChargeRate {
        self.position
    }
}

impl LossPricer {
    fn build(ctx: &MarginContext<'_>, lot_value: Scaled) -> Option<Self> {
        let (floor, exact) = ctx.mark.steps(ctx.instrument.tick)?;
        Some(Self {
            lot_value,
            tick: Scaled::from(ctx.instrument.tick),
            mark: Scaled::from(ctx.mark),
            mark_ticks_floor: floor,
            mark_ticks_ceil: floor.checked_add(i64::from(!exact))?,
        })
    }
}

impl SidePricer {
    fn build(ctx: &MarginContext<'_>, lot_value: Scaled, rate: Scaled, basis: PriceBasis) -> Option<Self> {
        let (inverse, tick) = (ctx.instrument.inverse, Scaled::from(ctx.instrument.tick));
        let weight = lot_value.times(rate)?;
        let unit = value(inverse, weight, tick)?.fraction()?;
        let at = |price: Scaled| value(inverse, weight, price)?.rate();
        let mut pricer =
            Self { unit, limit_from: i64::MIN, limit_to: i64::MAX, below: ChargeRate::ZERO, above: ChargeRate::ZERO };
        match basis {
            PriceBasis::Limit => {}
            PriceBasis::LimitOrBestBid => {
                pricer.limit_from = ctx.best_bid_ticks;
                pricer.below = at(tick.times(Scaled::from(ctx.best_bid_ticks))?)?;
            }
            PriceBasis::LimitOrBestAsk => {
                pricer.limit_to = ctx.best_ask_ticks;
                pricer.above = at(tick.times(Scaled::from(ctx.best_ask_ticks))?)?;
            }
            PriceBasis::Mark => {
                pricer.limit_from = i64::MAX;
                pricer.below = at(Scaled::from(ctx.mark))?;
                pricer.above = pricer.below;
            }
            PriceBasis::LastMarkLimit { .. } => {
                let (ticks, price) = basis_floor(basis, ctx)??;
                pricer.limit_from = ticks;
                pricer.below = at(price)?;
            }
        }
        Some(pricer)
    }
}

/// Value of `weight` at a price: proportional for linear contracts, inversely for inverse ones.
fn value(inverse: bool, weight: Scaled, price: Scaled) -> Option<Scaled> {
    if inverse { weight.over(price) } else { weight.times(price) }
}

/// `max(last · (1 + premium), mark)` with the first tick at or above it; `None` inside for bases without such a floor.
fn basis_floor(basis: PriceBasis, ctx: &MarginContext<'_>) -> Option<Option<(i64, Scaled)>> {
    let PriceBasis::LastMarkLimit { premium } = basis else { return Some(None) };
    let grown = Scaled::from(Decimal::ONE).plus(Scaled::from(premium))?;
    let lifted = Scaled::from(ctx.last).times(grown)?;
    let mark = Scaled::from(ctx.mark);
    let price = if lifted.plus(mark.negated())?.num >= 0 { lifted } else { mark };
    let (num, den) = price.over(Scaled::from(ctx.instrument.tick))?.fraction()?;
    Some(Some((i64::try_from(div_ceil(num, den)).ok()?, price)))
}

/// Margin rate of the exposure: `1 / L`, or the tier's average where that is higher.
fn margin_rate(rule: &OrderMarginRule, ctx: &MarginContext<'_>, lots_worst: i64) -> Option<Scaled> {
    let leverage = Scaled::from(ctx.leverage);
    if matches!(rule.tiers, Tiers::None) {
        return Scaled::from(1).over(leverage);
    }
    let instrument = ctx.instrument;
    let size = Ratio::from(instrument.lot).mul(Ratio::new(i128::from(lots_worst), 1)?)?;
    let price = Ratio::from(ctx.mark);
    let price = if instrument.inverse { price.inverted()? } else { price };
    let notional = size.mul(Ratio::from(instrument.contract_value))?.mul(price)?;
    let rate = rule.tiers.rate(Ratio::from(ctx.leverage).inverted()?, size, notional)?;
    Some(Scaled::ratio(rate))
}

/// Rate of an order: margin rate, fee reserve and mark buffer.
fn order_rate(rule: &OrderMarginRule, ctx: &MarginContext<'_>, margin: Scaled, side: Side) -> Option<Scaled> {
    // A rebate is not money the venue holds for us.
    let credit_free = |fee: Decimal| if fee.mantissa() > 0 { Scaled::from(fee) } else { Scaled::from(0) };
    let mut rate = margin;
    match rule.fee_reserve {
        FeeReserve::None => {}
        FeeReserve::Maker => rate = rate.plus(credit_free(rule.maker_fee))?,
        FeeReserve::Taker => rate = rate.plus(credit_free(rule.taker_fee))?,
        FeeReserve::TakerOpenClose => {
            // Bankruptcy price: limit × (1 ∓ margin rate), minus for buys.
            let fee = credit_free(rule.taker_fee);
            let gap = if side == Side::Bid { margin.negated() } else { margin };
            let close = fee.times(Scaled::from(1).plus(gap)?)?;
            rate = rate.plus(fee)?.plus(close)?;
        }
        FeeReserve::Flat { bps } => rate = rate.plus(per_bps(bps))?,
    }
    if ctx.mark_buffer_bps.mantissa() > 0 {
        // A mark that rises by b costs a short b of its value, and the margin on that b besides.
        let buffer = per_bps(ctx.mark_buffer_bps).times(Scaled::from(1).plus(margin)?)?;
        rate = rate.plus(buffer)?.plus(credit_free(rule.maker_fee))?;
    }
    Some(rate)
}

fn per_bps(bps: Decimal) -> Scaled {
    let scaled = Scaled::from(bps);
    Scaled { exp: scaled.exp - 4, ..scaled }
}
