//! Depths, fill intensities, adverse selection and edges.
//!
//! Per side, with δ the depth of a price from the mid as a fraction (`depth_bps / 1e4`), q the inventory in reference orders:
//!
//! ```text
//! λ(δ)   = A e^{−κδ}                                   fills per second at depth δ
//! δ*     = ln(1 + γ/κ) / γ + fee                       half-spread without inventory
//! C      = √( σ²γ / (2κA) · (1 + γ/κ)^{1 + κ/γ} )      skew per reference order
//! bid    = δ* + (2q + 1)/2 · C      ask = δ* − (2q − 1)/2 · C
//! fill   = 1 − e^{−λ(δ)τ}           or first passage 2Φ(−δ / (σ√τ))
//! edge   = δ − AS₀ e^{−δ/δc} − fee
//! value  = fill · edge · price                         per base unit
//! ```
//!
//! Sources: Avellaneda and Stoikov (Quantitative Finance 8, 2008) for λ and the half-spread; Guéant, Lehalle and
//! Fernandez-Tapia (Mathematics and Financial Economics 7, 2013) for the asymptotic depths; the reflection principle for
//! first passage of a driftless Brownian motion.
//!
//! Everything is a float and nothing here is booked: rounding to ticks and lots happens downstream. Nothing allocates
//! except the constructors of [`Levels`] and [`DepthSpacing::Given`].

mod levels;
mod normal;
mod spacing;

pub use levels::Levels;
pub use normal::{erfc, normal_cdf};
pub use spacing::{DepthSpacing, GEOMETRIC_INNER_MIN_BPS, GEOMETRIC_RATIO_MIN, ladder_depths};

use crate::error::{Error, Result};
use crate::units::Side;

/// Basis points in one.
pub const BPS: f64 = 1e4;
/// Deepest depth that is ever returned, bps: a hundred times the price. A bid beyond 1e4 has no positive price.
pub const DEPTH_MAX_BPS: f64 = 1e6;

/// How likely a resting order fills within the horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FillModel {
    /// Poisson arrivals of trades that reach the order: `1 − e^{−λ(δ)τ}`.
    #[default]
    Intensity,
    /// The mid, a driftless Brownian motion, touches the order: `2Φ(−δ / (σ√τ))`, and 1 for δ ≤ 0.
    FirstPassage,
}

/// The numbers of a [`Shape`], unchecked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// σ: standard deviation of the mid over one second, a fraction of price; in [0, 1].
    pub volatility: f64,
    /// A: fills per second of an order at depth zero; in [1e-9, 1e9].
    pub fill_rate: f64,
    /// κ: decay of the fill rate per fraction of price; in [1e-9, 1e9].
    pub fill_decay: f64,
    /// τ: time a quote is meant to rest, seconds; in [1e-9, 1e9].
    pub horizon_s: f64,
    /// γ_c: absolute risk aversion per unit of account currency; in [0, 1e9]. Zero is risk neutral: no skew.
    pub risk_aversion: f64,
    /// Reference order, the unit of inventory, in base units (contracts); in [1e-9, 1e15].
    pub unit: f64,
    /// AS₀: expected loss to informed flow of a fill at the mid, bps; in [0, 1e6].
    pub adverse_bps: f64,
    /// δc: depth over which adverse selection falls by e, bps; in [1e-9, 1e6].
    pub adverse_decay_bps: f64,
    /// Maker fee, bps; a rebate is negative; in [−1e4, 1e4].
    pub fee_bps: f64,
    /// Which fill probability.
    pub fill_model: FillModel,
    /// Least innermost depth, bps; in [0, 1e6].
    pub depth_min_bps: f64,
}

/// Checked parameters of the market's shape around the mid; see the [module](self) for the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    parameters: Parameters,
}

/// What one order at one depth is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LevelValue {
    /// Probability of a fill over the horizon, in [0, 1].
    pub fill_probability: f64,
    /// Expected adverse selection of a fill, bps; 0 where the caller's edge already holds it.
    pub adverse_bps: f64,
    /// Edge of a fill net of adverse selection and fee, bps.
    pub edge_bps: f64,
    /// Expected value per base unit, quote currency.
    pub utility: f64,
}

/// The asymptotic solution at one price, reusable for both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// δ*, fee included, bps.
    pub half_bps: f64,
    /// C, the skew per reference order of inventory, bps.
    pub skew_bps: f64,
}

impl Spread {
    /// Unclipped depth of a side in bps at inventory `q` (reference orders, long positive).
    #[must_use]
    pub fn depth_bps(self, side: Side, q: f64) -> f64 {
        match side {
            Side::Bid => self.half_bps + (2.0 * q + 1.0) / 2.0 * self.skew_bps,
            Side::Ask => self.half_bps - (2.0 * q - 1.0) / 2.0 * self.skew_bps,
        }
    }
}

impl Shape {
    /// Checks the ranges stated at [`Parameters`].
    ///
    /// # Errors
    /// Names the first parameter that is not finite or out of range.
    pub fn new(parameters: Parameters) -> Result<Self> {
        const POSITIVE: &str = "in [1e-9, 1e9]";
        let p = &parameters;
        in_range("volatility", p.volatility, 0.0, 1.0, "in [0, 1] per square-root second")?;
        in_range("fill_rate", p.fill_rate, 1e-9, 1e9, POSITIVE)?;
        in_range("fill_decay", p.fill_decay, 1e-9, 1e9, POSITIVE)?;
        in_range("horizon_s", p.horizon_s, 1e-9, 1e9, POSITIVE)?;
        in_range("risk_aversion", p.risk_aversion, 0.0, 1e9, "in [0, 1e9]")?;
        in_range("unit", p.unit, 1e-9, 1e15, "in [1e-9, 1e15]")?;
        in_range("adverse_bps", p.adverse_bps, 0.0, DEPTH_MAX_BPS, "in [0, 1e6]")?;
        in_range("adverse_decay_bps", p.adverse_decay_bps, 1e-9, DEPTH_MAX_BPS, "in [1e-9, 1e6]")?;
        in_range("fee_bps", p.fee_bps, -BPS, BPS, "in [-1e4, 1e4]")?;
        in_range("depth_min_bps", p.depth_min_bps, 0.0, DEPTH_MAX_BPS, "in [0, 1e6]")?;
        Ok(Self { parameters })
    }

    /// The numbers this shape was made of.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// γ: risk aversion per fraction of price, `γ_c · unit · price`; .3 · 14.66 · 27.11 is 119.
    #[must_use]
    pub fn risk_aversion_fraction(&self, price: f64) -> f64 {
        self.parameters.risk_aversion * self.parameters.unit * price
    }

    /// η: price of inventory `γ_c (σ·price)² τ`, account currency per base unit squared.
    #[must_use]
    pub fn price_of_risk(&self, price: f64) -> f64 {
        let p = &self.parameters;
        let move_per_root_second = p.volatility * price;
        p.risk_aversion * move_per_root_second * move_per_root_second * p.horizon_s
    }

    /// δ* and C at this price, each clipped to [`DEPTH_MAX_BPS`]. The price must be finite and positive.
    #[must_use]
    pub fn spread(&self, price: f64) -> Spread {
        let p = &self.parameters;
        spread(self.risk_aversion_fraction(price), p.fill_decay, p.volatility, p.fill_rate, p.fee_bps)
    }

    /// Inventory in reference orders, `position / unit`, clipped to ±max(position_max / unit, 1).
    ///
    /// The asymptotic depths grow without bound in q and mean nothing past the limit, where the growing side is shut in any
    /// case. One reference order always counts, so that a position above a limit of zero is still leaned against.
    #[must_use]
    pub fn inventory_q(&self, position: f64, position_max: f64) -> f64 {
        let q_max = (position_max / self.parameters.unit).max(1.0);
        (position / self.parameters.unit).max(-q_max).min(q_max)
    }

    /// Innermost depth of a side in bps at inventory `q` in reference orders, clipped to
    /// [`Parameters::depth_min_bps`]..=[`DEPTH_MAX_BPS`].
    ///
    /// The model may ask for a negative depth, a price through the mid, to be rid of inventory; a passive quoter stops at
    /// the minimum, and its rounding then keeps it off the opposite touch.
    #[must_use]
    pub fn side_depth_bps(&self, side: Side, q: f64, price: f64) -> f64 {
        self.clip(self.spread(price).depth_bps(side, q))
    }

    /// Both innermost depths (bid, ask), for one evaluation of the formulas.
    #[must_use]
    pub fn depths_bps(&self, q: f64, price: f64) -> (f64, f64) {
        let spread = self.spread(price);
        (self.clip(spread.depth_bps(Side::Bid, q)), self.clip(spread.depth_bps(Side::Ask, q)))
    }

    fn clip(&self, depth_bps: f64) -> f64 {
        depth_bps.max(self.parameters.depth_min_bps).min(DEPTH_MAX_BPS)
    }

    /// λ: fills per second at this depth.
    #[must_use]
    pub fn fill_rate_at(&self, depth_bps: f64) -> f64 {
        let p = &self.parameters;
        p.fill_rate * (-p.fill_decay * depth_bps / BPS).exp()
    }

    /// Probability of a fill over the horizon, in [0, 1], decreasing in depth. The depth must be a number.
    #[must_use]
    pub fn fill_probability(&self, depth_bps: f64) -> f64 {
        let p = &self.parameters;
        match p.fill_model {
            FillModel::Intensity => -(-self.fill_rate_at(depth_bps) * p.horizon_s).exp_m1(),
            FillModel::FirstPassage => first_passage(depth_bps / BPS, p.volatility * p.horizon_s.sqrt()),
        }
    }

    /// Expected adverse selection of a fill, bps: `AS₀ e^{−δ/δc}`, and AS₀ for prices through the mid.
    #[must_use]
    pub fn adverse_bps_at(&self, depth_bps: f64) -> f64 {
        let p = &self.parameters;
        p.adverse_bps * (-depth_bps.max(0.0) / p.adverse_decay_bps).exp()
    }

    /// Edge of a fill, bps: depth less adverse selection less fee. Increasing in depth.
    #[must_use]
    pub fn edge_bps(&self, depth_bps: f64) -> f64 {
        depth_bps - self.adverse_bps_at(depth_bps) - self.parameters.fee_bps
    }

    /// Everything about an order at this depth; `price` is the reference (mid) price the bps are fractions of.
    #[must_use]
    pub fn value_at(&self, depth_bps: f64, price: f64) -> LevelValue {
        let fill_probability = self.fill_probability(depth_bps);
        let adverse_bps = self.adverse_bps_at(depth_bps);
        let edge_bps = depth_bps - adverse_bps - self.parameters.fee_bps;
        LevelValue { fill_probability, adverse_bps, edge_bps, utility: fill_probability * edge_bps / BPS * price }
    }
}

/// Half-spread and skew from the bare numbers; `gamma` and `kappa` per fraction of price, results in bps.
///
/// The limits are taken where the formulas have them: γ → 0 gives 1/κ + fee and no skew.
#[must_use]
pub fn spread(gamma: f64, kappa: f64, volatility: f64, fill_rate: f64, fee_bps: f64) -> Spread {
    let x = gamma / kappa;
    // ln(1 + x)/x and the logarithm of (1 + x)^{1 + 1/x}, both with their limit 1 at x = 0.
    let log_ratio = if x > 0.0 { x.ln_1p() / x } else { 1.0 };
    let log_power = x.ln_1p() + log_ratio;
    // √(γ/(κA)) and e^{log_power/2} apart, so that neither overflows in the checked ranges.
    let skew = volatility * (x / (2.0 * fill_rate)).sqrt() * (log_power / 2.0).exp();
    Spread {
        half_bps: (log_ratio / kappa * BPS + fee_bps).min(DEPTH_MAX_BPS),
        skew_bps: (skew * BPS).min(DEPTH_MAX_BPS),
    }
}

/// Probability that a driftless Brownian motion reaches `distance` (fraction of price) within a horizon over which its
/// standard deviation is `deviation`.
#[must_use]
pub fn first_passage(distance: f64, deviation: f64) -> f64 {
    if distance <= 0.0 {
        return 1.0;
    }
    // 2Φ(−z) is erfc(z/√2); a zero deviation gives z = ∞ and probability zero.
    erfc(distance / deviation * std::f64::consts::FRAC_1_SQRT_2)
}

/// Depth of a price from the mid in bps, positive away from the market: bids below, asks above.
#[must_use]
pub fn depth_of_price_bps(side: Side, price: f64, mid: f64) -> f64 {
    match side {
        Side::Bid => (mid - price) / mid * BPS,
        Side::Ask => (price - mid) / mid * BPS,
    }
}

/// Price at a depth from the mid; not positive for bids of 1e4 bps and more.
#[must_use]
pub fn price_at_depth(side: Side, depth_bps: f64, mid: f64) -> f64 {
    match side {
        Side::Bid => mid * (1.0 - depth_bps / BPS),
        Side::Ask => mid * (1.0 + depth_bps / BPS),
    }
}

/// `Ok` when `low ≤ value ≤ high`; NaN and infinities fall outside.
pub(crate) fn in_range(
    argument: &'static str,
    value: f64,
    low: f64,
    high: f64,
    requirement: &'static str,
) -> Result<()> {
    if value >= low && value <= high { Ok(()) } else { Err(Error::new(argument, requirement, value)) }
}
