//! The solver of both sides: which search is tried when, and what the caller is told.

mod careful;
mod direct;

use super::{Certificate, GAP_MAX, Multipliers, Sides, SidesSolution, VIOLATION_MAX};
use super::{crowded, interior, quick, read};
use crate::entropy::SideSolver;
use crate::error::Result;
use crate::lanes::Lanes;
use crate::simd::{Kernel, Width, dispatch, widest};
use crate::status::{SideStatus, SidesStatus};

/// Ladders with the multipliers that price them.
#[derive(Clone, Debug, Default)]
struct Answer {
    size: [Vec<f64>; 2],
    multipliers: Multipliers,
}

/// Solves P2 and P3 and owns the buffers it needs.
#[derive(Clone, Debug)]
pub struct SidesSolver {
    reduced: [read::Reduced; 2],
    store: [interior::Store; 2],
    one_side: SideSolver,
    shape: [quick::Shape; 2],
    crowd: [crowded::Store; 2],
    prices: Option<quick::Prices>,
    /// Where caps on single sizes were in force at the last answer.
    places: Option<[crowded::Place; 2]>,
    weights: Vec<f64>,
    caps: Vec<f64>,
    trial: Answer,
    best: Answer,
    iterations: u32,
    width: Width,
}

impl Default for SidesSolver {
    fn default() -> Self {
        Self::new()
    }
}

impl SidesSolver {
    /// A solver with empty buffers; they grow with the first problem.
    #[must_use]
    pub fn new() -> Self {
        Self::limited(Width::Avx512)
    }

    /// A solver that uses no wider instructions than `width`, to compare them.
    #[must_use]
    pub fn limited(width: Width) -> Self {
        Self {
            reduced: Default::default(),
            store: Default::default(),
            one_side: SideSolver::limited(width),
            shape: [0, 1].map(|_| quick::Shape::new(SideSolver::limited(width))),
            crowd: Default::default(),
            prices: None,
            places: None,
            weights: Vec::new(),
            caps: Vec::new(),
            trial: Answer::default(),
            best: Answer::default(),
            iterations: 0,
            width: width.min(widest()),
        }
    }

    /// Sizes of the last solution, bids and asks.
    #[must_use]
    pub fn size(&self) -> [&[f64]; 2] {
        self.best.sizes()
    }

    /// Multipliers of the last solution.
    #[must_use]
    pub fn multipliers(&self) -> &Multipliers {
        &self.best.multipliers
    }

    /// Solves `problem` from scratch.
    ///
    /// # Errors
    /// When an argument is malformed. A side that cannot be quoted is a status, not an error.
    pub fn solve(&mut self, problem: &Sides<'_>) -> Result<SidesSolution> {
        self.run(problem, false)
    }

    /// Solves `problem` starting at the prices and shapes of the last problem, which should be one nearby. They change the
    /// work, and the answer within the stated gap.
    ///
    /// # Errors
    /// As [`SidesSolver::solve`].
    pub fn solve_warm(&mut self, problem: &Sides<'_>) -> Result<SidesSolution> {
        self.run(problem, true)
    }

    fn run(&mut self, problem: &Sides<'_>, warm: bool) -> Result<SidesSolution> {
        read::check(problem)?;
        let width = self.width;
        dispatch(Solve { problem, solver: self, warm }, width)
    }
}

impl SidesSolver {
    /// What the share bound makes of the largest totals: no side beyond what the other allows.
    fn narrow(&mut self, problem: &Sides<'_>, side: &mut [SideStatus; 2]) {
        let Some([lo, hi]) = problem.bid_share else { return };
        // How many asks a bid needs at least, and how many bids an ask.
        let need = [(1.0 - hi) / hi, lo / (1.0 - lo)];
        for x in 0..2 {
            if side[x] != SideStatus::Quoted && side[1 - x] == SideStatus::Quoted && need[1 - x] > 0.0 {
                side[1 - x] = SideStatus::Blocked;
            }
        }
        for x in 0..2 {
            if side == &[SideStatus::Quoted; 2] && need[x] > 0.0 {
                let most = self.reduced[1 - x].size_max / need[x];
                if most == 0.0 {
                    side[x] = SideStatus::Blocked;
                } else {
                    self.reduced[x].size_max = self.reduced[x].size_max.min(most);
                }
            }
        }
    }
}

struct Solve<'s, 'p, 'a> {
    problem: &'p Sides<'a>,
    solver: &'s mut SidesSolver,
    warm: bool,
}

impl Kernel for Solve<'_, '_, '_> {
    type Output = Result<SidesSolution>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Self::Output {
        let Self { problem, solver, warm } = self;
        solver.iterations = 0;
        solver.best.reset(problem);
        if !warm {
            solver.shape.iter_mut().for_each(quick::Shape::forget);
            solver.prices = None;
            solver.places = None;
        }
        if let Some((certificate, present, side)) = solver.direct::<L>(problem) {
            return Ok(solver.publish(certificate, present, side));
        }
        let mut side = [SideStatus::Quoted; 2];
        for x in 0..2 {
            let budget = problem.budget.side[x].min(problem.budget.total);
            if let Err(status) = solver.reduced[x].read(&problem.side[x], budget) {
                side[x] = status;
            }
        }
        solver.narrow(problem, &mut side);
        let present = side.map(|status| status == SideStatus::Quoted);
        let certificate = solver.search::<L>(problem, present);
        Ok(solver.publish(certificate, present, side))
    }
}

impl SidesSolver {
    /// The outcome as the caller sees it.
    fn publish(&self, certificate: Certificate, present: [bool; 2], side: [SideStatus; 2]) -> SidesSolution {
        let mut side = side;
        for x in 0..2 {
            if present[x] && !self.best.size[x].iter().any(|size| *size > 0.0) {
                side[x] = SideStatus::NoValue;
            }
        }
        let Certificate { objective, dual_bound, scale, violation, .. } = certificate;
        // Feasible ladders cannot beat the optimum: a bound below them is so by its own rounding, or it is no bound.
        let kept = scale.is_finite() && (dual_bound - objective).abs() <= GAP_MAX * scale && violation <= VIOLATION_MAX;
        let dual_bound = dual_bound.max(objective);
        let multipliers = &self.best.multipliers;
        SidesSolution {
            status: if !kept {
                SidesStatus::Inaccurate
            } else if side.contains(&SideStatus::Quoted) {
                SidesStatus::Optimal
            } else {
                SidesStatus::Zero
            },
            side,
            objective,
            dual_bound,
            gap: dual_bound - objective,
            scale,
            violation,
            margin_price: [0, 1].map(|x| multipliers.margin[x] + multipliers.margin[2]),
            temperature: multipliers.temperature,
            inventory_price: multipliers.inventory,
            iterations: self.iterations,
        }
    }
}

impl Answer {
    fn reset(&mut self, problem: &Sides<'_>) {
        for (size, side) in self.size.iter_mut().zip(&problem.side) {
            size.clear();
            size.resize(side.utility.len(), 0.0);
        }
        let multipliers = &mut self.multipliers;
        multipliers.margin = [0.0; 3];
        multipliers.temperature = [0.0; 2];
        multipliers.normaliser = [f64::NAN; 2];
        multipliers.inventory = 0.0;
        multipliers.level.iter_mut().for_each(Vec::clear);
    }

    fn sizes(&self) -> [&[f64]; 2] {
        [&self.size[0], &self.size[1]]
    }
}
