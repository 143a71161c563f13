//! Scaling, and a first point strictly inside every bound.

use super::levels::{Ladder, Store};
use super::{FLOOR, HEAT, Interior, MARGIN, Manner, ROOM, ROWS, Row, SHARE};
use crate::lanes::{LANES, Lanes};
use crate::sides::Sides;
use crate::sides::read::Reduced;

impl<'r, 'a> Interior<'r, 'a> {
    /// Scales the problem and takes a starting point strictly inside. `size` is what each side may be expected to reach.
    #[inline(always)]
    pub(in crate::sides) fn new<L: Lanes>(
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
            put(
                at,
                utility,
                side.margin[index],
                probability,
                probability * (1.0 - probability),
                bend,
                side.size_cap.at(index),
            );
        }
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
            // Limits may be far beyond the scale on which the answer is looked for.
            let mut most = (problem.side[x].size_max / ladder.unit).min(2.0);
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
}
