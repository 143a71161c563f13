//! From the continuous answer of one side to integer lots, with a certificate.
//!
//! A side has levels `i` with value `u_i` per lot, an exact charge for `n` lots, a smallest order and a cap, and shares one
//! budget and one limit on its total. The projection looks for lots `n`:
//!
//! ```text
//! maximise    Σ u_i n_i
//! subject to  n_i = 0  or  lots_min_i ≤ n_i ≤ lots_cap_i,      Σ n_i ≤ lots_total_max,
//!             Σ ⌈n_i · charge_i⌉ ≤ budget                      (exact, in micro-units),
//!             H(n / Σn) ≥ h                                    (nats),
//!             φ Σn − 1 < n_i < κ Σn + 1                        (on quoted levels: shares hold to one lot).
//! ```
//!
//! The steps: support (which levels can carry their smallest order), the continuous optimum with those orders as floors,
//! lots rounded down, repair of the entropy floor, fill. Every step keeps budget, caps and minimums, and none after the
//! fill changes a size. `docs/projection.md` has the guarantees and the tests that hold them.

mod certificate;
mod continuous;
mod equal;
mod levels;
mod lots;
mod polish;
mod support;

use crate::entropy::SideSolver;
use crate::error::{Error, Result};
use crate::margin::ChargeRate;
use crate::status::Reason;
use levels::Levels;
use lots::Lots;

pub use certificate::SideCertificate;

/// Most levels a side may have.
pub const LEVELS_MAX: usize = 1 << 20;
/// How far below its floor a computed entropy may lie and still count as meeting it, nats.
pub const ENTROPY_TIE: f64 = 1e-12;
/// Largest utility per lot, in size.
const UTILITY_MAX: f64 = 1e150;

/// What the lots should resemble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target<'a> {
    /// The entropy-constrained optimum of this side (problem P1, two-stage sizing `S = min(limit, budget / m·p)`).
    Entropy,
    /// Sizes in lots from elsewhere (an older optimizer, the joint solver): finite and not negative. Their total is not
    /// exceeded, and their proportions are kept as far as minimums, caps and the entropy floor allow.
    Given(&'a [f64]),
}

/// What to do with levels whose smallest order is worth less than the lots it takes from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Breadth {
    /// Quote every level whose smallest order is affordable and has value: the number of orders follows from the money.
    #[default]
    Widest,
    /// Drop a level when the side is worth more without it and the entropy floor still holds.
    Best,
}

/// What to do where the entropy floor cannot be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnInfeasible {
    /// Use a lower floor, and say so: `h_n = min(h, h ln n / ln K)` on the `n` affordable levels of `K`, and where lots
    /// still prevent it, the most equal ladder.
    #[default]
    Relax,
    /// Quote nothing on this side.
    Refuse,
}

/// What to do where no ladder has positive value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnprofitable {
    /// Quote nothing on this side.
    #[default]
    Empty,
    /// Quote smallest sizes.
    LeastBad,
}

/// Why the entropy floor in force is lower than the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relaxed {
    /// Fewer levels are affordable than were asked for.
    Levels,
    /// Whole lots, minimums, caps and the budget leave nothing more even.
    Lots,
}

/// One side as the projection needs it. All arrays have one element per level, in any order; prices are distinct.
#[derive(Clone, Copy, Debug)]
pub struct ProjectInput<'a> {
    /// Limit price of each level in ticks. Used to break ties only.
    pub price_ticks: &'a [i64],
    /// Value of one lot at each level, in account currency or anything proportional to it; any sign, at most 1e150.
    pub utility: &'a [f64],
    /// Exact charge of one lot at each level.
    pub charge: &'a [ChargeRate],
    /// Smallest order at each level in lots, at least 1.
    pub lots_min: &'a [i64],
    /// Largest order at each level in lots; below the smallest order the level is not quoted.
    pub lots_cap: &'a [i64],
    /// Largest total of the side in lots; zero or less: nothing may be quoted.
    pub lots_total_max: i64,
    /// What the side may hold, micro-units; negative counts as zero.
    pub budget: i64,
    /// Entropy floor `h`, nats; zero or less: none.
    pub entropy_min: f64,
    /// Smallest share of the side's lots on every quoted level, 0…1.
    pub share_floor: f64,
    /// Largest share of the side's lots on every quoted level, 0…1.
    pub share_cap: f64,
    /// What the lots should resemble.
    pub target: Target<'a>,
    /// Whether levels are dropped to gain value.
    pub breadth: Breadth,
    /// What to do where the entropy floor cannot be met.
    pub on_infeasible: OnInfeasible,
    /// What to do where no ladder has positive value.
    pub on_unprofitable: OnUnprofitable,
}

/// A projected side. Buffers are reused from call to call.
#[derive(Clone, Debug, Default)]
pub struct Projected {
    /// Lots of each level, in the order of the input; zero: no order.
    pub lots: Vec<i64>,
    /// Charge of each order in micro-units, rounded up.
    pub hold: Vec<i64>,
    /// What became of each level.
    pub reasons: Vec<Reason>,
    /// Why there is no order at all; `None` when there is one.
    pub empty: Option<Reason>,
    /// Proof on the final lots.
    pub certificate: SideCertificate,
}

/// Projects one side after another and owns the buffers, so that projecting again allocates nothing.
///
/// The answer depends on the input only, never on what was projected before.
#[derive(Clone, Debug, Default)]
pub struct Projector {
    levels: Levels,
    solver: SideSolver,
    /// Positions in `levels` that may carry an order in the attempt at hand.
    support: Vec<usize>,
    spare: Vec<usize>,
    cheapest: Vec<usize>,
    by_min: Vec<i64>,
    problem: continuous::Problem,
    lots: Lots,
    best: Lots,
    multipliers: support::Multipliers,
    bound: certificate::Bounds,
    projected: Projected,
}

impl Projector {
    /// A projector with empty buffers; they grow with the first side.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last projection.
    #[must_use]
    pub fn projected(&self) -> &Projected {
        &self.projected
    }

    /// Projects one side.
    ///
    /// # Errors
    /// When an argument is malformed: arrays of different length, a number that is not finite or out of range. A side that
    /// cannot be quoted is an answer ([`Projected::empty`]), not an error.
    pub fn project(&mut self, input: &ProjectInput<'_>) -> Result<&Projected> {
        check(input)?;
        self.levels.load(input);
        self.best.reset(self.levels.len());
        let outcome = self.search(input);
        self.publish(input, &outcome);
        Ok(&self.projected)
    }
}

/// Reads the arguments for errors; expected states (no budget, no room) pass.
fn check(input: &ProjectInput<'_>) -> Result<()> {
    let levels = input.utility.len();
    if levels > LEVELS_MAX {
        return Err(Error::new("utility", "of at most 1048576 levels", levels));
    }
    let lengths = [
        ("price_ticks", input.price_ticks.len()),
        ("charge", input.charge.len()),
        ("lots_min", input.lots_min.len()),
        ("lots_cap", input.lots_cap.len()),
    ];
    for (argument, length) in lengths {
        if length != levels {
            return Err(Error::new(argument, "as long as utility", format_args!("{length} values")));
        }
    }
    let far = |value: &f64| !value.is_finite() || value.abs() > UTILITY_MAX;
    if let Some(index) = input.utility.iter().position(far) {
        return Err(Error::at("utility", index, "finite and at most 1e150 in size", input.utility[index]));
    }
    if let Some(index) = input.charge.iter().position(|rate| rate.num < 0 || rate.den <= 0) {
        return Err(Error::at("charge", index, "not negative, over a positive denominator", input.charge[index].num));
    }
    if let Some(index) = input.lots_min.iter().position(|lots| *lots < 1) {
        return Err(Error::at("lots_min", index, "at least 1", input.lots_min[index]));
    }
    if !input.entropy_min.is_finite() {
        return Err(Error::new("entropy_min", "finite", input.entropy_min));
    }
    for (argument, share) in [("share_floor", input.share_floor), ("share_cap", input.share_cap)] {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::new(argument, "between 0 and 1", share));
        }
    }
    if input.share_floor > input.share_cap {
        return Err(Error::new("share_floor", "at most share_cap", input.share_floor));
    }
    let Target::Given(sizes) = input.target else { return Ok(()) };
    if sizes.len() != levels {
        return Err(Error::new("target", "as long as utility", format_args!("{} values", sizes.len())));
    }
    match sizes.iter().position(|size| !(0.0..=UTILITY_MAX).contains(size)) {
        Some(index) => Err(Error::at("target", index, "finite and not negative", sizes[index])),
        None => Ok(()),
    }
}
