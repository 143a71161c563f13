//! The continuous answer of the joint problem, with a certificate where one side is empty.

use super::super::LadderEngine;
use super::Terms;
use crate::error::Result;
use crate::sides::{self, Certificate, GAP_MAX, Multipliers, Sides, SidesSolution, VIOLATION_MAX};
use crate::status::{SideStatus, SidesStatus};

impl LadderEngine {
    /// The continuous answer; the same statement is not solved again.
    pub(super) fn solve_sides(&mut self, terms: &Terms) -> Result<SidesSolution> {
        if let Some((last, solution)) = self.joint.last
            && last == *terms
        {
            return Ok(solution);
        }
        let mut solver = std::mem::take(&mut self.joint.solver);
        let solved = solver.solve(&self.joint.stated([&self.bids, &self.asks], terms));
        self.joint.solver = solver;
        let mut solution = solved?;
        self.joint.multipliers.clone_from(self.joint.solver.multipliers());
        if solution.status == SidesStatus::Inaccurate && terms.present == [true; 2] {
            solution = self.solve_alone(terms)?.unwrap_or(solution);
        }
        self.joint.last = Some((*terms, solution));
        Ok(solution)
    }

    /// Where the answer to both sides is not certified: one side alone, if that is certified for both. The empty side's
    /// temperature is free, and any gives a true bound: the best is looked for.
    fn solve_alone(&mut self, terms: &Terms) -> Result<Option<SidesSolution>> {
        let mut spare = std::mem::take(&mut self.joint.spare);
        let mut found = None;
        for x in 0..2 {
            let mut alone = Terms { bid_share: None, ..*terms };
            alone.present[1 - x] = false;
            let solution = spare.solve(&self.joint.stated([&self.bids, &self.asks], &alone))?;
            if solution.status == SidesStatus::Inaccurate || !finite(spare.multipliers()) {
                continue;
            }
            let problem = self.joint.stated([&self.bids, &self.asks], terms);
            let mut multipliers = spare.multipliers().clone();
            let certificate = best_temperature(&problem, spare.size(), &mut multipliers, 1 - x)?;
            if certificate.gap <= GAP_MAX * certificate.scale && certificate.violation <= VIOLATION_MAX {
                let Certificate { objective, dual_bound, gap, scale, violation } = certificate;
                let mut side = solution.side;
                side[1 - x] = SideStatus::NoValue;
                let margin_price = [0, 1].map(|x| multipliers.margin[x] + multipliers.margin[2]);
                let temperature = multipliers.temperature;
                let certified = SidesSolution { objective, dual_bound, gap, scale, violation, ..solution };
                found = Some(SidesSolution { side, margin_price, temperature, ..certified });
                self.joint.multipliers = multipliers;
                std::mem::swap(&mut self.joint.solver, &mut spare);
                break;
            }
        }
        self.joint.spare = spare;
        Ok(found)
    }
}

/// The certificate of ladders of which one side is empty, at the temperature of that side that bounds best.
fn best_temperature(
    problem: &Sides<'_>,
    size: [&[f64]; 2],
    multipliers: &mut Multipliers,
    x: usize,
) -> Result<Certificate> {
    /// Golden section over so many steps narrows twenty decades to a millionth of one.
    const STEPS: usize = 40;
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let largest = problem.side[x].utility.iter().fold(f64::MIN_POSITIVE, |most, utility| most.max(utility.abs()));
    let mut at = |log: f64| {
        multipliers.temperature[x] = largest * log.exp();
        sides::certify(problem, size, multipliers)
    };
    let (mut low, mut high) = (-30.0, 16.0);
    let (mut left, mut right) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_left, mut at_right) = (at(left)?, at(right)?);
    for _ in 0..STEPS {
        if at_left.dual_bound <= at_right.dual_bound {
            (high, right, at_right) = (right, left, at_left);
            left = high - RATIO * (high - low);
            at_left = at(left)?;
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + RATIO * (high - low);
            at_right = at(right)?;
        }
    }
    let best = if at_left.dual_bound <= at_right.dual_bound { left } else { right };
    at(best)
}

pub(super) fn finite(multipliers: &Multipliers) -> bool {
    let Multipliers { margin, temperature, normaliser, inventory, level } = multipliers;
    margin
        .iter()
        .chain(temperature)
        .chain(normaliser)
        .chain([inventory])
        .chain(level.iter().flatten())
        .all(|m| m.is_finite())
}
