//! The projection against every ladder there is, and against what it promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod enumerate;

use enumerate::Random;
use equipoise::margin::ChargeRate;
use equipoise::project::{
    Breadth, OnInfeasible, OnUnprofitable, ProjectInput, Projected, Projector, Relaxed, SideCertificate, Target,
};
use equipoise::status::{Binding, Reason};
use proptest::prelude::*;

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
    wish: Option<Vec<f64>>,
    on_infeasible: OnInfeasible,
    on_unprofitable: OnUnprofitable,
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
            target: self.wish.as_deref().map_or(Target::Entropy, Target::Given),
            breadth: self.breadth,
            on_infeasible: self.on_infeasible,
            on_unprofitable: self.on_unprofitable,
        }
    }

    /// Levels at `price` (in hundredths) and a cent apart, one hundredth of a contract a lot, no leverage, a smallest order
    /// of 10, the same utility everywhere.
    fn flat(levels: usize, price: i64, budget: f64) -> Self {
        let price_ticks: Vec<i64> = (0..levels as i64).map(|i| price + i).collect();
        Self {
            charge: vec![ChargeRate { num: i128::from(price) * 100, den: 1 }; levels],
            lots_min: vec![(100_000 + price - 1) / price; levels],
            lots_cap: vec![i64::MAX; levels],
            utility: vec![1.0; levels],
            price_ticks,
            lots_total_max: i64::MAX,
            budget: (budget * 1e6) as i64,
            entropy_min: 0.0,
            share_floor: 0.0,
            share_cap: 1.0,
            breadth: Breadth::Widest,
            wish: None,
            on_infeasible: OnInfeasible::Relax,
            on_unprofitable: OnUnprofitable::Empty,
        }
    }

    /// Levels of one lot that costs one micro-unit, with these utilities.
    fn plain(utility: &[f64], budget: i64, entropy_min: f64) -> Self {
        let levels = utility.len();
        Self {
            charge: vec![ChargeRate { num: 1, den: 1 }; levels],
            lots_min: vec![1; levels],
            utility: utility.to_vec(),
            budget,
            entropy_min,
            ..Self::flat(levels, 1_000, 0.0)
        }
    }

    fn project(&self) -> Projected {
        Projector::new().project(&self.input()).unwrap().clone()
    }

    fn certificate(&self) -> SideCertificate {
        self.project().certificate
    }

    fn lots(&self) -> Vec<i64> {
        self.project().lots
    }

    /// The levels in another order.
    fn permuted(&self, order: &[usize]) -> Self {
        fn pick<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
            order.iter().map(|&i| values[i]).collect()
        }
        Self {
            price_ticks: pick(&self.price_ticks, order),
            utility: pick(&self.utility, order),
            charge: pick(&self.charge, order),
            lots_min: pick(&self.lots_min, order),
            lots_cap: pick(&self.lots_cap, order),
            wish: self.wish.as_ref().map(|wish| pick(wish, order)),
            ..self.clone()
        }
    }

    /// Up to 25 levels of a market-like side, from a handful of lots to millions, with everything that may bind.
    fn any(random: &mut Random) -> Self {
        let levels = random.between(1, 25) as usize;
        let price = random.between(2_000, 40_000);
        let price_ticks: Vec<i64> = (0..levels)
            .scan(price, |p, _| {
                *p += random.between(1, 12);
                Some(*p)
            })
            .collect();
        let leverage = i128::from(random.between(1, 20));
        let charge: Vec<ChargeRate> =
            price_ticks.iter().map(|&ticks| ChargeRate { num: i128::from(ticks) * 100, den: leverage }).collect();
        let least = [1, random.between(1, 40)][usize::from(random.unit() < 0.5)];
        let lots = (random.unit() * 14.0).exp();
        let capped = random.unit() < 0.3;
        let cap = (3.0 * lots / levels as f64) as i64;
        let toxic = if random.unit() < 0.4 { 0.4 } else { 0.0 };
        let shares = random.unit() < 0.2;
        let each = 1.0 / levels as f64;
        Self {
            utility: (0..levels).map(|_| random.unit() - toxic).collect(),
            lots_min: (0..levels).map(|_| least + random.between(0, 1)).collect(),
            lots_cap: (0..levels).map(|_| if capped { random.between(0, cap) } else { i64::MAX }).collect(),
            lots_total_max: if random.unit() < 0.3 { lots as i64 } else { i64::MAX },
            budget: (charge[0].per_lot() * lots) as i64,
            entropy_min: (random.unit() * 1.1 - 0.05) * (levels as f64).ln(),
            share_floor: if shares { each * random.unit() } else { 0.0 },
            share_cap: if shares { each + (1.0 - each) * random.unit() } else { 1.0 },
            breadth: if random.unit() < 0.5 { Breadth::Best } else { Breadth::Widest },
            wish: (random.unit() < 0.25).then(|| (0..levels).map(|_| random.unit() * lots / levels as f64).collect()),
            on_infeasible: OnInfeasible::Relax,
            on_unprofitable: if random.unit() < 0.3 { OnUnprofitable::LeastBad } else { OnUnprofitable::Empty },
            price_ticks,
            charge,
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
            wish: None,
            on_infeasible: OnInfeasible::Refuse,
            on_unprofitable: OnUnprofitable::Empty,
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
            let wide = got.lots.iter().zip(&case.utility).filter(|(n, u)| **n > 0 && **u > 0.0).count();
            best = enumerate::best(&input, wide).unwrap_or(best);
        }
        assert!(enumerate::feasible(&input, &got.lots, case.entropy_min), "{case:?} {:?} best {best:?}", got.lots);
        losses.push((best.objective - got.certificate.objective) / best.objective);
    }
    losses.sort_by(f64::total_cmp);
    losses
}

#[test]
fn small_ladders_lose_little_against_every_ladder_there_is() {
    let losses = losses(7, Breadth::Best);
    assert_eq!(losses[500], 0.0, "median");
    assert!(losses[950] <= 0.02, "95th percentile {}", losses[950]);
    assert!(losses[999] <= 0.10, "worst {}", losses[999]);
}

#[test]
fn the_widest_small_ladders_lose_little_against_every_ladder_as_wide() {
    let losses = losses(7, Breadth::Widest);
    assert_eq!(losses[500], 0.0, "median");
    assert!(losses[950] <= 0.02, "95th percentile {}", losses[950]);
    assert!(losses[999] <= 0.10, "worst {}", losses[999]);
}

#[test]
fn large_accounts_lose_at_most_one_lot_a_level_against_the_bound() {
    let mut random = Random::new(11);
    let mut seen = 0;
    while seen < 300 {
        let mut case = Case::any(&mut random);
        case.wish = None;
        (case.share_floor, case.share_cap) = (0.0, 1.0);
        case.lots_cap.fill(i64::MAX);
        // Charges half a per cent apart over the ladder, as depths of 50 bps make them.
        for (i, rate) in case.charge.iter_mut().enumerate() {
            rate.num = 1_000_000 * (10_000 + 2 * i as i128);
        }
        case.budget = (case.charge[0].per_lot() * (6.0 + 6.0 * random.unit()).exp()) as i64;
        case.lots_total_max = i64::MAX;
        case.entropy_min = 0.98 * case.entropy_min.min((case.utility.len() as f64).ln());
        let most = case.utility.iter().copied().fold(0.0, f64::max);
        let certificate = case.certificate();
        // Smallest orders of levels not worth quoting are no rounding.
        if certificate.lots == 0 || case.project().lots.iter().zip(&case.lots_min).any(|(n, min)| n <= min) {
            continue;
        }
        seen += 1;
        let allowed = most * case.utility.len() as f64;
        assert!(certificate.regret <= allowed, "{} of {allowed}: {case:?} {certificate:?}", certificate.regret);
    }
}

#[test]
fn the_bound_covers_the_best_ladder_there_is() {
    let mut random = Random::new(3);
    for _ in 0..1_000 {
        let case = Case::small(&mut random, Breadth::Best);
        let certificate = case.certificate();
        if let Some(best) = enumerate::best(&case.input(), 0) {
            assert!(best.objective <= certificate.dual_bound + 1e-12, "{best:?} {certificate:?} {case:?}");
        }
    }
}

#[test]
fn two_hundred_of_capacity_place_twenty_orders_of_ten() {
    let placed = |price, capacity| Case::flat(40, price, capacity).lots().iter().filter(|lots| **lots > 0).count();
    assert_eq!(placed(1_000, 200.0), 20);
    assert_eq!(placed(2_711, 200.0), 19);
    assert_eq!(placed(1_000, 199.0), 19);
    assert_eq!(placed(1_000, 10.0), 1);
    for capacity in 10..=200 {
        assert_eq!(placed(1_000, f64::from(capacity)), capacity as usize / 10, "capacity {capacity}");
    }
    let none = Case::flat(40, 1_000, 9.0).project();
    assert_eq!((none.empty, none.certificate.binding), (Some(Reason::Notional), Binding::Notional));
    assert!(none.reasons.iter().all(|reason| *reason == Reason::Notional));
}

#[test]
fn small_accounts_stay_wide_whatever_the_levels_are_worth() {
    let mut case = Case::flat(40, 1_000, 200.0);
    case.utility = (0..40).map(|i| 1.0 / f64::from(i + 1)).collect();
    case.entropy_min = 1.5;
    let got = case.project();
    assert_eq!(got.lots[..20], [100; 20], "the twenty best");
    assert_eq!(got.certificate.relaxed, None);
    case.breadth = Breadth::Best;
    let got = case.project();
    assert!(got.certificate.entropy >= 1.5 && got.lots.iter().filter(|n| **n > 0).count() < 10, "{:?}", got.lots);
}

#[test]
fn a_lot_that_breaks_the_floor_stays_unused() {
    let h = 0.95 * 3_f64.ln();
    let case = Case::plain(&[3.0, 2.0, 1.0], 4, h);
    let got = case.project();
    assert_eq!(got.lots, [1, 1, 1]);
    assert_eq!((got.certificate.held, got.certificate.binding), (3, Binding::Entropy));
    assert_eq!(Case::plain(&[3.0, 2.0, 1.0], 5, h).lots(), [2, 2, 1], "two at once keep it");
}

#[test]
fn levels_alike_but_for_their_price_are_told_apart_by_it() {
    // Seven lots over three levels alike: the odd one goes to the lowest price, wherever it stands.
    let mut case = Case::plain(&[1.0; 3], 7, 0.9 * 3_f64.ln());
    for prices in [[30, 20, 10], [10, 30, 20], [20, 10, 30]] {
        case.price_ticks = prices.to_vec();
        let expected: Vec<i64> = prices.iter().map(|&price| if price == 10 { 3 } else { 2 }).collect();
        assert_eq!(case.lots(), expected, "prices {prices:?}");
    }
}

#[test]
fn an_unreachable_floor_is_relaxed_by_name_or_refused() {
    // Five levels asked for, three affordable: 0.9 ln 5 becomes 0.9 ln 3.
    let mut case = Case::flat(5, 1_000, 35.0);
    case.entropy_min = 0.9 * 5_f64.ln();
    let got = case.certificate();
    assert_eq!(got.relaxed, Some(Relaxed::Levels));
    assert!((got.entropy_min_used - 0.9 * 3_f64.ln()).abs() < 1e-15);
    assert!(got.ok && got.entropy >= got.entropy_min_used && got.entropy_min == case.entropy_min);
    case.on_infeasible = OnInfeasible::Refuse;
    let refused = case.project();
    assert_eq!((refused.empty, refused.certificate.binding), (Some(Reason::Entropy), Binding::Entropy));
    assert_eq!(refused.lots, [0; 5]);
}

#[test]
fn lots_too_coarse_for_the_floor_give_the_most_equal_ladder() {
    // Caps of 7 and 2: the evenest is (2, 2), and with a minimum of 3 on the first it is (3, 2).
    let mut case = Case::plain(&[5.0, 1.0], 100, 2_f64.ln());
    case.lots_min = vec![3, 1];
    case.lots_cap = vec![7, 2];
    let got = case.project();
    assert_eq!(got.lots, [3, 2]);
    assert_eq!(got.certificate.relaxed, Some(Relaxed::Lots));
    assert!((got.certificate.entropy_min_used - enumerate::entropy(&[3, 2])).abs() < 1e-15 && got.certificate.ok);
    // A floor above ln K is out of reach of any ladder.
    let mut case = Case::plain(&[5.0, 1.0, 2.0], 11, 2.0);
    let got = case.project();
    assert_eq!(got.lots, [3, 3, 3]);
    assert_eq!(got.certificate.relaxed, Some(Relaxed::Lots));
    case.on_infeasible = OnInfeasible::Refuse;
    assert_eq!(case.project().empty, Some(Reason::Entropy));
}

#[test]
fn a_side_without_value_is_empty_or_least_bad() {
    let mut case = Case::flat(3, 1_000, 100.0);
    case.utility = vec![-1.0, -2.0, 0.0];
    let got = case.project();
    assert_eq!((got.empty, got.certificate.binding), (Some(Reason::NoValue), Binding::NoValue));
    assert_eq!(got.lots, [0; 3]);
    case.on_unprofitable = OnUnprofitable::LeastBad;
    let got = case.project();
    assert_eq!((got.lots, got.empty), (vec![100; 3], None));
    // One good level, but the floor asks for so much of the bad one that nothing is left.
    let mut case = Case::plain(&[1.0, -3.0], 100, 0.99 * 2_f64.ln());
    assert_eq!(case.project().empty, Some(Reason::NoValue));
    case.entropy_min = 0.3;
    let got = case.certificate();
    assert!(got.objective > 0.0 && got.entropy >= 0.3 && got.lots > 90, "{got:?}");
}

#[test]
fn zero_budget_and_zero_limits_say_why() {
    let empty = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::flat(3, 1_000, 100.0);
        change(&mut case);
        let got = case.project();
        assert_eq!((got.lots.as_slice(), got.certificate.held), ([0_i64; 3].as_slice(), 0));
        assert!(got.certificate.ok && got.certificate.objective == 0.0);
        got.empty
    };
    assert_eq!(empty(&|case| case.budget = 0), Some(Reason::NoMargin));
    assert_eq!(empty(&|case| case.budget = -5), Some(Reason::NoMargin));
    assert_eq!(empty(&|case| case.lots_total_max = 0), Some(Reason::Position));
    assert_eq!(empty(&|case| case.lots_total_max = i64::MIN), Some(Reason::Position));
    assert_eq!(empty(&|case| case.lots_total_max = 99), Some(Reason::Notional));
    assert_eq!(empty(&|case| case.lots_cap.fill(0)), Some(Reason::Notional));
    assert_eq!(Case::flat(0, 1_000, 100.0).project().empty, Some(Reason::NoValue));
}

#[test]
fn free_orders_need_no_budget_but_keep_the_position_limit() {
    let mut case = Case::flat(3, 1_000, 0.0);
    case.charge.fill(ChargeRate::ZERO);
    case.lots_total_max = 1_000;
    let got = case.certificate();
    assert_eq!((got.lots, got.held, got.binding), (1_000, 0, Binding::Position));
}

#[test]
fn malformed_input_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::flat(3, 1_000, 100.0);
        change(&mut case);
        let error = Projector::new().project(&case.input()).unwrap_err();
        (error.argument, error.index)
    };
    assert_eq!(refused(&|case| case.utility[1] = f64::NAN), ("utility", Some(1)));
    assert_eq!(refused(&|case| case.utility[2] = f64::NEG_INFINITY), ("utility", Some(2)));
    assert_eq!(refused(&|case| case.entropy_min = f64::NAN), ("entropy_min", None));
    assert_eq!(refused(&|case| case.share_cap = f64::NAN), ("share_cap", None));
    assert_eq!(refused(&|case| case.share_floor = -0.1), ("share_floor", None));
    assert_eq!(refused(&|case| (case.share_floor, case.share_cap) = (0.6, 0.5)), ("share_floor", None));
    assert_eq!(refused(&|case| case.lots_min[0] = 0), ("lots_min", Some(0)));
    assert_eq!(refused(&|case| case.charge[2].den = 0), ("charge", Some(2)));
    assert_eq!(refused(&|case| case.charge[1].num = -1), ("charge", Some(1)));
    assert_eq!(refused(&|case| case.lots_cap.push(1)), ("lots_cap", None));
    assert_eq!(refused(&|case| case.wish = Some(vec![1.0; 2])), ("target", None));
    assert_eq!(refused(&|case| case.wish = Some(vec![1.0, f64::NAN, 1.0])), ("target", Some(1)));
}

#[test]
fn given_sizes_keep_their_proportions_and_their_total() {
    let mut case = Case::plain(&[1.0, 1.0, 1.0], i64::MAX, 0.0);
    case.wish = Some(vec![25.0, 100.0, 25.0]);
    assert_eq!(case.lots(), [25, 100, 25]);
    case.budget = 75;
    assert_eq!(case.lots(), [13, 50, 12], "half of it, the odd lot to the cheaper of two alike");
    case.budget = i64::MAX;
    case.entropy_min = 0.95 * 3_f64.ln();
    let got = case.project();
    assert_eq!(got.certificate.lots, 150);
    assert!(got.certificate.entropy >= case.entropy_min && got.lots[1] > got.lots[0], "{:?}", got.lots);
    case.wish = Some(vec![0.0, 100.7, 0.0]);
    assert_eq!(case.project().certificate.relaxed, Some(Relaxed::Levels));
    assert_eq!(case.lots(), [0, 100, 0]);
}

#[test]
fn extremes_of_the_integers_neither_panic_nor_overrun() {
    let mut random = Random::new(5);
    let mut projector = Projector::new();
    let ends = [0, 1, 2, 1_000, i64::MAX / 2, i64::MAX - 1, i64::MAX];
    for _ in 0..3_000 {
        let levels = random.between(1, 4) as usize;
        let end = |random: &mut Random| ends[random.between(0, 6) as usize];
        let mut case = Case::plain(&vec![1.0; levels], end(&mut random), random.unit() * 1.5);
        for i in 0..levels {
            case.utility[i] = [1.0, 1e-300, 1e150, -1e150, 0.0, 5e-324][random.between(0, 5) as usize];
            case.lots_min[i] = end(&mut random).max(1);
            case.lots_cap[i] = [end(&mut random), i64::MIN][usize::from(random.unit() < 0.1)];
            case.price_ticks[i] = [i64::MIN, i64::MAX][usize::from(random.unit() < 0.5)];
            let wide = [i128::MAX, 1, 7, i128::from(i64::MAX), 0][random.between(0, 4) as usize];
            case.charge[i] = ChargeRate { num: wide, den: [1, i128::MAX, 1_000][random.between(0, 2) as usize] };
        }
        case.lots_total_max = end(&mut random);
        let input = case.input();
        let got = projector.project(&input).unwrap();
        let held: i128 = got.hold.iter().map(|hold| i128::from(*hold)).sum();
        let total: i128 = got.lots.iter().map(|lots| i128::from(*lots)).sum();
        assert!(got.certificate.ok, "{case:?} {got:?}");
        assert!(held <= i128::from(case.budget) && total <= i128::from(case.lots_total_max), "{case:?} {got:?}");
    }
}

#[test]
fn ten_thousand_levels_end_quickly() {
    let mut random = Random::new(2);
    let levels = 10_000;
    let mut case = Case::plain(&vec![0.0; levels], 3_000_000, 0.97 * (levels as f64).ln());
    for (i, utility) in case.utility.iter_mut().enumerate() {
        *utility = random.unit() - 0.1;
        case.price_ticks[i] = i as i64;
    }
    let start = std::time::Instant::now();
    assert!(case.certificate().ok);
    case.lots_min.iter_mut().for_each(|least| *least = random.between(1, 600));
    assert!(case.certificate().ok);
    case.lots_cap.iter_mut().for_each(|cap| *cap = random.between(1, 900));
    assert!(case.certificate().ok);
    // Generous: an unoptimised build on a busy machine; a cubic step would take hours.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_constraint_holds_on_the_final_lots(seed: u64) {
        let case = Case::any(&mut Random::new(seed));
        let input = case.input();
        let got = case.project();
        let certificate = got.certificate;
        let held: i128 = (0..got.lots.len()).map(|i| enumerate::charge(&input, i, got.lots[i])).sum();
        prop_assert_eq!(held, i128::from(certificate.held));
        prop_assert!(held <= i128::from(case.budget.max(0)));
        prop_assert!(got.lots.iter().sum::<i64>() <= case.lots_total_max);
        for (i, &lots) in got.lots.iter().enumerate() {
            prop_assert!(lots == 0 || (case.lots_min[i] <= lots && lots <= case.lots_cap[i]));
            prop_assert_eq!(lots == 0, got.reasons[i] != Reason::Kept);
        }
        if got.empty.is_some() {
            prop_assert_eq!(certificate.lots, 0);
        } else {
            prop_assert!(certificate.lots > 0);
            let entropy = enumerate::entropy(&got.lots);
            prop_assert!(entropy >= certificate.entropy_min_used - 1e-12);
            prop_assert!(certificate.relaxed.is_some() || certificate.entropy_min_used == case.entropy_min);
            prop_assert!(certificate.relaxed == Some(Relaxed::Lots) || case.on_unprofitable == OnUnprofitable::LeastBad
                || certificate.relaxed == Some(Relaxed::Levels)
                || enumerate::feasible(&input, &got.lots, certificate.entropy_min_used), "shares: {:?}", got.lots);
        }
        if let Some(wish) = &case.wish {
            prop_assert!(certificate.lots as f64 <= wish.iter().sum::<f64>() + 1e-6);
        }
        prop_assert!(certificate.ok);
        prop_assert!(certificate.regret >= 0.0);
    }

    #[test]
    fn a_permutation_of_the_levels_permutes_the_answer(seed: u64) {
        let random = &mut Random::new(seed);
        let case = Case::any(random);
        let mut order: Vec<usize> = (0..case.utility.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, random.between(0, i as i64) as usize);
        }
        let (plain, turned) = (case.project(), case.permuted(&order).project());
        let expected: Vec<i64> = order.iter().map(|&i| plain.lots[i]).collect();
        prop_assert_eq!(&turned.lots, &expected);
        prop_assert_eq!(turned.certificate.objective, plain.certificate.objective);
    }

    #[test]
    fn scaled_utilities_leave_the_lots_unchanged(seed: u64, exponent in -200_i32..200, factor in 0.1_f64..10.0) {
        let case = Case::any(&mut Random::new(seed));
        let mut scaled = case.clone();
        scaled.utility.iter_mut().for_each(|u| *u *= 2_f64.powi(exponent));
        prop_assert_eq!(&scaled.lots(), &case.lots());
        scaled.utility.iter_mut().for_each(|u| *u *= factor);
        let (a, b) = (scaled.certificate(), case.certificate());
        let size = 2_f64.powi(exponent) * factor;
        prop_assert!((a.objective / size - b.objective).abs() <= 1e-9 * b.objective.abs().max(1e-9), "{:?} {:?}", a, b);
    }

    #[test]
    fn an_answer_depends_on_its_input_alone(seed: u64) {
        let random = &mut Random::new(seed);
        let (first, second) = (Case::any(random), Case::any(random));
        let mut projector = Projector::new();
        let fresh = projector.project(&first.input()).unwrap().clone();
        projector.project(&second.input()).unwrap();
        for _ in 0..2 {
            let again = projector.project(&first.input()).unwrap();
            prop_assert_eq!(&again.lots, &fresh.lots);
            prop_assert_eq!(&again.reasons, &fresh.reasons);
            prop_assert_eq!(again.certificate, fresh.certificate);
        }
    }

    #[test]
    fn more_budget_raises_the_bound_and_costs_at_most_a_lot_a_level(seed: u64, more in 1.0_f64..2.0) {
        let mut case = Case::any(&mut Random::new(seed));
        case.wish = None;
        case.breadth = Breadth::Best;
        // Smallest sizes on more levels are worse still.
        case.on_unprofitable = OnUnprofitable::Empty;
        case.lots_min.fill(1);
        case.lots_cap.fill(i64::MAX);
        (case.share_floor, case.share_cap) = (0.0, 1.0);
        let small = case.certificate();
        case.budget = (case.budget as f64 * more) as i64;
        let large = case.certificate();
        if small.relaxed.is_some() || small.lots == 0 {
            return Ok(());
        }
        let most = case.utility.iter().fold(0.0_f64, |most, u| most.max(u.abs()));
        prop_assert!(large.dual_bound >= small.dual_bound * (1.0 - 1e-7), "{small:?} {large:?}");
        prop_assert!(large.objective >= small.objective - most * case.utility.len() as f64, "{:?} {:?}", small, large);
    }
}
