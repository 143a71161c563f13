//! One side's rows and everything that runs over its levels.

use super::{Chunk, Probe};
use crate::entropy::water::kl_term;
use crate::lanes::{EXPONENT_MAX, LANES, Lanes};
use crate::sides::read::Reduced;
use crate::sides::{Saturation, Side, Sides};

/// The memory of one side; it grows and is kept.
#[derive(Clone, Debug, Default)]
pub(in crate::sides) struct Store {
    chunks: Vec<Chunk>,
}

/// Rows of one side. Padding has no weight: its column of ones is zero, its multipliers are zero.
pub(super) struct Levels<'r> {
    pub(super) utility: &'r mut [Chunk],
    pub(super) margin: &'r mut [Chunk],
    /// `ℓ`: plus or minus the fill probability.
    pub(super) fill: &'r mut [Chunk],
    pub(super) floor: &'r mut [Chunk],
    pub(super) cap: &'r mut [Chunk],
    /// `1/c` of the saturation.
    pub(super) bend: &'r mut [Chunk],
    /// `η v`.
    pub(super) risk: &'r mut [Chunk],
    pub(super) one: &'r mut [Chunk],
    pub(super) size: &'r mut [Chunk],
    /// `U'` and `−U'' + η v`.
    pub(super) slope: &'r mut [Chunk],
    pub(super) bow: &'r mut [Chunk],
    /// `ln(s/S) + 1`.
    pub(super) log: &'r mut [Chunk],
    /// `1/D`.
    pub(super) inverse: &'r mut [Chunk],
    /// Where the stiffness of a level centres it, as a share of the total, and how far that is above its floor and below
    /// its cap: differences that cancel where a bound is in force, so they are kept.
    pub(super) lean: &'r mut [Chunk],
    pub(super) above: &'r mut [Chunk],
    pub(super) below: &'r mut [Chunk],
    pub(super) gradient: &'r mut [Chunk],
    pub(super) right: &'r mut [Chunk],
    /// Step of the size beside its lean on the total.
    pub(super) step: &'r mut [Chunk],
    pub(super) bounds: [Bounds<'r>; 3],
}

/// One kind of inequality of every level: floors `s − φS`, caps `κS − s`, limits `C − s`.
pub(super) struct Bounds<'r> {
    /// One where the bound exists.
    pub(super) has: &'r mut [Chunk],
    pub(super) price: &'r mut [Chunk],
    pub(super) slack: &'r mut [Chunk],
    /// One over multiplier and slack: they are divided by many times in an iteration.
    pub(super) inverse_price: &'r mut [Chunk],
    pub(super) inverse_slack: &'r mut [Chunk],
    /// Second-order terms of the corrector.
    pub(super) bent: &'r mut [Chunk],
}

impl Store {
    fn levels(&mut self, levels: usize) -> Levels<'_> {
        const COUNT: usize = 19 + 3 * 6;
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
            bounds: std::array::from_fn(|_| Bounds {
                has: next(),
                price: next(),
                slack: next(),
                inverse_price: next(),
                inverse_slack: next(),
                bent: next(),
            }),
        }
    }
}

/// One side in scaled units.
pub(super) struct Ladder<'r, 'a> {
    pub(super) levels: Levels<'r>,
    pub(super) count: usize,
    pub(super) reduced: &'a Reduced,
    pub(super) side: Side<'a>,
    /// Units of value in one of the caller's, times the unit of size.
    pub(super) per_value: f64,
    pub(super) present: bool,
    /// Kinds of bounds that exist on some level.
    pub(super) bounded: [bool; 3],
    pub(super) entropy_min: f64,
    /// Units of size in the caller's unit.
    pub(super) unit: f64,
    pub(super) total: f64,
    pub(super) normaliser: f64,
}

/// Columns of one side that the small system sees (log, margin, fill), by their moments under the weights `1/D`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    pub(super) weight: f64,
    pub(super) mean: [f64; 3],
    /// `Σ c' c'/D` of centred columns.
    pub(super) square: [[f64; 3]; 3],
    /// `Σ c' r` of centred columns against the leans.
    pub(super) cross: [f64; 3],
    /// `1 − Σ r`.
    pub(super) loose: f64,
}

impl Reduced {
    /// Levels that the method sees.
    pub(super) fn rows(&self) -> usize {
        if self.ray { 1 } else { self.keep.len() }
    }

    /// Floor and cap of a share, kept apart by a hair where they meet.
    pub(super) fn open_box(&self, at: usize) -> (f64, f64) {
        let (floor, cap) = (self.floor[at], self.cap[at]);
        if cap - floor < 1e-11 { ((floor - 5e-12).max(0.0), cap + 5e-12) } else { (floor, cap) }
    }
}

impl<'r, 'a> Ladder<'r, 'a> {
    pub(super) fn new(
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
    pub(super) fn inside(&mut self) {
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
    pub(super) fn enlarge(&mut self, total: f64) {
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
    pub(super) fn price(&mut self, target: f64) -> f64 {
        let mut count = 0.0;
        for bounds in &mut self.levels.bounds {
            let slacks = bounds.slack.as_flattened().iter().zip(bounds.has.as_flattened());
            for (price, (slack, has)) in bounds.price.as_flattened_mut().iter_mut().zip(slacks) {
                *price = has * target / slack;
                count += has;
            }
        }
        count
    }

    /// `G(s) − h S`; one where there is no entropy floor.
    #[inline(always)]
    pub(super) fn over_entropy<L: Lanes>(&self) -> f64 {
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
    pub(super) fn over_entropy_near_flattest(&self, spare: f64) -> f64 {
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

    /// What the equations of the levels miss, in value.
    pub(super) fn off_value(&self) -> f64 {
        let levels = &self.levels;
        let mut sum = 0.0;
        for at in 0..self.count {
            let (chunk, lane) = (at / LANES, at % LANES);
            let [floor, cap, limit] = &levels.bounds;
            let off = levels.gradient[chunk][lane] + floor.price[chunk][lane]
                - cap.price[chunk][lane]
                - limit.price[chunk][lane];
            let mut least = f64::INFINITY;
            for bounds in &levels.bounds {
                if bounds.has[chunk][lane] > 0.0 {
                    least = least.min(bounds.slack[chunk][lane]);
                }
            }
            sum += off.abs() * least;
        }
        sum
    }

    #[inline(always)]
    pub(super) fn sum<L: Lanes>(&self) -> f64 {
        let mut total = L::zero();
        for (size, one) in self.levels.size.iter().zip(self.levels.one.iter()) {
            total = L::load(size).mul_add(L::load(one), total);
        }
        total.sum()
    }

    /// Value's slope and curvature at the present sizes.
    #[inline(always)]
    pub(super) fn slopes<L: Lanes>(&mut self) {
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
    pub(super) fn slopes_on_ray(&mut self) {
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
    pub(super) fn derive<L: Lanes>(&mut self, heat: f64, price: f64, nu: f64, least: f64) -> f64 {
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
            let mut stiff = [L::zero(); 3];
            for (kind, bounds) in levels.bounds.iter_mut().enumerate() {
                if bounded[kind] {
                    let price = L::load(&bounds.price[index]);
                    let inverse = L::splat(1.0).div(L::load(&bounds.slack[index]));
                    inverse.store(&mut bounds.inverse_slack[index]);
                    let inverse_price = L::splat(1.0).div(price.max(L::splat(1e-300)));
                    inverse_price.store(&mut bounds.inverse_price[index]);
                    stiff[kind] = price.mul(inverse);
                }
            }
            let [stiff_floor, stiff_cap, stiff_limit] = stiff;
            let free = L::load(&levels.bow[index]).add(L::splat(least)).add(stiff_limit);
            let diagonal = entropy.add(stiff_floor).add(stiff_cap).add(free);
            // Padding: its diagonal is positive and its weight zero.
            let inverse = one.div(diagonal);
            inverse.store(&mut levels.inverse[index]);
            let lean = entropy.mul(share).add(stiff_floor.mul(floor)).add(stiff_cap.mul(cap)).mul(inverse);
            let above =
                entropy.mul(share.sub(floor)).add(stiff_cap.mul(cap.sub(floor))).sub(free.mul(floor)).mul(inverse);
            let below =
                entropy.mul(cap.sub(share)).add(stiff_floor.mul(cap.sub(floor))).add(free.mul(cap)).mul(inverse);
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
    pub(super) fn moments<L: Lanes>(&self) -> Moments {
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
    pub(super) fn right<L: Lanes>(&mut self, target: f64, bent: bool) -> f64 {
        let levels = &mut self.levels;
        let target = L::splat(target);
        let mut own = L::zero();
        for index in 0..levels.size.len() {
            let lean = L::load(&levels.lean[index]);
            let mut right = L::load(&levels.gradient[index]);
            own = right.mul_add(lean, own);
            if bent {
                let pulls = [L::load(&levels.above[index]), L::load(&levels.below[index]), L::zero().sub(lean)];
                for (kind, bounds) in levels.bounds.iter().enumerate() {
                    if self.bounded[kind] {
                        let has = L::load(&bounds.has[index]);
                        let pulled = target
                            .mul(has)
                            .sub(L::load(&bounds.bent[index]))
                            .mul(L::load(&bounds.inverse_slack[index]));
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
    pub(super) fn project<L: Lanes>(&self, moments: &Moments) -> (f64, [f64; 3]) {
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
    pub(super) fn spread<L: Lanes>(&mut self, moments: &Moments, x: [f64; 3], shift: f64, total: f64) -> (f64, f64) {
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
    pub(super) fn probe<L: Lanes>(&mut self, total: f64, target: f64, corrected: bool, probe: &mut Probe) {
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
                let inverse = L::load(&bounds.inverse_slack[index]);
                let pulled = target.mul(has).sub(bent).sub(price.mul(slack_step)).mul(inverse);
                let price_step = pulled.sub(price);
                primal = primal.max(L::zero().sub(slack_step).mul(inverse));
                dual = dual.max(L::zero().sub(price_step).mul(L::load(&bounds.inverse_price[index])));
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
    pub(super) fn take<L: Lanes>(&mut self, total: f64, target: f64, primal: f64, dual: f64) {
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
                let pulled = target
                    .mul(has)
                    .sub(L::load(&bounds.bent[index]))
                    .sub(price.mul(slack_step))
                    .mul(L::load(&bounds.inverse_slack[index]));
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
    pub(super) fn columns<L: Lanes>(&self, index: usize) -> [L; 3] {
        [L::load(&self.log[index]), L::load(&self.margin[index]), L::load(&self.fill[index])]
    }
}
