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
//! where the totals range over what limits on size and share leave, a polygon whose corners are few.

use super::{Certificate, Multipliers, Side, Sides};
use crate::entropy::ENTROPY_TIE;
use crate::entropy::water::{clip, entropy_of, kl_term, sum, water_level};

impl Sides<'_> {
    /// Prices ladders; concave values are linearised at the second pair.
    pub(super) fn certify(&self, sizes: [&[f64]; 2], at: [&[f64]; 2], multipliers: &Multipliers) -> Certificate {
        let objective = self.objective(sizes);
        let dual_bound = self.bound(at, multipliers);
        Certificate {
            objective,
            dual_bound,
            gap: dual_bound - objective,
            scale: self.scale(objective),
            violation: self.violation(sizes),
        }
    }

    fn risk(&self) -> (f64, f64, bool) {
        match self.inventory {
            Some(inventory) => (inventory.price_of_risk, inventory.position, inventory.fill_variance),
            None => (0.0, 0.0, false),
        }
    }

    /// `q` and what fills are expected to add.
    pub(super) fn expected(&self, sizes: [&[f64]; 2]) -> f64 {
        let (_, position, _) = self.risk();
        position + self.fills(sizes)
    }

    fn fills(&self, sizes: [&[f64]; 2]) -> f64 {
        let fills = |x: usize| {
            let side = &self.side[x];
            sum(sizes[x].iter().enumerate().map(|(i, size)| size * side.fill_probability.at(i)))
        };
        fills(0) - fills(1)
    }

    /// The objective of any ladders.
    pub(super) fn objective(&self, sizes: [&[f64]; 2]) -> f64 {
        let (eta, _, variance) = self.risk();
        let mut value = 0.0;
        for (side, sizes) in self.side.iter().zip(sizes) {
            value += sum(sizes.iter().enumerate().map(|(i, &size)| {
                let utility = side.utility[i];
                side.saturation.value(utility, side.saturation.inverse_scale(utility, i), size)
            }));
            if variance && eta > 0.0 {
                value -= 0.5 * eta * sum(sizes.iter().enumerate().map(|(i, &size)| side.variance(i) * size * size));
            }
        }
        if eta > 0.0 {
            let expected = self.expected(sizes);
            value -= 0.5 * eta * expected * expected;
        }
        value
    }

    /// What gaps are read against.
    pub(super) fn scale(&self, objective: f64) -> f64 {
        let (eta, position, _) = self.risk();
        let largest = |side: &Side<'_>| side.utility.iter().fold(0.0_f64, |largest, u| largest.max(u.abs()));
        let utility = largest(&self.side[0]).max(largest(&self.side[1]));
        let size = self.side[0].size_max.max(self.side[1].size_max);
        objective.abs().max(0.5 * eta * position * position).max(1e-6 * utility * size)
    }

    /// The largest relative amount by which any constraint is missed.
    pub(super) fn violation(&self, sizes: [&[f64]; 2]) -> f64 {
        let mut worst = 0.0_f64;
        let (mut totals, mut used) = ([0.0; 2], [0.0; 2]);
        for x in 0..2 {
            let (side, sizes) = (&self.side[x], sizes[x]);
            let total = sum(sizes.iter().copied());
            totals[x] = total;
            used[x] = sum(sizes.iter().zip(side.margin).map(|(size, margin)| size * margin));
            worst = worst.max(over(total, side.size_max));
            if total <= 0.0 {
                worst = worst.max(if sizes.iter().any(|size| *size < 0.0) { f64::INFINITY } else { 0.0 });
                continue;
            }
            let mut entropy = 0.0;
            for (i, &size) in sizes.iter().enumerate() {
                let share = size / total;
                worst = worst.max(-share).max(side.share_floor.at(i) - share).max(share - side.share_cap.at(i));
                worst = worst.max(over(size, side.size_cap.at(i)));
                if share > 0.0 {
                    entropy -= share * share.ln();
                }
            }
            worst = worst.max(side.entropy_min - entropy);
        }
        for x in 0..2 {
            worst = worst.max(over(used[x], self.budget.side[x]));
        }
        worst = worst.max(over(used[0] + used[1], self.budget.total));
        if let Some([lo, hi]) = self.bid_share {
            let both = totals[0] + totals[1];
            if both > 0.0 {
                worst = worst.max(lo - totals[0] / both).max(totals[0] / both - hi);
            }
        }
        worst
    }

    /// No feasible ladders are worth more than this; concave values are linearised at `at`.
    pub(super) fn bound(&self, at: [&[f64]; 2], multipliers: &Multipliers) -> f64 {
        let (eta, position, variance) = self.risk();
        let nu = if eta > 0.0 { multipliers.inventory } else { 0.0 };
        let mut rest = if eta > 0.0 { nu * nu / (2.0 * eta) - nu * position } else { 0.0 };
        for (k, budget) in [self.budget.side[0], self.budget.side[1], self.budget.total].into_iter().enumerate() {
            if budget.is_finite() {
                rest += self.price(k, multipliers) * budget.max(0.0);
            }
        }
        let (mut values, mut most) = ([0.0; 2], [0.0; 2]);
        let mut weights = Vec::new();
        for x in 0..2 {
            let side = &self.side[x];
            for (i, &size) in at[x].iter().enumerate() {
                let (utility, bend) = (side.utility[i], side.saturation.inverse_scale(side.utility[i], i));
                if bend > 0.0 {
                    let (slope, _) = side.saturation.derivatives(utility, bend, size);
                    rest += side.saturation.value(utility, bend, size) - slope * size;
                }
                if variance && eta > 0.0 {
                    rest += 0.5 * eta * side.variance(i) * size * size;
                }
                rest += cap_price(&multipliers.level[x], side, i) * side.cap_or_zero(i);
            }
            most[x] = self.most(x);
            if most[x] > 0.0 {
                self.weights(x, at[x], multipliers, &mut weights);
                values[x] = side.value(&weights, multipliers.temperature[x].max(0.0), multipliers.normaliser[x]);
            }
        }
        rest + self.best_corner(values, most)
    }

    /// What one unit of size at each level of a side is worth after all prices, values linearised at `at`.
    pub(super) fn weights(&self, x: usize, at: &[f64], multipliers: &Multipliers, weights: &mut Vec<f64>) {
        let (eta, _, variance) = self.risk();
        let side = &self.side[x];
        let sign = if x == 0 { 1.0 } else { -1.0 };
        let nu = if eta > 0.0 { sign * multipliers.inventory } else { 0.0 };
        let price = self.price(x, multipliers) + self.price(2, multipliers);
        weights.clear();
        weights.extend(at.iter().enumerate().map(|(i, &size)| {
            let (utility, bend) = (side.utility[i], side.saturation.inverse_scale(side.utility[i], i));
            let (slope, _) = side.saturation.derivatives(utility, bend, size);
            let risk = if variance { eta * side.variance(i) * size } else { 0.0 };
            let limit = cap_price(&multipliers.level[x], side, i);
            slope - risk - limit - price * side.margin[i] - nu * side.fill_probability.at(i)
        }));
    }

    /// The price of one budget that counts: bids, asks, total.
    fn price(&self, k: usize, multipliers: &Multipliers) -> f64 {
        let budget = if k == 2 { self.budget.total } else { self.budget.side[k] };
        if budget.is_finite() { multipliers.margin[k].max(0.0) } else { 0.0 }
    }

    /// A total that no ladder of the side exceeds; zero where it can only be empty.
    fn most(&self, x: usize) -> f64 {
        let side = &self.side[x];
        let budget = self.budget.side[x].min(self.budget.total).max(0.0);
        let (mut caps, mut most, mut least) = (0.0, side.size_max, f64::INFINITY);
        for i in 0..side.utility.len() {
            let cap = side.size_cap.at(i);
            caps += cap;
            let floor = side.share_floor.at(i);
            if floor > 0.0 {
                most = most.min(cap / floor);
            }
            least = least.min(side.margin[i]);
        }
        most = most.min(caps);
        if least > 0.0 { most.min(budget / least) } else { most }
    }

    pub(super) fn best_corner(&self, values: [f64; 2], most: [f64; 2]) -> f64 {
        let worth = |bid: f64, ask: f64| values[0] * bid + values[1] * ask;
        let Some([lo, hi]) = self.bid_share else {
            return worth(
                if values[0] > 0.0 { most[0] } else { 0.0 },
                if values[1] > 0.0 { most[1] } else { 0.0 },
            );
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
    if value <= limit {
        0.0
    } else if limit > 0.0 {
        (value - limit) / limit
    } else if value <= 0.0 {
        0.0
    } else {
        f64::INFINITY
    }
}

/// The price of one level's cap on size, where there is such a cap.
fn cap_price(level: &[f64], side: &Side<'_>, index: usize) -> f64 {
    let price = level.get(index).copied().unwrap_or(0.0);
    if price > 0.0 && side.size_cap.at(index).is_finite() { price } else { 0.0 }
}

impl Side<'_> {
    fn cap_or_zero(&self, index: usize) -> f64 {
        let cap = self.size_cap.at(index);
        if cap.is_finite() { cap } else { 0.0 }
    }

    pub(super) fn variance(&self, index: usize) -> f64 {
        let probability = self.fill_probability.at(index);
        probability * (1.0 - probability)
    }

    /// Floor and cap of the share of one level; a level without room has none.
    fn share_box(&self, index: usize) -> (f64, f64) {
        let cap = if self.size_cap.at(index) > 0.0 { self.share_cap.at(index) } else { 0.0 };
        (self.share_floor.at(index).min(cap), cap)
    }

    /// The most that one unit of the side's size can be worth at the given weights, entropy priced at `heat` per nat.
    fn value(&self, weights: &[f64], heat: f64, start: f64) -> f64 {
        let levels = weights.len() as f64;
        if self.entropy_min > 0.0 && self.entropy_min > 0.5 * levels.ln() {
            let boxes = (0..weights.len()).map(|index| self.share_box(index));
            let level = water_level(boxes.clone(), 1.0);
            let flattest: Vec<f64> = boxes.map(|(floor, cap)| clip(level, floor, cap)).collect();
            let most = entropy_of(&flattest);
            if self.entropy_min >= most - ENTROPY_TIE {
                // Only the flattest shares keep the entropy floor.
                let total: f64 = flattest.iter().sum();
                return sum(weights.iter().zip(&flattest).map(|(weight, share)| weight * share)) / total;
            }
            if heat > 0.0 && self.entropy_min > 0.999 * most {
                return self.value_near_flattest(weights, heat, start, &flattest, level, most - self.entropy_min);
            }
        }
        let floor_entropy = self.entropy_min.max(0.0);
        minimum(weights, heat, start, |n| {
            let (mut value, mut slope, mut curve) = (n, 1.0, 0.0);
            for (i, &weight) in weights.iter().enumerate() {
                let (floor, cap) = self.share_box(i);
                let off = weight - n;
                let raw = raw_share(off, heat);
                let p = raw.max(floor).min(cap);
                if p == raw {
                    value += heat * p;
                    curve += p;
                } else {
                    value += off * p;
                    if heat > 0.0 && p > 0.0 {
                        value -= heat * p * (p.ln() - 1.0);
                    }
                }
                slope -= p;
            }
            if heat > 0.0 {
                value -= heat * (1.0 + floor_entropy);
            }
            (value, slope, curve / heat)
        })
    }

    /// The same, written around the flattest shares `p̂ = clip(t, φ, κ)`: there the temperature is large and the terms of
    /// the sum would cancel.
    fn value_near_flattest(
        &self,
        weights: &[f64],
        heat: f64,
        start: f64,
        flattest: &[f64],
        level: f64,
        slack: f64,
    ) -> f64 {
        minimum(weights, heat, start, |n| {
            let (mut value, mut slope, mut curve, mut deficit) = (0.0, 1.0, 0.0, 0.0);
            for (i, &weight) in weights.iter().enumerate() {
                let (floor, cap) = self.share_box(i);
                let raw = raw_share(weight - n, heat);
                let p = raw.max(floor).min(cap);
                let flat = flattest[i];
                if p == raw {
                    curve += p;
                }
                value += weight * p;
                slope -= p;
                if flat > 0.0 {
                    deficit += flat * kl_term(p / flat - 1.0) + (p - flat) * (flat / level).ln();
                }
            }
            (value + slope * (n + heat * level.ln()) + heat * (slack - deficit), slope, curve / heat)
        })
    }
}

fn raw_share(off: f64, heat: f64) -> f64 {
    if heat > 0.0 {
        (off / heat).exp()
    } else if off > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

/// The minimum of a convex function of the normaliser, given its value, slope and curvature; any point visited is a bound.
fn minimum(weights: &[f64], heat: f64, start: f64, at: impl Fn(f64) -> (f64, f64, f64)) -> f64 {
    // Below the least weight every share is at its cap, above this end none is above one part of all.
    let mut low = weights.iter().fold(f64::INFINITY, |a, b| a.min(*b));
    let mut high = weights.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b)) + heat * (weights.len() as f64).ln();
    let mut n = if low <= start && start <= high { start } else { high };
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let (value, slope, curve) = at(n);
        best = best.min(value);
        if slope.abs() <= 2.0 * f64::EPSILON {
            break;
        }
        if slope > 0.0 {
            high = n;
        } else {
            low = n;
        }
        let newton = n - slope / curve;
        let next = if low < newton && newton < high { newton } else { 0.5 * (low + high) };
        if next == n || !(low <= next && next <= high) {
            break;
        }
        n = next;
    }
    best
}
