//! Malformed input. Expected outcomes (infeasible, nothing to quote, refused) are values, never errors.

use std::fmt;

/// What is wrong with an argument: which one, where in it, what it must be, what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Name of the argument as the caller wrote it.
    pub argument: &'static str,
    /// Position in the argument when it is an array.
    pub index: Option<usize>,
    /// What the argument must satisfy, as a phrase: `"finite"`, `"at least 1"`.
    pub requirement: &'static str,
    /// The offending value as text.
    pub got: String,
}

/// Result of anything that reads caller input.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error about a whole argument.
    #[must_use]
    pub fn new(argument: &'static str, requirement: &'static str, got: impl fmt::Display) -> Self {
        Self { argument, index: None, requirement, got: got.to_string() }
    }

    /// An error about one element of an array argument.
    #[must_use]
    pub fn at(argument: &'static str, index: usize, requirement: &'static str, got: impl fmt::Display) -> Self {
        Self { argument, index: Some(index), requirement, got: got.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.argument)?;
        if let Some(index) = self.index {
            write!(f, "[{index}]")?;
        }
        write!(f, " must be {}, got {}", self.requirement, self.got)
    }
}

impl std::error::Error for Error {}
