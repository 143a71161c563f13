//! The exact charge of one lot, as the projection needs it.

use crate::units::div_ceil;

/// Exact micro-units per lot, `num / den` with `num ≥ 0`, `den > 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChargeRate {
    /// Numerator in micro-units.
    pub num: i128,
    /// Denominator in lots.
    pub den: i128,
}

impl ChargeRate {
    /// Nothing is charged.
    pub const ZERO: Self = Self { num: 0, den: 1 };

    /// Charge of `lots`, rounded up to one micro-unit; saturates where it leaves `i64`, so that it fits no budget.
    #[must_use]
    pub fn charge(&self, lots: i64) -> i64 {
        let product = match self.num.checked_mul(i128::from(lots)) {
            Some(product) => product,
            None => return i64::MAX,
        };
        i64::try_from(div_ceil(product, self.den)).unwrap_or(i64::MAX)
    }

    /// Largest number of lots whose charge is at most `budget` micro-units.
    #[must_use]
    pub fn lots_within(&self, budget: i64) -> i64 {
        if budget < 0 {
            return 0;
        }
        if self.num == 0 {
            return i64::MAX;
        }
        i128::from(budget).checked_mul(self.den).map_or(0, |p| i64::try_from(p / self.num).unwrap_or(i64::MAX))
    }

    /// Micro-units per lot as the nearest float, for the optimizer.
    #[must_use]
    pub fn per_lot(&self) -> f64 {
        self.num as f64 / self.den as f64
    }
}
