//! Of one account what a transaction on a SQLite file knows without asking the file, and what it will write there.

use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyString, PyTuple};

use super::effect::{self, tuple_at};
use super::pack::columns;

/// Place of the flags in the record of an order.
const FLAGS: usize = 26;

/// An order's id, and place and record of one that is to be written.
type Waiting<'py> = (Bound<'py, PyAny>, (Bound<'py, PyAny>, Bound<'py, PyTuple>));

/// What a transaction knows of an account and will write of it; its class in Python asks the file for the rest, and writes.
///
/// What begins with `new` is not written yet. Rows are as the file has them, the account's id first. Tables hold records and rows
/// only: the garbage collector does not look into them for what leads back to the slate.
#[pyclass(subclass, name = "Slate", module = "equipoise._rust")]
pub(crate) struct PySlate {
    #[pyo3(get)]
    account_id: Py<PyString>,
    /// The account as the transaction leaves it; None: there is none, or it has not been read.
    #[pyo3(get)]
    held: Option<Py<PyTuple>>,
    /// Whether `held` has been read.
    #[pyo3(get)]
    loaded: bool,
    /// Totals by (symbol, leg) as the transaction leaves them, of those that were asked for.
    #[pyo3(get)]
    totals: Py<PyDict>,
    /// Ids that no order in the file has, nor is one known there by them.
    #[pyo3(get)]
    absent: Py<PySet>,
    /// Ids that no request in the file has used.
    #[pyo3(get)]
    unused: Py<PySet>,
    /// Ids under which the file has no outbox entry.
    #[pyo3(get)]
    unposted: Py<PySet>,
    /// Whether `held` is not written yet, and what the file has in its place; None: no account.
    #[pyo3(get)]
    changed: bool,
    #[pyo3(get)]
    before: Option<Py<PyTuple>>,
    #[pyo3(get)]
    new_journal: Py<PyList>,
    /// By (symbol, leg).
    #[pyo3(get)]
    new_totals: Py<PyDict>,
    /// By id: (place, order). The place of a new one; None: it is in the file, and has one.
    #[pyo3(get)]
    new_orders: Py<PyDict>,
    /// Rows by id.
    #[pyo3(get)]
    new_requests: Py<PyDict>,
    /// What each owner holds.
    #[pyo3(get)]
    new_owners: Py<PyDict>,
    /// By (order id, event id), what the event was answered.
    #[pyo3(get)]
    new_events: Py<PyDict>,
}

#[pymethods]
impl PySlate {
    /// Of this account, and empty. Further arguments are those of a class in Python.
    #[new]
    #[pyo3(signature = (account_id, *_arguments))]
    fn new(account_id: &Bound<'_, PyString>, _arguments: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let py = account_id.py();
        let (table, set) = (|| PyDict::new(py).unbind(), || PySet::empty(py).map(Bound::unbind));
        Ok(Self {
            account_id: account_id.clone().unbind(),
            held: None,
            loaded: false,
            totals: table(),
            absent: set()?,
            unused: set()?,
            unposted: set()?,
            changed: false,
            before: None,
            new_journal: PyList::empty(py).unbind(),
            new_totals: table(),
            new_orders: table(),
            new_requests: table(),
            new_owners: table(),
            new_events: table(),
        })
    }

    /// What was to be written is written: forget it, and which ids were not in the file. What was read stays known.
    fn wipe(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let mut slate = slf.try_borrow_mut()?;
        slate.changed = false;
        let before = slate.before.take();
        let sets = [&slate.absent, &slate.unused, &slate.unposted].map(|set| set.bind(py).clone());
        let tables = [&slate.new_totals, &slate.new_orders, &slate.new_requests, &slate.new_owners, &slate.new_events]
            .map(|table| table.bind(py).clone());
        let journal = slate.new_journal.bind(py).clone();
        // Not borrowed while records go: with one of them, or in a collection meanwhile, may go whatever reads the account.
        drop(slate);
        drop(before);
        sets.iter().for_each(PySetMethods::clear);
        tables.iter().for_each(PyDictMethods::clear);
        journal.del_slice(0, journal.len())
    }

    /// Note the account as the file has it; None: there is none.
    fn read_account(slf: &Bound<'_, Self>, account: Option<Bound<'_, PyTuple>>) -> PyResult<()> {
        let mut slate = slf.try_borrow_mut()?;
        slate.loaded = true;
        let gone = std::mem::replace(&mut slate.held, account.map(Bound::unbind));
        drop(slate);
        drop(gone);
        Ok(())
    }

    /// Take over the account as a step leaves it.
    fn move_account(slf: &Bound<'_, Self>, account: Bound<'_, PyTuple>) -> PyResult<()> {
        let mut slate = slf.try_borrow_mut()?;
        slate.loaded = true;
        let mut gone = slate.held.replace(account.unbind());
        if !slate.changed {
            slate.changed = true;
            gone = std::mem::replace(&mut slate.before, gone);
        }
        drop(slate);
        drop(gone);
        Ok(())
    }

    /// Take over the effect of a step that holds a ladder: all of its orders are new.
    fn take_ladder(slf: &Bound<'_, Self>, effect: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        // Not borrowed while tables are written: a collection may run, and with it whatever reads the account.
        let slate = slf.try_borrow()?;
        let account_id = slate.account_id.bind(py).clone().into_any();
        let [totals, new_totals, orders, requests, owners] =
            [&slate.totals, &slate.new_totals, &slate.new_orders, &slate.new_requests, &slate.new_owners]
                .map(|table| table.bind(py).clone());
        let journal = slate.new_journal.bind(py).clone();
        drop(slate);
        let kept = tuple_at(effect, effect::KEPT)?;
        let (ident, step) = (kept.get_item(0)?, tuple_at(&kept, 1)?);
        let (version, fingerprint, issued_us) = (step.get_item(0)?, step.get_item(2)?, step.get_item(3)?);
        let (record, answer) = columns(py, step.get_borrowed_item(4)?.extract()?)?;
        // Where the record tells the answer, the id leads to it, and it has the fingerprint.
        let leads = answer.is_none();
        let (none, answer) = (py.None().into_bound(py), answer.into_pyobject(py)?);
        let (in_journal, in_request) = if leads { (&fingerprint, &none) } else { (&none, &fingerprint) };
        let version_led = if leads { &version } else { &none };
        let row = [&account_id].into_iter().chain(&record).chain([in_journal]).collect::<Vec<_>>();
        journal.append(PyTuple::new(py, row)?)?;
        let row = [&account_id, &ident, in_request, &issued_us, &answer, version_led];
        requests.set_item(&ident, PyTuple::new(py, row)?)?;
        for row in tuple_at(effect, effect::SYMBOLS)?.iter_borrowed() {
            let row = row.cast::<PyTuple>()?;
            let key = row.get_slice(0, 2);
            totals.set_item(&key, row)?;
            new_totals.set_item(key, row)?;
        }
        let place = version.extract::<i64>()?.checked_mul(1 << 32);
        let place = place.ok_or_else(|| PyOverflowError::new_err("the account has had too many versions"))?;
        for (order, place) in tuple_at(effect, effect::ORDERS)?.iter_borrowed().zip(place..) {
            orders.set_item(order.cast::<PyTuple>()?.get_borrowed_item(0)?, (place, order))?;
        }
        for owned in tuple_at(effect, effect::OWNERS)?.iter_borrowed() {
            let owned = owned.cast::<PyTuple>()?;
            owners.set_item(owned.get_borrowed_item(0)?, owned.get_borrowed_item(1)?)?;
        }
        Self::move_account(slf, tuple_at(effect, effect::ACCOUNT)?)
    }

    /// What is to be written: rows of the journal, of totals, of new orders, of owners and of requests; and the orders that
    /// are in the file, as they are now.
    fn unwritten<'py>(slf: &Bound<'py, Self>) -> PyResult<[Bound<'py, PyList>; 6]> {
        let py = slf.py();
        let slate = slf.try_borrow()?;
        let account_id = slate.account_id.bind(py).clone().into_any();
        let [totals, orders, owners, requests] =
            [&slate.new_totals, &slate.new_orders, &slate.new_owners, &slate.new_requests]
                .map(|table| table.bind(py).clone());
        let journal = slate.new_journal.bind(py).clone();
        drop(slate);
        let [total_rows, order_rows, owner_rows, moved] = [(); 4].map(|()| PyList::empty(py));
        for row in totals.values() {
            let row = row.cast::<PyTuple>()?.to_list();
            row.insert(0, &account_id)?;
            total_rows.append(row)?;
        }
        for waiting in orders.items() {
            let (order_id, (place, order)): Waiting<'py> = waiting.extract()?;
            if place.is_none() {
                moved.append(order)?;
                continue;
            }
            let row = order.to_list();
            row.set_item(0, place)?;
            let flags = row.get_item(FLAGS)?;
            row.set_item(FLAGS, intern!(py, " ").call_method1(intern!(py, "join"), (flags,))?)?;
            row.insert(0, order_id)?;
            row.insert(0, &account_id)?;
            order_rows.append(row)?;
        }
        for owned in owners.items() {
            let (owner, held): (Bound<'py, PyAny>, Bound<'py, PyAny>) = owned.extract()?;
            owner_rows.append((&account_id, owner, held))?;
        }
        Ok([journal, total_rows, order_rows, owner_rows, requests.values(), moved])
    }
}

/// What is known without the file. False and None say that it is not, and that the file has to be asked.
impl PySlate {
    /// The account, where it is known that there is one.
    pub(super) fn account<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        Ok(slf.try_borrow()?.held.as_ref().map(|held| held.bind(slf.py()).clone()))
    }

    /// Whether it is known that no request has used this id.
    pub(super) fn is_unused(slf: &Bound<'_, Self>, ident: &Bound<'_, PyAny>) -> PyResult<bool> {
        let slate = slf.try_borrow()?;
        Ok(slate.unused.bind(slf.py()).contains(ident)? && !slate.new_requests.bind(slf.py()).contains(ident)?)
    }

    /// Whether it is known that there is no outbox entry under this id.
    pub(super) fn is_unposted(slf: &Bound<'_, Self>, ident: &Bound<'_, PyAny>) -> PyResult<bool> {
        slf.try_borrow()?.unposted.bind(slf.py()).contains(ident)
    }

    /// Whether it is known that no order has this id or this alias.
    pub(super) fn is_absent(slf: &Bound<'_, Self>, order_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let slate = slf.try_borrow()?;
        Ok(slate.absent.bind(slf.py()).contains(order_id)? && !slate.new_orders.bind(slf.py()).contains(order_id)?)
    }

    /// Totals of a symbol and leg, where they are known.
    pub(super) fn symbol<'py>(
        slf: &Bound<'py, Self>,
        symbol: &Bound<'py, PyAny>,
        leg: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let found = slf.try_borrow()?.totals.bind(slf.py()).get_item((symbol, leg))?;
        found.map(|row| Ok(row.cast_into()?)).transpose()
    }
}
