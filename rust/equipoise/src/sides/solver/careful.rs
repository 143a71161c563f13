//! The searches that take every problem: the interior point in several manners, and the empty ladders.

use super::SidesSolver;
use crate::entropy::{Bound, SideProblem};
use crate::lanes::Lanes;
use crate::sides::{Certificate, GAP_MAX, Sides, VIOLATION_MAX, interior};

/// Ladders that gain less than this part of the scale over none may give way to none.
const WORTH_MIN: f64 = 1e-14;

impl SidesSolver {
    /// Tries searches in order until one convinces; the best answer is kept.
    #[inline(always)]
    pub(super) fn search<L: Lanes>(&mut self, problem: &Sides<'_>, present: [bool; 2]) -> Certificate {
        let mut found: Option<Certificate> = None;
        let mut last = self.zero::<L>(problem);
        let none = !present[0] && !present[1];
        for manner in interior::MANNERS {
            if none {
                break;
            }
            last = self.interior::<L>(problem, present, manner);
            if !convincing(&last) {
                (0..2).filter(|x| present[*x]).for_each(|x| self.judge::<L>(problem, x));
                let judged = problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights);
                last = if judged.gap < last.gap { judged } else { last };
            }
            if self.keep(last, &mut found) {
                // What gains nothing gives way to nothing, if that is optimal too.
                if last.objective <= self.worth_of_nothing(problem) + WORTH_MIN * last.scale {
                    let nothing = self.zero::<L>(problem);
                    if convincing(&nothing) {
                        std::mem::swap(&mut self.best, &mut self.trial);
                        return nothing;
                    }
                }
                return last;
            }
            last = self.zero::<L>(problem);
            if self.keep(last, &mut found) {
                return last;
            }
            for x in 0..2 {
                // A side may stay empty beside the other where the share bound lets it.
                let alone = match (problem.bid_share, x) {
                    (None, _) => true,
                    (Some([_, hi]), 0) => hi >= 1.0,
                    (Some([lo, _]), _) => lo <= 0.0,
                };
                if present == [true; 2] && alone {
                    self.interior::<L>(problem, [x == 0, x == 1], manner);
                    self.judge::<L>(problem, 1 - x);
                    last = problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights);
                    if self.keep(last, &mut found) {
                        return last;
                    }
                }
            }
        }
        if none {
            self.keep(last, &mut found);
        }
        found.unwrap_or(last)
    }

    /// Objective of the empty ladders.
    fn worth_of_nothing(&self, problem: &Sides<'_>) -> f64 {
        problem.inventory.map_or(0.0, |risk| -0.5 * risk.price_of_risk * risk.position * risk.position)
    }

    /// Keeps the trial if it is the best so far; whether it needs no other.
    fn keep(&mut self, certificate: Certificate, found: &mut Option<Certificate>) -> bool {
        if found.as_ref().is_none_or(|best| shortfall(&certificate) < shortfall(best)) {
            std::mem::swap(&mut self.best, &mut self.trial);
            *found = Some(certificate);
        }
        convincing(&certificate)
    }

    #[inline(always)]
    fn interior<L: Lanes>(&mut self, problem: &Sides<'_>, present: [bool; 2], manner: interior::Manner) -> Certificate {
        let size = [self.reduced[0].size_max, self.reduced[1].size_max];
        let mut interior = interior::Interior::new::<L>(problem, &self.reduced, present, size, &mut self.store, manner);
        interior.run::<L>();
        self.iterations += interior.iterations;
        self.trial.reset(problem);
        let [bids, asks] = &mut self.trial.size;
        interior.publish([bids, asks], &mut self.trial.multipliers);
        for x in 0..2 {
            let total: f64 = self.trial.size[x].iter().sum();
            if present[x] && total < 1e-9 * self.reduced[x].size_max {
                self.trial.size[x].fill(0.0);
            }
        }
        problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights)
    }

    /// The empty pair of ladders, with the temperatures at which each side is judged.
    #[inline(always)]
    fn zero<L: Lanes>(&mut self, problem: &Sides<'_>) -> Certificate {
        self.trial.reset(problem);
        if let Some(inventory) = problem.inventory {
            self.trial.multipliers.inventory = inventory.price_of_risk * inventory.position;
        }
        for x in 0..2 {
            self.judge::<L>(problem, x);
        }
        problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights)
    }

    /// The temperature that bounds a side's value best, at the other prices in force.
    #[inline(always)]
    fn judge<L: Lanes>(&mut self, problem: &Sides<'_>, x: usize) {
        problem.weights::<L>(x, &self.trial.size[x], &self.trial.multipliers, &mut self.weights);
        let side = &problem.side[x];
        let multipliers = &mut self.trial.multipliers;
        self.caps.clear();
        self.caps.extend(
            (0..side.utility.len()).map(|i| if side.size_cap.at(i) > 0.0 { side.share_cap.at(i) } else { 0.0 }),
        );
        let problem = SideProblem {
            utility: &self.weights,
            entropy_min: side.entropy_min,
            floor: side.share_floor,
            cap: Bound::Each(&self.caps),
        };
        multipliers.temperature[x] = 0.0;
        multipliers.normaliser[x] = f64::NAN;
        if let Ok(solution) = self.one_side.solve(&problem)
            && solution.temperature.is_finite()
        {
            multipliers.temperature[x] = solution.temperature;
            multipliers.normaliser[x] = solution.normaliser;
        }
    }
}

/// How far an answer is from the promise: at most one keeps it.
fn shortfall(certificate: &Certificate) -> f64 {
    let gap = certificate.gap.abs() / certificate.scale;
    let off = (gap / GAP_MAX).max(certificate.violation / VIOLATION_MAX);
    if off.is_nan() { f64::INFINITY } else { off }
}

/// Whether another search is not worth its time.
fn convincing(certificate: &Certificate) -> bool {
    shortfall(certificate) <= 0.1
}
