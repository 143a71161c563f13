//! Problems P2 and P3 from Python: both sides from one margin.
//!
//! What a caller states once (`SideProblem`, `SidesProblem`) is read, checked and copied once; what moves from quote to quote
//! is read without a detour. One solve keeps the interpreter lock, a batch copies its input and lets go of it.

mod batch;
mod columns;
mod problem;
mod result;
mod side;
mod solver;

use equipoise::entropy::Bound as LevelBound;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyFloat;

use crate::arrays::{copied, number, owned};

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    side::register(module)?;
    problem::register(module)?;
    result::register(module)?;
    solver::register(module)?;
    columns::register(module)?;
    batch::register(module)
}

/// An argument that was passed, whatever it is; `None` the object is not `None` the absence.
struct Passed<'py>(Option<Bound<'py, PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Passed<'py> {
    type Error = std::convert::Infallible;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self(Some(value.to_owned())))
    }
}

/// A number for every level, or one for each; ours, with the array that a caller sees made when it is asked for.
struct Levels {
    values: Values,
    array: PyOnceLock<Py<PyArray1<f64>>>,
}

#[derive(Clone, PartialEq)]
enum Values {
    Scalar(f64),
    Each(Box<[f64]>),
}

impl Levels {
    fn scalar(value: f64) -> Self {
        Self { values: Values::Scalar(value), array: PyOnceLock::new() }
    }

    fn each(values: Vec<f64>) -> Self {
        Self { values: Values::Each(values.into()), array: PyOnceLock::new() }
    }

    fn read(argument: &str, value: Option<&Bound<'_, PyAny>>, default: f64) -> PyResult<Self> {
        let Some(value) = value else { return Ok(Self::scalar(default)) };
        if let Ok(float) = value.cast::<PyFloat>() {
            return Ok(Self::scalar(float.extract()?));
        }
        match number(argument, value) {
            Ok(scalar) => Ok(Self::scalar(scalar)),
            Err(_) => Ok(Self::each(copied(argument, value)?)),
        }
    }

    fn bound(&self) -> LevelBound<'_> {
        match &self.values {
            Values::Scalar(value) => LevelBound::Scalar(*value),
            Values::Each(values) => LevelBound::Each(values),
        }
    }

    /// A float, or a read-only array.
    fn show<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match &self.values {
            Values::Scalar(value) => PyFloat::new(py, *value).into_any(),
            Values::Each(values) => {
                self.array.get_or_init(py, || owned(py, values).unbind()).bind(py).clone().into_any()
            }
        }
    }
}
