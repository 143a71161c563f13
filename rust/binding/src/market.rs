//! `Market`, `AccountState`, `PriceRule`: decimals in, exact integers inside.

use equipoise::market::{self, Account, Market};
use equipoise::units::{self, Decimal, Instrument};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::arrays::{decimal, flag, instance, integer, kind, show, to_decimal};
use crate::error::{from_core, input};

/// Which prices a venue accepts on top of the tick grid.
///
/// Build it with `PriceRule.tick()` (every multiple of the tick; the default) or
/// `PriceRule.significant(figures, decimals_max=None)`.
///
/// Examples
/// --------
/// >>> from equipoise import PriceRule
/// >>> PriceRule.significant(5, decimals_max=3)
/// PriceRule.significant(5, decimals_max=3)
#[pyclass(frozen, eq, hash, name = "PriceRule", module = "equipoise")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyPriceRule {
    rule: units::PriceRule,
    decimals_max: Option<u8>,
}

#[pymethods]
impl PyPriceRule {
    /// Every multiple of the tick.
    #[staticmethod]
    fn tick() -> Self {
        Self { rule: units::PriceRule::Tick, decimals_max: None }
    }

    /// At most `figures` significant figures (1 to 18) and `decimals_max` decimals (0 to 18); whole prices are always valid.
    #[staticmethod]
    #[pyo3(signature = (figures, decimals_max = None))]
    fn significant(figures: &Bound<'_, PyAny>, decimals_max: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let count = integer("figures", None, figures)?;
        let figures = u8::try_from(count).ok().filter(|count| (1..=18).contains(count));
        let figures = figures.ok_or_else(|| input("figures", None, "within 1 and 18", count))?;
        let decimals = decimals_max.map(|value| integer("decimals_max", None, value)).transpose()?;
        let decimals_max = match decimals {
            None => None,
            Some(count) => {
                let valid = u8::try_from(count).ok().filter(|count| *count <= 18);
                Some(valid.ok_or_else(|| input("decimals_max", None, "within 0 and 18", count))?)
            }
        };
        Ok(Self { rule: units::PriceRule::Significant { figures }, decimals_max })
    }

    /// Significant figures, or None where only the tick counts.
    #[getter]
    fn figures(&self) -> Option<u8> {
        match self.rule {
            units::PriceRule::Tick => None,
            units::PriceRule::Significant { figures } => Some(figures),
        }
    }

    /// Most decimals of a price, or None where the tick says it.
    #[getter]
    fn decimals_max(&self) -> Option<u8> {
        self.decimals_max
    }

    fn __repr__(&self) -> String {
        match (self.rule, self.decimals_max) {
            (units::PriceRule::Tick, _) => "PriceRule.tick()".to_owned(),
            (units::PriceRule::Significant { figures }, None) => format!("PriceRule.significant({figures})"),
            (units::PriceRule::Significant { figures }, Some(decimals)) => {
                format!("PriceRule.significant({figures}, decimals_max={decimals})")
            }
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let class = PyType::new::<Self>(py);
        match self.figures() {
            None => Ok((class.getattr("tick")?, PyTuple::empty(py))),
            Some(figures) => Ok((class.getattr("significant")?, (figures, self.decimals_max).into_pyobject(py)?)),
        }
    }
}

impl PyPriceRule {
    /// A significant-figure rule needs a power-of-ten tick, and the tick must say the same number of decimals.
    fn on(self, tick: Decimal) -> PyResult<units::PriceRule> {
        if let units::PriceRule::Significant { .. } = self.rule {
            if tick.mantissa() != 1 {
                return Err(input("tick", None, "a power of ten of at most 1 under significant figures", tick));
            }
            if self.decimals_max.is_some_and(|decimals| decimals != tick.scale()) {
                let requirement = "a price rule whose decimals_max is that of the tick";
                return Err(input("price_rule", None, requirement, self.__repr__()));
            }
        }
        Ok(self.rule)
    }
}

/// Best prices, mark and instrument of one symbol, exact.
///
/// Prices and sizes are `Decimal`, `int`, decimal text, or floats read by their shortest decimal.
///
/// Parameters
/// ----------
/// symbol
///     Name of the instrument at the venue.
/// bid, ask
///     Best prices, positive multiples of the tick; the ask lies above the bid.
/// mark
///     Mark price, positive.
/// tick, lot
///     Price step and size step (contracts), positive.
/// notional_min
///     Smallest order value in account currency; 0 where there is none.
/// contract_value
///     Value of one contract per unit of price (linear) or its face value (inverse); positive.
/// price_rule
///     Valid prices on the tick grid; every tick by default.
/// last
///     Last traded price; the mark by default.
/// inverse
///     Contracts are worth `contract_value / price`.
///
/// Raises
/// ------
/// InputError
///     An argument is not a finite decimal, off its grid, or out of range.
///
/// Examples
/// --------
/// >>> from equipoise import Market
/// >>> market = Market("HYPE", 27.10, 27.12, 27.11, tick="0.001", lot="0.01", notional_min=10)
/// >>> market.bid_ticks, market.mid, market.moved(bid=27.11).bid
/// (27100, Decimal('27.11'), Decimal('27.11'))
#[pyclass(frozen, name = "Market", module = "equipoise")]
pub(crate) struct PyMarket {
    symbol: Py<PyString>,
    price_rule: Option<PyPriceRule>,
    pub(crate) market: Market,
}

#[pymethods]
impl PyMarket {
    #[new]
    #[pyo3(signature = (symbol, bid, ask, mark, tick, lot, notional_min = None, contract_value = None, price_rule = None,
                        last = None, inverse = None))]
    #[expect(clippy::too_many_arguments, reason = "the constructor's arguments are the instrument's fields")]
    fn new(
        symbol: &Bound<'_, PyAny>,
        bid: &Bound<'_, PyAny>,
        ask: &Bound<'_, PyAny>,
        mark: &Bound<'_, PyAny>,
        tick: &Bound<'_, PyAny>,
        lot: &Bound<'_, PyAny>,
        notional_min: Option<&Bound<'_, PyAny>>,
        contract_value: Option<&Bound<'_, PyAny>>,
        price_rule: Option<&Bound<'_, PyAny>>,
        last: Option<&Bound<'_, PyAny>>,
        inverse: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let name = symbol.cast::<PyString>().map_err(|_| input("symbol", None, "text", kind(symbol)))?;
        let price_rule = match price_rule {
            None => None,
            Some(given) => Some(*instance::<PyPriceRule>("price_rule", given, "a PriceRule")?.get()),
        };
        let tick = decimal("tick", tick)?;
        let instrument = Instrument {
            tick,
            lot: decimal("lot", lot)?,
            contract_value: contract_value.map_or(Ok(Decimal::ONE), |value| decimal("contract_value", value))?,
            inverse: inverse.map_or(Ok(false), |value| flag("inverse", None, value))?,
            notional_min: notional_min.map_or(Ok(Decimal::ZERO), |value| decimal("notional_min", value))?,
            price_rule: price_rule.map_or(Ok(units::PriceRule::Tick), |rule| rule.on(tick))?,
        };
        let (bid, ask, mark) = (decimal("bid", bid)?, decimal("ask", ask)?, decimal("mark", mark)?);
        let last = last.map(|value| decimal("last", value)).transpose()?;
        let market = Market::new(instrument, bid, ask, mark, last).map_err(from_core)?;
        Ok(Self { symbol: name.clone().unbind(), price_rule, market })
    }

    /// The same instrument at other prices; what is not given stays. Re-reads nothing else.
    #[pyo3(signature = (*, bid = None, ask = None, mark = None, last = None))]
    fn moved(
        &self,
        py: Python<'_>,
        bid: Option<&Bound<'_, PyAny>>,
        ask: Option<&Bound<'_, PyAny>>,
        mark: Option<&Bound<'_, PyAny>>,
        last: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let read = |argument, value: Option<&Bound<'_, PyAny>>| value.map(|value| decimal(argument, value)).transpose();
        let (bid, ask) = (read("bid", bid)?, read("ask", ask)?);
        let market = self.market.moved(bid, ask, read("mark", mark)?, read("last", last)?).map_err(from_core)?;
        Ok(Self { symbol: self.symbol.clone_ref(py), price_rule: self.price_rule, market })
    }

    /// Name of the instrument.
    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        self.symbol.clone_ref(py)
    }

    /// Best bid.
    #[getter]
    fn bid<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.at_ticks(py, i128::from(self.market.best_bid_ticks))
    }

    /// Best ask.
    #[getter]
    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.at_ticks(py, i128::from(self.market.best_ask_ticks))
    }

    /// Middle of best bid and best ask, exact.
    #[getter]
    fn mid<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let both = i128::from(self.market.best_bid_ticks) + i128::from(self.market.best_ask_ticks);
        multiple(py, both * 5, self.market.instrument.tick, 1)
    }

    /// Mark price.
    #[getter]
    fn mark<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.market.mark)
    }

    /// Last traded price.
    #[getter]
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.market.last)
    }

    /// Price step.
    #[getter]
    fn tick<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.market.instrument.tick)
    }

    /// Size step in contracts.
    #[getter]
    fn lot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.market.instrument.lot)
    }

    /// Smallest order value in account currency.
    #[getter]
    fn notional_min<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.market.instrument.notional_min)
    }

    /// Value of one contract per unit of price, or its face value.
    #[getter]
    fn contract_value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.market.instrument.contract_value)
    }

    /// Whether contracts are worth `contract_value / price`.
    #[getter]
    fn inverse(&self) -> bool {
        self.market.instrument.inverse
    }

    /// Valid prices on the tick grid; None where every tick is.
    #[getter]
    fn price_rule(&self) -> Option<PyPriceRule> {
        self.price_rule
    }

    /// Best bid in ticks.
    #[getter]
    fn bid_ticks(&self) -> i64 {
        self.market.best_bid_ticks
    }

    /// Best ask in ticks.
    #[getter]
    fn ask_ticks(&self) -> i64 {
        self.market.best_ask_ticks
    }

    /// A price as ticks; InputError when it is off the grid.
    fn ticks(&self, price: &Bound<'_, PyAny>) -> PyResult<i64> {
        market::ticks("price", decimal("price", price)?, &self.market.instrument).map_err(from_core)
    }

    /// Price of a number of ticks.
    fn price<'py>(&self, ticks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.at_ticks(ticks.py(), i128::from(integer("ticks", None, ticks)?))
    }

    /// A size in contracts as lots, signed; InputError when it is off the lot grid.
    fn lots(&self, size: &Bound<'_, PyAny>) -> PyResult<i64> {
        market::lots("size", decimal("size", size)?, &self.market.instrument).map_err(from_core)
    }

    /// Size of a number of lots, in contracts.
    fn size<'py>(&self, lots: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        multiple(lots.py(), i128::from(integer("lots", None, lots)?), self.market.instrument.lot, 0)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let (py, that) = (other.py(), other.get());
        Ok(self.market == that.market
            && self.price_rule == that.price_rule
            && self.symbol.bind(py).as_any().eq(that.symbol.bind(py))?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        let market = &self.market;
        let key = (
            self.symbol.bind(py),
            market.best_bid_ticks,
            market.best_ask_ticks,
            market.mark.mantissa(),
            market.last.mantissa(),
            market.instrument.tick.mantissa(),
            market.instrument.lot.mantissa(),
        );
        key.into_pyobject(py)?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let market = &self.market;
        let symbol = self.symbol.bind(py).repr()?;
        Ok(format!(
            "Market({symbol}, bid={}, ask={}, mark={}, tick={}, lot={})",
            self.bid(py)?,
            self.ask(py)?,
            market.mark,
            market.instrument.tick,
            market.instrument.lot,
        ))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let arguments = (
            self.symbol(py),
            self.bid(py)?,
            self.ask(py)?,
            self.mark(py)?,
            self.tick(py)?,
            self.lot(py)?,
            self.notional_min(py)?,
            self.contract_value(py)?,
            self.price_rule,
            self.last(py)?,
            self.inverse(),
        );
        Ok((PyType::new::<Self>(py), arguments.into_pyobject(py)?))
    }
}

impl PyMarket {
    fn at_ticks<'py>(&self, py: Python<'py>, ticks: i128) -> PyResult<Bound<'py, PyAny>> {
        multiple(py, ticks, self.market.instrument.tick, 0)
    }
}

/// `count × step × 10^-scale` as a Python decimal.
fn multiple(py: Python<'_>, count: i128, step: Decimal, scale: u8) -> PyResult<Bound<'_, PyAny>> {
    let mut product = count * i128::from(step.mantissa());
    let mut scale = step.scale() + scale;
    while scale > 0 && product % 10 == 0 {
        product /= 10;
        scale -= 1;
    }
    let narrow = i64::try_from(product).ok().and_then(|mantissa| Decimal::new(mantissa, scale));
    match narrow {
        Some(value) => to_decimal(py, value),
        None => Err(input("ticks", None, "of at most 18 digits as a price or size", count)),
    }
}

/// Margin, position and limits of one account in one symbol.
///
/// Parameters
/// ----------
/// margin_available
///     Equity − position margin − margin of orders that are *not* being replaced, in account currency. Read as micro-units,
///     rounded down; below zero it counts as zero.
/// position
///     Contracts held, long positive; or a pair (long, short), both counted positive, in hedge mode.
/// leverage
///     At least 1.
/// position_max
///     Limit on |position| in contracts, not negative. See `position_max_from_equity`.
/// equity
///     Equity in account currency, where it is known.
///
/// Raises
/// ------
/// InputError
///     An argument is not a finite decimal or out of range. A position off the lot grid is found when a market is at hand.
#[pyclass(frozen, eq, hash, name = "AccountState", module = "equipoise")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyAccountState {
    margin_available: Decimal,
    long: Decimal,
    short: Option<Decimal>,
    leverage: Decimal,
    position_max: Decimal,
    equity: Option<Decimal>,
}

#[pymethods]
impl PyAccountState {
    #[new]
    #[pyo3(signature = (margin_available, position, leverage, position_max, equity = None))]
    fn new(
        margin_available: &Bound<'_, PyAny>,
        position: &Bound<'_, PyAny>,
        leverage: &Bound<'_, PyAny>,
        position_max: &Bound<'_, PyAny>,
        equity: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (long, short) = legs(position)?;
        let state = Self {
            margin_available: decimal("margin_available", margin_available)?,
            long,
            short,
            leverage: market::leverage(decimal("leverage", leverage)?).map_err(from_core)?,
            position_max: decimal("position_max", position_max)?,
            equity: equity.map(|value| decimal("equity", value)).transpose()?,
        };
        market::micros("margin_available", state.margin_available).map_err(from_core)?;
        if let Some(equity) = state.equity {
            market::micros("equity", equity).map_err(from_core)?;
        }
        if state.position_max.mantissa() < 0 {
            return Err(input("position_max", None, "at least 0", state.position_max));
        }
        Ok(state)
    }

    /// Margin that orders of this symbol may hold.
    #[getter]
    fn margin_available<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.margin_available)
    }

    /// Contracts held, long positive; a pair (long, short) in hedge mode.
    #[getter]
    fn position<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let long = to_decimal(py, self.long)?;
        match self.short {
            None => Ok(long),
            Some(short) => Ok((long, to_decimal(py, short)?).into_pyobject(py)?.into_any()),
        }
    }

    /// Leverage.
    #[getter]
    fn leverage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.leverage)
    }

    /// Limit on |position| in contracts.
    #[getter]
    fn position_max<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.position_max)
    }

    /// Equity, or None.
    #[getter]
    fn equity<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.equity.map(|value| to_decimal(py, value)).transpose()
    }

    fn __repr__(&self) -> String {
        let position = match self.short {
            None => self.long.to_string(),
            Some(short) => format!("({}, {short})", self.long),
        };
        let equity = self.equity.map_or_else(String::new, |equity| format!(", equity={equity}"));
        format!(
            "AccountState(margin_available={}, position={position}, leverage={}, position_max={}{equity})",
            self.margin_available, self.leverage, self.position_max
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let arguments = (
            self.margin_available(py)?,
            self.position(py)?,
            self.leverage(py)?,
            self.position_max(py)?,
            self.equity(py)?,
        );
        Ok((PyType::new::<Self>(py), arguments.into_pyobject(py)?))
    }
}

impl PyAccountState {
    /// The account in lots of an instrument.
    pub(crate) fn on(&self, instrument: &Instrument) -> PyResult<Account> {
        let net = if self.short.is_some() { Decimal::ZERO } else { self.long };
        let account =
            Account::new(instrument, self.margin_available, net, self.leverage, self.position_max, self.equity);
        let mut account = account.map_err(from_core)?;
        if let Some(short) = self.short {
            let long = market::lots("position", self.long, instrument).map_err(from_core)?;
            let short = market::lots("position", short, instrument).map_err(from_core)?;
            let position = equipoise::margin::Position::legs(long, short);
            (account.position_lots, account.hedged_lots) = (position.lots, position.hedged_lots);
        }
        Ok(account)
    }
}

/// One signed number, or a pair of legs that are both not negative.
fn legs(position: &Bound<'_, PyAny>) -> PyResult<(Decimal, Option<Decimal>)> {
    let Ok(pair) = position.cast::<PyTuple>() else { return Ok((decimal("position", position)?, None)) };
    if pair.len() != 2 {
        return Err(input("position", None, "one number or a pair (long, short)", show(position)));
    }
    let read = |index: usize| -> PyResult<Decimal> {
        let leg = decimal("position", &pair.get_item(index)?)?;
        if leg.mantissa() < 0 {
            return Err(input("position", Some(index), "at least 0", leg));
        }
        Ok(leg)
    };
    Ok((read(0)?, Some(read(1)?)))
}

/// A limit on |position| in contracts: `equity × leverage × share / (mark × contract value)`, floored to the lot.
///
/// Parameters
/// ----------
/// market
///     Mark, lot and contract value.
/// equity
///     Equity in account currency; zero or less gives zero.
/// leverage
///     At least 1.
/// share
///     Share of the equity the position may take as margin; positive.
#[pyfunction]
#[pyo3(signature = (market, equity, leverage, share = None))]
fn position_max_from_equity<'py>(
    market: &Bound<'py, PyAny>,
    equity: &Bound<'py, PyAny>,
    leverage: &Bound<'py, PyAny>,
    share: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
    let share = share.map_or(Ok(Decimal::ONE), |value| decimal("share", value))?;
    let (equity, leverage) = (decimal("equity", equity)?, decimal("leverage", leverage)?);
    let lots = equipoise::split::position_max_from_equity(core, equity, leverage, share).map_err(from_core)?;
    multiple(market.py(), i128::from(lots), core.instrument.lot, 0)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyPriceRule>()?;
    module.add_class::<PyMarket>()?;
    module.add_class::<PyAccountState>()?;
    module.add_function(wrap_pyfunction!(position_max_from_equity, module)?)
}
