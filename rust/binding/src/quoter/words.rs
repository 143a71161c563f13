//! Words for the choices of the engine, and its errors in the caller's words.

use equipoise::ladder::Policy;
use pyo3::prelude::*;

use crate::error::{from_core, input};

pub(super) const POLICIES: [(&str, Policy); 2] = [("inventory", Policy::Inventory), ("joint", Policy::Joint)];

/// The core speaks of spacings; the caller named depths.
pub(super) fn named(mut error: equipoise::Error) -> PyErr {
    error.argument = match error.argument {
        "inner_bps" => "depth_inner_bps",
        "outer_bps" => "depth_outer_bps",
        "fraction" => "kelly.fraction",
        "toxicity" => "kelly.toxicity",
        "toxicity_decay_bps" => "kelly.toxicity_decay_bps",
        other => other,
    };
    from_core(error)
}

pub(super) fn choice<T: Copy>(argument: &str, value: &str, table: &[(&str, T)]) -> PyResult<T> {
    table.iter().find(|(name, _)| *name == value).map(|&(_, found)| found).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|&(name, _)| name).collect();
        input(argument, None, &format!("one of {}", names.join(", ")), value)
    })
}
