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

mod levels;
mod start;

use super::Multipliers;
use super::linear::{Dense, UNKNOWNS_MAX};
use crate::lanes::{LANES, Lanes};
use levels::{Ladder, Moments};

pub(super) use levels::Store;

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
/// Products of slack and multiplier this small, in units of value, are none; below the second they are only rounding.
const PRODUCT_SMALL: f64 = 1e-16;
const PRODUCT_TINY: f64 = 1e-24;
/// Iterations with small products after which the equations are as good as they get.
const SETTLED_MAX: u32 = 4;
/// What the equations, and the entropies their slacks, may miss at the end.
const OFF_SMALL: f64 = 1e-13;
const APART_SMALL: f64 = 1e-12;
/// Steps below this part of the whole do not move.
const STEP_SMALL: f64 = 1e-10;

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
}

impl Interior<'_, '_> {
    fn sides(&self) -> impl Iterator<Item = usize> + use<> {
        let present = [self.ladder[0].present, self.ladder[1].present];
        (0..2).filter(move |x| present[*x])
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
            if !mean.is_finite() {
                return;
            }
            if mean < PRODUCT_SMALL {
                settled += 1;
                let holds = self.off_value() < OFF_SMALL && self.apart() < APART_SMALL;
                if settled > SETTLED_MAX || mean < PRODUCT_TINY || holds {
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
            self.take::<L>(&step, target, primal, dual);
            if primal < STEP_SMALL && dual < STEP_SMALL {
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
                        for column in others
                            .iter()
                            .filter(|u| **u != ABSENT)
                            .map(|u| place[*u])
                            .filter(|column| *column != ABSENT)
                        {
                            dense.a[row][column] -= moments.square[k][j];
                        }
                    }
                    dense.a[row][total] += moments.cross[k] + moments.mean[k];
                    dense.a[total][row] += moments.cross[k] + moments.mean[k];
                }
            }
            dense.a[total][total] += own
                + moments.loose * moments.loose / moments.weight
                + self.row[ROOM + x].stiffness()
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
            right[place[TOTAL + x]] += total + moments[x].loose * (sum - drift[x]) / moments[x].weight;
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
            right[place[FIXED]] += self.sides().map(|x| self.share_of[0][x] * self.ladder[x].total).sum::<f64>();
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

    /// What the stationarity equations miss, in value: a bound's multiplier can take up what a level is off, at the price of
    /// the slack that is left.
    fn off_value(&self) -> f64 {
        let mut off = 0.0;
        for x in self.sides() {
            off += self.ladder[x].off_value();
            off += self.row[HEAT + x].price * (self.over_entropy[x] - self.row[HEAT + x].slack).abs();
        }
        off
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
