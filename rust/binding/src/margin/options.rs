//! Keywords of `OrderMarginRule`.

use equipoise::margin::{self, Combine, FeeReserve, OrderMarginRule, PriceBasis, Tiers};
use equipoise::units::Decimal;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::tiers::PyLeverageTiers;
use super::words::{BALANCE_BASIS, FEE_RESERVE, PRICE_BASIS, REDUCE_ONLY, TIER_BASIS, TRIGGERS, name_of, word};
use crate::arrays::{decimal, flag, instance, integer, kind, show};
use crate::error::input;

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    margin::VENUES.into_iter().chain(Combine::ALL.into_iter().map(|(name, _)| name))
}

pub(super) fn basis_name(basis: PriceBasis) -> &'static str {
    match basis {
        PriceBasis::LastMarkLimit { .. } => "max_last_mark_limit",
        basis => name_of(basis, &PRICE_BASIS),
    }
}

pub(super) fn bases(rule: &mut OrderMarginRule) -> [&mut PriceBasis; 3] {
    [&mut rule.buy_price, &mut rule.sell_price, &mut rule.position_price]
}

pub(super) fn premium(rule: &OrderMarginRule) -> Decimal {
    let all = [rule.buy_price, rule.sell_price, rule.position_price];
    let found = all.iter().find_map(|basis| match basis {
        PriceBasis::LastMarkLimit { premium } => Some(*premium),
        _ => None,
    });
    found.unwrap_or(Decimal::ZERO)
}

pub(super) fn flat_bps(rule: &OrderMarginRule) -> Decimal {
    match rule.fee_reserve {
        FeeReserve::Flat { bps } => bps,
        _ => Decimal::ZERO,
    }
}

pub(super) const OPTIONS: [&str; 18] = [
    "combine",
    "name",
    "buy_price",
    "sell_price",
    "position_price",
    "last_premium",
    "open_loss",
    "fee_reserve",
    "fee_reserve_bps",
    "maker_fee",
    "taker_fee",
    "reduce_only",
    "closing",
    "triggers",
    "tiers",
    "tier_basis",
    "balance_basis",
    "quantum_micros",
];

/// A ratio between the bounds, as a decimal.
pub(super) fn bounded(argument: &str, value: &Bound<'_, PyAny>, low: i64, high: i64) -> PyResult<Decimal> {
    let given = decimal(argument, value)?;
    if given.floor_units(0).is_none_or(|floor| floor < low) || given.ceil_units(0).is_none_or(|ceil| ceil > high) {
        return Err(input(argument, None, &format!("within {low} and {high}"), given));
    }
    Ok(given)
}

/// Sets the constructor's keywords on a rule.
pub(super) fn apply(rule: &mut OrderMarginRule, options: &Bound<'_, PyDict>) -> PyResult<()> {
    for key in options.keys() {
        let known = key.cast::<PyString>().is_ok_and(|key| key.to_str().is_ok_and(|key| OPTIONS.contains(&key)));
        if !known {
            return Err(input("option", None, &format!("one of {}", OPTIONS.join(", ")), show(&key)));
        }
    }
    let get = |name: &str| options.get_item(name);
    let (mut lift, mut flat) = (premium(rule), flat_bps(rule));
    (rule.standing, rule.notes, rule.exact) = (&[], &[], false);
    if let Some(value) = get("combine")? {
        rule.combine = word("combine", &value, &Combine::ALL)?;
    }
    match get("name")? {
        Some(value) => {
            let text = value.cast::<PyString>().map_err(|_| input("name", None, "text", kind(&value)))?;
            rule.name = text.to_str().map_err(|_| input("name", None, "valid unicode", "surrogates"))?.to_owned();
        }
        None => rule.name = format!("custom {}", rule.combine.name()),
    }
    for (name, basis) in ["buy_price", "sell_price", "position_price"].into_iter().zip(bases(rule)) {
        if let Some(value) = get(name)? {
            *basis = word(name, &value, &PRICE_BASIS)?;
        }
    }
    if let Some(value) = get("last_premium")? {
        lift = bounded("last_premium", &value, 0, 1)?;
    }
    for basis in bases(rule) {
        if let PriceBasis::LastMarkLimit { premium } = basis {
            *premium = lift;
        }
    }
    if let Some(value) = get("fee_reserve_bps")? {
        flat = bounded("fee_reserve_bps", &value, 0, 10_000)?;
    }
    if let Some(value) = get("fee_reserve")? {
        rule.fee_reserve = word("fee_reserve", &value, &FEE_RESERVE)?;
    }
    if let FeeReserve::Flat { bps } = &mut rule.fee_reserve {
        *bps = flat;
    }
    for (name, target) in [("maker_fee", &mut rule.maker_fee), ("taker_fee", &mut rule.taker_fee)] {
        if let Some(value) = get(name)? {
            *target = bounded(name, &value, -1, 1)?;
        }
    }
    for (name, target) in [("open_loss", &mut rule.open_loss), ("closing", &mut rule.closing)] {
        if let Some(value) = get(name)? {
            *target = flag(name, None, &value)?;
        }
    }
    apply_modes(rule, &get)
}

pub(super) fn apply_modes<'py>(
    rule: &mut OrderMarginRule,
    get: &impl Fn(&str) -> PyResult<Option<Bound<'py, PyAny>>>,
) -> PyResult<()> {
    if let Some(value) = get("reduce_only")? {
        rule.reduce_only = word("reduce_only", &value, &REDUCE_ONLY)?;
    }
    if let Some(value) = get("triggers")? {
        rule.triggers = word("triggers", &value, &TRIGGERS)?;
    }
    if let Some(value) = get("tier_basis")? {
        rule.tier_basis = word("tier_basis", &value, &TIER_BASIS)?;
    }
    if let Some(value) = get("balance_basis")? {
        rule.balance_basis = word("balance_basis", &value, &BALANCE_BASIS)?;
    }
    if let Some(value) = get("tiers")? {
        rule.tiers = if value.is_none() {
            Tiers::None
        } else {
            instance::<PyLeverageTiers>("tiers", &value, "LeverageTiers or None")?.get().tiers.clone()
        };
    }
    if let Some(value) = get("quantum_micros")? {
        let quantum = integer("quantum_micros", None, &value)?;
        if !(1..=margin::AMOUNT_MAX).contains(&quantum) {
            return Err(input("quantum_micros", None, "within 1 and 2^53 − 1", quantum));
        }
        rule.quantum_micros = quantum;
    }
    Ok(())
}
