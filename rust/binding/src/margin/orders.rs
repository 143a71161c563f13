//! Orders and positions as callers write them.

use equipoise::margin::{self, MarginContext, Order, Position};
use equipoise::market;
use equipoise::units::Side;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple};

use super::words::{LEGS, SIDES, word};
use crate::arrays::{collect, decimal, flag, instance, integer, integers, kind, show};
use crate::error::{from_core, input};
use crate::market::{PyAccountState, PyMarket};

/// Market, leverage and position of one call of the integer forms.
pub(super) struct Scene<'a> {
    pub(super) ctx: MarginContext<'a>,
    pub(super) position: Position,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        market: &'a Bound<'_, PyAny>,
        leverage: &Bound<'_, PyAny>,
        position: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
        let leverage = market::leverage(decimal("leverage", leverage)?).map_err(from_core)?;
        Ok(Self { ctx: MarginContext::new(core, leverage), position: position_lots(position)? })
    }
}

/// Net lots, or a pair of legs that are both not negative.
pub(super) fn position_lots(value: &Bound<'_, PyAny>) -> PyResult<Position> {
    const ARGUMENT: &str = "position_lots";
    let bounded = |index: Option<usize>, item: &Bound<'_, PyAny>| -> PyResult<i64> {
        let lots = integer(ARGUMENT, index, item)?;
        if lots.unsigned_abs() > margin::AMOUNT_MAX.unsigned_abs() {
            return Err(input(ARGUMENT, index, "within ±(2^53 − 1)", lots));
        }
        Ok(lots)
    };
    let Ok(pair) = value.cast::<PyTuple>() else { return Ok(Position::net(bounded(None, value)?)) };
    if pair.len() != 2 {
        return Err(input(ARGUMENT, None, "an integer or a pair (long, short)", show(value)));
    }
    let (long, short) = (bounded(Some(0), &pair.get_item(0)?)?, bounded(Some(1), &pair.get_item(1)?)?);
    if long < 0 || short < 0 {
        return Err(input(ARGUMENT, None, "two legs of at least 0", show(value)));
    }
    Ok(Position::legs(long, short))
}

/// True or "bid", False or "ask".
pub(super) fn side(argument: &str, index: Option<usize>, value: &Bound<'_, PyAny>) -> PyResult<Side> {
    const REQUIREMENT: &str = "\"bid\" or \"ask\", or true for a bid";
    if let Ok(bid) = value.cast::<PyBool>() {
        return Ok(if bid.is_true() { Side::Bid } else { Side::Ask });
    }
    if let Ok(text) = value.cast::<PyString>() {
        let found = text.to_str().ok().and_then(|text| SIDES.iter().find(|(name, _)| *name == text));
        return found.map(|(_, side)| *side).ok_or_else(|| input(argument, index, REQUIREMENT, show(value)));
    }
    if let Ok(bid) = value.extract::<bool>() {
        return Ok(if bid { Side::Bid } else { Side::Ask });
    }
    match value.extract::<i64>() {
        Ok(1) => Ok(Side::Bid),
        Ok(0) => Ok(Side::Ask),
        _ => Err(input(argument, index, REQUIREMENT, show(value))),
    }
}

pub(super) fn sides(value: &Bound<'_, PyAny>) -> PyResult<Vec<Side>> {
    if let Ok(array) = value.cast::<PyArray1<i8>>() {
        let view = array.try_readonly().map_err(|error| input("side", None, "readable", error))?;
        let read = |(index, flag): (usize, &i8)| match flag {
            1 => Ok(Side::Bid),
            0 => Ok(Side::Ask),
            other => Err(input("side", Some(index), "1 for a bid or 0 for an ask", other)),
        };
        return view.as_array().iter().enumerate().map(read).collect();
    }
    if let Ok(array) = value.cast::<PyArray1<bool>>() {
        let view = array.try_readonly().map_err(|error| input("side", None, "readable", error))?;
        return Ok(view.as_array().iter().map(|bid| if *bid { Side::Bid } else { Side::Ask }).collect());
    }
    collect("side", value, "a sequence of sides", |index, item| side("side", Some(index), item))
}

/// Orders out of parallel sequences.
pub(super) fn orders(
    side: &Bound<'_, PyAny>,
    lots: &Bound<'_, PyAny>,
    price_ticks: &Bound<'_, PyAny>,
    reduce_only: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Order>> {
    let sides = sides(side)?;
    let (lots, prices) = (integers("lots", lots)?, integers("price_ticks", price_ticks)?);
    let flags = match reduce_only {
        None => Vec::new(),
        Some(flags) => {
            collect("reduce_only", flags, "a sequence of bools", |index, item| flag("reduce_only", Some(index), item))?
        }
    };
    for (argument, count) in [
        ("lots", lots.len()),
        ("price_ticks", prices.len()),
        ("reduce_only", reduce_only.map_or(sides.len(), |_| flags.len())),
    ] {
        if count != sides.len() {
            return Err(input(argument, None, &format!("as long as side ({})", sides.len()), format!("{count} items")));
        }
    }
    let each = sides.into_iter().zip(lots).zip(prices).enumerate();
    Ok(each
        .map(|(index, ((side, lots), price_ticks))| Order {
            reduce_only: flags.get(index).copied().unwrap_or(false),
            ..Order::limit(side, lots, price_ticks)
        })
        .collect())
}

/// Orders out of a tuple of parallel sequences `(side, lots, price_ticks[, reduce_only])`; None and () are no orders.
pub(super) fn orders_of_tuple(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Order>> {
    if value.is_none() {
        return Ok(Vec::new());
    }
    let requirement = "a tuple (side, lots, price_ticks[, reduce_only])";
    let parts = instance::<PyTuple>(argument, value, requirement)?;
    match parts.len() {
        0 => Ok(Vec::new()),
        3 => orders(&parts.get_item(0)?, &parts.get_item(1)?, &parts.get_item(2)?, None),
        4 => orders(&parts.get_item(0)?, &parts.get_item(1)?, &parts.get_item(2)?, Some(&parts.get_item(3)?)),
        count => Err(input(argument, None, requirement, format!("{count} parts"))),
    }
}

/// Orders as people write them: `(side, price, size[, reduce_only])`, or objects with side, lots, price_ticks.
pub(super) fn orders_of_people(
    argument: &str,
    value: Option<&Bound<'_, PyAny>>,
    market: &market::Market,
) -> PyResult<Vec<Order>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    const REQUIREMENT: &str = "(side, price, size[, reduce_only]) or an Order";
    collect(argument, value, "a sequence of orders", |index, item| {
        if let Ok(parts) = item.cast::<PyTuple>() {
            if !(3..=4).contains(&parts.len()) {
                return Err(input(argument, Some(index), REQUIREMENT, show(item)));
            }
            let price = decimal("price", &parts.get_item(1)?)?;
            let size = decimal("size", &parts.get_item(2)?)?;
            let at = |error: equipoise::Error| from_core(equipoise::Error { index: Some(index), ..error });
            let lots = market::lots("size", size, &market.instrument).map_err(at)?;
            let ticks = market::ticks("price", price, &market.instrument).map_err(at)?;
            let order = Order::limit(side("side", Some(index), &parts.get_item(0)?)?, lots, ticks);
            let reduce_only =
                if parts.len() == 4 { flag("reduce_only", Some(index), &parts.get_item(3)?)? } else { false };
            return Ok(Order { reduce_only, ..order });
        }
        let field = |name: &str| item.getattr(name).map_err(|_| input(argument, Some(index), REQUIREMENT, kind(item)));
        let leg = field("leg").ok().filter(|leg| !leg.is_none());
        let side = side("side", Some(index), &field("side")?)?;
        let lots = integer("lots", Some(index), &field("lots")?)?;
        let ticks = integer("price_ticks", Some(index), &field("price_ticks")?)?;
        Ok(Order {
            reduce_only: flag("reduce_only", Some(index), &field("reduce_only")?)?,
            trigger: match item.getattr("trigger") {
                Ok(trigger) => flag("trigger", Some(index), &trigger)?,
                Err(_) => false,
            },
            leg: leg.map(|leg| word("leg", &leg, &LEGS)).transpose()?,
            ..Order::limit(side, lots, ticks)
        })
    })
}

/// Market and state of the decimal forms.
pub(super) fn scene<'a>(
    market: &'a Bound<'_, PyAny>,
    state: &Bound<'_, PyAny>,
) -> PyResult<(&'a market::Market, market::Account, Scene<'a>)> {
    let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
    let account = instance::<PyAccountState>("state", state, "an AccountState")?.get().on(&core.instrument)?;
    let ctx = MarginContext::new(core, account.leverage);
    Ok((core, account, Scene { ctx, position: account.position() }))
}
