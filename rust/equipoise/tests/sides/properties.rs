//! What holds between the answers of related problems.

use crate::case::{Case, Curve, Ladder, Solved};
use crate::draw::{Draw, ordinary};
use crate::judge;
use equipoise::entropy::{Bound, SideProblem, SideSolver};
use equipoise::sides::{Budget, SidesSolver, certify};
use equipoise::status::{SideStatus, SidesStatus, Status};

pub(crate) const CASES: u64 = 600;

/// What two answers may differ by where they ought to be equal: what each proves of itself, and rounding.
pub(crate) fn apart(a: &Solved, b: &Solved) -> f64 {
    let scale = a.outcome.scale.max(b.outcome.scale);
    a.outcome.gap + b.outcome.gap + 1e-10 * scale
}

/// The answers of the ordinary families, each solved once.
fn each(mut check: impl FnMut(u64, &Case, &Solved)) {
    for seed in 0..CASES {
        let case = ordinary(seed);
        let solved = case.solve();
        assert_ne!(solved.outcome.status, SidesStatus::Inaccurate, "seed {seed}");
        check(seed, &case, &solved);
    }
}

/// Every kind of bound, one way tighter; false where the case has no such bound.
type Tighten = fn(&mut Case, usize, f64) -> bool;

const BOUNDS: [(&str, Tighten); 10] = [
    ("side budget", |case, x, part| {
        let room = judge::dot(&case.side[x].margin, &vec![1.0; case.side[x].levels()]) * case.side[x].size_max;
        case.budget.side[x] = case.budget.side[x].min(room) * part;
        true
    }),
    ("total budget", |case, _, part| {
        case.budget.total *= part;
        case.budget.total.is_finite()
    }),
    ("size_max", |case, x, part| {
        case.side[x].size_max *= part;
        true
    }),
    ("size_cap", |case, x, part| {
        let room = case.side[x].size_max;
        case.side[x].size_cap.iter_mut().for_each(|cap| *cap = cap.min(room) * part);
        true
    }),
    ("share_cap", |case, x, part| {
        case.side[x].cap.iter_mut().for_each(|cap| *cap *= part);
        true
    }),
    ("share_floor", |case, x, part| {
        let k = case.side[x].levels() as f64;
        case.side[x].floor.iter_mut().for_each(|floor| *floor += (1.0 - part) * 0.3 / k);
        true
    }),
    ("entropy_min", |case, x, part| {
        let most = (case.side[x].levels() as f64).ln();
        let h = &mut case.side[x].entropy_min;
        *h = h.max(0.0) + (1.0 - part) * (most - h.max(0.0)).max(0.1);
        true
    }),
    ("bid_share low", |case, _, part| {
        let [lo, hi] = case.share.unwrap_or([0.0, 1.0]);
        case.share = Some([hi - (hi - lo) * part, hi]);
        true
    }),
    ("bid_share high", |case, _, part| {
        let [lo, hi] = case.share.unwrap_or([0.0, 1.0]);
        case.share = Some([lo, lo + (hi - lo) * part]);
        true
    }),
    ("saturation", |case, x, part| {
        case.side[x].scale.iter_mut().for_each(|scale| *scale *= part);
        case.side[x].curve != Curve::Linear
    }),
];

#[test]
fn no_tighter_bound_raises_the_objective() {
    let mut lowered = [0; BOUNDS.len()];
    each(|seed, case, solved| {
        let mut draw = Draw(seed);
        for (kind, (name, tighten)) in BOUNDS.iter().enumerate() {
            let mut tighter = case.clone();
            if !tighten(&mut tighter, draw.below(2), draw.between(0.5, 1.0)) {
                continue;
            }
            let other = tighter.solve();
            let rise = other.outcome.objective - solved.outcome.objective;
            assert!(
                rise <= apart(solved, &other),
                "seed {seed} {name}: {rise:e} {:?} {:?}",
                solved.outcome,
                other.outcome
            );
            lowered[kind] += u32::from(rise < -apart(solved, &other));
        }
    });
    assert!(lowered.iter().all(|count| *count > 20), "{lowered:?}");
}

/// What the objective gains by a step of each sign, per step; and what those figures may be off.
fn slopes(case: &Case, solved: &Solved, step: f64, moved: impl Fn(&mut Case, f64)) -> [f64; 2] {
    [step, -step].map(|step| {
        let mut other = case.clone();
        moved(&mut other, step);
        let other = other.solve();
        let noise = solved.outcome.gap + other.outcome.gap + 1e-13 * solved.outcome.scale;
        (other.outcome.objective - solved.outcome.objective - noise) / step
    })
}

#[test]
fn a_margin_price_lies_between_the_one_sided_derivatives() {
    let (mut priced, mut sharp) = (0, 0);
    each(|seed, case, solved| {
        for x in 0..3 {
            let budget = if x < 2 { case.budget.side[x] } else { case.budget.total };
            if !budget.is_finite() {
                continue;
            }
            let price = solved.multipliers.margin[x];
            let [right, left] = slopes(case, solved, 1e-4 * budget, |case, step| {
                if x < 2 { case.budget.side[x] += step } else { case.budget.total += step }
            });
            let slack = 1e-9 * price;
            assert!(right <= price + slack && price <= left + slack, "seed {seed} {x}: {right:e} {price:e} {left:e}");
            priced += u32::from(price * budget > 1e-3 * solved.outcome.scale);
            sharp += u32::from(price > 0.0 && left - right < 1e-2 * price);
        }
        let margin = solved.multipliers.margin;
        assert_eq!(solved.outcome.margin_price, [margin[0] + margin[2], margin[1] + margin[2]]);
        assert_eq!(solved.outcome.temperature, solved.multipliers.temperature);
        assert_eq!(solved.outcome.inventory_price, solved.multipliers.inventory);
    });
    assert!(priced > 200 && sharp > 150, "{priced} {sharp}");
}

#[test]
fn a_temperature_times_the_total_is_what_the_entropy_floor_costs() {
    let mut sharp = 0;
    each(|seed, case, solved| {
        for x in 0..2 {
            let h = case.side[x].entropy_min;
            let (total, step) = (solved.total(x), 1e-4 * h);
            let most = judge::flattest(&case.side[x]).map_or(0.0, |shares| judge::entropy(&shares));
            if total == 0.0 || h <= 0.0 || h + step > most {
                continue;
            }
            let [right, left] = slopes(case, solved, step, |case, step| case.side[x].entropy_min += step);
            let price = -solved.outcome.temperature[x] * total;
            // The objective need not be concave in `h`: the ends are good to the distance between them.
            let slack = 1e-9 * price.abs() + (left - right).abs();
            let (low, high) = (right.min(left) - slack, right.max(left) + slack);
            assert!(low <= price && price <= high, "seed {seed} {x}: {right:e} {price:e} {left:e}");
            sharp += u32::from(price < 0.0 && (left - right).abs() < -1e-2 * price);
        }
    });
    assert!(sharp > 150, "{sharp}");
}

#[test]
fn size_has_no_unit_of_its_own() {
    each(|seed, case, solved| {
        let factor = Draw(seed).power(-3.0, 3.0);
        let mut other = case.clone();
        for side in &mut other.side {
            side.size_max *= factor;
            side.size_cap.iter_mut().for_each(|cap| *cap *= factor);
            side.scale.iter_mut().for_each(|scale| *scale *= factor);
        }
        other.budget = Budget { side: case.budget.side.map(|b| b * factor), total: case.budget.total * factor };
        if let Some(inventory) = &mut other.inventory {
            inventory.position *= factor;
            inventory.price_of_risk /= factor;
        }
        let scaled = other.solve();
        let off = (scaled.outcome.objective / factor - solved.outcome.objective).abs();
        let allowed = solved.outcome.gap + scaled.outcome.gap / factor + 1e-10 * solved.outcome.scale;
        assert!(off <= allowed, "seed {seed}: {off:e} {:?} {:?}", solved.outcome, scaled.outcome);
        // The scaled sizes are as good as any.
        let back = [0, 1].map(|x| scaled.size[x].iter().map(|size| size / factor).collect::<Vec<f64>>());
        let (worth, _) = judge::objective(case, [&back[0], &back[1]]);
        assert!((worth - solved.outcome.objective).abs() <= allowed, "seed {seed}");
        assert!(judge::violation(case, [&back[0], &back[1]]) <= 1.1e-10, "seed {seed}");
    });
}

#[test]
fn value_has_no_unit_of_its_own() {
    each(|seed, case, solved| {
        let factor = Draw(seed).power(-6.0, 6.0);
        let mut other = case.clone();
        other.side.iter_mut().for_each(|side| side.utility.iter_mut().for_each(|u| *u *= factor));
        if let Some(inventory) = &mut other.inventory {
            inventory.price_of_risk *= factor;
        }
        let scaled = other.solve();
        let off = (scaled.outcome.objective / factor - solved.outcome.objective).abs();
        let allowed = solved.outcome.gap + scaled.outcome.gap / factor + 1e-10 * solved.outcome.scale;
        assert!(off <= allowed, "seed {seed}: {off:e} {:?} {:?}", solved.outcome, scaled.outcome);
    });
}

#[test]
fn levels_have_no_order() {
    each(|seed, case, solved| {
        let mut draw = Draw(seed);
        let mut other = case.clone();
        let orders = [0, 1].map(|x| {
            let mut order: Vec<usize> = (0..case.side[x].levels()).collect();
            (1..order.len()).for_each(|i| order.swap(i, draw.below(i as u64 + 1)));
            other.side[x] = case.side[x].permuted(&order);
            order
        });
        let permuted = other.solve();
        let off = (permuted.outcome.objective - solved.outcome.objective).abs();
        assert!(off <= apart(solved, &permuted), "seed {seed}: {off:e} {:?} {:?}", solved.outcome, permuted.outcome);
        let mut back = solved.size.clone();
        for x in 0..2 {
            orders[x].iter().enumerate().for_each(|(to, from)| back[x][*from] = permuted.size[x][to]);
        }
        assert!(judge::violation(case, [&back[0], &back[1]]) <= 1.1e-10, "seed {seed}");
    });
}

#[test]
fn bids_mirror_asks() {
    each(|seed, case, solved| {
        let mirrored = case.mirrored().solve();
        let off = (mirrored.outcome.objective - solved.outcome.objective).abs();
        assert!(off <= apart(solved, &mirrored), "seed {seed}: {off:e} {:?} {:?}", solved.outcome, mirrored.outcome);
        let swapped = [mirrored.sizes()[1], mirrored.sizes()[0]];
        assert!(judge::violation(case, swapped) <= 1.1e-10, "seed {seed}");
        assert!((judge::objective(case, swapped).0 - solved.outcome.objective).abs() <= apart(solved, &mirrored));
    });
}

#[test]
fn budgets_that_do_not_bind_make_both_rules_one() {
    each(|seed, case, _| {
        let room = |x: usize| {
            let side = &case.side[x];
            side.size_max * side.margin.iter().fold(0.0_f64, |most, m| most.max(*m)) * 1.01
        };
        let mut worst_side = case.clone();
        worst_side.budget = Budget { side: [room(0), room(1)], total: f64::INFINITY };
        let mut sum = case.clone();
        sum.budget = Budget { side: [f64::INFINITY; 2], total: room(0) + room(1) };
        let mut free = case.clone();
        free.budget = Budget { side: [f64::INFINITY; 2], total: f64::INFINITY };
        let [a, b, c] = [worst_side, sum, free].map(|case| case.solve());
        for other in [b, c] {
            let off = (a.outcome.objective - other.outcome.objective).abs();
            assert!(off <= apart(&a, &other), "seed {seed}: {off:e} {:?} {:?}", a.outcome, other.outcome);
        }
    });
}

#[test]
fn values_that_hardly_saturate_are_linear() {
    for seed in 0..CASES {
        let mut linear = ordinary(seed);
        linear.side.iter_mut().for_each(|side| side.curve = Curve::Linear);
        let flat = linear.solve();
        let mut before = f64::NEG_INFINITY;
        for exponent in [2, 5, 12] {
            for curve in [Curve::Exponential, Curve::Log] {
                let mut bent = linear.clone();
                for side in &mut bent.side {
                    side.curve = curve;
                    side.scale.fill(side.size_max.max(1e-12) * 10_f64.powi(exponent));
                }
                let bent = bent.solve();
                let lost = flat.outcome.objective - bent.outcome.objective;
                // No value bends by more than s/(2c) of itself.
                let most = judge::magnitude(&linear) * 10_f64.powi(-exponent) + apart(&flat, &bent);
                assert!(lost >= -apart(&flat, &bent) && lost <= most, "seed {seed} {curve:?} {exponent}: {lost:e}");
                if curve == Curve::Exponential {
                    let rise = bent.outcome.objective - before;
                    assert!(rise >= -apart(&flat, &bent), "seed {seed}: {rise:e}");
                    before = bent.outcome.objective;
                }
            }
        }
    }
}

#[test]
fn any_ladders_are_judged_as_the_problem_states() {
    let mut missed = 0;
    each(|seed, case, solved| {
        let mut draw = Draw(seed ^ 0xface);
        for kind in 0..6 {
            let mut size = solved.size.clone();
            match kind {
                // A side, then a level, too large; a level dropped; noise; anything at all.
                0 => size[draw.below(2)].iter_mut().for_each(|size| *size *= 1.5),
                1 | 2 => {
                    let x = draw.below(2);
                    let one = draw.below(case.side[x].levels() as u64);
                    size[x][one] = if kind == 1 { size[x][one] * 1.5 + 0.1 * case.side[x].size_max } else { 0.0 };
                }
                3 => size.iter_mut().flatten().for_each(|size| *size *= draw.between(0.9, 1.1)),
                _ => (0..2).for_each(|x| {
                    let most = 2.0 * case.side[x].size_max / case.side[x].levels() as f64;
                    size[x].iter_mut().for_each(|size| *size = most * draw.unit());
                }),
            }
            let certificate = certify(&case.problem(), [&size[0], &size[1]], &solved.multipliers).unwrap();
            let (worth, mass) = judge::objective(case, [&size[0], &size[1]]);
            let ours = judge::violation(case, [&size[0], &size[1]]);
            let same = certificate.violation == ours || (certificate.violation - ours).abs() <= 1e-12 * (1.0 + ours);
            assert!(same, "seed {seed} {kind}: {certificate:?} {ours:e}");
            assert!((certificate.objective - worth).abs() <= 64.0 * f64::EPSILON * mass, "seed {seed} {kind}");
            assert!(
                (certificate.scale - judge::scale(case, worth)).abs() <= 1e-9 * certificate.scale,
                "seed {seed} {kind}"
            );
            missed += u32::from(ours > 1e-6);
        }
    });
    assert!(missed > 1_000, "{missed}");
}

#[test]
fn any_multipliers_prove_a_bound() {
    each(|seed, case, solved| {
        let mut draw = Draw(seed ^ 0x5eed);
        let utility = case.side.iter().flat_map(|side| &side.utility).fold(1e-300_f64, |most, u| most.max(u.abs()));
        for _ in 0..6 {
            let mut any = solved.multipliers.clone();
            let mut near = |value: f64, unit: f64| match draw.below(4) {
                0 => 0.0,
                1 => value,
                2 => value * draw.power(-1.0, 1.0),
                _ => unit * draw.power(-4.0, 1.0),
            };
            let charge =
                case.side[0].margin.iter().chain(&case.side[1].margin).fold(1e-300_f64, |most, m| most.max(*m));
            any.margin = any.margin.map(|price| near(price, utility / charge));
            any.temperature = any.temperature.map(|heat| near(heat, utility));
            any.inventory = near(any.inventory, utility);
            any.normaliser = any.normaliser.map(|n| near(n, utility));
            for x in 0..2 {
                any.level[x] = (0..case.side[x].levels())
                    .map(|i| near(solved.multipliers.level[x].get(i).copied().unwrap_or(0.0), utility))
                    .collect();
            }
            let certificate = certify(&case.problem(), solved.sizes(), &any).unwrap();
            let (ours, terms) = judge::bound(case, solved.sizes(), &any);
            let rounding = 64.0 * f64::EPSILON * (terms + certificate.dual_bound.abs()) + 1e-12 * certificate.scale;
            assert!(certificate.gap >= -rounding, "seed {seed}: {certificate:?} with {any:?}");
            let off = certificate.dual_bound - ours;
            // The crate stops its search for a normaliser where that pays no more.
            let allowed = rounding + 1e-9 * certificate.scale.max(certificate.dual_bound.abs());
            assert!(off.abs() <= allowed, "seed {seed}: {certificate:?} not {ours:e} with {any:?}");
            // At other sizes, feasible ones, it is a bound as well.
            let part = draw.unit();
            let less = solved.size.clone().map(|size| size.iter().map(|size| part * size).collect::<Vec<f64>>());
            let other = certify(&case.problem(), [&less[0], &less[1]], &any).unwrap();
            assert!(other.dual_bound >= solved.outcome.objective - rounding, "seed {seed}: {other:?}");
            assert!(other.gap >= -rounding, "seed {seed}: {other:?}");
        }
    });
}

/// The most that one unit of a side may be worth at zero, the entropy floor met; none where the side has no shape.
fn first_unit(case: &Case, x: usize) -> Option<f64> {
    let (side, sign) = (&case.side[x], if x == 0 { 1.0 } else { -1.0 });
    let lean = sign * case.eta() * case.position();
    let utility: Vec<f64> = side.utility.iter().zip(&side.fill).map(|(u, fill)| u - lean * fill).collect();
    let problem = SideProblem {
        utility: &utility,
        entropy_min: side.entropy_min,
        floor: Bound::Each(&side.floor),
        cap: Bound::Each(&side.cap),
    };
    let solution = SideSolver::new().solve(&problem).unwrap();
    (solution.status == Status::Optimal).then_some(solution.objective)
}

#[test]
fn zero_is_the_answer_exactly_where_no_first_unit_is_worth_quoting() {
    let (mut counts, mut unseen) = ([0, 0], 0);
    for seed in 0..2 * CASES {
        let mut case = ordinary(seed);
        case.side.iter_mut().for_each(|side| side.size_cap.fill(f64::INFINITY));
        let (Some(bid), Some(ask)) = (first_unit(&case, 0), first_unit(&case, 1)) else { continue };
        let best = match case.share {
            None => bid.max(ask),
            Some(ends) => {
                ends.map(|part| part * bid + (1.0 - part) * ask).into_iter().fold(f64::NEG_INFINITY, f64::max)
            }
        };
        let unit = case.side.iter().flat_map(|side| &side.utility).fold(best.abs(), |most, u| most.max(u.abs()));
        let above = seed % 2 == 0;
        let shift = if above { 1e-4 * unit } else { -1e-6 * unit } - best;
        case.side.iter_mut().for_each(|side| side.utility.iter_mut().for_each(|u| *u += shift));
        let solved = case.solve();
        let still = -0.5 * case.eta() * case.position() * case.position();
        if above {
            // Saturation changes nothing at zero; inventory and variance only what a second unit is worth.
            if solved.outcome.status == SidesStatus::Zero {
                // Beside a large price of the position held, the gain may be a tenth of what the promise can tell.
                assert!(solved.outcome.gap <= 1e-9 * solved.outcome.scale, "seed {seed}: {:?}", solved.outcome);
                unseen += 1;
                continue;
            }
            assert_eq!(solved.outcome.status, SidesStatus::Optimal, "seed {seed}: {:?}", solved.outcome);
            assert!(solved.outcome.objective > still, "seed {seed}: {:?}", solved.outcome);
        } else {
            assert_eq!(solved.outcome.status, SidesStatus::Zero, "seed {seed}: {:?}", solved.outcome);
            assert!(solved.size.iter().flatten().all(|size| *size == 0.0), "seed {seed}: {:?}", solved.size);
            assert!((solved.outcome.objective - still).abs() <= 1e-15 * still.abs(), "seed {seed}");
        }
        counts[usize::from(above)] += 1;
    }
    assert!(unseen <= 1, "{unseen} gains were not seen");
    assert!(counts.iter().all(|count| *count > CASES / 2), "{counts:?}");
}

/// Ladders of a market with room for half more than the mean at each level: the caps stop some levels of each.
fn crowded(levels: usize, draw: &mut Draw) -> Case {
    let size_max = 100.0;
    let side = [1.0, -1.0].map(|sign| {
        let depth: Vec<f64> = (0..levels).map(|i| 2.0 * 16_f64.powf(i as f64 / (levels - 1) as f64)).collect();
        let fill: Vec<f64> = depth.iter().map(|depth| 1.0 - (-3.0 * (-0.15 * depth).exp()).exp()).collect();
        let edge = |depth: f64| (depth - 3.0 * (-depth / 8.0).exp() - 1.5) * 27.11e-4;
        let noisy = |value: f64, draw: &mut Draw| value * (1.0 + 0.2 * draw.normal());
        let utility: Vec<f64> = depth.iter().zip(&fill).map(|(d, fill)| noisy(fill * edge(*d), draw)).collect();
        let margin: Vec<f64> = depth.iter().map(|depth| 2.711 * (1.0 - sign * depth * 1e-4)).collect();
        let mut side = Ladder::open(&utility, &margin);
        side.fill = fill;
        side.entropy_min = 0.85 * (levels as f64).ln();
        side.size_max = size_max;
        side.size_cap.fill(1.5 * size_max / levels as f64);
        side
    });
    let budget = Budget { side: [f64::INFINITY; 2], total: 0.6 * 2.0 * size_max * 2.711 };
    Case { side, budget, share: Some([0.3, 0.7]), inventory: None }
}

#[test]
fn ladders_with_caps_in_force_take_a_few_rounds() {
    let mut draw = Draw(7);
    let (mut stopped, mut long) = (0, 0);
    for levels in [10, 25, 50] {
        for _ in 0..100 {
            let mut case = crowded(levels, &mut draw);
            let mut solver = SidesSolver::new();
            let first = solver.solve(&case.problem()).unwrap();
            let solved = Solved::of(first, &solver);
            judge::promise(&case, &solved).unwrap();
            // With the two rounds of the quick search before it, the interior point would take sixteen steps or more.
            long += u32::from(first.iterations > 14);
            stopped += (0..2).filter(|x| solver.size()[*x].iter().any(|s| *s == case.side[0].size_cap[0])).count();
            // From the answer, a market that has hardly moved takes fewer still, and prices change at once.
            case.side.iter_mut().flat_map(|side| &mut side.utility).for_each(|u| *u *= 1.0 + 1e-3 * draw.normal());
            let warm = solver.solve_warm(&case.problem()).unwrap();
            let solved = Solved::of(warm, &solver);
            judge::promise(&case, &solved).unwrap();
            long += u32::from(warm.iterations > 7);
        }
    }
    assert!(stopped > 250, "{stopped} sides have a level at its cap");
    assert!(long <= 3, "{long} of 600 went on to the interior point");
}

/// Two sides of four levels on one pot.
pub(crate) fn plain() -> Case {
    let mut side = [
        Ladder::open(&[1.0, 0.9, 0.7, 0.5], &[1.0, 1.01, 1.02, 1.03]),
        Ladder::open(&[0.8, 1.1, 0.6, 0.4], &[1.0, 1.01, 1.02, 1.03]),
    ];
    side.iter_mut().for_each(|side| side.entropy_min = 1.1);
    Case { side, budget: Budget { side: [f64::INFINITY; 2], total: 100.0 }, share: None, inventory: None }
}

#[test]
fn the_margin_of_a_blocked_side_flows_to_the_other() {
    for x in 0..2 {
        let mut case = plain();
        case.side.iter_mut().for_each(|side| side.size_max = 60.0);
        let both = case.solve();
        assert!(both.total(0) > 30.0 && both.total(1) > 30.0);
        case.side[1 - x].size_max = 1e3;
        case.side[x].size_max = 0.0;
        let alone = case.solve();
        assert_eq!(alone.outcome.side[x], SideStatus::Blocked);
        let used = judge::dot(&case.side[1 - x].margin, &alone.size[1 - x]);
        assert!((used - 100.0).abs() <= 1e-8, "{used}");
    }
}

#[test]
fn joint_is_no_worse_than_any_split_of_the_pot() {
    let mut better = 0;
    each(|seed, case, solved| {
        if !case.budget.total.is_finite() || case.share.is_some() || case.eta() > 0.0 {
            return;
        }
        for part in [0.0, 0.3, 0.5, 0.7, 1.0] {
            let value: f64 = (0..2)
                .map(|x| {
                    let mut alone = case.clone();
                    alone.side[1 - x].size_max = 0.0;
                    alone.budget.total *= if x == 0 { part } else { 1.0 - part };
                    alone.solve().outcome.objective
                })
                .sum();
            let lead = solved.outcome.objective - value;
            assert!(lead >= -solved.outcome.gap - 1e-10 * solved.outcome.scale, "seed {seed} {part}: {lead:e}");
            better += u32::from(lead > 1e-3 * solved.outcome.scale);
        }
    });
    assert!(better > 100, "{better}");
}
