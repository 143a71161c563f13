//! Lots from shares: round down, fill, repair the entropy floor, fill what it allows, exchange.

use super::ENTROPY_TIE;
use super::continuous::Problem;
use super::levels::Levels;
use super::lots::{Limits, Lots};

/// Supports up to this size look at every pair of levels for a repair; above it, at the best level to take from and the
/// best to give to.
const PAIRS_MAX: usize = 12;
/// Supports up to this size are exchanged pair by pair where a lot weighs much.
const EXCHANGE_MAX: usize = 48;
/// Moves of one kind per level and attempt.
const MOVES_PER_LEVEL: usize = 4;
/// Exchanges look further than one lot only where one lot is a noticeable part of the side.
const SMALL: i128 = 64;

/// The tools of the lots phase, on one support.
pub(super) struct Workbench<'a> {
    pub(super) levels: &'a Levels,
    pub(super) support: &'a [usize],
    pub(super) problem: &'a Problem,
    pub(super) limits: &'a Limits,
    pub(super) lots: &'a mut Lots,
}

impl Workbench<'_> {
    fn moves_max(&self) -> usize {
        (MOVES_PER_LEVEL * self.support.len()).clamp(64, 40_000)
    }

    /// Whether one lot is a noticeable part of the side.
    pub(super) fn small(&self) -> bool {
        self.support.len() <= EXCHANGE_MAX && self.lots.total <= SMALL * self.support.len() as i128
    }

    /// Lots from the continuous shares. False when caps, minimums, budget and entropy floor cannot be reached from here.
    pub(super) fn round_shares(&mut self, size: f64) -> bool {
        if !self.floor_shares(size) {
            return false;
        }
        if size == self.problem.size {
            self.fill(false);
        }
        self.finish()
    }

    /// Repairs what is there and fills it up.
    pub(super) fn finish(&mut self) -> bool {
        if !self.fix_shares() || !self.repair() {
            return false;
        }
        self.fill(true);
        if !self.problem.given {
            self.exchange();
        }
        self.lots.resum();
        self.lots.even(self.limits) && self.lots.shares_hold(self.limits)
    }

    /// `⌊S p⌋` inside caps and minimums. A total that the minimums push over the budget is scaled down.
    fn floor_shares(&mut self, mut size: f64) -> bool {
        for _ in 0..24 {
            self.lots.reset(self.levels.len());
            for (&i, share) in self.support.iter().zip(&self.problem.share) {
                // The sum of roundings must not cost a whole lot.
                let lots = (size * share * (1.0 + 1e-12) + 1e-9).floor() as i64;
                self.lots.set(self.levels, i, lots.clamp(self.levels.min[i], self.levels.cap[i]));
            }
            let over = self.lots.held as f64 / (self.limits.budget as f64).max(1.0);
            let over = over.max(self.lots.total as f64 / self.limits.total_max as f64);
            if self.lots.held <= i128::from(self.limits.budget) && self.lots.total <= i128::from(self.limits.total_max)
            {
                return true;
            }
            size = (size / over.max(1.0)).min(size - 1.0);
            if size <= 0.0 {
                return false;
            }
        }
        false
    }

    /// Adds the lots worth most, at most as many as fit; `even_only`: only those that keep the entropy floor.
    fn fill(&mut self, even_only: bool) {
        let tau = self.problem.temperature;
        for _ in 0..self.moves_max() {
            let total = (self.lots.total as f64) + 1.0;
            // H ≥ h after the lot, solved for the change of Σ n ln n.
            let room = total * (total.ln() - self.limits.entropy_min + ENTROPY_TIE) - self.lots.sum();
            let level = total.ln() - self.limits.entropy_min.max(0.0) + 1.0;
            let mut best: Option<(f64, usize)> = None;
            for &j in self.support {
                let up = self.lots.up[j];
                let merit = self.problem.merit[j];
                let key = merit - tau * up;
                if best.is_some_and(|(best_key, at)| key < best_key || (key == best_key && up >= self.lots.up[at])) {
                    continue;
                }
                let worth = if even_only { merit } else { key + tau * level };
                if (worth > 0.0 || self.problem.given)
                    && (!even_only || up <= room)
                    && self.lots.can_add(self.levels, self.limits, j)
                {
                    best = Some((key, j));
                }
            }
            let Some((_, j)) = best else { return };
            self.lots.set(self.levels, j, self.lots.count[j] + 1);
        }
    }

    /// Takes lots off levels beyond their share.
    fn fix_shares(&mut self) -> bool {
        for _ in 0..self.moves_max() {
            let Some(i) = self.lots.above_share(self.limits) else { return true };
            let tau = self.problem.temperature;
            let key = |lots: &Lots, j: usize| self.problem.merit[j] - tau * lots.up[j];
            let to = self
                .support
                .iter()
                .copied()
                .filter(|&j| self.lots.can_move(self.levels, self.limits, i, j))
                .reduce(|best, j| if key(self.lots, j) > key(self.lots, best) { j } else { best });
            if self.lots.count[i] <= self.levels.min[i] {
                return false;
            }
            self.lots.set(self.levels, i, self.lots.count[i] - 1);
            if let Some(j) = to {
                self.lots.set(self.levels, j, self.lots.count[j] + 1);
            }
        }
        false
    }

    /// Raises the entropy to its floor by the transfers, or where there is none the removals, that lose least per nat.
    fn repair(&mut self) -> bool {
        let moves = self.moves_max();
        for used in 0..moves {
            if self.lots.even(self.limits) {
                return true;
            }
            // Between levels almost alike the cheapest transfer brings next to nothing; a large side would need any number.
            let transfer = if 2 * used < moves { self.best_transfer() } else { self.steepest_transfer() };
            if let Some((i, j)) = transfer {
                self.lots.set(self.levels, i, self.lots.count[i] - 1);
                self.lots.set(self.levels, j, self.lots.count[j] + 1);
            } else if let Some(i) = self.best_removal() {
                self.lots.set(self.levels, i, self.lots.count[i] - 1);
            } else {
                return false;
            }
        }
        self.lots.even(self.limits)
    }

    /// The transfer with the least loss for each part of the missing entropy it brings.
    fn best_transfer(&self) -> Option<(usize, usize)> {
        if self.support.len() > PAIRS_MAX {
            return self.best_transfer_of_many();
        }
        let total = self.lots.total as f64;
        let missing = (self.lots.sum() - total * (total.ln() - self.limits.entropy_min)).max(0.0);
        let mut best: Option<(f64, usize, usize)> = None;
        for &i in self.support {
            if self.lots.count[i] <= self.levels.min[i] {
                continue;
            }
            for &j in self.support {
                let gain = self.lots.down[i] - self.lots.up[j];
                if gain <= 1e-13 {
                    continue;
                }
                let cost = self.problem.merit[i] - self.problem.merit[j];
                let ratio = if cost > 0.0 { cost / gain.min(missing) } else { cost };
                if best.is_none_or(|(least, ..)| ratio < least) && self.lots.can_move(self.levels, self.limits, i, j) {
                    best = Some((ratio, i, j));
                }
            }
        }
        best.map(|(_, i, j)| (i, j))
    }

    /// At a price of entropy `ρ` the best level to take from and the best to give to are found apart; the price is moved
    /// to the ratio of the pair until it stays (Dinkelbach).
    fn best_transfer_of_many(&self) -> Option<(usize, usize)> {
        let merit = &self.problem.merit;
        let from = |price: f64| {
            self.pick(|i| self.lots.count[i] > self.levels.min[i], |i| price * self.lots.down[i] - merit[i])
        };
        let to =
            |price: f64| self.pick(|j| self.lots.count[j] < self.levels.cap[j], |j| merit[j] - price * self.lots.up[j]);
        // Without a temperature the start is high and in units of value, from where every step is one of Dinkelbach's.
        let mut price = self.problem.temperature;
        if price <= 0.0 {
            let (low, high) = self
                .support
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &i| (low.min(merit[i]), high.max(merit[i])));
            price = if high > low { high - low } else { 1.0 };
        }
        let mut best = None;
        for _ in 0..16 {
            let (i, j) = (from(price)?, to(price)?);
            let gain = self.lots.down[i] - self.lots.up[j];
            if gain <= 1e-13 {
                // Value outweighs evenness at this price.
                price *= 16.0;
                continue;
            }
            if best == Some((i, j)) || !self.lots.can_move(self.levels, self.limits, i, j) {
                break;
            }
            best = Some((i, j));
            price = (merit[i] - merit[j]) / gain;
            if price <= 0.0 {
                break;
            }
        }
        best
    }

    /// The transfer that brings most entropy.
    fn steepest_transfer(&self) -> Option<(usize, usize)> {
        let i = self.pick(|i| self.lots.count[i] > self.levels.min[i], |i| self.lots.down[i])?;
        let j = self.pick(|j| self.lots.can_move(self.levels, self.limits, i, j), |j| -self.lots.up[j])?;
        (self.lots.down[i] - self.lots.up[j] > 1e-13).then_some((i, j))
    }

    fn pick(&self, allowed: impl Fn(usize) -> bool, key: impl Fn(usize) -> f64) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for &i in self.support {
            let key = key(i);
            if best.is_none_or(|(most, _)| key > most) && allowed(i) {
                best = Some((key, i));
            }
        }
        best.map(|(_, i)| i)
    }

    /// The removal with the least loss for each part of the missing entropy it brings.
    fn best_removal(&self) -> Option<usize> {
        let now = self.lots.entropy();
        let missing = self.limits.entropy_min - now;
        // The logarithms of a given target have no zero of their own.
        let zero = if self.problem.given {
            self.support.iter().map(|&i| self.problem.merit[i]).fold(f64::INFINITY, f64::min)
        } else {
            0.0
        };
        let mut best: Option<(f64, usize)> = None;
        for &i in self.support {
            if !self.lots.can_remove(self.levels, self.limits, i) {
                continue;
            }
            let gain = self.lots.entropy_removed(i) - now;
            if gain <= 1e-15 {
                continue;
            }
            let cost = self.problem.merit[i] - zero;
            let ratio = if cost > 0.0 { cost / gain.min(missing) } else { cost };
            if best.is_none_or(|(least, _)| ratio < least) {
                best = Some((ratio, i));
            }
        }
        best.map(|(_, i)| i)
    }

    /// Trades lots for value while the entropy floor holds: one lot between two levels, or two lots at once where a single
    /// one would break the floor.
    fn exchange(&mut self) {
        if !self.small() {
            return;
        }
        for _ in 0..self.moves_max() {
            if let Some((i, j)) = self.best_exchange() {
                self.lots.set(self.levels, i, self.lots.count[i] - 1);
                self.lots.set(self.levels, j, self.lots.count[j] + 1);
            } else if !self.add_two() && !self.remove_two() {
                return;
            }
            self.fill(true);
        }
    }

    fn best_exchange(&self) -> Option<(usize, usize)> {
        let total = self.lots.total as f64;
        let room = total * (total.ln() - self.limits.entropy_min + ENTROPY_TIE) - self.lots.sum();
        let mut best: Option<(f64, usize, usize)> = None;
        for &i in self.support {
            if self.lots.count[i] <= self.levels.min[i] {
                continue;
            }
            for &j in self.support {
                let gain = self.problem.merit[j] - self.problem.merit[i];
                let better = gain > best.map_or(0.0, |(most, ..)| most);
                if better
                    && self.lots.up[j] - self.lots.down[i] <= room
                    && self.lots.can_move(self.levels, self.limits, i, j)
                {
                    best = Some((gain, i, j));
                }
            }
        }
        best.map(|(_, i, j)| (i, j))
    }

    /// Adds the pair of lots worth most; true if there was one.
    fn add_two(&mut self) -> bool {
        let floor = self.limits.entropy_min - ENTROPY_TIE;
        let mut best: Option<(f64, usize, usize)> = None;
        for (at, &j) in self.support.iter().enumerate() {
            if !self.lots.can_add(self.levels, self.limits, j) {
                continue;
            }
            for &k in &self.support[at + 1..] {
                let gain = self.problem.merit[j] + self.problem.merit[k];
                let held = self.lots.held + i128::from(self.lots.hold_up[j]) + i128::from(self.lots.hold_up[k]);
                if gain > best.map_or(0.0, |(most, ..)| most)
                    && held <= i128::from(self.limits.budget)
                    && self.lots.total + 2 <= i128::from(self.limits.total_max)
                    && self.lots.can_add(self.levels, self.limits, k)
                    && self.lots.entropy_added_two(j, k) >= floor
                {
                    best = Some((gain, j, k));
                }
            }
        }
        let Some((_, j, k)) = best else { return false };
        self.lots.set(self.levels, j, self.lots.count[j] + 1);
        self.lots.set(self.levels, k, self.lots.count[k] + 1);
        true
    }

    /// Removes the pair of lots that costs most, one of them at least of negative value; true if there was one.
    fn remove_two(&mut self) -> bool {
        let floor = self.limits.entropy_min - ENTROPY_TIE;
        let mut best: Option<(f64, usize, Option<usize>)> = None;
        let merit = &self.problem.merit;
        for &i in self.support.iter().filter(|&&i| merit[i] < 0.0) {
            if !self.lots.can_remove(self.levels, self.limits, i) {
                continue;
            }
            let least = best.map_or(0.0, |(least, ..)| least);
            if merit[i] < least && self.lots.entropy_removed(i) >= floor {
                best = Some((merit[i], i, None));
            }
            for &k in self.support.iter().filter(|&&k| k != i) {
                let loss = merit[i] + merit[k];
                if loss < best.map_or(0.0, |(least, ..)| least)
                    && self.lots.can_remove(self.levels, self.limits, k)
                    && self.lots.entropy_removed_two(i, k) >= floor
                {
                    best = Some((loss, i, Some(k)));
                }
            }
        }
        let Some((_, i, k)) = best else { return false };
        for i in std::iter::once(i).chain(k) {
            self.lots.set(self.levels, i, self.lots.count[i] - 1);
        }
        true
    }

    /// Raises the entropy as far as single lots can: transfers, removals, additions. For the most equal ladder.
    pub(super) fn climb(&mut self) {
        for _ in 0..self.moves_max() {
            if self.lots.even(self.limits) {
                return;
            }
            let now = self.lots.entropy();
            let mut best: Option<(f64, Option<usize>, Option<usize>)> = None;
            let mut offer = |entropy: f64, less: Option<usize>, more: Option<usize>| {
                if entropy > best.map_or(now + 1e-13, |(most, ..)| most) {
                    best = Some((entropy, less, more));
                }
            };
            let tallest = self.pick(|i| self.lots.can_remove(self.levels, self.limits, i), |i| self.lots.down[i]);
            let lowest = self.pick(|j| self.lots.can_add(self.levels, self.limits, j), |j| -self.lots.up[j]);
            if let Some(j) = lowest {
                offer(self.lots.entropy_added(j), None, Some(j));
            }
            if let Some(i) = tallest {
                offer(self.lots.entropy_removed(i), Some(i), None);
                let other = self.pick(|j| self.lots.can_move(self.levels, self.limits, i, j), |j| -self.lots.up[j]);
                if let Some(j) = other {
                    offer(self.lots.entropy_moved(i, j), Some(i), Some(j));
                }
            }
            let Some((_, less, more)) = best else { return };
            if let Some(i) = less {
                self.lots.set(self.levels, i, self.lots.count[i] - 1);
            }
            if let Some(j) = more {
                self.lots.set(self.levels, j, self.lots.count[j] + 1);
            }
        }
    }
}
