//! `Certificate`.

use std::sync::Arc;

use equipoise::ladder;
use pyo3::prelude::*;

use crate::arrays::micros_to_decimal;

/// Proof on the final, rounded orders.
///
/// Attributes
/// ----------
/// ok : bool
///     The rule accepts the orders at the stated state, they hold no more than `margin_usable`, and each side keeps its
///     budget, its limits and its entropy floor (or names the relaxation).
/// accepted : bool
///     The venue's own rule on the final orders.
/// margin_held, margin_usable : Decimal
///     What the rule holds for the orders on top of the position, and what it may hold.
/// required_before, required_after : Decimal
///     Requirement of the rule without and with the orders.
#[pyclass(frozen, module = "equipoise", name = "Certificate")]
pub(crate) struct PyCertificate {
    pub(super) quote: Arc<ladder::Quote>,
}

#[pymethods]
impl PyCertificate {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn ok(&self) -> bool {
        self.quote.certificate.ok
    }

    #[getter]
    fn accepted(&self) -> bool {
        self.quote.certificate.acceptance.accepted
    }

    #[getter]
    fn margin_held<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.margin_held)
    }

    #[getter]
    fn margin_usable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.margin_usable)
    }

    #[getter]
    fn required_before<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.acceptance.required_before)
    }

    #[getter]
    fn required_after<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.acceptance.required_after)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.quote.certificate == other.get().quote.certificate)
    }

    fn __repr__(&self) -> String {
        let certificate = &self.quote.certificate;
        format!(
            "Certificate(ok={}, margin_held={}, margin_usable={})",
            if certificate.ok { "True" } else { "False" },
            certificate.margin_held as f64 / 1e6,
            certificate.margin_usable as f64 / 1e6
        )
    }
}
