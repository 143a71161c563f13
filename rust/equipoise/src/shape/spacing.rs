//! How the levels of a side are spaced from the innermost one outwards.

use super::{DEPTH_MAX_BPS, in_range};
use crate::error::{Error, Result};

/// Smallest innermost depth from which a geometric ladder starts, in bps: zero has no geometric successor.
pub const GEOMETRIC_INNER_MIN_BPS: f64 = 0.01;
/// Smallest growth per level of a geometric ladder, where the skew has moved its innermost level to the outermost or past.
pub const GEOMETRIC_RATIO_MIN: f64 = 1.1;

/// Spacing of the depths of one side.
#[derive(Clone, Debug, PartialEq)]
pub enum DepthSpacing {
    /// `inner + i·step_bps`.
    Linear {
        /// Distance between neighbours, bps, positive.
        step_bps: f64,
    },
    /// From the innermost depth to `outer_bps` by equal steps, at least a hundredth of `outer_bps` each where the skew has
    /// moved the innermost level to the outermost or past.
    Even {
        /// Outermost depth, bps, positive.
        outer_bps: f64,
    },
    /// From the innermost depth to `outer_bps` by a constant ratio: 2 → 32 over five levels is 2, 4, 8, 16, 32.
    ///
    /// The ratio is at least [`GEOMETRIC_RATIO_MIN`] and the ladder starts at [`GEOMETRIC_INNER_MIN_BPS`] or deeper, so a
    /// skewed side keeps its levels apart.
    Geometric {
        /// Outermost depth, bps, positive.
        outer_bps: f64,
    },
    /// Gaps that grow by a constant ratio: `inner + step_bps·(1 + ratio + … )`. The shape of the ladder does not depend on
    /// the skew: it moves as a whole. Step 2 and ratio 2 from 2 bps: 2, 4, 8, 16, 32.
    Growing {
        /// Distance from the innermost to the second level, bps, positive.
        step_bps: f64,
        /// Growth of the gap per level, at least 1.
        ratio: f64,
    },
    /// Depths in bps from the caller, used as they stand; the skew then acts through sizes only.
    Given(Vec<f64>),
}

impl DepthSpacing {
    /// Checks every number of the spacing.
    ///
    /// # Errors
    /// Names the field that is not finite, not positive or beyond [`DEPTH_MAX_BPS`].
    pub fn check(&self) -> Result<()> {
        const POSITIVE: &str = "in (0, 1e6]";
        let positive = |name, value: f64| in_range(name, value, f64::MIN_POSITIVE, DEPTH_MAX_BPS, POSITIVE);
        match self {
            Self::Linear { step_bps } => positive("step_bps", *step_bps),
            Self::Even { outer_bps } | Self::Geometric { outer_bps } => positive("outer_bps", *outer_bps),
            Self::Growing { step_bps, ratio } => {
                positive("step_bps", *step_bps)?;
                in_range("ratio", *ratio, 1.0, 1e3, "in [1, 1000]")
            }
            Self::Given(depths) => {
                if depths.is_empty() {
                    return Err(Error::new("depth_bps", "at least one level", "none"));
                }
                match depths.iter().position(|depth| depth.is_nan() || depth.abs() > DEPTH_MAX_BPS) {
                    Some(index) => Err(Error::at("depth_bps", index, "finite and within ±1e6", depths[index])),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Writes the depths of a side in bps, innermost first, into `out`; at most [`DEPTH_MAX_BPS`] each. Returns how many were
/// written: `out.len()`, or fewer where the caller gave fewer.
///
/// The sequence never decreases, except that [`DepthSpacing::Given`] keeps the caller's order.
pub fn ladder_depths(inner_bps: f64, spacing: &DepthSpacing, out: &mut [f64]) -> usize {
    match spacing {
        DepthSpacing::Linear { step_bps } => {
            for (index, depth) in out.iter_mut().enumerate() {
                *depth = inner_bps + index as f64 * step_bps;
            }
        }
        DepthSpacing::Even { outer_bps } => {
            let gaps = out.len().saturating_sub(1).max(1) as f64;
            let step = ((outer_bps - inner_bps) / gaps).max(0.01 * outer_bps);
            for (index, depth) in out.iter_mut().enumerate() {
                *depth = inner_bps + index as f64 * step;
            }
        }
        DepthSpacing::Geometric { outer_bps } => {
            let inner = inner_bps.max(GEOMETRIC_INNER_MIN_BPS);
            let gaps = out.len().saturating_sub(1).max(1) as f64;
            let growth = ((outer_bps / inner).ln() / gaps).max(GEOMETRIC_RATIO_MIN.ln());
            for (index, depth) in out.iter_mut().enumerate() {
                *depth = inner * (growth * index as f64).exp();
            }
        }
        DepthSpacing::Growing { step_bps, ratio } => {
            let (mut depth_next, mut gap) = (inner_bps, *step_bps);
            for depth in out.iter_mut() {
                *depth = depth_next;
                depth_next += gap;
                gap *= ratio;
            }
        }
        DepthSpacing::Given(depths) => {
            for (depth, given) in out.iter_mut().zip(depths) {
                *depth = *given;
            }
        }
    }
    for depth in out.iter_mut() {
        *depth = depth.min(DEPTH_MAX_BPS);
    }
    match spacing {
        DepthSpacing::Given(depths) => depths.len().min(out.len()),
        _ => out.len(),
    }
}
