//! Orders of a ladder, judged one after the other: what each would hold, and what it changes.
//!
//! For the stores whose steps run in this process. What few accounts have is asked of the steps that know it: limits,
//! orders that may only reduce, charges that are counted per lot.

use equipoise::margin::{AMOUNT_MAX, Combine, Running};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet, PyString, PyTuple, PyType};

use super::record::record;
use super::rows::{required, rested_totals, rule, running, side, whole, with_running};

/// Of a symbol's record what the journal keeps: `lots` to `hold_asks`.
const JOURNALLED: std::ops::Range<usize> = 2..6;
/// Items of an order's record, and of what one that was asked for says.
const ORDER_ITEMS: usize = 38;
const ASK_ITEMS: usize = 8;

const EXISTS: &str = "ORDER_EXISTS";

/// What became of an order; refusals with their codes.
enum Verdict<'py> {
    Held,
    Refused(&'static str),
    /// By a limit that a ladder meets as a whole, whichever order is beyond it.
    Limited(Bound<'py, PyString>),
    /// For margin: what it required and what was free.
    Short(i128, i128),
}

/// Totals of a symbol and leg, before the ladder and now.
struct Row<'py> {
    /// As the account has them; not `begun`: it has none yet, and this is what they start from.
    first: Bound<'py, PyTuple>,
    begun: bool,
    totals: Running,
    /// What the totals require.
    all: i128,
}

/// An order as it was asked for, `equipoise.reservation.requests.Ask`, and what it would hold.
struct Asked<'py> {
    ask: Bound<'py, PyTuple>,
    items: [Bound<'py, PyAny>; ASK_ITEMS],
    lots: i64,
    hold: i64,
    reduce_only: bool,
    /// May only reduce: marked so, or closing a leg.
    reduces: bool,
}

impl<'py> Asked<'py> {
    fn new(ask: Bound<'py, PyAny>) -> PyResult<Self> {
        let ask = ask.cast_into::<PyTuple>()?;
        let items: [_; ASK_ITEMS] =
            ask.iter().collect::<Vec<_>>().try_into().map_err(|_| PyValueError::new_err("not an order asked for"))?;
        let (lots, hold, reduce_only) = (items[4].extract()?, items[6].extract()?, items[7].is_truthy()?);
        Ok(Self { ask, items, lots, hold, reduce_only, reduces: false })
    }

    fn order_id(&self) -> &Bound<'py, PyAny> {
        &self.items[0]
    }

    /// Whether its lots and its charge count: one that may only reduce and does not fit holds its charge, and counts like
    /// any other.
    fn counts(&self) -> bool {
        !self.reduces || self.hold > 0
    }
}

/// A ladder that is being judged.
struct Ladder<'py> {
    taken: Bound<'py, PySet>,
    terms: Bound<'py, PyAny>,
    combine: Combine,
    hedge: bool,
    tickets: bool,
    free: i128,
    before: i128,
    best_effort: bool,
    foreign: bool,
    stale: bool,
    steps: Steps<'py>,
    rows: Vec<Row<'py>>,
    /// Places of those where something is held, in the order in which it was: the journal's on every store.
    touched: Vec<usize>,
    /// used_margin_all with what is held so far, the charges of that, and how many orders it is.
    all: i128,
    holds: i128,
    held: usize,
}

/// What the steps are asked for: what an order holds and whether it may only reduce (terms, row, ask); the limit it meets;
/// to count its charge per lot (row, hold, lots, change).
type Steps<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

impl<'py> Ladder<'py> {
    fn py(&self) -> Python<'py> {
        self.taken.py()
    }

    /// The totals that an order changes: mostly those of the only symbol.
    fn place(&self, symbol: &Bound<'py, PyAny>, leg: &Bound<'py, PyAny>) -> PyResult<usize> {
        for (at, row) in self.rows.iter().enumerate() {
            if row.first.get_borrowed_item(0)?.eq(symbol)? && row.first.get_borrowed_item(1)?.eq(leg)? {
                return Ok(at);
            }
        }
        Err(PyKeyError::new_err((symbol.clone().unbind(), leg.clone().unbind())))
    }

    /// Judge an order; what it changes is noted if it counts for those after it.
    fn judge(&mut self, asked: &mut Asked<'py>) -> PyResult<Verdict<'py>> {
        let [order_id, symbol, leg, side_name, ..] = &asked.items;
        if self.taken.contains(order_id)? {
            return Ok(Verdict::Refused(EXISTS));
        }
        if self.foreign || self.hedge != leg.is_truthy()? || (self.tickets && asked.reduce_only) {
            return Ok(Verdict::Refused("TERMS_INVALID"));
        }
        let side = side(side_name)?;
        let at = self.place(symbol, leg)?;
        let row = &self.rows[at];
        if asked.reduce_only || self.hedge {
            let charged = self.steps.0.call1((&self.terms, with_running(&row.first, &row.totals)?, &asked.ask))?;
            (asked.hold, asked.reduces) = charged.extract()?;
            asked.items[6] = asked.hold.into_pyobject(self.py())?.into_any();
        }
        let counts = asked.counts();
        let mut after = rested_totals(row.totals, side, asked.hold, asked.lots, asked.reduces, counts)?;
        if let Some(count) = self.steps.2.as_ref().filter(|_| counts) {
            let counted = count.call1((with_running(&row.first, &after)?, asked.hold, asked.lots, 1))?;
            after = running(counted.cast::<PyTuple>()?)?;
        }
        let all_after = required(&after, self.combine)?.1;
        let rise = all_after - row.all;
        let verdict = self.limited(asked, row, &after, rise)?;
        if matches!(verdict, Verdict::Held) || (!self.best_effort && matches!(verdict, Verdict::Limited(_))) {
            let row = &mut self.rows[at];
            (row.totals, row.all) = (after, all_after);
            if !self.touched.contains(&at) {
                self.touched.push(at);
            }
            self.all += rise;
            self.holds += i128::from(asked.hold);
            self.held += 1;
        } else if let Some(count) = self.steps.2.as_ref().filter(|_| counts) {
            count.call1((with_running(&row.first, &after)?, asked.hold, asked.lots, -1))?;
        }
        Ok(verdict)
    }

    /// What an order meets that changes a symbol's totals to `after`.
    fn limited(&self, asked: &Asked<'py>, row: &Row<'py>, after: &Running, rise: i128) -> PyResult<Verdict<'py>> {
        let py = self.py();
        if self.all + rise > AMOUNT_MAX.into() || !after.fits() {
            return Ok(Verdict::Refused("AMOUNT_OVERFLOW"));
        }
        if self.stale && asked.counts() {
            return Ok(Verdict::Limited(intern!(py, "STALE_MARK").clone()));
        }
        if let Some(limit) = &self.steps.1 {
            let holding = (asked.hold, whole(py, self.holds)?);
            let requiring = (whole(py, rise)?, whole(py, self.all)?);
            let totals = with_running(&row.first, after)?;
            let code =
                limit.call1((&asked.ask, totals, holding, requiring, self.held, asked.reduces, asked.counts()))?;
            let code = code.cast_into::<PyString>()?;
            if code.to_str()? != "OK" {
                return Ok(Verdict::Limited(code));
            }
        }
        let free = self.free - (self.all - self.before);
        Ok(if self.best_effort && rise > 0 && free < rise { Verdict::Short(rise, free) } else { Verdict::Held })
    }

    /// Totals of the symbols, and their entries of the journal.
    fn symbols(&self) -> PyResult<[Bound<'py, PyAny>; 2]> {
        let (mut symbols, mut moves) = (Vec::with_capacity(self.touched.len()), Vec::with_capacity(self.touched.len()));
        let figures = |row: &Bound<'py, PyTuple>| row.get_slice(JOURNALLED.start, JOURNALLED.end);
        for row in self.touched.iter().map(|at| &self.rows[*at]) {
            let now = with_running(&row.first, &row.totals)?;
            let was = row.begun.then(|| figures(&row.first));
            let (symbol, leg) = (now.get_borrowed_item(0)?, now.get_borrowed_item(1)?);
            moves.push((symbol, leg, was, figures(&now)).into_pyobject(self.py())?);
            symbols.push(now);
        }
        Ok([PyTuple::new(self.py(), symbols)?.into_any(), PyTuple::new(self.py(), moves)?.into_any()])
    }
}

/// What is written for the orders that are held, each in the caller's order.
struct Written<'py> {
    answers: Vec<Bound<'py, PyTuple>>,
    orders: Vec<Bound<'py, PyTuple>>,
    changes: Vec<Bound<'py, PyTuple>>,
    ids: Vec<Bound<'py, PyAny>>,
    /// Codes of those that are not.
    faults: Vec<Bound<'py, PyString>>,
}

/// What all orders of a ladder have in their records: scale; order type, owner and request id; times and state; what follows
/// the lots that work.
type Shared<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyTuple>, Bound<'py, PyTuple>);

impl<'py> Ladder<'py> {
    /// Judge all orders. `changed`: the terms are not those that the caller knows.
    fn written(&mut self, asks: &Bound<'py, PyTuple>, shared: Shared<'py>, changed: bool) -> PyResult<Written<'py>> {
        let (py, size) = (asks.py(), asks.len());
        let (scale, about, times, rest) = shared;
        let [about, times, rest] = [about, times, rest].map(|part| part.iter().collect::<Vec<_>>());
        let state = times.last().ok_or_else(|| PyValueError::new_err("no state"))?;
        let (ok, none, zero) = (intern!(py, "OK").as_any(), py.None(), &0i64.into_pyobject(py)?.into_any());
        let [answers, orders, changes] = [(); 3].map(|()| Vec::with_capacity(size));
        let mut written = Written { answers, orders, changes, ids: Vec::with_capacity(size), faults: Vec::new() };
        for (place, ask) in asks.iter().enumerate() {
            let mut asked = Asked::new(ask)?;
            let mut verdict = self.judge(&mut asked)?;
            // Of the codes that an order can have of itself only that of a taken id comes before this one.
            if changed && !matches!(verdict, Verdict::Refused(EXISTS)) {
                verdict = Verdict::Refused("TERMS_CHANGED");
            }
            let (code, required, had) = match verdict {
                Verdict::Held => {
                    let [order_id, .., lots, _, hold, _] = &asked.items;
                    let (place, reduces) = (place.into_pyobject(py)?.into_any(), asked.reduces.into_pyobject(py)?);
                    let mut items = Vec::with_capacity(ORDER_ITEMS);
                    items.extend(&asked.items[..6]);
                    items.extend([&scale, hold, &asked.items[7], reduces.as_any()]);
                    items.extend(about.iter().chain([&place]).chain(&times).chain([hold, zero, lots]).chain(&rest));
                    written.orders.push(PyTuple::new(py, items)?);
                    let figures = PyTuple::new(py, [state, hold, zero, lots, zero, zero, zero, zero, zero])?;
                    written.changes.push((order_id, &none, figures).into_pyobject(py)?);
                    written.answers.push(PyTuple::new(py, [order_id, ok, hold, zero, zero])?);
                    written.ids.push(order_id.clone());
                    continue;
                }
                Verdict::Refused(code) => (PyString::new(py, code), 0, 0),
                // The text itself, whatever class the code is of.
                Verdict::Limited(code) => (PyString::new(py, code.to_str()?), 0, 0),
                Verdict::Short(required, had) => (PyString::new(py, "INSUFFICIENT_MARGIN"), required, had),
            };
            let row = [asked.order_id(), code.as_any(), zero, &whole(py, required)?, &whole(py, had)?];
            written.answers.push(PyTuple::new(py, row)?);
            written.faults.push(code);
        }
        Ok(written)
    }
}

/// Places in the record of an account of what a ladder changes.
const VERSION: usize = 5;
const ALL_UNITS: usize = 9;
const LIVE_ORDERS: usize = 13;
const CHANGED_US: usize = 18;
const RECORDS: usize = 19;

/// The account with `orders` orders and a request more.
fn account_after<'py>(
    account: &Bound<'py, PyTuple>,
    all: Bound<'py, PyAny>,
    now: &Bound<'py, PyAny>,
    orders: usize,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = account.py();
    let mut items = account.iter().collect::<Vec<_>>();
    let after = |place: usize, more: usize| -> PyResult<Bound<'py, PyAny>> {
        whole(py, i128::from(account.get_borrowed_item(place)?.extract::<i64>()?) + more as i128)
    };
    let changes = [
        (VERSION, after(VERSION, 1)?),
        (ALL_UNITS, all),
        (LIVE_ORDERS, after(LIVE_ORDERS, orders)?),
        (CHANGED_US, now.clone()),
        (RECORDS, after(RECORDS, orders + 1)?),
    ];
    for (place, value) in changes {
        items[place] = value;
    }
    record(&account.get_type(), items)
}

/// What the journal and the id's record say of the request: operation, request id, fingerprint, time of issue, details.
type Cause<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Judge a ladder, and make what a step leaves that holds it.
///
/// Parameters
/// ----------
/// account
///     The account as it is.
/// asks
///     Orders in the caller's order.
/// taken
///     Ids of them that are orders already.
/// rows
///     Totals of every symbol and leg of the others, and whether the account has them; if not, those that it starts from.
/// totals
///     Balance, open result that counts, used_margin_executed and used_margin_all, units of the account's scale.
/// shared
///     What all orders of the ladder have in their records: scale; order type, owner and request id; times and state; what
///     follows the lots that work.
/// cause
///     Operation, request id, fingerprint and time of issue of the request; what else the journal says of it.
/// answer
///     Class of the outcome, and its code where the ladder is held.
/// best_effort
///     Hold what fits, in the caller's order; else all or nothing.
/// foreign, stale, changed
///     Whether the terms cannot carry any order, orders that count meet a mark that is too old, and the terms are not those
///     that the caller knows.
/// steps
///     `hold_of`, and where the terms need them a limit and a count of charges per lot.
///
/// Returns
/// -------
/// tuple
///     Where nothing is held, three: codes of refused orders (none: all together ask for more than is free), outcomes of all,
///     rise of used_margin_all. Else eight: the outcome, the account after, totals of symbols, records of orders, the journal's
///     record, what is remembered of the request, ids and sum of what is held.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "what a step knows, each once")]
pub(super) fn hold_ladder<'py>(
    account: &Bound<'py, PyTuple>,
    terms: Bound<'py, PyAny>,
    asks: &Bound<'py, PyTuple>,
    taken: Bound<'py, PySet>,
    rows: &Bound<'py, PyList>,
    totals: &Bound<'py, PyTuple>,
    now: &Bound<'py, PyAny>,
    shared: Shared<'py>,
    cause: Cause<'py>,
    answer: (Bound<'py, PyType>, Bound<'py, PyAny>),
    best_effort: bool,
    foreign: bool,
    stale: bool,
    changed: bool,
    steps: Steps<'py>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = asks.py();
    let combine = rule(terms.getattr(intern!(py, "combine"))?.cast::<PyString>()?.to_str()?)?;
    let positions = terms.getattr(intern!(py, "positions"))?.cast_into::<PyString>()?;
    let (hedge, tickets) = (positions.to_str()? == "hedge", positions.to_str()? == "tickets");
    let (balance, pnl, executed, all): (i64, i64, i64, i64) = totals.extract()?;
    let free = i128::from(balance) + i128::from(pnl) - i128::from(all);
    let (all, holds, held) = (all.into(), 0, 0);
    let read = |row: Bound<'py, PyAny>| {
        let (first, begun): (Bound<'py, PyTuple>, bool) = row.extract()?;
        let totals = running(&first)?;
        Ok(Row { first, begun, totals, all: required(&totals, combine)?.1 })
    };
    let rows = rows.iter().map(read).collect::<PyResult<Vec<_>>>()?;
    let before = all;
    let mut ladder = Ladder {
        taken,
        terms,
        combine,
        hedge,
        tickets,
        free,
        before,
        best_effort,
        foreign,
        stale,
        steps,
        rows,
        touched: Vec::new(),
        all,
        holds,
        held,
    };
    let scale = shared.0.clone();
    let Written { answers, orders, changes, ids, faults } = ladder.written(asks, shared, changed)?;
    let answers = PyTuple::new(py, answers)?;
    let rise = ladder.all - before;
    let whole_refused = !best_effort && (!faults.is_empty() || (rise > 0 && free < rise));
    if whole_refused || ids.is_empty() {
        return (PyTuple::new(py, faults)?, answers, whole(py, rise)?).into_pyobject(py);
    }
    let [symbols, moves] = ladder.symbols()?;
    let all = whole(py, ladder.all)?;
    let after = account_after(account, all.clone(), now, ids.len())?;
    let version = after.get_item(VERSION)?;
    let then = (balance, pnl, executed, all).into_pyobject(py)?;
    let (op, ident, fingerprint, issued_us, details) = cause;
    let (class, code) = answer;
    let (none, nothing, ok) = (py.None().into_bound(py), PyTuple::empty(py).into_any(), intern!(py, "OK").as_any());
    let [was, then, rows] = [totals.as_any(), then.as_any(), answers.as_any()];
    let name = account.get_item(0)?;
    let outcome = [&code, &op, &name, &version, &scale, was, then, &none, &none, &nothing, rows, &none, &none];
    let outcome = outcome.map(Clone::clone).into();
    let remembered = [ok, &op, &version, &scale, was, then, &none, &none, &nothing, rows];
    let no_order = PyString::new(py, "").into_any();
    let changes = PyTuple::new(py, changes)?.into_any();
    let journal = [&version, now, &op, &ident, &no_order, ok, was, then, &moves, &changes, &details];
    let parts = [
        record(&class, outcome)?.into_any(),
        after.into_any(),
        symbols,
        PyTuple::new(py, orders)?.into_any(),
        PyTuple::new(py, journal)?.into_any(),
        (ident, (fingerprint, issued_us, PyTuple::new(py, remembered)?)).into_pyobject(py)?.into_any(),
        PyTuple::new(py, ids)?.into_any(),
        whole(py, ladder.holds)?,
    ];
    PyTuple::new(py, parts)
}
