//! `Acceptance`.

use equipoise::margin::{self, Acceptance};
use pyo3::prelude::*;

/// The venue's answer to candidate orders, with the numbers behind it in micro-units. True when accepted.
#[pyclass(frozen, eq, hash, name = "Acceptance", module = "equipoise")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyAcceptance {
    pub(super) answer: Acceptance,
}

#[pymethods]
impl PyAcceptance {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    /// Requirement of position and resting orders, in micro-units.
    #[getter]
    fn required_before(&self) -> i64 {
        self.answer.required_before
    }

    /// Requirement with the candidates, in micro-units.
    #[getter]
    fn required_after(&self) -> i64 {
        self.answer.required_after
    }

    /// Requirement of the position alone, in micro-units.
    #[getter]
    fn position_only(&self) -> i64 {
        self.answer.position_only
    }

    /// Whether the candidates are accepted.
    #[getter]
    fn accepted(&self) -> bool {
        self.answer.accepted
    }

    /// Missing margin in micro-units; 0 when accepted or refused for another reason.
    #[getter]
    fn shortfall(&self) -> i64 {
        self.answer.shortfall
    }

    /// None, "margin", "open_loss", "reduce_only" or "leg".
    #[getter]
    fn refusal(&self) -> Option<&'static str> {
        self.answer.refusal.map(margin::Refusal::name)
    }

    fn __bool__(&self) -> bool {
        self.answer.accepted
    }

    fn __repr__(&self) -> String {
        let answer = &self.answer;
        let refusal = answer.refusal.map_or_else(|| "None".to_owned(), |refusal| format!("'{}'", refusal.name()));
        format!(
            "Acceptance(accepted={}, required_before={}, required_after={}, position_only={}, shortfall={}, refusal={refusal})",
            if answer.accepted { "True" } else { "False" },
            answer.required_before,
            answer.required_after,
            answer.position_only,
            answer.shortfall,
        )
    }
}
