//! What a quoter is told once.

use crate::error::{Error, Result};
use crate::older::KellyConfig;
use crate::project::{Breadth, OnInfeasible, OnUnprofitable};
use crate::shape::DepthSpacing;
use crate::split::SplitConfig;

/// Largest number of levels a side may ask for.
pub const LEVELS_MAX: usize = 1_000;

/// How sizes are chosen within a side's part of the margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Entropy-constrained optimum, problem P1.
    Entropy,
    /// Sizes in proportion to expected edge per unit of time.
    Proportional,
    /// Fractional Kelly under a margin constraint.
    Kelly(KellyConfig),
}

/// How the two sides share the margin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// By the inventory rule, one side at a time.
    #[default]
    Inventory,
    /// Both sides in one problem (P2) that prices margin and inventory.
    Joint,
}

/// Terms of the joint problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JointConfig {
    /// `η`, account currency per squared contract; `None`: `γ_c (σ·price)² τ` of the shape.
    pub price_of_risk: Option<f64>,
    /// Bounds on the bids' part of the contracts quoted, `0 ≤ lo ≤ hi ≤ 1`; `None`: no bound, the lean emerges.
    pub bid_share: Option<[f64; 2]>,
    /// Whether the variance of fills is priced besides that of the expected position.
    pub fill_variance: bool,
}

impl JointConfig {
    fn check(&self) -> Result<()> {
        if let Some(price) = self.price_of_risk
            && !(price.is_finite() && price >= 0.0)
        {
            return Err(Error::new("price_of_risk", "finite and at least 0", price));
        }
        if let Some([lo, hi]) = self.bid_share
            && !(0.0 <= lo && lo <= hi && hi <= 1.0)
        {
            return Err(Error::new("bid_share", "a pair lo ≤ hi between 0 and 1", format_args!("({lo}, {hi})")));
        }
        Ok(())
    }
}

/// Randomised shares; off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jitter {
    /// Standard deviation of a share `p` as a multiple of `√(p (1 − p))`, below 1; zero: none.
    pub strength: f64,
    /// Another seed, another draw.
    pub seed: u64,
}

/// Everything a quoter is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct LadderConfig {
    /// Levels asked for on each side, 1…[`LEVELS_MAX`].
    pub levels: usize,
    /// How levels beyond the innermost are placed.
    pub spacing: DepthSpacing,
    /// Depth of the innermost level in bps; `None`: from the shape's half-spread and inventory skew.
    pub inner_bps: Option<f64>,
    /// Entropy floor h of each side, nats.
    pub entropy_min: f64,
    /// Regime factor f ≥ 1 on the temperature; 1 leaves the floor as it is.
    pub temperature_factor: f64,
    /// Sizing within a side.
    pub optimizer: Optimizer,
    /// The inventory rule and the buffers.
    pub split: SplitConfig,
    /// Smallest share of a side's size per level, 0…1/levels.
    pub share_floor: f64,
    /// Largest share of a side's size per level, 1/levels…1.
    pub share_cap: f64,
    /// Whether levels are dropped to gain value.
    pub breadth: Breadth,
    /// What to do where the entropy floor cannot be met.
    pub on_infeasible: OnInfeasible,
    /// What to do where no size has value.
    pub on_unprofitable: OnUnprofitable,
    /// How the two sides share the margin.
    pub policy: Policy,
    /// Terms of the joint problem; only policy `joint` and comparisons look at them.
    pub joint: JointConfig,
    /// Randomised shares.
    pub jitter: Jitter,
}

impl LadderConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// Names the first field out of range.
    pub fn checked(self) -> Result<Self> {
        let in_unit = |value: f64| (0.0..=1.0).contains(&value);
        if !(1..=LEVELS_MAX).contains(&self.levels) {
            return Err(Error::new("levels", "between 1 and 1000", self.levels));
        }
        if let Some(inner) = self.inner_bps
            && !(inner.is_finite() && (0.0..10_000.0).contains(&inner))
        {
            return Err(Error::new("inner_bps", "between 0 and 10000", inner));
        }
        if !(self.entropy_min.is_finite() && self.entropy_min >= 0.0) {
            return Err(Error::new("entropy_min", "finite and at least 0", self.entropy_min));
        }
        if !(self.temperature_factor.is_finite() && self.temperature_factor >= 1.0) {
            return Err(Error::new("temperature_factor", "finite and at least 1", self.temperature_factor));
        }
        if !in_unit(self.share_floor) || self.share_floor * self.levels as f64 > 1.0 {
            return Err(Error::new("share_floor", "between 0 and 1/levels", self.share_floor));
        }
        if !in_unit(self.share_cap) || self.share_cap * (self.levels as f64) < 1.0 {
            return Err(Error::new("share_cap", "between 1/levels and 1", self.share_cap));
        }
        if let Optimizer::Kelly(kelly) = self.optimizer {
            kelly_checked(kelly)?;
        }
        if self.policy == Policy::Joint && self.optimizer != Optimizer::Entropy {
            return Err(Error::new("optimizer", "entropy under policy joint", "an older optimizer"));
        }
        self.joint.check()?;
        if !(0.0..1.0).contains(&self.jitter.strength) {
            return Err(Error::new("jitter", "at least 0 and below 1", self.jitter.strength));
        }
        self.spacing.check()?;
        Ok(Self { split: self.split.checked()?, ..self })
    }
}

fn kelly_checked(kelly: KellyConfig) -> Result<()> {
    if !(kelly.fraction > 0.0 && kelly.fraction <= 1.0) {
        return Err(Error::new("fraction", "above 0 and at most 1", kelly.fraction));
    }
    if !(0.0..=1.0).contains(&kelly.toxicity) {
        return Err(Error::new("toxicity", "between 0 and 1", kelly.toxicity));
    }
    if !(kelly.toxicity_decay_bps > 0.0 && kelly.toxicity_decay_bps.is_finite()) {
        return Err(Error::new("toxicity_decay_bps", "positive and finite", kelly.toxicity_decay_bps));
    }
    Ok(())
}
