//! What the solver owes its caller besides the answer: one at any width, after any history, and errors that name the argument.

use crate::case::{Case, Curve, Solved};
use crate::draw::{instance, ordinary};
use crate::judge;
use crate::properties::{CASES, apart, plain};
use equipoise::sides::{Inventory, Multipliers, SidesSolver, certify};
use equipoise::simd::{Width, widest};

#[test]
fn narrower_instructions_agree() {
    for seed in 0..CASES {
        let case = ordinary(seed);
        let solve = |width| {
            let mut solver = SidesSolver::limited(width);
            let outcome = solver.solve(&case.problem()).unwrap();
            Solved::of(outcome, &solver)
        };
        let [wide, middle, portable] = [Width::Avx512, Width::Avx2, Width::Portable].map(solve);
        if widest() >= Width::Avx2 {
            assert_eq!(format!("{wide:?}"), format!("{middle:?}"), "seed {seed}");
        }
        judge::promise(&case, &portable).unwrap();
        let off = (wide.outcome.objective - portable.outcome.objective).abs();
        assert!(off <= apart(&wide, &portable), "seed {seed}: {off:e}");
        // Where the objective is that sure, so is the other width's.
        assert!(off <= 2e-8 * wide.outcome.scale, "seed {seed}: {off:e}");
    }
}

#[test]
fn an_answer_does_not_depend_on_what_was_solved_before() {
    let mut kept = SidesSolver::new();
    for seed in 0..CASES {
        // Families in turn: sizes of buffers, statuses and curves change between neighbours.
        let case = instance((seed % 16) as usize, seed);
        let outcome = kept.solve(&case.problem()).unwrap();
        let used = Solved::of(outcome, &kept);
        assert_eq!(format!("{used:?}"), format!("{:?}", case.solve()), "seed {seed}");
    }
}

type Spoil = (&'static str, Option<usize>, fn(&mut Case));

const SPOILT: [Spoil; 27] = [
    ("bid.utility", Some(2), |case| case.side[0].utility[2] = f64::NAN),
    ("ask.utility", Some(0), |case| case.side[1].utility[0] = f64::INFINITY),
    ("bid.margin_per_unit", Some(1), |case| case.side[0].margin[1] = -1.0),
    ("ask.margin_per_unit", Some(3), |case| case.side[1].margin[3] = f64::INFINITY),
    ("ask.margin_per_unit", None, |case| case.side[1].margin.truncate(3)),
    ("bid.fill_probability", Some(0), |case| case.side[0].fill[0] = 1.5),
    ("ask.fill_probability", None, |case| case.side[1].fill.push(0.5)),
    ("bid.entropy_min", None, |case| case.side[0].entropy_min = f64::NAN),
    ("ask.entropy_min", None, |case| case.side[1].entropy_min = f64::INFINITY),
    ("bid.share_floor", Some(3), |case| case.side[0].floor[3] = -0.1),
    ("ask.share_floor", None, |case| case.side[1].floor.clear()),
    ("bid.share_cap", Some(1), |case| case.side[0].cap[1] = 1.1),
    ("ask.share_cap", Some(0), |case| case.side[1].cap[0] = f64::NAN),
    ("bid.size_cap", Some(2), |case| case.side[0].size_cap[2] = -1.0),
    ("ask.size_cap", Some(2), |case| case.side[1].size_cap[2] = f64::NAN),
    ("bid.size_max", None, |case| case.side[0].size_max = f64::INFINITY),
    ("ask.size_max", None, |case| case.side[1].size_max = -1.0),
    ("bid.saturation.scale", Some(1), |case| {
        case.side[0].curve = Curve::Log;
        case.side[0].scale[1] = 0.0;
    }),
    ("ask.saturation.scale", None, |case| {
        case.side[1].curve = Curve::Exponential;
        case.side[1].scale.truncate(1);
    }),
    ("margin", Some(0), |case| case.budget.side[0] = f64::NAN),
    ("margin", Some(1), |case| case.budget.side[1] = f64::NAN),
    ("margin", None, |case| case.budget.total = f64::NAN),
    ("bid_share", None, |case| case.share = Some([0.7, 0.3])),
    ("bid_share", None, |case| case.share = Some([0.0, f64::NAN])),
    ("bid_share", None, |case| case.share = Some([-0.1, 1.0])),
    ("inventory.position", None, |case| {
        case.inventory = Some(Inventory { position: f64::INFINITY, price_of_risk: 1.0, fill_variance: false });
    }),
    ("inventory.price_of_risk", None, |case| {
        case.inventory = Some(Inventory { position: 0.0, price_of_risk: -1.0, fill_variance: false });
    }),
];

#[test]
fn errors_name_the_argument() {
    for (name, index, spoil) in SPOILT {
        let mut case = plain();
        spoil(&mut case);
        let error = SidesSolver::new().solve(&case.problem()).unwrap_err();
        assert_eq!((error.argument, error.index), (name, index), "{error}");
        let sizes = [vec![0.0; 4], vec![0.0; 4]];
        let other = certify(&case.problem(), [&sizes[0], &sizes[1]], &Multipliers::default()).unwrap_err();
        assert_eq!(error, other);
    }
    let case = plain();
    let good = [1.0; 4];
    let wrong = |sizes: [&[f64]; 2], multipliers: Multipliers| {
        certify(&case.problem(), sizes, &multipliers).unwrap_err().argument
    };
    assert_eq!(wrong([&good[..3], &good], Multipliers::default()), "bid_size");
    assert_eq!(wrong([&good, &[1.0, f64::NAN, 1.0, 1.0]], Multipliers::default()), "ask_size");
    assert_eq!(wrong([&good, &[1.0, -1.0, 1.0, 1.0]], Multipliers::default()), "ask_size");
    let spoilt: [fn(&mut Multipliers); 5] = [
        |m| m.margin[1] = -1.0,
        |m| m.temperature[0] = f64::NAN,
        |m| m.inventory = f64::INFINITY,
        |m| m.level[0] = vec![0.0; 3],
        |m| m.level[1] = vec![0.0, 0.0, -1.0, 0.0],
    ];
    for spoil in spoilt {
        let mut multipliers = Multipliers::default();
        spoil(&mut multipliers);
        assert_eq!(wrong([&good, &good], multipliers), "multipliers");
    }
}
