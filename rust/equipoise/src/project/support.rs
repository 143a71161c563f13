//! Which levels carry orders, and the order in which ways to quote them are tried.

use super::equal;
use super::levels::Levels;
use super::lots::Limits;
use super::polish::Workbench;
use super::{Breadth, OnInfeasible, OnUnprofitable, ProjectInput, Projector, Relaxed};
use crate::status::Reason;

/// Sides of at most this many levels look at every choice of levels when the plain one cannot meet the floor.
const ALL_SUPPORTS_MAX: usize = 6;
/// Sides this small look at every choice of levels anyway: at most this many levels, with at most so many lots each.
const FEW: usize = 4;
const FEW_LOTS: i128 = 16;
/// Levels tried for dropping on one side.
const TRIES_MAX: usize = 64;
/// Water levels tried in that case on larger sides.
const WATER_LEVELS_MAX: usize = 24;

/// What the search found; the lots are in `Projector::best`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) empty: Option<Reason>,
    pub(super) relaxed: Option<Relaxed>,
    /// The floor in force, nats.
    pub(super) entropy_min: f64,
    pub(super) limits: Limits,
}

/// Multipliers of the continuous problem behind the best lots so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Multipliers {
    pub(super) temperature: f64,
    pub(super) normaliser: f64,
    /// One lot is a noticeable part of the side.
    pub(super) small: bool,
}

impl Projector {
    /// Looks for lots and leaves the best in `self.best`.
    pub(super) fn search(&mut self, input: &ProjectInput<'_>) -> Outcome {
        let asked = Limits {
            budget: input.budget.max(0),
            total_max: input.lots_total_max,
            entropy_min: input.entropy_min.max(0.0),
            share_floor: input.share_floor,
            share_cap: input.share_cap,
        };
        self.problem.load(&self.levels);
        let asked = Limits { total_max: asked.total_max.min(self.problem.total_wanted()), ..asked };
        let nothing =
            |reason| Outcome { empty: Some(reason), relaxed: None, entropy_min: asked.entropy_min, limits: asked };
        if let Some(reason) = self.nothing_fits() {
            return nothing(reason);
        }
        let given = self.problem.given;
        if !given && self.levels.value.iter().zip(&self.levels.blocked).all(|(value, b)| *value <= 0.0 || b.is_some()) {
            return self.unprofitable(input, asked);
        }
        affordable(&self.levels, &asked, &mut self.support);
        if self.support.is_empty() {
            return nothing(Reason::Notional);
        }
        let outcome = if (self.reaches(&asked) && self.attempt(&asked)) || self.other_supports(&asked) {
            Outcome { empty: None, relaxed: None, entropy_min: asked.entropy_min, limits: asked }
        } else if input.on_infeasible == OnInfeasible::Refuse {
            return nothing(Reason::Entropy);
        } else {
            self.relax(input, asked)
        };
        self.narrow(input.breadth, &outcome.limits);
        if !given && self.best.worth(&self.problem.merit) <= 0.0 {
            self.best.reset(self.levels.len());
            return self.unprofitable(input, asked);
        }
        outcome
    }

    /// Whether the support has levels enough for the floor.
    fn reaches(&self, limits: &Limits) -> bool {
        reaches(self.support.len(), limits)
    }

    /// Why no level can carry an order, if none can.
    fn nothing_fits(&self) -> Option<Reason> {
        if self.levels.blocked.iter().any(Option::is_none) {
            return None;
        }
        // The reason closest to an order: minimum size before money before limits.
        let order = [Reason::Notional, Reason::Margin, Reason::NoMargin, Reason::Position, Reason::NoValue];
        Some(order.into_iter().find(|reason| self.levels.blocked.contains(&Some(*reason))).unwrap_or(Reason::NoValue))
    }

    /// Ways to quote `self.support` within `limits`; keeps the best of them in `self.best` if it beats what is there.
    fn attempt(&mut self, limits: &Limits) -> bool {
        let solved = self.problem.solve(&self.levels, &self.support, &mut self.solver, limits);
        let mut bench = Workbench {
            levels: &self.levels,
            support: &self.support,
            problem: &self.problem,
            limits,
            lots: &mut self.lots,
        };
        let size = self.problem.size;
        let mut found = solved && bench.round_shares(size) || from_equal(&mut bench, Water::Highest);
        let small = bench.small();
        if found {
            self.keep_better(small);
        }
        if !self.problem.given && (small || self.best.worth(&self.problem.merit) <= 0.0) {
            found |= self.attempt_again(limits, solved);
        }
        found
    }

    /// Other starts. Where a lot weighs much, where shares stop at caps or where lots cost money, a smaller total or growing
    /// from the smallest ladder can end higher than rounding down from the largest.
    fn attempt_again(&mut self, limits: &Limits, solved: bool) -> bool {
        let mut found = false;
        let size = self.problem.size;
        let mut totals = [size - 1.0, size - 2.0, size - 3.0, 0.5 * size];
        for start in 0..totals.len() + 2 {
            let mut bench = Workbench {
                levels: &self.levels,
                support: &self.support,
                problem: &self.problem,
                limits,
                lots: &mut self.lots,
            };
            let done = match (start, totals.get_mut(start)) {
                (_, Some(total)) => solved && *total >= 1.0 && bench.round_shares(*total),
                (4, _) => from_equal(&mut bench, Water::Highest),
                _ => from_equal(&mut bench, Water::Lowest),
            };
            if done {
                self.keep_better(true);
                found = true;
            }
        }
        found
    }

    /// Keeps the lots at hand if they beat the best so far.
    fn keep_better(&mut self, small: bool) -> bool {
        let better = self.best.total == 0 || self.better();
        if better {
            self.best.keep(&self.lots);
            let (temperature, normaliser) = (self.problem.temperature, self.problem.normaliser);
            self.multipliers = Multipliers { temperature, normaliser, small };
        }
        better
    }

    /// Whether the lots at hand beat the best so far: by value, or for a given target by size.
    fn better(&self) -> bool {
        if self.problem.given {
            return self.lots.total > self.best.total;
        }
        self.lots.worth(&self.problem.merit) > self.best.worth(&self.problem.merit)
    }

    /// Other choices of levels, when the plain one cannot meet the floor.
    fn other_supports(&mut self, limits: &Limits) -> bool {
        self.spare.clear();
        self.spare.extend((0..self.levels.len()).filter(|&i| self.levels.blocked[i].is_none()));
        let reach = |count: usize| reaches(count, limits);
        if !reach(self.spare.len()) {
            return false;
        }
        if self.spare.len() <= ALL_SUPPORTS_MAX {
            return self.all_supports(limits, |_, chosen| reach(chosen.len()));
        }
        let usable = std::mem::take(&mut self.spare);
        let found = self.water_supports(limits, &usable);
        self.spare = usable;
        found
    }

    /// Every choice among the levels in `self.spare` that will do.
    fn all_supports(&mut self, limits: &Limits, will_do: impl Fn(&Levels, &[usize]) -> bool) -> bool {
        let usable = std::mem::take(&mut self.spare);
        let mut found = false;
        for mask in 1_u32..1 << usable.len() {
            self.support.clear();
            self.support.extend((0..usable.len()).filter(|at| mask >> at & 1 == 1).map(|at| usable[at]));
            if will_do(&self.levels, &self.support) {
                found |= self.attempt(limits);
            }
        }
        self.spare = usable;
        found
    }

    /// For water levels at the minimums, the highest first: all levels whose smallest order lies below, the cheapest first.
    fn water_supports(&mut self, limits: &Limits, usable: &[usize]) -> bool {
        let levels = &self.levels;
        self.cheapest.clear();
        self.cheapest.extend_from_slice(usable);
        self.cheapest.sort_unstable_by_key(|&i| (levels.rate[i].charge(levels.min[i]), i));
        self.by_min.clear();
        self.by_min.extend(usable.iter().map(|&i| levels.min[i]));
        self.by_min.sort_unstable();
        let step = usable.len().div_ceil(WATER_LEVELS_MAX);
        for at in (0..usable.len()).rev().step_by(step) {
            let (levels, water) = (&self.levels, self.by_min[at]);
            let (mut held, mut total) = (0_i128, 0_i128);
            self.support.clear();
            for &i in self.cheapest.iter().filter(|&&i| levels.min[i] <= water) {
                held += i128::from(levels.rate[i].charge(levels.min[i]));
                total += i128::from(levels.min[i]);
                if held > i128::from(limits.budget) || total > i128::from(limits.total_max) {
                    break;
                }
                self.support.push(i);
            }
            self.support.sort_unstable();
            if self.reaches(limits) && self.attempt(limits) {
                return true;
            }
        }
        false
    }

    /// The floor that the affordable levels can reach, or the most equal ladder.
    fn relax(&mut self, input: &ProjectInput<'_>, asked: Limits) -> Outcome {
        affordable(&self.levels, &asked, &mut self.support);
        let (count, all) = (self.support.len() as f64, input.utility.len() as f64);
        let reachable = if all > 1.0 { asked.entropy_min * count.ln() / all.ln() } else { 0.0 };
        let limits = Limits {
            entropy_min: asked.entropy_min.min(reachable),
            share_floor: asked.share_floor.min(1.0 / count),
            share_cap: asked.share_cap.max(1.0 / count),
            ..asked
        };
        if self.attempt(&limits) {
            let relaxed = Some(Relaxed::Levels);
            return Outcome { empty: None, relaxed, entropy_min: limits.entropy_min, limits };
        }
        // Shares give way to evenness.
        let open = Limits { share_floor: 0.0, share_cap: 1.0, ..limits };
        if let Some(level) = equal::peak(&self.levels, &self.support, &open) {
            self.lots.reset(self.levels.len());
            let mut bench = Workbench {
                levels: &self.levels,
                support: &self.support,
                problem: &self.problem,
                limits: &open,
                lots: &mut self.lots,
            };
            set_equal(&mut bench, level.lots);
            bench.climb();
            self.best.keep(&self.lots);
        }
        let entropy_min = limits.entropy_min.min(self.best.entropy());
        Outcome { empty: None, relaxed: Some(Relaxed::Lots), entropy_min, limits: Limits { entropy_min, ..open } }
    }

    /// Drops levels that stand at their smallest order, when the side is worth more without them.
    fn narrow(&mut self, breadth: Breadth, limits: &Limits) {
        if self.problem.given {
            return;
        }
        self.spare.clear();
        self.spare.extend((0..self.levels.len()).filter(|&i| self.levels.blocked[i].is_none()));
        let quoted = self.best.count.iter().filter(|count| **count > 0).count();
        let few = self.spare.len() <= FEW && self.best.total <= FEW_LOTS * quoted as i128;
        let open = quoted < self.spare.len() || self.spare.iter().any(|&i| self.levels.value[i] <= 0.0);
        if few && (breadth == Breadth::Best || open) {
            // As many levels of value as before, whichever they are.
            let value = |i: usize| self.levels.value[i] > 0.0;
            let of_value = (0..self.levels.len()).filter(|&i| self.best.count[i] > 0 && value(i)).count();
            let least = if breadth == Breadth::Best { 0 } else { of_value };
            self.all_supports(limits, |levels, chosen| {
                chosen.iter().filter(|&&i| levels.value[i] > 0.0).count() >= least
            });
        }
        let mut tries = TRIES_MAX;
        while tries > 0 && self.drop_one(breadth, limits, &mut tries) {}
    }

    /// Drops the first level whose absence makes the side worth more; false when there is none.
    fn drop_one(&mut self, breadth: Breadth, limits: &Limits, tries: &mut usize) -> bool {
        let (levels, best, multipliers) = (&self.levels, &self.best, self.multipliers);
        // At n lots of N a level takes T n (ln(n / (p N)) − 1) off the Lagrangian, p its share without the smallest order:
        // no more is to be had by dropping it. Less than a lot is not worth a solve, unless a lot weighs much.
        let lot = levels.value.iter().fold(0.0_f64, |most, value| most.max(*value));
        let worth_a_try = |i: usize| {
            let (count, total) = (best.count[i] as f64, best.total as f64);
            let log = (levels.value[i] - multipliers.normaliser) / multipliers.temperature;
            let gain = multipliers.temperature * count * ((count / total).ln() - log - 1.0);
            // A temperature of zero leaves nothing to reckon with.
            multipliers.small || !gain.is_finite() || gain > lot
        };
        let least = |i: usize| best.count[i] > 0 && best.count[i] == levels.min[i] && worth_a_try(i);
        self.spare.clear();
        self.spare.extend(
            (0..levels.len()).rev().filter(|&i| least(i) && (breadth == Breadth::Best || levels.value[i] < 0.0)),
        );
        let candidates = std::mem::take(&mut self.spare);
        let mut dropped = false;
        if !multipliers.small && candidates.len() > 1 {
            *tries -= 1;
            dropped = self.attempt_without(&candidates, limits);
        }
        for out in candidates.iter().take(*tries) {
            if dropped {
                break;
            }
            *tries -= 1;
            dropped = self.attempt_without(std::slice::from_ref(out), limits);
        }
        self.spare = candidates;
        dropped
    }

    /// Whether the side is worth more without these of its levels.
    fn attempt_without(&mut self, out: &[usize], limits: &Limits) -> bool {
        let before = self.best.worth(&self.problem.merit);
        self.support.clear();
        self.support.extend((0..self.levels.len()).filter(|i| self.best.count[*i] > 0 && !out.contains(i)));
        self.reaches(limits) && self.attempt(limits) && self.best.worth(&self.problem.merit) > before
    }

    /// Nothing has value: no orders, or the smallest ones that meet the floor.
    fn unprofitable(&mut self, input: &ProjectInput<'_>, limits: Limits) -> Outcome {
        let mut outcome =
            Outcome { empty: Some(Reason::NoValue), relaxed: None, entropy_min: limits.entropy_min, limits };
        if input.on_unprofitable == OnUnprofitable::Empty {
            return outcome;
        }
        affordable(&self.levels, &limits, &mut self.support);
        let smallest = equal::range(&self.levels, &self.support, &limits).map(|(low, _)| low);
        let level = match (smallest, input.on_infeasible) {
            (Some(low), _) => low,
            (None, OnInfeasible::Refuse) => return Outcome { empty: Some(Reason::Entropy), ..outcome },
            (None, OnInfeasible::Relax) => match equal::peak(&self.levels, &self.support, &limits) {
                Some(peak) => peak.lots,
                None => return outcome,
            },
        };
        self.best.reset(self.levels.len());
        for &i in &self.support {
            self.best.set(&self.levels, i, equal::clip(&self.levels, i, level));
        }
        outcome.empty = None;
        if smallest.is_none() {
            outcome.relaxed = Some(Relaxed::Lots);
            outcome.entropy_min = limits.entropy_min.min(self.best.entropy());
        }
        outcome.limits = Limits { entropy_min: outcome.entropy_min, share_floor: 0.0, share_cap: 1.0, ..limits };
        outcome
    }
}

/// Whether `count` levels can have the entropy asked for.
fn reaches(count: usize, limits: &Limits) -> bool {
    count > 0 && (count as f64).ln() >= limits.entropy_min - super::ENTROPY_TIE
}

/// Which of the water levels that meet the floor to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Water {
    Highest,
    Lowest,
}

/// The water level asked for, filled up; where none meets the floor, the most equal one climbed lot by lot.
fn from_equal(bench: &mut Workbench<'_>, water: Water) -> bool {
    bench.lots.reset(bench.levels.len());
    match equal::range(bench.levels, bench.support, bench.limits) {
        Some((low, high)) => set_equal(bench, if water == Water::Highest { high } else { low }),
        None => {
            let Some(peak) = equal::peak(bench.levels, bench.support, bench.limits) else { return false };
            set_equal(bench, peak.lots);
            bench.climb();
        }
    }
    bench.finish()
}

fn set_equal(bench: &mut Workbench<'_>, water: i64) {
    for &i in bench.support {
        bench.lots.set(bench.levels, i, equal::clip(bench.levels, i, water));
    }
}

/// Levels whose smallest orders fit together, by value per margin; one that does not fit does not stop those behind it.
fn affordable(levels: &Levels, limits: &Limits, support: &mut Vec<usize>) {
    support.clear();
    let (mut held, mut total) = (0_i128, 0_i128);
    for i in 0..levels.len() {
        if levels.blocked[i].is_some() {
            continue;
        }
        let charge = i128::from(levels.rate[i].charge(levels.min[i]));
        let lots = i128::from(levels.min[i]);
        if held + charge <= i128::from(limits.budget) && total + lots <= i128::from(limits.total_max) {
            held += charge;
            total += lots;
            support.push(i);
        }
    }
}
