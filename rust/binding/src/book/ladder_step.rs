//! The step that holds a ladder: what speaks against it, the ladder judged, and what it leaves to be written.

use equipoise::margin::{AMOUNT_MAX, Running};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple, PyType};

use super::ladder::{Common, Ladder, Request, Written};
use super::nested::Form;
use super::pack::Packed;
use super::record::{record, with_items};
use super::rows::{rule, whole};
use super::view::View;

/// Places in the record of an account of what a ladder reads and changes.
mod account {
    pub(super) const NAME: usize = 0;
    pub(super) const SCALE: usize = 2;
    pub(super) const STATUS: usize = 4;
    pub(super) const VERSION: usize = 5;
    pub(super) const BALANCE: usize = 6;
    pub(super) const OPEN_PNL: usize = 7;
    pub(super) const EXECUTED_UNITS: usize = 8;
    pub(super) const ALL_UNITS: usize = 9;
    pub(super) const TERMS: usize = 10;
    pub(super) const TERMS_VERSION: usize = 11;
    pub(super) const WATERMARK_US: usize = 12;
    pub(super) const LIVE_ORDERS: usize = 13;
    pub(super) const CHANGED_US: usize = 18;
    pub(super) const RECORDS: usize = 19;
}

/// A count of an account, and so many more.
fn more(account: &Bound<'_, PyTuple>, place: usize, by: i64) -> PyResult<i64> {
    let count = account.get_borrowed_item(place)?.extract::<i64>()?.checked_add(by);
    count.ok_or_else(|| PyOverflowError::new_err("a count of the account is out of range"))
}

/// What is held in micro-units has so many places.
const MICRO_SCALE: i64 = 6;

/// Of a step that holds a ladder, what is the same in the journal and in the answer to the id.
struct Step<'a, 'py> {
    request: &'a Request<'py>,
    version: i64,
    at_us: i64,
    scale: i64,
    state: &'a str,
    before: [i64; 4],
    after: [i64; 4],
}

impl<'py> Step<'_, 'py> {
    /// The journal's record and the answer to the id, packed: see `KeptStep` of `equipoise.reservation.records`.
    fn packed(&self, ladder: &Ladder<'_, 'py>, written: &Written<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let Request { op, ident, owner, outbox, .. } = self.request;
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
        let owner = owner.to_str()?;
        let details = [("owner", owner, !owner.is_empty()), ("send", "outbox", *outbox)];
        out.begin(details.iter().filter(|(.., told)| *told).count());
        for (name, text, _) in details.iter().filter(|(.., told)| *told) {
            out.begin(2);
            out.text(name);
            out.text(text);
        }
        if written.answers.len() == written.held.len() {
            out.number(self.scale);
            return Ok(out.bytes(ladder.py()));
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

/// The step that holds a ladder, made once of what it asks of Python.
///
/// Parameters
/// ----------
/// gates
///     (view, request, now): the effect that ends the step before an order is judged, or None. Asked only where something
///     may speak against the request: not of a new id, in time, of an account that is open and active.
/// refuse
///     (view, request, account, faults, outcomes, rise, holds): the effect of a ladder of which nothing is held. Codes of
///     refused orders (none: all together ask for more than is free), outcomes of all, rise of used_margin_all and sum of
///     holds of those without a fault of their own.
/// hold_of
///     (terms, row, ask): what an order holds, and whether it may only reduce; asked of those that may.
/// by_terms
///     (view, request, account, now), asked under terms that are not `plain`: whether orders that count meet a mark that is too
///     old; the limit an order meets, or None; what counts its charge per lot, or None; and where that is noted.
/// active
///     Status of an account that may ask for more.
/// effect, outcome
///     Classes of what the step returns and of the answer.
/// ok
///     Code of the answer where something is held.
/// start
///     Record of a symbol that an account has not had yet.
#[pyclass(frozen, name = "LadderStep", module = "equipoise._rust")]
pub(crate) struct PyLadderStep {
    gates: Py<PyAny>,
    refuse: Py<PyAny>,
    hold_of: Py<PyAny>,
    by_terms: Py<PyAny>,
    active: Py<PyAny>,
    effect: Py<PyType>,
    outcome: Py<PyType>,
    ok: Py<PyAny>,
    start: Py<PyTuple>,
}

#[pymethods]
impl PyLadderStep {
    #[new]
    #[pyo3(signature = (*, gates, refuse, hold_of, by_terms, active, effect, outcome, ok, start))]
    #[allow(clippy::too_many_arguments, reason = "by name, and once")]
    fn new(
        gates: Py<PyAny>,
        refuse: Py<PyAny>,
        hold_of: Py<PyAny>,
        by_terms: Py<PyAny>,
        active: Py<PyAny>,
        effect: Py<PyType>,
        outcome: Py<PyType>,
        ok: Py<PyAny>,
        start: Py<PyTuple>,
    ) -> Self {
        Self { gates, refuse, hold_of, by_terms, active, effect, outcome, ok, start }
    }

    /// Judge a ladder, and make what a step leaves that holds it.
    ///
    /// Parameters
    /// ----------
    /// view
    ///     What of the account is read.
    /// request
    ///     What is asked for.
    /// now
    ///     Time by the store's clock, us.
    ///
    /// Returns
    /// -------
    /// Effect
    ///     The answer and everything to be written; of a refusal nothing is.
    fn __call__<'py>(
        &self,
        view: &Bound<'py, PyAny>,
        request: &Bound<'py, PyAny>,
        now: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asked: Request<'py> = request.extract()?;
        let (py, seen) = (view.py(), View::new(view)?);
        let account = seen.account()?;
        if !self.passes(&seen, account.as_ref(), &asked, now)? {
            let refusal = self.gates.bind(py).call1((view, request, now))?;
            if !refusal.is_none() {
                return Ok(refusal);
            }
        }
        let account = account.ok_or_else(|| PyTypeError::new_err("the gates let a request pass without an account"))?;
        let terms = account.get_item(account::TERMS)?;
        let by_terms = if terms.getattr(intern!(py, "plain"))?.is_truthy()? {
            (false, None, None, py.None().into_bound(py))
        } else {
            self.by_terms.bind(py).call1((view, request, &account, now))?.extract()?
        };
        match self.held(&seen, &account, terms, &asked, now, by_terms)? {
            Ok(effect) => Ok(effect.into_any()),
            Err((faults, outcomes, rise, holds)) => {
                self.refuse.bind(py).call1((view, request, account, faults, outcomes, rise, holds))
            }
        }
    }
}

/// What terms that are not plain have: see `LadderStep`.
type ByTerms<'py> = (bool, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Bound<'py, PyAny>);

/// Codes of refused orders, outcomes of all, rise of used_margin_all and sum of holds of those without a fault.
type Refused<'py> = (Bound<'py, PyTuple>, Bound<'py, PyTuple>, Bound<'py, PyAny>, Bound<'py, PyAny>);

impl PyLadderStep {
    /// Whether nothing speaks against a request before its orders are judged. Where this says no, the gates are asked.
    fn passes<'py>(
        &self,
        view: &View<'_, 'py>,
        account: Option<&Bound<'py, PyTuple>>,
        request: &Request<'py>,
        now: &Bound<'py, PyAny>,
    ) -> PyResult<bool> {
        let Some(account) = account else { return Ok(false) };
        let watermark: i64 = account.get_borrowed_item(account::WATERMARK_US)?.extract()?;
        Ok(account.get_borrowed_item(account::STATUS)?.is(&self.active)
            && request.issued_us.extract::<i64>()? > watermark
            && now.extract::<i64>()? <= request.not_after_us
            && !view.used(&request.ident)?
            && !(request.outbox && view.posted(&request.ident)?))
    }

    /// What the step leaves; where nothing is held, why.
    fn held<'py>(
        &self,
        view: &View<'_, 'py>,
        account: &Bound<'py, PyTuple>,
        terms: Bound<'py, PyAny>,
        request: &Request<'py>,
        now: &Bound<'py, PyAny>,
        (stale, limit, count, rates): ByTerms<'py>,
    ) -> PyResult<Result<Bound<'py, PyTuple>, Refused<'py>>> {
        let py = account.py();
        let units = |place: usize| account.get_borrowed_item(place)?.extract::<i64>();
        let combine = rule(terms.getattr(intern!(py, "combine"))?.cast::<PyString>()?.to_str()?)?;
        let positions = terms.getattr(intern!(py, "positions"))?.cast_into::<PyString>()?;
        let (hedge, tickets) = (positions.to_str()? == "hedge", positions.to_str()? == "tickets");
        let [balance, mut pnl, executed, all_before] = [
            units(account::BALANCE)?,
            units(account::OPEN_PNL)?,
            units(account::EXECUTED_UNITS)?,
            units(account::ALL_UNITS)?,
        ];
        if pnl > 0 && !terms.getattr(intern!(py, "pnl_policy"))?.eq("all")? {
            pnl = 0;
        }
        let before = i128::from(all_before);
        let free = i128::from(balance) + i128::from(pnl) - before;
        let scale = account.get_item(account::SCALE)?;
        let units_of_scale = scale.extract::<i64>()?;
        let changed = match request.terms_version {
            Some(known) => units(account::TERMS_VERSION)? != known,
            None => false,
        };
        let version = more(account, account::VERSION, 1)?.into_pyobject(py)?.into_any();
        let state = if request.sent { intern!(py, "SENT") } else { intern!(py, "RESERVED") };
        let mut ladder = Ladder {
            view,
            hold_of: self.hold_of.bind(py),
            start: self.start.bind(py),
            terms,
            combine,
            hedge,
            tickets,
            free,
            before,
            best_effort: request.best_effort,
            foreign: request.in_micros && units_of_scale != MICRO_SCALE,
            stale,
            limit,
            count,
            rows: Vec::new(),
            touched: Vec::new(),
            all: before,
            holds: 0,
            held: 0,
        };
        let common = Common { request, scale: &scale, state, now, version: &version };
        let written = ladder.written(&common, changed)?;
        let answers = PyTuple::new(py, &written.answers)?;
        let rise = ladder.all - before;
        let whole_refused = !request.best_effort && (!written.faults.is_empty() || (rise > 0 && free < rise));
        if whole_refused || written.held.is_empty() {
            let faults = PyTuple::new(py, &written.faults)?;
            return Ok(Err((faults, answers, whole(py, rise)?, whole(py, ladder.holds)?)));
        }
        let totals = [balance, pnl, executed, all_before];
        self.effect(view, account, &ladder, &written, &common, totals, answers, rates)
    }

    /// What is written for a ladder that is held, `totals` being those of the account before; its codes where a figure would
    /// leave its range.
    #[allow(clippy::too_many_arguments, reason = "what has been judged, each once")]
    fn effect<'py>(
        &self,
        view: &View<'_, 'py>,
        account: &Bound<'py, PyTuple>,
        ladder: &Ladder<'_, 'py>,
        written: &Written<'py>,
        common: &Common<'_, 'py>,
        [balance, pnl, executed, all_before]: [i64; 4],
        answers: Bound<'py, PyTuple>,
        rates: Bound<'py, PyAny>,
    ) -> PyResult<Result<Bound<'py, PyTuple>, Refused<'py>>> {
        let py = account.py();
        let Common { request, scale, state, now, version } = *common;
        // Under rules that do not add up the requirement can fall, and an owner's holds exceed what the account holds.
        let owner = request.owner.to_str()?;
        let mut owned = 0;
        if !owner.is_empty() && ladder.holds > 0 {
            owned = ladder.holds + view.owned(&request.owner)?;
        }
        let free_after = ladder.free - (ladder.all - ladder.before);
        let beyond = free_after.unsigned_abs() > AMOUNT_MAX.unsigned_abs().into();
        if ladder.all < 0 || beyond || owned > AMOUNT_MAX.into() {
            let zero = whole(py, 0)?;
            return Ok(Err((PyTuple::new(py, ["AMOUNT_OVERFLOW"])?, PyTuple::empty(py), zero.clone(), zero)));
        }
        let all = i64::try_from(ladder.all).map_err(|_| PyOverflowError::new_err("used_margin_all is out of range"))?;
        let all_now = all.into_pyobject(py)?.into_any();
        let held = i64::try_from(written.held.len())?;
        let changes = [
            (account::VERSION, version.clone()),
            (account::ALL_UNITS, all_now.clone()),
            (account::LIVE_ORDERS, more(account, account::LIVE_ORDERS, held)?.into_pyobject(py)?.into_any()),
            (account::CHANGED_US, now.clone()),
            (account::RECORDS, more(account, account::RECORDS, held + 1)?.into_pyobject(py)?.into_any()),
        ];
        let after = record(&account.get_type(), with_items(account, changes)?)?;
        let step = Step {
            request,
            version: version.extract()?,
            at_us: now.extract()?,
            scale: scale.extract()?,
            state: state.to_str()?,
            before: [balance, pnl, executed, all_before],
            after: [balance, pnl, executed, all],
        };
        let was = PyTuple::new(py, step.before)?.into_any();
        let then = PyTuple::new(py, step.after)?.into_any();
        let (none, name) = (&py.None().into_bound(py), account.get_item(account::NAME)?);
        let (nothing, op, rows) = (&PyTuple::empty(py).into_any(), request.op.as_any(), answers.as_any());
        let said = [self.ok.bind(py), op, &name, version, scale, &was, &then, none, none, nothing, rows, none, none];
        let kept = (version, now, &request.fingerprint, &request.issued_us, step.packed(ladder, written)?);
        let kept = (&request.ident, kept).into_pyobject(py)?.into_any();
        let owners = if owned == 0 {
            nothing.clone()
        } else {
            ((&request.owner, whole(py, owned)?),).into_pyobject(py)?.into_any()
        };
        let outbox = if request.outbox {
            let ids = PyTuple::new(py, written.held.iter().map(|(order_id, ..)| order_id))?;
            let entry = (&request.ident, version, now, &request.deadline_us, ids, held);
            ((&request.ident, entry),).into_pyobject(py)?.into_any()
        } else {
            nothing.clone()
        };
        let outcome = record(self.outcome.bind(py), PyTuple::new(py, said)?)?.into_any();
        let (after, symbols) = (after.into_any(), ladder.symbols()?.into_any());
        let orders = PyTuple::new(py, &written.orders)?.into_any();
        #[rustfmt::skip]
        let items = [
            &outcome, &after, &symbols, &orders, none, none, none, &kept, nothing, &owners, &rates, &outbox, none, none,
        ];
        record(self.effect.bind(py), PyTuple::new(py, items)?).map(Ok)
    }
}
