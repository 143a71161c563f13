//! How one margin is shared between bids and asks: the inventory-weighted split.
//!
//! ```text
//! r     = clamp(position / position_max, −1, 1)
//! w_ask = clamp(½ + sensitivity · r, w_min, w_max),   w_bid = 1 − w_ask
//! U     = haircut · margin_available − (|position| · mark + position margin) · buffer
//! ```
//!
//! Under `sum` and `hedge_legs` both sides draw on one pot, parts `U·w` that sum to `U` in micro-units. Under `worst_side` and
//! `per_side` each side has its own budget, `U` on the side of the position and `U + 2|P|/L` on the other, and under `larger_leg`
//! `U + |P|/L`; the weights tilt them by `w / max(w)` and do not halve them.

use crate::error::{Error, Result};
use crate::margin::{Combine, MarginContext, OrderMarginRule, Ratio};
use crate::market::{Account, Market};
use crate::units::{Decimal, Side, div_ceil, pow10};

/// Parameters of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SplitConfig {
    /// Change of the ask weight from a flat to a full position; 0 to 1.
    pub sensitivity: Decimal,
    /// Smallest ask weight; 0 to ½.
    pub weight_min: Decimal,
    /// Largest ask weight; ½ to 1.
    pub weight_max: Decimal,
    /// Share of the available margin that is used; 0 to 1.
    pub haircut: Decimal,
    /// Margin kept against a move of the mark, in bps of the position's value. Not negative.
    pub mark_buffer_bps: Decimal,
}

impl Default for SplitConfig {
    /// Sensitivity 0.2, weights 0.3 to 0.7, no haircut, no buffer.
    fn default() -> Self {
        let tenths = |value| Decimal::new(value, 1).unwrap_or(Decimal::ZERO);
        Self {
            sensitivity: tenths(2),
            weight_min: tenths(3),
            weight_max: tenths(7),
            haircut: Decimal::ONE,
            mark_buffer_bps: Decimal::ZERO,
        }
    }
}

/// Shares a parameter may take: enough for any use, few enough that products stay exact.
const PARAMETER_SCALE_MAX: u8 = 9;

impl SplitConfig {
    /// Checks every parameter against its range.
    ///
    /// # Errors
    /// Names the first parameter out of range.
    pub fn checked(self) -> Result<Self> {
        let one = pow10(9);
        let parameters: [(&'static str, Decimal, i128, i128, &'static str); 5] = [
            ("sensitivity", self.sensitivity, 0, one, "within 0 and 1"),
            ("weight_min", self.weight_min, 0, one / 2, "within 0 and 0.5"),
            ("weight_max", self.weight_max, one / 2, one, "within 0.5 and 1"),
            ("haircut", self.haircut, 0, one, "within 0 and 1"),
            ("mark_buffer_bps", self.mark_buffer_bps, 0, one * 10_000, "within 0 and 10000"),
        ];
        for (argument, value, low, high, requirement) in parameters {
            if value.scale() > PARAMETER_SCALE_MAX {
                return Err(Error::new(argument, "of at most 9 decimals", value));
            }
            if !(low..=high).contains(&billionths(value)) {
                return Err(Error::new(argument, requirement, value));
            }
        }
        Ok(self)
    }
}

/// The value in units of 10⁻⁹; exact after the scale has been checked.
fn billionths(value: Decimal) -> i128 {
    i128::from(value.mantissa()) * pow10(u32::from(PARAMETER_SCALE_MAX.saturating_sub(value.scale())))
}

/// What makes closing lots of a side free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreeBy {
    /// Nothing does, or the side's budget contains the credit already.
    Nothing,
    /// The rule credits ordinary orders that close the position.
    Closing,
    /// They must be sent reduce-only.
    ReduceOnly,
    /// They close a hedge leg.
    Leg,
}

/// Budgets and limits of both sides. Amounts in micro-units of the account currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Contracts that the available margin carries at the mark.
    pub capacity: f64,
    /// Margin before haircut and buffer.
    pub margin_available: i64,
    /// `U`: margin the quote may use.
    pub usable: i64,
    /// `r`, from −1 (short at the limit) to 1 (long at the limit).
    pub inventory_ratio: f64,
    /// Weight of the bids.
    pub bid_weight: f64,
    /// Weight of the asks.
    pub ask_weight: f64,
    /// Budget of the bids.
    pub bid_part: i64,
    /// Budget of the asks.
    pub ask_part: i64,
    /// What the bids could hold if the asks held nothing, closing credit of rules with separate budgets included.
    pub bid_budget: i64,
    /// What the asks could hold if the bids held nothing.
    pub ask_budget: i64,
    /// The parts come out of one pot, so margin that one side cannot use may pass to the other.
    pub pooled: bool,
    /// Most lots the bids may hold together.
    pub bid_limit_lots: i64,
    /// Most lots the asks may hold together.
    pub ask_limit_lots: i64,
    /// Bid lots that close a position without holding margin, on top of the part.
    pub bid_free_lots: i64,
    /// Ask lots that close a position without holding margin, on top of the part.
    pub ask_free_lots: i64,
    /// What makes them free.
    pub free_by: FreeBy,
}

/// Splits the account's margin between bids and asks.
///
/// # Errors
/// A parameter, the account or the market is out of range, or an amount leaves 64 bits.
pub fn split(config: &SplitConfig, rule: &OrderMarginRule, market: &Market, account: &Account) -> Result<Split> {
    let config = config.checked()?;
    let ctx = MarginContext::new(market, account.leverage);
    let position = account.position();
    let quantum = rule.quantum_micros.max(1);
    let usable = usable(&config, rule, market, account)? / quantum * quantum;
    let (ask, whole, ratio) = ask_weight(&config, account)?;
    let bid = whole - ask;
    let part = |budget: i64, num: i128, den: i128| -> Result<i64> {
        let share = || -> Option<i64> {
            let product = i128::from(budget).checked_mul(num).map(|product| product.div_euclid(den));
            // The weights are kept unreduced; only a product that does not fit pays for the common factor.
            let reduced = || {
                let weight = Ratio::new(num, den)?;
                Some(i128::from(budget).checked_mul(weight.num())?.div_euclid(weight.den()))
            };
            i64::try_from(product.or_else(reduced)?).ok()
        };
        share().ok_or_else(|| too_large(budget))
    };
    let pooled = matches!(rule.combine, Combine::Sum | Combine::HedgeLegs);
    let ((bid_budget, ask_budget), (bid_part, ask_part)) = if pooled {
        let (mut bids, mut asks) = (part(usable, bid, whole)?, part(usable, ask, whole)?);
        // The parts sum to the whole: what flooring left goes to the side that reduces the position.
        let rest = usable - bids - asks;
        if position.lots > 0 {
            asks += rest;
        } else {
            bids += rest;
        }
        ((usable, usable), (bids, asks))
    } else {
        let held = rule.position_margin(&ctx, position)?;
        let credit = if rule.combine == Combine::LargerLeg {
            held
        } else {
            held.checked_mul(2).ok_or_else(|| too_large(held))?
        };
        let budget = |side: Side| {
            let credit = if position.closable(side) > 0 { credit } else { 0 };
            usable.checked_add(credit).ok_or_else(|| too_large(usable))
        };
        let heavier = bid.max(ask);
        let budgets = (budget(Side::Bid)?, budget(Side::Ask)?);
        (budgets, (part(budgets.0, bid, heavier)?, part(budgets.1, ask, heavier)?))
    };
    let (bid_limit_lots, ask_limit_lots) = limits(account);
    let (free_by, bid_free_lots, ask_free_lots) = free_lots(rule, account);
    Ok(Split {
        capacity: capacity(market, account),
        margin_available: account.margin_available,
        usable,
        inventory_ratio: ratio,
        bid_weight: bid as f64 / whole as f64,
        ask_weight: ask as f64 / whole as f64,
        bid_part,
        ask_part,
        bid_budget,
        ask_budget,
        pooled,
        bid_limit_lots,
        ask_limit_lots,
        bid_free_lots: bid_free_lots.min(bid_limit_lots),
        ask_free_lots: ask_free_lots.min(ask_limit_lots),
        free_by,
    })
}

fn too_large(got: impl std::fmt::Display) -> Error {
    Error::new("margin_available", "small enough for exact 64-bit micro-units", got)
}

/// `U`, rounded down and not below zero.
fn usable(config: &SplitConfig, rule: &OrderMarginRule, market: &Market, account: &Account) -> Result<i64> {
    let overflow = || too_large(account.margin_available);
    let billion = pow10(9);
    let cut = i128::from(account.margin_available).checked_mul(billionths(config.haircut)).ok_or_else(overflow)?;
    let mut usable = cut.div_euclid(billion);
    if config.mark_buffer_bps.mantissa() > 0 && (account.position_lots != 0 || account.hedged_lots != 0) {
        // A move of b costs b of the value, and on a rising mark the margin on it besides.
        let held = rule.position_margin(&MarginContext::new(market, account.leverage), account.position())?;
        let held = Ratio::new(i128::from(held), 1).ok_or_else(overflow)?;
        let value = position_value(market, account).and_then(|value| value.add(held)).ok_or_else(overflow)?;
        // value is a fraction of micro-units; bps are 10⁻⁴ and billionths 10⁻⁹.
        let num = value.num().checked_mul(billionths(config.mark_buffer_bps)).ok_or_else(overflow)?;
        let den = value.den().checked_mul(billion * 10_000).ok_or_else(overflow)?;
        usable = usable.checked_sub(div_ceil(num, den)).ok_or_else(overflow)?;
    }
    i64::try_from(usable.max(0)).map_err(|_| overflow())
}

/// Value of the position at the mark, both legs in hedge mode, in micro-units.
fn position_value(market: &Market, account: &Account) -> Option<Ratio> {
    let instrument = &market.instrument;
    let position = account.position();
    let lots = i128::from(position.long_lots()) + i128::from(position.short_lots());
    let lots = Ratio::new(lots * 1_000_000, 1)?;
    let size = lots.mul(Ratio::from(instrument.lot))?.mul(Ratio::from(instrument.contract_value))?;
    let mark = Ratio::from(market.mark);
    size.mul(if instrument.inverse { mark.inverted()? } else { mark })
}

/// The ask weight as an exact fraction `(num, den)`, and the inventory ratio.
fn ask_weight(config: &SplitConfig, account: &Account) -> Result<(i128, i128, f64)> {
    let billion = pow10(9);
    let (lots, lots_max) = (account.position_lots, account.position_max_lots);
    if lots_max == 0 {
        return Ok((1, 2, 0.0));
    }
    let lots = lots.clamp(-lots_max, lots_max);
    // ½ + s·q/Q over the common denominator Q·10⁹, clamped between w_min and w_max.
    let whole = i128::from(lots_max) * billion;
    let tilt = billionths(config.sensitivity).checked_mul(i128::from(lots)).ok_or_else(|| too_large(lots))?;
    let bound = |weight: Decimal| billionths(weight) * i128::from(lots_max);
    let ask = (whole / 2 + tilt).clamp(bound(config.weight_min), bound(config.weight_max));
    // 10⁹ is even, so whole / 2 is exact.
    Ok((ask, whole, lots as f64 / lots_max as f64))
}

fn capacity(market: &Market, account: &Account) -> f64 {
    let mark = market.mark.to_f64();
    let unit = market.instrument.contract_value.to_f64();
    let value = if market.instrument.inverse { unit / mark } else { unit * mark };
    account.margin_available as f64 * account.leverage.to_f64() / value / 1e6
}

/// Most lots per side: up to the position limit; over it, nothing on the growing side and no flip on the other.
fn limits(account: &Account) -> (i64, i64) {
    let (lots, most) = (account.position_lots, account.position_max_lots);
    let bids = if lots < most.saturating_neg() { lots.saturating_neg() } else { most.saturating_sub(lots).max(0) };
    let asks = if lots > most { lots } else { most.saturating_add(lots).max(0) };
    (bids, asks)
}

/// Lots per side that may close without holding margin.
fn free_lots(rule: &OrderMarginRule, account: &Account) -> (FreeBy, i64, i64) {
    let position = account.position();
    let (bids, asks) = (position.closable(Side::Bid), position.closable(Side::Ask));
    match rule.combine {
        Combine::HedgeLegs => (FreeBy::Leg, position.short_lots(), position.long_lots()),
        Combine::Sum if rule.closing => (FreeBy::Closing, bids, asks),
        Combine::Sum => (FreeBy::ReduceOnly, bids, asks),
        _ => (FreeBy::Nothing, 0, 0),
    }
}

/// A limit on |position| in contracts from equity: `equity × leverage × share / mark`, floored to the lot.
///
/// # Errors
/// `share` lies above 0; amounts fit 64 bits.
pub fn position_max_from_equity(market: &Market, equity: Decimal, leverage: Decimal, share: Decimal) -> Result<i64> {
    crate::market::leverage(leverage)?;
    if share.mantissa() <= 0 {
        return Err(Error::new("share", "positive", share));
    }
    if equity.mantissa() <= 0 {
        return Ok(0);
    }
    let instrument = &market.instrument;
    let mark = Ratio::from(market.mark);
    let lots = || -> Option<i64> {
        let price = if instrument.inverse { mark } else { mark.inverted()? };
        let lot = Ratio::from(instrument.lot).mul(Ratio::from(instrument.contract_value))?.inverted()?;
        let value = Ratio::from(equity).mul(Ratio::from(leverage))?.mul(Ratio::from(share))?;
        let lots = value.mul(price)?.mul(lot)?;
        i64::try_from(lots.num().div_euclid(lots.den())).ok()
    };
    lots()
        .filter(|lots| *lots <= crate::margin::AMOUNT_MAX)
        .ok_or_else(|| Error::new("equity", "below 2^53 lots", equity))
}
