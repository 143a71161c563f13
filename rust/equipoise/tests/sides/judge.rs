//! Objective, violation and dual bound of ladders, straight from the statement of the problem.

use crate::case::{Case, Curve, Ladder, Solved};
use equipoise::sides::{Multipliers, certify};

/// A sum that carries its rounding errors along, and the sum of the absolute terms.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    lost: f64,
    mass: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        let next = self.value + term;
        self.lost +=
            if self.value.abs() >= term.abs() { (self.value - next) + term } else { (term - next) + self.value };
        self.value = next;
        self.mass += term.abs();
    }

    fn get(&self) -> f64 {
        if self.value.is_finite() { self.value + self.lost } else { self.value }
    }
}

fn total(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    terms.for_each(|term| sum.add(term));
    sum.get()
}

/// `Σ m s` and the like.
pub(crate) fn dot(left: &[f64], right: &[f64]) -> f64 {
    total(left.iter().zip(right).map(|(a, b)| a * b))
}

/// What a level of this size is worth, and the slope of that.
fn worth(side: &Ladder, index: usize, size: f64) -> (f64, f64) {
    let utility = side.utility[index];
    let scale = side.scale[index];
    let linear = (utility * size, utility);
    if utility <= 0.0 {
        return linear;
    }
    match side.curve {
        Curve::Linear => linear,
        Curve::Exponential => (-utility * scale * (-size / scale).exp_m1(), utility * (-size / scale).exp()),
        Curve::Log => (utility * scale * (size / scale).ln_1p(), utility / (1.0 + size / scale)),
    }
}

/// Fills that a pair of ladders is expected to bring, bids less asks.
pub(crate) fn net_fills(case: &Case, size: [&[f64]; 2]) -> f64 {
    let signs = [1.0, -1.0];
    let terms = (0..2).flat_map(|x| (0..size[x].len()).map(move |i| (x, i)));
    total(terms.map(|(x, i)| signs[x] * case.side[x].fill[i] * size[x][i]))
}

/// The objective, and the sum of the absolute values of its terms: its rounding error is a small multiple of that.
pub(crate) fn objective(case: &Case, size: [&[f64]; 2]) -> (f64, f64) {
    let eta = case.eta();
    let mut sum = Sum::default();
    for (side, size) in case.side.iter().zip(size) {
        for (i, &one) in size.iter().enumerate() {
            sum.add(worth(side, i, one).0);
            if case.varied() {
                sum.add(-0.5 * eta * side.fill[i] * (1.0 - side.fill[i]) * one * one);
            }
        }
    }
    if eta > 0.0 {
        let expected = case.position() + net_fills(case, size);
        let reach = case.position().abs() + (0..2).map(|x| dot(&case.side[x].fill, size[x])).sum::<f64>();
        sum.add(-0.5 * (eta * expected * expected));
        // The square magnifies what the terms of the expected position cancel.
        sum.mass += eta * expected.abs() * reach;
    }
    (sum.get(), sum.mass)
}

/// `max(|objective|, ½ η q², 1e-6 max|u| max Q)`.
pub(crate) fn scale(case: &Case, objective: f64) -> f64 {
    let utility = case.side.iter().flat_map(|side| &side.utility).fold(0.0_f64, |most, u| most.max(u.abs()));
    let size = case.side[0].size_max.max(case.side[1].size_max);
    objective.abs().max(0.5 * case.eta() * case.position() * case.position()).max(1e-6 * utility * size)
}

/// The largest value and the largest total in play, multiplied.
pub(crate) fn magnitude(case: &Case) -> f64 {
    let utility = case.side.iter().flat_map(|side| &side.utility).fold(0.0_f64, |most, u| most.max(u.abs()));
    utility * case.side[0].size_max.max(case.side[1].size_max)
}

/// Entropy of the shares of a side, nats.
pub(crate) fn entropy(size: &[f64]) -> f64 {
    let all = total(size.iter().copied());
    -total(size.iter().filter(|size| **size > 0.0).map(|size| (size / all) * (size / all).ln()))
}

fn over(amount: f64, limit: f64) -> f64 {
    match amount <= limit {
        true => 0.0,
        // Below the normal numbers there are no relative digits.
        false if limit > 0.0 => (amount - limit) / limit.max(f64::MIN_POSITIVE),
        false => f64::INFINITY,
    }
}

/// The largest violation of any constraint: budgets, totals and caps on size relative to their limit, shares relative to
/// the total, entropy in nats.
pub(crate) fn violation(case: &Case, size: [&[f64]; 2]) -> f64 {
    let mut found = vec![0.0];
    let mut used = [0.0; 2];
    let mut totals = [0.0; 2];
    for x in 0..2 {
        let side = &case.side[x];
        assert_eq!(size[x].len(), side.levels());
        if size[x].iter().any(|size| !size.is_finite() || *size < 0.0) {
            return f64::INFINITY;
        }
        used[x] = dot(&side.margin, size[x]);
        totals[x] = total(size[x].iter().copied());
        found.push(over(totals[x], side.size_max));
        found.push(over(used[x], case.budget.side[x].max(0.0)));
        if totals[x] == 0.0 {
            continue;
        }
        if side.entropy_min > 0.0 {
            found.push(side.entropy_min - entropy(size[x]));
        }
        for (i, &one) in size[x].iter().enumerate() {
            let share = one / totals[x];
            found.extend([side.floor[i] - share, share - side.cap[i], over(one, side.size_cap[i])]);
        }
    }
    found.push(over(used[0] + used[1], case.budget.total.max(0.0)));
    if let Some([lo, hi]) = case.share
        && totals[0] + totals[1] > 0.0
    {
        let part = totals[0] / (totals[0] + totals[1]);
        found.extend([lo - part, part - hi]);
    }
    found.into_iter().fold(0.0, |worst, one| if one.is_nan() { f64::NAN } else { worst.max(one) })
}

/// The shares of largest entropy within floors and caps, if any shares are.
pub(crate) fn flattest(side: &Ladder) -> Option<Vec<f64>> {
    let levels = side.levels();
    let cap = |i: usize| if side.size_cap[i] > 0.0 { side.cap[i] } else { 0.0 };
    let (floors, caps): (f64, f64) = (side.floor.iter().sum(), (0..levels).map(cap).sum());
    if levels == 0 || (0..levels).any(|i| side.floor[i] > cap(i)) || floors > 1.0 + 1e-13 || caps < 1.0 - 1e-13 {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let sum: f64 = (0..levels).map(|i| f64::max(middle, side.floor[i]).min(cap(i))).sum();
        if sum < 1.0 { low = middle } else { high = middle }
    }
    Some((0..levels).map(|i| f64::max(high, side.floor[i]).min(cap(i))).collect())
}

/// The shares closest to the largest entropy, as large as every limit of the side alone lets them be; empty sides where
/// even they are not feasible.
pub(crate) fn flat_ladder(case: &Case, x: usize) -> Vec<f64> {
    let side = &case.side[x];
    let nothing = vec![0.0; side.levels()];
    let Some(shares) = flattest(side) else { return nothing };
    if side.entropy_min > entropy(&shares) {
        return nothing;
    }
    let mut most = side.size_max;
    for (cap, share) in side.size_cap.iter().zip(&shares).filter(|(_, share)| **share > 0.0) {
        most = most.min(cap / share);
    }
    let charge = dot(&side.margin, &shares);
    let budget = case.budget.side[x].min(case.budget.total).max(0.0);
    if charge > 0.0 {
        most = most.min(budget / charge);
    } else if budget == 0.0 && side.margin.iter().any(|margin| *margin > 0.0) {
        // The charge has vanished in the product with the shares; there is no money for it all the same.
        return nothing;
    }
    shares.iter().map(|share| share * most * (1.0 - 1e-12)).collect()
}

/// An upper bound on the objective of every feasible pair of ladders, by weak duality from any multipliers, and how large
/// the terms are that it is a sum of. Concave values are linearised at `at`.
pub(crate) fn bound(case: &Case, at: [&[f64]; 2], multipliers: &Multipliers) -> (f64, f64) {
    let eta = case.eta();
    let nu = if eta > 0.0 { multipliers.inventory } else { 0.0 };
    let mut sum = Sum::default();
    if eta > 0.0 {
        sum.add(nu * (0.5 * (nu / eta)));
        sum.add(-nu * case.position());
    }
    let budgets = [case.budget.side[0], case.budget.side[1], case.budget.total];
    let price = |k: usize| if budgets[k] < f64::INFINITY { multipliers.margin[k] } else { 0.0 };
    (0..3).filter(|k| price(*k) > 0.0).for_each(|k| sum.add(price(k) * budgets[k].max(0.0)));
    let mut value = [0.0; 2];
    let mut most = [0.0; 2];
    let mut mass = 0.0_f64;
    for x in 0..2 {
        let side = &case.side[x];
        let sign = if x == 0 { 1.0 } else { -1.0 };
        let mut weights = Vec::new();
        for (i, &size) in at[x].iter().enumerate() {
            let (worth, mut slope) = worth(side, i, size);
            if side.curve != Curve::Linear {
                sum.add(worth - slope * size);
            }
            if case.varied() {
                let variance = eta * side.fill[i] * (1.0 - side.fill[i]) * size;
                sum.add(0.5 * variance * size);
                slope -= variance;
            }
            let cap = multipliers.level[x].get(i).copied().unwrap_or(0.0);
            let cap = if side.size_cap[i] < f64::INFINITY { cap } else { 0.0 };
            if cap > 0.0 {
                sum.add(cap * side.size_cap[i]);
            }
            weights.push(slope - cap - (price(x) + price(2)) * side.margin[i] - sign * nu * side.fill[i]);
        }
        most[x] = largest_total(case, x);
        if most[x] > 0.0 {
            value[x] = unit_value(side, &weights, multipliers.temperature[x]);
            let heavy = weights.iter().fold(0.0_f64, |most, weight| most.max(weight.abs()));
            mass += most[x] * (heavy + multipliers.temperature[x] * (1.0 + (side.levels() as f64).ln()));
        }
    }
    sum.add(corner(case, value, most));
    (sum.get(), sum.mass + mass)
}

/// A total that no feasible ladder of a side exceeds.
fn largest_total(case: &Case, x: usize) -> f64 {
    let side = &case.side[x];
    if flattest(side).is_none_or(|shares| side.entropy_min > entropy(&shares) + 1e-12) {
        return 0.0;
    }
    let cheapest = side.margin.iter().fold(f64::INFINITY, |least, one| least.min(*one));
    let mut most = side.size_max.min(side.size_cap.iter().sum());
    for (cap, floor) in side.size_cap.iter().zip(&side.floor).filter(|(_, floor)| **floor > 0.0) {
        most = most.min(cap / floor);
    }
    let budget = case.budget.side[x].min(case.budget.total).max(0.0);
    if cheapest > 0.0 { most.min(budget / cheapest) } else { most }
}

/// The best of the corners of the totals that limits and share bound leave.
fn corner(case: &Case, value: [f64; 2], most: [f64; 2]) -> f64 {
    let mut corners = vec![[0.0, 0.0], most];
    match case.share {
        None => corners.extend([[most[0], 0.0], [0.0, most[1]]]),
        Some(share) => {
            for part in share {
                let both = if part > 0.0 { most[0] / part } else { f64::INFINITY };
                let both = if part < 1.0 { both.min(most[1] / (1.0 - part)) } else { both };
                corners.push([part * both, (1.0 - part) * both]);
            }
            let both = most[0] + most[1];
            if most[0] < share[0] * both || most[0] > share[1] * both {
                corners.remove(1);
            }
        }
    }
    corners.into_iter().map(|[bid, ask]| value[0] * bid + value[1] * ask).fold(0.0, f64::max)
}

/// `max w·p + T (H(p) − h)` over shares within floors and caps, from above: bisection for the multiplier of `Σ p = 1`.
fn unit_value(side: &Ladder, weights: &[f64], heat: f64) -> f64 {
    let floor_of_entropy = side.entropy_min.max(0.0);
    if let Some(flat) = flattest(side)
        && floor_of_entropy > 0.0
        && floor_of_entropy >= entropy(&flat) - 1e-12
    {
        return dot(weights, &flat) / flat.iter().sum::<f64>();
    }
    let at = |n: f64| {
        let (mut value, mut slope) = (Sum::default(), 1.0);
        value.add(n);
        value.add(-heat * floor_of_entropy);
        for (i, weight) in weights.iter().enumerate() {
            let cap = if side.size_cap[i] > 0.0 { side.cap[i] } else { 0.0 };
            let wanted = if heat > 0.0 {
                ((weight - n) / heat - 1.0).exp()
            } else if *weight > n {
                f64::INFINITY
            } else {
                0.0
            };
            let p = wanted.min(cap).max(side.floor[i].min(cap));
            value.add((weight - n) * p);
            if p > 0.0 {
                value.add(-heat * p * p.ln());
            }
            slope -= p;
        }
        (value.get(), slope)
    };
    let least = weights.iter().fold(f64::INFINITY, |a, b| a.min(*b));
    let most = weights.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    // Floors that sum to almost one hold the normaliser far above the largest weight.
    let (mut low, mut high) = (least - heat, most + heat * ((weights.len() as f64).ln() + 60.0));
    let mut best = at(low).0.min(at(high).0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        let (value, slope) = at(middle);
        best = best.min(value);
        if slope > 0.0 { high = middle } else { low = middle }
    }
    if heat == 0.0 {
        best = weights.iter().fold(best, |best, corner| best.min(at(*corner).0));
    }
    best
}

/// What an answer was promised to be; the message says what is missing.
pub(crate) fn promise(case: &Case, solved: &Solved) -> Result<(), String> {
    let outcome = &solved.outcome;
    if let Err(error) = certify(&case.problem(), solved.sizes(), &solved.multipliers) {
        return Err(format!("sizes or multipliers refused: {error}"));
    }
    let (worth, mass) = objective(case, solved.sizes());
    let scale = scale(case, worth);
    let missed = violation(case, solved.sizes());
    let (bound, terms) = bound(case, solved.sizes(), &solved.multipliers);
    let rounding = 64.0 * f64::EPSILON * (mass + terms);
    let held = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!(
                "{what}: objective {worth:e} scale {scale:e} bound {bound:e} violation {missed:e}: {outcome:?}"
            ))
        }
    };
    held(missed <= 1e-10, "violation")?;
    held((missed - outcome.violation).abs() <= 1e-12, "violation as reported")?;
    held((worth - outcome.objective).abs() <= 64.0 * f64::EPSILON * mass, "objective as reported")?;
    held((scale - outcome.scale).abs() <= 1e-9 * scale, "scale as reported")?;
    held(outcome.gap >= 0.0 && outcome.gap <= 1e-8 * scale, "gap")?;
    held(outcome.gap == outcome.dual_bound - outcome.objective, "gap as reported")?;
    held((bound - worth).abs() <= 1e-8 * scale + rounding, "bound recomputed")?;
    held(bound <= outcome.dual_bound + 1e-9 * scale + rounding, "bound lower than its multipliers prove")
}
