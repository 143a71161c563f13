//! The entropy-constrained optimizer of both sides from one margin (problems P2 and P3).
//!
//! ```text
//! maximise    Σ_bids U_i(s_i) + Σ_asks U_i(s_i) − ½ η (q + Σ_bids λ_i s_i − Σ_asks λ_i s_i)²  [− ½ η Σ λ_i (1 − λ_i) s_i²]
//! subject to  per side x, with S_x = Σ s_i:
//!                 −Σ s_i ln(s_i / S_x) ≥ h_x S_x            entropy floor in perspective form
//!                 φ_i S_x ≤ s_i ≤ κ_i S_x,  0 ≤ s_i ≤ C_i,  S_x ≤ Q_x
//!             margin:  m_b·s_b ≤ M_b,   m_a·s_a ≤ M_a,   m_b·s_b + m_a·s_a ≤ M
//!             share (optional):  lo (S_b + S_a) ≤ S_b ≤ hi (S_b + S_a)
//! ```
//!
//! `U_i(s) = u_i s`, or a concave fill value that saturates ([`Saturation`]). The set is convex, because `−Σ s ln(s/S)` is
//! jointly concave and homogeneous, and the objective is concave.
//!
//! The work is done twice. A quick search (`quick`) takes shapes and totals in turn, where values are linear and no cap on size
//! is in force. Everything else goes to an interior-point method whose Newton systems have nine unknowns at the most, however
//! many levels there are (`interior`). Neither is believed: every answer is priced by a dual bound computed from the statement
//! of the problem, the sizes and the multipliers alone (`certificate`).

// An index names a side, a budget or a column, and reaches several arrays at once.
#![allow(clippy::needless_range_loop)]

mod batch;
mod certificate;
mod interior;
mod linear;
mod quick;
mod read;

pub use batch::{Batch, Stopped, solve_batch};

use crate::entropy::{Bound, SideProblem, SideSolver};
use crate::error::Result;
use crate::lanes::Lanes;
use crate::simd::{Kernel, Width, dispatch, widest};
use crate::status::{SideStatus, SidesStatus};

/// Largest gap of an answer called optimal, as a multiple of its scale.
pub const GAP_MAX: f64 = 1e-8;
/// Largest relative violation of any constraint of an answer called optimal.
pub const VIOLATION_MAX: f64 = 1e-10;

/// Ladders that gain less than this part of the scale over none may give way to none.
const WORTH_MIN: f64 = 1e-14;

/// Value of a fill as the size at one level grows; the scale `c_i` is in units of size.
#[derive(Clone, Copy, Debug)]
pub enum Saturation<'a> {
    /// `u s`.
    None,
    /// `u c (1 − e^{−s/c})`; levels of negative utility stay linear.
    Exponential(Bound<'a>),
    /// `u c ln(1 + s/c)`; levels of negative utility stay linear.
    Log(Bound<'a>),
}

/// One side as the caller states it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Value of one unit of size at each level, account currency; finite.
    pub utility: &'a [f64],
    /// Margin that one unit of size takes at each level; finite, not negative.
    pub margin: &'a [f64],
    /// Probability that a level fills within the horizon, `[0, 1]`; only the inventory term looks at it.
    pub fill_probability: Bound<'a>,
    /// Entropy floor `h` in nats; non-positive means none.
    pub entropy_min: f64,
    /// Smallest part of the side at each level, `φ_i`; finite, not negative.
    pub share_floor: Bound<'a>,
    /// Largest part of the side at each level, `κ_i`; `[0, 1]`.
    pub share_cap: Bound<'a>,
    /// Largest size at each level, `C_i`; not negative, infinite means none.
    pub size_cap: Bound<'a>,
    /// Largest total of the side, `Q`; finite, not negative.
    pub size_max: f64,
    /// How the value of a level saturates.
    pub saturation: Saturation<'a>,
}

/// What the orders may hold. Infinite means no such limit.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bids and asks on their own.
    pub side: [f64; 2],
    /// Both together.
    pub total: f64,
}

/// Price of the position that fills would leave.
#[derive(Clone, Copy, Debug)]
pub struct Inventory {
    /// Position `q`, signed size.
    pub position: f64,
    /// `η`, currency per squared unit of size; not negative.
    pub price_of_risk: f64,
    /// Adds the variance of each fill to that of the expected position.
    pub fill_variance: bool,
}

/// Problems P2 and P3. Bids come first in every pair.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// Bids and asks.
    pub side: [Side<'a>; 2],
    /// What the orders may hold.
    pub budget: Budget,
    /// Bounds on the bids' part of the total size.
    pub bid_share: Option<[f64; 2]>,
    /// The inventory term; `None` means `η = 0`.
    pub inventory: Option<Inventory>,
}

/// Multipliers at an answer, in account currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Multipliers {
    /// Of the two side budgets and of the total: currency per unit of margin.
    pub margin: [f64; 3],
    /// Of the entropy floors: currency per nat and unit of size.
    pub temperature: [f64; 2],
    /// Normalisers of the shares: where to look first when the bound is computed; any value keeps it valid.
    pub normaliser: [f64; 2],
    /// `ν`, the price of one more unit of position.
    pub inventory: f64,
    /// Of the per-level caps, for bids and asks; empty means zero.
    pub level: [Vec<f64>; 2],
}

/// Outcome of P2 or P3; the sizes stay with the solver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SidesSolution {
    /// Optimal, zero, or inaccurate.
    pub status: SidesStatus,
    /// What became of bids and asks.
    pub side: [SideStatus; 2],
    /// Value of the ladders, the inventory term included.
    pub objective: f64,
    /// An upper bound on the objective of every feasible pair of ladders.
    pub dual_bound: f64,
    /// `dual_bound − objective`, never negative.
    pub gap: f64,
    /// What a gap is read against: `max(|objective|, ½ η q², 1e-6 max|u| max Q)`.
    pub scale: f64,
    /// The largest relative amount by which any constraint is missed.
    pub violation: f64,
    /// Value of one more unit of margin on bids and on asks.
    pub margin_price: [f64; 2],
    /// Value of one nat less of entropy floor, by side, per unit of size.
    pub temperature: [f64; 2],
    /// `ν`.
    pub inventory_price: f64,
    /// Newton steps or evaluations of both sides.
    pub iterations: u32,
}

/// What a pair of ladders is worth, and the most that any could be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// Value of the ladders, the inventory term included.
    pub objective: f64,
    /// An upper bound on the objective of every feasible pair of ladders.
    pub dual_bound: f64,
    /// `dual_bound − objective`: what these ladders may leave, negative when they are not feasible and worth more.
    pub gap: f64,
    /// What a gap is read against: `max(|objective|, ½ η q², 1e-6 max|u| max Q)`.
    pub scale: f64,
    /// The largest relative amount by which any constraint is missed.
    pub violation: f64,
}

/// Bounds the regret of any ladders, rounded ones included, from multipliers alone. Any multipliers give a true bound; those
/// of a solution give a tight one.
///
/// # Errors
/// When the problem is malformed, or sizes or multipliers do not fit it: wrong length, not finite, negative.
pub fn certify(problem: &Sides<'_>, sizes: [&[f64]; 2], multipliers: &Multipliers) -> Result<Certificate> {
    read::check(problem)?;
    read::check_ladders(problem, sizes, multipliers)?;
    Ok(dispatch(Certify { problem, sizes, multipliers }, widest()))
}

struct Certify<'p, 'a> {
    problem: &'p Sides<'a>,
    sizes: [&'p [f64]; 2],
    multipliers: &'p Multipliers,
}

impl Kernel for Certify<'_, '_> {
    type Output = Certificate;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Certificate {
        self.problem.certify::<L>(self.sizes, self.multipliers, &mut Vec::new())
    }
}

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
    prices: Option<quick::Prices>,
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
            prices: None,
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
        }
        if let Some((certificate, present, side)) = solver.quick::<L>(problem) {
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
        let kept = (dual_bound - objective).abs() <= GAP_MAX * scale && violation <= VIOLATION_MAX;
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

    /// Shapes and totals in turn, where the problem allows it and the search settles.
    #[inline(always)]
    fn quick<L: Lanes>(&mut self, problem: &Sides<'_>) -> Option<(Certificate, [bool; 2], [SideStatus; 2])> {
        let mut present = [true; 2];
        let mut status = [SideStatus::Quoted; 2];
        let (mut largest, mut most) = (0.0_f64, 0.0_f64);
        for (x, side) in problem.side.iter().enumerate() {
            if side.utility.is_empty() || side.size_max <= 0.0 {
                (present[x], status[x]) = (false, SideStatus::Blocked);
            } else if problem.budget.side[x].min(problem.budget.total) <= 0.0 {
                return None;
            }
            if !matches!(side.saturation, Saturation::None) || !side.roomy() {
                return None;
            }
            largest = side.utility.iter().fold(largest, |largest, u| largest.max(u.abs()));
            most = most.max(side.size_max);
        }
        let inventory =
            problem.inventory.unwrap_or(Inventory { position: 0.0, price_of_risk: 0.0, fill_variance: false });
        let varied = inventory.fill_variance && inventory.price_of_risk > 0.0;
        let (any, both) = (present[0] || present[1], present[0] && present[1]);
        if varied || !any || (!both && problem.bid_share.is_some()) {
            return None;
        }
        let start = self
            .prices
            .unwrap_or(quick::Prices { margin: [0.0; 3], inventory: inventory.price_of_risk * inventory.position });
        let floor =
            (0.5 * inventory.price_of_risk * inventory.position * inventory.position).max(1e-6 * largest * most);
        let (size, prices, rounds) = quick::search(problem, &mut self.shape, present, start, floor)?;
        self.iterations += rounds;
        self.prices = Some(prices);
        self.trial.reset(problem);
        for x in 0..2 {
            if !present[x] {
                continue;
            }
            let limit = problem.side[x].size_cap;
            for (index, (to, share)) in self.trial.size[x].iter_mut().zip(self.shape[x].share()).enumerate() {
                *to = size[x].max(0.0) * share;
                if *to > limit.at(index) {
                    return None;
                }
            }
            let (temperature, normaliser) = self.shape[x].multipliers();
            self.trial.multipliers.temperature[x] = temperature;
            self.trial.multipliers.normaliser[x] = normaliser;
        }
        self.trial.multipliers.margin = prices.margin;
        self.trial.multipliers.inventory = prices.inventory;
        let certificate = problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights);
        let good = certificate.gap.abs() <= 1e-10 * certificate.scale && certificate.violation <= 0.1 * VIOLATION_MAX;
        if !good {
            return None;
        }
        std::mem::swap(&mut self.best, &mut self.trial);
        Some((certificate, present, status))
    }
}

impl SidesSolver {
    /// Tries searches in order until one convinces; the best answer is kept.
    #[inline(always)]
    fn search<L: Lanes>(&mut self, problem: &Sides<'_>, present: [bool; 2]) -> Certificate {
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
