//! The entropy-constrained optimizer of both sides from one margin (problems P2 and P3).
//!
//! ```text
//! maximise    Σ_bids U_i(s_i) + Σ_asks U_i(s_i) − ½ η (q + Σ_bids λ_i s_i − Σ_asks λ_i s_i)²  [− ½ η Σ λ_i (1 − λ_i) s_i²]
//! subject to  per side x, with S_x = Σ s_i:
//!                 −Σ s_i ln(s_i / S_x) ≥ h_x S_x            entropy floor in perspective form
//!                 φ_i S_x ≤ s_i ≤ κ_i S_x,  0 ≤ s_i ≤ C_i,  S_x ≤ Q_x
//!             margin:  m_b·s_b ≤ M_b,   m_a·s_a ≤ M_a,   m_b·s_b + m_a·s_a ≤ M
//!             share (optional):  lo (S_b + S_a) ≤ S_b ≤ hi (S_b + S_a)
//! ```
//!
//! `U_i(s) = u_i s`, or a concave fill value that saturates ([`Saturation`]). The set is convex, because `−Σ s ln(s/S)` is
//! jointly concave and homogeneous, and the objective is concave.
//!
//! The work is done in up to three ways (`solver`). Where values are linear, a quick search takes shapes and totals in turn
//! (`quick`); if caps on single sizes turn out to be in the way, Newton's method goes on from there (`crowded`). Everything else
//! goes to an interior-point method whose Newton systems have nine unknowns at the most, however many levels there are
//! (`interior`). None is believed: every answer is priced by a dual bound computed from the statement of the problem, the
//! sizes and the multipliers alone (`certificate`).

// An index names a side, a budget or a column, and reaches several arrays at once.
#![allow(clippy::needless_range_loop)]

mod batch;
mod certificate;
mod crowded;
mod interior;
mod linear;
mod quick;
mod read;
mod solver;

pub use batch::{Batch, Stopped, solve_batch};
pub use solver::SidesSolver;

use crate::entropy::Bound;
use crate::error::Result;
use crate::lanes::Lanes;
use crate::simd::{Kernel, dispatch, widest};
use crate::status::{SideStatus, SidesStatus};

/// Largest gap of an answer called optimal, as a multiple of its scale.
pub const GAP_MAX: f64 = 1e-8;
/// Largest relative violation of any constraint of an answer called optimal.
pub const VIOLATION_MAX: f64 = 1e-10;

/// Value of a fill as the size at one level grows; the scale `c_i` is in units of size.
#[derive(Clone, Copy, Debug)]
pub enum Saturation<'a> {
    /// `u s`.
    None,
    /// `u c (1 − e^{−s/c})`; levels of negative utility stay linear.
    Exponential(Bound<'a>),
    /// `u c ln(1 + s/c)`; levels of negative utility stay linear.
    Log(Bound<'a>),
}

/// One side as the caller states it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Value of one unit of size at each level, account currency; finite.
    pub utility: &'a [f64],
    /// Margin that one unit of size takes at each level; finite, not negative.
    pub margin: &'a [f64],
    /// Probability that a level fills within the horizon, `[0, 1]`; only the inventory term looks at it.
    pub fill_probability: Bound<'a>,
    /// Entropy floor `h` in nats; non-positive means none.
    pub entropy_min: f64,
    /// Smallest part of the side at each level, `φ_i`; finite, not negative.
    pub share_floor: Bound<'a>,
    /// Largest part of the side at each level, `κ_i`; `[0, 1]`.
    pub share_cap: Bound<'a>,
    /// Largest size at each level, `C_i`; not negative, infinite means none.
    pub size_cap: Bound<'a>,
    /// Largest total of the side, `Q`; finite, not negative.
    pub size_max: f64,
    /// How the value of a level saturates.
    pub saturation: Saturation<'a>,
}

/// What the orders may hold. Infinite means no such limit.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bids and asks on their own.
    pub side: [f64; 2],
    /// Both together.
    pub total: f64,
}

/// Price of the position that fills would leave.
#[derive(Clone, Copy, Debug)]
pub struct Inventory {
    /// Position `q`, signed size.
    pub position: f64,
    /// `η`, currency per squared unit of size; not negative.
    pub price_of_risk: f64,
    /// Adds the variance of each fill to that of the expected position.
    pub fill_variance: bool,
}

/// Problems P2 and P3. Bids come first in every pair.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// Bids and asks.
    pub side: [Side<'a>; 2],
    /// What the orders may hold.
    pub budget: Budget,
    /// Bounds on the bids' part of the total size.
    pub bid_share: Option<[f64; 2]>,
    /// The inventory term; `None` means `η = 0`.
    pub inventory: Option<Inventory>,
}

/// Multipliers at an answer, in account currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Multipliers {
    /// Of the two side budgets and of the total: currency per unit of margin.
    pub margin: [f64; 3],
    /// Of the entropy floors: currency per nat and unit of size.
    pub temperature: [f64; 2],
    /// Normalisers of the shares: where to look first when the bound is computed; any value keeps it valid.
    pub normaliser: [f64; 2],
    /// `ν`, the price of one more unit of position.
    pub inventory: f64,
    /// Of the per-level caps, for bids and asks; empty means zero.
    pub level: [Vec<f64>; 2],
}

/// Outcome of P2 or P3; the sizes stay with the solver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SidesSolution {
    /// Optimal, zero, or inaccurate.
    pub status: SidesStatus,
    /// What became of bids and asks.
    pub side: [SideStatus; 2],
    /// Value of the ladders, the inventory term included.
    pub objective: f64,
    /// An upper bound on the objective of every feasible pair of ladders.
    pub dual_bound: f64,
    /// `dual_bound − objective`, never negative.
    pub gap: f64,
    /// What a gap is read against: `max(|objective|, ½ η q², 1e-6 max|u| max Q)`.
    pub scale: f64,
    /// The largest relative amount by which any constraint is missed.
    pub violation: f64,
    /// Value of one more unit of margin on bids and on asks.
    pub margin_price: [f64; 2],
    /// Value of one nat less of entropy floor, by side, per unit of size.
    pub temperature: [f64; 2],
    /// `ν`.
    pub inventory_price: f64,
    /// Newton steps or evaluations of both sides.
    pub iterations: u32,
}

/// What a pair of ladders is worth, and the most that any could be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// Value of the ladders, the inventory term included.
    pub objective: f64,
    /// An upper bound on the objective of every feasible pair of ladders.
    pub dual_bound: f64,
    /// `dual_bound − objective`: what these ladders may leave, negative when they are not feasible and worth more.
    pub gap: f64,
    /// What a gap is read against: `max(|objective|, ½ η q², 1e-6 max|u| max Q)`.
    pub scale: f64,
    /// The largest relative amount by which any constraint is missed.
    pub violation: f64,
}

/// Bounds the regret of any ladders, rounded ones included, from multipliers alone. Any multipliers give a true bound; those
/// of a solution give a tight one.
///
/// # Errors
/// When the problem is malformed, or sizes or multipliers do not fit it: wrong length, not finite, negative.
pub fn certify(problem: &Sides<'_>, sizes: [&[f64]; 2], multipliers: &Multipliers) -> Result<Certificate> {
    read::check(problem)?;
    read::check_ladders(problem, sizes, multipliers)?;
    Ok(dispatch(Certify { problem, sizes, multipliers }, widest()))
}

struct Certify<'p, 'a> {
    problem: &'p Sides<'a>,
    sizes: [&'p [f64]; 2],
    multipliers: &'p Multipliers,
}

impl Kernel for Certify<'_, '_> {
    type Output = Certificate;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Certificate {
        self.problem.certify::<L>(self.sizes, self.multipliers, &mut Vec::new())
    }
}
