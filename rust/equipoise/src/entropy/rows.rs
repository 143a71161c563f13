//! Buffers of a solver: one number a level in each row, padded to whole lanes, all in one allocation.

use crate::lanes::LANES;

/// What one level contributes to a row, for eight levels.
pub(super) type Chunk = [f64; LANES];

const ROWS: usize = 9;

/// The memory behind [`Rows`]; it grows and is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    chunks: Vec<Chunk>,
    order: Vec<u32>,
    levels: usize,
}

/// Rows of one problem. Padding has bounds of zero, and so no share.
pub(super) struct Rows<'a> {
    pub(super) levels: usize,
    /// The answer.
    pub(super) share: &'a mut [Chunk],
    /// Utilities as given; the padding repeats the first.
    pub(super) utility: &'a mut [Chunk],
    pub(super) floor: &'a mut [Chunk],
    pub(super) cap: &'a mut [Chunk],
    /// `f ln f` and `c ln c`.
    pub(super) floor_log: &'a mut [Chunk],
    pub(super) cap_log: &'a mut [Chunk],
    /// Utilities less that of the reference level.
    pub(super) centred: &'a mut [Chunk],
    pub(super) exponential: &'a mut [Chunk],
    /// Shares of largest entropy, `clip(t, f, c)`.
    pub(super) flattest: &'a mut [Chunk],
    /// Levels in order of utility; empty until the knapsack needs it.
    pub(super) order: &'a mut Vec<u32>,
}

impl Store {
    /// Rows for so many levels. What they held before is left in them.
    #[inline(always)]
    pub(super) fn rows(&mut self, levels: usize) -> Rows<'_> {
        self.levels = levels;
        let chunks = levels.div_ceil(LANES);
        self.chunks.resize(chunks * ROWS, [0.0; LANES]);
        let (share, rest) = self.chunks.split_at_mut(chunks);
        let (utility, rest) = rest.split_at_mut(chunks);
        let (floor, rest) = rest.split_at_mut(chunks);
        let (cap, rest) = rest.split_at_mut(chunks);
        let (floor_log, rest) = rest.split_at_mut(chunks);
        let (cap_log, rest) = rest.split_at_mut(chunks);
        let (centred, rest) = rest.split_at_mut(chunks);
        let (exponential, flattest) = rest.split_at_mut(chunks);
        let order = &mut self.order;
        Rows { levels, share, utility, floor, cap, floor_log, cap_log, centred, exponential, flattest, order }
    }

    pub(super) fn share(&self) -> &[f64] {
        &self.chunks.as_flattened()[..self.levels]
    }

    pub(super) fn into_share(self) -> Vec<f64> {
        let mut share = self.chunks.into_flattened();
        share.truncate(self.levels);
        share
    }
}
