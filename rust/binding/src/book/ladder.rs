//! Orders of a ladder, judged one after the other: what each would hold, and what it changes.
//!
//! For the stores whose steps run in this process. What few accounts have is asked of the steps that know it: limits,
//! orders that may only reduce, charges that are counted per lot.

use equipoise::margin::{AMOUNT_MAX, Combine, Running};
use pyo3::exceptions::{PyKeyError, PyOverflowError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySet, PyString, PyTuple, PyType};

use super::nested::Form;
use super::pack::Packed;
use super::record::{record, with_items};
use super::rows::{required, rested_totals, rule, running, side, whole, with_running};

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
    before: Running,
    totals: Running,
    /// What the totals require.
    all: i128,
}

impl<'py> Row<'py> {
    /// The record with these figures.
    fn with(&self, totals: &Running) -> PyResult<Bound<'py, PyTuple>> {
        with_running(&self.first, &self.before, totals)
    }
}

/// An order as it was asked for, `equipoise.reservation.requests.Ask`, and what it would hold.
struct Asked<'a, 'py> {
    ask: &'a Bound<'py, PyTuple>,
    lots: i64,
    hold: i64,
    reduce_only: bool,
    /// May only reduce: marked so, or closing a leg.
    reduces: bool,
}

/// Places of what one that was asked for says.
const ORDER_ID: usize = 0;
const SYMBOL: usize = 1;
const LEG: usize = 2;
const SIDE: usize = 3;
const LOTS: usize = 4;
const HOLD: usize = 6;
const REDUCE_ONLY: usize = 7;

impl<'a, 'py> Asked<'a, 'py> {
    fn new(ask: &'a Bound<'py, PyTuple>) -> PyResult<Self> {
        let at = |place: usize| ask.get_borrowed_item(place);
        let (lots, hold, reduce_only) = (at(LOTS)?.extract()?, at(HOLD)?.extract()?, at(REDUCE_ONLY)?.is_truthy()?);
        Ok(Self { ask, lots, hold, reduce_only, reduces: false })
    }

    fn order_id(&self) -> PyResult<Bound<'py, PyAny>> {
        self.ask.get_item(ORDER_ID)
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
    fn judge(&mut self, asked: &mut Asked<'_, 'py>) -> PyResult<Verdict<'py>> {
        let ask = asked.ask;
        if !self.taken.is_empty() && self.taken.contains(ask.get_borrowed_item(ORDER_ID)?)? {
            return Ok(Verdict::Refused(EXISTS));
        }
        let leg = ask.get_borrowed_item(LEG)?;
        if self.foreign || self.hedge != leg.is_truthy()? || (self.tickets && asked.reduce_only) {
            return Ok(Verdict::Refused("TERMS_INVALID"));
        }
        let side = side(&*ask.get_borrowed_item(SIDE)?)?;
        let at = self.place(&*ask.get_borrowed_item(SYMBOL)?, &leg)?;
        let row = &self.rows[at];
        if asked.reduce_only || self.hedge {
            let charged = self.steps.0.call1((&self.terms, row.with(&row.totals)?, ask))?;
            (asked.hold, asked.reduces) = charged.extract()?;
        }
        let counts = asked.counts();
        let mut after = rested_totals(row.totals, side, asked.hold, asked.lots, asked.reduces, counts)?;
        if let Some(count) = self.steps.2.as_ref().filter(|_| counts) {
            let counted = count.call1((row.with(&after)?, asked.hold, asked.lots, 1))?;
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
            count.call1((row.with(&after)?, asked.hold, asked.lots, -1))?;
        }
        Ok(verdict)
    }

    /// What an order meets that changes a symbol's totals to `after`.
    fn limited(&self, asked: &Asked<'_, 'py>, row: &Row<'py>, after: &Running, rise: i128) -> PyResult<Verdict<'py>> {
        let py = self.py();
        let free = self.free - (self.all - self.before);
        let beyond = self.best_effort && free - rise < (-AMOUNT_MAX).into();
        if beyond || self.all + rise > AMOUNT_MAX.into() || !after.fits() {
            return Ok(Verdict::Refused("AMOUNT_OVERFLOW"));
        }
        if self.stale && asked.counts() {
            return Ok(Verdict::Limited(intern!(py, "STALE_MARK").clone()));
        }
        if let Some(limit) = &self.steps.1 {
            let holding = (asked.hold, whole(py, self.holds)?);
            let requiring = (whole(py, rise)?, whole(py, self.all)?);
            let totals = row.with(after)?;
            let code =
                limit.call1((asked.ask, totals, holding, requiring, self.held, asked.reduces, asked.counts()))?;
            let code = code.cast_into::<PyString>()?;
            if code.to_str()? != "OK" {
                return Ok(Verdict::Limited(code));
            }
        }
        Ok(if self.best_effort && rise > 0 && free < rise { Verdict::Short(rise, free) } else { Verdict::Held })
    }

    /// Totals of the symbols where something is held.
    fn symbols(&self) -> PyResult<Bound<'py, PyTuple>> {
        let row = |at: &usize| self.rows[*at].with(&self.rows[*at].totals);
        PyTuple::new(self.py(), self.touched.iter().map(row).collect::<PyResult<Vec<_>>>()?)
    }
}

/// What is written for the orders, each in the caller's order.
struct Written<'py> {
    answers: Vec<Bound<'py, PyTuple>>,
    orders: Vec<Bound<'py, PyTuple>>,
    /// Of those that are held: their ids, holds and lots.
    held: Vec<(Bound<'py, PyString>, i64, i64)>,
    /// Codes of those that are not.
    faults: Vec<Bound<'py, PyString>>,
}

/// Places in the record of an order of what is its own; `order_id` to `price_ticks` come first, as it was asked for.
mod order {
    pub(super) const ASKED_END: usize = 6;
    pub(super) const SCALE: usize = 6;
    pub(super) const HOLD_START: usize = 7;
    pub(super) const REDUCE_ONLY: usize = 8;
    pub(super) const REDUCES: usize = 9;
    pub(super) const PLACE: usize = 13;
    pub(super) const STATE: usize = 17;
    pub(super) const HOLD: usize = 18;
    pub(super) const WORKING: usize = 20;
}

impl<'py> Ladder<'py> {
    /// Judge all orders. `blank`: an order's record but for what is its own; `changed`: the terms are not those that the
    /// caller knows.
    fn written(
        &mut self,
        asks: &Bound<'py, PyTuple>,
        blank: &Bound<'py, PyTuple>,
        changed: bool,
    ) -> PyResult<Written<'py>> {
        let (py, size) = (asks.py(), asks.len());
        let (ok, zero) = (intern!(py, "OK").as_any(), &0i64.into_pyobject(py)?.into_any());
        let [answers, orders] = [(); 2].map(|()| Vec::with_capacity(size));
        let mut written = Written { answers, orders, held: Vec::with_capacity(size), faults: Vec::new() };
        for (place, ask) in asks.iter().enumerate() {
            let ask = ask.cast_into::<PyTuple>()?;
            let mut asked = Asked::new(&ask)?;
            let mut verdict = self.judge(&mut asked)?;
            // Of the codes that an order can have of itself only that of a taken id comes before this one.
            if changed && !matches!(verdict, Verdict::Refused(EXISTS)) {
                verdict = Verdict::Refused("TERMS_CHANGED");
            }
            let order_id = asked.order_id()?;
            let (code, required, had) = match verdict {
                Verdict::Held => {
                    let hold = asked.hold.into_pyobject(py)?.into_any();
                    let own = [
                        (order::HOLD_START, hold.clone()),
                        (order::REDUCE_ONLY, ask.get_item(REDUCE_ONLY)?),
                        (order::REDUCES, asked.reduces.into_pyobject(py)?.to_owned().into_any()),
                        (order::PLACE, place.into_pyobject(py)?.into_any()),
                        (order::HOLD, hold.clone()),
                        (order::WORKING, ask.get_item(LOTS)?),
                    ];
                    let items = with_items(blank, own)?;
                    items.set_slice(0, order::ASKED_END, &ask.get_slice(0, order::ASKED_END))?;
                    written.orders.push(items.to_tuple());
                    written.answers.push(PyTuple::new(py, [&order_id, ok, &hold, zero, zero])?);
                    written.held.push((order_id.cast_into()?, asked.hold, asked.lots));
                    continue;
                }
                Verdict::Refused(code) => (PyString::new(py, code), 0, 0),
                // The text itself, whatever class the code is of.
                Verdict::Limited(code) => (PyString::new(py, code.to_str()?), 0, 0),
                Verdict::Short(required, had) => (PyString::new(py, "INSUFFICIENT_MARGIN"), required, had),
            };
            let row = [&order_id, code.as_any(), zero, &whole(py, required)?, &whole(py, had)?];
            written.answers.push(PyTuple::new(py, row)?);
            written.faults.push(code);
        }
        Ok(written)
    }
}

/// Places in the record of an account of what a ladder changes.
mod account {
    pub(super) const VERSION: usize = 5;
    pub(super) const ALL_UNITS: usize = 9;
    pub(super) const LIVE_ORDERS: usize = 13;
    pub(super) const CHANGED_US: usize = 18;
    pub(super) const RECORDS: usize = 19;
}

/// What the journal and the id's record say of the request: operation, request id, fingerprint, time of issue, details.
type Cause<'py> =
    (Bound<'py, PyString>, Bound<'py, PyString>, Bound<'py, PyAny>, Bound<'py, PyAny>, Vec<[Bound<'py, PyString>; 2]>);

/// Of a step that holds a ladder, what is the same in the journal and in the answer to the id.
struct Step<'a, 'py> {
    cause: &'a Cause<'py>,
    version: i64,
    at_us: i64,
    scale: i64,
    state: &'a str,
    before: [i64; 4],
    after: [i64; 4],
}

impl<'py> Step<'_, 'py> {
    /// The journal's record and the answer to the id, packed: (`RawJournal`, `PackedOutcome`) of
    /// `equipoise.reservation.records`.
    fn packed(&self, ladder: &Ladder<'py>, written: &Written<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let (op, ident, .., details) = self.cause;
        let mut out = Packed::new();
        out.begin(2);
        out.begin(11);
        out.numbers(&[self.version, self.at_us]);
        out.text(op.to_str()?);
        out.text(ident.to_str()?);
        out.text(""); // of no one order
        out.text("OK");
        out.tuple(&self.before);
        out.tuple(&self.after);
        out.begin(ladder.touched.len());
        for row in ladder.touched.iter().map(|at| &ladder.rows[*at]) {
            out.begin(4);
            out.text(row.first.get_borrowed_item(0)?.cast::<PyString>()?.to_str()?);
            out.text(row.first.get_borrowed_item(1)?.cast::<PyString>()?.to_str()?);
            if row.begun {
                out.tuple(&journalled(&row.before));
            } else {
                out.none();
            }
            out.tuple(&journalled(&row.totals));
        }
        out.begin(written.held.len());
        for (order_id, hold, lots) in &written.held {
            out.begin(3);
            out.text(order_id.to_str()?);
            out.none();
            out.begin(9);
            out.text(self.state);
            out.numbers(&[*hold, 0, *lots, 0, 0, 0, 0, 0]);
        }
        out.begin(details.len());
        for detail in details {
            out.begin(2);
            for text in detail {
                out.text(text.to_str()?);
            }
        }
        out.begin(10);
        out.text("OK");
        out.text(op.to_str()?);
        out.numbers(&[self.version, self.scale]);
        out.tuple(&self.before);
        out.tuple(&self.after);
        out.none(); // no one order, and no state of it
        out.none();
        out.begin(0);
        out.begin(written.answers.len());
        for row in &written.answers {
            out.begin(5);
            out.text(row.get_borrowed_item(0)?.cast::<PyString>()?.to_str()?);
            out.text(row.get_borrowed_item(1)?.cast::<PyString>()?.to_str()?);
            for place in 2..5 {
                out.number(row.get_borrowed_item(place)?.extract()?);
            }
        }
        Ok(out.bytes(ladder.py()))
    }
}

/// Of a symbol's totals what the journal keeps.
fn journalled(totals: &Running) -> [i64; 4] {
    [totals.lots, totals.margin, totals.hold[0], totals.hold[1]]
}

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
/// blank
///     An order's record but for what is its own: what it was asked for with, hold, what works of it, place, whether it reduces.
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
///     Where nothing is held, four: codes of refused orders (none: all together ask for more than is free), outcomes of all,
///     rise of used_margin_all and sum of holds of those without a fault of their own. None where a figure of the account would
///     leave its range. Else seven: the outcome, the account after, totals of symbols, records of orders, the step as it is kept
///     (version, now, fingerprint, time of issue, the journal's record and the answer packed), ids and sum of what is held.
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
    blank: &Bound<'py, PyTuple>,
    cause: Cause<'py>,
    answer: (Bound<'py, PyType>, Bound<'py, PyAny>),
    best_effort: bool,
    foreign: bool,
    stale: bool,
    changed: bool,
    steps: Steps<'py>,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let py = asks.py();
    let combine = rule(terms.getattr(intern!(py, "combine"))?.cast::<PyString>()?.to_str()?)?;
    let positions = terms.getattr(intern!(py, "positions"))?.cast_into::<PyString>()?;
    let (hedge, tickets) = (positions.to_str()? == "hedge", positions.to_str()? == "tickets");
    let (balance, pnl, executed, all): (i64, i64, i64, i64) = totals.extract()?;
    let free = i128::from(balance) + i128::from(pnl) - i128::from(all);
    let all_before = all;
    let (all, holds, held) = (all.into(), 0, 0);
    let read = |row: Bound<'py, PyAny>| {
        let (first, begun): (Bound<'py, PyTuple>, bool) = row.extract()?;
        let before = running(&first)?;
        Ok(Row { first, begun, before, totals: before, all: required(&before, combine)?.1 })
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
    let written = ladder.written(asks, blank, changed)?;
    let answers = PyTuple::new(py, &written.answers)?;
    let rise = ladder.all - before;
    let whole_refused = !best_effort && (!written.faults.is_empty() || (rise > 0 && free < rise));
    if whole_refused || written.held.is_empty() {
        let refused = (PyTuple::new(py, &written.faults)?, answers, whole(py, rise)?, whole(py, ladder.holds)?);
        return refused.into_pyobject(py).map(Some);
    }
    // Under rules that do not add up the requirement can fall.
    if ladder.all < 0 || (free - rise).unsigned_abs() > AMOUNT_MAX.unsigned_abs().into() {
        return Ok(None);
    }
    let all = i64::try_from(ladder.all).map_err(|_| PyOverflowError::new_err("used_margin_all is out of range"))?;
    let held = i64::try_from(written.held.len())?;
    let more = |place: usize, by: i64| {
        let number = account.get_borrowed_item(place)?.extract::<i64>()?;
        number.checked_add(by).ok_or_else(|| PyOverflowError::new_err("a count of the account is out of range"))
    };
    let version = more(account::VERSION, 1)?;
    let version_now = version.into_pyobject(py)?.into_any();
    let all_now = all.into_pyobject(py)?.into_any();
    let changes = [
        (account::VERSION, version_now.clone()),
        (account::ALL_UNITS, all_now.clone()),
        (account::LIVE_ORDERS, more(account::LIVE_ORDERS, held)?.into_pyobject(py)?.into_any()),
        (account::CHANGED_US, now.clone()),
        (account::RECORDS, more(account::RECORDS, held + 1)?.into_pyobject(py)?.into_any()),
    ];
    let after = record(&account.get_type(), with_items(account, changes)?)?;
    let scale = blank.get_item(order::SCALE)?;
    let state = blank.get_item(order::STATE)?.cast_into::<PyString>()?;
    let step = Step {
        cause: &cause,
        version,
        at_us: now.extract()?,
        scale: scale.extract()?,
        state: state.to_str()?,
        before: [balance, pnl, executed, all_before],
        after: [balance, pnl, executed, all],
    };
    let (class, code) = answer;
    let (op, _, fingerprint, issued_us, _) = &cause;
    let then = PyTuple::new(py, [&totals.get_item(0)?, &totals.get_item(1)?, &totals.get_item(2)?, &all_now])?;
    let (none, name) = (&py.None().into_bound(py), account.get_item(0)?);
    let (nothing, rows) = (PyTuple::empty(py).into_any(), answers.as_any());
    let [was, then] = [totals.as_any(), then.as_any()];
    let outcome = [&code, op.as_any(), &name, &version_now, &scale, was, then, none, none, &nothing, rows, none, none];
    let kept = (version_now.clone(), now, fingerprint, issued_us, step.packed(&ladder, &written)?);
    let parts = [
        record(&class, PyList::new(py, outcome)?)?.into_any(),
        after.into_any(),
        ladder.symbols()?.into_any(),
        PyTuple::new(py, &written.orders)?.into_any(),
        kept.into_pyobject(py)?.into_any(),
        PyTuple::new(py, written.held.iter().map(|(order_id, ..)| order_id))?.into_any(),
        whole(py, ladder.holds)?,
    ];
    PyTuple::new(py, parts).map(Some)
}
