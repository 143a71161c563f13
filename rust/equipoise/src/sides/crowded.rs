//! The search where caps on single sizes are in force and values are linear.
//!
//! At prices of margin `μ` and inventory `ν`, temperature `T`, normaliser `n` and total `S`, a side's sizes follow level by level:
//!
//! ```text
//! s_i = clip( S exp((w_i − n)/T),  φ_i S,  min(κ_i S, C_i) ),      w = u − μ m ∓ ν λ
//! ```
//!
//! Which leaves a handful of equations in a handful of unknowns: per side `Σ s = S`, `G(s) = h S` and what one more unit of
//! total is worth (`n − T h + Σ p g` over shares at their own bounds, `g` what such a level would rather have), with the budgets
//! that are used up, the price of inventory, and the limits on totals that are in force. Newton's method solves them, the levels at
//! their bounds and the rows in force being guessed anew in every round. Near an answer the guesses stand and the method squares
//! its error; far from one nothing is promised: it gives up, and the interior point takes over. `T` and `n` are eliminated
//! by sums over the free levels, which leaves a symmetric system of two totals, one price of inventory and a price for each row in
//! force; of those more than six at once leave nothing to choose, and the search gives up.

use super::linear::{Dense, UNKNOWNS_MAX};
use super::quick::Prices;
use super::{Bound, Side, Sides};
use crate::lanes::{EXPONENT_MAX, LANES, Lanes};

const ROUNDS_MAX: u32 = 24;
/// Guesses of the rows in force within one round.
const GUESSES_MAX: u32 = 6;
/// Relative steps after which the next would be rounding: errors are squared from step to step.
const SETTLED: f64 = 3e-8;
/// Least part of the total on free levels, and least variance of their logarithms, that leave something to solve for.
const MASS_MIN: f64 = 1e-12;
const SPREAD_MIN: f64 = 1e-14;
/// Largest change of a total or a temperature in one round, as a factor.
const STEP_MAX: f64 = 4.0;

type Chunk = [f64; LANES];

/// The memory of one side; it grows and is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    chunks: Vec<Chunk>,
}

/// Rows of one side, padded with levels that cannot carry size.
struct Levels<'r> {
    utility: &'r mut [Chunk],
    /// Margin less a reference, which keeps digits where margins hardly differ.
    margin: &'r mut [Chunk],
    /// Fill probability with the sign of the side.
    fill: &'r mut [Chunk],
    floor: &'r mut [Chunk],
    cap: &'r mut [Chunk],
    limit: &'r mut [Chunk],
    size: &'r mut [Chunk],
    /// Multipliers of the caps on size.
    price: &'r mut [Chunk],
}

/// A side at a point of the search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) total: f64,
    pub(super) temperature: f64,
    pub(super) normaliser: f64,
}

/// What one side answers to first order.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// What one more unit of total is worth, and how much less the next one is.
    worth: f64,
    bend: f64,
    /// Margin and fills at the corrected point, what one more unit of total adds, and what prices take away.
    margin: f64,
    margin_slope: f64,
    fill: f64,
    fill_slope: f64,
    margin_margin: f64,
    margin_fill: f64,
    fill_fill: f64,
    /// Changes of temperature and normaliser: by themselves, with total, margin price, inventory price.
    heat: [f64; 4],
    shift: [f64; 4],
}

/// Sums over the levels of one side, with p shares of the total, l their logarithms, m margins less the reference, f fills, and
/// g what a level would rather have than its bound.
struct Sums {
    /// Over all levels: p times 1, l, m, f.
    all: [f64; 4],
    /// Over free levels: p times 1, l, m, f, ll, lm, lf, mm, mf, ff.
    free: [f64; 10],
    /// Over levels at their cap on size: p l.
    full: f64,
    /// Over levels at a bound of their share: p times 1, g, m, f.
    bound: [f64; 4],
}

/// A limit `a·S ≤ c` on the two totals.
#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    a: [f64; 2],
    c: f64,
}

/// Own limits of the totals, and share bounds.
const LIMITS: usize = 4;
/// Rows that may be in force: three budgets, then the limits.
const BUDGETS: usize = 3;
const ROWS: usize = BUDGETS + LIMITS;
/// Unknowns in order: totals, prices of budgets, price of inventory, multipliers of limits.
const MARGIN: usize = 2;
const NU: usize = MARGIN + BUDGETS;
const LIMIT: usize = NU + 1;
const ABSENT: usize = usize::MAX;

impl Store {
    fn rows(&mut self, levels: usize) -> Levels<'_> {
        const COUNT: usize = 8;
        let count = levels.div_ceil(LANES).max(1);
        self.chunks.clear();
        self.chunks.resize(count * COUNT, [0.0; LANES]);
        let (utility, rest) = self.chunks.split_at_mut(count);
        let (margin, rest) = rest.split_at_mut(count);
        let (fill, rest) = rest.split_at_mut(count);
        let (floor, rest) = rest.split_at_mut(count);
        let (cap, rest) = rest.split_at_mut(count);
        let (limit, rest) = rest.split_at_mut(count);
        let (size, price) = rest.split_at_mut(count);
        Levels { utility, margin, fill, floor, cap, limit, size, price }
    }
}

/// One side of the search.
struct Crowd<'r> {
    levels: Levels<'r>,
    entropy_min: f64,
    /// Reference of the margins.
    reference: f64,
    /// Some share has a floor or a cap of its own.
    boxed: bool,
    place: Place,
}

impl<'r> Crowd<'r> {
    #[inline(always)]
    fn new(side: &Side<'_>, x: usize, place: Place, store: &'r mut Store) -> Self {
        let levels = side.utility.len();
        let sign = if x == 0 { 1.0 } else { -1.0 };
        let reference = side.margin.first().copied().unwrap_or(0.0);
        let mut rows = store.rows(levels);
        if place.total > 0.0 {
            rows.read(side, sign, reference);
        }
        let boxed = !matches!((&side.share_floor, &side.share_cap), (Bound::Scalar(0.0), Bound::Scalar(1.0)));
        Self { levels: rows, entropy_min: side.entropy_min, reference, boxed, place }
    }

    /// Sizes and prices of their caps at the place and at these prices, into their rows, and sums over them.
    #[inline(always)]
    fn pass<L: Lanes>(&mut self, price: f64, nu: f64) -> Sums {
        let Place { total, temperature: heat, normaliser } = self.place;
        let (price_all, nu_all, n) = (L::splat(-price), L::splat(-nu), L::splat(normaliser + price * self.reference));
        let (rate, total_all, inverse) = (L::splat(1.0 / heat), L::splat(total), L::splat(1.0 / total));
        let (one, zero) = (L::splat(1.0), L::zero());
        let (mut all, mut free, mut full, mut bound) = ([zero; 4], [zero; 10], zero, [zero; 4]);
        for index in 0..self.levels.utility.len() {
            let (margin, fill) = (L::load(&self.levels.margin[index]), L::load(&self.levels.fill[index]));
            let weight = nu_all.mul_add(fill, price_all.mul_add(margin, L::load(&self.levels.utility[index])));
            let off = weight.sub(n);
            let x = off.mul(rate).max(L::splat(-EXPONENT_MAX)).min(L::splat(EXPONENT_MAX));
            let raw = x.exp();
            let limit = L::load(&self.levels.limit[index]).mul(inverse);
            let mut at = raw.min(limit);
            let is_full = at.if_equal(raw, zero, one);
            let mut is_bound = zero;
            if self.boxed {
                let own = at.max(L::load(&self.levels.floor[index])).min(L::load(&self.levels.cap[index]));
                is_bound = own.if_equal(at, zero, one);
                at = own;
            }
            let is_full = is_full.mul(one.sub(is_bound));
            let is_free = one.sub(is_full).sub(is_bound);
            // A level that is free has its exponent for a logarithm.
            let log = is_free.if_equal(one, x, at.max(L::splat(1e-300)).ln());
            at.mul(total_all).store(&mut self.levels.size[index]);
            let above = off.sub(L::splat(heat).mul(log));
            above.max(zero).mul(is_full).store(&mut self.levels.price[index]);
            let pl = at.mul(log);
            all = [all[0].add(at), all[1].add(pl), at.mul_add(margin, all[2]), at.mul_add(fill, all[3])];
            let p = at.mul(is_free);
            let (l_p, m_p, f_p) = (p.mul(log), p.mul(margin), p.mul(fill));
            free = [
                free[0].add(p),
                free[1].add(l_p),
                free[2].add(m_p),
                free[3].add(f_p),
                l_p.mul_add(log, free[4]),
                l_p.mul_add(margin, free[5]),
                l_p.mul_add(fill, free[6]),
                m_p.mul_add(margin, free[7]),
                m_p.mul_add(fill, free[8]),
                f_p.mul_add(fill, free[9]),
            ];
            full = pl.mul_add(is_full, full);
            if self.boxed {
                let p = at.mul(is_bound);
                bound = [
                    bound[0].add(p),
                    p.mul_add(above, bound[1]),
                    p.mul_add(margin, bound[2]),
                    p.mul_add(fill, bound[3]),
                ];
            }
        }
        Sums {
            all: [all[0].sum(), all[1].sum(), all[2].sum(), all[3].sum()],
            free: [
                free[0].sum(),
                free[1].sum(),
                free[2].sum(),
                free[3].sum(),
                free[4].sum(),
                free[5].sum(),
                free[6].sum(),
                free[7].sum(),
                free[8].sum(),
                free[9].sum(),
            ],
            full: full.sum(),
            bound: [bound[0].sum(), bound[1].sum(), bound[2].sum(), bound[3].sum()],
        }
    }

    /// What the side answers to first order; nothing where no level is free, or none but one.
    fn answer(&self, sums: &Sums) -> Option<Answer> {
        let Place { total, temperature: heat, normaliser } = self.place;
        let [p_all, pl_all, m_all, f_all] = sums.all;
        let [mass, l_free, m_free, f_free, ll, lm, lf, mm, mf, ff] = sums.free;
        let [p_bound, g_bound, m_bound, f_bound] = sums.bound;
        if mass.is_nan() || mass < MASS_MIN {
            return None;
        }
        let (l, m, f) = (l_free / mass, m_free / mass, f_free / mass);
        let (ll, lm, lf) = (ll - l * l_free, lm - l * m_free, lf - l * f_free);
        let (mm, mf, ff) = (mm - m * m_free, mf - m * f_free, ff - f * f_free);
        if ll <= SPREAD_MIN * mass {
            return None;
        }
        let (entropy, missing) = (-pl_all, 1.0 - p_all);
        // Weights of the free levels are p S/T; the common factor is taken out of every sum.
        let stiff = total / heat;
        let rest = 1.0 - mass - p_bound;
        let off_entropy = total * (entropy - self.entropy_min);
        let steep = sums.full + entropy - self.entropy_min - missing - l * rest;
        let off = off_entropy - total * missing * (1.0 + l);
        let inverse_ll = 1.0 / (stiff * ll);
        let weight = stiff * mass;
        // Margins are counted from their reference; what the total itself adds is put back here.
        let reference = self.reference;
        let margin_slope = m_free + m_bound + m * rest + stiff * lm * steep * inverse_ll;
        let fill_slope = f_free + f_bound + f * rest + stiff * lf * steep * inverse_ll;
        let worth = normaliser - heat * self.entropy_min + g_bound
            - (1.0 - p_bound) * total * missing / weight
            - steep * off * inverse_ll;
        Some(Answer {
            worth,
            bend: (1.0 - p_bound) * rest / weight + steep * steep * inverse_ll,
            margin: total * (m_all + m * missing)
                + stiff * lm * off * inverse_ll
                + reference * total * (p_all + missing),
            margin_slope: margin_slope + reference,
            fill: total * (f_all + f * missing) + stiff * lf * off * inverse_ll,
            fill_slope,
            margin_margin: stiff * (mm - lm * lm / ll),
            margin_fill: stiff * (mf - lm * lf / ll),
            fill_fill: stiff * (ff - lf * lf / ll),
            heat: [-off * inverse_ll, -steep * inverse_ll, -lm / ll, -lf / ll],
            shift: [
                l * off * inverse_ll - total * missing / weight,
                l * steep * inverse_ll - rest / weight,
                -m + l * lm / ll - reference,
                -f + l * lf / ll,
            ],
        })
    }
}

impl Levels<'_> {
    #[inline(always)]
    fn read(&mut self, side: &Side<'_>, sign: f64, reference: f64) {
        copy(side.utility, self.utility, |u| u);
        copy(side.margin, self.margin, |m| m - reference);
        spread(&side.fill_probability, side.utility.len(), self.fill, |f| sign * f);
        spread(&side.share_floor, side.utility.len(), self.floor, |floor| floor);
        spread(&side.share_cap, side.utility.len(), self.cap, |cap| cap);
        spread(&side.size_cap, side.utility.len(), self.limit, |cap| cap.min(1e300));
    }
}

#[inline(always)]
fn copy(from: &[f64], to: &mut [Chunk], map: impl Fn(f64) -> f64) {
    for (to, from) in to.as_flattened_mut().iter_mut().zip(from) {
        *to = map(*from);
    }
}

#[inline(always)]
fn spread(bound: &Bound<'_>, levels: usize, to: &mut [Chunk], map: impl Fn(f64) -> f64) {
    match bound {
        Bound::Scalar(value) => to.as_flattened_mut()[..levels].fill(map(*value)),
        Bound::Each(values) => copy(values, to, map),
    }
}

/// The whole search.
pub(super) struct Crowded<'r> {
    side: [Crowd<'r>; 2],
    budget: [f64; BUDGETS],
    limit: [Limit; LIMITS],
    eta: f64,
    position: f64,
    pub(super) prices: Prices,
    in_force: [bool; ROWS],
    pub(super) rounds: u32,
}

impl<'r> Crowded<'r> {
    /// Reads the problem; `place` says where each side starts, a total of zero leaves it out.
    #[inline(always)]
    pub(super) fn new(problem: &Sides<'_>, place: [Place; 2], prices: Prices, stores: &'r mut [Store; 2]) -> Self {
        let [first, second] = stores;
        let (eta, position) = problem.inventory.map_or((0.0, 0.0), |i| (i.price_of_risk, i.position));
        let mut limit = [Limit { a: [0.0; 2], c: f64::INFINITY }; LIMITS];
        for x in 0..2 {
            limit[x].a[x] = 1.0;
            limit[x].c = problem.side[x].size_max;
        }
        if let Some([lo, hi]) = problem.bid_share {
            limit[2] = Limit { a: [lo - 1.0, lo], c: 0.0 };
            limit[3] = Limit { a: [1.0 - hi, -hi], c: 0.0 };
        }
        let mut search = Self {
            side: [Crowd::new(&problem.side[0], 0, place[0], first), Crowd::new(&problem.side[1], 1, place[1], second)],
            budget: [problem.budget.side[0], problem.budget.side[1], problem.budget.total],
            limit,
            eta,
            position,
            prices,
            in_force: [false; ROWS],
            rounds: 0,
        };
        for (k, price) in prices.margin.iter().enumerate() {
            search.in_force[k] = *price > 0.0;
        }
        let totals = [place[0].total, place[1].total];
        for (k, limit) in search.limit.iter().enumerate() {
            search.in_force[BUDGETS + k] = limit.c.is_finite() && limit.over(totals) >= -1e-9 * (totals[0] + totals[1]);
        }
        search
    }

    /// Searches until a step is too small to matter; false where there is nothing to be had.
    #[inline(always)]
    pub(super) fn run<L: Lanes>(&mut self) -> bool {
        let mut settled = false;
        for _ in 0..ROUNDS_MAX {
            self.rounds += 1;
            let mut answer = [Answer::default(); 2];
            for x in 0..2 {
                if self.side[x].place.total > 0.0 {
                    let price = self.prices.margin[x] + self.prices.margin[2];
                    let sums = self.side[x].pass::<L>(price, self.prices.inventory);
                    match self.side[x].answer(&sums) {
                        Some(found) => answer[x] = found,
                        None => return false,
                    }
                }
            }
            if settled {
                return true;
            }
            match self.step(&answer) {
                Some(largest) => settled = largest <= SETTLED,
                None => return false,
            }
        }
        false
    }

    /// One step of Newton's method; its relative size, or nothing where there is none.
    fn step(&mut self, answer: &[Answer; 2]) -> Option<f64> {
        let mut solution = self.solve(answer)?;
        for _ in 1..GUESSES_MAX {
            if !self.guess(answer, &solution) {
                break;
            }
            solution = self.solve(answer)?;
        }
        let old = [0, 1].map(|x| self.prices.margin[x] + self.prices.margin[2]);
        let new = [0, 1].map(|x| solution.margin[x] + solution.margin[2]);
        let nu = solution.inventory - self.prices.inventory;
        let mut moves = [[0.0; 3]; 2];
        let (mut largest, mut length) = (0.0_f64, 1.0_f64);
        for x in 0..2 {
            let place = self.side[x].place;
            if place.total <= 0.0 {
                continue;
            }
            let along = [1.0, solution.total[x], new[x] - old[x], nu];
            let dot = |row: &[f64; 4]| row.iter().zip(along).map(|(a, b)| a * b).sum::<f64>();
            moves[x] = [solution.total[x], dot(&answer[x].heat), dot(&answer[x].shift)];
            for (change, from) in [(moves[x][0], place.total), (moves[x][1], place.temperature)] {
                let part = change / from;
                if part.is_nan() {
                    return None;
                }
                length = length.min((STEP_MAX - 1.0) / part.max(0.0)).min((1.0 - 1.0 / STEP_MAX) / (-part).max(0.0));
                largest = largest.max(part.abs());
            }
            largest = largest.max((moves[x][2] / place.temperature).abs());
        }
        for x in 0..2 {
            let place = &mut self.side[x].place;
            place.total += length * moves[x][0];
            place.temperature += length * moves[x][1];
            place.normaliser += length * moves[x][2];
        }
        for (price, to) in self.prices.margin.iter_mut().zip(solution.margin) {
            *price += length * (to - *price);
        }
        self.prices.inventory += length * nu;
        Some(largest)
    }

    /// Newton's equations with the rows in force; nothing where they are more than there are things to choose.
    fn solve(&self, answer: &[Answer; 2]) -> Option<Solution> {
        let mut place = [ABSENT; 2 + BUDGETS + 1 + LIMITS];
        let mut size = 0;
        let mut put = |at: usize, present: bool| {
            if present {
                place[at] = size;
                size += 1;
            }
        };
        for x in 0..2 {
            put(x, self.side[x].place.total > 0.0);
        }
        put(NU, self.eta > 0.0);
        for k in 0..BUDGETS {
            put(MARGIN + k, self.in_force[k]);
        }
        for k in 0..LIMITS {
            put(LIMIT + k, self.in_force[BUDGETS + k]);
        }
        if size > UNKNOWNS_MAX {
            return None;
        }
        let mut dense = Dense::new(size);
        let mut right = [0.0; UNKNOWNS_MAX];
        let mut add = |row: usize, column: usize, value: f64| {
            let (row, column) = (place[row], place[column]);
            if row != ABSENT && column != ABSENT {
                dense.a[row][column] += value;
                if row != column {
                    dense.a[column][row] += value;
                }
            }
        };
        for x in 0..2 {
            let a = &answer[x];
            add(x, x, -a.bend);
            add(x, NU, -a.fill_slope);
            add(NU, NU, a.fill_fill);
            for k in [x, 2] {
                add(x, MARGIN + k, -a.margin_slope);
                add(MARGIN + k, MARGIN + k, a.margin_margin);
                add(MARGIN + k, NU, a.margin_fill);
            }
            add(MARGIN + x, MARGIN + 2, a.margin_margin);
            for k in 0..LIMITS {
                add(x, LIMIT + k, -self.limit[k].a[x]);
            }
        }
        if self.eta > 0.0 {
            add(NU, NU, 1.0 / self.eta);
        }
        let mut set = |row: usize, value: f64| {
            if place[row] != ABSENT {
                right[place[row]] += value;
            }
        };
        let nu = self.prices.inventory;
        for x in 0..2 {
            let a = &answer[x];
            let price = self.prices.margin[x] + self.prices.margin[2];
            set(x, -a.worth - a.margin_slope * price - a.fill_slope * nu);
            for k in [x, 2] {
                set(MARGIN + k, a.margin + a.margin_margin * price + a.margin_fill * nu);
            }
            set(NU, a.fill + a.margin_fill * price + a.fill_fill * nu);
        }
        for k in 0..BUDGETS {
            set(MARGIN + k, -self.budget[k]);
        }
        set(NU, self.position);
        for k in 0..LIMITS {
            set(LIMIT + k, self.limit[k].over([self.side[0].place.total, self.side[1].place.total]));
        }
        dense.factorise();
        dense.solve(&mut right);
        let at = |unknown: usize| if place[unknown] == ABSENT { 0.0 } else { right[place[unknown]] };
        Some(Solution {
            total: [at(0), at(1)],
            margin: [at(MARGIN), at(MARGIN + 1), at(MARGIN + 2)],
            inventory: at(NU),
            limit: [at(LIMIT), at(LIMIT + 1), at(LIMIT + 2), at(LIMIT + 3)],
        })
    }

    /// Guesses the rows in force anew: those whose price is negative are not, those that are missed are. False where the
    /// guess stands.
    fn guess(&mut self, answer: &[Answer; 2], solution: &Solution) -> bool {
        let mut changed = false;
        let totals = [0, 1].map(|x| self.side[x].place.total + solution.total[x]);
        let used = [0, 1].map(|x| {
            let a = &answer[x];
            let price = solution.margin[x] + solution.margin[2] - self.prices.margin[x] - self.prices.margin[2];
            a.margin + a.margin_slope * solution.total[x]
                - a.margin_margin * price
                - a.margin_fill * (solution.inventory - self.prices.inventory)
        });
        let used = [used[0], used[1], used[0] + used[1]];
        for k in 0..ROWS {
            let keep = if k < BUDGETS {
                if self.in_force[k] { solution.margin[k] >= 0.0 } else { used[k] > self.budget[k] * (1.0 + 1e-12) }
            } else {
                let limit = &self.limit[k - BUDGETS];
                if self.in_force[k] {
                    solution.limit[k - BUDGETS] >= 0.0
                } else {
                    limit.c.is_finite() && limit.over(totals) > 1e-12 * (totals[0].abs() + totals[1].abs())
                }
            };
            changed |= keep != self.in_force[k];
            self.in_force[k] = keep;
        }
        changed
    }

    /// Where both sides are.
    pub(super) fn places(&self) -> [Place; 2] {
        [self.side[0].place, self.side[1].place]
    }

    /// Sizes of one side, and multipliers of the caps on them.
    pub(super) fn publish(&self, x: usize, sizes: &mut [f64], prices: &mut Vec<f64>) {
        let levels = &self.side[x].levels;
        prices.clear();
        prices.extend_from_slice(&levels.price.as_flattened()[..sizes.len()]);
        sizes.copy_from_slice(&levels.size.as_flattened()[..sizes.len()]);
    }
}

/// Steps of the totals, and prices and multipliers at their end.
struct Solution {
    total: [f64; 2],
    margin: [f64; BUDGETS],
    inventory: f64,
    limit: [f64; LIMITS],
}

impl Limit {
    /// By how much totals exceed the limit.
    fn over(&self, totals: [f64; 2]) -> f64 {
        self.a[0] * totals[0] + self.a[1] * totals[1] - self.c
    }
}
