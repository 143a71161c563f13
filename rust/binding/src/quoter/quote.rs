//! `Quote`.

use std::sync::{Arc, LazyLock};

use equipoise::ladder::{self, LadderConfig, Policy, Source};
use equipoise::margin::{Combine, OrderMarginRule};
use equipoise::units::Side;
use pyo3::prelude::*;

use super::certificate::PyCertificate;
use super::joint::PyJointReport;
use super::side::PyQuoteSide;
use super::words::{POLICIES, choice, named};
use crate::arrays::micros_to_decimal;
use crate::error::{from_core, input};
use crate::margin::PyOrderMarginRule;
use crate::market::{PyAccountState, PyMarket};
use crate::present::present;
use crate::shape::{PyLevels, PyShape};
use crate::split::PySplit;

/// A two-sided quote: rounded orders that may be sent, and the proof that they fit one margin.
///
/// Attributes
/// ----------
/// market : Market
///     The market it was made for.
/// split : Split
///     How the margin was shared.
/// bids, asks : QuoteSide
///     The orders.
/// margin_held : Decimal
///     What the rule holds for all orders on top of the position.
/// margin_passed : Decimal
///     Margin that one side could not use and the other was given; positive from bids to asks. Zero where the joint answer
///     was returned: there is nothing to pass.
/// policy : str
///     "inventory" or "joint".
/// joint : JointReport or None
///     Under policy `joint`: objective, dual bound, prices, and which of the two ladders this is.
/// certificate : Certificate
///     Proof on the final orders.
#[pyclass(frozen, module = "equipoise", name = "Quote")]
pub(crate) struct PyQuote {
    pub(super) core: Arc<ladder::Quote>,
    pub(super) market: Py<PyMarket>,
    pub(super) input: Arc<Input>,
}

/// The rule where none is given: the strictest.
static SUM: LazyLock<OrderMarginRule> = LazyLock::new(|| OrderMarginRule::plain(Combine::Sum));

/// What a quote was made from, to make it again under the other policy.
pub(super) struct Input {
    pub(super) config: LadderConfig,
    pub(super) state: Py<PyAccountState>,
    pub(super) rule: Option<Py<PyOrderMarginRule>>,
    pub(super) shape: Option<Py<PyShape>>,
    pub(super) bids: Option<Py<PyLevels>>,
    pub(super) asks: Option<Py<PyLevels>>,
}

impl Input {
    pub(super) fn quote(
        &self,
        py: Python<'_>,
        engine: &mut ladder::LadderEngine,
        market: &Py<PyMarket>,
    ) -> PyResult<ladder::Quote> {
        let market = &market.bind(py).get().market;
        let account = self.state.bind(py).get().on(&market.instrument)?;
        let source = match (&self.shape, &self.bids, &self.asks) {
            (Some(shape), _, _) => Source::Shape(&shape.bind(py).get().core),
            (None, Some(bids), Some(asks)) => {
                Source::Levels { bids: &bids.bind(py).get().core, asks: &asks.bind(py).get().core }
            }
            _ => return Err(input("shape", None, "given, or bids and asks", "None")),
        };
        let rule = self.rule.as_ref().map_or(&*SUM, |rule| &rule.bind(py).get().rule);
        engine.quote(market, &account, rule, source).map_err(from_core)
    }
}

#[pymethods]
impl PyQuote {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn market(&self, py: Python<'_>) -> Py<PyMarket> {
        self.market.clone_ref(py)
    }

    #[getter]
    fn split(&self) -> PySplit {
        PySplit { split: self.core.split }
    }

    #[getter]
    fn bids(&self) -> PyQuoteSide {
        PyQuoteSide { quote: Arc::clone(&self.core), side: Side::Bid }
    }

    #[getter]
    fn asks(&self) -> PyQuoteSide {
        PyQuoteSide { quote: Arc::clone(&self.core), side: Side::Ask }
    }

    #[getter]
    fn certificate(&self) -> PyCertificate {
        PyCertificate { quote: Arc::clone(&self.core) }
    }

    #[getter]
    fn margin_held<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.core.certificate.margin_held)
    }

    #[getter]
    fn margin_held_micros(&self) -> i64 {
        self.core.certificate.margin_held
    }

    #[getter]
    fn margin_passed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.core.margin_passed)
    }

    #[getter]
    fn policy(&self) -> &'static str {
        match self.core.policy {
            Policy::Inventory => "inventory",
            Policy::Joint => "joint",
        }
    }

    #[getter]
    fn joint(&self) -> Option<PyJointReport> {
        self.core.joint.map(|report| PyJointReport { report })
    }

    /// The same input quoted under another policy; everything else of the configuration stays.
    fn under(&self, py: Python<'_>, policy: &str) -> PyResult<Self> {
        let policy = choice("policy", policy, &POLICIES)?;
        if policy == self.core.policy {
            let (core, input) = (Arc::clone(&self.core), Arc::clone(&self.input));
            return Ok(Self { core, market: self.market.clone_ref(py), input });
        }
        let config = LadderConfig { policy, ..self.input.config.clone() };
        let mut engine = ladder::LadderEngine::new(config.clone()).map_err(named)?;
        let core = Arc::new(self.input.quote(py, &mut engine, &self.market)?);
        let kept = |object: &Option<Py<PyLevels>>| object.as_ref().map(|levels| levels.clone_ref(py));
        let input = Arc::new(Input {
            config,
            state: self.input.state.clone_ref(py),
            rule: self.input.rule.as_ref().map(|rule| rule.clone_ref(py)),
            shape: self.input.shape.as_ref().map(|shape| shape.clone_ref(py)),
            bids: kept(&self.input.bids),
            asks: kept(&self.input.asks),
        });
        Ok(Self { core, market: self.market.clone_ref(py), input })
    }

    /// The inventory rule against the joint policy for the same input: value, margin, sizes, and why.
    fn compare<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_compare", slf.into_any())
    }

    /// The orders as `Order` values, innermost bids first, then innermost asks first.
    fn orders<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_orders", slf.into_any())
    }

    /// Plain Python values, ready for JSON.
    fn to_dict<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_dict", slf.into_any())
    }

    /// One row an order, as a polars frame (extra `report`).
    fn to_polars<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_polars", slf.into_any())
    }

    /// One row an order, as a pandas frame (extra `report`).
    fn to_pandas<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_pandas", slf.into_any())
    }

    fn _repr_html_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_html", slf.into_any())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.core == other.get().core)
    }

    fn __repr__(&self) -> String {
        let quote = &self.core;
        format!(
            "Quote(bids={}, asks={}, margin_held={}, margin_usable={}, ok={})",
            quote.bids.lots.len(),
            quote.asks.lots.len(),
            quote.certificate.margin_held as f64 / 1e6,
            quote.certificate.margin_usable as f64 / 1e6,
            if quote.certificate.ok { "True" } else { "False" },
        )
    }
}
