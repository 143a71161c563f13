//! One conversion from core errors to the exceptions that Python code defines.

use pyo3::prelude::*;

mod imported {
    #![allow(missing_docs)]
    pyo3::import_exception!(equipoise.errors, InputError);
}
pub(crate) use imported::InputError;

/// `InputError(argument, index, requirement, got)`; see `equipoise.errors`.
pub(crate) fn input(argument: &str, index: Option<usize>, requirement: &str, got: impl std::fmt::Display) -> PyErr {
    InputError::new_err((argument.to_owned(), index, requirement.to_owned(), got.to_string()))
}

/// Core error to Python exception.
pub(crate) fn from_core(error: equipoise::Error) -> PyErr {
    input(error.argument, error.index, error.requirement, error.got)
}
