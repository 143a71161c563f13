//! Records of one account of the memory store, as far as a reservation reads and writes them.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::effect::{self, tuple_at};

/// Place of `deadline_us` in the record of an order.
const DEADLINE_US: usize = 15;

/// What the memory store keeps of an account and a reservation reads or writes; its class in Python has the rest.
#[pyclass(subclass, name = "Shelf", module = "equipoise._rust")]
pub(crate) struct PyShelf {
    /// The account; None before it is opened.
    #[pyo3(get, set)]
    pub(super) held: Option<Py<PyTuple>>,
    /// Totals by (symbol, leg).
    #[pyo3(get, set)]
    pub(super) rows: Py<PyDict>,
    /// By id.
    #[pyo3(get, set)]
    pub(super) orders: Py<PyDict>,
    /// Orders that are not terminal, and when their next answer is due.
    #[pyo3(get, set)]
    working: Py<PyDict>,
    /// Other ids, and the order that each leads to.
    #[pyo3(get, set)]
    pub(super) aliases: Py<PyDict>,
    /// What each owner holds.
    #[pyo3(get, set)]
    pub(super) owners: Py<PyDict>,
    /// By id, the step that it was used for.
    #[pyo3(get, set)]
    pub(super) requests: Py<PyDict>,
    /// Steps as they were done.
    #[pyo3(get, set)]
    journal: Py<PyList>,
    /// Entries by request id.
    #[pyo3(get, set)]
    pub(super) outbox: Py<PyDict>,
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
