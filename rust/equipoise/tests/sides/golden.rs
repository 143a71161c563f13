//! Instances with answers from independent solvers, every answer proved there by a bound from its multipliers.

use crate::case::{Case, Curve, Ladder, Solved};
use crate::judge;
use equipoise::sides::{Budget, Inventory, SidesSolver, certify};
use equipoise::status::{SideStatus, SidesStatus};
use serde_json::Value;
use std::io::Read;

fn read(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// One number for every level, or a list; null is infinite.
fn numbers(value: &Value, levels: usize) -> Vec<f64> {
    let one = |value: &Value| if value.is_null() { f64::INFINITY } else { value.as_f64().unwrap() };
    match value.as_array() {
        Some(list) => list.iter().map(one).collect(),
        None => vec![one(value); levels],
    }
}

fn pair(value: &Value) -> [f64; 2] {
    [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()]
}

fn budget(sum: bool, margin: [f64; 2]) -> Budget {
    if sum {
        Budget { side: [f64::INFINITY; 2], total: margin[0] }
    } else {
        Budget { side: margin, total: f64::INFINITY }
    }
}

/// An instance with its answer.
struct Golden {
    label: String,
    family: String,
    case: Case,
    objective: f64,
    gap: f64,
    margin_price: [f64; 2],
    temperature: [f64; 2],
    inventory_price: f64,
    nothing: bool,
}

fn ladder(value: &Value) -> Ladder {
    let utility = numbers(&value["utility"], 0);
    let levels = utility.len();
    let curve = match value["saturation"].as_str() {
        None => Curve::Linear,
        Some("exponential") => Curve::Exponential,
        Some("log") => Curve::Log,
        Some(other) => panic!("unknown curve {other}"),
    };
    Ladder {
        margin: numbers(&value["margin_per_unit"], levels),
        fill: numbers(&value["fill_probability"], levels),
        entropy_min: value["entropy_min"].as_f64().unwrap(),
        floor: numbers(&value["share_floor"], levels),
        cap: numbers(&value["share_cap"], levels),
        size_cap: numbers(&value["size_cap"], levels),
        size_max: value["size_max"].as_f64().unwrap(),
        curve,
        scale: if curve == Curve::Linear { vec![1.0; levels] } else { numbers(&value["saturation_scale"], levels) },
        utility,
    }
}

fn all_families() -> Vec<Golden> {
    let instance = |value: &Value| {
        let answer = &value["solution"];
        let share = &value["bid_share"];
        Golden {
            label: format!("{} {}", value["family"].as_str().unwrap(), value["id"]),
            family: value["family"].as_str().unwrap().to_owned(),
            case: Case {
                side: [ladder(&value["bid"]), ladder(&value["ask"])],
                budget: budget(value["combine"] == "sum", pair(&value["margin"])),
                share: (!share.is_null()).then(|| pair(share)),
                inventory: Some(Inventory {
                    position: value["position"].as_f64().unwrap(),
                    price_of_risk: value["price_of_risk"].as_f64().unwrap(),
                    fill_variance: value["fill_variance"].as_bool().unwrap(),
                }),
            },
            objective: answer["objective"].as_f64().unwrap(),
            gap: answer["gap"].as_f64().unwrap(),
            margin_price: pair(&answer["margin_price"]),
            temperature: pair(&answer["temperature"]),
            inventory_price: answer["inventory_price"].as_f64().unwrap(),
            nothing: answer["binding"][0] == "nothing quoted",
        }
    };
    read("sides.json.gz")["instances"].as_array().unwrap().iter().map(instance).collect()
}

fn share_bounds() -> Vec<Golden> {
    let side = |value: &Value| {
        let levels = value["K"].as_u64().unwrap() as usize;
        let mut side = Ladder::open(&numbers(&value["u"], levels), &numbers(&value["m"], levels));
        side.entropy_min = value["h"].as_f64().unwrap();
        side.floor = numbers(&value["rel_floor"], levels);
        side.cap = numbers(&value["rel_cap"], levels);
        side.size_cap = numbers(&value["abs_cap"], levels);
        side.size_max = value["Q"].as_f64().unwrap();
        side
    };
    let instance = |value: &Value| {
        let answer = &value["solution"];
        let margin = value["M"].as_f64().unwrap();
        Golden {
            label: format!("share {} {}", value["family"], value["id"]),
            family: "share".to_owned(),
            case: Case {
                side: [side(&value["bid"]), side(&value["ask"])],
                budget: budget(value["rule"] == "sum", [margin; 2]),
                share: Some([value["share_lo"].as_f64().unwrap(), value["share_hi"].as_f64().unwrap()]),
                inventory: None,
            },
            objective: answer["obj"].as_f64().unwrap(),
            gap: answer["gap_rel"].as_f64().unwrap().abs(),
            margin_price: pair(&answer["mu"]),
            temperature: pair(&answer["T"]),
            inventory_price: 0.0,
            nothing: false,
        }
    };
    let known = |value: &&Value| value["id"] != 59;
    read("sides_share.json.gz")["instances"].as_array().unwrap().iter().filter(known).map(instance).collect()
}

fn everything() -> Vec<Golden> {
    let mut all = share_bounds();
    assert_eq!(all.len(), 79);
    all.extend(all_families());
    assert_eq!(all.len(), 79 + 1990);
    all
}

/// What a side must be called, where the statement of the problem alone says it.
fn named(case: &Case, x: usize) -> Option<SideStatus> {
    let side = &case.side[x];
    if side.levels() == 0 || side.size_max == 0.0 {
        return Some(SideStatus::Blocked);
    }
    match judge::flattest(side) {
        Some(shares) if side.entropy_min > judge::entropy(&shares) + 1e-9 => Some(SideStatus::InfeasibleEntropy),
        Some(_) if case.budget.side[x].min(case.budget.total) == 0.0 => Some(SideStatus::NoBudget),
        _ => None,
    }
}

#[test]
fn answers_of_independent_solvers_are_met() {
    let mut solver = SidesSolver::new();
    let (mut failures, mut names, mut iterations, mut nothing) = (Vec::new(), [0; 2], Vec::new(), 0);
    for golden in everything() {
        let Golden { label, case, .. } = &golden;
        let outcome = solver.solve(&case.problem()).unwrap();
        let solved = Solved::of(outcome, &solver);
        iterations.push(outcome.iterations);
        let mut check = |holds: bool, what: &str| {
            if !holds {
                failures.push(format!("{label}: {what}, expected {:e}: {outcome:?}", golden.objective));
            }
        };
        if let Err(why) = judge::promise(case, &solved) {
            check(false, &why);
        }
        let off = (outcome.objective - golden.objective).abs();
        check(off <= (1e-9 + golden.gap) * outcome.scale + 1e-15 * judge::magnitude(case), "objective");
        let priced = certify(&case.problem(), solved.sizes(), &solved.multipliers).unwrap();
        check(priced.objective == outcome.objective && priced.violation == outcome.violation, "certify");
        check(priced.dual_bound.max(priced.objective) == outcome.dual_bound, "certified bound");
        check(golden.objective <= outcome.dual_bound + 1e-15 * judge::magnitude(case) + 1e-12 * outcome.scale, "bound");
        for x in 0..2 {
            if let Some(name) = named(case, x) {
                names[0] += 1;
                check(outcome.side[x] == name, "status of a side");
                check(solved.total(x) == 0.0, "size of a side without room");
            } else {
                let either = [SideStatus::Quoted, SideStatus::NoValue, SideStatus::Blocked];
                check(either.contains(&outcome.side[x]), "status of a side with room");
                check((outcome.side[x] == SideStatus::Quoted) == (solved.total(x) > 0.0), "quoted");
            }
        }
        let quoted = outcome.side.contains(&SideStatus::Quoted);
        check(outcome.status == if quoted { SidesStatus::Optimal } else { SidesStatus::Zero }, "status");
        if golden.nothing {
            names[1] += 1;
            nothing += usize::from(!quoted);
        }
        if golden.family == "blocked" {
            check((0..2).any(|x| named(case, x).is_some()), "a blocked side");
        }
    }
    iterations.sort_unstable();
    let at = |part: usize| iterations[(iterations.len() - 1) * part / 100];
    println!(
        "iterations p50 {} p99 {} max {}; sides without room {}; nothing to quote {}, so found {nothing}",
        at(50),
        at(99),
        at(100),
        names[0],
        names[1]
    );
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
}

/// One-sided derivatives of the optimal objective along a change of the case, from steps to both sides. The objective is
/// concave in what moves, so every multiplier lies between them, up to what the answers themselves may be off.
fn derivatives(golden: &Golden, solved: &Solved, step: f64, moved: impl Fn(&mut Case, f64)) -> Option<[f64; 2]> {
    let mut value = [0.0; 2];
    for (value, sign) in value.iter_mut().zip([1.0, -1.0]) {
        let mut case = golden.case.clone();
        moved(&mut case, sign * step);
        let other = case.solve();
        if other.outcome.status == SidesStatus::Inaccurate || other.outcome.side != solved.outcome.side {
            return None;
        }
        let noise = 2.0 * (other.outcome.gap + solved.outcome.gap) + 1e-14 * solved.outcome.scale;
        *value = (other.outcome.objective - solved.outcome.objective - noise) / (sign * step);
    }
    Some(value)
}

/// A price is unique where the one-sided derivatives agree; there it must be the stored one. Everywhere else it must lie
/// between them.
#[test]
fn prices_are_those_of_independent_solvers_where_they_are_unique() {
    let (mut failures, mut counts) = (Vec::new(), [[0; 3]; 3]);
    for golden in everything() {
        let Golden { label, case, .. } = &golden;
        let solved = case.solve();
        let outcome = solved.outcome;
        let mut judge = |kind: usize, ours: f64, stored: f64, least: f64, around: &dyn Fn() -> Option<[f64; 2]>| {
            if (ours - stored).abs() <= 1e-6 * ours.abs().max(stored.abs()) + least {
                counts[kind][0] += 1;
                return;
            }
            let Some([right, left]) = around() else {
                counts[kind][2] += 1;
                return;
            };
            let slack = 1e-6 * ours.abs().max(stored.abs()) + least;
            if ours >= right - slack && ours <= left + slack {
                counts[kind][1] += 1;
            } else {
                failures.push(format!("{label}: {ours:e} not {stored:e}, between {right:e} and {left:e}: {outcome:?}"));
            }
        };
        let sum = case.budget.total.is_finite();
        for x in 0..2 {
            let budget = if sum { case.budget.total } else { case.budget.side[x] };
            let around = || {
                derivatives(&golden, &solved, 1e-5 * budget, |case, step| {
                    if sum { case.budget.total += step } else { case.budget.side[x] += step }
                })
            };
            if budget > 0.0 {
                let least = 1e-8 * outcome.scale / budget;
                judge(0, outcome.margin_price[x], golden.margin_price[x], least, &around);
            }
            let (total, h) = (solved.total(x), case.side[x].entropy_min);
            if total > 1e-6 * case.side[x].size_max && h > 0.0 {
                let around = || {
                    let slopes =
                        derivatives(&golden, &solved, 1e-5 * h, |case, step| case.side[x].entropy_min += step)?;
                    Some([-slopes[1] / total, -slopes[0] / total])
                };
                // The objective need not be concave in `h`: the ends are good to the distance between them.
                let ordered = || around().map(|[a, b]| [a.min(b) - (a - b).abs(), a.max(b) + (a - b).abs()]);
                judge(1, outcome.temperature[x], golden.temperature[x], 1e-8 * outcome.scale / (total * h), &ordered);
            }
        }
        let around = || {
            let step = 1e-5 * (case.position().abs() + case.side[0].size_max);
            let moved = |case: &mut Case, step: f64| case.inventory.as_mut().unwrap().position += step;
            derivatives(&golden, &solved, step, moved).map(|[right, left]| [-left, -right])
        };
        if case.eta() > 0.0 {
            let least = 1e-8 * outcome.scale / (case.side[0].size_max + case.side[1].size_max);
            judge(2, outcome.inventory_price, golden.inventory_price, least, &around);
        }
    }
    println!(
        "prices met, not unique, not to be told: margin {:?} temperature {:?} inventory {:?}",
        counts[0], counts[1], counts[2]
    );
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    for [met, free, untold] in counts {
        assert!(met > 9 * (free + untold), "{counts:?}");
    }
}
