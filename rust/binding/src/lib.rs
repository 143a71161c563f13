//! PyO3 glue for `equipoise._rust`: exports only, one file per family.

mod arrays;
mod book;
mod error;
mod margin;
mod market;
mod present;
mod quoter;
mod shape;
mod sides;
mod solve;
mod split;

use pyo3::prelude::*;

/// Compiled core of the `equipoise` package.
#[pymodule]
mod _rust {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        book::register(module)?;
        margin::register(module)?;
        market::register(module)?;
        quoter::register(module)?;
        shape::register(module)?;
        sides::register(module)?;
        solve::register(module)?;
        split::register(module)
    }
}
