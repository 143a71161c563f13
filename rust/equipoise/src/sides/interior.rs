//! The interior-point method: every variant of the problem, one code path.
//!
//! Sizes `s` and totals `S` are variables of their own, tied by `Σ s = S` with a free multiplier `n`. At a point strictly
//! inside every bound, with positive multipliers, Newton's equations for
//!
//! ```text
//! U'_i(s_i) = ν ℓ_i + η v_i s_i + T (ln(s_i/S) + 1) + μ m_i + n − α_i + β_i + γ_i        (each level)
//! n = T (h − 1) + φ·α − κ·β + π + share terms                                            (each side)
//! multiplier × slack = τ                                                                 (each inequality)
//! ```
//!
//! have a diagonal block in the levels. Eliminating it leaves the totals, the entropy temperatures, the prices of margin and
//! the price of inventory: nine unknowns at the most. Columns are centred by `n` before they are multiplied, because margins
//! and logarithms hardly differ between levels and their variances would cancel. Steps are Mehrotra's predictor and corrector.

use super::linear::{Dense, UNKNOWNS_MAX};
use super::read::Reduced;
use super::{Multipliers, Saturation, Side, Sides};
use crate::entropy::water::kl_term;
use crate::lanes::{EXPONENT_MAX, LANES, Lanes};

/// What one level contributes to a row, for eight levels.
type Chunk = [f64; LANES];

/// Unknowns of the small system, in order: temperatures, prices of margin, price of inventory, totals, fixed share.
const HEAT: usize = 0;
const MARGIN: usize = 2;
const NU: usize = 5;
const TOTAL: usize = 6;
const FIXED: usize = 8;
/// Inequalities that are not of a level, in order: entropy floors and margins as above, limits on totals, share bounds.
const ROOM: usize = 5;
const SHARE: usize = 7;
const FLOOR: usize = 9;
const ROWS: usize = 11;
const ABSENT: usize = usize::MAX;

const ITERATIONS_MAX: u32 = 100;
/// Part of the way to the boundary that a step may go.

/// How a run starts and how boldly it steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// First product of slacks and multipliers, in units of value.
    pub(super) start: f64,
    /// Highest first temperature, in units of what closeness to the flattest shares suggests.
    pub(super) heat: f64,
    /// Part of the way to the boundary that a step may go.
    pub(super) stay: f64,
    /// Added to the diagonal block: what multiplies rounding on levels whose size nothing but the others decides.
    pub(super) least: f64,
}

/// Tried in order until one convinces. The first is right almost always; the others are for ladders that an entropy floor
/// close to the largest entropy leaves hardly any choice.
pub(super) const MANNERS: [Manner; 4] = [
    Manner { start: 0.05, heat: 0.3, stay: 0.995, least: 1e-11 },
    Manner { start: 0.05, heat: 30.0, stay: 0.9, least: 1e-9 },
    Manner { start: 1e-3, heat: 3.0, stay: 0.95, least: 1e-13 },
    Manner { start: 5.0, heat: 1.0, stay: 0.8, least: 1e-10 },
];

/// The memory of one side; it grows and is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    chunks: Vec<Chunk>,
}

/// Rows of one side. Padding has no weight: its column of ones is zero, its multipliers are zero.
struct Levels<'r> {
    utility: &'r mut [Chunk],
    margin: &'r mut [Chunk],
    /// `ℓ`: plus or minus the fill probability.
    fill: &'r mut [Chunk],
    floor: &'r mut [Chunk],
    cap: &'r mut [Chunk],
    /// `1/c` of the saturation.
    bend: &'r mut [Chunk],
    /// `η v`.
    risk: &'r mut [Chunk],
    one: &'r mut [Chunk],
    size: &'r mut [Chunk],
    /// `U'` and `−U'' + η v`.
    slope: &'r mut [Chunk],
    bow: &'r mut [Chunk],
    /// `ln(s/S) + 1`.
    log: &'r mut [Chunk],
    /// `1/D`.
    inverse: &'r mut [Chunk],
    /// Where the stiffness of a level centres it, as a share of the total, and how far that is above its floor and below
    /// its cap: differences that cancel where a bound is in force, so they are kept.
    lean: &'r mut [Chunk],
    above: &'r mut [Chunk],
    below: &'r mut [Chunk],
    gradient: &'r mut [Chunk],
    right: &'r mut [Chunk],
    /// Step of the size beside its lean on the total.
    step: &'r mut [Chunk],
    bounds: [Bounds<'r>; 3],
}

/// One kind of inequality of every level: floors `s − φS`, caps `κS − s`, limits `C − s`.
struct Bounds<'r> {
    /// One where the bound exists.
    has: &'r mut [Chunk],
    price: &'r mut [Chunk],
    slack: &'r mut [Chunk],
    /// Second-order terms of the corrector.
    bent: &'r mut [Chunk],
}

impl Store {
    fn levels(&mut self, levels: usize) -> Levels<'_> {
        const COUNT: usize = 19 + 3 * 4;
        let count = levels.div_ceil(LANES).max(1);
        self.chunks.clear();
        self.chunks.resize(count * COUNT, [0.0; LANES]);
        let mut rows = self.chunks.chunks_exact_mut(count);
        let mut next = || rows.next().unwrap_or_default();
        Levels {
            utility: next(),
            margin: next(),
            fill: next(),
            floor: next(),
            cap: next(),
            bend: next(),
            risk: next(),
            one: next(),
            size: next(),
            slope: next(),
            bow: next(),
            log: next(),
            inverse: next(),
            lean: next(),
            above: next(),
            below: next(),
            gradient: next(),
            right: next(),
            step: next(),
            bounds: std::array::from_fn(|_| Bounds { has: next(), price: next(), slack: next(), bent: next() }),
        }
    }
}

/// A slack that must stay positive, with its multiplier.
#[derive(Clone, Copy, Debug)]
struct Row {
    present: bool,
    /// Product of slack and multiplier, in units of `τ`.
    weight: f64,
    price: f64,
    slack: f64,
    /// Second-order term of the corrector.
    bent: f64,
    /// Changes along the present direction; the slack's to first order.
    price_step: f64,
    slack_step: f64,
}

impl Default for Row {
    fn default() -> Self {
        Self { present: false, weight: 1.0, price: 0.0, slack: 1.0, bent: 0.0, price_step: 0.0, slack_step: 0.0 }
    }
}

impl Row {
    #[inline(always)]
    fn stiffness(&self) -> f64 {
        self.price / self.slack
    }

    /// Where the multiplier is pulled to while the slack stays: `(τ − second order)/slack`.
    #[inline(always)]
    fn pulled(&self, target: f64) -> f64 {
        if self.present { (self.weight * target - self.bent) / self.slack } else { 0.0 }
    }
}

/// One side in scaled units.
struct Ladder<'r, 'a> {
    levels: Levels<'r>,
    count: usize,
    reduced: &'a Reduced,
    side: Side<'a>,
    /// Units of value in one of the caller's, times the unit of size.
    per_value: f64,
    present: bool,
    /// Kinds of bounds that exist on some level.
    bounded: [bool; 3],
    entropy_min: f64,
    /// Units of size in the caller's unit.
    unit: f64,
    total: f64,
    normaliser: f64,
}

/// Columns of one side that the small system sees (log, margin, fill), by their moments under the weights `1/D`.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    weight: f64,
    mean: [f64; 3],
    /// `Σ c' c'/D` of centred columns.
    square: [[f64; 3]; 3],
    /// `Σ c' r` of centred columns against the leans.
    cross: [f64; 3],
    /// `1 − Σ r`.
    loose: f64,
}

/// Newton's matrix of one iteration.
struct Newton {
    dense: Dense,
    /// Places of the nine unknowns among those present.
    place: [usize; UNKNOWNS_MAX],
    moments: [Moments; 2],
}

/// A direction: the nine unknowns, and the change of the normalisers. Steps of sizes stay in their rows.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    x: [f64; UNKNOWNS_MAX],
    normaliser: [f64; 2],
}

/// Sums over inequalities along a direction: how far it may go, and the products of slacks and multipliers.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    /// Largest relative decrease of a slack, and of a multiplier.
    primal: f64,
    dual: f64,
    product: f64,
    price_by_slack: f64,
    slack_by_price: f64,
    both: f64,
}

impl Probe {
    #[inline(always)]
    fn lengths(&self) -> (f64, f64) {
        (1.0 / self.primal.max(1e-300), 1.0 / self.dual.max(1e-300))
    }

    /// Sum of products after steps of these lengths.
    #[inline(always)]
    fn after(&self, primal: f64, dual: f64) -> f64 {
        self.product + dual * self.price_by_slack + primal * self.slack_by_price + primal * dual * self.both
    }
}

/// The whole method on one problem.
pub(super) struct Interior<'r, 'a> {
    ladder: [Ladder<'r, 'a>; 2],
    row: [Row; ROWS],
    /// `G(s) − h S`; the slack of the row follows it.
    over_entropy: [f64; 2],
    budget: [f64; 3],
    /// Coefficients of the totals in the share rows; the first serves a fixed share too.
    share_of: [[f64; 2]; 2],
    /// The share is fixed: an equation with a free multiplier.
    share_fixed: bool,
    share_price: f64,
    eta: f64,
    position: f64,
    nu: f64,
    value_unit: f64,
    margin_unit: f64,
    position_unit: f64,
    /// Inequalities present.
    count: f64,
    manner: Manner,
    pub(super) iterations: u32,
    pub(super) trace: bool,
}

impl Reduced {
    /// Levels that the method sees.
    fn rows(&self) -> usize {
        if self.ray { 1 } else { self.keep.len() }
    }

    /// Floor and cap of a share, kept apart by a hair where they meet.
    fn open_box(&self, at: usize) -> (f64, f64) {
        let (floor, cap) = (self.floor[at], self.cap[at]);
        if cap - floor < 1e-11 { ((floor - 5e-12).max(0.0), cap + 5e-12) } else { (floor, cap) }
    }
}

impl<'r, 'a> Interior<'r, 'a> {
    /// Scales the problem and takes a starting point strictly inside. `size` is what each side may be expected to reach.
    #[inline(always)]
    pub(super) fn new<L: Lanes>(
        problem: &Sides<'a>,
        reduced: &'a [Reduced; 2],
        present: [bool; 2],
        size: [f64; 2],
        stores: &'r mut [Store; 2],
        manner: Manner,
    ) -> Self {
        let (mut value_unit, mut margin_unit, mut position_unit) = (0.0_f64, 0.0_f64, 0.0_f64);
        for x in (0..2).filter(|x| present[*x]) {
            let side = &problem.side[x];
            for &index in &reduced[x].keep {
                value_unit = value_unit.max(side.utility[index as usize].abs() * size[x]);
                margin_unit = margin_unit.max(side.margin[index as usize] * size[x]);
            }
            position_unit = position_unit.max(size[x]);
        }
        let [value_unit, margin_unit, position_unit] =
            [value_unit, margin_unit, position_unit].map(|unit| if unit > 0.0 { unit } else { 1.0 });
        let (eta, position, variance) = match problem.inventory {
            Some(inventory) => (inventory.price_of_risk, inventory.position, inventory.fill_variance),
            None => (0.0, 0.0, false),
        };
        let [first, second] = stores;
        let mut interior = Self {
            ladder: [
                Ladder::new(problem, &reduced[0], 0, present[0], size[0], first),
                Ladder::new(problem, &reduced[1], 1, present[1], size[1], second),
            ],
            row: [Row::default(); ROWS],
            over_entropy: [1.0; 2],
            budget: [problem.budget.side[0], problem.budget.side[1], problem.budget.total].map(|m| m / margin_unit),
            share_of: [[0.0; 2]; 2],
            share_fixed: false,
            share_price: 0.0,
            eta: eta * position_unit * (position_unit / value_unit),
            position: position / position_unit,
            nu: 0.0,
            value_unit,
            margin_unit,
            position_unit,
            count: 0.0,
            manner,
            iterations: 0,
            trace: false,
        };
        for x in (0..2).filter(|x| present[*x]) {
            interior.fill(problem, x, variance);
        }
        interior.start::<L>(problem);
        interior
    }

    /// Reads one side into its rows, scaled.
    fn fill(&mut self, problem: &Sides<'a>, x: usize, variance: bool) {
        let side = &problem.side[x];
        let ladder = &mut self.ladder[x];
        let (unit, reduced, levels) = (ladder.unit, ladder.reduced, &mut ladder.levels);
        let sign = if x == 0 { 1.0 } else { -1.0 };
        let (per_value, per_margin) = (unit / self.value_unit, unit / self.margin_unit);
        let per_position = unit / self.position_unit;
        ladder.per_value = per_value;
        let risk = if variance { self.eta * per_position * per_position } else { 0.0 };
        let size_max = reduced.size_max * (1.0 + 1e-9);
        let mut put = |at: usize, utility: f64, margin: f64, fill: f64, spread: f64, bend: f64, limit: f64| {
            let (chunk, lane) = (at / LANES, at % LANES);
            levels.utility[chunk][lane] = utility * per_value;
            levels.margin[chunk][lane] = margin * per_margin;
            levels.fill[chunk][lane] = sign * fill * per_position;
            levels.risk[chunk][lane] = risk * spread;
            levels.bend[chunk][lane] = bend * unit;
            levels.one[chunk][lane] = 1.0;
            let (floor, cap) = if reduced.ray { (0.0, 1.0) } else { reduced.open_box(at) };
            levels.floor[chunk][lane] = floor;
            levels.cap[chunk][lane] = cap;
            // A cap on size that the share's own cap keeps away from is no bound.
            let has = [true, cap < 1.0, limit <= cap * size_max];
            for (kind, has) in has.into_iter().enumerate() {
                levels.bounds[kind].has[chunk][lane] = f64::from(has);
                ladder.bounded[kind] |= has;
            }
            levels.bounds[2].slack[chunk][lane] = limit / unit;
        };
        if reduced.ray {
            let (mut utility, mut margin, mut fill, mut spread) = (0.0, 0.0, 0.0, 0.0);
            for (&index, &share) in reduced.keep.iter().zip(&reduced.flattest) {
                let index = index as usize;
                let probability = side.fill_probability.at(index);
                utility += side.utility[index] * share;
                margin += side.margin[index] * share;
                fill += probability * share;
                spread += probability * (1.0 - probability) * share * share;
            }
            put(0, utility, margin, fill, spread, 0.0, reduced.size_free);
            return;
        }
        for (at, &index) in reduced.keep.iter().enumerate() {
            let index = index as usize;
            let utility = side.utility[index];
            let probability = side.fill_probability.at(index);
            let bend = side.saturation.inverse_scale(utility, index);
            put(at, utility, side.margin[index], probability, probability * (1.0 - probability), bend, side.size_cap.at(index));
        }
    }

    fn sides(&self) -> impl Iterator<Item = usize> + use<> {
        let present = [self.ladder[0].present, self.ladder[1].present];
        (0..2).filter(move |x| present[*x])
    }

    /// A point strictly inside every bound, and multipliers that make all products of slack and multiplier alike.
    #[inline(always)]
    fn start<L: Lanes>(&mut self, problem: &Sides<'a>) {
        // The shares, and the total at which half of every limit is used.
        let (mut totals, mut charge) = ([0.0; 2], [0.0; 2]);
        for x in self.sides() {
            let ladder = &mut self.ladder[x];
            ladder.inside();
            let levels = &ladder.levels;
            let mut most = problem.side[x].size_max / ladder.unit;
            for at in 0..ladder.count {
                let (chunk, lane) = (at / LANES, at % LANES);
                if levels.bounds[2].has[chunk][lane] > 0.0 {
                    most = most.min(levels.bounds[2].slack[chunk][lane] / levels.size[chunk][lane]);
                }
                charge[x] += levels.margin[chunk][lane] * levels.size[chunk][lane];
            }
            if charge[x] > 0.0 {
                most = most.min(self.budget[x] / charge[x]).min(self.budget[2] / charge[x]);
            }
            totals[x] = 0.5 * most;
        }
        let unit = [self.ladder[0].unit, self.ladder[1].unit];
        if let Some([lo, hi]) = problem.bid_share
            && self.sides().count() == 2
        {
            let middle = 0.5 * (lo + hi);
            let both = (totals[0] * unit[0] / middle).min(totals[1] * unit[1] / (1.0 - middle));
            totals = [both * middle / unit[0], both * (1.0 - middle) / unit[1]];
            let larger = unit[0].max(unit[1]);
            let [b, a] = unit.map(|unit| unit / larger);
            self.share_fixed = hi - lo < 1e-12;
            if self.share_fixed {
                self.share_of[0] = [(1.0 - middle) * b, -middle * a];
            } else {
                self.share_of = [[(1.0 - lo) * b, -lo * a], [-(1.0 - hi) * b, hi * a]];
                self.row[SHARE].present = lo > 0.0;
                self.row[SHARE + 1].present = hi < 1.0;
            }
        }
        let used = charge[0] * totals[0] + charge[1] * totals[1];
        let factor = if used > 0.0 { (0.75 * self.budget[2] / used).min(1.0) } else { 1.0 };
        let totals = totals.map(|total| total * factor);
        let mut share_slack = [0.0; 2];
        let mut charged = 0.0;
        for x in self.sides() {
            self.ladder[x].enlarge(totals[x]);
            let ladder = &self.ladder[x];
            let room = &mut self.row[ROOM + x];
            room.present = problem.side[x].size_max <= ladder.reduced.size_max * (1.0 + 1e-9);
            room.slack = problem.side[x].size_max / ladder.unit - totals[x];
            let heat = &mut self.row[HEAT + x];
            heat.present = ladder.entropy_min > 0.0;
            self.over_entropy[x] = ladder.over_entropy::<L>();
            heat.slack = self.over_entropy[x];
            heat.weight = ladder.count as f64 + 1.0;
            let entropic = heat.present;
            let floor = &mut self.row[FLOOR + x];
            floor.present = entropic;
            floor.slack = totals[x];
            floor.weight = ladder.count as f64;
            for (slack, of) in share_slack.iter_mut().zip(&self.share_of) {
                *slack += of[x] * totals[x];
            }
            let dearest = ladder.levels.margin.as_flattened().iter().fold(0.0_f64, |most, margin| most.max(*margin));
            let most = dearest * ladder.reduced.size_max / ladder.unit;
            self.row[MARGIN + x].present = most > 0.0 && most * (1.0 + 1e-6) >= self.budget[x];
            charged += most;
            self.row[MARGIN + x].slack = self.budget[x] - charge[x] * totals[x];
        }
        (self.row[SHARE].slack, self.row[SHARE + 1].slack) = (share_slack[0], share_slack[1]);
        self.row[MARGIN + 2].present = charged > 0.0 && charged * (1.0 + 1e-6) >= self.budget[2];
        self.row[MARGIN + 2].slack = self.budget[2] - charge[0] * totals[0] - charge[1] * totals[1];
        let target = self.manner.start;
        for row in &mut self.row {
            if row.present {
                row.price = row.weight * target / row.slack;
                self.count += row.weight;
            } else {
                *row = Row::default();
            }
        }
        for x in self.sides() {
            self.count += self.ladder[x].price(target);
            // Near the largest entropy a temperature goes with one over the square root of the room that is left.
            let reduced = self.ladder[x].reduced;
            let spare = reduced.entropy_max - reduced.entropy_min;
            let heat = &mut self.row[HEAT + x];
            if heat.present {
                heat.price = heat.price.min(self.manner.heat / (2.0 * spare).sqrt());
            }
        }
        self.nu = self.eta * self.expected::<L>();
    }

    /// `q + ℓ·s`.
    #[inline(always)]
    fn expected<L: Lanes>(&self) -> f64 {
        let mut sum = L::zero();
        for x in self.sides() {
            let levels = &self.ladder[x].levels;
            for (size, fill) in levels.size.iter().zip(levels.fill.iter()) {
                sum = L::load(size).mul_add(L::load(fill), sum);
            }
        }
        self.position + sum.sum()
    }

    /// Iterates until the products of slacks and multipliers are negligible or nothing moves any more.
    #[inline(always)]
    pub(super) fn run<L: Lanes>(&mut self) {
        let mut settled = 0;
        for iteration in 0..ITERATIONS_MAX {
            self.iterations = iteration + 1;
            let newton = self.newton::<L>();
            // Predictor: straight at the solution.
            self.row.iter_mut().for_each(|row| row.bent = 0.0);
            let aim = self.direction::<L>(&newton, 0.0, false);
            let probe = self.probe::<L>(&aim, 0.0, false);
            let mean = probe.product / self.count;
            if self.trace {
                eprintln!(
                    "{iteration}: tau {mean:.3e} g-y {:.1e} {:.1e} totals {:.6e} {:.6e} heat {:.3e} {:.3e} mu {:.6e} {:.6e} {:.6e} nu {:.4e} residual {:.2e}",
                    self.over_entropy[0] - self.row[HEAT].slack,
                    self.over_entropy[1] - self.row[HEAT + 1].slack,
                    self.ladder[0].total,
                    self.ladder[1].total,
                    self.row[HEAT].price,
                    self.row[HEAT + 1].price,
                    self.row[MARGIN].price,
                    self.row[MARGIN + 1].price,
                    self.row[MARGIN + 2].price,
                    self.nu,
                    self.residual::<L>()
                );
            }
            if !mean.is_finite() {
                return;
            }
            if mean < 1e-16 {
                settled += 1;
                if settled > 4 || mean < 1e-24 || self.off_value() < 1e-13 && self.apart() < 1e-12 {
                    return;
                }
            }
            let (primal, dual) = probe.lengths();
            let (primal, dual) = (primal.min(1.0), dual.min(1.0));
            let ahead = probe.after(primal, dual) / self.count;
            let centring = (ahead / mean).powi(3).clamp(0.0, 1.0);
            let target = centring * mean;
            let step = self.direction::<L>(&newton, target, true);
            let probe = self.probe::<L>(&step, target, true);
            let (primal, dual) = probe.lengths();
            let (primal, dual) = ((self.manner.stay * primal).min(1.0), (self.manner.stay * dual).min(1.0));
            if self.trace {
                eprintln!("    centring {centring:.2e} primal {primal:.4} dual {dual:.4}");
            }
            self.take::<L>(&step, target, primal, dual);
            if primal < 1e-10 && dual < 1e-10 {
                return;
            }
        }
    }

    /// Derivatives at the present point, and the small system factorised.
    #[inline(always)]
    fn newton<L: Lanes>(&mut self) -> Newton {
        let mut place = [ABSENT; UNKNOWNS_MAX];
        let mut size = 0;
        for (unknown, place) in place.iter_mut().enumerate() {
            let present = match unknown {
                NU => self.eta > 0.0,
                TOTAL | 7 => self.ladder[unknown - TOTAL].present,
                FIXED => self.share_fixed,
                _ => self.row[unknown].present,
            };
            if present {
                *place = size;
                size += 1;
            }
        }
        let mut dense = Dense::new(size);
        let mut all = [Moments::default(); 2];
        for x in self.sides() {
            let heat = self.row[HEAT + x];
            let price = self.row[MARGIN + x].price + self.row[MARGIN + 2].price;
            let own = self.ladder[x].derive::<L>(heat.price, price, self.nu, self.manner.least);
            let moments = self.ladder[x].moments::<L>();
            all[x] = moments;
            let ladder = &self.ladder[x];
            let total = place[TOTAL + x];
            let columns = columns(x);
            for (k, unknowns) in columns.iter().enumerate() {
                for row in unknowns.iter().filter(|u| **u != ABSENT).map(|u| place[*u]).filter(|row| *row != ABSENT) {
                    for (j, others) in columns.iter().enumerate() {
                        for column in
                            others.iter().filter(|u| **u != ABSENT).map(|u| place[*u]).filter(|column| *column != ABSENT)
                        {
                            dense.a[row][column] -= moments.square[k][j];
                        }
                    }
                    dense.a[row][total] += moments.cross[k] + moments.mean[k];
                    dense.a[total][row] += moments.cross[k] + moments.mean[k];
                }
            }
            dense.a[total][total] +=
                own + moments.loose * moments.loose / moments.weight + self.row[ROOM + x].stiffness()
                    + self.row[FLOOR + x].stiffness();
            if heat.present {
                let at = place[HEAT + x];
                dense.a[at][total] -= 1.0 - ladder.entropy_min;
                dense.a[total][at] -= 1.0 - ladder.entropy_min;
            }
            for y in self.sides() {
                for (row, of) in self.row[SHARE..FLOOR].iter().zip(&self.share_of) {
                    dense.a[total][place[TOTAL + y]] += row.stiffness() * of[x] * of[y];
                }
            }
            if self.share_fixed {
                let fixed = place[FIXED];
                dense.a[total][fixed] -= self.share_of[0][x];
                dense.a[fixed][total] -= self.share_of[0][x];
            }
        }
        for (row, &at) in self.row[..ROOM].iter().zip(&place) {
            if row.present {
                dense.a[at][at] -= row.slack / row.price;
            }
        }
        if self.eta > 0.0 {
            dense.a[place[NU]][place[NU]] -= 1.0 / self.eta;
        }
        dense.factorise();
        Newton { dense, place, moments: all }
    }

    /// Newton's direction towards products of `target`, second-order terms of the last direction included on request.
    #[inline(always)]
    fn direction<L: Lanes>(&mut self, newton: &Newton, target: f64, bent: bool) -> Direction {
        let Newton { dense, place, moments } = newton;
        let mut right = [0.0; UNKNOWNS_MAX];
        let (mut weighted, mut drift) = ([0.0; 2], [0.0; 2]);
        for x in self.sides() {
            let own = self.ladder[x].right::<L>(target, bent);
            let (sum, against) = self.ladder[x].project::<L>(&moments[x]);
            let ladder = &self.ladder[x];
            let heat = &self.row[HEAT + x];
            weighted[x] = sum;
            drift[x] = ladder.total - ladder.sum::<L>();
            let mut total = heat.price * (1.0 - ladder.entropy_min) + ladder.normaliser + own
                - self.row[ROOM + x].pulled(target)
                + self.row[FLOOR + x].pulled(target);
            for (row, of) in self.row[SHARE..FLOOR].iter().zip(&self.share_of) {
                total += row.pulled(target) * of[x];
            }
            if self.share_fixed {
                total += self.share_price * self.share_of[0][x];
            }
            right[place[TOTAL + x]] +=
                total + moments[x].loose * (sum - drift[x]) / moments[x].weight;
            for (k, unknowns) in columns(x).iter().enumerate() {
                for at in unknowns.iter().filter(|u| **u != ABSENT).map(|u| place[*u]).filter(|at| *at != ABSENT) {
                    right[at] -= against[k] + moments[x].mean[k] * drift[x];
                }
            }
        }
        for (k, (row, &at)) in self.row[..ROOM].iter().zip(place).enumerate() {
            if row.present {
                let slack = if k < MARGIN { self.over_entropy[k] } else { row.slack };
                right[at] += slack - (row.weight * target - row.bent) / row.price;
            }
        }
        // A side without an own margin row still has the column: its place is absent and was skipped.
        if self.eta > 0.0 {
            right[place[NU]] += self.nu / self.eta - self.expected::<L>();
        }
        if self.share_fixed {
            right[place[FIXED]] +=
                self.sides().map(|x| self.share_of[0][x] * self.ladder[x].total).sum::<f64>();
        }
        dense.solve(&mut right);
        let mut direction = Direction::default();
        for (x, &at) in direction.x.iter_mut().zip(place) {
            if at != ABSENT {
                *x = right[at];
            }
        }
        let mut used = [0.0; 3];
        let mut share_step = [0.0; 2];
        for x in self.sides() {
            let total = direction.x[TOTAL + x];
            let price = direction.x[MARGIN + x] + direction.x[MARGIN + 2];
            let columns = [direction.x[HEAT + x], price, direction.x[NU]];
            let shift = (weighted[x] - drift[x] - moments[x].loose * total) / moments[x].weight;
            let mean: f64 = (0..3).map(|k| moments[x].mean[k] * columns[k]).sum();
            direction.normaliser[x] = shift - mean;
            let (margin, log) = self.ladder[x].spread::<L>(&moments[x], columns, shift, total);
            used[x] = margin;
            used[2] += margin;
            self.row[HEAT + x].slack_step =
                (1.0 - self.ladder[x].entropy_min) * total - log + self.over_entropy[x] - self.row[HEAT + x].slack;
            self.row[ROOM + x].slack_step = -total;
            self.row[FLOOR + x].slack_step = total;
            for (step, of) in share_step.iter_mut().zip(&self.share_of) {
                *step += of[x] * total;
            }
        }
        for (row, used) in self.row[MARGIN..ROOM].iter_mut().zip(used) {
            row.slack_step = -used;
        }
        for (row, step) in self.row[SHARE..FLOOR].iter_mut().zip(share_step) {
            row.slack_step = step;
        }
        for (at, row) in self.row.iter_mut().enumerate() {
            row.price_step = if !row.present {
                0.0
            } else if at < ROOM {
                direction.x[at]
            } else {
                row.pulled(target) - row.price - row.stiffness() * row.slack_step
            };
        }
        direction
    }

    /// How far the direction may go, and what becomes of the products; keeps second-order terms unless it is corrected.
    #[inline(always)]
    fn probe<L: Lanes>(&mut self, direction: &Direction, target: f64, corrected: bool) -> Probe {
        let mut probe = Probe::default();
        for row in self.row.iter_mut().filter(|row| row.present) {
            probe.primal = probe.primal.max(-row.slack_step / row.slack);
            probe.dual = probe.dual.max(-row.price_step / row.price);
            probe.product += row.price * row.slack;
            probe.price_by_slack += row.price_step * row.slack;
            probe.slack_by_price += row.slack_step * row.price;
            probe.both += row.price_step * row.slack_step;
            if !corrected {
                row.bent = row.price_step * row.slack_step;
            }
        }
        for x in self.sides() {
            self.ladder[x].probe::<L>(direction.x[TOTAL + x], target, corrected, &mut probe);
        }
        probe
    }

    /// Goes along the direction.
    #[inline(always)]
    fn take<L: Lanes>(&mut self, direction: &Direction, target: f64, primal: f64, dual: f64) {
        for x in self.sides() {
            self.ladder[x].take::<L>(direction.x[TOTAL + x], target, primal, dual);
            self.ladder[x].total += primal * direction.x[TOTAL + x];
            self.ladder[x].normaliser += dual * direction.normaliser[x];
        }
        for row in self.row.iter_mut().filter(|row| row.present) {
            row.price += dual * row.price_step;
            row.slack += primal * row.slack_step;
        }
        for x in self.sides() {
            self.over_entropy[x] = self.ladder[x].over_entropy::<L>();
        }
        self.nu += dual * direction.x[NU];
        self.share_price += dual * direction.x[FIXED];
    }

    /// By how much the entropies miss the slacks that follow them, relative to the totals.
    fn apart(&self) -> f64 {
        self.sides()
            .map(|x| (self.over_entropy[x] - self.row[HEAT + x].slack).abs() / (self.ladder[x].total + 1e-9))
            .fold(0.0_f64, f64::max)
    }

    fn off_value(&self) -> f64 {
        let mut worst = 0.0_f64;
        for x in self.sides() {
            let ladder = &self.ladder[x];
            let levels = &ladder.levels;
            for at in 0..ladder.count {
                let (c, l) = (at / LANES, at % LANES);
                let off = levels.gradient[c][l] + levels.bounds[0].price[c][l]
                    - levels.bounds[1].price[c][l]
                    - levels.bounds[2].price[c][l];
                let mut least = f64::INFINITY;
                for bounds in &levels.bounds {
                    if bounds.has[c][l] > 0.0 {
                        least = least.min(bounds.slack[c][l]);
                    }
                }
                worst += off.abs() * least;
            }
            worst += self.row[HEAT + x].price * (self.over_entropy[x] - self.row[HEAT + x].slack).abs();
        }
        worst
    }

    /// The largest residual of the stationarity equations.
    #[inline(always)]
    fn residual<L: Lanes>(&self) -> f64 {
        let mut worst = 0.0_f64;
        for x in self.sides() {
            let ladder = &self.ladder[x];
            let levels = &ladder.levels;
            for at in 0..ladder.count {
                let (c, l) = (at / LANES, at % LANES);
                let off = levels.gradient[c][l] + levels.bounds[0].price[c][l]
                    - levels.bounds[1].price[c][l]
                    - levels.bounds[2].price[c][l];
                worst = worst.max(off.abs());
            }
        }
        worst
    }

    /// Sizes and multipliers in the caller's units.
    pub(super) fn publish(&self, sizes: [&mut [f64]; 2], multipliers: &mut Multipliers) {
        for (x, sizes) in sizes.into_iter().enumerate() {
            sizes.fill(0.0);
            multipliers.temperature[x] = 0.0;
            let ladder = &self.ladder[x];
            let level = &mut multipliers.level[x];
            level.clear();
            if !ladder.present {
                continue;
            }
            let per_size = self.value_unit / ladder.unit;
            multipliers.temperature[x] = self.row[HEAT + x].price * per_size;
            multipliers.normaliser[x] = (ladder.normaliser + self.row[HEAT + x].price) * per_size;
            let size = ladder.levels.size.as_flattened();
            let price = ladder.levels.bounds[2].price.as_flattened();
            if ladder.bounded[2] {
                level.resize(sizes.len(), 0.0);
            }
            if ladder.reduced.ray {
                // The cap that stops the ray is the one that its shares reach first.
                let mut first = (f64::INFINITY, 0, 1.0);
                for (&index, &share) in ladder.reduced.keep.iter().zip(&ladder.reduced.flattest) {
                    sizes[index as usize] = (size[0] * ladder.unit * share).max(0.0);
                    let reach = ladder.side.size_cap.at(index as usize) / share;
                    if reach < first.0 {
                        first = (reach, index as usize, share);
                    }
                }
                if ladder.bounded[2] {
                    level[first.1] = price[0] * per_size / first.2;
                }
                continue;
            }
            for (at, &index) in ladder.reduced.keep.iter().enumerate() {
                sizes[index as usize] = (size[at] * ladder.unit).max(0.0);
                if ladder.bounded[2] {
                    level[index as usize] = price[at] * per_size;
                }
            }
        }
        for (margin, row) in multipliers.margin.iter_mut().zip(&self.row[MARGIN..ROOM]) {
            *margin = row.price * (self.value_unit / self.margin_unit);
        }
        multipliers.inventory = self.nu * (self.value_unit / self.position_unit);
    }
}

/// Which unknowns a column of one side belongs to: log, margin (its own and the total), fill.
const fn columns(x: usize) -> [[usize; 2]; 3] {
    [[HEAT + x, ABSENT], [MARGIN + x, MARGIN + 2], [NU, ABSENT]]
}

impl<'r, 'a> Ladder<'r, 'a> {
    fn new(
        problem: &Sides<'a>,
        reduced: &'a Reduced,
        x: usize,
        present: bool,
        unit: f64,
        store: &'r mut Store,
    ) -> Self {
        let count = if present { reduced.rows() } else { 0 };
        Self {
            levels: store.levels(count),
            count,
            reduced,
            side: problem.side[x],
            per_value: 0.0,
            present,
            bounded: [false; 3],
            entropy_min: if reduced.ray { 0.0 } else { reduced.entropy_min },
            unit,
            total: 0.0,
            normaliser: 0.0,
        }
    }

    /// Shares strictly inside floors, caps and the entropy floor, into the row of sizes.
    fn inside(&mut self) {
        let reduced = self.reduced;
        let shares = self.levels.size.as_flattened_mut();
        if reduced.ray {
            shares[0] = 1.0;
            return;
        }
        let boxes = (0..self.count).map(|at| reduced.open_box(at));
        let (floors, caps) = boxes.clone().fold((0.0, 0.0), |sum, (floor, cap)| (sum.0 + floor, sum.1 + cap));
        let part = (1.0 - floors) / (caps - floors);
        let mut entropy = 0.0;
        for (share, (floor, cap)) in shares.iter_mut().zip(boxes) {
            *share = floor + part * (cap - floor);
            entropy -= *share * share.ln();
        }
        // The flattest shares have the entropy but may touch their bounds; these do not.
        let (lack, spare) = (reduced.entropy_max - entropy, reduced.entropy_max - reduced.entropy_min);
        let mix = if lack > 0.0 { (0.5 * spare / lack).min(0.5) } else { 0.5 };
        for (share, flat) in shares.iter_mut().zip(&reduced.flattest) {
            *share = flat + mix * (*share - flat);
        }
    }

    /// From shares to sizes of a total, with the slacks of all levels.
    fn enlarge(&mut self, total: f64) {
        self.total = total;
        let levels = &mut self.levels;
        for chunk in 0..levels.size.len() {
            for lane in 0..LANES {
                let size = levels.size[chunk][lane] * total;
                let slack = [
                    size - levels.floor[chunk][lane] * total,
                    levels.cap[chunk][lane] * total - size,
                    levels.bounds[2].slack[chunk][lane] - size,
                ];
                levels.size[chunk][lane] = if levels.one[chunk][lane] > 0.0 { size } else { 1.0 };
                for (bounds, slack) in levels.bounds.iter_mut().zip(slack) {
                    bounds.slack[chunk][lane] = if bounds.has[chunk][lane] > 0.0 { slack } else { 1.0 };
                }
            }
        }
    }

    /// Multipliers with products of `target`; the number of them.
    fn price(&mut self, target: f64) -> f64 {
        let mut count = 0.0;
        for bounds in &mut self.levels.bounds {
            for (chunk, slack) in bounds.price.iter_mut().zip(bounds.slack.iter()).enumerate().map(|(i, p)| (i, p)).map(|(_, p)| p) {
                for lane in 0..LANES {
                    chunk[lane] = target / slack[lane];
                }
            }
            for (price, has) in bounds.price.as_flattened_mut().iter_mut().zip(bounds.has.as_flattened()) {
                *price *= has;
                count += has;
            }
        }
        count
    }

    /// `G(s) − h S`; one where there is no entropy floor.
    #[inline(always)]
    fn over_entropy<L: Lanes>(&self) -> f64 {
        if self.entropy_min <= 0.0 {
            return 1.0;
        }
        let spare = self.reduced.entropy_max - self.reduced.entropy_min;
        if spare < 1e-3 * self.reduced.entropy_max {
            return self.over_entropy_near_flattest(spare);
        }
        let levels = &self.levels;
        let total = self.sum::<L>();
        let inverse = L::splat(1.0 / total);
        let mut sum = L::zero();
        for index in 0..levels.size.len() {
            let size = L::load(&levels.size[index]);
            let log = size.mul(inverse).max(L::splat(1e-300)).ln();
            sum = size.mul(L::load(&levels.one[index])).mul_add(log, sum);
        }
        -sum.sum() - self.entropy_min * total
    }

    /// The same, without the cancellation that closeness to the flattest shares brings.
    fn over_entropy_near_flattest(&self, spare: f64) -> f64 {
        let total: f64 = self.levels.size.as_flattened()[..self.count].iter().sum();
        let mut deficit = 0.0;
        for (size, &flat) in self.levels.size.as_flattened().iter().zip(&self.reduced.flattest) {
            if flat > 0.0 {
                let off = size / total / flat - 1.0;
                deficit += flat * kl_term(off) + flat * off * (flat / self.reduced.level).ln();
            }
        }
        total * (spare - deficit)
    }

    #[inline(always)]
    fn sum<L: Lanes>(&self) -> f64 {
        let mut total = L::zero();
        for (size, one) in self.levels.size.iter().zip(self.levels.one.iter()) {
            total = L::load(size).mul_add(L::load(one), total);
        }
        total.sum()
    }

    /// Value's slope and curvature at the present sizes.
    #[inline(always)]
    fn slopes<L: Lanes>(&mut self) {
        if self.reduced.ray && !matches!(self.side.saturation, Saturation::None) {
            return self.slopes_on_ray();
        }
        let levels = &mut self.levels;
        for index in 0..levels.size.len() {
            let (size, risk) = (L::load(&levels.size[index]), L::load(&levels.risk[index]));
            let (utility, bend) = (L::load(&levels.utility[index]), L::load(&levels.bend[index]));
            let (slope, bow) = match self.side.saturation {
                Saturation::None => (utility, L::zero()),
                Saturation::Exponential(_) => {
                    let left = L::zero().sub(size.mul(bend)).max(L::splat(-EXPONENT_MAX)).exp();
                    let slope = utility.mul(left);
                    (slope, slope.mul(bend))
                }
                Saturation::Log(_) => {
                    let left = L::splat(1.0).div(size.mul_add(bend, L::splat(1.0)));
                    let slope = utility.mul(left);
                    (slope, slope.mul(left).mul(bend))
                }
            };
            slope.sub(risk.mul(size)).store(&mut levels.slope[index]);
            bow.add(risk).store(&mut levels.bow[index]);
        }
    }

    /// The same for a saturating value along a ray, where one size stands for all levels.
    fn slopes_on_ray(&mut self) {
        let size = self.levels.size[0][0];
        let (mut slope, mut bow) = (0.0, 0.0);
        for (&index, &share) in self.reduced.keep.iter().zip(&self.reduced.flattest) {
            let index = index as usize;
            let utility = self.side.utility[index];
            let bend = self.side.saturation.inverse_scale(utility, index);
            let (first, second) = self.side.saturation.derivatives(utility, bend, size * self.unit * share);
            slope += share * first;
            bow -= share * share * second;
        }
        let risk = self.levels.risk[0][0];
        self.levels.slope[0][0] = slope * self.per_value - risk * size;
        self.levels.bow[0][0] = bow * self.per_value * self.unit + risk;
    }

    /// Gradients, the inverse of the diagonal block and the leans; returns the curvature that the total has for itself.
    #[inline(always)]
    fn derive<L: Lanes>(&mut self, heat: f64, price: f64, nu: f64, least: f64) -> f64 {
        self.slopes::<L>();
        let inverse_total = L::splat(1.0 / self.total);
        let entropic = self.entropy_min > 0.0;
        let (heat, price, nu, normaliser) = (L::splat(heat), L::splat(price), L::splat(nu), L::splat(self.normaliser));
        let bounded = self.bounded;
        let levels = &mut self.levels;
        let mut own = L::zero();
        for index in 0..levels.size.len() {
            let one = L::load(&levels.one[index]);
            let size = L::load(&levels.size[index]);
            let (floor, cap) = (L::load(&levels.floor[index]), L::load(&levels.cap[index]));
            let mut gradient = L::load(&levels.slope[index]).sub(normaliser);
            gradient = gradient.sub(nu.mul(L::load(&levels.fill[index])));
            gradient = gradient.sub(price.mul(L::load(&levels.margin[index])));
            // A level is tied by springs to a share of the total: entropy to the present share, floor and cap to theirs, all
            // else to nothing.
            let share = size.mul(inverse_total);
            let mut entropy = L::zero();
            if entropic {
                let log = share.max(L::splat(1e-300)).ln().add(L::splat(1.0)).mul(one);
                log.store(&mut levels.log[index]);
                gradient = gradient.sub(heat.mul(log));
                entropy = heat.div(size);
            }
            let stiff_floor = L::load(&levels.bounds[0].price[index]).div(L::load(&levels.bounds[0].slack[index]));
            let stiff_cap = if bounded[1] {
                L::load(&levels.bounds[1].price[index]).div(L::load(&levels.bounds[1].slack[index]))
            } else {
                L::zero()
            };
            let mut free = L::load(&levels.bow[index]).add(L::splat(least));
            if bounded[2] {
                free = free.add(L::load(&levels.bounds[2].price[index]).div(L::load(&levels.bounds[2].slack[index])));
            }
            let diagonal = entropy.add(stiff_floor).add(stiff_cap).add(free);
            // Padding: its diagonal is positive and its weight zero.
            let inverse = one.div(diagonal);
            inverse.store(&mut levels.inverse[index]);
            let lean = entropy.mul(share).add(stiff_floor.mul(floor)).add(stiff_cap.mul(cap)).mul(inverse);
            let above = entropy.mul(share.sub(floor)).add(stiff_cap.mul(cap.sub(floor))).sub(free.mul(floor)).mul(inverse);
            let below = entropy.mul(cap.sub(share)).add(stiff_floor.mul(cap.sub(floor))).add(free.mul(cap)).mul(inverse);
            lean.store(&mut levels.lean[index]);
            above.store(&mut levels.above[index]);
            below.store(&mut levels.below[index]);
            gradient.mul(one).store(&mut levels.gradient[index]);
            let off = share.sub(lean);
            let curve = entropy.mul(off).mul(off).add(free.mul(lean).mul(lean));
            let curve = curve.add(stiff_floor.mul(above).mul(above)).add(stiff_cap.mul(below).mul(below));
            own = curve.mul_add(one, own);
        }
        own.sum()
    }

    /// Moments of the three columns.
    #[inline(always)]
    fn moments<L: Lanes>(&self) -> Moments {
        let levels = &self.levels;
        let (mut weight, mut leans) = (L::zero(), L::zero());
        let mut first = [L::zero(); 3];
        for index in 0..levels.size.len() {
            let inverse = L::load(&levels.inverse[index]);
            weight = weight.add(inverse);
            leans = leans.add(L::load(&levels.lean[index]));
            let columns = levels.columns::<L>(index);
            for k in 0..3 {
                first[k] = columns[k].mul_add(inverse, first[k]);
            }
        }
        let weight = weight.sum();
        let mean = [first[0].sum() / weight, first[1].sum() / weight, first[2].sum() / weight];
        let means = splat_all::<L>(&mean);
        let (mut second, mut cross) = ([[L::zero(); 3]; 3], [L::zero(); 3]);
        for index in 0..levels.size.len() {
            let (inverse, lean) = (L::load(&levels.inverse[index]), L::load(&levels.lean[index]));
            let columns = levels.columns::<L>(index);
            for k in 0..3 {
                let centred = columns[k].sub(means[k]);
                cross[k] = centred.mul_add(lean, cross[k]);
                let weighted = centred.mul(inverse);
                for j in k..3 {
                    second[k][j] = weighted.mul_add(columns[j].sub(means[j]), second[k][j]);
                }
            }
        }
        let mut square = [[0.0; 3]; 3];
        for k in 0..3 {
            for j in k..3 {
                square[k][j] = second[k][j].sum();
                square[j][k] = square[k][j];
            }
        }
        let cross = [cross[0].sum(), cross[1].sum(), cross[2].sum()];
        Moments { weight, mean, square, cross, loose: 1.0 - leans.sum() }
    }

    /// The right-hand side of the levels; returns what they add to that of the total.
    #[inline(always)]
    fn right<L: Lanes>(&mut self, target: f64, bent: bool) -> f64 {
        let levels = &mut self.levels;
        let target = L::splat(target);
        let mut own = L::zero();
        for index in 0..levels.size.len() {
            let lean = L::load(&levels.lean[index]);
            let mut right = L::load(&levels.gradient[index]);
            own = right.mul_add(lean, own);
            if bent {
                let pulls = [
                    L::load(&levels.above[index]),
                    L::load(&levels.below[index]),
                    L::zero().sub(lean),
                ];
                for (kind, bounds) in levels.bounds.iter().enumerate() {
                    if self.bounded[kind] {
                        let has = L::load(&bounds.has[index]);
                        let pulled =
                            target.mul(has).sub(L::load(&bounds.bent[index])).div(L::load(&bounds.slack[index]));
                        right = if kind == 0 { right.add(pulled) } else { right.sub(pulled) };
                        own = pulled.mul_add(pulls[kind], own);
                    }
                }
            }
            right.store(&mut levels.right[index]);
        }
        own.sum()
    }

    /// The right-hand side against one, and against the centred columns.
    #[inline(always)]
    fn project<L: Lanes>(&self, moments: &Moments) -> (f64, [f64; 3]) {
        let levels = &self.levels;
        let means = splat_all::<L>(&moments.mean);
        let (mut sum, mut against) = (L::zero(), [L::zero(); 3]);
        for index in 0..levels.size.len() {
            let weighted = L::load(&levels.right[index]).mul(L::load(&levels.inverse[index]));
            sum = sum.add(weighted);
            let columns = levels.columns::<L>(index);
            for k in 0..3 {
                against[k] = columns[k].sub(means[k]).mul_add(weighted, against[k]);
            }
        }
        (sum.sum(), [against[0].sum(), against[1].sum(), against[2].sum()])
    }

    /// Steps of the sizes; returns the change of margin and of `Σ (ln p + 1) Δs`.
    #[inline(always)]
    fn spread<L: Lanes>(&mut self, moments: &Moments, x: [f64; 3], shift: f64, total: f64) -> (f64, f64) {
        let means = splat_all::<L>(&moments.mean);
        let x = splat_all::<L>(&x);
        let (shift, total) = (L::splat(shift), L::splat(total));
        let levels = &mut self.levels;
        let (mut margin, mut log) = (L::zero(), L::zero());
        for index in 0..levels.size.len() {
            let columns = levels.columns::<L>(index);
            let mut right = L::load(&levels.right[index]).sub(shift);
            for k in 0..3 {
                right = right.sub(columns[k].sub(means[k]).mul(x[k]));
            }
            let step = right.mul(L::load(&levels.inverse[index]));
            step.store(&mut levels.step[index]);
            let whole = total.mul_add(L::load(&levels.lean[index]), step);
            margin = whole.mul_add(columns[1], margin);
            log = whole.mul_add(columns[0], log);
        }
        (margin.sum(), log.sum())
    }

    #[inline(always)]
    fn probe<L: Lanes>(&mut self, total: f64, target: f64, corrected: bool, probe: &mut Probe) {
        let (total, target) = (L::splat(total), L::splat(target));
        let levels = &mut self.levels;
        let (mut primal, mut dual) = (L::zero(), L::zero());
        let mut sums = [L::zero(); 4];
        for index in 0..levels.size.len() {
            let step = L::load(&levels.step[index]);
            let whole = total.mul_add(L::load(&levels.lean[index]), step);
            let slack_steps = [
                total.mul_add(L::load(&levels.above[index]), step),
                total.mul(L::load(&levels.below[index])).sub(step),
                L::zero().sub(whole),
            ];
            for (kind, bounds) in levels.bounds.iter_mut().enumerate() {
                if !self.bounded[kind] {
                    continue;
                }
                let has = L::load(&bounds.has[index]);
                let (price, slack) = (L::load(&bounds.price[index]), L::load(&bounds.slack[index]));
                let slack_step = slack_steps[kind].mul(has);
                let bent = if corrected { L::load(&bounds.bent[index]) } else { L::zero() };
                let pulled = target.mul(has).sub(bent).sub(price.mul(slack_step)).div(slack);
                let price_step = pulled.sub(price);
                primal = primal.max(L::zero().sub(slack_step).div(slack));
                dual = dual.max(L::zero().sub(price_step).div(price.max(L::splat(1e-300))));
                sums[0] = price.mul_add(slack, sums[0]);
                sums[1] = price_step.mul_add(slack, sums[1]);
                sums[2] = slack_step.mul_add(price, sums[2]);
                sums[3] = slack_step.mul_add(price_step, sums[3]);
                if !corrected {
                    slack_step.mul(price_step).store(&mut bounds.bent[index]);
                }
            }
        }
        probe.primal = probe.primal.max(primal.largest());
        probe.dual = probe.dual.max(dual.largest());
        probe.product += sums[0].sum();
        probe.price_by_slack += sums[1].sum();
        probe.slack_by_price += sums[2].sum();
        probe.both += sums[3].sum();
    }

    #[inline(always)]
    fn take<L: Lanes>(&mut self, total: f64, target: f64, primal: f64, dual: f64) {
        let (total, target, primal, dual) = (L::splat(total), L::splat(target), L::splat(primal), L::splat(dual));
        let levels = &mut self.levels;
        for index in 0..levels.size.len() {
            let step = L::load(&levels.step[index]);
            let whole = total.mul_add(L::load(&levels.lean[index]), step);
            let slack_steps = [
                total.mul_add(L::load(&levels.above[index]), step),
                total.mul(L::load(&levels.below[index])).sub(step),
                L::zero().sub(whole),
            ];
            for (kind, bounds) in levels.bounds.iter_mut().enumerate() {
                if !self.bounded[kind] {
                    continue;
                }
                let has = L::load(&bounds.has[index]);
                let (price, slack) = (L::load(&bounds.price[index]), L::load(&bounds.slack[index]));
                let slack_step = slack_steps[kind].mul(has);
                let pulled =
                    target.mul(has).sub(L::load(&bounds.bent[index])).sub(price.mul(slack_step)).div(slack);
                let price_step = pulled.sub(price);
                price_step.mul_add(dual, price).store(&mut bounds.price[index]);
                slack_step.mul_add(primal, slack).store(&mut bounds.slack[index]);
            }
            whole.mul_add(primal, L::load(&levels.size[index])).store(&mut levels.size[index]);
        }
    }
}

#[inline(always)]
fn splat_all<L: Lanes>(values: &[f64; 3]) -> [L; 3] {
    [L::splat(values[0]), L::splat(values[1]), L::splat(values[2])]
}

impl Levels<'_> {
    /// The three columns of the small system: log, margin, fill.
    #[inline(always)]
    fn columns<L: Lanes>(&self, index: usize) -> [L; 3] {
        [
            L::load(&self.log[index]),
            L::load(&self.margin[index]),
            L::load(&self.fill[index]),
        ]
    }
}
