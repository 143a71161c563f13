//! Integer lots with their charges and their entropy, kept up to date lot by lot.

use super::ENTROPY_TIE;
use super::levels::Levels;

/// What the lots of one attempt must keep.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) budget: i64,
    pub(super) total_max: i64,
    /// Entropy floor in nats.
    pub(super) entropy_min: f64,
    pub(super) share_floor: f64,
    pub(super) share_cap: f64,
}

impl Limits {
    /// Whether shares bind at all.
    fn shares(&self) -> bool {
        self.share_floor > 0.0 || self.share_cap < 1.0
    }
}

/// Lots of every level. `H = ln N − G / N` with `G = Σ n ln n`, so that a move costs no logarithm until it is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Lots {
    pub(super) count: Vec<i64>,
    pub(super) hold: Vec<i64>,
    /// Charge of one more lot, and what one lot less gives back.
    pub(super) hold_up: Vec<i64>,
    pub(super) hold_down: Vec<i64>,
    /// `n ln n`, and its change with one lot more and one lot less (both as positive amounts).
    weight: Vec<f64>,
    pub(super) up: Vec<f64>,
    pub(super) down: Vec<f64>,
    pub(super) total: i128,
    pub(super) held: i128,
    sum: f64,
    moves: u32,
}

impl Lots {
    pub(super) fn reset(&mut self, levels: usize) {
        for counts in [&mut self.count, &mut self.hold, &mut self.hold_up, &mut self.hold_down] {
            counts.clear();
            counts.resize(levels, 0);
        }
        for weights in [&mut self.weight, &mut self.up, &mut self.down] {
            weights.clear();
            weights.resize(levels, 0.0);
        }
        (self.total, self.held, self.sum, self.moves) = (0, 0, 0.0, 0);
    }

    /// Copies lots and charges, not the figures that only moves need.
    pub(super) fn keep(&mut self, other: &Self) {
        self.count.clone_from(&other.count);
        self.hold.clone_from(&other.hold);
        (self.total, self.held, self.sum) = (other.total, other.held, other.sum);
        self.weight.clone_from(&other.weight);
        self.up.clone_from(&other.up);
        self.down.clone_from(&other.down);
        self.hold_up.clone_from(&other.hold_up);
        self.hold_down.clone_from(&other.hold_down);
    }

    /// Gives level `i` exactly `count` lots; at most its cap.
    pub(super) fn set(&mut self, levels: &Levels, i: usize, count: i64) {
        let rate = &levels.rate[i];
        let hold = rate.charge(count);
        self.held += i128::from(hold) - i128::from(self.hold[i]);
        self.hold[i] = hold;
        self.hold_up[i] = rate.charge(count.saturating_add(1)).saturating_sub(hold);
        self.hold_down[i] = if count > 0 { hold - rate.charge(count - 1) } else { 0 };
        self.total += i128::from(count) - i128::from(self.count[i]);
        self.count[i] = count;
        let (weight, up, down) = weights(count);
        self.sum += weight - self.weight[i];
        (self.weight[i], self.up[i], self.down[i]) = (weight, up, down);
        self.moves += 1;
        if self.moves >= 64 {
            self.resum();
        }
    }

    /// Adds up afresh: differences would drift.
    pub(super) fn resum(&mut self) {
        self.sum = self.weight.iter().sum();
        self.moves = 0;
    }

    /// `Σ n ln n`.
    pub(super) fn sum(&self) -> f64 {
        self.sum
    }

    pub(super) fn entropy(&self) -> f64 {
        self.entropy_at(self.total, self.sum)
    }

    fn entropy_at(&self, total: i128, sum: f64) -> f64 {
        if total <= 0 {
            return 0.0;
        }
        let total = total as f64;
        total.ln() - sum / total
    }

    /// Entropy after one lot more at `j`.
    pub(super) fn entropy_added(&self, j: usize) -> f64 {
        self.entropy_at(self.total + 1, self.sum + self.up[j])
    }

    /// Entropy after one lot more at `j` and at `k`, two different levels.
    pub(super) fn entropy_added_two(&self, j: usize, k: usize) -> f64 {
        self.entropy_at(self.total + 2, self.sum + self.up[j] + self.up[k])
    }

    /// Entropy after one lot less at `i`.
    pub(super) fn entropy_removed(&self, i: usize) -> f64 {
        self.entropy_at(self.total - 1, self.sum - self.down[i])
    }

    /// Entropy after one lot less at `i` and at `k`, two different levels.
    pub(super) fn entropy_removed_two(&self, i: usize, k: usize) -> f64 {
        self.entropy_at(self.total - 2, self.sum - self.down[i] - self.down[k])
    }

    /// Entropy after one lot from `i` to `j`.
    pub(super) fn entropy_moved(&self, i: usize, j: usize) -> f64 {
        self.entropy_at(self.total, self.sum - self.down[i] + self.up[j])
    }

    /// Whether the entropy floor holds.
    pub(super) fn even(&self, limits: &Limits) -> bool {
        self.entropy() >= limits.entropy_min - ENTROPY_TIE
    }

    /// Whether one more lot at `j` keeps cap, total, budget and shares.
    pub(super) fn can_add(&self, levels: &Levels, limits: &Limits, j: usize) -> bool {
        self.count[j] < levels.cap[j]
            && self.total < i128::from(limits.total_max)
            && self.held + i128::from(self.hold_up[j]) <= i128::from(limits.budget)
            && (!limits.shares() || self.shares_allow(limits, None, Some(j)))
    }

    /// Whether a lot can leave `i` and the order stays valid.
    pub(super) fn can_remove(&self, levels: &Levels, limits: &Limits, i: usize) -> bool {
        self.count[i] > levels.min[i] && (!limits.shares() || self.shares_allow(limits, Some(i), None))
    }

    /// Whether a lot can go from `i` to `j`.
    pub(super) fn can_move(&self, levels: &Levels, limits: &Limits, i: usize, j: usize) -> bool {
        i != j
            && self.count[i] > levels.min[i]
            && self.count[j] < levels.cap[j]
            && self.held - i128::from(self.hold_down[i]) + i128::from(self.hold_up[j]) <= i128::from(limits.budget)
            && (!limits.shares() || self.shares_allow(limits, Some(i), Some(j)))
    }

    /// Whether a move breaks no share that holds before it: the cap where a lot arrives, the floor where it leaves, and
    /// those that a change of the total reaches.
    fn shares_allow(&self, limits: &Limits, less: Option<usize>, more: Option<usize>) -> bool {
        let total = self.total - i128::from(less.is_some()) + i128::from(more.is_some());
        let bounds = ShareBounds::new(limits, total);
        match (less, more) {
            (Some(i), Some(j)) => bounds.above(self.count[i] - 1) && bounds.below(self.count[j] + 1),
            (None, Some(j)) => {
                let others = self.count.iter().enumerate().all(|(i, &n)| n == 0 || i == j || bounds.above(n));
                others && bounds.below(self.count[j] + 1)
            }
            (Some(i), None) => {
                let others = self.count.iter().enumerate().all(|(k, &n)| n == 0 || k == i || bounds.below(n));
                others && bounds.above(self.count[i] - 1)
            }
            (None, None) => self.count.iter().all(|&n| n == 0 || (bounds.above(n) && bounds.below(n))),
        }
    }

    /// Whether shares hold to one lot on every quoted level.
    pub(super) fn shares_hold(&self, limits: &Limits) -> bool {
        !limits.shares() || self.shares_allow(limits, None, None)
    }

    /// The first level above its share, beyond one lot.
    pub(super) fn above_share(&self, limits: &Limits) -> Option<usize> {
        if !limits.shares() {
            return None;
        }
        let bounds = ShareBounds::new(limits, self.total);
        self.count.iter().position(|&count| count > 0 && !bounds.below(count))
    }

    /// `Σ merit · n`.
    pub(super) fn worth(&self, merit: &[f64]) -> f64 {
        self.count.iter().zip(merit).filter(|(count, _)| **count > 0).map(|(&count, m)| count as f64 * m).sum()
    }
}

/// Shares of a total in lots, each to one lot.
struct ShareBounds {
    low: f64,
    high: f64,
}

impl ShareBounds {
    fn new(limits: &Limits, total: i128) -> Self {
        let total = total as f64;
        // A product that is a whole number may come out a digit above or below it.
        let slack = 1e-9_f64.max(1e-15 * total);
        Self { low: limits.share_floor * total - 1.0 + slack, high: limits.share_cap * total + 1.0 - slack }
    }

    fn above(&self, count: i64) -> bool {
        count as f64 > self.low
    }

    fn below(&self, count: i64) -> bool {
        (count as f64) < self.high
    }
}

/// `L(n) = n ln n`, `L(n+1) − L(n)` and `L(n) − L(n−1)`.
fn weights(count: i64) -> (f64, f64, f64) {
    if count <= 0 {
        return (0.0, 0.0, 0.0);
    }
    let n = count as f64;
    let log = n.ln();
    let r = 1.0 / n;
    let (up, down) = if count >= 32 {
        // (n+1) ln(1+1/n) and −(n−1) ln(1−1/n): the same series but for the sign of its odd terms; the first term left out
        // is below 2e-14.
        let q = r * r;
        let even = 1.0 - q * (1.0 / 6.0 + q * (1.0 / 20.0 + q / 42.0));
        let odd = r * (0.5 + q * (1.0 / 12.0 + q * (1.0 / 30.0 + q / 56.0)));
        (even + odd, even - odd)
    } else {
        ((n + 1.0) * r.ln_1p(), if count > 1 { -(n - 1.0) * (-r).ln_1p() } else { 0.0 })
    };
    (n * log, log + up, log + down)
}

#[cfg(test)]
mod tests {
    use super::weights;

    #[test]
    fn changes_of_n_ln_n_agree_with_its_definition_on_both_sides_of_the_series() {
        for count in (1..200).chain([1_000, 12_345]) {
            let l = |n: i64| if n > 0 { n as f64 * (n as f64).ln() } else { 0.0 };
            let (weight, up, down) = weights(count);
            assert_eq!(weight, l(count));
            let tolerance = 4.0 * f64::EPSILON * l(count + 1) + 3e-14;
            assert!((up - (l(count + 1) - l(count))).abs() <= tolerance, "{count} up {up}");
            assert!((down - (l(count) - l(count - 1))).abs() <= tolerance, "{count} down {down}");
        }
        assert_eq!(weights(0), (0.0, 0.0, 0.0));
    }
}
