//! Orders of a ladder, judged one after the other: what each would hold, and what it changes.
//!
//! For the stores whose steps run in this process. What few accounts have is asked of the steps that know it: limits,
//! orders that may only reduce, charges that are counted per lot.

use equipoise::margin::{AMOUNT_MAX, Combine, Running};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple};

use super::record::{record, with_items};
use super::rows::{required, rested_totals, running, side, whole, with_running};
use super::view::View;

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
pub(super) struct Row<'py> {
    /// As the account has them; not `begun`: it has none yet, and this is what they start from.
    pub(super) first: Bound<'py, PyTuple>,
    pub(super) begun: bool,
    pub(super) before: Running,
    pub(super) totals: Running,
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
const PRICE_TICKS: usize = 5;
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

/// `equipoise.reservation.requests.Reserve`, as far as a ladder is judged and noted by it.
#[derive(FromPyObject)]
pub(super) struct Request<'py> {
    pub(super) op: Bound<'py, PyString>,
    pub(super) ident: Bound<'py, PyString>,
    pub(super) fingerprint: Bound<'py, PyAny>,
    pub(super) issued_us: Bound<'py, PyAny>,
    pub(super) not_after_us: i64,
    pub(super) asks: Bound<'py, PyTuple>,
    pub(super) best_effort: bool,
    pub(super) in_micros: bool,
    pub(super) terms_version: Option<i64>,
    pub(super) owner: Bound<'py, PyString>,
    pub(super) sent: bool,
    pub(super) order_type: Bound<'py, PyAny>,
    pub(super) deadline_us: Bound<'py, PyAny>,
    pub(super) good_till_us: Bound<'py, PyAny>,
    pub(super) outbox: bool,
}

/// A ladder that is being judged.
pub(super) struct Ladder<'a, 'py> {
    /// What of the account is read: its orders and symbols.
    pub(super) view: &'a View<'a, 'py>,
    /// Says what an order holds that may only reduce.
    pub(super) hold_of: &'a Bound<'py, PyAny>,
    /// The record of a symbol that the account has not had yet.
    pub(super) start: &'a Bound<'py, PyTuple>,
    pub(super) terms: Bound<'py, PyAny>,
    pub(super) combine: Combine,
    pub(super) hedge: bool,
    pub(super) tickets: bool,
    pub(super) free: i128,
    pub(super) before: i128,
    pub(super) best_effort: bool,
    /// The terms cannot carry any order.
    pub(super) foreign: bool,
    /// A mark is too old for orders that count.
    pub(super) stale: bool,
    /// What limits an order, and what counts its charge per lot, where the terms have it.
    pub(super) limit: Option<Bound<'py, PyAny>>,
    pub(super) count: Option<Bound<'py, PyAny>>,
    pub(super) rows: Vec<Row<'py>>,
    /// Places of those where something is held, in the order in which it was: the journal's on every store.
    pub(super) touched: Vec<usize>,
    /// used_margin_all with what is held so far, the charges of that, and how many orders it is.
    pub(super) all: i128,
    pub(super) holds: i128,
    pub(super) held: usize,
}

impl<'py> Ladder<'_, 'py> {
    pub(super) fn py(&self) -> Python<'py> {
        self.terms.py()
    }

    /// The totals that an order changes: mostly those of the only symbol.
    fn place(&mut self, symbol: &Bound<'py, PyAny>, leg: &Bound<'py, PyAny>) -> PyResult<usize> {
        for (at, row) in self.rows.iter().enumerate() {
            if row.first.get_borrowed_item(0)?.eq(symbol)? && row.first.get_borrowed_item(1)?.eq(leg)? {
                return Ok(at);
            }
        }
        let found = self.view.symbol(symbol, leg)?;
        let begun = found.is_some();
        let first = match found {
            Some(row) => row,
            None => record(&self.start.get_type(), with_items(self.start, [(0, symbol.clone()), (1, leg.clone())])?)?,
        };
        let before = running(&first)?;
        let all = required(&before, self.combine)?.1;
        self.rows.push(Row { first, begun, before, totals: before, all });
        Ok(self.rows.len() - 1)
    }

    /// Judge an order; what it changes is noted if it counts for those after it.
    fn judge(&mut self, asked: &mut Asked<'_, 'py>) -> PyResult<Verdict<'py>> {
        let ask = asked.ask;
        if self.view.known(&*ask.get_borrowed_item(ORDER_ID)?)? {
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
            let charged = self.hold_of.call1((&self.terms, row.with(&row.totals)?, ask))?;
            (asked.hold, asked.reduces) = charged.extract()?;
        }
        let counts = asked.counts();
        let mut after = rested_totals(row.totals, side, asked.hold, asked.lots, asked.reduces, counts)?;
        if let Some(count) = self.count.as_ref().filter(|_| counts) {
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
        } else if let Some(count) = self.count.as_ref().filter(|_| counts) {
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
        if let Some(limit) = &self.limit {
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
    pub(super) fn symbols(&self) -> PyResult<Bound<'py, PyTuple>> {
        let row = |at: &usize| self.rows[*at].with(&self.rows[*at].totals);
        PyTuple::new(self.py(), self.touched.iter().map(row).collect::<PyResult<Vec<_>>>()?)
    }
}

/// What is written for the orders, each in the caller's order.
pub(super) struct Written<'py> {
    pub(super) answers: Vec<Bound<'py, PyTuple>>,
    pub(super) orders: Vec<Bound<'py, PyTuple>>,
    /// Of those that are held: their ids, holds and lots.
    pub(super) held: Vec<(Bound<'py, PyString>, i64, i64)>,
    /// Codes of those that are not.
    pub(super) faults: Vec<Bound<'py, PyString>>,
}

/// What the records of a ladder's orders have in common.
pub(super) struct Common<'a, 'py> {
    pub(super) request: &'a Request<'py>,
    pub(super) scale: &'a Bound<'py, PyAny>,
    pub(super) state: &'a Bound<'py, PyString>,
    pub(super) now: &'a Bound<'py, PyAny>,
    pub(super) version: &'a Bound<'py, PyAny>,
}

impl<'py> Common<'_, 'py> {
    /// The record of an order that has just got its hold, `equipoise.reservation.records.BookOrder` with its state as text.
    fn order(
        &self,
        ask: &Bound<'py, PyTuple>,
        place: usize,
        hold: &Bound<'py, PyAny>,
        reduces: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let py = ask.py();
        let Self { request, scale, state, now, version } = *self;
        let at = |place: usize| ask.get_item(place);
        let (order_id, symbol, leg) = (at(ORDER_ID)?, at(SYMBOL)?, at(LEG)?);
        let (side, lots, ticks) = (at(SIDE)?, at(LOTS)?, at(PRICE_TICKS)?);
        let [reduces, outbox] = [reduces, request.outbox].map(|on| PyBool::new(py, on).to_owned().into_any());
        let (reduce_only, place) = (at(REDUCE_ONLY)?, place.into_pyobject(py)?.into_any());
        let (none, zero) = (&py.None().into_bound(py), &0i64.into_pyobject(py)?.into_any());
        let (empty, nothing) = (intern!(py, "").as_any(), &PyTuple::empty(py).into_any());
        let Request { ident, owner, order_type, deadline_us, good_till_us, .. } = request;
        #[rustfmt::skip]
        let items = [
            &order_id, &symbol, &leg, &side, &lots, &ticks, scale, hold, &reduce_only, &reduces,
            order_type, owner.as_any(), ident.as_any(), &place, now, deadline_us, good_till_us,
            state.as_any(), hold, zero, &lots, zero, zero, zero, zero, zero, nothing, empty, none, none,
            &outbox, none, zero, zero, zero, none, now, version,
        ];
        PyTuple::new(py, items)
    }
}

impl<'py> Ladder<'_, 'py> {
    /// Judge all orders. `changed`: the terms are not those that the caller knows.
    pub(super) fn written(&mut self, common: &Common<'_, 'py>, changed: bool) -> PyResult<Written<'py>> {
        let asks = &common.request.asks;
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
                    written.orders.push(common.order(&ask, place, &hold, asked.reduces)?);
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
