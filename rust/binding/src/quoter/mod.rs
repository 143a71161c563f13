//! `LadderEngine` and what it returns: quotes with their split and certificate.

mod certificate;
mod engine;
mod joint;
mod quote;
mod side;
mod words;

use pyo3::prelude::*;

use certificate::PyCertificate;
use engine::PyLadderEngine;
use joint::PyJointReport;
use quote::PyQuote;
use side::PyQuoteSide;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCertificate>()?;
    module.add_class::<PyJointReport>()?;
    module.add_class::<PyLadderEngine>()?;
    module.add_class::<PyQuote>()?;
    module.add_class::<PyQuoteSide>()
}
