//! Problems P2 and P3 (both sides from one margin), judged by code that shares nothing with the solver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod bits;
mod case;
mod draw;
mod families;
mod golden;
mod interface;
mod inventory;
mod judge;
mod properties;
