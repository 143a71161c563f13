//! The widest vectors of the machine, chosen at run time: the only place of this project with `unsafe`.
//! A `Kernel` is written once over `Lanes` and compiled for each set of instructions. AVX-512 and AVX2 execute the same
//! operations in the same order and agree bit by bit; the portable path rounds products before it adds, and differs by that.
#![allow(unsafe_code)]

pub use crate::lanes::Width;
use crate::lanes::{Lanes, Portable};

/// A computation over lanes that is worth compiling for wider vectors.
pub(crate) trait Kernel {
    /// What it computes.
    type Output;

    /// The computation. Implementations are `#[inline(always)]`, all the way down, or the vectors go through memory.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// The widest set this machine executes.
#[inline]
#[must_use]
pub fn widest() -> Width {
    #[cfg(target_arch = "x86_64")]
    {
        let middle = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if middle && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            return Width::Avx512;
        }
        if middle {
            return Width::Avx2;
        }
    }
    Width::Portable
}

/// Runs the kernel compiled for the widest instructions not above `limit`.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K, limit: Width) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match widest().min(limit) {
        // SAFETY: `widest` has just found on this machine everything that `x86::avx512` enables.
        Width::Avx512 => return unsafe { x86::avx512(kernel) },
        // SAFETY: `widest` has just found on this machine everything that `x86::avx2` enables.
        Width::Avx2 => return unsafe { x86::avx2(kernel) },
        Width::Portable => {}
    }
    let _ = limit;
    kernel.run::<Portable>()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Lanes};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
    pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    /// Eight lanes in one register. The type is private: its methods run inside [`avx512`] and nowhere else.
    #[derive(Clone, Copy)]
    struct Avx512(__m512d);

    /// Eight lanes in two registers. The type is private: its methods run inside [`avx2`] and nowhere else.
    #[derive(Clone, Copy)]
    struct Avx2(__m256d, __m256d);

    /// `name(self, …) = |register of self, …| instructions`, where the other registers keep the names of the arguments.
    macro_rules! methods {
        (Avx512: $($name:ident(self $(, $arg:ident)*) = |$me:ident| $body:expr;)*) => { $(
            #[inline(always)]
            fn $name(self $(, $arg: Self)*) -> Self {
                let ($me, $($arg,)*) = (self.0, $($arg.0,)*);
                // SAFETY: this type exists only in kernels compiled for its instructions; these touch no memory.
                Self(unsafe { $body })
            }
        )* };
        (Avx2: $($name:ident(self $(, $arg:ident)*) = |$me:ident| $body:expr;)*) => { $(
            #[inline(always)]
            fn $name(self $(, $arg: Self)*) -> Self {
                // SAFETY: this type exists only in kernels compiled for its instructions; these touch no memory.
                unsafe {
                    Self({ let ($me, $($arg,)*) = (self.0, $($arg.0,)*); $body },
                        { let ($me, $($arg,)*) = (self.1, $($arg.1,)*); $body })
                }
            }
        )* };
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        fn load(from: &[f64; 8]) -> Self {
            // SAFETY: eight readable numbers, of any alignment; instructions as above.
            Self(unsafe { _mm512_loadu_pd(from.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f64; 8]) {
            // SAFETY: eight writable numbers, of any alignment; instructions as above.
            unsafe { _mm512_storeu_pd(to.as_mut_ptr(), self.0) }
        }
        methods! { Avx512:
            add(self, b) = |a| _mm512_add_pd(a, b);
            sub(self, b) = |a| _mm512_sub_pd(a, b);
            mul(self, b) = |a| _mm512_mul_pd(a, b);
            div(self, b) = |a| _mm512_div_pd(a, b);
            max(self, b) = |a| _mm512_max_pd(a, b);
            min(self, b) = |a| _mm512_min_pd(a, b);
            mul_add(self, b, c) = |a| _mm512_fmadd_pd(a, b, c);
            if_equal(self, b, then, or) = |a| _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, b), or, then);
            bits_add(self, b) = |a| _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b)));
            bits_and(self, b) = |a| _mm512_and_pd(a, b);
            bits_or(self, b) = |a| _mm512_or_pd(a, b);
            bits_up_52(self) = |a| _mm512_castsi512_pd(_mm512_slli_epi64::<52>(_mm512_castpd_si512(a)));
            bits_down_52(self) = |a| _mm512_castsi512_pd(_mm512_srli_epi64::<52>(_mm512_castpd_si512(a)));
        }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn load(from: &[f64; 8]) -> Self {
            // SAFETY: eight readable numbers; instructions as above.
            unsafe { Self(_mm256_loadu_pd(from.as_ptr()), _mm256_loadu_pd(from.as_ptr().add(4))) }
        }
        #[inline(always)]
        fn store(self, to: &mut [f64; 8]) {
            // SAFETY: eight writable numbers; instructions as above.
            unsafe { (_mm256_storeu_pd(to.as_mut_ptr(), self.0), _mm256_storeu_pd(to.as_mut_ptr().add(4), self.1)) };
        }
        methods! { Avx2:
            add(self, b) = |a| _mm256_add_pd(a, b);
            sub(self, b) = |a| _mm256_sub_pd(a, b);
            mul(self, b) = |a| _mm256_mul_pd(a, b);
            div(self, b) = |a| _mm256_div_pd(a, b);
            max(self, b) = |a| _mm256_max_pd(a, b);
            min(self, b) = |a| _mm256_min_pd(a, b);
            mul_add(self, b, c) = |a| _mm256_fmadd_pd(a, b, c);
            if_equal(self, b, then, or) = |a| _mm256_blendv_pd(or, then, _mm256_cmp_pd::<_CMP_EQ_OQ>(a, b));
            bits_add(self, b) = |a| _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b)));
            bits_and(self, b) = |a| _mm256_and_pd(a, b);
            bits_or(self, b) = |a| _mm256_or_pd(a, b);
            bits_up_52(self) = |a| _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(a)));
            bits_down_52(self) = |a| _mm256_castsi256_pd(_mm256_srli_epi64::<52>(_mm256_castpd_si256(a)));
        }
    }
}
