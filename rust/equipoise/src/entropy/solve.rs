//! One solve, in order: read and check, decide feasibility, search, certify.

use super::bounds::{self, Boxes, Feasible};
use super::rows::{Chunk, Rows, Store};
use super::{Bound, LEVELS_MAX, SideProblem, SideSolution, Warm, bracket, certificate, knapsack, newton};
use crate::error::{Error, Result};
use crate::lanes::{LANES, Lanes};
use crate::simd::Kernel;

/// Multipliers and work of a search, before they are certified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) temperature: f64,
    pub(super) normaliser: f64,
    pub(super) iterations: u32,
}

/// Extremes of the utilities.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survey {
    pub(super) largest: f64,
    pub(super) smallest: f64,
}

impl Survey {
    /// `max |u|`, the unit in which gaps are promised.
    #[inline(always)]
    pub(super) fn scale(&self) -> f64 {
        self.largest.abs().max(self.smallest.abs())
    }
}

/// The whole of a solve, compiled for each width.
pub(super) struct Solve<'a, 'b> {
    pub(super) problem: &'a SideProblem<'b>,
    pub(super) store: &'a mut Store,
    pub(super) warm: Option<Warm>,
}

impl Kernel for Solve<'_, '_> {
    type Output = Result<SideSolution>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Self::Output {
        let Self { problem, store, warm } = self;
        let levels = problem.utility.len();
        if levels == 0 || levels > LEVELS_MAX {
            return Err(Error::new("utility", "of 1 to 1048576 levels", levels));
        }
        if !problem.entropy_min.is_finite() {
            return Err(Error::new("entropy_min", "finite", problem.entropy_min));
        }
        let rows = &mut store.rows(levels);
        let survey = read_utility::<L>(problem.utility, rows)?;
        let boxes = bounds::read::<L>(problem, rows)?;
        let feasible = match bounds::check::<L>(&boxes, rows, problem.entropy_min) {
            Ok(feasible) => feasible,
            Err((status, entropy_max)) => {
                rows.share.fill([0.0; LANES]);
                return Ok(SideSolution::infeasible(status, entropy_max));
            }
        };
        if let Some(found) = newton::search::<L>(rows, &boxes, &feasible, survey, warm) {
            let solution = certificate::certify::<L>(rows, &boxes, &feasible, survey, found);
            if certificate::convincing(&solution, survey.scale()) {
                return Ok(solution);
            }
        }
        if matches!(boxes, Boxes::Open) {
            bounds::fill_open(rows, &feasible);
        }
        let found = careful(rows, &feasible, survey, warm);
        Ok(certificate::certify::<L>(rows, &Boxes::Each, &feasible, survey, found))
    }
}

/// The dual bound of a feasible problem at given multipliers; nothing where the problem is malformed or infeasible.
#[cfg(test)]
pub(super) struct BoundAt<'a, 'b> {
    pub(super) problem: &'a SideProblem<'b>,
    pub(super) temperature: f64,
    pub(super) normaliser: f64,
}

#[cfg(test)]
impl Kernel for BoundAt<'_, '_> {
    type Output = Option<f64>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Self::Output {
        let mut store = Store::default();
        let rows = &mut store.rows(self.problem.utility.len());
        read_utility::<L>(self.problem.utility, rows).ok()?;
        let boxes = bounds::read::<L>(self.problem, rows).ok()?;
        let feasible = bounds::check::<L>(&boxes, rows, self.problem.entropy_min).ok()?;
        if matches!(boxes, Boxes::Open) {
            bounds::fill_open(rows, &feasible);
        }
        Some(certificate::bound::<L>(rows, &Boxes::Each, &feasible, self.temperature, self.normaliser))
    }
}

/// The quick search alone: multipliers with the shares in their row, unproved.
pub(super) struct Unproved<'a, 'b> {
    pub(super) problem: &'a SideProblem<'b>,
    pub(super) store: &'a mut Store,
    pub(super) warm: Option<Warm>,
}

impl Kernel for Unproved<'_, '_> {
    type Output = Option<Warm>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Option<Warm> {
        let Self { problem, store, warm } = self;
        let rows = &mut store.rows(problem.utility.len());
        let survey = read_utility::<L>(problem.utility, rows).ok()?;
        let boxes = bounds::read::<L>(problem, rows).ok()?;
        let feasible = bounds::check::<L>(&boxes, rows, problem.entropy_min).ok()?;
        let found = newton::search::<L>(rows, &boxes, &feasible, survey, warm)?;
        Some(Warm { temperature: found.temperature, normaliser: found.normaliser })
    }
}

/// Whether the quick search answers a problem by itself.
#[cfg(test)]
pub(super) struct Quick<'a, 'b>(pub(super) &'a SideProblem<'b>);

#[cfg(test)]
impl Kernel for Quick<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        let mut store = Store::default();
        let rows = &mut store.rows(self.0.utility.len());
        let Ok(survey) = read_utility::<L>(self.0.utility, rows) else { return false };
        let Ok(boxes) = bounds::read::<L>(self.0, rows) else { return false };
        let Ok(feasible) = bounds::check::<L>(&boxes, rows, self.0.entropy_min) else { return false };
        newton::search::<L>(rows, &boxes, &feasible, survey, None).is_some_and(|found| {
            let solution = certificate::certify::<L>(rows, &boxes, &feasible, survey, found);
            certificate::convincing(&solution, survey.scale())
        })
    }
}

/// Copies and pads the utilities.
#[inline(always)]
fn read_utility<L: Lanes>(utility: &[f64], rows: &mut Rows<'_>) -> Result<Survey> {
    let first = utility[0];
    let (mut largest, mut smallest, mut check) = (L::splat(first), L::splat(first), L::zero());
    copy_padded(utility, first, rows.utility);
    for chunk in rows.utility.iter() {
        let u = L::load(chunk);
        largest = largest.max(u);
        smallest = smallest.min(u);
        // Zero times a number is zero; times an infinity or NaN it is NaN.
        check = check.add(u.mul(L::zero()));
    }
    if check.sum() != 0.0 {
        let index = utility.iter().position(|value| !value.is_finite()).unwrap_or(0);
        return Err(Error::at("utility", index, "finite", utility[index]));
    }
    Ok(Survey { largest: largest.largest(), smallest: -L::zero().sub(smallest).largest() })
}

/// `from` in whole chunks, `pad` behind it.
#[inline(always)]
pub(super) fn copy_padded(from: &[f64], pad: f64, to: &mut [Chunk]) {
    let (whole, rest) = from.as_chunks::<LANES>();
    for (to, from) in to.iter_mut().zip(whole) {
        *to = *from;
    }
    if !rest.is_empty()
        && let Some(last) = to.last_mut()
    {
        *last = [pad; LANES];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
    }
}

/// Checks a bound on shares, names what is wrong with it, and copies it.
#[inline(always)]
pub(super) fn read_bound(
    (name, requirement, largest): (&'static str, &'static str, f64),
    bound: &Bound<'_>,
    levels: usize,
    to: &mut [Chunk],
) -> Result<()> {
    match *bound {
        Bound::Scalar(value) => {
            if !(0.0..=largest).contains(&value) {
                return Err(Error::new(name, requirement, value));
            }
            to.fill([value; LANES]);
            let padding = to.len() * LANES - levels;
            to.as_flattened_mut()[levels..][..padding].fill(0.0);
        }
        Bound::Each(values) => {
            if values.len() != levels {
                return Err(Error::new(name, "a number, or as long as utility", format!("{} values", values.len())));
            }
            if let Some(index) = values.iter().position(|value| !(0.0..=largest).contains(value)) {
                return Err(Error::at(name, index, requirement, values[index]));
            }
            copy_padded(values, 0.0, to);
        }
    }
    Ok(())
}

/// The search that always ends, with the knapsack first.
#[cold]
#[inline(never)]
fn careful(rows: &mut Rows<'_>, feasible: &Feasible, survey: Survey, warm: Option<Warm>) -> Found {
    let critical = knapsack::fill(rows);
    if knapsack::entropy_suffices(rows, feasible) {
        return Found { temperature: 0.0, normaliser: critical, iterations: 0 };
    }
    if feasible.tight {
        rows.share.copy_from_slice(rows.flattest);
        return Found { temperature: f64::INFINITY, normaliser: f64::NAN, iterations: 0 };
    }
    // A power of two brings the largest utility to one, so that no difference or temperature over- or underflows.
    let scale = power_of_two_below(survey.scale());
    for (centred, utility) in rows.centred.as_flattened_mut().iter_mut().zip(rows.utility.as_flattened()) {
        *centred = utility / scale - critical / scale;
    }
    let start = warm.map(|warm| warm.temperature / scale);
    let found = bracket::search(rows, feasible, start);
    Found {
        temperature: found.temperature * scale,
        normaliser: critical + found.normaliser * scale,
        iterations: found.iterations,
    }
}

/// The largest power of two not above a positive normal number; near the ends of the range, one a little inside.
fn power_of_two_below(value: f64) -> f64 {
    let exponent = (value.to_bits() >> 52).clamp(64, 1984);
    f64::from_bits(exponent << 52)
}
