//! Proof on the final lots: every constraint read afresh from the input, and an upper bound on what any sizes could be worth.
//!
//! Weak duality. Let `s ≥ 0` be sizes in lots with `m·s ≤ M`, `s_i ≤ C_i`, `Σs ≤ Q`, `s_i ≤ κ Σs` and `H(s/Σs) ≥ h`. For any
//! `μ, T, γ ≥ 0`, with `w = u − μ m − γ`:
//!
//! ```text
//! u·s ≤ μ M + γ·C + Q max(0, V),        V = max { w·p + T (H(p) − h) : Σp = 1, 0 ≤ p ≤ κ }
//! V   ≤ (ν − T) − T h + Σ max_{0≤p≤κ} [ (w_i − ν) p − T (p ln p − p) ]                 for every ν
//! ```
//!
//! Nothing about the multipliers is trusted: wrong ones make the bound loose, not false. Smallest orders and smallest shares
//! are left out, so the bound also covers ladders that drop levels.

use super::continuous::Problem;
use super::levels::Levels;
use super::lots::Limits;
use super::support::Outcome;
use super::{ENTROPY_TIE, ProjectInput, Projector, Relaxed};
use crate::entropy::{Bound, SideProblem, SideSolver, entropy_of_lots};
use crate::status::{Binding, Reason};

/// Proof on the final lots of one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SideCertificate {
    /// Sum of the orders' charges, micro-units.
    pub held: i64,
    /// Sum of the lots.
    pub lots: i64,
    /// Entropy of the final lots, nats.
    pub entropy: f64,
    /// `e^H`.
    pub effective_levels: f64,
    /// The entropy floor asked for, nats.
    pub entropy_min: f64,
    /// The entropy floor in force, nats: what `dual_bound` is valid against.
    pub entropy_min_used: f64,
    /// Why the two differ; `None` when they do not.
    pub relaxed: Option<Relaxed>,
    /// `Σ u_i n_i` of the final lots, in the unit of the utility.
    pub objective: f64,
    /// Upper bound on `Σ u_i s_i` over all sizes `s`, whole lots or not, that keep budget, caps, limit and
    /// `entropy_min_used`.
    pub dual_bound: f64,
    /// `dual_bound − objective`.
    pub regret: f64,
    /// What stopped the side from being worth more.
    pub binding: Binding,
    /// Every constraint holds on the final lots, and the bound is not below the objective.
    pub ok: bool,
}

impl Default for SideCertificate {
    fn default() -> Self {
        Self {
            held: 0,
            lots: 0,
            entropy: 0.0,
            effective_levels: 0.0,
            entropy_min: 0.0,
            entropy_min_used: 0.0,
            relaxed: None,
            objective: 0.0,
            dual_bound: 0.0,
            regret: 0.0,
            binding: Binding::None,
            ok: true,
        }
    }
}

/// Passes over the levels for one bound: a few reach the optimum of the dual, and every one of them bounds.
const PASSES_MAX: usize = 40;

/// Buffers of the bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    value: Vec<f64>,
    charge: Vec<f64>,
    cap: Vec<f64>,
    reduced: Vec<f64>,
    sorted: Vec<f64>,
}

impl Bounds {
    /// Loads levels that could carry an order; caps in lots.
    fn load(&mut self, levels: &Levels) {
        for values in [&mut self.value, &mut self.charge, &mut self.cap, &mut self.reduced] {
            values.clear();
        }
        for i in (0..levels.len()).filter(|&i| levels.cap[i] >= levels.min[i]) {
            self.value.push(levels.value[i]);
            self.charge.push(levels.per_lot[i]);
            self.cap.push(levels.cap[i] as f64);
        }
    }

    /// The bound, in scaled utility.
    fn dual(&mut self, limits: &Limits, share_cap: f64, problem: &Problem, solver: &mut SideSolver) -> f64 {
        if self.value.is_empty() {
            return 0.0;
        }
        let size_max = self.size_max(limits);
        if size_max <= 0.0 {
            return 0.0;
        }
        let (mut temperature, normaliser) = self.multipliers(limits, share_cap, problem, solver);
        let capped = self.take_caps(temperature, normaliser, size_max);
        let (budget, mut prices, mut best) = (limits.budget as f64, Prices::default(), f64::INFINITY);
        let (mut low, mut high) = (0.0_f64, f64::INFINITY);
        for _ in 0..PASSES_MAX {
            let at = self.side(prices.now, temperature, limits.entropy_min, share_cap);
            let bound = capped + prices.now * budget + size_max * at.worth.max(0.0);
            best = best.min(bound);
            // `H` grows with the temperature, so its sign brackets; Newton alone can swing between two sides for ever.
            let step = if at.slope > 0.0 { (at.missing / at.slope).clamp(-3.0, 3.0) } else { 0.0 };
            if at.missing > 0.0 {
                low = low.max(temperature);
            } else {
                high = high.min(temperature);
            }
            let newton = temperature * step.exp();
            temperature = if low < newton && newton < high || step == 0.0 { newton } else { (low * high).sqrt() };
            if step.abs() < 0.5 {
                // What is left of the temperature's error then counts by its square: the slope in the price is true.
                let gain = prices.next(&at, size_max, budget, step.abs() < 1e-3);
                if gain > 1e-11 * bound.abs() {
                    (low, high) = (0.0, f64::INFINITY);
                } else if step.abs() < 1e-6 {
                    break;
                }
            }
        }
        best
    }

    /// The largest total that caps, limit and budget admit.
    fn size_max(&self, limits: &Limits) -> f64 {
        let cheapest = self.charge.iter().fold(f64::INFINITY, |least, charge| least.min(*charge));
        let within = if cheapest > 0.0 { limits.budget as f64 / cheapest } else { f64::INFINITY };
        self.cap.iter().sum::<f64>().min(limits.total_max as f64).min(within)
    }

    /// Multipliers to start from: those of the shares found where there are any.
    fn multipliers(&self, limits: &Limits, share_cap: f64, problem: &Problem, solver: &mut SideSolver) -> (f64, f64) {
        if limits.entropy_min <= 0.0 && share_cap >= 1.0 {
            return (0.0, f64::INFINITY);
        }
        if share_cap < 1.0 {
            let side = SideProblem {
                utility: &self.value,
                entropy_min: limits.entropy_min,
                floor: Bound::Scalar(0.0),
                cap: Bound::Scalar(share_cap.max(1.0 / self.value.len() as f64)),
            };
            if let Ok(solution) = solver.solve(&side)
                && solution.temperature.is_finite()
            {
                return (solution.temperature, solution.normaliser);
            }
        } else if !problem.given && problem.temperature > 0.0 && problem.normaliser.is_finite() {
            return (problem.temperature, problem.normaliser);
        }
        // From the expansion H = ln K − Var(u) / (2 T²), for levels that differ; large where only the flattest point is left.
        let count = self.value.len() as f64;
        let mean = self.value.iter().sum::<f64>() / count;
        let variance = self.value.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
        let slack = (count.ln() - limits.entropy_min).max(1e-12);
        ((variance / (2.0 * slack)).sqrt().max(1e-9), f64::INFINITY)
    }

    /// Prices caps in lots: takes `γ` off the utilities and returns `γ·C`.
    fn take_caps(&mut self, temperature: f64, normaliser: f64, size_max: f64) -> f64 {
        if !normaliser.is_finite() {
            return 0.0;
        }
        let mut total = 0.0;
        for (value, cap) in self.value.iter_mut().zip(&self.cap) {
            let share = cap / size_max;
            if share >= 1.0 {
                continue;
            }
            let excess = *value - normaliser - temperature * share.ln();
            if excess > 0.0 {
                *value -= excess;
                total += excess * cap;
            }
        }
        total
    }

    /// `V` at a price of margin and of entropy.
    fn side(&mut self, price: f64, temperature: f64, entropy_min: f64, share_cap: f64) -> At {
        self.reduced.clear();
        self.reduced.extend(self.value.iter().zip(&self.charge).map(|(value, charge)| value - price * charge));
        let top = self.reduced.iter().fold(f64::NEG_INFINITY, |top, value| top.max(*value));
        if temperature <= 0.0 {
            return self.knapsack(top, share_cap);
        }
        let (mut mass, mut charge, mut first, mut second) = (0.0, 0.0, 0.0, 0.0);
        let inverse = 1.0 / temperature;
        for (reduced, cost) in self.reduced.iter().zip(&self.charge) {
            let x = ((reduced - top) * inverse).max(-700.0);
            let e = x.exp();
            mass += e;
            charge += e * cost;
            first += e * x;
            second += e * x * x;
        }
        let (log, mean) = (mass.ln(), first / mass);
        let normaliser = top + temperature * log;
        if share_cap < 1.0 {
            return self.boxed(normaliser, temperature, entropy_min, share_cap);
        }
        At {
            worth: normaliser - temperature * entropy_min,
            charge: charge / mass,
            missing: entropy_min - (log - mean),
            slope: second / mass - mean * mean,
        }
    }

    /// `V` without an entropy floor: the best levels at their largest share.
    fn knapsack(&mut self, top: f64, share_cap: f64) -> At {
        let mut marginal = top;
        if share_cap < 1.0 {
            let rank = ((1.0 / share_cap).ceil() as usize).min(self.reduced.len()) - 1;
            self.sorted.clone_from(&self.reduced);
            marginal = *self.sorted.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1;
        }
        let (mut worth, mut charge, mut left) = (marginal, 0.0, 1.0);
        for (reduced, cost) in self.reduced.iter().zip(&self.charge) {
            if *reduced > marginal {
                worth += (reduced - marginal) * share_cap;
                charge += share_cap * cost;
                left -= share_cap;
            }
        }
        let at = self.reduced.iter().position(|reduced| *reduced == marginal).unwrap_or(0);
        At { worth, charge: charge + left.max(0.0) * self.charge[at], missing: 0.0, slope: 0.0 }
    }

    /// `V` with shares up to a cap: the box maximum at a normaliser that makes the shares sum to one.
    fn boxed(&self, start: f64, temperature: f64, entropy_min: f64, share_cap: f64) -> At {
        let mut normaliser = start;
        for _ in 0..30 {
            let (mut fixed, mut mass) = (0.0, 0.0);
            for reduced in &self.reduced {
                let e = ((reduced - normaliser) / temperature).exp();
                if e >= share_cap {
                    fixed += share_cap;
                } else {
                    mass += e;
                }
            }
            let left = 1.0 - fixed;
            if left <= 0.0 || mass <= 0.0 {
                break;
            }
            let step = temperature * (mass / left).ln();
            normaliser += step;
            if step.abs() <= 1e-15 * normaliser.abs() {
                break;
            }
        }
        let (mut worth, mut charge, mut total) = (normaliser - temperature * (1.0 + entropy_min), 0.0, 0.0);
        for (reduced, cost) in self.reduced.iter().zip(&self.charge) {
            let p = ((reduced - normaliser) / temperature).exp().min(share_cap);
            let log = if p > 0.0 { p.ln() } else { 0.0 };
            worth += (reduced - normaliser) * p - temperature * (p * log - p);
            charge += p * cost;
            total += p;
        }
        At { worth, charge: charge / total, missing: 0.0, slope: 0.0 }
    }
}

/// Prices of margin tried for the bound, which is convex in them, and what brackets the best one.
#[derive(Clone, Copy, Debug, Default)]
struct Prices {
    now: f64,
    /// Highest price at which the side uses more than the budget, and the slope of the bound there.
    low: (f64, f64),
    /// Lowest price at which it uses less; none yet where the slope is zero.
    high: (f64, f64),
    /// The end that the last price replaced.
    replaced: Option<bool>,
}

impl Prices {
    /// Takes the next price; returns how much lower the bound may become, to first order.
    ///
    /// Where `V > 0` the slope is `budget − usage`, beyond its root `budget`. While only the budget binds, the root of
    /// `V` is the best price, and Newton finds it; where the total binds too, `budget − usage` has its root below that
    /// one, and false position finds it with the Illinois rule.
    fn next(&mut self, at: &At, size_max: f64, budget: f64, settled: bool) -> f64 {
        let (last, inside) = (self.now, budget - size_max * at.charge);
        let slope = if at.worth < 0.0 && inside < 0.0 { budget } else { inside };
        let below = slope < 0.0;
        if settled {
            let again = self.replaced.replace(below) == Some(below);
            let (end, other) = if below { (&mut self.low, &mut self.high) } else { (&mut self.high, &mut self.low) };
            *end = (last, slope);
            if again {
                other.1 *= 0.5;
            }
        }
        let (open, newton) = (self.high.1 <= 0.0, last + at.worth / at.charge);
        let to_root = inside < 0.0 && self.low.0 < newton && (open || newton < self.high.0);
        if !below && last <= 0.0 {
            return 0.0;
        } else if to_root {
            self.now = newton;
        } else if settled && !open {
            self.now = self.low.0 + (self.high.0 - self.low.0) * (self.low.1 / (self.low.1 - self.high.1));
        }
        (slope * (self.now - last)).abs()
    }
}

/// Figures at one price of margin and one temperature.
#[derive(Clone, Copy, Debug)]
struct At {
    /// `V`.
    worth: f64,
    /// Charge of one lot at the maximiser.
    charge: f64,
    /// `h − H` at the maximiser; zero where the temperature is not searched.
    missing: f64,
    /// `dH / d log T`.
    slope: f64,
}

impl Projector {
    /// Brings the best lots back into the order of the input and proves them.
    pub(super) fn publish(&mut self, input: &ProjectInput<'_>, outcome: &Outcome) {
        let count = input.utility.len();
        let out = &mut self.projected;
        for counts in [&mut out.lots, &mut out.hold] {
            counts.clear();
            counts.resize(count, 0);
        }
        out.reasons.clear();
        out.reasons.resize(count, Reason::NoValue);
        for (at, &origin) in self.levels.origin.iter().enumerate() {
            out.lots[origin] = self.best.count[at];
            out.hold[origin] = self.best.hold[at];
            out.reasons[origin] = reason(&self.levels, at, self.best.count[at], outcome);
        }
        out.empty = outcome.empty;
        let objective = self.best.worth(&self.levels.value);
        let held: i128 = out.hold.iter().map(|hold| i128::from(*hold)).sum();
        let entropy = entropy_of_lots(&out.lots);
        let dual_bound = self.dual(outcome).max(if outcome.empty.is_some() { 0.0 } else { objective });
        let ok = proof(input, &self.projected.lots, outcome) && objective <= dual_bound;
        let scale = self.levels.scale;
        self.projected.certificate = SideCertificate {
            held: i64::try_from(held).unwrap_or(i64::MAX),
            lots: i64::try_from(self.best.total).unwrap_or(i64::MAX),
            entropy,
            effective_levels: if self.best.total > 0 { entropy.exp() } else { 0.0 },
            entropy_min: input.entropy_min,
            entropy_min_used: outcome.entropy_min.min(input.entropy_min),
            relaxed: outcome.relaxed,
            objective: objective / scale,
            dual_bound: dual_bound / scale,
            regret: (dual_bound - objective) / scale,
            binding: self.binding(outcome, input.lots_total_max),
            ok,
        };
    }

    /// The bound against the floor in force, in scaled utility.
    fn dual(&mut self, outcome: &Outcome) -> f64 {
        if outcome.empty.is_some() && outcome.empty != Some(Reason::NoValue) && outcome.empty != Some(Reason::Entropy) {
            return 0.0;
        }
        self.bound.load(&self.levels);
        // Shares hold to one lot: the bound must cover the lots as they are.
        let tallest = self.best.count.iter().copied().max().unwrap_or(0) as f64 / (self.best.total.max(1) as f64);
        let share_cap = outcome.limits.share_cap.max(tallest).min(1.0);
        self.bound.dual(&outcome.limits, share_cap, &self.problem, &mut self.solver)
    }

    /// What one more lot anywhere would run into. Sizes that were given in full ran into nothing: who gave them knows what
    /// bound them.
    fn binding(&self, outcome: &Outcome, lots_total_max: i64) -> Binding {
        match outcome.empty {
            Some(Reason::NoMargin | Reason::Margin) => return Binding::Margin,
            Some(Reason::Position) => return Binding::Position,
            Some(Reason::Notional) => return Binding::Notional,
            Some(Reason::Entropy) => return Binding::Entropy,
            Some(_) => return Binding::NoValue,
            None => {}
        }
        let (lots, levels, limits) = (&self.best, &self.levels, &outcome.limits);
        if lots.total >= i128::from(lots_total_max) {
            return Binding::Position;
        }
        if lots.total >= i128::from(limits.total_max) {
            return Binding::None;
        }
        let (mut seen, mut worth, mut below_cap, mut fits, mut unopened) = (false, false, false, false, false);
        for i in 0..levels.len() {
            if lots.count[i] == 0 {
                unopened |= levels.blocked[i] == Some(Reason::Notional) && levels.value[i] > 0.0;
                continue;
            }
            seen = true;
            if levels.value[i] <= 0.0 {
                continue;
            }
            worth = true;
            if lots.count[i] < levels.cap_own[i] {
                below_cap = true;
                fits |= lots.held + i128::from(lots.hold_up[i]) <= i128::from(limits.budget);
            }
        }
        match (seen && worth, below_cap, fits) {
            (false, ..) => Binding::NoValue,
            (true, false, _) if unopened => Binding::Notional,
            (true, false, _) => Binding::LevelCap,
            (true, true, false) => Binding::Margin,
            (true, true, true) if limits.entropy_min > 0.0 => Binding::Entropy,
            (true, true, true) => Binding::LevelCap,
        }
    }
}

/// What became of a level.
fn reason(levels: &Levels, at: usize, lots: i64, outcome: &Outcome) -> Reason {
    if lots > 0 {
        return Reason::Kept;
    }
    if let Some(reason) = levels.blocked[at] {
        return reason;
    }
    if let Some(reason) = outcome.empty {
        return reason;
    }
    if levels.value[at] <= 0.0 {
        return Reason::NoValue;
    }
    if levels.min[at] > 1 { Reason::Notional } else { Reason::Margin }
}

/// Every constraint, from the input and the final lots alone.
fn proof(input: &ProjectInput<'_>, lots: &[i64], outcome: &Outcome) -> bool {
    let (mut held, mut total) = (0_i128, 0_i128);
    for (i, &count) in lots.iter().enumerate() {
        if count == 0 {
            continue;
        }
        if count < input.lots_min[i] || count > input.lots_cap[i] {
            return false;
        }
        held += i128::from(input.charge[i].charge(count));
        total += i128::from(count);
    }
    let within = held <= i128::from(input.budget.max(0)) && total <= i128::from(input.lots_total_max.max(0));
    let floor = outcome.entropy_min.min(input.entropy_min);
    within && (total == 0 || entropy_of_lots(lots) >= floor - ENTROPY_TIE)
}
