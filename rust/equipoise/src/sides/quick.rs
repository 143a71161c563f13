//! The quick search: shapes and totals in turn.
//!
//! Where no cap on size is in force and values are linear, a side is a shape (shares that sum to one) times a total. At given
//! prices of margin and inventory the best shape of each side is problem P1. At given shapes the totals are a concave problem
//! in two variables on a polygon, whose multipliers are new prices. Because the value of the best shape is convex in the
//! prices and its slope is the shape's own margin and fills, taking these prices is Newton's method on "both sides are worth
//! what their margin costs": a few rounds at the usual optimum. Every round brackets the answer, from below by its ladders and
//! from above by its prices, and the search gives up when the bracket stops closing.

use super::{Side, Sides};
use crate::entropy::{Bound, SideProblem, SideSolver, Warm};
use crate::lanes::LANES;
use crate::status::Status;

const ROUNDS_MAX: u32 = 10;
/// The bracket is closed when it is this small, relative to the scale of the problem.
const CLOSED: f64 = 1e-11;

/// Prices that couple the two sides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prices {
    /// Of the side budgets and of the total.
    pub(super) margin: [f64; 3],
    /// `ν`.
    pub(super) inventory: f64,
}

impl Prices {
    /// What one unit of margin, and one of fills, costs on one side.
    pub(super) fn of(&self, x: usize) -> (f64, f64) {
        (self.margin[x] + self.margin[2], if x == 0 { self.inventory } else { -self.inventory })
    }
}

/// One side of the search, with its buffers.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    solver: SideSolver,
    weights: Vec<f64>,
    warm: Option<Warm>,
    present: bool,
    /// Value, margin and fills of one unit of the shape.
    value: f64,
    margin: f64,
    fill: f64,
}

impl Shape {
    pub(super) fn new(solver: SideSolver) -> Self {
        Self { solver, weights: Vec::new(), warm: None, present: false, value: 0.0, margin: 0.0, fill: 0.0 }
    }

    /// Forgets where to start.
    pub(super) fn forget(&mut self) {
        self.warm = None;
    }

    pub(super) fn multipliers(&self) -> (f64, f64) {
        self.warm.map_or((0.0, f64::NAN), |warm| (warm.temperature, warm.normaliser))
    }

    pub(super) fn share(&self) -> &[f64] {
        self.solver.share()
    }

    /// The best shape at prices of margin and inventory, with these caps on shares; false where there is none, or none that
    /// can be trusted.
    pub(super) fn find(&mut self, side: &Side<'_>, cap: Bound<'_>, (price, inventory): (f64, f64)) -> bool {
        self.weights.clear();
        match side.fill_probability {
            Bound::Scalar(fill) => {
                let off = inventory * fill;
                self.weights.extend(side.utility.iter().zip(side.margin).map(|(u, m)| u - price * m - off));
            }
            Bound::Each(fill) => self.weights.extend(
                side.utility.iter().zip(side.margin).zip(fill).map(|((u, m), f)| u - price * m - inventory * f),
            ),
        }
        let problem =
            SideProblem { utility: &self.weights, entropy_min: side.entropy_min, floor: side.share_floor, cap };
        // What is found here is proved with everything else at the end.
        let mut found = self.solver.unproved(&problem, self.warm);
        if found.is_none() {
            let Ok(solution) = self.solver.solve_from(&problem, self.warm) else { return false };
            if solution.status != Status::Optimal || !solution.temperature.is_finite() {
                return false;
            }
            found = Some(Warm { temperature: solution.temperature, normaliser: solution.normaliser });
        }
        self.warm = found;
        let share = self.solver.share();
        self.margin = dot(share, side.margin);
        self.fill = match side.fill_probability {
            Bound::Scalar(fill) => fill,
            Bound::Each(fill) => dot(share, fill),
        };
        self.value = dot(share, side.utility);
        true
    }
}

impl Shape {
    /// Whether the shape at this total exceeds a cap on some size.
    fn crowds(&self, side: &Side<'_>, total: f64) -> bool {
        let shares = self.share();
        match side.size_cap {
            _ if !self.present => false,
            Bound::Scalar(cap) => shares.iter().any(|share| share * total > cap),
            Bound::Each(caps) => shares.iter().zip(caps).any(|(share, cap)| share * total > *cap),
        }
    }
}

/// Totals at given shapes.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    size: [f64; 2],
    objective: f64,
    prices: Prices,
}

/// The sum of products, in eight chains: one would take its length times the latency of an addition.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a * b;
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

/// Where a search ends.
pub(super) struct Found {
    pub(super) size: [f64; 2],
    pub(super) prices: Prices,
    pub(super) rounds: u32,
    /// Caps on single sizes are in the way: this is no answer, but a place to start from.
    pub(super) crowded: bool,
}

/// Searches from `prices`; the answer, or nothing. Shapes stay in `shape`.
#[inline]
pub(super) fn search(
    problem: &Sides<'_>,
    shape: &mut [Shape; 2],
    present: [bool; 2],
    prices: Prices,
    scale_floor: f64,
) -> Option<Found> {
    let (eta, position) = problem.inventory.map_or((0.0, 0.0), |i| (i.price_of_risk, i.position));
    let mut prices = prices;
    let mut best_gap = f64::INFINITY;
    let mut stalled = 0;
    for round in 1..=ROUNDS_MAX {
        for x in 0..2 {
            shape[x].present = present[x];
            let side = &problem.side[x];
            if present[x] && !shape[x].find(side, side.share_cap, prices.of(x)) {
                return None;
            }
        }
        let totals = Plane::new(problem, shape, eta, position).best()?;
        let bound = bound(problem, shape, &prices, eta, position);
        let gap = bound - totals.objective;
        let scale = totals.objective.abs().max(scale_floor);
        if gap <= CLOSED * scale {
            let crowded = (0..2).any(|x| shape[x].crowds(&problem.side[x], totals.size[x]));
            return Some(Found { size: totals.size, prices, rounds: round, crowded });
        }
        if round >= 2 && (0..2).any(|x| shape[x].crowds(&problem.side[x], totals.size[x])) {
            return Some(Found { size: totals.size, prices: totals.prices, rounds: round, crowded: true });
        }
        if gap > 0.5 * best_gap {
            stalled += 1;
            if stalled > 2 {
                return None;
            }
        }
        best_gap = best_gap.min(gap);
        prices = totals.prices;
    }
    None
}

/// No ladders are worth more than this, given the best shapes at these prices.
fn bound(problem: &Sides<'_>, shape: &[Shape; 2], prices: &Prices, eta: f64, position: f64) -> f64 {
    let nu = prices.inventory;
    let mut rest = if eta > 0.0 { nu * (0.5 * (nu / eta)) - nu * position } else { 0.0 };
    let budgets = [problem.budget.side[0], problem.budget.side[1], problem.budget.total];
    for (price, budget) in prices.margin.iter().zip(budgets) {
        if *price > 0.0 {
            rest += price * budget;
        }
    }
    let (mut value, mut most) = ([0.0; 2], [0.0; 2]);
    for x in 0..2 {
        if shape[x].present {
            let sign = if x == 0 { 1.0 } else { -1.0 };
            value[x] =
                shape[x].value - (prices.margin[x] + prices.margin[2]) * shape[x].margin - sign * nu * shape[x].fill;
            most[x] = problem.side[x].size_max;
        }
    }
    rest + problem.best_corner(value, most)
}

/// A limit `a·S ≤ c` on the two totals.
#[derive(Clone, Copy, Debug)]
struct Limit {
    a: [f64; 2],
    c: f64,
}

/// The concave problem in the two totals.
struct Plane {
    value: [f64; 2],
    /// Fills with their sign.
    fill: [f64; 2],
    eta: f64,
    position: f64,
    limit: [Limit; LIMITS],
    count: usize,
    /// Where the margin limits are among the limits.
    margin: [usize; 3],
}

const LIMITS: usize = 9;
const NONE: usize = usize::MAX;
/// A step that no limit allows.
const FAR: f64 = 1e150;

impl Plane {
    fn new(problem: &Sides<'_>, shape: &[Shape; 2], eta: f64, position: f64) -> Self {
        let mut plane = Self {
            value: [shape[0].value, shape[1].value],
            fill: [shape[0].fill, -shape[1].fill],
            eta,
            position,
            limit: [Limit { a: [0.0; 2], c: 0.0 }; LIMITS],
            count: 0,
            margin: [NONE; 3],
        };
        for x in 0..2 {
            let mut a = [0.0; 2];
            a[x] = -1.0;
            plane.put(a, 0.0);
            a[x] = 1.0;
            plane.put(a, if shape[x].present { problem.side[x].size_max } else { 0.0 });
        }
        if let Some([lo, hi]) = problem.bid_share {
            plane.put([lo - 1.0, lo], 0.0);
            plane.put([1.0 - hi, -hi], 0.0);
        }
        for x in 0..2 {
            if problem.budget.side[x].is_finite() && shape[x].present {
                let mut a = [0.0; 2];
                a[x] = shape[x].margin;
                plane.margin[x] = plane.put(a, problem.budget.side[x]);
            }
        }
        if problem.budget.total.is_finite() {
            let a = [0, 1].map(|x| if shape[x].present { shape[x].margin } else { 0.0 });
            plane.margin[2] = plane.put(a, problem.budget.total);
        }
        plane
    }

    fn put(&mut self, a: [f64; 2], c: f64) -> usize {
        self.limit[self.count] = Limit { a, c };
        self.count += 1;
        self.count - 1
    }

    fn objective(&self, size: [f64; 2]) -> f64 {
        let expected = self.position + self.fill[0] * size[0] + self.fill[1] * size[1];
        self.value[0] * size[0] + self.value[1] * size[1] - 0.5 * self.eta * expected * expected
    }

    fn gradient(&self, size: [f64; 2]) -> ([f64; 2], f64) {
        let nu = self.eta * (self.position + self.fill[0] * size[0] + self.fill[1] * size[1]);
        ([0, 1].map(|x| self.value[x] - nu * self.fill[x]), nu)
    }

    /// Largest step from a point along a direction within all limits but the active ones.
    fn reach(&self, size: [f64; 2], along: [f64; 2], active: &[usize]) -> (f64, usize) {
        let mut first = (f64::INFINITY, NONE);
        for (index, limit) in self.limit[..self.count].iter().enumerate() {
            if active.contains(&index) {
                continue;
            }
            let rate = limit.a[0] * along[0] + limit.a[1] * along[1];
            if rate > 0.0 {
                let room = (limit.c - limit.a[0] * size[0] - limit.a[1] * size[1]).max(0.0) / rate;
                if room < first.0 {
                    first = (room, index);
                }
            }
        }
        first
    }

    /// An active-set method from the empty ladders: at most a few moves in two variables.
    fn best(&self) -> Option<Totals> {
        let mut size = [0.0_f64; 2];
        let mut active: [usize; 2] = [NONE, NONE];
        // Start at the corner of the empty ladders: their two limits are active.
        active[0] = 0;
        active[1] = 2;
        for _ in 0..24 {
            let (gradient, nu) = self.gradient(size);
            // Multipliers of the active limits.
            let held: [Option<Limit>; 2] =
                active.map(|index| if index == NONE { None } else { Some(self.limit[index]) });
            let mut multiplier = [0.0; 2];
            let along = match held {
                [Some(p), Some(q)] => {
                    let det = p.a[0] * q.a[1] - p.a[1] * q.a[0];
                    multiplier = [
                        (gradient[0] * q.a[1] - gradient[1] * q.a[0]) / det,
                        (p.a[0] * gradient[1] - p.a[1] * gradient[0]) / det,
                    ];
                    [0.0; 2]
                }
                [Some(p), None] | [None, Some(p)] => {
                    let slot = usize::from(held[0].is_none());
                    let norm = p.a[0] * p.a[0] + p.a[1] * p.a[1];
                    multiplier[slot] = (gradient[0] * p.a[0] + gradient[1] * p.a[1]) / norm;
                    let tangent = [-p.a[1], p.a[0]];
                    let slope = gradient[0] * tangent[0] + gradient[1] * tangent[1];
                    self.along(tangent, slope)
                }
                [None, None] => {
                    // Up the gradient; with curvature in one direction only, the flat one is followed to a limit.
                    let flat = [self.fill[1], -self.fill[0]];
                    let slope = gradient[0] * flat[0] + gradient[1] * flat[1];
                    if self.eta > 0.0 && slope != 0.0 && (flat[0] != 0.0 || flat[1] != 0.0) {
                        flat.map(|v| v * slope.signum() * FAR)
                    } else {
                        self.along(gradient, gradient[0] * gradient[0] + gradient[1] * gradient[1])
                    }
                }
            };
            let moves = along[0].abs().max(along[1].abs()) > 0.0;
            if moves {
                let (room, blocker) = self.reach(size, along, &active);
                let length = room.min(1.0);
                if length.is_finite() && length > 0.0 {
                    size = [size[0] + length * along[0], size[1] + length * along[1]];
                }
                if room < 1.0 {
                    let slot = usize::from(active[0] != NONE);
                    active[slot] = blocker;
                    continue;
                }
                if self.eta <= 0.0 {
                    return None;
                }
                // The best point along the way: look at the multipliers there.
                let (gradient, _) = self.gradient(size);
                if let Some(p) = held[0].or(held[1]) {
                    let slot = usize::from(held[0].is_none());
                    let norm = p.a[0] * p.a[0] + p.a[1] * p.a[1];
                    multiplier[slot] = (gradient[0] * p.a[0] + gradient[1] * p.a[1]) / norm;
                }
            }
            let least = if multiplier[0] < multiplier[1] { 0 } else { 1 };
            if active[least] != NONE && multiplier[least] < 0.0 {
                active[least] = NONE;
                continue;
            }
            let nu = if moves { self.gradient(size).1 } else { nu };
            let mut prices = Prices { margin: [0.0; 3], inventory: nu };
            for (slot, index) in active.into_iter().enumerate() {
                if let Some(k) = self.margin.iter().position(|at| *at == index && index != NONE) {
                    prices.margin[k] = multiplier[slot].max(0.0);
                }
            }
            return Some(Totals { size, objective: self.objective(size), prices });
        }
        None
    }

    /// The whole step to the best point along a direction of ascent: unbounded where the objective is linear.
    fn along(&self, direction: [f64; 2], slope: f64) -> [f64; 2] {
        if slope == 0.0 {
            return [0.0; 2];
        }
        let fills = self.fill[0] * direction[0] + self.fill[1] * direction[1];
        let bend = self.eta * fills * fills;
        let length = if bend > 0.0 { slope / bend } else { slope.signum() * FAR };
        let length = length.clamp(-FAR, FAR);
        direction.map(|d| d * length)
    }
}
