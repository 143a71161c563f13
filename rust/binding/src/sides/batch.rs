//! `solve_batch`: many problems from stacked arrays, on all cores, without the interpreter lock.

use std::num::NonZeroUsize;

use equipoise::entropy::Bound as LevelBound;
use equipoise::sides::{self, Side, Sides, Stopped};
use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::Passed;
use super::columns::PyBatchResult;
use super::problem::{AMOUNT, Combine, Margin, bid_share_of, closing_credit_of, inventory_of, is_amount, side_of};
use super::side::{PyInventory, PySideProblem};
use crate::arrays::{integer, number, stacked};
use crate::error::{from_core, input};

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(solve_batch, module)?)
}

const THREADS_MAX: i64 = 1024;

/// Rows of an argument: one number each where `width` is None.
struct Stack {
    values: Vec<f64>,
    width: Option<usize>,
}

impl Stack {
    fn one(&self, row: usize) -> f64 {
        self.values[row]
    }

    fn many(&self, row: usize, width: usize) -> &[f64] {
        &self.values[row * width..][..width]
    }

    fn pair(&self, row: usize) -> [f64; 2] {
        [self.values[2 * row], self.values[2 * row + 1]]
    }

    fn bound(&self, row: usize) -> LevelBound<'_> {
        match self.width {
            None => LevelBound::Scalar(self.one(row)),
            Some(width) => LevelBound::Each(self.many(row, width)),
        }
    }

    /// Refuses the first value that does not hold, by row and place in the row.
    fn check(&self, argument: &str, requirement: &str, holds: impl Fn(f64) -> bool) -> PyResult<()> {
        let Some(at) = self.values.iter().position(|value| !holds(*value)) else { return Ok(()) };
        let got = self.values[at];
        Err(match self.width {
            None => input(argument, Some(at), requirement, got),
            Some(width) => input(&format!("{argument}[{}]", at / width), Some(at % width), requirement, got),
        })
    }
}

/// The number of rows, as the first stacked argument has it.
#[derive(Default)]
struct Rows(Option<usize>);

impl Rows {
    /// A stacked argument of shape (N,) where `one` says so, or (N, `width`).
    fn read(&mut self, argument: &str, value: &Bound<'_, PyAny>, one: bool, width: Option<usize>) -> PyResult<Stack> {
        let (values, shape) = stacked(argument, value)?;
        let found = shape.get(1).copied();
        if !(if found.is_none() { one } else { found == width }) {
            let many = width.map_or_else(String::new, |width| format!("(N, {width})"));
            let or = if one && width.is_some() { " or " } else { "" };
            let requirement = format!("of shape {}{or}{many}", if one { "(N,)" } else { "" });
            return Err(input(argument, None, &requirement, format_args!("shape {shape:?}")));
        }
        let rows = *self.0.get_or_insert(shape[0]);
        if shape[0] != rows {
            let requirement = format!("of {rows} rows like the arguments before it");
            return Err(input(argument, None, &requirement, format_args!("{} rows", shape[0])));
        }
        Ok(Stack { values, width: found })
    }
}

/// A side whose arguments may change by row.
struct SideRows<'a> {
    shared: &'a PySideProblem,
    utility: Option<Stack>,
    margin_per_unit: Option<Stack>,
    entropy_min: Option<Stack>,
    size_max: Option<Stack>,
    share_floor: Option<Stack>,
    share_cap: Option<Stack>,
    size_cap: Option<Stack>,
    fill_probability: Option<Stack>,
}

impl<'a> SideRows<'a> {
    fn new(shared: &'a PySideProblem) -> Self {
        Self {
            shared,
            utility: None,
            margin_per_unit: None,
            entropy_min: None,
            size_max: None,
            share_floor: None,
            share_cap: None,
            size_cap: None,
            fill_probability: None,
        }
    }

    /// Takes an argument by its name without the side; false where there is none of that name.
    fn take(&mut self, field: &str, argument: &str, value: &Bound<'_, PyAny>, rows: &mut Rows) -> PyResult<bool> {
        let levels = Some(self.shared.utility.len());
        let (place, one, width) = match field {
            "utility" => (&mut self.utility, false, levels),
            "margin_per_unit" => (&mut self.margin_per_unit, true, levels),
            "entropy_min" => (&mut self.entropy_min, true, None),
            "size_max" => (&mut self.size_max, true, None),
            "share_floor" => (&mut self.share_floor, true, levels),
            "share_cap" => (&mut self.share_cap, true, levels),
            "size_cap" => (&mut self.size_cap, true, levels),
            "fill_probability" => (&mut self.fill_probability, true, levels),
            _ => return Ok(false),
        };
        *place = Some(rows.read(argument, value, one, width)?);
        Ok(true)
    }

    /// The core reads margins level by level.
    fn spread(&mut self, argument: &str) -> PyResult<()> {
        let levels = self.shared.utility.len();
        if let Some(stack) = &mut self.margin_per_unit
            && stack.width.is_none()
        {
            stack.check(argument, AMOUNT, is_amount)?;
            let mut values = Vec::new();
            values.try_reserve_exact(stack.values.len().saturating_mul(levels)).map_err(no_memory)?;
            values.extend(stack.values.iter().flat_map(|margin| std::iter::repeat_n(*margin, levels)));
            *stack = Stack { values, width: Some(levels) };
        }
        Ok(())
    }

    fn core(&self, row: usize) -> Side<'_> {
        let levels = self.shared.utility.len();
        let utility = self.utility.as_ref().map_or(&self.shared.utility[..], |stack| stack.many(row, levels));
        let mut side = self.shared.core(utility);
        if let Some(stack) = &self.margin_per_unit {
            side.margin = stack.many(row, levels);
        }
        if let Some(stack) = &self.entropy_min {
            side.entropy_min = stack.one(row);
        }
        if let Some(stack) = &self.size_max {
            side.size_max = stack.one(row);
        }
        if let Some(stack) = &self.share_floor {
            side.share_floor = stack.bound(row);
        }
        if let Some(stack) = &self.share_cap {
            side.share_cap = stack.bound(row);
        }
        if let Some(stack) = &self.size_cap {
            side.size_cap = stack.bound(row);
        }
        if let Some(stack) = &self.fill_probability {
            side.fill_probability = stack.bound(row);
        }
        side
    }
}

/// Shared by all rows, or stacked.
enum Each<T> {
    Shared(T),
    Stacked(Stack),
}

/// Everything of a batch; what was stacked is a copy.
struct Stated<'a> {
    sides: [SideRows<'a>; 2],
    combine: Combine,
    margin: Each<Margin>,
    closing_credit: Each<[f64; 2]>,
    bid_share: Each<Option<[f64; 2]>>,
    inventory: Option<PyInventory>,
    position: Option<Stack>,
    price_of_risk: Option<Stack>,
}

impl Stated<'_> {
    fn core(&self, row: usize) -> Sides<'_> {
        let margin = match &self.margin {
            Each::Shared(margin) => *margin,
            Each::Stacked(stack) if stack.width.is_none() => Margin::One(stack.one(row)),
            Each::Stacked(stack) => Margin::Each(stack.pair(row)),
        };
        let closing_credit = match &self.closing_credit {
            Each::Shared(credit) => *credit,
            Each::Stacked(stack) => stack.pair(row),
        };
        let bid_share = match &self.bid_share {
            Each::Shared(share) => *share,
            Each::Stacked(stack) => Some(stack.pair(row)),
        };
        let inventory = self.inventory.map(|inventory| sides::Inventory {
            position: self.position.as_ref().map_or(inventory.position, |stack| stack.one(row)),
            price_of_risk: self.price_of_risk.as_ref().map_or(inventory.price_of_risk, |stack| stack.one(row)),
            ..inventory.core()
        });
        Sides {
            side: [self.sides[0].core(row), self.sides[1].core(row)],
            budget: self.combine.budget(margin, closing_credit),
            bid_share,
            inventory,
        }
    }
}

/// A margin, a credit or a share by row.
fn by_row<T>(
    value: &Bound<'_, PyAny>,
    shared: impl FnOnce() -> PyResult<T>,
    stack: impl FnOnce() -> PyResult<Stack>,
) -> PyResult<Each<T>> {
    if value.is_instance_of::<PyTuple>() { shared().map(Each::Shared) } else { stack().map(Each::Stacked) }
}

fn margin_of(value: &Bound<'_, PyAny>, combine: Combine, rows: &mut Rows) -> PyResult<Each<Margin>> {
    if number("margin", value).is_ok() {
        return Margin::read("margin", value, combine).map(Each::Shared);
    }
    by_row(
        value,
        || Margin::read("margin", value, combine),
        || {
            let width = if combine == Combine::WorstSide { Some(2) } else { None };
            let stack = rows.read("margin", value, true, width)?;
            stack.check("margin", AMOUNT, is_amount)?;
            Ok(stack)
        },
    )
}

/// The inventory term of each row: a number for all, or one for each.
fn inventory_rows(
    argument: &str,
    value: Option<&Bound<'_, PyAny>>,
    inventory: Option<&mut PyInventory>,
    rows: &mut Rows,
    place: impl FnOnce(&mut PyInventory) -> &mut f64,
    requirement: &str,
    holds: impl Fn(f64) -> bool,
) -> PyResult<Option<Stack>> {
    let Some(value) = value else { return Ok(None) };
    let Some(inventory) = inventory else {
        return Err(input(argument, None, "left out where there is no inventory", "a value"));
    };
    if let Ok(shared) = number(argument, value) {
        if !holds(shared) {
            return Err(input(argument, None, requirement, shared));
        }
        *place(inventory) = shared;
        return Ok(None);
    }
    let stack = rows.read(argument, value, true, None)?;
    stack.check(argument, requirement, holds)?;
    Ok(Some(stack))
}

/// Many problems of two sides at once, from stacked arrays, on all cores.
///
/// `bid` and `ask` give what all rows share; every keyword that is stacked along the rows takes its place. Any argument of
/// `SideProblem` but the saturation can be stacked, with ``bid_`` or ``ask_`` before its name.
///
/// Parameters
/// ----------
/// bid, ask : SideProblem
///     What the rows share.
/// margin : float, (float, float) or array_like
///     What the orders may hold, account currency: one number for all rows or shape (N,). Under ``combine="worst_side"`` also
///     a pair for all rows, which is a tuple, or shape (N, 2).
/// combine : {"sum", "worst_side"}
///     As in `SidesProblem`, for all rows.
/// bid_share : (float, float) or array_like, optional
///     Bounds on the bids' part: a tuple for all rows, or shape (N, 2).
/// inventory : Inventory, optional
///     For all rows, but for what the next two replace.
/// position, price_of_risk : float or array_like, optional
///     In the place of those of `inventory`: one number for all rows or shape (N,).
/// closing_credit : (float, float) or array_like
///     A tuple for all rows, or shape (N, 2).
/// threads : int, optional
///     How many threads, at most 1024; all cores unless given.
/// **rows : array_like
///     ``bid_utility``, ``ask_utility``: shape (N, K) of that side. ``…_margin_per_unit``, ``…_share_floor``, ``…_share_cap``,
///     ``…_size_cap``, ``…_fill_probability``: shape (N, K), or (N,) for one number on all levels of a row.
///     ``…_entropy_min``, ``…_size_max``: shape (N,).
///
/// Returns
/// -------
/// BatchResult
///     Row by row, bit by bit, what `solve_sides` returns for that row, whatever the number of threads. A batch in which
///     nothing is stacked has one row.
///
/// Raises
/// ------
/// InputError
///     An argument is malformed, or stacked to another number of rows than those before it. Of rows that are malformed the first
///     is named: ``bid_utility[17]`` with index 3 is level 3 of row 17.
/// MemoryError
///     There is no memory for the answers.
/// KeyboardInterrupt
///     The batch was interrupted; the threads end with their row, nothing is returned.
///
/// Notes
/// -----
/// What is stacked is copied, so that arrays may be changed by others while the batch runs without the interpreter lock.
/// Memory: the copies, and ``K_bid + K_ask + 13`` numbers a row for the answers. O(N K) time, divided by the cores.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> import equipoise as eq
/// >>> side = eq.SideProblem([0.03, 0.02, 0.01], 2.7, entropy_min=0.9, size_max=100.0)
/// >>> batch = eq.solve_batch(side, side, margin=400.0, inventory=eq.Inventory(0.0, 1e-5), position=[-50.0, 0.0, 50.0])
/// >>> len(batch), batch.bid_size.shape, bool(np.all(np.diff(batch.bid_size.sum(axis=1)) < 0))
/// (3, (3, 3), True)
/// >>> batch.statuses[0]
/// <SidesStatus.OPTIMAL: 'optimal'>
#[pyfunction]
#[pyo3(
    signature = (bid, ask, *, margin, combine = Passed(None), bid_share = None, inventory = None, position = None,
        price_of_risk = None, closing_credit = Passed(None), threads = None, **rows),
    text_signature = "(bid, ask, *, margin, combine='sum', bid_share=None, inventory=None, position=None, \
        price_of_risk=None, closing_credit=(0.0, 0.0), threads=None, **rows)"
)]
#[allow(clippy::too_many_arguments, reason = "the public function, keyword by keyword")]
fn solve_batch(
    py: Python<'_>,
    bid: &Bound<'_, PyAny>,
    ask: &Bound<'_, PyAny>,
    margin: &Bound<'_, PyAny>,
    combine: Passed<'_>,
    bid_share: Option<&Bound<'_, PyAny>>,
    inventory: Option<&Bound<'_, PyAny>>,
    position: Option<&Bound<'_, PyAny>>,
    price_of_risk: Option<&Bound<'_, PyAny>>,
    closing_credit: Passed<'_>,
    threads: Option<&Bound<'_, PyAny>>,
    rows: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyBatchResult> {
    let shared = [side_of("bid", bid)?.get(), side_of("ask", ask)?.get()];
    let mut sides = shared.map(SideRows::new);
    let mut count = Rows::default();
    for (name, value) in rows.into_iter().flatten() {
        take(&mut sides, &name, &value, &mut count)?;
    }
    sides[0].spread("bid_margin_per_unit")?;
    sides[1].spread("ask_margin_per_unit")?;
    let combine = Combine::read(combine.0.as_ref())?;
    let margin = margin_of(margin, combine, &mut count)?;
    let closing_credit = match closing_credit.0.as_ref() {
        None => Each::Shared([0.0; 2]),
        Some(value) => by_row(
            value,
            || closing_credit_of(Some(value)),
            || {
                let stack = count.read("closing_credit", value, false, Some(2))?;
                stack.check("closing_credit", AMOUNT, is_amount)?;
                Ok(stack)
            },
        )?,
    };
    let bid_share = match bid_share {
        None => Each::Shared(None),
        Some(value) => {
            by_row(value, || bid_share_of(value).map(Some), || count.read("bid_share", value, false, Some(2)))?
        }
    };
    let mut inventory = inventory_of(inventory)?;
    let position = inventory_rows(
        "position",
        position,
        inventory.as_mut(),
        &mut count,
        |inventory| &mut inventory.position,
        "finite",
        f64::is_finite,
    )?;
    let price_of_risk = inventory_rows(
        "price_of_risk",
        price_of_risk,
        inventory.as_mut(),
        &mut count,
        |inventory| &mut inventory.price_of_risk,
        AMOUNT,
        is_amount,
    )?;
    let threads = threads_of(threads)?;
    let stated = Stated { sides, combine, margin, closing_credit, bid_share, inventory, position, price_of_risk };
    let levels = shared.map(|side| side.utility.len());
    let rows = count.0.unwrap_or(1);
    let mut interrupt = None;
    let solved = py.detach(|| {
        sides::solve_batch(
            rows,
            levels,
            |row| stated.core(row),
            threads,
            || {
                interrupt = Python::attach(|py| py.check_signals()).err();
                interrupt.is_none()
            },
        )
    });
    match (solved, interrupt) {
        (_, Some(interrupt)) => Err(interrupt),
        (Ok(batch), None) => Ok(PyBatchResult::of(py, batch, levels)),
        (Err(Stopped::Memory), None) => Err(no_memory("of the answers")),
        (Err(Stopped::Malformed { row, error }), None) => Err(renamed(error, row)),
        (Err(Stopped::Asked), None) => Err(pyo3::exceptions::PyAssertionError::new_err("stopped without an interrupt")),
    }
}

/// A keyword of the form `bid_…` or `ask_…`.
fn take(
    sides: &mut [SideRows<'_>; 2],
    name: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    rows: &mut Rows,
) -> PyResult<()> {
    let text = name.cast::<PyString>()?.to_cow()?;
    let [bids, asks] = sides;
    let known = if let Some(field) = text.strip_prefix("bid_") {
        bids.take(field, &text, value, rows)?
    } else if let Some(field) = text.strip_prefix("ask_") {
        asks.take(field, &text, value, rows)?
    } else {
        false
    };
    if known {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("solve_batch() got an unexpected keyword argument '{text}'")))
}

fn no_memory(what: impl std::fmt::Display) -> PyErr {
    PyMemoryError::new_err(format!("solve_batch: no memory ({what})"))
}

fn threads_of(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<NonZeroUsize>> {
    let Some(value) = value else { return Ok(None) };
    let threads = integer("threads", None, value)?;
    let wanted = if threads <= THREADS_MAX { usize::try_from(threads).ok().and_then(NonZeroUsize::new) } else { None };
    wanted.map(Some).ok_or_else(|| input("threads", None, "between 1 and 1024", threads))
}

/// The core names `bid.utility`; the caller wrote `bid_utility`, and may have stacked it.
fn renamed(error: equipoise::Error, row: usize) -> PyErr {
    let stacked =
        error.argument.starts_with("bid.") || error.argument.starts_with("ask.") || error.argument == "bid_share";
    if !stacked {
        return from_core(error);
    }
    let argument = error.argument.replace('.', "_");
    match error.index {
        None => input(&argument, Some(row), error.requirement, error.got),
        Some(level) => input(&format!("{argument}[{row}]"), Some(level), error.requirement, error.got),
    }
}
