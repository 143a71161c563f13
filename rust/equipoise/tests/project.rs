//! The projection against every ladder there is, and against what it promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod enumerate;

use enumerate::Random;
use equipoise::margin::ChargeRate;
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable, ProjectInput, Projector, Target};

/// A side with arrays of its own.
#[derive(Clone, Debug)]
struct Case {
    price_ticks: Vec<i64>,
    utility: Vec<f64>,
    charge: Vec<ChargeRate>,
    lots_min: Vec<i64>,
    lots_cap: Vec<i64>,
    lots_total_max: i64,
    budget: i64,
    entropy_min: f64,
    share_floor: f64,
    share_cap: f64,
    breadth: Breadth,
}

impl Case {
    fn input(&self) -> ProjectInput<'_> {
        ProjectInput {
            price_ticks: &self.price_ticks,
            utility: &self.utility,
            charge: &self.charge,
            lots_min: &self.lots_min,
            lots_cap: &self.lots_cap,
            lots_total_max: self.lots_total_max,
            budget: self.budget,
            entropy_min: self.entropy_min,
            share_floor: self.share_floor,
            share_cap: self.share_cap,
            target: Target::Entropy,
            breadth: self.breadth,
            on_infeasible: OnInfeasible::Refuse,
            on_unprofitable: OnUnprofitable::Empty,
        }
    }

    /// At most four levels and 22 lots, prices a few ticks apart, with whatever else may bind.
    fn small(random: &mut Random, breadth: Breadth) -> Self {
        let levels = random.between(1, 4) as usize;
        let price = random.between(2_000, 40_000);
        let price_ticks: Vec<i64> = (0..levels)
            .scan(price, |p, _| {
                *p -= random.between(1, 60);
                Some(*p)
            })
            .collect();
        let leverage = i128::from(random.between(1, 20));
        let charge: Vec<ChargeRate> =
            price_ticks.iter().map(|&ticks| ChargeRate { num: i128::from(ticks) * 10_000, den: leverage }).collect();
        let lots = random.between(1, 22);
        let most = if random.unit() < 0.5 { 1 } else { 4 };
        let lots_min: Vec<i64> = (0..levels).map(|_| random.between(1, most)).collect();
        let capped = random.unit() < 0.3;
        let lots_cap = (0..levels).map(|_| if capped { random.between(0, 12) } else { 22 }).collect();
        let toxic = if random.unit() < 0.3 { 0.4 } else { 0.0 };
        let utility = (0..levels).map(|_| random.unit() - toxic).collect();
        let budget = (charge[0].num as f64 / leverage as f64 * (lots as f64 + random.unit())) as i64;
        let by_total = random.unit() < 0.3;
        Self {
            entropy_min: random.unit() * 1.02 * (levels as f64).ln(),
            price_ticks,
            utility,
            charge,
            lots_min,
            lots_cap,
            lots_total_max: if by_total { lots } else { 22 },
            budget: if by_total { i64::MAX / 4 } else { budget },
            share_floor: 0.0,
            share_cap: 1.0,
            breadth,
        }
    }
}

/// Losses against the best ladder over a thousand small sides, relative to it, ascending.
fn losses(seed: u64, breadth: Breadth) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut projector = Projector::new();
    let mut losses = Vec::new();
    while losses.len() < 1_000 {
        let case = Case::small(&mut random, breadth);
        let input = case.input();
        let got = projector.project(&input).unwrap();
        let best = enumerate::best(&input, 0);
        let Some(mut best) = best.filter(|best| best.objective > 1e-9) else {
            assert_eq!(got.certificate.lots, 0, "nothing of value was there: {case:?}");
            continue;
        };
        if breadth == Breadth::Widest {
            best = enumerate::best(&input, got.lots.iter().filter(|n| **n > 0).count()).unwrap_or(best);
        }
        assert!(enumerate::feasible(&input, &got.lots, case.entropy_min), "{case:?} {:?} best {best:?}", got.lots);
        losses.push((best.objective - got.certificate.objective) / best.objective);
    }
    losses.sort_by(f64::total_cmp);
    losses
}

#[test]
fn small_ladders_lose_little_against_every_ladder_there_is() {
    for breadth in [Breadth::Best, Breadth::Widest] {
        let losses = losses(7, breadth);
        assert_eq!(losses[500], 0.0, "{breadth:?}: median");
        assert!(losses[950] <= 0.02, "{breadth:?}: 95th percentile {}", losses[950]);
    }
}
