//! Levels that the caller values instead of the model.

use super::{DEPTH_MAX_BPS, LevelValue};
use crate::error::{Error, Result};

/// Depths, fill probabilities and edges of one side, from the caller; innermost first by custom, order and duplicates kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    depth_bps: Vec<f64>,
    fill_probability: Vec<f64>,
    edge_bps: Vec<f64>,
}

impl Levels {
    /// Most levels on a side.
    pub const COUNT_MAX: usize = 1_000;

    /// Checks and copies three arrays of equal length: depth in bps from the mid (finite), probability of a fill over the
    /// horizon in [0, 1] (not a rate), edge in bps net of fees and adverse selection (finite, any sign).
    ///
    /// # Errors
    /// Names the array, the index and the requirement.
    pub fn new(depth_bps: &[f64], fill_probability: &[f64], edge_bps: &[f64]) -> Result<Self> {
        let count = depth_bps.len();
        if count == 0 || count > Self::COUNT_MAX {
            return Err(Error::new("depth_bps", "1 to 1000 levels", count));
        }
        for (name, length) in [("fill_probability", fill_probability.len()), ("edge_bps", edge_bps.len())] {
            if length != count {
                return Err(Error::new(name, "as long as depth_bps", length));
            }
        }
        let bounded = |value: f64| value.abs() <= DEPTH_MAX_BPS;
        for index in 0..count {
            if !bounded(depth_bps[index]) {
                return Err(Error::at("depth_bps", index, "finite and within ±1e6", depth_bps[index]));
            }
            if !(0.0..=1.0).contains(&fill_probability[index]) {
                return Err(Error::at("fill_probability", index, "in [0, 1]", fill_probability[index]));
            }
            if !bounded(edge_bps[index]) {
                return Err(Error::at("edge_bps", index, "finite and within ±1e6", edge_bps[index]));
            }
        }
        Ok(Self {
            depth_bps: depth_bps.to_vec(),
            fill_probability: fill_probability.to_vec(),
            edge_bps: edge_bps.to_vec(),
        })
    }

    /// Number of levels.
    #[must_use]
    pub fn count(&self) -> usize {
        self.depth_bps.len()
    }

    /// Distances from the mid, bps.
    #[must_use]
    pub fn depth_bps(&self) -> &[f64] {
        &self.depth_bps
    }

    /// Probabilities of a fill over the horizon.
    #[must_use]
    pub fn fill_probability(&self) -> &[f64] {
        &self.fill_probability
    }

    /// Edges net of everything, bps.
    #[must_use]
    pub fn edge_bps(&self) -> &[f64] {
        &self.edge_bps
    }

    /// Value of level `index` once its price is rounded to a depth of `depth_bps`: a fill there earns the difference in
    /// depth on top of the caller's edge, at the caller's probability. `None` beyond the last level.
    #[must_use]
    pub fn value_at(&self, index: usize, depth_bps: f64, price: f64) -> Option<LevelValue> {
        let given = *self.depth_bps.get(index)?;
        let fill_probability = self.fill_probability[index];
        let edge_bps = self.edge_bps[index] + (depth_bps - given);
        Some(LevelValue {
            fill_probability,
            adverse_bps: 0.0,
            edge_bps,
            utility: fill_probability * edge_bps * 1e-4 * price,
        })
    }
}
