//! Words for the choices of a rule.

use equipoise::margin::{BalanceBasis, FeeReserve, Leg, PriceBasis, ReduceOnly, TierBasis, Triggers};
use equipoise::units::{Decimal, Side};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::arrays::show;
use crate::error::input;

/// One word out of a fixed list.
pub(super) fn word<T: Copy>(argument: &str, value: &Bound<'_, PyAny>, words: &[(&'static str, T)]) -> PyResult<T> {
    let text = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok().map(str::to_owned));
    if let Some((_, found)) = text.and_then(|text| words.iter().find(|(name, _)| *name == text)) {
        return Ok(*found);
    }
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    Err(input(argument, None, &format!("one of {}", names.join(", ")), show(value)))
}

pub(super) fn name_of<T: Copy + PartialEq>(value: T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

pub(super) const REDUCE_ONLY: [(&str, ReduceOnly); 3] =
    [("free", ReduceOnly::Free), ("free_if_fits", ReduceOnly::FreeIfFits), ("checked", ReduceOnly::Checked)];
pub(super) const TRIGGERS: [(&str, Triggers); 3] =
    [("free", Triggers::Free), ("charged", Triggers::Charged), ("summed", Triggers::Summed)];
pub(super) const TIER_BASIS: [(&str, TierBasis); 2] =
    [("position", TierBasis::Position), ("position_and_orders", TierBasis::PositionAndOrders)];
pub(super) const BALANCE_BASIS: [(&str, BalanceBasis); 3] = [
    ("balance", BalanceBasis::Balance),
    ("balance_less_losses", BalanceBasis::BalanceLessLosses),
    ("equity", BalanceBasis::Equity),
];
pub(super) const FEE_RESERVE: [(&str, FeeReserve); 5] = [
    ("none", FeeReserve::None),
    ("maker", FeeReserve::Maker),
    ("taker", FeeReserve::Taker),
    ("taker_open_close", FeeReserve::TakerOpenClose),
    ("flat", FeeReserve::Flat { bps: Decimal::ZERO }),
];
pub(super) const PRICE_BASIS: [(&str, PriceBasis); 5] = [
    ("limit", PriceBasis::Limit),
    ("mark", PriceBasis::Mark),
    ("max_limit_best_bid", PriceBasis::LimitOrBestBid),
    ("min_limit_best_ask", PriceBasis::LimitOrBestAsk),
    ("max_last_mark_limit", PriceBasis::LastMarkLimit { premium: Decimal::ZERO }),
];
/// Names accepted for the side of an order; True stands for a bid.
pub(super) const SIDES: [(&str, Side); 2] = [("bid", Side::Bid), ("ask", Side::Ask)];
pub(super) const LEGS: [(&str, Leg); 2] = [("long", Leg::Long), ("short", Leg::Short)];
