//! `OrderMarginRule`.

use equipoise::margin::{Combine, FeeReserve, MarginContext, Order, OrderMarginRule, Tiers};
use equipoise::market;
use equipoise::units::Decimal;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::acceptance::PyAcceptance;
use super::options::{OPTIONS, apply, basis_name, flat_bps, names, premium};
use super::orders::{Scene, orders, orders_of_people, orders_of_tuple, scene, side};
use super::tiers::PyLeverageTiers;
use super::words::{BALANCE_BASIS, FEE_RESERVE, REDUCE_ONLY, TIER_BASIS, TRIGGERS, name_of, word};
use crate::arrays::{decimal, instance, integer, micros_to_decimal, show, to_decimal};
use crate::error::{from_core, input};
use crate::market::PyMarket;

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
