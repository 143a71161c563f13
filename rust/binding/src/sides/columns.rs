//! `BatchResult`: the answers of a batch as columns.

use equipoise::sides::{Batch, SidesSolution};
use numpy::ndarray::{Array1, Array2, ArrayBase, Dimension, OwnedRepr};
use numpy::{Element, IntoPyArray, PyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::result::{SIDE_STATUSES, SIDES_STATUSES, code, relative, side_members, sides_members};

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyBatchResult>()
}

/// The answers of `solve_batch`, row by row.
///
/// Attributes
/// ----------
/// status, bid_status, ask_status : numpy.ndarray
///     int8 codes, shape (N,): the place of the member in ``list(SidesStatus)`` and ``list(SideStatus)``.
/// statuses, bid_statuses, ask_statuses : tuple
///     The same as members of `SidesStatus` and `SideStatus`.
/// objective, dual_bound, gap, relative_gap, violation : numpy.ndarray
///     float64, shape (N,); see `SidesResult`.
/// margin_price : numpy.ndarray
///     float64, shape (N, 2), bids first: value of one more unit of margin.
/// bid_size, ask_size : numpy.ndarray
///     float64, shape (N, K) of the side, units of size.
/// bid_temperature, ask_temperature, inventory_price : numpy.ndarray
///     float64, shape (N,); see `SidesResult`.
/// iterations : numpy.ndarray
///     uint32, shape (N,).
#[pyclass(frozen, module = "equipoise", name = "BatchResult")]
pub(crate) struct PyBatchResult {
    status: Py<PyArray1<i8>>,
    bid_status: Py<PyArray1<i8>>,
    ask_status: Py<PyArray1<i8>>,
    objective: Py<PyArray1<f64>>,
    dual_bound: Py<PyArray1<f64>>,
    gap: Py<PyArray1<f64>>,
    relative_gap: Py<PyArray1<f64>>,
    violation: Py<PyArray1<f64>>,
    margin_price: Py<PyArray2<f64>>,
    bid_size: Py<PyArray2<f64>>,
    ask_size: Py<PyArray2<f64>>,
    bid_temperature: Py<PyArray1<f64>>,
    ask_temperature: Py<PyArray1<f64>>,
    inventory_price: Py<PyArray1<f64>>,
    iterations: Py<PyArray1<u32>>,
    rows: usize,
}

/// Gives an array away to Python, read-only.
fn given<T: Element, D: Dimension>(py: Python<'_>, array: ArrayBase<OwnedRepr<T>, D>) -> Py<PyArray<T, D>> {
    let array = array.into_pyarray(py);
    array.readwrite().make_nonwriteable();
    array.unbind()
}

impl PyBatchResult {
    pub(super) fn of(py: Python<'_>, batch: Batch, levels: [usize; 2]) -> Self {
        let Batch { solution, size: [bids, asks] } = batch;
        let rows = solution.len();
        let column =
            |figure: fn(&SidesSolution) -> f64| given(py, solution.iter().map(figure).collect::<Array1<f64>>());
        let codes = |status: fn(&SidesSolution) -> i8| given(py, solution.iter().map(status).collect::<Array1<i8>>());
        let prices = Array2::from_shape_fn((rows, 2), |(row, side)| solution[row].margin_price[side]);
        // Row after row is what the array is; a shape that did not fit would be a mistake of ours.
        let sizes = |size: Vec<f64>, levels: usize| {
            given(py, Array2::from_shape_vec((rows, levels), size).unwrap_or_else(|_| Array2::zeros((rows, levels))))
        };
        Self {
            status: codes(|s| code(&SIDES_STATUSES, s.status)),
            bid_status: codes(|s| code(&SIDE_STATUSES, s.side[0])),
            ask_status: codes(|s| code(&SIDE_STATUSES, s.side[1])),
            objective: column(|s| s.objective),
            dual_bound: column(|s| s.dual_bound),
            gap: column(|s| s.gap),
            relative_gap: column(|s| relative(s.gap, s.scale)),
            violation: column(|s| s.violation),
            margin_price: given(py, prices),
            bid_size: sizes(bids, levels[0]),
            ask_size: sizes(asks, levels[1]),
            bid_temperature: column(|s| s.temperature[0]),
            ask_temperature: column(|s| s.temperature[1]),
            inventory_price: column(|s| s.inventory_price),
            iterations: given(py, solution.iter().map(|s| s.iterations).collect::<Array1<u32>>()),
            rows,
        }
    }
}

/// Members by code.
fn named<'py>(py: Python<'py>, codes: &Py<PyArray1<i8>>, members: &[Py<PyAny>]) -> PyResult<Bound<'py, PyTuple>> {
    let codes = codes.bind(py).try_readonly()?;
    let named = codes.as_slice()?.iter().filter_map(|code| members.get(usize::try_from(*code).ok()?));
    PyTuple::new(py, named.map(|member| member.bind(py)).collect::<Vec<_>>())
}

/// Whether two arrays hold the same values.
fn same<T: Element + PartialEq + Copy, D: Dimension>(
    py: Python<'_>,
    left: &Py<PyArray<T, D>>,
    right: &Py<PyArray<T, D>>,
) -> PyResult<bool> {
    let (left, right) = (left.bind(py).try_readonly()?, right.bind(py).try_readonly()?);
    Ok(left.as_array() == right.as_array())
}

#[pymethods]
impl PyBatchResult {
    #[getter]
    fn status<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i8>> {
        self.status.bind(py).clone()
    }

    #[getter]
    fn bid_status<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i8>> {
        self.bid_status.bind(py).clone()
    }

    #[getter]
    fn ask_status<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i8>> {
        self.ask_status.bind(py).clone()
    }

    /// Members of `SidesStatus`, one for each row.
    #[getter]
    fn statuses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        named(py, &self.status, sides_members(py)?)
    }

    /// Members of `SideStatus`, one for each row.
    #[getter]
    fn bid_statuses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        named(py, &self.bid_status, side_members(py)?)
    }

    /// Members of `SideStatus`, one for each row.
    #[getter]
    fn ask_statuses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        named(py, &self.ask_status, side_members(py)?)
    }

    #[getter]
    fn objective<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.objective.bind(py).clone()
    }

    #[getter]
    fn dual_bound<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.dual_bound.bind(py).clone()
    }

    #[getter]
    fn gap<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.gap.bind(py).clone()
    }

    #[getter]
    fn relative_gap<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.relative_gap.bind(py).clone()
    }

    #[getter]
    fn violation<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.violation.bind(py).clone()
    }

    #[getter]
    fn margin_price<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.margin_price.bind(py).clone()
    }

    #[getter]
    fn bid_size<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.bid_size.bind(py).clone()
    }

    #[getter]
    fn ask_size<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.ask_size.bind(py).clone()
    }

    #[getter]
    fn bid_temperature<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.bid_temperature.bind(py).clone()
    }

    #[getter]
    fn ask_temperature<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.ask_temperature.bind(py).clone()
    }

    #[getter]
    fn inventory_price<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.inventory_price.bind(py).clone()
    }

    #[getter]
    fn iterations<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.iterations.bind(py).clone()
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let other = other.get();
        Ok(same(py, &self.status, &other.status)?
            && same(py, &self.bid_status, &other.bid_status)?
            && same(py, &self.ask_status, &other.ask_status)?
            && same(py, &self.objective, &other.objective)?
            && same(py, &self.dual_bound, &other.dual_bound)?
            && same(py, &self.violation, &other.violation)?
            && same(py, &self.margin_price, &other.margin_price)?
            && same(py, &self.bid_size, &other.bid_size)?
            && same(py, &self.ask_size, &other.ask_size)?
            && same(py, &self.iterations, &other.iterations)?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let status = self.status.bind(py).try_readonly()?;
        let counts = SIDES_STATUSES.map(|(member, name)| {
            let count = status.as_array().iter().filter(|found| **found == code(&SIDES_STATUSES, member)).count();
            format!("{}={count}", name.to_lowercase())
        });
        Ok(format!("BatchResult(rows={}, {})", self.rows, counts.join(", ")))
    }

    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }
}
