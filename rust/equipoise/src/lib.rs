//! Two-sided quoting on margin.
//!
//! A pure function of its inputs: no Python, no I/O, no clock, no global state. The pieces, in the order money flows
//! through them:
//!
//! * [`units`]: exact decimals, ticks, lots, instruments.
//! * [`margin`]: what a venue holds for a position and its resting orders.
//! * [`market`]: a market and an account at one moment, in exact numbers.
//! * [`split`]: how one margin is shared between bids and asks.
//! * [`shape`]: depths, fill intensities, adverse selection, edges.
//! * [`entropy`]: the entropy-constrained optimizer of one side (problem P1).
//! * [`older`]: the two older optimizers behind the same interface.
//! * [`project`]: from the continuous answer to integer lots, with a certificate.
//! * [`ladder`]: all of the above in order, from a market and an account to a quote.

pub mod entropy;
pub mod error;
pub mod ladder;
mod lanes;
pub mod margin;
pub mod market;
pub mod older;
pub mod project;
pub mod shape;
pub mod sides;
pub mod simd;
pub mod split;
pub mod status;
pub mod units;

pub use error::{Error, Result};
