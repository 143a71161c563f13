//! What shows an account to a step: `equipoise.reservation.steps.view.View`.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::shelf::PyShelf;
use super::slate::PySlate;

/// A view as a step asks it; the tables of those that the compiled part has made are looked into without a call.
pub(super) struct View<'a, 'py> {
    view: &'a Bound<'py, PyAny>,
    known: Known<'a, 'py>,
}

enum Known<'a, 'py> {
    /// The memory store's, which has everything.
    Shelf(PyRef<'py, PyShelf>),
    /// The SQLite store's. What it does not have is asked for, which writes to it: so it is not borrowed.
    Slate(&'a Bound<'py, PySlate>),
    Nothing,
}

impl<'a, 'py> View<'a, 'py> {
    pub(super) fn new(view: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        let known = if let Ok(shelf) = view.cast::<PyShelf>() {
            Known::Shelf(shelf.try_borrow()?)
        } else if let Ok(slate) = view.cast::<PySlate>() {
            Known::Slate(slate)
        } else {
            Known::Nothing
        };
        Ok(Self { view, known })
    }

    fn py(&self) -> Python<'py> {
        self.view.py()
    }

    /// The account, if it exists.
    pub(super) fn account(&self) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match &self.known {
            Known::Shelf(shelf) => return Ok(shelf.held.as_ref().map(|held| held.bind(shelf.py()).clone())),
            Known::Slate(slate) => {
                if let Some(held) = PySlate::account(slate)? {
                    return Ok(Some(held));
                }
            }
            Known::Nothing => {}
        }
        record_of(self.view.call_method0(intern!(self.py(), "account"))?)
    }

    /// Whether an account-level id has been used.
    pub(super) fn used(&self, ident: &Bound<'py, PyAny>) -> PyResult<bool> {
        match &self.known {
            Known::Shelf(shelf) => shelf.requests.bind(shelf.py()).contains(ident),
            Known::Slate(slate) if PySlate::is_unused(slate, ident)? => Ok(false),
            _ => Ok(!self.view.call_method1(intern!(self.py(), "request"), (ident,))?.is_none()),
        }
    }

    /// Whether a request has an outbox entry.
    pub(super) fn posted(&self, ident: &Bound<'py, PyAny>) -> PyResult<bool> {
        match &self.known {
            Known::Shelf(shelf) => shelf.outbox.bind(shelf.py()).contains(ident),
            Known::Slate(slate) if PySlate::is_unposted(slate, ident)? => Ok(false),
            _ => Ok(!self.view.call_method1(intern!(self.py(), "outbox_entry"), (ident,))?.is_none()),
        }
    }

    /// Whether an order has this id or this alias.
    pub(super) fn known(&self, order_id: &Bound<'py, PyAny>) -> PyResult<bool> {
        match &self.known {
            Known::Shelf(shelf) => {
                let orders = shelf.orders.bind(shelf.py());
                if orders.contains(order_id)? {
                    return Ok(true);
                }
                let alias = shelf.aliases.bind(shelf.py()).get_item(order_id)?;
                alias.map_or(Ok(false), |name| orders.contains(name))
            }
            Known::Slate(slate) if PySlate::is_absent(slate, order_id)? => Ok(false),
            _ => Ok(!self.view.call_method1(intern!(self.py(), "order"), (order_id,))?.is_none()),
        }
    }

    /// Running totals of a symbol and leg.
    pub(super) fn symbol(
        &self,
        symbol: &Bound<'py, PyAny>,
        leg: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match &self.known {
            Known::Shelf(shelf) => {
                let found = shelf.rows.bind(shelf.py()).get_item((symbol, leg))?;
                return found.map(|row| Ok(row.cast_into()?)).transpose();
            }
            Known::Slate(slate) => {
                if let Some(row) = PySlate::symbol(slate, symbol, leg)? {
                    return Ok(Some(row));
                }
            }
            Known::Nothing => {}
        }
        record_of(self.view.call_method1(intern!(self.py(), "symbol"), (symbol, leg))?)
    }

    /// Sum of the holds of an owner's orders.
    pub(super) fn owned(&self, owner: &Bound<'py, PyAny>) -> PyResult<i128> {
        match &self.known {
            Known::Shelf(shelf) => {
                shelf.owners.bind(shelf.py()).get_item(owner)?.map_or(Ok(0), |held| held.extract::<i128>())
            }
            _ => self.view.call_method1(intern!(self.py(), "owned"), (owner,))?.extract(),
        }
    }
}

/// A record, or None where there is none.
fn record_of(found: Bound<'_, PyAny>) -> PyResult<Option<Bound<'_, PyTuple>>> {
    if found.is_none() { Ok(None) } else { Ok(Some(found.cast_into()?)) }
}
