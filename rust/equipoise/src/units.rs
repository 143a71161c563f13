//! Exact numbers: decimals, price ticks, size lots, instruments.
//!
//! Floats that stand for money, prices, ticks or lots are read by their shortest decimal, so that 0.29 is 29/100 and not the
//! binary fraction next to it.

use crate::error::{Error, Result};

/// Largest number of decimals a [`Decimal`] carries.
pub const SCALE_MAX: u8 = 18;

const POW10: [i64; 19] = {
    let mut table = [1_i64; 19];
    let mut index = 1;
    while index < 19 {
        table[index] = table[index - 1] * 10;
        index += 1;
    }
    table
};

/// `10^exponent` for `exponent ≤ 36`; the callers' scales are bounded by construction.
#[must_use]
pub fn pow10(exponent: u32) -> i128 {
    10_i128.pow(exponent)
}

/// Ceiling of `numerator / denominator` for a positive denominator.
#[must_use]
pub fn div_ceil(numerator: i128, denominator: i128) -> i128 {
    // Nearly every quotient fits 64 bits, where a division costs a third.
    if let (Ok(short), Ok(by)) = (i64::try_from(numerator), i64::try_from(denominator)) {
        return i128::from(short / by + i64::from(short % by > 0));
    }
    -(-numerator).div_euclid(denominator)
}

/// An exact decimal, `mantissa × 10^-scale`, kept without trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };
    /// One.
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// `mantissa × 10^-scale`; the scale is at most [`SCALE_MAX`] (larger scales are refused as `None`).
    #[must_use]
    pub fn new(mantissa: i64, scale: u8) -> Option<Self> {
        (scale <= SCALE_MAX).then(|| Self { mantissa, scale }.normalised())
    }

    /// The exact value of a plain or exponent decimal (`"0.01"`, `"1e-3"`), or `None` when it is not one or does not fit
    /// 18 digits and 18 decimals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (number, exponent) = match digits.find(['e', 'E']) {
            Some(at) => (&digits[..at], digits[at + 1..].parse::<i32>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut mantissa: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() || mantissa > i128::from(i64::MAX) * 1_000_000_000 {
                return None;
            }
            mantissa = mantissa * 10 + i128::from(byte - b'0');
        }
        let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
            if mantissa == 0 {
                scale = 0;
            }
        }
        while scale < 0 && mantissa != 0 {
            mantissa = mantissa.checked_mul(10)?;
            scale += 1;
        }
        let mantissa = i64::try_from(mantissa).ok()?;
        let scale = if mantissa == 0 { 0 } else { u8::try_from(scale).ok()? };
        Self::new(if negative { -mantissa } else { mantissa }, scale)
    }

    /// The shortest decimal that reads back as `value`; `None` for NaN, infinities and values beyond 18 digits.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        // Prices and sizes nearly always have few decimals: scaling, rounding and reading back costs a few nanoseconds and
        // is exact when it reproduces the float, because the decimal found is then the shortest one.
        for scale in 0..=8_u8 {
            let power = POW10[usize::from(scale)] as f64;
            let scaled = (value * power).round();
            if scaled.abs() > 9e14 {
                break;
            }
            if scaled / power == value {
                return Self::new(scaled as i64, scale);
            }
        }
        Self::parse(&format!("{value:e}"))
    }

    fn normalised(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// Digits without the decimal point.
    #[must_use]
    pub fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Number of decimals.
    #[must_use]
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 / POW10[usize::from(self.scale)] as f64
    }

    /// Largest integer count of `10^-scale` units not above the value; `None` beyond `i64`.
    #[must_use]
    pub fn floor_units(self, scale: u8) -> Option<i64> {
        let wide = i128::from(self.mantissa) * pow10(u32::from(scale));
        i64::try_from(wide.div_euclid(pow10(u32::from(self.scale)))).ok()
    }

    /// Smallest integer count of `10^-scale` units not below the value; `None` beyond `i64`.
    #[must_use]
    pub fn ceil_units(self, scale: u8) -> Option<i64> {
        let wide = i128::from(self.mantissa) * pow10(u32::from(scale));
        i64::try_from(div_ceil(wide, pow10(u32::from(self.scale)))).ok()
    }

    /// The value as a count of `step`s: `(floor, exact)`; the step is positive.
    #[must_use]
    pub fn steps(self, step: Self) -> Option<(i64, bool)> {
        let numerator = i128::from(self.mantissa).checked_mul(pow10(u32::from(step.scale)))?;
        let denominator = i128::from(step.mantissa).checked_mul(pow10(u32::from(self.scale)))?;
        if denominator <= 0 {
            return None;
        }
        let count = i64::try_from(numerator.div_euclid(denominator)).ok()?;
        Some((count, numerator.rem_euclid(denominator) == 0))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let power = POW10[usize::from(self.scale)].unsigned_abs();
        let digits = self.mantissa.unsigned_abs();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        write!(f, "{sign}{}.{:0width$}", digits / power, digits % power, width = usize::from(self.scale))
    }
}

/// Buying or selling side of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Buys.
    Bid,
    /// Sells.
    Ask,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Bid => Self::Ask,
            Self::Ask => Self::Bid,
        }
    }

    /// Change of the position per lot filled.
    #[must_use]
    pub fn sign(self) -> i64 {
        match self {
            Self::Bid => 1,
            Self::Ask => -1,
        }
    }
}

/// Which prices a venue accepts, on top of the tick grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriceRule {
    /// Every multiple of the tick.
    Tick,
    /// At most this many significant figures; whole prices are always valid (Hyperliquid).
    Significant {
        /// Figures counted from the first non-zero digit.
        figures: u8,
    },
}

/// What is traded: grids, contract size, minimum order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Price step. Positive.
    pub tick: Decimal,
    /// Size step in contracts. Positive.
    pub lot: Decimal,
    /// Value of one contract per unit of price (linear), or its face value (inverse). Positive.
    pub contract_value: Decimal,
    /// Inverse contracts are worth `contract_value / price` in the account currency.
    pub inverse: bool,
    /// Smallest order value in the account currency. Zero when the venue has none.
    pub notional_min: Decimal,
    /// Valid prices on the tick grid.
    pub price_rule: PriceRule,
}

impl Instrument {
    /// Checks that steps are positive and the minimum is not negative.
    ///
    /// # Errors
    /// Names the first argument that is out of range.
    pub fn checked(self) -> Result<Self> {
        for (argument, value) in [("tick", self.tick), ("lot", self.lot), ("contract_value", self.contract_value)] {
            if value.mantissa <= 0 {
                return Err(Error::new(argument, "positive", value));
            }
        }
        if self.notional_min.mantissa < 0 {
            return Err(Error::new("notional_min", "at least 0", self.notional_min));
        }
        Ok(self)
    }

    /// Largest valid price not above `ticks`.
    #[must_use]
    pub fn price_floor(&self, ticks: i64) -> i64 {
        let step = self.step_at(ticks);
        ticks.div_euclid(step) * step
    }

    /// Smallest valid price not below `ticks`.
    #[must_use]
    pub fn price_ceil(&self, ticks: i64) -> i64 {
        let step = self.step_at(ticks);
        -(-ticks).div_euclid(step) * step
    }

    /// Grid step in ticks around a price: more than one tick where significant figures run out before decimals do.
    fn step_at(&self, ticks: i64) -> i64 {
        let PriceRule::Significant { figures } = self.price_rule else { return 1 };
        // A significant-figure rule comes with a power-of-ten tick: digits of the price in ticks are its figures.
        let digits = ticks.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
        let excess = digits.saturating_sub(u32::from(figures));
        // Whole prices stay valid whatever their number of figures.
        POW10[excess.min(u32::from(self.tick.scale)) as usize]
    }

    /// Size of `lots` in contracts.
    #[must_use]
    pub fn size(&self, lots: i64) -> f64 {
        // One rounding: the product is exact in i128 for every bookable size.
        let wide = i128::from(lots) * i128::from(self.lot.mantissa);
        wide as f64 / POW10[usize::from(self.lot.scale)] as f64
    }

    /// Price of `ticks`.
    #[must_use]
    pub fn price(&self, ticks: i64) -> f64 {
        let wide = i128::from(ticks) * i128::from(self.tick.mantissa);
        wide as f64 / POW10[usize::from(self.tick.scale)] as f64
    }

    /// Smallest number of lots whose value at `price_ticks` reaches the minimum notional (at least one lot); `None` when
    /// the price is not positive or the count leaves `i64`.
    #[must_use]
    pub fn lots_min(&self, price_ticks: i64) -> Option<i64> {
        if price_ticks <= 0 {
            return None;
        }
        let (tick, lot, unit, floor) = (self.tick, self.lot, self.contract_value, self.notional_min);
        let (numerator, denominator) = if self.inverse {
            // lots · lot · unit / price ≥ floor
            let price = i128::from(price_ticks).checked_mul(i128::from(tick.mantissa))?;
            let lot_value = i128::from(lot.mantissa).checked_mul(i128::from(unit.mantissa))?;
            let numerator = i128::from(floor.mantissa)
                .checked_mul(price)?
                .checked_mul(pow10(u32::from(lot.scale) + u32::from(unit.scale)))?;
            (numerator, lot_value.checked_mul(pow10(u32::from(floor.scale) + u32::from(tick.scale)))?)
        } else {
            let lot_value = i128::from(price_ticks)
                .checked_mul(i128::from(tick.mantissa))?
                .checked_mul(i128::from(lot.mantissa))?
                .checked_mul(i128::from(unit.mantissa))?
                .checked_mul(pow10(u32::from(floor.scale)))?;
            let scale = u32::from(tick.scale) + u32::from(lot.scale) + u32::from(unit.scale);
            (i128::from(floor.mantissa).checked_mul(pow10(scale))?, lot_value)
        };
        i64::try_from(div_ceil(numerator, denominator)).ok().map(|lots| lots.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or(Decimal::ZERO)
    }

    #[test]
    fn a_quotient_is_rounded_up_alike_in_64_and_128_bits() {
        let near = |value: i128| (-2..=2).map(move |step| value + step);
        let ends = [0, 7, -7, i128::from(i64::MAX), i128::from(i64::MIN), 1 << 100, -(1 << 100)];
        for numerator in ends.into_iter().flat_map(near) {
            for denominator in [1, 2, 3, 10, i128::from(i64::MAX), 1 << 64] {
                let quotient = div_ceil(numerator, denominator);
                // q − 1 < n / d ≤ q
                assert!((quotient - 1) * denominator < numerator && numerator <= quotient * denominator);
            }
        }
    }

    #[test]
    fn shortest_decimal_of_a_float_is_what_the_user_wrote() {
        for text in ["0.29", "27.11", "397.49", "0.00001", "110000.5", "1e-9", "123456789.123456", "0.1", "-3.5"] {
            let float: f64 = text.parse().unwrap_or(f64::NAN);
            assert_eq!(Decimal::from_f64(float), Decimal::parse(text), "{text}");
        }
        assert_eq!(Decimal::from_f64(0.1 + 0.2), Decimal::parse("0.30000000000000004"));
        assert_eq!(Decimal::from_f64(f64::NAN), None);
        assert_eq!(Decimal::from_f64(1e300), None);
    }

    #[test]
    fn text_that_is_no_decimal_is_refused() {
        for text in ["", ".", "-", "1..2", "1e", "abc", "0x10", "1_000", "inf", "nan"] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
        assert_eq!(dec("1.500").to_string(), "1.5");
        assert_eq!(dec("-0.05").to_string(), "-0.05");
    }

    fn hype(figures: u8) -> Instrument {
        Instrument {
            tick: dec("0.001"),
            lot: dec("0.01"),
            contract_value: Decimal::ONE,
            inverse: false,
            notional_min: dec("10"),
            price_rule: PriceRule::Significant { figures },
        }
    }

    #[test]
    fn minimum_size_reaches_the_minimum_notional_exactly() {
        assert_eq!(hype(5).lots_min(34_500), Some(29));
        assert_eq!(hype(5).lots_min(27_110), Some(37));
        assert_eq!(hype(5).lots_min(10_000), Some(100));
        assert_eq!(hype(5).lots_min(0), None);
    }

    #[test]
    fn significant_figures_widen_the_grid_but_whole_prices_stay_valid() {
        let instrument = hype(5);
        assert_eq!((instrument.price_floor(27_113), instrument.price_ceil(27_113)), (27_113, 27_113));
        assert_eq!((instrument.price_floor(271_134), instrument.price_ceil(271_134)), (271_130, 271_140));
        // 123456.789: five figures would round to tens, whole prices are always valid.
        assert_eq!(instrument.price_floor(123_456_789), 123_456_000);
    }
}
