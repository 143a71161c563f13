//! Eight numbers at a time: arithmetic, exponential, logarithm, sums in a fixed order.
//!
//! Kernels are written over [`Lanes`]; `simd` provides the vector forms, this file the portable one.

use std::array::from_fn;

/// Numbers worked on together. Arrays handed to kernels are padded to a multiple of it.
pub(crate) const LANES: usize = 8;

/// Exponents are clamped to this: clear of the subnormal range, which is slow and gains nothing.
pub(crate) const EXPONENT_MAX: f64 = 600.0;

/// Instruction sets a kernel is compiled for, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// What every machine of the target has.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512.
    Avx512,
}

/// Eight numbers and what vector units do with them.
pub(crate) trait Lanes: Copy {
    fn load(from: &[f64; LANES]) -> Self;
    fn store(self, to: &mut [f64; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// The larger; `other` where they do not compare.
    fn max(self, other: Self) -> Self;
    /// The smaller; `other` where they do not compare.
    fn min(self, other: Self) -> Self;
    /// `self · factor + term`, rounded once where the machine can.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `then` where `self` equals `other`, elsewhere `or`.
    fn if_equal(self, other: Self, then: Self, or: Self) -> Self;
    /// Sum of the representations as integers, wrapping.
    fn bits_add(self, other: Self) -> Self;
    fn bits_and(self, other: Self) -> Self;
    fn bits_or(self, other: Self) -> Self;
    /// The representation shifted up by 52: low bits become the exponent.
    fn bits_up_52(self) -> Self;
    /// The representation shifted down by 52: the exponent becomes the low bits.
    fn bits_down_52(self) -> Self;

    /// The same number in every lane.
    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self::load(&[value; LANES])
    }

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    /// Sum of the lanes: halves are added to halves.
    #[inline(always)]
    fn sum(self) -> f64 {
        let mut a = [0.0; LANES];
        self.store(&mut a);
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }

    /// The largest lane.
    #[inline(always)]
    fn largest(self) -> f64 {
        let mut a = [0.0; LANES];
        self.store(&mut a);
        larger(larger(larger(a[0], a[4]), larger(a[2], a[6])), larger(larger(a[1], a[5]), larger(a[3], a[7])))
    }

    /// The same representation in every lane.
    #[inline(always)]
    fn splat_bits(bits: u64) -> Self {
        Self::splat(f64::from_bits(bits))
    }

    /// `self · high + low`.
    #[inline(always)]
    fn line(self, high: f64, low: f64) -> Self {
        self.mul_add(Self::splat(high), Self::splat(low))
    }

    /// `e^self`, for exponents within [`EXPONENT_MAX`]; relative error below 2 units in the last place.
    #[inline(always)]
    fn exp(self) -> Self {
        // e^x = 2^n e^r with |r| ≤ ln 2 / 2; adding 1.5·2^52 rounds and leaves n in the low bits.
        let round = Self::splat(6_755_399_441_055_744.0);
        let rounded = self.mul_add(Self::splat(std::f64::consts::LOG2_E), round);
        let n = rounded.sub(round);
        let r = n.mul_add(Self::splat(-LN2_HIGH), self);
        let r = n.mul_add(Self::splat(-LN2_LOW), r);
        // Evaluated in pairs to shorten the chain.
        let r2 = r.mul(r);
        let r4 = r2.mul(r2);
        let a = r2.mul_add(r.line(EXP[3], EXP[2]), r.line(EXP[1], EXP[0]));
        let b = r2.mul_add(r.line(EXP[7], EXP[6]), r.line(EXP[5], EXP[4]));
        let q = r4.mul_add(r4.mul_add(r.line(EXP[9], EXP[8]), b), a);
        let p = r2.mul_add(q, r).add(Self::splat(1.0));
        p.bits_add(rounded.bits_up_52())
    }

    /// Natural logarithm of positive normal numbers; error below 2 units in the last place.
    #[inline(always)]
    fn ln(self) -> Self {
        // v = 2^k m with m in [√½, √2): adding the offset moves that interval onto one exponent.
        let offset = self.bits_add(Self::splat_bits(HALF_ROOT.wrapping_neg()));
        // The exponent, kept positive by 1024, as the low bits of a number around 2^52.
        let k =
            offset.bits_add(Self::splat_bits(1024 << 52)).bits_down_52().bits_or(Self::splat_bits(TWO_52.to_bits()));
        let k = k.sub(Self::splat(TWO_52 + 1024.0));
        let m = offset.bits_and(Self::splat_bits((1 << 52) - 1)).bits_add(Self::splat_bits(HALF_ROOT));
        // ln m = 2 atanh(t) = f − t (f − t² R(t²)), with f = m − 1 exact
        let f = m.sub(Self::splat(1.0));
        let t = f.div(m.add(Self::splat(1.0)));
        let z = t.mul(t);
        let z2 = z.mul(z);
        let a = z2.mul_add(z.line(LOG[3], LOG[2]), z.line(LOG[1], LOG[0]));
        let b = z2.mul_add(z.line(LOG[7], LOG[6]), z.line(LOG[5], LOG[4]));
        let q = z2.mul(z2).mul_add(b, a);
        let tail = t.mul_add(z.mul(q).sub(f), k.mul(Self::splat(LN2_LOW)));
        k.mul_add(Self::splat(LN2_HIGH), f.add(tail))
    }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// The upper 32 bits of ln 2: a product with a small integer is exact.
const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const TWO_52: f64 = 4_503_599_627_370_496.0;
/// Representation of √½.
const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
/// Chebyshev interpolant of (e^r − 1 − r)/r² on |r| ≤ ln 2 / 2, lowest power first; absolute error 1.1e-16.
const EXP: [f64; 10] = [
    0.500_000_000_000_000_1,
    0.166_666_666_666_666_69,
    0.041_666_666_666_624_13,
    0.008_333_333_333_330_062,
    0.001_388_888_891_721_371_7,
    0.000_198_412_698_630_536_18,
    2.480_152_129_595_437_6e-5,
    2.755_726_845_999_706_4e-6,
    2.762_008_844_540_974_6e-7,
    2.510_038_549_551_032e-8,
];
/// Chebyshev interpolant of (2 atanh(t) − 2t)/t³ in t² ≤ 0.0295, lowest power first; absolute error 2.1e-15.
const LOG: [f64; 8] = [
    0.666_666_666_666_666_6,
    0.400_000_000_000_008_8,
    0.285_714_285_708_032_3,
    0.222_222_223_918_004_7,
    0.181_817_956_308_847_53,
    0.153_862_402_058_134_78,
    0.132_687_596_685_606_12,
    0.130_867_670_099_481_75,
];

/// Lanes in plain arithmetic, for machines without the vectors of `simd`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable([f64; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(from_fn(|lane| f(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn bits(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        self.zip(other, |a, b| f64::from_bits(f(a.to_bits(), b.to_bits())))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn load(from: &[f64; LANES]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; LANES]) {
        *to = self.0;
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        // A fused product without the instruction for it is a slow call.
        self.mul(factor).add(term)
    }

    #[inline(always)]
    fn if_equal(self, other: Self, then: Self, or: Self) -> Self {
        Self(from_fn(|lane| if self.0[lane] == other.0[lane] { then.0[lane] } else { or.0[lane] }))
    }

    #[inline(always)]
    fn bits_add(self, other: Self) -> Self {
        self.bits(other, u64::wrapping_add)
    }

    #[inline(always)]
    fn bits_and(self, other: Self) -> Self {
        self.bits(other, |a, b| a & b)
    }

    #[inline(always)]
    fn bits_or(self, other: Self) -> Self {
        self.bits(other, |a, b| a | b)
    }

    #[inline(always)]
    fn bits_up_52(self) -> Self {
        self.bits(self, |a, _| a << 52)
    }

    #[inline(always)]
    fn bits_down_52(self) -> Self {
        self.bits(self, |a, _| a >> 52)
    }
}

#[cfg(test)]
mod tests {
    use super::{EXPONENT_MAX, LANES, Lanes};
    use crate::simd::{Kernel, Width, dispatch};

    enum Function {
        Exp,
        Ln,
    }

    struct Apply<'a>(Function, &'a [f64; LANES]);

    impl Kernel for Apply<'_> {
        type Output = [f64; LANES];

        #[inline(always)]
        fn run<L: Lanes>(self) -> [f64; LANES] {
            let value = match self.0 {
                Function::Exp => L::load(self.1).exp(),
                Function::Ln => L::load(self.1).ln(),
            };
            let mut out = [0.0; LANES];
            value.store(&mut out);
            out
        }
    }

    const WIDTHS: [Width; 3] = [Width::Portable, Width::Avx2, Width::Avx512];

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        for width in WIDTHS {
            for step in 0..40_000 {
                let x = (f64::from(step) / 20_000.0 - 1.0) * EXPONENT_MAX;
                let input: [f64; LANES] = std::array::from_fn(|lane| x * (1.0 - lane as f64 / 7.0));
                for (x, e) in input.iter().zip(dispatch(Apply(Function::Exp, &input), width)) {
                    assert!((e / x.exp() - 1.0).abs() <= 2.0 * f64::EPSILON, "{width:?} {x}: {e} {}", x.exp());
                }
            }
        }
    }

    #[test]
    fn logarithms_are_within_two_units_in_the_last_place() {
        for width in WIDTHS {
            for step in 1..40_000 {
                let v = 10_f64.powf(f64::from(step) / 40_000.0 * 400.0 - 300.0);
                let input: [f64; LANES] = std::array::from_fn(|lane| match lane {
                    0 => v,
                    1 => 1.0 + f64::from(step) * f64::EPSILON,
                    2 => 1.0 - f64::from(step) * f64::EPSILON,
                    3 => f64::from(step) / 40_000.0,
                    4 => std::f64::consts::FRAC_1_SQRT_2 * (1.0 + f64::from(step) * 1e-6),
                    _ => 1.0,
                });
                for (v, l) in input.iter().zip(dispatch(Apply(Function::Ln, &input), width)) {
                    assert!((l - v.ln()).abs() <= 2.0 * f64::EPSILON * v.ln().abs(), "{width:?} {v}: {l} {}", v.ln());
                }
            }
        }
    }
}
