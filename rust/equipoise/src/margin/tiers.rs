//! Leverage tiers: margin rates that grow with size.

use crate::error::{Error, Result};
use crate::units::{Decimal, pow10};

use super::overflow;

/// An exact fraction with a positive denominator, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    num: i128,
    den: i128,
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

impl Ratio {
    /// Zero.
    pub const ZERO: Self = Self { num: 0, den: 1 };

    /// `num / den`; `None` for a zero denominator or the one value that cannot be negated.
    #[must_use]
    pub fn new(num: i128, den: i128) -> Option<Self> {
        if den == 0 || num == i128::MIN || den == i128::MIN {
            return None;
        }
        let common = gcd(num, den).max(1) * den.signum();
        Some(Self { num: num / common, den: den / common })
    }

    /// Numerator in lowest terms.
    #[must_use]
    pub fn num(self) -> i128 {
        self.num
    }

    /// Denominator in lowest terms, positive.
    #[must_use]
    pub fn den(self) -> i128 {
        self.den
    }

    /// Nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let num = self.num.checked_mul(other.den)?.checked_add(other.num.checked_mul(self.den)?)?;
        Self::new(num, self.den.checked_mul(other.den)?)
    }

    pub(crate) fn mul(self, other: Self) -> Option<Self> {
        Self::new(self.num.checked_mul(other.num)?, self.den.checked_mul(other.den)?)
    }

    pub(crate) fn negated(self) -> Self {
        Self { num: -self.num, den: self.den }
    }

    pub(crate) fn larger(self, other: Self) -> Option<Self> {
        let below = self.num.checked_mul(other.den)? < other.num.checked_mul(self.den)?;
        Some(if below { other } else { self })
    }

    pub(crate) fn inverted(self) -> Option<Self> {
        Self::new(self.den, self.num)
    }
}

impl From<Decimal> for Ratio {
    fn from(value: Decimal) -> Self {
        let (num, den) = (i128::from(value.mantissa()), pow10(u32::from(value.scale())));
        Self::new(num, den).unwrap_or(Self::ZERO)
    }
}

/// One row of a step table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tier {
    /// Position value in account currency from which the row applies.
    pub notional_min: Decimal,
    /// Margin rate of value inside the row.
    pub rate: Ratio,
    /// Amount subtracted from `notional × rate` in this row, so that the margin has no jump.
    pub deduction: Ratio,
}

/// Margin rates by size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tiers {
    /// The leverage alone: rate `1 / L`.
    None,
    /// `notional × rate − deduction` by the row that holds the notional, never below `1 / L` of any part.
    Step(Vec<Tier>),
    /// `rate = base + slope × size`, size in contracts, never below `1 / L`.
    Linear {
        /// Rate of an infinitely small position.
        base: Decimal,
        /// Growth of the rate per contract.
        slope: Decimal,
    },
}

impl Tiers {
    /// A step table from rows `(notional_min, rate)`; the deductions follow from continuity,
    /// `d(n) = d(n−1) + lower_bound(n) · (rate(n) − rate(n−1))`.
    ///
    /// # Errors
    /// The rows must start at 0, rise in notional, and not fall in rate.
    pub fn steps(rows: &[(Decimal, Ratio)]) -> Result<Self> {
        let mut table: Vec<Tier> = Vec::with_capacity(rows.len());
        for (index, &(notional_min, rate)) in rows.iter().enumerate() {
            let bound = Ratio::from(notional_min);
            if rate.num <= 0 {
                return Err(Error::at("rows", index, "a positive rate", rate.to_f64()));
            }
            let deduction = match table.last() {
                None if notional_min.mantissa() == 0 => Ratio::ZERO,
                None => return Err(Error::at("rows", index, "a first row that starts at 0", notional_min)),
                Some(last) => {
                    let rise = bound.add(Ratio::from(last.notional_min).negated());
                    if rise.is_none_or(|rise| rise.num <= 0) {
                        return Err(Error::at("rows", index, "rising in notional", notional_min));
                    }
                    let step = rate.add(last.rate.negated()).ok_or_else(|| overflow("rows", notional_min))?;
                    if step.num < 0 {
                        return Err(Error::at("rows", index, "not falling in rate", rate.to_f64()));
                    }
                    let grown = bound.mul(step).and_then(|jump| last.deduction.add(jump));
                    grown.ok_or_else(|| overflow("rows", notional_min))?
                }
            };
            table.push(Tier { notional_min, rate, deduction });
        }
        if table.is_empty() { Err(Error::new("rows", "at least one row", "none")) } else { Ok(Self::Step(table)) }
    }

    /// A rate that grows linearly with the size in contracts.
    ///
    /// # Errors
    /// The base rate must be positive, the slope not negative.
    pub fn linear(base: Decimal, slope: Decimal) -> Result<Self> {
        if base.mantissa() <= 0 {
            return Err(Error::new("base", "positive", base));
        }
        if slope.mantissa() < 0 {
            return Err(Error::new("slope", "at least 0", slope));
        }
        Ok(Self::Linear { base, slope })
    }

    /// A step table from rows `(notional_min, leverage_max)` with `rate = share / leverage_max`: share 1 for initial margin,
    /// ½ for Hyperliquid's maintenance margin.
    ///
    /// # Errors
    /// As [`Tiers::steps`]; leverages must be positive.
    pub fn from_leverage(rows: &[(Decimal, Decimal)], share: Ratio) -> Result<Self> {
        let mut rates = Vec::with_capacity(rows.len());
        for (index, &(notional_min, leverage_max)) in rows.iter().enumerate() {
            if leverage_max.mantissa() <= 0 {
                return Err(Error::at("rows", index, "a positive leverage", leverage_max));
            }
            let rate = Ratio::from(leverage_max).inverted().and_then(|inverse| inverse.mul(share));
            rates.push((notional_min, rate.ok_or_else(|| overflow("rows", leverage_max))?));
        }
        Self::steps(&rates)
    }

    /// Margin of a position value, without regard to leverage: `notional × rate − deduction`. `None` for tiers that depend on
    /// the size in contracts, and beyond 128 bits.
    #[must_use]
    pub fn margin(&self, notional: Ratio) -> Option<Ratio> {
        let Self::Step(table) = self else { return None };
        let row = table.iter().rev().find(|row| {
            Ratio::from(row.notional_min).add(notional.negated()).is_some_and(|difference| difference.num <= 0)
        })?;
        notional.mul(row.rate)?.add(row.deduction.negated())
    }

    /// Average margin rate of an exposure: never below `floor` (= 1 / L), not falling in size.
    pub(crate) fn rate(&self, floor: Ratio, size: Ratio, notional: Ratio) -> Option<Ratio> {
        match self {
            Self::None => Some(floor),
            Self::Linear { base, slope } => Ratio::from(*base).add(Ratio::from(*slope).mul(size)?)?.larger(floor),
            Self::Step(table) => average(table, floor, notional),
        }
    }
}

/// Σ over rows of the value inside the row × max(rate, floor), over the whole value.
fn average(table: &[Tier], floor: Ratio, notional: Ratio) -> Option<Ratio> {
    if notional.num <= 0 {
        return table.first()?.rate.larger(floor);
    }
    let mut total = Ratio::ZERO;
    for (index, row) in table.iter().enumerate() {
        let lower = Ratio::from(row.notional_min);
        if notional.add(lower.negated())?.num <= 0 {
            break;
        }
        let upper = table.get(index + 1).map_or(notional, |next| Ratio::from(next.notional_min));
        let upper = if notional.add(upper.negated())?.num < 0 { notional } else { upper };
        let inside = upper.add(lower.negated())?;
        total = total.add(inside.mul(row.rate.larger(floor)?)?)?;
    }
    total.mul(notional.inverted()?)
}

/// Initial margin rate that grows with a market's open interest: `base + (1 − base) · clamp((oi − lower) / (upper − lower), 0, 1)`
/// (dYdX v4, "open-interest based initial margin").
///
/// # Errors
/// `0 < base ≤ 1`, `lower < upper`, amounts not negative.
pub fn open_interest_rate(base: Decimal, lower: Decimal, upper: Decimal, open_interest: Decimal) -> Result<Ratio> {
    let one = Ratio::from(Decimal::ONE);
    let (rate, bottom, top) = (Ratio::from(base), Ratio::from(lower), Ratio::from(upper));
    for (argument, value) in [("lower", lower), ("upper", upper), ("open_interest", open_interest)] {
        if value.mantissa() < 0 {
            return Err(Error::new(argument, "at least 0", value));
        }
    }
    let left = one.add(rate.negated()).filter(|left| left.num >= 0 && rate.num > 0);
    let left = left.ok_or_else(|| Error::new("base", "above 0 and at most 1", base))?;
    let span = top.add(bottom.negated()).filter(|span| span.num > 0);
    let span = span.ok_or_else(|| Error::new("upper", "above lower", upper))?;
    let too_large = || overflow("open_interest", open_interest);
    let above = Ratio::from(open_interest).add(bottom.negated()).ok_or_else(too_large)?;
    let share = if above.num <= 0 {
        Ratio::ZERO
    } else {
        let share = span.inverted().and_then(|inverse| above.mul(inverse)).ok_or_else(too_large)?;
        if share.num > share.den { one } else { share }
    };
    left.mul(share).and_then(|grown| rate.add(grown)).ok_or_else(too_large)
}
