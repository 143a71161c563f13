//! `LadderEngine`.

use std::sync::{Arc, Mutex, PoisonError};

use equipoise::ladder::{self, Jitter, JointConfig, LadderConfig, Optimizer};
use equipoise::older::KellyConfig;
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable};
use equipoise::shape::DepthSpacing;
use pyo3::prelude::*;

use super::quote::{Input, PyQuote};
use super::words::{POLICIES, choice, named};
use crate::arrays::{instance, integer, number};
use crate::error::input;
use crate::margin::PyOrderMarginRule;
use crate::market::{PyAccountState, PyMarket};
use crate::shape::{PyLevels, PyShape};
use crate::split::PySplitConfig;

/// The quoting pipeline with its buffers; `equipoise.Quoter` is its public face.
#[pyclass(frozen, module = "equipoise._rust", name = "LadderEngine")]
pub(crate) struct PyLadderEngine {
    // The interpreter lock makes contention impossible today; the mutex keeps the class sound without it.
    core: Mutex<ladder::LadderEngine>,
}

#[pymethods]
impl PyLadderEngine {
    #[new]
    #[pyo3(signature = (*, levels, spacing, depth_inner_bps, depth_outer_bps, entropy_min, temperature_factor, optimizer,
        kelly_fraction, kelly_toxicity, kelly_toxicity_decay_bps, split, share_floor, share_cap, breadth, on_infeasible,
        on_unprofitable, policy, price_of_risk, bid_share, fill_variance, jitter, jitter_seed))]
    #[expect(clippy::too_many_arguments, reason = "one argument a configuration field, all by name")]
    fn new(
        levels: &Bound<'_, PyAny>,
        spacing: &str,
        depth_inner_bps: Option<&Bound<'_, PyAny>>,
        depth_outer_bps: &Bound<'_, PyAny>,
        entropy_min: &Bound<'_, PyAny>,
        temperature_factor: &Bound<'_, PyAny>,
        optimizer: &str,
        kelly_fraction: &Bound<'_, PyAny>,
        kelly_toxicity: &Bound<'_, PyAny>,
        kelly_toxicity_decay_bps: &Bound<'_, PyAny>,
        split: &Bound<'_, PySplitConfig>,
        share_floor: &Bound<'_, PyAny>,
        share_cap: &Bound<'_, PyAny>,
        breadth: &str,
        on_infeasible: &str,
        on_unprofitable: &str,
        policy: &str,
        price_of_risk: Option<&Bound<'_, PyAny>>,
        bid_share: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        fill_variance: bool,
        jitter: &Bound<'_, PyAny>,
        jitter_seed: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let kelly = KellyConfig {
            fraction: number("kelly.fraction", kelly_fraction)?,
            toxicity: number("kelly.toxicity", kelly_toxicity)?,
            toxicity_decay_bps: number("kelly.toxicity_decay_bps", kelly_toxicity_decay_bps)?,
        };
        let optimizers = [
            ("entropy", Optimizer::Entropy),
            ("proportional", Optimizer::Proportional),
            ("kelly", Optimizer::Kelly(kelly)),
        ];
        let asked = integer("levels", None, levels)?;
        let levels = usize::try_from(asked).map_err(|_| input("levels", None, "between 1 and 1000", asked))?;
        let depth_outer_bps = number("depth_outer_bps", depth_outer_bps)?;
        let linear = choice("spacing", spacing, &[("geometric", false), ("linear", true)])?;
        let config = LadderConfig {
            levels,
            spacing: if linear {
                DepthSpacing::Even { outer_bps: depth_outer_bps }
            } else {
                DepthSpacing::Geometric { outer_bps: depth_outer_bps }
            },
            inner_bps: depth_inner_bps.map(|value| number("depth_inner_bps", value)).transpose()?,
            entropy_min: number("entropy_min", entropy_min)?,
            temperature_factor: number("temperature_factor", temperature_factor)?,
            optimizer: choice("optimizer", optimizer, &optimizers)?,
            split: split.get().config,
            share_floor: number("share_floor", share_floor)?,
            share_cap: number("share_cap", share_cap)?,
            breadth: choice("breadth", breadth, &[("widest", Breadth::Widest), ("best", Breadth::Best)])?,
            on_infeasible: choice(
                "on_infeasible",
                on_infeasible,
                &[("relax", OnInfeasible::Relax), ("refuse", OnInfeasible::Refuse)],
            )?,
            on_unprofitable: choice(
                "on_unprofitable",
                on_unprofitable,
                &[("empty", OnUnprofitable::Empty), ("least_bad", OnUnprofitable::LeastBad)],
            )?,
            policy: choice("policy", policy, &POLICIES)?,
            joint: JointConfig {
                price_of_risk: price_of_risk.map(|value| number("price_of_risk", value)).transpose()?,
                bid_share: bid_share
                    .map(|(lo, hi)| Ok::<_, PyErr>([number("bid_share", &lo)?, number("bid_share", &hi)?]))
                    .transpose()?,
                fill_variance,
            },
            jitter: Jitter {
                strength: number("jitter", jitter)?,
                seed: u64::from_ne_bytes(integer("jitter_seed", None, jitter_seed)?.to_ne_bytes()),
            },
        };
        let core = ladder::LadderEngine::new(config).map_err(named)?;
        Ok(Self { core: Mutex::new(core) })
    }

    fn quote(
        &self,
        market: &Bound<'_, PyAny>,
        state: &Bound<'_, PyAny>,
        rule: Option<&Bound<'_, PyAny>>,
        shape: Option<&Bound<'_, PyAny>>,
        bids: Option<&Bound<'_, PyAny>>,
        asks: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyQuote> {
        let market = instance::<PyMarket>("market", market, "a Market")?;
        let state = instance::<PyAccountState>("state", state, "an AccountState")?;
        let rule = rule.map(|value| instance::<PyOrderMarginRule>("rule", value, "an OrderMarginRule")).transpose()?;
        let shape = shape.map(|value| instance::<PyShape>("shape", value, "a Shape")).transpose()?;
        let bids = bids.map(|value| instance::<PyLevels>("bids", value, "Levels")).transpose()?;
        let asks = asks.map(|value| instance::<PyLevels>("asks", value, "Levels")).transpose()?;
        match (shape, bids, asks) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => return Err(input("shape", None, "given without bids and asks", "both")),
            (None, None, None) => return Err(input("shape", None, "given, or bids and asks", "None")),
            (None, None, Some(_)) => return Err(input("bids", None, "given together with asks", "None")),
            (None, Some(_), None) => return Err(input("asks", None, "given together with bids", "None")),
        }
        let (py, market) = (market.py(), market.clone().unbind());
        let mut engine = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let given = Input {
            config: engine.config().clone(),
            state: state.clone().unbind(),
            rule: rule.map(|rule| rule.clone().unbind()),
            shape: shape.map(|shape| shape.clone().unbind()),
            bids: bids.map(|levels| levels.clone().unbind()),
            asks: asks.map(|levels| levels.clone().unbind()),
        };
        let core = Arc::new(given.quote(py, &mut engine, &market)?);
        Ok(PyQuote { core, market, input: Arc::new(given) })
    }
}
