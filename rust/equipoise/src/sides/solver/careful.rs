//! The searches that take every problem: the interior point in several manners, and the empty ladders.

use super::SidesSolver;
use crate::entropy::{Bound, SideProblem, entropy};
use crate::lanes::Lanes;
use crate::sides::{Certificate, GAP_MAX, Sides, VIOLATION_MAX, interior};

/// Ladders that gain less than this part of the scale over none may give way to none.
const WORTH_MIN: f64 = 1e-14;
/// Entropy floors missed by more than the first and less than the second are mended.
const VIOLATION_GOOD: f64 = 0.01 * VIOLATION_MAX;
const VIOLATION_MENDED: f64 = 1e-6;
/// Parts of that way that are worth going, and near enough.
const PART_MIN: f64 = 1e-14;
const PART_MAX: f64 = 1e-3;
/// Totals below this part of the scale are no ladder.
const NOTHING: f64 = 1e-9;
/// Scales tried: where a total comes out below this part of one, the next is this much above the total.
const SCALES_MAX: u32 = 4;
const SCALE_SMALL: f64 = 1e-4;
const SCALE_ROOM: f64 = 8.0;

impl SidesSolver {
    /// Tries searches in order until one convinces; the best answer is kept.
    #[inline(always)]
    pub(super) fn search<L: Lanes>(&mut self, problem: &Sides<'_>, present: [bool; 2]) -> Certificate {
        let mut found: Option<Certificate> = None;
        let mut last = self.zero::<L>(problem);
        let none = !present[0] && !present[1];
        let whole = [self.reduced[0].size_max, self.reduced[1].size_max];
        for manner in interior::MANNERS {
            if none {
                break;
            }
            let mut size = whole;
            for _ in 0..SCALES_MAX {
                let totals = self.interior::<L>(problem, present, size, manner);
                last = self.judged::<L>(problem, present);
                if self.keep(last, &mut found) {
                    return self.or_nothing::<L>(problem, last);
                }
                // Sizes far below what limits allow are lost in their rounding: look again on their own scale.
                let small = [0, 1].map(|x| present[x] && totals[x] > 0.0 && totals[x] < SCALE_SMALL * size[x]);
                if small == [false; 2] {
                    break;
                }
                (0..2).filter(|x| small[*x]).for_each(|x| size[x] = SCALE_ROOM * totals[x]);
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
                    self.interior::<L>(problem, [x == 0, x == 1], whole, manner);
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
        problem.inventory.map_or(0.0, |risk| -0.5 * (risk.price_of_risk * risk.position * risk.position))
    }

    /// Keeps the trial if it is the best so far; whether it needs no other.
    fn keep(&mut self, certificate: Certificate, found: &mut Option<Certificate>) -> bool {
        if found.as_ref().is_none_or(|best| shortfall(&certificate) < shortfall(best)) {
            std::mem::swap(&mut self.best, &mut self.trial);
            *found = Some(certificate);
        }
        convincing(&certificate)
    }

    /// Prices the trial, at temperatures of its own where those of the search do not convince.
    #[inline(always)]
    fn judged<L: Lanes>(&mut self, problem: &Sides<'_>, present: [bool; 2]) -> Certificate {
        let mut judged: Option<(Certificate, [f64; 2], [f64; 2])> = None;
        let mut mended = false;
        // One place that prices, for everything of it is compiled into its caller.
        loop {
            let now = problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights);
            if let Some((first, temperature, normaliser)) = judged
                && now.gap >= first.gap
            {
                (self.trial.multipliers.temperature, self.trial.multipliers.normaliser) = (temperature, normaliser);
                return first;
            }
            if judged.is_some() || convincing(&now) {
                return now;
            }
            let worth_mending = VIOLATION_GOOD < now.violation && now.violation < VIOLATION_MENDED;
            if !mended && worth_mending && self.mend_entropy(problem, present) {
                // Once: what rounding keeps apart would be moved for ever.
                mended = true;
                continue;
            }
            judged = Some((now, self.trial.multipliers.temperature, self.trial.multipliers.normaliser));
            (0..2).filter(|x| present[*x]).for_each(|x| self.judge::<L>(problem, x));
        }
    }

    /// Moves sides that miss their entropy floor by a hair towards the flattest sizes that caps allow, at the same total
    /// if there are such, else at one that no cap touches. The floor is a cone, so the part of the way follows from what is
    /// missing and what those have to spare; the other side shrinks alike, which keeps their ratio. False where nothing moved.
    fn mend_entropy(&mut self, problem: &Sides<'_>, present: [bool; 2]) -> bool {
        let mut mended = false;
        for x in (0..2).filter(|x| present[*x] && !self.reduced[*x].ray) {
            let (side, reduced) = (&problem.side[x], &self.reduced[x]);
            let sizes = &mut self.trial.size[x];
            let total: f64 = sizes.iter().sum();
            let missing = total * (side.entropy_min - entropy(sizes));
            let caps = &mut self.caps;
            let mut spare = 0.0;
            let mut flat = total;
            for at_most in [total, total.min(reduced.size_free)] {
                reduced.flattest_at(side, at_most, caps);
                flat = at_most;
                spare = flat * (entropy(caps) - reduced.entropy_min);
                if spare > missing {
                    break;
                }
            }
            let part = missing / (missing + spare);
            if !(PART_MIN < part && part < PART_MAX) {
                continue;
            }
            mended = true;
            sizes.iter_mut().for_each(|size| *size *= 1.0 - part);
            for (&index, share) in reduced.keep.iter().zip(caps.iter()) {
                sizes[index as usize] += part * flat * share;
            }
            let factor = 1.0 - part * (1.0 - flat / total);
            self.trial.size[1 - x].iter_mut().for_each(|size| *size *= factor);
        }
        mended
    }

    /// An answer that gains nothing gives way to nothing, if that is optimal too.
    #[inline(always)]
    fn or_nothing<L: Lanes>(&mut self, problem: &Sides<'_>, answer: Certificate) -> Certificate {
        if answer.objective <= self.worth_of_nothing(problem) + WORTH_MIN * answer.scale {
            let nothing = self.zero::<L>(problem);
            if convincing(&nothing) {
                std::mem::swap(&mut self.best, &mut self.trial);
                return nothing;
            }
        }
        answer
    }

    /// The interior point, on the scale of `size`, into the trial; the totals it ends with.
    #[inline(always)]
    fn interior<L: Lanes>(
        &mut self,
        problem: &Sides<'_>,
        present: [bool; 2],
        size: [f64; 2],
        manner: interior::Manner,
    ) -> [f64; 2] {
        let mut interior = interior::Interior::new::<L>(problem, &self.reduced, present, size, &mut self.store, manner);
        interior.run::<L>();
        self.iterations += interior.iterations;
        self.trial.reset(problem);
        let [bids, asks] = &mut self.trial.size;
        interior.publish([bids, asks], &mut self.trial.multipliers);
        let totals = [0, 1].map(|x| self.trial.size[x].iter().sum::<f64>());
        for x in (0..2).filter(|x| present[*x] && totals[*x] < NOTHING * size[*x]) {
            self.trial.size[x].fill(0.0);
        }
        totals
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
