//! What an answer is worth: figures computed from the statement of the problem, the sizes and the multipliers, by code that
//! shares nothing with the searches.
//!
//! Weak duality: for any prices of margin `μ ≥ 0`, temperatures `T ≥ 0`, prices of caps `γ ≥ 0`, any `ν`, and any point at
//! which the concave values are linearised, no feasible ladders are worth more than
//!
//! ```text
//! μ·M + γ·C + ν²/(2η) − ν q + rest of the linearisation + max over (S_b, S_a) of V_b S_b + V_a S_a
//! V_x = min over n of  n − T (1 + h) + Σ max { (w_i − n) p − T (p ln p − p) : φ_i ≤ p ≤ κ_i },    w = u − μ m ∓ ν λ − γ
//! ```
//!
//! where the totals range over what limits on size and share leave, a polygon whose corners are few. Any normaliser `n` gives
//! a bound; a few Newton steps from the searches' own give a tight one.

use super::{Certificate, Multipliers, Saturation, Side, Sides};
use crate::entropy::water::{SUM_TIE, clip, entropy_of, kl_term, sum, water_level};
use crate::entropy::{Bound, ENTROPY_TIE};
use crate::lanes::{EXPONENT_MAX, LANES, Lanes};

/// Sums over more levels than this carry their rounding errors along.
const PLAIN_SUM_MAX: usize = 4096;
/// Newton steps on a normaliser.
const STEPS_MAX: u32 = 200;
/// Temperatures below these, the second as a part of the largest weight, count as zero.
const HEAT_MIN: f64 = 1e-250;
const HEAT_PART_MIN: f64 = 1e-40;
/// Rounding above this part of a value is allowed for, where the normaliser is so many temperatures.
const ROUNDING_FELT: f64 = 1e-3;
const HEAT_FELT: f64 = 1e6;
/// Logarithm of shares too small to matter as floors.
const FLOORED: f64 = 60.0;

/// What one side's sizes come to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    total: f64,
    margin: f64,
    fills: f64,
    value: f64,
    largest: f64,
    violation: f64,
}

impl Sides<'_> {
    /// Prices ladders; concave values are linearised at the ladders themselves.
    #[inline(always)]
    pub(super) fn certify<L: Lanes>(
        &self,
        sizes: [&[f64]; 2],
        multipliers: &Multipliers,
        weights: &mut Vec<f64>,
    ) -> Certificate {
        let (eta, position, _) = self.risk();
        let tally = [self.tally::<L>(0, sizes[0]), self.tally::<L>(1, sizes[1])];
        let mut objective = tally[0].value + tally[1].value;
        if eta > 0.0 {
            let expected = position + tally[0].fills - tally[1].fills;
            objective -= 0.5 * (eta * expected * expected);
        }
        let largest = tally[0].largest.max(tally[1].largest) * self.side[0].size_max.max(self.side[1].size_max);
        let bound = self.bound::<L>(sizes, multipliers, weights);
        // Numbers that leave the range of arithmetic prove nothing.
        let dual_bound = if bound.is_nan() || !objective.is_finite() { f64::INFINITY } else { bound };
        Certificate {
            objective,
            dual_bound,
            gap: dual_bound - objective,
            scale: objective.abs().max(0.5 * (eta * position * position)).max(1e-6 * largest),
            violation: self.violation(&tally),
        }
    }

    /// `η`, `q`, and whether fills vary.
    fn risk(&self) -> (f64, f64, bool) {
        match self.inventory {
            Some(inventory) => (inventory.price_of_risk, inventory.position, inventory.fill_variance),
            None => (0.0, 0.0, false),
        }
    }

    /// Sums of one side, and the largest amount by which a bound of its own is missed.
    #[inline(always)]
    fn tally<L: Lanes>(&self, x: usize, sizes: &[f64]) -> Tally {
        let (eta, _, variance) = self.risk();
        let side = &self.side[x];
        let levels = sizes.len();
        let (mut total, mut margin, mut fills) = (L::zero(), L::zero(), L::zero());
        let (mut value, mut largest, mut negative) = (L::zero(), L::zero(), L::zero());
        for chunk in 0..levels.div_ceil(LANES) {
            let size = load::<L>(sizes, chunk);
            let utility = load::<L>(side.utility, chunk);
            total = total.add(size);
            negative = negative.max(L::zero().sub(size));
            margin = size.mul_add(load::<L>(side.margin, chunk), margin);
            fills = size.mul_add(load_bound::<L>(&side.fill_probability, chunk), fills);
            value = size.mul_add(utility, value);
            largest = largest.max(utility).max(L::zero().sub(utility));
        }
        let mut tally = Tally {
            total: total.sum(),
            margin: margin.sum(),
            fills: fills.sum(),
            value: value.sum(),
            largest: largest.largest(),
            violation: negative.largest(),
        };
        if levels > PLAIN_SUM_MAX {
            tally.total = sum(sizes.iter().copied());
            tally.margin = sum(sizes.iter().zip(side.margin).map(|(size, margin)| size * margin));
            tally.fills = sum(sizes.iter().enumerate().map(|(i, size)| size * side.fill_probability.at(i)));
            tally.value = sum(sizes.iter().zip(side.utility).map(|(size, utility)| size * utility));
        }
        let varies = variance && eta > 0.0;
        if varies || !matches!(side.saturation, Saturation::None) {
            tally.value = sum(sizes.iter().enumerate().map(|(i, &size)| {
                let risk = if varies { 0.5 * eta * side.variance(i) * size * size } else { 0.0 };
                side.saturation.value(side.utility[i], side.bend(i), size) - risk
            }));
        }
        if tally.total > 0.0 {
            tally.violation = tally.violation.max(side.bounds_missed::<L>(sizes, tally.total));
        }
        tally
    }

    /// The largest relative amount by which any constraint is missed.
    fn violation(&self, tally: &[Tally; 2]) -> f64 {
        let mut worst = tally[0].violation.max(tally[1].violation);
        for ((tally, side), budget) in tally.iter().zip(&self.side).zip(self.budget.side) {
            worst = worst.max(over(tally.total, side.size_max)).max(over(tally.margin, budget));
        }
        worst = worst.max(over(tally[0].margin + tally[1].margin, self.budget.total));
        if let Some([lo, hi]) = self.bid_share {
            let both = tally[0].total + tally[1].total;
            if both > 0.0 {
                let share = tally[0].total / both;
                worst = worst.max(lo - share).max(share - hi);
            }
        }
        worst
    }

    /// No feasible ladders are worth more than this; concave values are linearised at `at`.
    #[inline(always)]
    fn bound<L: Lanes>(&self, at: [&[f64]; 2], multipliers: &Multipliers, weights: &mut Vec<f64>) -> f64 {
        let (eta, position, variance) = self.risk();
        let nu = multipliers.inventory;
        let mut rest = if eta > 0.0 { nu * (0.5 * (nu / eta)) - nu * position } else { 0.0 };
        for (k, budget) in [self.budget.side[0], self.budget.side[1], self.budget.total].into_iter().enumerate() {
            if budget.is_finite() {
                rest += self.price(k, multipliers) * budget.max(0.0);
            }
        }
        let (mut values, mut most) = ([0.0; 2], [0.0; 2]);
        for x in 0..2 {
            let side = &self.side[x];
            let varies = variance && eta > 0.0;
            if varies || !matches!(side.saturation, Saturation::None) {
                for (i, &size) in at[x].iter().enumerate() {
                    let (utility, bend) = (side.utility[i], side.bend(i));
                    let (slope, _) = side.saturation.derivatives(utility, bend, size);
                    rest += side.saturation.value(utility, bend, size) - slope * size;
                    if varies {
                        rest += 0.5 * eta * side.variance(i) * size * size;
                    }
                }
            }
            for (i, _) in multipliers.level[x].iter().enumerate() {
                rest += side.cap_price(&multipliers.level[x], i) * side.cap_or_zero(i);
            }
            let broke = self.budget.side[x].min(self.budget.total) <= 0.0;
            most[x] = if side.quotable(broke) { self.most::<L>(x) } else { 0.0 };
            if most[x] > 0.0 {
                self.weights::<L>(x, at[x], multipliers, weights);
                let (heat, start) = (multipliers.temperature[x].max(0.0), multipliers.normaliser[x]);
                values[x] = side.value::<L>(weights, heat, start);
            }
        }
        rest + self.best_corner(values, most)
    }

    /// What one unit of size at each level of a side is worth after all prices, values linearised at `at`.
    #[inline(always)]
    pub(super) fn weights<L: Lanes>(&self, x: usize, at: &[f64], multipliers: &Multipliers, weights: &mut Vec<f64>) {
        let (eta, _, variance) = self.risk();
        let side = &self.side[x];
        let sign = if x == 0 { 1.0 } else { -1.0 };
        let nu = if eta > 0.0 { sign * multipliers.inventory } else { 0.0 };
        let price = self.price(x, multipliers) + self.price(2, multipliers);
        let levels = side.utility.len();
        weights.clear();
        weights.resize(levels.next_multiple_of(LANES), 0.0);
        let (price_all, nu_all) = (L::splat(-price), L::splat(-nu));
        let (chunks, _) = weights.as_chunks_mut::<LANES>();
        for (chunk, to) in chunks.iter_mut().enumerate() {
            let weight = price_all.mul_add(load::<L>(side.margin, chunk), load::<L>(side.utility, chunk));
            nu_all.mul_add(load_bound::<L>(&side.fill_probability, chunk), weight).store(to);
        }
        weights.truncate(levels);
        let varies = variance && eta > 0.0;
        if varies || !matches!(side.saturation, Saturation::None) {
            for (i, (weight, &size)) in weights.iter_mut().zip(at).enumerate() {
                let (slope, _) = side.saturation.derivatives(side.utility[i], side.bend(i), size);
                let risk = if varies { eta * side.variance(i) * size } else { 0.0 };
                *weight = slope - risk - price * side.margin[i] - nu * side.fill_probability.at(i);
            }
        }
        if !multipliers.level[x].is_empty() {
            for (i, weight) in weights.iter_mut().enumerate() {
                *weight -= side.cap_price(&multipliers.level[x], i);
            }
        }
    }

    /// The price of one budget that counts: bids, asks, total.
    fn price(&self, k: usize, multipliers: &Multipliers) -> f64 {
        let budget = if k == 2 { self.budget.total } else { self.budget.side[k] };
        if budget.is_finite() { multipliers.margin[k].max(0.0) } else { 0.0 }
    }

    /// A total that no ladder of the side exceeds; zero where it can only be empty.
    #[inline(always)]
    fn most<L: Lanes>(&self, x: usize) -> f64 {
        let side = &self.side[x];
        let budget = self.budget.side[x].min(self.budget.total).max(0.0);
        let mut most = side.size_max;
        if !matches!(side.size_cap, Bound::Scalar(cap) if cap == f64::INFINITY) {
            let mut caps = L::zero();
            for chunk in 0..side.utility.len().div_ceil(LANES) {
                caps = caps.add(load_bound_to::<L>(&side.size_cap, chunk, side.utility.len()));
            }
            most = most.min(caps.sum());
            if !matches!(side.share_floor, Bound::Scalar(0.0)) {
                for i in 0..side.utility.len() {
                    if side.share_floor.at(i) > 0.0 {
                        most = most.min(side.size_cap.at(i) / side.share_floor.at(i));
                    }
                }
            }
        }
        let mut least = L::splat(f64::NEG_INFINITY);
        let (whole, rest) = side.margin.as_chunks::<LANES>();
        for margin in whole {
            least = least.max(L::zero().sub(L::load(margin)));
        }
        let least = rest.iter().fold(-least.largest(), |least, margin| least.min(*margin));
        if least > 0.0 { most.min(budget / least) } else { most }
    }

    /// The largest worth of totals at given values of one unit.
    #[inline(always)]
    pub(super) fn best_corner(&self, values: [f64; 2], most: [f64; 2]) -> f64 {
        // A total of nothing is worth nothing, whatever a unit costs; what is no number bounds nothing.
        let part = |value: f64, total: f64| if total > 0.0 { value * total } else { 0.0 };
        let worth = |bid: f64, ask: f64| {
            let worth = part(values[0], bid) + part(values[1], ask);
            if worth.is_nan() { f64::INFINITY } else { worth }
        };
        let Some([lo, hi]) = self.bid_share else {
            let total = |x: usize| if values[x] <= 0.0 { 0.0 } else { most[x] };
            return worth(total(0), total(1));
        };
        let mut best = 0.0_f64;
        for share in [lo, hi] {
            let both = reach(most[0], share).min(reach(most[1], 1.0 - share));
            best = best.max(worth(share * both, (1.0 - share) * both));
        }
        let both = most[0] + most[1];
        if lo * both <= most[0] && most[0] <= hi * both {
            best = best.max(worth(most[0], most[1]));
        }
        best
    }
}

/// The sum at which a part reaches its limit.
fn reach(most: f64, part: f64) -> f64 {
    if part > 0.0 { most / part } else { f64::INFINITY }
}

/// By how much a quantity exceeds a limit, relative to it.
fn over(value: f64, limit: f64) -> f64 {
    if value.is_nan() {
        // Numbers that leave the range of arithmetic prove nothing.
        f64::INFINITY
    } else if value <= limit {
        0.0
    } else if limit > 0.0 {
        (value - limit) / limit
    } else if value <= 0.0 {
        0.0
    } else {
        f64::INFINITY
    }
}

/// Eight numbers of a slice; zeros behind its end.
#[inline(always)]
fn load<L: Lanes>(values: &[f64], chunk: usize) -> L {
    let from = &values[chunk * LANES..];
    match from.first_chunk::<LANES>() {
        Some(whole) => L::load(whole),
        None => {
            let mut padded = [0.0; LANES];
            padded[..from.len()].copy_from_slice(from);
            L::load(&padded)
        }
    }
}

/// Eight numbers of a bound; what stands behind the last level does not matter.
#[inline(always)]
fn load_bound<L: Lanes>(bound: &Bound<'_>, chunk: usize) -> L {
    match bound {
        Bound::Scalar(value) => L::splat(*value),
        Bound::Each(values) => load::<L>(values, chunk),
    }
}

/// Eight numbers of a bound; zeros behind the last level.
#[inline(always)]
fn load_bound_to<L: Lanes>(bound: &Bound<'_>, chunk: usize, levels: usize) -> L {
    match bound {
        Bound::Scalar(value) if (chunk + 1) * LANES > levels => {
            let mut padded = [0.0; LANES];
            padded[..levels - chunk * LANES].fill(*value);
            L::load(&padded)
        }
        _ => load_bound::<L>(bound, chunk),
    }
}

impl Side<'_> {
    /// `1/c` of one level, zero where its value is linear.
    fn bend(&self, index: usize) -> f64 {
        self.saturation.inverse_scale(self.utility[index], index)
    }

    fn cap_or_zero(&self, index: usize) -> f64 {
        let cap = self.size_cap.at(index);
        if cap.is_finite() { cap } else { 0.0 }
    }

    /// The price of one level's cap on size, where there is such a cap.
    fn cap_price(&self, level: &[f64], index: usize) -> f64 {
        let price = level.get(index).copied().unwrap_or(0.0);
        if price > 0.0 && self.size_cap.at(index).is_finite() { price } else { 0.0 }
    }

    fn variance(&self, index: usize) -> f64 {
        let probability = self.fill_probability.at(index);
        probability * (1.0 - probability)
    }

    /// Floor and cap of the share of one level; a level without room has none.
    fn share_box(&self, index: usize) -> (f64, f64) {
        let cap = if self.size_cap.at(index) > 0.0 { self.share_cap.at(index) } else { 0.0 };
        (self.share_floor.at(index).min(cap), cap)
    }

    /// Whether any positive total is feasible, from the statement alone. Without budget only levels without charge are.
    fn quotable(&self, broke: bool) -> bool {
        let levels = self.utility.len();
        if levels == 0 || self.size_max <= 0.0 {
            return false;
        }
        if self.open() && self.roomy() && !broke {
            return self.entropy_min <= (levels as f64).ln() + ENTROPY_TIE;
        }
        let cap = |index: usize| {
            let usable = self.size_cap.at(index) > 0.0 && !(broke && self.margin[index] > 0.0);
            if usable { self.share_cap.at(index) } else { 0.0 }
        };
        let (mut floors, mut caps) = (0.0, 0.0);
        for index in 0..levels {
            if self.share_floor.at(index) > cap(index) {
                return false;
            }
            floors += self.share_floor.at(index);
            caps += cap(index);
        }
        if floors > 1.0 + SUM_TIE || caps < 1.0 - SUM_TIE {
            return false;
        }
        // Far below the logarithm of the levels there is nothing to compute, unless some cannot be used.
        if self.entropy_min <= 0.0 {
            return true;
        }
        let boxes = (0..levels).map(|index| (self.share_floor.at(index), cap(index))).filter(|(_, cap)| *cap > 0.0);
        let level = water_level(boxes.clone(), 1.0);
        let entropy =
            -sum(boxes.map(|(floor, cap)| clip(level, floor, cap)).map(|p| if p > 0.0 { p * p.ln() } else { 0.0 }));
        self.entropy_min <= entropy + ENTROPY_TIE + 1e-15 * (levels as f64).ln()
    }

    fn floored(&self) -> bool {
        !matches!(self.share_floor, Bound::Scalar(0.0))
    }

    /// Every level has room for some size.
    pub(super) fn roomy(&self) -> bool {
        match self.size_cap {
            Bound::Scalar(cap) => cap > 0.0,
            Bound::Each(caps) => caps.iter().all(|cap| *cap > 0.0),
        }
    }

    /// Shares run from zero to one on every level.
    fn open(&self) -> bool {
        matches!((&self.share_floor, &self.share_cap), (Bound::Scalar(0.0), Bound::Scalar(1.0)))
    }

    /// The largest amount by which floors, caps and the entropy floor are missed.
    #[inline(always)]
    fn bounds_missed<L: Lanes>(&self, sizes: &[f64], total: f64) -> f64 {
        let inverse = L::splat(1.0 / total);
        let (mut entropy, mut worst) = (L::zero(), L::zero());
        let open = self.open();
        let limited = !matches!(self.size_cap, Bound::Scalar(cap) if cap == f64::INFINITY);
        let levels = sizes.len();
        for chunk in 0..levels.div_ceil(LANES) {
            let size = load::<L>(sizes, chunk);
            let share = size.mul(inverse);
            entropy = entropy.sub(share.mul(share.max(L::splat(1e-300)).ln()));
            if !open {
                let floor = load_bound_to::<L>(&self.share_floor, chunk, levels);
                worst = worst.max(floor.sub(share)).max(share.sub(load_bound::<L>(&self.share_cap, chunk)));
            }
            if limited {
                let cap = load_bound::<L>(&self.size_cap, chunk).max(L::splat(1e-300)).min(L::splat(1e300));
                worst = worst.max(size.sub(cap).div(cap));
            }
        }
        let entropy = if levels > PLAIN_SUM_MAX {
            -sum(sizes.iter().map(|size| size / total).map(|p| if p > 0.0 { p * p.ln() } else { 0.0 }))
        } else {
            entropy.sum()
        };
        let lacking = if entropy.is_nan() { f64::INFINITY } else { self.entropy_min - entropy };
        worst.largest().max(lacking)
    }

    /// The most that one unit of the side's size can be worth at the given weights, entropy priced at `heat` per nat.
    #[inline(always)]
    fn value<L: Lanes>(&self, weights: &[f64], heat: f64, start: f64) -> f64 {
        // A temperature that vanishes beside the weights is none: any gives a bound, and its inverse would overflow.
        let largest = weights.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
        let heat = if heat > HEAT_MIN.max(HEAT_PART_MIN * largest) { heat } else { 0.0 };
        let floor = self.entropy_min.max(0.0);
        let open = self.open() && self.roomy();
        // With bounds on shares, whether the floor is close to the largest entropy can only be told from them.
        let close = !open || floor > 0.99 * (weights.len() as f64).ln();
        if floor > 0.0
            && close
            && let Some(value) = self.value_without_room(weights, heat, start)
        {
            return value;
        }
        let mut minimum = Minimum::new(weights, heat, start, self.floored());
        if heat > 0.0 {
            while minimum.step(self.value_at::<L>(weights, heat, floor, minimum.n)) {}
        } else {
            while minimum.step(self.value_cold(weights, minimum.n)) {}
        }
        minimum.best
    }

    /// The dual function of a side at one normaliser, with its slope and curvature.
    #[inline(always)]
    fn value_at<L: Lanes>(&self, weights: &[f64], heat: f64, floor_entropy: f64, n: f64) -> (f64, f64, f64) {
        let levels = weights.len();
        let (rate, n_all) = (L::splat(1.0 / heat), L::splat(n));
        let (mut shares, mut free, mut rest) = (L::zero(), L::zero(), L::zero());
        for chunk in 0..levels.div_ceil(LANES) {
            let off = load::<L>(weights, chunk).sub(n_all);
            let x = off.mul(rate);
            let raw = x.max(L::splat(-EXPONENT_MAX)).min(L::splat(EXPONENT_MAX)).exp();
            let cap = load_bound_to::<L>(&self.share_cap, chunk, levels);
            let room = load_bound_to::<L>(&self.size_cap, chunk, levels);
            let cap = room.if_equal(L::zero(), L::zero(), cap);
            let floor = load_bound_to::<L>(&self.share_floor, chunk, levels).min(cap);
            let p = raw.max(floor).min(cap);
            shares = shares.add(p);
            free = free.add(p.if_equal(raw, p, L::zero()));
            let log = p.max(L::splat(1e-300)).ln();
            let clipped = p.mul(x.add(L::splat(1.0)).sub(log));
            rest = rest.add(p.if_equal(raw, L::zero(), clipped));
        }
        let (shares, free) = (shares.sum(), free.sum());
        (n + heat * (free + rest.sum() - 1.0 - floor_entropy), 1.0 - shares, free / heat)
    }

    /// The same without a temperature: levels worth more than the normaliser at their caps, the others at their floors.
    fn value_cold(&self, weights: &[f64], n: f64) -> (f64, f64, f64) {
        let (mut value, mut slope) = (n, 1.0);
        for (i, weight) in weights.iter().enumerate() {
            let (floor, cap) = self.share_box(i);
            let p = if *weight > n { cap } else { floor };
            value += (weight - n) * p;
            slope -= p;
        }
        (value, slope, 0.0)
    }

    /// The value of one unit where the entropy floor leaves little or nothing beside the flattest shares `p̂ = clip(t, φ, κ)`:
    /// there the temperature is large and the terms of the sum would cancel. Nothing where there is room enough.
    #[cold]
    fn value_without_room(&self, weights: &[f64], heat: f64, start: f64) -> Option<f64> {
        let boxes = (0..weights.len()).map(|index| self.share_box(index));
        let level = water_level(boxes.clone(), 1.0);
        let flattest: Vec<f64> = boxes.map(|(floor, cap)| clip(level, floor, cap)).collect();
        let most = entropy_of(&flattest);
        if self.entropy_min >= most - ENTROPY_TIE {
            let total: f64 = flattest.iter().sum();
            return Some(sum(weights.iter().zip(&flattest).map(|(weight, share)| weight * share)) / total);
        }
        if heat <= 0.0 || self.entropy_min <= 0.999 * most {
            return None;
        }
        let slack = most - self.entropy_min;
        let mut minimum = Minimum::new(weights, heat, start, self.floored());
        loop {
            let n = minimum.n;
            let (mut value, mut slope, mut curve, mut deficit) = (0.0, 1.0, 0.0, 0.0);
            for (i, (&weight, &flat)) in weights.iter().zip(&flattest).enumerate() {
                let (floor, cap) = self.share_box(i);
                let raw = ((weight - n) / heat).exp();
                let p = raw.max(floor).min(cap);
                if p == raw {
                    curve += p;
                }
                value += weight * p;
                slope -= p;
                if flat > 0.0 {
                    deficit += flat * kl_term(p / flat - 1.0) + (p - flat) * (flat / level).ln();
                }
            }
            let value = value + slope * (n + heat * level.ln()) + heat * (slack - deficit);
            if !minimum.step((value, slope, curve / heat)) {
                return Some(minimum.best);
            }
        }
    }
}

/// The minimum of a convex function of the normaliser: Newton inside a bracket. Any point visited is a bound.
struct Minimum {
    low: f64,
    high: f64,
    n: f64,
    heat: f64,
    best: f64,
    /// Gains below this are rounding.
    small: f64,
    steps: u32,
}

impl Minimum {
    #[inline(always)]
    fn new(weights: &[f64], heat: f64, start: f64, floored: bool) -> Self {
        // Below the least weight every share is at its cap. Above the other end none is above one part of all; with floors,
        // none is above a floor that counts.
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &weight in weights {
            low = if weight < low { weight } else { low };
            high = if weight > high { weight } else { high };
        }
        let small = 1e-17 * (low.abs().max(high.abs()) + heat);
        high += heat * ((weights.len() as f64).ln() + if floored { FLOORED } else { 0.0 });
        let n = if low <= start && start <= high { start } else { high };
        Self { low, high, n, heat, best: f64::INFINITY, small, steps: 0 }
    }

    /// Takes value, slope and curvature at the normaliser in force and moves on; false when that is not worth it.
    #[inline(always)]
    fn step(&mut self, (value, slope, curve): (f64, f64, f64)) -> bool {
        self.steps += 1;
        // A value that is small beside the normaliser may be its rounding, and a bound allows for that; a large temperature
        // has sums of its own against it. Where a difference of weights overflows the value is none.
        let rounding = f64::EPSILON * self.n.abs();
        let felt = self.n.abs() > HEAT_FELT * self.heat && rounding > ROUNDING_FELT * value.abs();
        let bound = if felt { value + 4.0 * rounding } else { value };
        if bound > f64::NEG_INFINITY {
            self.best = self.best.min(bound);
        }
        let settled = slope.abs() <= 2.0 * f64::EPSILON || slope * slope <= self.small * curve;
        if settled || self.steps >= STEPS_MAX {
            return false;
        }
        if slope > 0.0 {
            self.high = self.n;
        } else {
            self.low = self.n;
        }
        let newton = self.n - slope / curve;
        let inside = self.low < newton && newton < self.high;
        let next = if inside { newton } else { 0.5 * (self.low + self.high) };
        let moves = next != self.n && self.low <= next && next <= self.high;
        self.n = next;
        moves
    }
}
