//! `OrderMarginRule`, `LeverageTiers`, `Acceptance`.

use equipoise::margin::{
    self, Acceptance, BalanceBasis, Combine, FeeReserve, Leg, MarginContext, Order, OrderMarginRule, Position,
    PriceBasis, Ratio, ReduceOnly, TierBasis, Tiers, Triggers,
};
use equipoise::market;
use equipoise::units::{Decimal, Side};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple, PyType};

use crate::arrays::{collect, decimal, flag, instance, integer, integers, kind, micros_to_decimal, show, to_decimal};
use crate::error::{from_core, input};
use crate::market::{PyAccountState, PyMarket};

/// One word out of a fixed list.
fn word<T: Copy>(argument: &str, value: &Bound<'_, PyAny>, words: &[(&'static str, T)]) -> PyResult<T> {
    let text = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok().map(str::to_owned));
    if let Some((_, found)) = text.and_then(|text| words.iter().find(|(name, _)| *name == text)) {
        return Ok(*found);
    }
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    Err(input(argument, None, &format!("one of {}", names.join(", ")), show(value)))
}

fn name_of<T: Copy + PartialEq>(value: T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

const REDUCE_ONLY: [(&str, ReduceOnly); 3] =
    [("free", ReduceOnly::Free), ("free_if_fits", ReduceOnly::FreeIfFits), ("checked", ReduceOnly::Checked)];
const TRIGGERS: [(&str, Triggers); 3] =
    [("free", Triggers::Free), ("charged", Triggers::Charged), ("summed", Triggers::Summed)];
const TIER_BASIS: [(&str, TierBasis); 2] =
    [("position", TierBasis::Position), ("position_and_orders", TierBasis::PositionAndOrders)];
const BALANCE_BASIS: [(&str, BalanceBasis); 3] = [
    ("balance", BalanceBasis::Balance),
    ("balance_less_losses", BalanceBasis::BalanceLessLosses),
    ("equity", BalanceBasis::Equity),
];
const FEE_RESERVE: [(&str, FeeReserve); 5] = [
    ("none", FeeReserve::None),
    ("maker", FeeReserve::Maker),
    ("taker", FeeReserve::Taker),
    ("taker_open_close", FeeReserve::TakerOpenClose),
    ("flat", FeeReserve::Flat { bps: Decimal::ZERO }),
];
const PRICE_BASIS: [(&str, PriceBasis); 5] = [
    ("limit", PriceBasis::Limit),
    ("mark", PriceBasis::Mark),
    ("max_limit_best_bid", PriceBasis::LimitOrBestBid),
    ("min_limit_best_ask", PriceBasis::LimitOrBestAsk),
    ("max_last_mark_limit", PriceBasis::LastMarkLimit { premium: Decimal::ZERO }),
];
/// Names accepted for the side of an order; True stands for a bid.
const SIDES: [(&str, Side); 2] = [("bid", Side::Bid), ("ask", Side::Ask)];
const LEGS: [(&str, Leg); 2] = [("long", Leg::Long), ("short", Leg::Short)];

/// Margin rates that grow with size.
///
/// Build it with `steps`, `from_leverage` or `linear`.
///
/// Examples
/// --------
/// >>> from equipoise import LeverageTiers
/// >>> LeverageTiers.from_leverage([(0, 40), (150_000_000, 20)], share="0.5").margin(200_000_000)
/// Decimal('3125000')
#[pyclass(frozen, eq, hash, name = "LeverageTiers", module = "equipoise")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PyLeverageTiers {
    tiers: Tiers,
}

fn pairs(argument: &str, rows: &Bound<'_, PyAny>) -> PyResult<Vec<(Decimal, Decimal)>> {
    const REQUIREMENT: &str = "a sequence of pairs of numbers";
    collect(argument, rows, REQUIREMENT, |index, row| {
        let row = row.cast::<PyTuple>().cloned().or_else(|_| row.cast::<PyList>().map(|row| row.to_tuple()));
        let row = row.ok().filter(|row| row.len() == 2);
        let row = row.ok_or_else(|| input(argument, Some(index), "a pair of numbers", "something else"))?;
        Ok((decimal(argument, &row.get_item(0)?)?, decimal(argument, &row.get_item(1)?)?))
    })
}

fn fraction_to_decimal(py: Python<'_>, ratio: Ratio) -> PyResult<Bound<'_, PyAny>> {
    let class = py.import("decimal")?.getattr("Decimal")?;
    class.call1((ratio.num(),))?.div(class.call1((ratio.den(),))?)
}

#[pymethods]
impl PyLeverageTiers {
    /// Step table of (notional_min, margin rate); deductions follow from continuity. The first row starts at 0.
    #[staticmethod]
    fn steps(rows: &Bound<'_, PyAny>) -> PyResult<Self> {
        let rows: Vec<_> = pairs("rows", rows)?.iter().map(|&(bound, rate)| (bound, Ratio::from(rate))).collect();
        Ok(Self { tiers: Tiers::steps(&rows).map_err(from_core)? })
    }

    /// Step table of (notional_min, largest leverage), rate = share / leverage: share 1 for initial margin, ½ for
    /// Hyperliquid's maintenance margin.
    #[staticmethod]
    #[pyo3(signature = (rows, share = None))]
    fn from_leverage(rows: &Bound<'_, PyAny>, share: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let share = share.map_or(Ok(Decimal::ONE), |value| decimal("share", value))?;
        let tiers = Tiers::from_leverage(&pairs("rows", rows)?, Ratio::from(share));
        Ok(Self { tiers: tiers.map_err(from_core)? })
    }

    /// Rate = base + slope × size in contracts.
    #[staticmethod]
    fn linear(base: &Bound<'_, PyAny>, slope: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tiers = Tiers::linear(decimal("base", base)?, decimal("slope", slope)?);
        Ok(Self { tiers: tiers.map_err(from_core)? })
    }

    /// Margin of a position value, `notional × rate − deduction`, without regard to leverage.
    fn margin<'py>(&self, notional: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let value = decimal("notional", notional)?;
        if value.mantissa() < 0 {
            return Err(input("notional", None, "at least 0", value));
        }
        let margin = self.tiers.margin(Ratio::from(value));
        let margin = margin.ok_or_else(|| input("notional", None, "used with a step table, within 128 bits", value))?;
        fraction_to_decimal(notional.py(), margin)
    }

    /// Rows (notional_min, rate, deduction) of a step table; empty for a linear rate.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let rows = match &self.tiers {
            Tiers::Step(rows) => rows.as_slice(),
            _ => &[],
        };
        let rows: PyResult<Vec<_>> = rows
            .iter()
            .map(|row| {
                let rate = fraction_to_decimal(py, row.rate)?;
                Ok((to_decimal(py, row.notional_min)?, rate, fraction_to_decimal(py, row.deduction)?))
            })
            .collect();
        PyTuple::new(py, rows?)
    }

    fn __repr__(&self) -> String {
        match &self.tiers {
            Tiers::None => "LeverageTiers()".to_owned(),
            Tiers::Linear { base, slope } => format!("LeverageTiers.linear({base}, {slope})"),
            Tiers::Step(rows) => format!("LeverageTiers({} rows)", rows.len()),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let class = PyType::new::<Self>(py);
        match &self.tiers {
            Tiers::Linear { base, slope } => {
                let arguments = (to_decimal(py, *base)?, to_decimal(py, *slope)?);
                Ok((class.getattr("linear")?, arguments.into_pyobject(py)?))
            }
            Tiers::Step(rows) => {
                let rows: PyResult<Vec<_>> = rows
                    .iter()
                    .map(|row| Ok((to_decimal(py, row.notional_min)?, row.rate.num(), row.rate.den())))
                    .collect();
                Ok((class.getattr("_from_fractions")?, (rows?,).into_pyobject(py)?))
            }
            Tiers::None => Ok((class.getattr("_from_fractions")?, (PyTuple::empty(py),).into_pyobject(py)?)),
        }
    }

    /// Inverse of pickling: rates such as 1/3 have no finite decimal.
    #[staticmethod]
    fn _from_fractions(rows: Vec<(Bound<'_, PyAny>, i128, i128)>) -> PyResult<Self> {
        let mut table = Vec::with_capacity(rows.len());
        for (bound, num, den) in rows {
            let rate = Ratio::new(num, den).ok_or_else(|| input("rows", None, "fractions", den))?;
            table.push((decimal("rows", &bound)?, rate));
        }
        Ok(Self { tiers: Tiers::steps(&table).map_err(from_core)? })
    }
}

/// The venue's answer to candidate orders, with the numbers behind it in micro-units. True when accepted.
#[pyclass(frozen, eq, hash, name = "Acceptance", module = "equipoise")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyAcceptance {
    answer: Acceptance,
}

#[pymethods]
impl PyAcceptance {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    /// Requirement of position and resting orders, in micro-units.
    #[getter]
    fn required_before(&self) -> i64 {
        self.answer.required_before
    }

    /// Requirement with the candidates, in micro-units.
    #[getter]
    fn required_after(&self) -> i64 {
        self.answer.required_after
    }

    /// Requirement of the position alone, in micro-units.
    #[getter]
    fn position_only(&self) -> i64 {
        self.answer.position_only
    }

    /// Whether the candidates are accepted.
    #[getter]
    fn accepted(&self) -> bool {
        self.answer.accepted
    }

    /// Missing margin in micro-units; 0 when accepted or refused for another reason.
    #[getter]
    fn shortfall(&self) -> i64 {
        self.answer.shortfall
    }

    /// None, "margin", "open_loss", "reduce_only" or "leg".
    #[getter]
    fn refusal(&self) -> Option<&'static str> {
        self.answer.refusal.map(margin::Refusal::name)
    }

    fn __bool__(&self) -> bool {
        self.answer.accepted
    }

    fn __repr__(&self) -> String {
        let answer = &self.answer;
        let refusal = answer.refusal.map_or_else(|| "None".to_owned(), |refusal| format!("'{}'", refusal.name()));
        format!(
            "Acceptance(accepted={}, required_before={}, required_after={}, position_only={}, shortfall={}, refusal={refusal})",
            if answer.accepted { "True" } else { "False" },
            answer.required_before,
            answer.required_after,
            answer.position_only,
            answer.shortfall,
        )
    }
}

/// What a venue holds for a position and its resting orders.
///
/// `OrderMarginRule.venue(name)` gives a preset, by venue or by bare combine rule; `replace` changes parts of a rule; the
/// constructor states one from scratch. `OrderMarginRule.venues()` lists the names.
///
/// Parameters
/// ----------
/// combine
///     "sum", "worst_side", "hedge_legs", "per_side", "larger_leg", "net_contracts" or "single_order".
/// name
///     Name of the rule; that of the combine rule by default.
/// buy_price, sell_price, position_price
///     "limit", "mark", "max_limit_best_bid", "min_limit_best_ask" or "max_last_mark_limit" (`max(last·(1+x), mark, limit)`).
///     Orders default to "limit", the position to "mark".
/// last_premium
///     x of "max_last_mark_limit", a ratio.
/// open_loss
///     Charge the loss an order would realise at the mark.
/// fee_reserve
///     "none", "maker", "taker", "taker_open_close" (closing at the bankruptcy price) or "flat" (`fee_reserve_bps`).
/// fee_reserve_bps, maker_fee, taker_fee
///     Basis points of the charged value; ratios.
/// reduce_only
///     "free", "free_if_fits" (lots beyond the position are charged) or "checked" (refused when they do not fit).
/// closing
///     Lots that close the position are free, best price first; looked at by "sum", "single_order" and the open-loss test.
/// triggers
///     Dormant trigger orders are "free", "charged" or "summed" outside the combine rule.
/// tiers, tier_basis
///     `LeverageTiers`, and whether they look at the "position" or at "position_and_orders".
/// balance_basis
///     "balance", "balance_less_losses" or "equity": what `free_margin` counts.
/// quantum_micros
///     Requirements are rounded up and availability down to this many micro-units.
///
/// Raises
/// ------
/// InputError
///     An argument is out of range or unknown.
///
/// Notes
/// -----
/// Every order's charge is rounded up to one micro-unit (10⁻⁶ of the account currency); totals are sums of rounded charges.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> rule = eq.OrderMarginRule.venue("sum")
/// >>> market = eq.Market("BTC", 20999, 21001, 20000, tick=1, lot="0.1")
/// >>> state = eq.AccountState(10_000, position="0.5", leverage=2, position_max=10)
/// >>> rule.required(market, state, [("bid", 19_000, "0.1"), ("ask", 22_000, "0.1")])
/// Decimal('7050')
/// >>> eq.OrderMarginRule.venue("worst_side").required(market, state, [("bid", 19_000, "0.1"), ("ask", 22_000, "0.1")])
/// Decimal('5950')
#[pyclass(frozen, eq, hash, name = "OrderMarginRule", module = "equipoise")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PyOrderMarginRule {
    pub(crate) rule: OrderMarginRule,
}

/// Market, leverage and position of one call of the integer forms.
struct Scene<'a> {
    ctx: MarginContext<'a>,
    position: Position,
}

impl<'a> Scene<'a> {
    fn new(market: &'a Bound<'_, PyAny>, leverage: &Bound<'_, PyAny>, position: &Bound<'_, PyAny>) -> PyResult<Self> {
        let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
        let leverage = market::leverage(decimal("leverage", leverage)?).map_err(from_core)?;
        Ok(Self { ctx: MarginContext::new(core, leverage), position: position_lots(position)? })
    }
}

/// Net lots, or a pair of legs that are both not negative.
fn position_lots(value: &Bound<'_, PyAny>) -> PyResult<Position> {
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
fn side(argument: &str, index: Option<usize>, value: &Bound<'_, PyAny>) -> PyResult<Side> {
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

fn sides(value: &Bound<'_, PyAny>) -> PyResult<Vec<Side>> {
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
fn orders(
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
fn orders_of_tuple(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Order>> {
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
fn orders_of_people(argument: &str, value: Option<&Bound<'_, PyAny>>, market: &market::Market) -> PyResult<Vec<Order>> {
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
fn scene<'a>(
    market: &'a Bound<'_, PyAny>,
    state: &Bound<'_, PyAny>,
) -> PyResult<(&'a market::Market, market::Account, Scene<'a>)> {
    let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
    let account = instance::<PyAccountState>("state", state, "an AccountState")?.get().on(&core.instrument)?;
    let ctx = MarginContext::new(core, account.leverage);
    Ok((core, account, Scene { ctx, position: account.position() }))
}

#[pymethods]
impl PyOrderMarginRule {
    #[new]
    #[pyo3(signature = (combine, **options))]
    fn new(combine: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut rule = OrderMarginRule::plain(word("combine", combine, &Combine::ALL)?);
        if let Some(options) = options {
            apply(&mut rule, options)?;
        }
        Ok(Self { rule })
    }

    /// The preset of a venue, or a bare combine rule, by name; InputError lists the names.
    #[staticmethod]
    fn venue(name: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = name.cast::<PyString>().ok().and_then(|text| text.to_str().ok().map(str::to_owned));
        match text.as_deref().and_then(OrderMarginRule::venue) {
            Some(rule) => Ok(Self { rule }),
            None => {
                let names = names().collect::<Vec<_>>().join(", ");
                Err(input("name", None, &format!("one of {names}"), show(name)))
            }
        }
    }

    /// Names that `venue` knows.
    #[staticmethod]
    fn venues(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, names().collect::<Vec<_>>())
    }

    /// The rule with some parts changed; takes the constructor's keywords. The result has no standing.
    #[pyo3(signature = (**options))]
    fn replace(&self, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut rule = self.rule.clone();
        if let Some(options) = options.filter(|options| !options.is_empty()) {
            apply(&mut rule, options)?;
        }
        Ok(Self { rule })
    }

    /// Initial margin held for the state's position and resting orders, in account currency.
    ///
    /// `orders` is a sequence of `(side, price, size[, reduce_only])` or of `Order`.
    #[pyo3(signature = (market, state, orders = None))]
    fn required<'py>(
        &self,
        market: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        orders: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, _, scene) = scene(market, state)?;
        let orders = orders_of_people("orders", orders, core)?;
        let micros = self.rule.required(&scene.ctx, scene.position, &orders).map_err(from_core)?;
        micros_to_decimal(market.py(), micros)
    }

    /// Initial margin once `orders` have joined the `resting` ones.
    #[pyo3(signature = (market, state, orders, resting = None))]
    fn required_after<'py>(
        &self,
        market: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        orders: &Bound<'py, PyAny>,
        resting: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, _, scene) = scene(market, state)?;
        let candidates = orders_of_people("orders", Some(orders), core)?;
        let resting = orders_of_people("resting", resting, core)?;
        let micros = self.rule.required_after(&scene.ctx, scene.position, &resting, &candidates);
        micros_to_decimal(market.py(), micros.map_err(from_core)?)
    }

    /// What `orders` add to the requirement.
    #[pyo3(signature = (market, state, orders, resting = None))]
    fn incremental<'py>(
        &self,
        market: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        orders: &Bound<'py, PyAny>,
        resting: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, _, scene) = scene(market, state)?;
        let candidates = orders_of_people("orders", Some(orders), core)?;
        let resting = orders_of_people("resting", resting, core)?;
        let micros = self.rule.incremental(&scene.ctx, scene.position, &resting, &candidates);
        micros_to_decimal(market.py(), micros.map_err(from_core)?)
    }

    /// Whether `orders` are accepted beside `resting`, at the state's `margin_available` (the margin of `resting` not deducted
    /// from it): the requirement above that of the position alone fits, or the orders raise nothing.
    #[pyo3(signature = (market, state, orders, resting = None))]
    fn accepts(
        &self,
        market: &Bound<'_, PyAny>,
        state: &Bound<'_, PyAny>,
        orders: &Bound<'_, PyAny>,
        resting: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyAcceptance> {
        let (core, account, scene) = scene(market, state)?;
        let candidates = orders_of_people("orders", Some(orders), core)?;
        let resting = orders_of_people("resting", resting, core)?;
        let answer = self.rule.accepts(&scene.ctx, scene.position, &resting, &candidates, account.margin_available);
        Ok(PyAcceptance { answer: answer.map_err(from_core)? })
    }

    /// Largest size of one more order that is accepted, in contracts.
    #[pyo3(signature = (market, state, side, price, resting = None))]
    fn max_size<'py>(
        &self,
        market: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        side: &Bound<'py, PyAny>,
        price: &Bound<'py, PyAny>,
        resting: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, account, scene) = scene(market, state)?;
        let resting = orders_of_people("resting", resting, core)?;
        let ticks = market::ticks("price", decimal("price", price)?, &core.instrument).map_err(from_core)?;
        let side = self::side("side", None, side)?;
        let lots = self.rule.max_size(&scene.ctx, scene.position, &resting, side, ticks, account.margin_available);
        market.call_method1("size", (lots.map_err(from_core)?,))
    }

    /// Largest factor k ≤ 1 whose ladder is accepted, and the sizes `⌊k · lots⌋` in contracts.
    #[pyo3(signature = (market, state, orders, resting = None))]
    fn max_scale<'py>(
        &self,
        market: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        orders: &Bound<'py, PyAny>,
        resting: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (core, account, scene) = scene(market, state)?;
        let ladder = orders_of_people("orders", Some(orders), core)?;
        let resting = orders_of_people("resting", resting, core)?;
        let scale = self.rule.max_scale(&scene.ctx, scene.position, &resting, &ladder, account.margin_available);
        let scale = scale.map_err(from_core)?;
        let py = market.py();
        let factor = py.import("fractions")?.getattr("Fraction")?.call1((scale.num, scale.den))?;
        let sizes: PyResult<Vec<_>> = scale.lots.iter().map(|lots| market.call_method1("size", (*lots,))).collect();
        Ok((factor, PyTuple::new(py, sizes?)?))
    }

    /// Margin that further orders of a side may hold, in account currency, closing credit included.
    #[pyo3(signature = (market, state, side, resting = None))]
    fn headroom<'py>(
        &self,
        market: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        side: &Bound<'py, PyAny>,
        resting: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, account, scene) = scene(market, state)?;
        let resting = orders_of_people("resting", resting, core)?;
        let side = self::side("side", None, side)?;
        let room = self.rule.headroom(&scene.ctx, scene.position, &resting, side, account.margin_available);
        micros_to_decimal(market.py(), room.map_err(from_core)?)
    }

    /// Free margin of an account, rounded down: what the rule counts of balance and open profits, less what is in use; not
    /// below zero.
    #[pyo3(signature = (balance, open_pnl = None, in_use = None))]
    fn free_margin<'py>(
        &self,
        balance: &Bound<'py, PyAny>,
        open_pnl: Option<&Bound<'py, PyAny>>,
        in_use: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let read = |argument, value: Option<&Bound<'py, PyAny>>| {
            value.map_or(Ok(Decimal::ZERO), |value| decimal(argument, value))
        };
        let (pnl, used) = (read("open_pnl", open_pnl)?, read("in_use", in_use)?);
        let free = self.rule.free_margin(decimal("balance", balance)?, pnl, used).map_err(from_core)?;
        micros_to_decimal(balance.py(), free)
    }

    /// Requirement in micro-units out of integers: the form for the event loop.
    ///
    /// Parameters
    /// ----------
    /// market, leverage
    ///     Prices and leverage.
    /// position_lots
    ///     Net lots, long positive; or a pair (long, short) in hedge mode.
    /// side
    ///     One entry per order: true or "bid", false or "ask"; a list, or an int8 or bool array.
    /// lots, price_ticks
    ///     Lists of int or int64 arrays, as long as `side`.
    /// reduce_only
    ///     One bool per order, or None.
    #[pyo3(signature = (market, leverage, position_lots, side, lots, price_ticks, reduce_only = None))]
    #[expect(clippy::too_many_arguments, reason = "parallel sequences of one call")]
    fn required_micros(
        &self,
        market: &Bound<'_, PyAny>,
        leverage: &Bound<'_, PyAny>,
        position_lots: &Bound<'_, PyAny>,
        side: &Bound<'_, PyAny>,
        lots: &Bound<'_, PyAny>,
        price_ticks: &Bound<'_, PyAny>,
        reduce_only: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<i64> {
        let scene = Scene::new(market, leverage, position_lots)?;
        let orders = orders(side, lots, price_ticks, reduce_only)?;
        self.rule.required(&scene.ctx, scene.position, &orders).map_err(from_core)
    }

    /// Hold of one order in micro-units, rounded up. Under leverage tiers, `lots_worst` is the exposure that sets the rate; the
    /// order's own lots by default.
    #[pyo3(signature = (market, leverage, side, lots, price_ticks, lots_worst = None))]
    fn charge_micros(
        &self,
        market: &Bound<'_, PyAny>,
        leverage: &Bound<'_, PyAny>,
        side: &Bound<'_, PyAny>,
        lots: &Bound<'_, PyAny>,
        price_ticks: &Bound<'_, PyAny>,
        lots_worst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<i64> {
        let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
        let leverage = market::leverage(decimal("leverage", leverage)?).map_err(from_core)?;
        let order = Order::limit(
            self::side("side", None, side)?,
            integer("lots", None, lots)?,
            integer("price_ticks", None, price_ticks)?,
        );
        let worst = lots_worst.map_or(Ok(order.lots), |value| integer("lots_worst", None, value))?;
        let ctx = MarginContext::new(core, leverage);
        self.rule.order_charge(&ctx, &order, worst.max(0)).map_err(from_core)
    }

    /// Acceptance out of integers. `resting` and `candidates` are tuples `(side, lots, price_ticks[, reduce_only])` of parallel
    /// sequences, or None; `margin_available` in micro-units, the margin of `resting` not deducted.
    #[pyo3(signature = (market, leverage, position_lots, resting, candidates, margin_available))]
    fn accepts_micros(
        &self,
        market: &Bound<'_, PyAny>,
        leverage: &Bound<'_, PyAny>,
        position_lots: &Bound<'_, PyAny>,
        resting: &Bound<'_, PyAny>,
        candidates: &Bound<'_, PyAny>,
        margin_available: &Bound<'_, PyAny>,
    ) -> PyResult<PyAcceptance> {
        let scene = Scene::new(market, leverage, position_lots)?;
        let resting = orders_of_tuple("resting", resting)?;
        let candidates = orders_of_tuple("candidates", candidates)?;
        let available = integer("margin_available", None, margin_available)?;
        let answer = self.rule.accepts(&scene.ctx, scene.position, &resting, &candidates, available);
        Ok(PyAcceptance { answer: answer.map_err(from_core)? })
    }

    /// Name of the preset, or the caller's own.
    #[getter]
    fn name(&self) -> &str {
        &self.rule.name
    }

    /// How position and sides become one number.
    #[getter]
    fn combine(&self) -> &'static str {
        self.rule.combine.name()
    }

    /// Whether the reservation book can keep the rule.
    #[getter]
    fn bookable(&self) -> bool {
        self.rule.combine.bookable()
    }

    /// Charged price of buys.
    #[getter]
    fn buy_price(&self) -> &'static str {
        basis_name(self.rule.buy_price)
    }

    /// Charged price of sells.
    #[getter]
    fn sell_price(&self) -> &'static str {
        basis_name(self.rule.sell_price)
    }

    /// Charged price of the position.
    #[getter]
    fn position_price(&self) -> &'static str {
        basis_name(self.rule.position_price)
    }

    /// Premium on the last price, a ratio.
    #[getter]
    fn last_premium<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, premium(&self.rule))
    }

    /// Whether the open loss is charged.
    #[getter]
    fn open_loss(&self) -> bool {
        self.rule.open_loss
    }

    /// What is held for fees.
    #[getter]
    fn fee_reserve(&self) -> &'static str {
        match self.rule.fee_reserve {
            FeeReserve::Flat { .. } => "flat",
            reserve => name_of(reserve, &FEE_RESERVE),
        }
    }

    /// Flat fee reserve in bps.
    #[getter]
    fn fee_reserve_bps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, flat_bps(&self.rule))
    }

    /// Maker fee, a ratio.
    #[getter]
    fn maker_fee<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.rule.maker_fee)
    }

    /// Taker fee, a ratio.
    #[getter]
    fn taker_fee<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.rule.taker_fee)
    }

    /// How reduce-only orders are charged.
    #[getter]
    fn reduce_only(&self) -> &'static str {
        name_of(self.rule.reduce_only, &REDUCE_ONLY)
    }

    /// Whether closing lots are free.
    #[getter]
    fn closing(&self) -> bool {
        self.rule.closing
    }

    /// How dormant trigger orders are charged.
    #[getter]
    fn triggers(&self) -> &'static str {
        name_of(self.rule.triggers, &TRIGGERS)
    }

    /// Leverage tiers, or None.
    #[getter]
    fn tiers(&self) -> Option<PyLeverageTiers> {
        match &self.rule.tiers {
            Tiers::None => None,
            tiers => Some(PyLeverageTiers { tiers: tiers.clone() }),
        }
    }

    /// What the tiers look at.
    #[getter]
    fn tier_basis(&self) -> &'static str {
        name_of(self.rule.tier_basis, &TIER_BASIS)
    }

    /// What counts as balance.
    #[getter]
    fn balance_basis(&self) -> &'static str {
        name_of(self.rule.balance_basis, &BALANCE_BASIS)
    }

    /// Rounding step of requirements and availability, in micro-units.
    #[getter]
    fn quantum_micros(&self) -> i64 {
        self.rule.quantum_micros
    }

    /// Pairs (standing, line): "C" the venue's own document or code, "M" measured by a third party, "D" derived from those,
    /// "I" inferred.
    #[getter]
    fn standing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.rule.standing.iter().map(|line| (line.standing.code(), line.line)))
    }

    /// Whether the venue documents everything the rule needs.
    #[getter]
    fn exact(&self) -> bool {
        self.rule.exact
    }

    /// What is not known or not modelled.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.rule.notes)
    }

    fn __repr__(&self) -> String {
        let rule = &self.rule;
        if OrderMarginRule::venue(&rule.name).as_ref() == Some(rule) {
            return format!("OrderMarginRule.venue('{}')", rule.name);
        }
        format!("OrderMarginRule('{}', name='{}')", rule.combine.name(), rule.name)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (class, rule) = (PyType::new::<Self>(py), &self.rule);
        if OrderMarginRule::venue(&rule.name).as_ref() == Some(rule) {
            return Ok((class.getattr("venue")?, (&rule.name,).into_pyobject(py)?));
        }
        let options = PyDict::new(py);
        options.set_item("name", &rule.name)?;
        for name in OPTIONS.iter().filter(|name| **name != "name" && **name != "combine") {
            options.set_item(name, self.clone().into_pyobject(py)?.getattr(name)?)?;
        }
        let rebuild = py.import("functools")?.getattr("partial")?.call((class,), Some(&options))?;
        Ok((rebuild, (rule.combine.name(),).into_pyobject(py)?))
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    margin::VENUES.into_iter().chain(Combine::ALL.into_iter().map(|(name, _)| name))
}

fn basis_name(basis: PriceBasis) -> &'static str {
    match basis {
        PriceBasis::LastMarkLimit { .. } => "max_last_mark_limit",
        basis => name_of(basis, &PRICE_BASIS),
    }
}

fn bases(rule: &mut OrderMarginRule) -> [&mut PriceBasis; 3] {
    [&mut rule.buy_price, &mut rule.sell_price, &mut rule.position_price]
}

fn premium(rule: &OrderMarginRule) -> Decimal {
    let all = [rule.buy_price, rule.sell_price, rule.position_price];
    let found = all.iter().find_map(|basis| match basis {
        PriceBasis::LastMarkLimit { premium } => Some(*premium),
        _ => None,
    });
    found.unwrap_or(Decimal::ZERO)
}

fn flat_bps(rule: &OrderMarginRule) -> Decimal {
    match rule.fee_reserve {
        FeeReserve::Flat { bps } => bps,
        _ => Decimal::ZERO,
    }
}

const OPTIONS: [&str; 18] = [
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
fn bounded(argument: &str, value: &Bound<'_, PyAny>, low: i64, high: i64) -> PyResult<Decimal> {
    let given = decimal(argument, value)?;
    if given.floor_units(0).is_none_or(|floor| floor < low) || given.ceil_units(0).is_none_or(|ceil| ceil > high) {
        return Err(input(argument, None, &format!("within {low} and {high}"), given));
    }
    Ok(given)
}

/// Sets the constructor's keywords on a rule.
fn apply(rule: &mut OrderMarginRule, options: &Bound<'_, PyDict>) -> PyResult<()> {
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

fn apply_modes<'py>(
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

/// Initial margin rate that grows with a market's open interest:
/// `base + (1 − base) · clamp((open_interest − lower) / (upper − lower), 0, 1)` (dYdX v4).
///
/// Amounts in account currency; the rate as a decimal of 28 digits.
#[pyfunction]
fn open_interest_rate<'py>(
    base: &Bound<'py, PyAny>,
    lower: &Bound<'py, PyAny>,
    upper: &Bound<'py, PyAny>,
    open_interest: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let rate = margin::open_interest_rate(
        decimal("base", base)?,
        decimal("lower", lower)?,
        decimal("upper", upper)?,
        decimal("open_interest", open_interest)?,
    );
    fraction_to_decimal(base.py(), rate.map_err(from_core)?)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLeverageTiers>()?;
    module.add_class::<PyAcceptance>()?;
    module.add_class::<PyOrderMarginRule>()?;
    module.add_function(wrap_pyfunction!(open_interest_rate, module)?)
}
