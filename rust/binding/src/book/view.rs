//! Records of one account of the memory store, as far as a reservation reads and writes them; and whatever else shows an
//! account to a step.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// Places of `equipoise.reservation.steps.view.Effect`, as far as a ladder has them.
mod effect {
    pub(super) const ACCOUNT: usize = 1;
    pub(super) const SYMBOLS: usize = 2;
    pub(super) const ORDERS: usize = 3;
    pub(super) const KEPT: usize = 7;
    pub(super) const OWNERS: usize = 9;
    pub(super) const OUTBOX: usize = 11;
}

/// Place of `deadline_us` in the record of an order.
const DEADLINE_US: usize = 15;

/// What the memory store keeps of an account and a reservation reads or writes; its class in Python has the rest.
#[pyclass(subclass, name = "Shelf", module = "equipoise._rust")]
pub(crate) struct PyShelf {
    /// The account; None before it is opened.
    #[pyo3(get, set)]
    held: Option<Py<PyTuple>>,
    /// Totals by (symbol, leg).
    #[pyo3(get, set)]
    rows: Py<PyDict>,
    /// By id.
    #[pyo3(get, set)]
    orders: Py<PyDict>,
    /// Orders that are not terminal, and when their next answer is due.
    #[pyo3(get, set)]
    working: Py<PyDict>,
    /// Other ids, and the order that each leads to.
    #[pyo3(get, set)]
    aliases: Py<PyDict>,
    /// What each owner holds.
    #[pyo3(get, set)]
    owners: Py<PyDict>,
    /// By id, the step that it was used for.
    #[pyo3(get, set)]
    requests: Py<PyDict>,
    /// Steps as they were done.
    #[pyo3(get, set)]
    journal: Py<PyList>,
    /// Entries by request id.
    #[pyo3(get, set)]
    outbox: Py<PyDict>,
}

#[pymethods]
impl PyShelf {
    /// Empty. What arguments there are are those of a class in Python.
    #[new]
    #[pyo3(signature = (*_arguments))]
    fn new(py: Python<'_>, _arguments: &Bound<'_, PyTuple>) -> Self {
        let table = || PyDict::new(py).unbind();
        Self {
            held: None,
            rows: table(),
            orders: table(),
            working: table(),
            aliases: table(),
            owners: table(),
            requests: table(),
            journal: PyList::empty(py).unbind(),
            outbox: table(),
        }
    }

    /// Write the effect of a ladder that is held; the same again changes nothing.
    fn take(slf: &Bound<'_, Self>, effect: &Bound<'_, PyTuple>) -> PyResult<()> {
        // Not borrowed while tables are written: a collection may run, and with it whatever reads the account.
        let [rows, orders, working, owners, outbox, requests] = Self::tables(slf)?;
        for row in tuple_at(effect, effect::SYMBOLS)?.iter_borrowed() {
            let row = row.cast::<PyTuple>()?;
            rows.set_item(row.get_slice(0, 2), row)?;
        }
        for order in tuple_at(effect, effect::ORDERS)?.iter_borrowed() {
            let order = order.cast::<PyTuple>()?;
            let order_id = order.get_borrowed_item(0)?;
            orders.set_item(order_id, order)?;
            working.set_item(order_id, order.get_borrowed_item(DEADLINE_US)?)?;
        }
        for (place, table) in [(effect::OWNERS, owners), (effect::OUTBOX, outbox)] {
            for entry in tuple_at(effect, place)?.iter_borrowed() {
                let entry = entry.cast::<PyTuple>()?;
                table.set_item(entry.get_borrowed_item(0)?, entry.get_borrowed_item(1)?)?;
            }
        }
        let kept = tuple_at(effect, effect::KEPT)?;
        let (ident, step) = (kept.get_borrowed_item(0)?, kept.get_borrowed_item(1)?);
        let journal = slf.try_borrow()?.journal.bind(slf.py()).clone();
        let written = match journal.len().checked_sub(1) {
            Some(last) => journal.get_item(last)?.get_item(0)?.eq(step.get_item(0)?)?,
            None => false,
        };
        if !written {
            journal.append(step)?;
        }
        requests.set_item(ident, step)?;
        slf.try_borrow_mut()?.held = Some(tuple_at(effect, effect::ACCOUNT)?.unbind());
        Ok(())
    }
}

impl PyShelf {
    /// Tables that a ladder is written to.
    fn tables<'py>(slf: &Bound<'py, Self>) -> PyResult<[Bound<'py, PyDict>; 6]> {
        let shelf = slf.try_borrow()?;
        let tables = [&shelf.rows, &shelf.orders, &shelf.working, &shelf.owners, &shelf.outbox, &shelf.requests];
        Ok(tables.map(|table| table.bind(slf.py()).clone()))
    }
}

fn tuple_at<'py>(record: &Bound<'py, PyTuple>, place: usize) -> PyResult<Bound<'py, PyTuple>> {
    Ok(record.get_item(place)?.cast_into()?)
}

/// What shows an account to a step: `equipoise.reservation.steps.view.View`.
pub(super) enum View<'a, 'py> {
    /// The memory store's own, whose tables are looked into without a call.
    Shelf(PyRef<'py, PyShelf>),
    Other(&'a Bound<'py, PyAny>),
}

impl<'a, 'py> View<'a, 'py> {
    pub(super) fn new(view: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(match view.cast::<PyShelf>() {
            Ok(shelf) => Self::Shelf(shelf.try_borrow()?),
            Err(_) => Self::Other(view),
        })
    }

    /// The account, if it exists.
    pub(super) fn account(&self) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match self {
            Self::Shelf(shelf) => Ok(shelf.held.as_ref().map(|held| held.bind(shelf.py()).clone())),
            Self::Other(view) => record_of(view.call_method0(intern!(view.py(), "account"))?),
        }
    }

    /// Whether an account-level id has been used.
    pub(super) fn used(&self, ident: &Bound<'py, PyAny>) -> PyResult<bool> {
        match self {
            Self::Shelf(shelf) => shelf.requests.bind(shelf.py()).contains(ident),
            Self::Other(view) => Ok(!view.call_method1(intern!(view.py(), "request"), (ident,))?.is_none()),
        }
    }

    /// Whether a request has an outbox entry.
    pub(super) fn posted(&self, ident: &Bound<'py, PyAny>) -> PyResult<bool> {
        match self {
            Self::Shelf(shelf) => shelf.outbox.bind(shelf.py()).contains(ident),
            Self::Other(view) => Ok(!view.call_method1(intern!(view.py(), "outbox_entry"), (ident,))?.is_none()),
        }
    }

    /// Whether an order has this id or this alias.
    pub(super) fn known(&self, order_id: &Bound<'py, PyAny>) -> PyResult<bool> {
        match self {
            Self::Shelf(shelf) => {
                let orders = shelf.orders.bind(shelf.py());
                if orders.contains(order_id)? {
                    return Ok(true);
                }
                let alias = shelf.aliases.bind(shelf.py()).get_item(order_id)?;
                alias.map_or(Ok(false), |name| orders.contains(name))
            }
            Self::Other(view) => Ok(!view.call_method1(intern!(view.py(), "order"), (order_id,))?.is_none()),
        }
    }

    /// Running totals of a symbol and leg.
    pub(super) fn symbol(
        &self,
        symbol: &Bound<'py, PyAny>,
        leg: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match self {
            Self::Shelf(shelf) => {
                let found = shelf.rows.bind(shelf.py()).get_item((symbol, leg))?;
                found.map(|row| Ok(row.cast_into()?)).transpose()
            }
            Self::Other(view) => record_of(view.call_method1(intern!(view.py(), "symbol"), (symbol, leg))?),
        }
    }

    /// Sum of the holds of an owner's orders.
    pub(super) fn owned(&self, owner: &Bound<'py, PyAny>) -> PyResult<i128> {
        match self {
            Self::Shelf(shelf) => {
                shelf.owners.bind(shelf.py()).get_item(owner)?.map_or(Ok(0), |held| held.extract::<i128>())
            }
            Self::Other(view) => view.call_method1(intern!(view.py(), "owned"), (owner,))?.extract(),
        }
    }
}

/// A record, or None where there is none.
fn record_of(found: Bound<'_, PyAny>) -> PyResult<Option<Bound<'_, PyTuple>>> {
    if found.is_none() { Ok(None) } else { Ok(Some(found.cast_into()?)) }
}
