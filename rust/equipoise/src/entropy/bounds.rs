//! Feasibility of P1, and its point of largest entropy.

use super::rows::{Chunk, Rows};
use super::solve::read_bound;
use super::water::{SUM_TIE, clip, entropy_of, sum, water_level};
use super::{Bound, ENTROPY_TIE, SideProblem};
use crate::error::Result;
use crate::lanes::{LANES, Lanes};
use crate::status::Status;

/// Feasible, or the reason why not with the largest entropy where there is one.
type Decision<T> = std::result::Result<T, (Status, f64)>;

/// What is known of floors and caps once they are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Boxes {
    /// All shares from zero to one: no bound ever binds, and the rows of bounds are not filled.
    Open,
    /// One floor and one cap for all levels.
    Same { floor: f64, cap: f64 },
    /// At least one of them by level.
    Each,
}

/// What feasibility leaves for the search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feasible {
    /// The entropy floor in force: the caller's, or the largest entropy where the two count as equal.
    pub(super) entropy_min: f64,
    pub(super) entropy_max: f64,
    /// The caller's floor, for the violation.
    pub(super) entropy_asked: f64,
    /// `entropy_max − entropy_min`.
    pub(super) slack: f64,
    /// The water level `t` of the flattest point `clip(t, f, c)`.
    pub(super) level: f64,
    /// The flattest point is the only feasible one.
    pub(super) tight: bool,
}

impl Feasible {
    /// So close to the largest entropy that differences to it must be computed without cancellation.
    #[inline(always)]
    pub(super) fn near_max(&self) -> bool {
        self.slack < 1e-3 * self.entropy_max
    }
}

/// Reads floors and caps into their rows.
#[inline(always)]
pub(super) fn read<L: Lanes>(problem: &SideProblem<'_>, rows: &mut Rows<'_>) -> Result<Boxes> {
    if let (Bound::Scalar(0.0), Bound::Scalar(1.0)) = (&problem.floor, &problem.cap) {
        return Ok(Boxes::Open);
    }
    // A floor above one is infeasible, which is an answer; a cap above one says nothing and is a mistake.
    read_bound(("floor", "finite and not negative", f64::MAX), &problem.floor, rows.levels, rows.floor)?;
    read_bound(("cap", "between 0 and 1", 1.0), &problem.cap, rows.levels, rows.cap)?;
    fill_logs::<L>(&problem.floor, rows.floor, rows.floor_log);
    fill_logs::<L>(&problem.cap, rows.cap, rows.cap_log);
    Ok(match (&problem.floor, &problem.cap) {
        (Bound::Scalar(floor), Bound::Scalar(cap)) => Boxes::Same { floor: *floor, cap: *cap },
        _ => Boxes::Each,
    })
}

/// `b ln b` of a row of bounds.
#[inline(always)]
fn fill_logs<L: Lanes>(bound: &Bound<'_>, bounds: &[Chunk], logs: &mut [Chunk]) {
    if let Bound::Scalar(_) = bound {
        // Only the last chunk, with its padding, differs.
        let mut log = [0.0; LANES];
        p_ln_p(L::load(&bounds[0])).store(&mut log);
        logs.fill(log);
    }
    let rest = if matches!(bound, Bound::Scalar(_)) { bounds.len() - 1 } else { 0 };
    for (bound, log) in bounds.iter().zip(logs).skip(rest) {
        p_ln_p(L::load(bound)).store(log);
    }
}

/// Rows for shares from zero to one.
pub(super) fn fill_open(rows: &mut Rows<'_>, feasible: &Feasible) {
    let levels = rows.levels;
    for (row, value) in [
        (&mut *rows.floor, 0.0),
        (&mut *rows.cap, 1.0),
        (&mut *rows.floor_log, 0.0),
        (&mut *rows.cap_log, 0.0),
        (&mut *rows.flattest, feasible.level),
    ] {
        let row = row.as_flattened_mut();
        row[..levels].fill(value);
        row[levels..].fill(0.0);
    }
}

/// `p ln p`, zero at zero.
#[inline(always)]
pub(super) fn p_ln_p<L: Lanes>(p: L) -> L {
    p.mul(p.max(L::splat(1e-300)).ln())
}

/// Decides feasibility and leaves the flattest point in its row (except for open boxes, where it is `1/K` throughout).
#[inline(always)]
pub(super) fn check<L: Lanes>(boxes: &Boxes, rows: &mut Rows<'_>, asked: f64) -> Decision<Feasible> {
    let count = rows.levels as f64;
    let even = 1.0 / count;
    let (level, entropy_max) = match *boxes {
        Boxes::Open => (even, count.ln()),
        Boxes::Same { floor, cap } => {
            sums_allow(floor > cap, count * floor, count * cap)?;
            let level = clip(even, floor, cap);
            fill_flattest(rows, level);
            (level, count.ln())
        }
        Boxes::Each => {
            let (mut above, mut floors, mut caps) = (L::splat(-1.0), L::zero(), L::zero());
            let mut inside = L::zero();
            for (floor, cap) in rows.floor.iter().zip(rows.cap.iter()) {
                let (floor, cap) = (L::load(floor), L::load(cap));
                above = above.max(floor.sub(cap));
                floors = floors.add(floor);
                caps = caps.add(cap);
                let clipped = L::splat(even).max(floor).min(cap);
                inside = inside.add(clipped.if_equal(L::splat(even), L::splat(1.0), L::zero()));
            }
            let (floors, caps) = if rows.levels > 4096 {
                (sum(rows.floor.as_flattened().iter().copied()), sum(rows.cap.as_flattened().iter().copied()))
            } else {
                (floors.sum(), caps.sum())
            };
            sums_allow(above.largest() > 0.0, floors, caps)?;
            if inside.sum() == count {
                fill_flattest(rows, even);
                (even, count.ln())
            } else {
                flattest(rows)
            }
        }
    };
    let slack = entropy_max - asked;
    if slack < -ENTROPY_TIE {
        return Err((Status::InfeasibleEntropy, entropy_max));
    }
    let tight = slack <= ENTROPY_TIE;
    Ok(Feasible {
        entropy_min: if tight { entropy_max } else { asked },
        entropy_max,
        entropy_asked: asked,
        slack: if tight { 0.0 } else { slack },
        level,
        tight,
    })
}

fn sums_allow(crossed: bool, floors: f64, caps: f64) -> Decision<()> {
    let status = if crossed {
        Status::InfeasibleFloorAboveCap
    } else if floors > 1.0 + SUM_TIE {
        Status::InfeasibleFloorSum
    } else if caps < 1.0 - SUM_TIE {
        Status::InfeasibleCapSum
    } else {
        return Ok(());
    };
    Err((status, f64::NAN))
}

fn fill_flattest(rows: &mut Rows<'_>, level: f64) {
    let levels = rows.levels;
    let flat = rows.flattest.as_flattened_mut();
    flat[..levels].fill(level);
    flat[levels..].fill(0.0);
}

/// Water level and entropy of the flattest point, where bounds shape it.
#[inline(never)]
fn flattest(rows: &mut Rows<'_>) -> (f64, f64) {
    let levels = rows.levels;
    let (floor, cap) = (&rows.floor.as_flattened()[..levels], &rows.cap.as_flattened()[..levels]);
    let level = water_level(floor.iter().copied().zip(cap.iter().copied()), 1.0);
    let flat = rows.flattest.as_flattened_mut();
    for ((share, &floor), &cap) in flat.iter_mut().zip(floor).zip(cap) {
        *share = clip(level, floor, cap);
    }
    flat[levels..].fill(0.0);
    (level, entropy_of(&flat[..levels]))
}
