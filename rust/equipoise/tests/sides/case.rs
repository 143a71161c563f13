//! A two-sided problem that owns its numbers, to draw, keep and change.

use equipoise::entropy::Bound;
use equipoise::sides::{Budget, Inventory, Multipliers, Saturation, Side, Sides, SidesSolution, SidesSolver};

/// How the value of a level bends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Curve {
    Linear,
    Exponential,
    Log,
}

/// One side. Every vector has one entry a level.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    pub(crate) utility: Vec<f64>,
    pub(crate) margin: Vec<f64>,
    pub(crate) fill: Vec<f64>,
    pub(crate) entropy_min: f64,
    pub(crate) floor: Vec<f64>,
    pub(crate) cap: Vec<f64>,
    pub(crate) size_cap: Vec<f64>,
    pub(crate) size_max: f64,
    pub(crate) curve: Curve,
    pub(crate) scale: Vec<f64>,
}

impl Ladder {
    /// Levels of these values and charges that only the margin limits.
    pub(crate) fn open(utility: &[f64], margin: &[f64]) -> Self {
        let levels = utility.len();
        Self {
            utility: utility.to_vec(),
            margin: margin.to_vec(),
            fill: vec![1.0; levels],
            entropy_min: 0.0,
            floor: vec![0.0; levels],
            cap: vec![1.0; levels],
            size_cap: vec![f64::INFINITY; levels],
            size_max: 1e6,
            curve: Curve::Linear,
            scale: vec![1.0; levels],
        }
    }

    pub(crate) fn levels(&self) -> usize {
        self.utility.len()
    }

    fn side(&self) -> Side<'_> {
        Side {
            utility: &self.utility,
            margin: &self.margin,
            fill_probability: Bound::Each(&self.fill),
            entropy_min: self.entropy_min,
            share_floor: Bound::Each(&self.floor),
            share_cap: Bound::Each(&self.cap),
            size_cap: Bound::Each(&self.size_cap),
            size_max: self.size_max,
            saturation: match self.curve {
                Curve::Linear => Saturation::None,
                Curve::Exponential => Saturation::Exponential(Bound::Each(&self.scale)),
                Curve::Log => Saturation::Log(Bound::Each(&self.scale)),
            },
        }
    }

    /// The same levels in another order.
    pub(crate) fn permuted(&self, order: &[usize]) -> Self {
        let by = |values: &[f64]| order.iter().map(|index| values[*index]).collect::<Vec<f64>>();
        Self {
            utility: by(&self.utility),
            margin: by(&self.margin),
            fill: by(&self.fill),
            floor: by(&self.floor),
            cap: by(&self.cap),
            size_cap: by(&self.size_cap),
            scale: by(&self.scale),
            ..self.clone()
        }
    }
}

/// One problem; bids come first.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) side: [Ladder; 2],
    pub(crate) budget: Budget,
    pub(crate) share: Option<[f64; 2]>,
    pub(crate) inventory: Option<Inventory>,
}

impl Case {
    pub(crate) fn problem(&self) -> Sides<'_> {
        Sides {
            side: [self.side[0].side(), self.side[1].side()],
            budget: self.budget,
            bid_share: self.share,
            inventory: self.inventory,
        }
    }

    /// Solved afresh.
    pub(crate) fn solve(&self) -> Solved {
        let mut solver = SidesSolver::new();
        let solution = solver.solve(&self.problem()).unwrap();
        Solved::of(solution, &solver)
    }

    pub(crate) fn eta(&self) -> f64 {
        self.inventory.map_or(0.0, |inventory| inventory.price_of_risk)
    }

    pub(crate) fn position(&self) -> f64 {
        self.inventory.map_or(0.0, |inventory| inventory.position)
    }

    pub(crate) fn varied(&self) -> bool {
        self.inventory.is_some_and(|inventory| inventory.fill_variance && inventory.price_of_risk > 0.0)
    }

    /// Bids for asks: a long position becomes short.
    pub(crate) fn mirrored(&self) -> Self {
        let [bid, ask] = &self.side;
        Self {
            side: [ask.clone(), bid.clone()],
            budget: Budget { side: [self.budget.side[1], self.budget.side[0]], total: self.budget.total },
            share: self.share.map(|[lo, hi]| [1.0 - hi, 1.0 - lo]),
            inventory: self.inventory.map(|inventory| Inventory { position: -inventory.position, ..inventory }),
        }
    }
}

/// An answer with its sizes and multipliers.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    pub(crate) outcome: SidesSolution,
    pub(crate) size: [Vec<f64>; 2],
    pub(crate) multipliers: Multipliers,
}

impl Solved {
    pub(crate) fn of(outcome: SidesSolution, solver: &SidesSolver) -> Self {
        Self { outcome, size: solver.size().map(<[f64]>::to_vec), multipliers: solver.multipliers().clone() }
    }

    pub(crate) fn sizes(&self) -> [&[f64]; 2] {
        [&self.size[0], &self.size[1]]
    }

    pub(crate) fn total(&self, x: usize) -> f64 {
        self.size[x].iter().sum()
    }
}
