//! Answers: `SidesResult`, the `Multipliers` that prove it, and `SidesCertificate`.

use equipoise::sides::{Certificate, Multipliers, SidesSolution, SidesSolver};
use equipoise::status::{SideStatus, SidesStatus};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use super::Passed;
use super::side::rebuild;
use crate::arrays::{copied, number, owned, show};
use crate::error::input;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySidesResult>()?;
    module.add_class::<PyMultipliers>()?;
    module.add_class::<PySidesCertificate>()
}

/// Outcomes by the place of their members in the Python enumeration, which is also their code in a batch.
pub(super) const SIDES_STATUSES: [(SidesStatus, &str); 3] =
    [(SidesStatus::Optimal, "OPTIMAL"), (SidesStatus::Zero, "ZERO"), (SidesStatus::Inaccurate, "INACCURATE")];
pub(super) const SIDE_STATUSES: [(SideStatus, &str); 8] = [
    (SideStatus::Quoted, "QUOTED"),
    (SideStatus::NoValue, "NO_VALUE"),
    (SideStatus::NoBudget, "NO_BUDGET"),
    (SideStatus::Blocked, "BLOCKED"),
    (SideStatus::InfeasibleFloorAboveCap, "INFEASIBLE_FLOOR_ABOVE_CAP"),
    (SideStatus::InfeasibleFloorSum, "INFEASIBLE_FLOOR_SUM"),
    (SideStatus::InfeasibleCapSum, "INFEASIBLE_CAP_SUM"),
    (SideStatus::InfeasibleEntropy, "INFEASIBLE_ENTROPY"),
];

/// The code of an outcome: its place in the table.
pub(super) fn code<T: PartialEq + Copy>(table: &[(T, &str)], status: T) -> i8 {
    table.iter().position(|(entry, _)| *entry == status).and_then(|place| i8::try_from(place).ok()).unwrap_or(-1)
}

fn name_of<T: PartialEq + Copy>(table: &[(T, &'static str)], status: T) -> &'static str {
    table.iter().find(|(entry, _)| *entry == status).map_or("UNKNOWN", |(_, name)| name)
}

/// Members of `SidesStatus` by code.
pub(super) fn sides_members(py: Python<'_>) -> PyResult<&'static [Py<PyAny>]> {
    static MEMBERS: PyOnceLock<Vec<Py<PyAny>>> = PyOnceLock::new();
    members(py, &MEMBERS, "SidesStatus", &SIDES_STATUSES)
}

/// Members of `SideStatus` by code.
pub(super) fn side_members(py: Python<'_>) -> PyResult<&'static [Py<PyAny>]> {
    static MEMBERS: PyOnceLock<Vec<Py<PyAny>>> = PyOnceLock::new();
    members(py, &MEMBERS, "SideStatus", &SIDE_STATUSES)
}

fn members<T>(
    py: Python<'_>,
    cell: &'static PyOnceLock<Vec<Py<PyAny>>>,
    enumeration: &str,
    table: &[(T, &str)],
) -> PyResult<&'static [Py<PyAny>]> {
    let members = cell.get_or_try_init(py, || {
        let enumeration = py.import("equipoise.status")?.getattr(enumeration)?;
        table.iter().map(|(_, name)| Ok(enumeration.getattr(name)?.unbind())).collect::<PyResult<_>>()
    })?;
    Ok(members)
}

fn member(py: Python<'_>, members: &[Py<PyAny>], code: i8) -> PyResult<Py<PyAny>> {
    let found = usize::try_from(code).ok().and_then(|place| members.get(place));
    found
        .map(|member| member.clone_ref(py))
        .ok_or_else(|| pyo3::exceptions::PyAssertionError::new_err("unknown status"))
}

/// The answer of `solve_sides` and of `Solver.solve`.
///
/// Attributes
/// ----------
/// status : SidesStatus
///     ``OPTIMAL``; ``ZERO`` where quoting nothing is best or all there is; ``INACCURATE`` where the certified gap or
///     violation is above the promise.
/// bid_status, ask_status : SideStatus
///     ``QUOTED``, or why the side is empty.
/// bid_size, ask_size : numpy.ndarray
///     Read-only float64 sizes in the order of the utilities, units of size.
/// objective : float
///     Value of the ladders, account currency, the price of inventory included.
/// dual_bound : float
///     No feasible ladders are worth more; computed from the multipliers alone.
/// gap, relative_gap : float
///     ``dual_bound - objective``, and the same over ``max(|objective|, eta q^2 / 2, 1e-6 max|utility| max(size_max))``; the
///     relative gap is at most 1e-8 when optimal.
/// violation : float
///     Largest relative amount by which any constraint is missed; at most 1e-10 when optimal.
/// margin_price : (float, float)
///     Value of one more unit of margin on bids and on asks: what an operator asks for. Equal under ``"sum"`` unless a closing
///     credit binds.
/// bid_temperature, ask_temperature : float
///     What one more nat of entropy costs, account currency per unit of size; 0 where the floor is slack or leaves no choice.
/// inventory_price : float
///     ``nu``: what one more expected unit of position costs, account currency; 0 without inventory.
/// iterations : int
///     Steps of the search.
/// multipliers : Multipliers
///     What `certify` needs to bound any other ladders of the same problem.
#[pyclass(frozen, module = "equipoise", name = "SidesResult")]
pub(crate) struct PySidesResult {
    solution: SidesSolution,
    pub(super) multipliers: Multipliers,
    /// Bids, then asks.
    size: Box<[f64]>,
    bids: usize,
    arrays: [PyOnceLock<Py<PyArray1<f64>>>; 2],
    shown: PyOnceLock<Py<PyMultipliers>>,
}

impl PySidesResult {
    /// The answer that a solver holds.
    pub(super) fn of(solution: SidesSolution, solver: &SidesSolver) -> Self {
        let [bids, asks] = solver.size();
        Self {
            solution,
            multipliers: solver.multipliers().clone(),
            size: [bids, asks].concat().into(),
            bids: bids.len(),
            arrays: [const { PyOnceLock::new() }; 2],
            shown: PyOnceLock::new(),
        }
    }

    fn array<'py>(&self, py: Python<'py>, side: usize) -> Bound<'py, PyArray1<f64>> {
        let (bids, asks) = self.size.split_at(self.bids);
        self.arrays[side].get_or_init(py, || owned(py, [bids, asks][side]).unbind()).bind(py).clone()
    }
}

#[pymethods]
impl PySidesResult {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        member(py, sides_members(py)?, code(&SIDES_STATUSES, self.solution.status))
    }

    #[getter]
    fn bid_status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        member(py, side_members(py)?, code(&SIDE_STATUSES, self.solution.side[0]))
    }

    #[getter]
    fn ask_status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        member(py, side_members(py)?, code(&SIDE_STATUSES, self.solution.side[1]))
    }

    #[getter]
    fn bid_size<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.array(py, 0)
    }

    #[getter]
    fn ask_size<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.array(py, 1)
    }

    #[getter]
    fn objective(&self) -> f64 {
        self.solution.objective
    }

    #[getter]
    fn dual_bound(&self) -> f64 {
        self.solution.dual_bound
    }

    #[getter]
    fn gap(&self) -> f64 {
        self.solution.gap
    }

    #[getter]
    fn relative_gap(&self) -> f64 {
        relative(self.solution.gap, self.solution.scale)
    }

    #[getter]
    fn violation(&self) -> f64 {
        self.solution.violation
    }

    #[getter]
    fn margin_price(&self) -> (f64, f64) {
        let [bid, ask] = self.solution.margin_price;
        (bid, ask)
    }

    #[getter]
    fn bid_temperature(&self) -> f64 {
        self.solution.temperature[0]
    }

    #[getter]
    fn ask_temperature(&self) -> f64 {
        self.solution.temperature[1]
    }

    #[getter]
    fn inventory_price(&self) -> f64 {
        self.solution.inventory_price
    }

    #[getter]
    fn iterations(&self) -> u32 {
        self.solution.iterations
    }

    #[getter]
    fn multipliers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMultipliers>> {
        let made = self.shown.get_or_try_init(py, || Py::new(py, PyMultipliers::of(self.multipliers.clone())))?;
        Ok(made.bind(py).clone())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.bids == other.bids
                && self.size == other.size
                && same_solution(&self.solution, &other.solution)
                && same_multipliers(&self.multipliers, &other.multipliers)
        })
    }

    fn __repr__(&self) -> String {
        let SidesSolution { status, side, objective, gap, violation, margin_price, .. } = self.solution;
        let (bids, asks) = self.size.split_at(self.bids);
        format!(
            "SidesResult(status={}, bid_status={}, ask_status={}, bid_total={:?}, ask_total={:?}, objective={objective:?}, \
             gap={gap:?}, violation={violation:?}, margin_price=({:?}, {:?}))",
            name_of(&SIDES_STATUSES, status),
            name_of(&SIDE_STATUSES, side[0]),
            name_of(&SIDE_STATUSES, side[1]),
            bids.iter().sum::<f64>(),
            asks.iter().sum::<f64>(),
            margin_price[0],
            margin_price[1],
        )
    }
}

/// A gap against its scale; nothing over nothing is no gap.
pub(super) fn relative(gap: f64, scale: f64) -> f64 {
    if gap == 0.0 { 0.0 } else { gap / scale }
}

/// Everything that makes two solutions the same, NaN included.
fn same_solution(left: &SidesSolution, right: &SidesSolution) -> bool {
    let bits = |s: &SidesSolution| {
        let plain = [s.objective, s.dual_bound, s.gap, s.scale, s.violation, s.inventory_price].map(f64::to_bits);
        (s.status, s.side, s.iterations, plain, s.margin_price.map(f64::to_bits), s.temperature.map(f64::to_bits))
    };
    bits(left) == bits(right)
}

fn same_multipliers(left: &Multipliers, right: &Multipliers) -> bool {
    let bits = |m: &Multipliers| {
        let pairs = (m.margin.map(f64::to_bits), m.temperature.map(f64::to_bits), m.normaliser.map(f64::to_bits));
        (pairs, m.inventory.to_bits())
    };
    bits(left) == bits(right) && left.level == right.level
}

/// Prices of the constraints of a problem of two sides: any of them prove a bound, those of an answer a tight one.
///
/// Parameters
/// ----------
/// margin : (float, float, float)
///     ``mu``: of the bids' budget, of the asks' budget and of the budget of both, account currency per unit of margin; finite,
///     not negative. `SidesResult.margin_price` of a side is its own plus that of both.
/// temperature : (float, float)
///     ``T``: of the entropy floors of bids and asks, account currency per nat and unit of size; finite, not negative.
/// normaliser : (float, float)
///     Where to look first for the normalisers of the shares; any values keep the bound valid.
/// inventory : float
///     ``nu``: of one more unit of position; finite.
/// bid_level, ask_level : array_like
///     ``gamma``: of the cap on the size of each level; empty for zero, else one for each level, finite, not negative.
///
/// Raises
/// ------
/// InputError
///     A multiplier is not a number in its range.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> eq.Multipliers(margin=(0.0, 0.0, 0.004), temperature=(0.01, 0.02)).margin
/// (0.0, 0.0, 0.004)
#[pyclass(frozen, module = "equipoise", name = "Multipliers")]
pub(crate) struct PyMultipliers {
    pub(super) core: Multipliers,
    arrays: [PyOnceLock<Py<PyArray1<f64>>>; 2],
}

impl PyMultipliers {
    fn of(core: Multipliers) -> Self {
        Self { core, arrays: [const { PyOnceLock::new() }; 2] }
    }

    fn level<'py>(&self, py: Python<'py>, side: usize) -> Bound<'py, PyArray1<f64>> {
        self.arrays[side].get_or_init(py, || owned(py, &self.core.level[side]).unbind()).bind(py).clone()
    }
}

#[pymethods]
impl PyMultipliers {
    #[new]
    #[pyo3(
        signature = (*, margin = Passed(None), temperature = Passed(None), normaliser = Passed(None),
            inventory = Passed(None), bid_level = Passed(None), ask_level = Passed(None)),
        text_signature = "(*, margin=(0.0, 0.0, 0.0), temperature=(0.0, 0.0), normaliser=(0.0, 0.0), inventory=0.0, \
            bid_level=(), ask_level=())"
    )]
    fn new(
        margin: Passed<'_>,
        temperature: Passed<'_>,
        normaliser: Passed<'_>,
        inventory: Passed<'_>,
        bid_level: Passed<'_>,
        ask_level: Passed<'_>,
    ) -> PyResult<Self> {
        let levels = |argument: &str, value: Passed<'_>| -> PyResult<Vec<f64>> {
            let values = value.0.map_or(Ok(Vec::new()), |value| copied(argument, &value))?;
            prices(argument, &values)?;
            Ok(values)
        };
        let core = Multipliers {
            margin: row("margin", margin, prices)?,
            temperature: row("temperature", temperature, prices)?,
            normaliser: row("normaliser", normaliser, |_, _| Ok(()))?,
            inventory: inventory.0.map_or(Ok(0.0), |value| number("inventory", &value))?,
            level: [levels("bid_level", bid_level)?, levels("ask_level", ask_level)?],
        };
        if !core.inventory.is_finite() {
            return Err(input("inventory", None, "finite", core.inventory));
        }
        Ok(Self::of(core))
    }

    /// Of the bids' budget, of the asks', and of the budget of both.
    #[getter]
    fn margin(&self) -> (f64, f64, f64) {
        self.core.margin.into()
    }

    /// Of the entropy floors of bids and asks.
    #[getter]
    fn temperature(&self) -> (f64, f64) {
        self.core.temperature.into()
    }

    /// Normalisers of the shares of bids and asks.
    #[getter]
    fn normaliser(&self) -> (f64, f64) {
        self.core.normaliser.into()
    }

    /// Of one more unit of position.
    #[getter]
    fn inventory(&self) -> f64 {
        self.core.inventory
    }

    /// Of the caps on the size of each bid; read-only, empty for zero.
    #[getter]
    fn bid_level<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.level(py, 0)
    }

    /// Of the caps on the size of each ask; read-only, empty for zero.
    #[getter]
    fn ask_level<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.level(py, 1)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| same_multipliers(&self.core, &other.get().core))
    }

    fn __repr__(&self) -> String {
        let Multipliers { margin: [bids, asks, both], temperature, normaliser, inventory, level } = &self.core;
        format!(
            "Multipliers(margin=({bids:?}, {asks:?}, {both:?}), temperature=({:?}, {:?}), normaliser=({:?}, {:?}), \
             inventory={inventory:?}, bid_level=[{}], ask_level=[{}])",
            temperature[0],
            temperature[1],
            normaliser[0],
            normaliser[1],
            level[0].len(),
            level[1].len()
        )
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let multipliers = slf.get();
        let options = PyDict::new(py);
        options.set_item("margin", multipliers.margin())?;
        options.set_item("temperature", multipliers.temperature())?;
        options.set_item("normaliser", multipliers.normaliser())?;
        options.set_item("inventory", multipliers.inventory())?;
        options.set_item("bid_level", multipliers.bid_level(py))?;
        options.set_item("ask_level", multipliers.ask_level(py))?;
        Ok((rebuild(slf.get_type().as_any(), &options)?, PyTuple::empty(py)))
    }
}

/// As many numbers as there are; zeros where nothing was passed.
fn row<const N: usize>(
    argument: &str,
    value: Passed<'_>,
    check: impl Fn(&str, &[f64]) -> PyResult<()>,
) -> PyResult<[f64; N]> {
    let Some(value) = value.0 else { return Ok([0.0; N]) };
    let values = <[f64; N]>::try_from(copied(argument, &value)?)
        .map_err(|_| input(argument, None, &format!("a row of {N} numbers"), show(&value)))?;
    check(argument, &values)?;
    Ok(values)
}

fn prices(argument: &str, values: &[f64]) -> PyResult<()> {
    match values.iter().position(|price| !(0.0..f64::INFINITY).contains(price)) {
        Some(index) => Err(input(argument, Some(index), "finite and not negative", values[index])),
        None => Ok(()),
    }
}

/// What a pair of ladders is worth, and the most that any could be; see `certify`.
///
/// Attributes
/// ----------
/// objective : float
///     Value of the ladders, account currency, the price of inventory included.
/// dual_bound : float
///     No feasible ladders are worth more.
/// gap, relative_gap : float
///     ``dual_bound - objective``: what these ladders may leave, and the same over the scale of the problem (see
///     `SidesResult`). Negative only where they are not feasible and worth more.
/// violation : float
///     Largest relative amount by which the ladders miss any constraint.
#[pyclass(frozen, module = "equipoise", name = "SidesCertificate")]
pub(crate) struct PySidesCertificate {
    pub(super) core: Certificate,
}

#[pymethods]
impl PySidesCertificate {
    #[getter]
    fn objective(&self) -> f64 {
        self.core.objective
    }

    #[getter]
    fn dual_bound(&self) -> f64 {
        self.core.dual_bound
    }

    #[getter]
    fn gap(&self) -> f64 {
        self.core.gap
    }

    #[getter]
    fn relative_gap(&self) -> f64 {
        relative(self.core.gap, self.core.scale)
    }

    #[getter]
    fn violation(&self) -> f64 {
        self.core.violation
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let bits = |c: &Certificate| [c.objective, c.dual_bound, c.gap, c.scale, c.violation].map(f64::to_bits);
        other.cast::<Self>().is_ok_and(|other| bits(&self.core) == bits(&other.get().core))
    }

    fn __repr__(&self) -> String {
        let Certificate { objective, dual_bound, gap, violation, .. } = self.core;
        format!(
            "SidesCertificate(objective={objective:?}, dual_bound={dual_bound:?}, gap={gap:?}, violation={violation:?})"
        )
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }
}
