//! The levels of a side in an order that depends on what they are and not on where they stand.

use super::{ProjectInput, Target};
use crate::margin::ChargeRate;
use crate::status::Reason;

/// Levels by value per margin, then by what tells them apart: the answer follows a permutation of the input, bit by bit.
/// Levels equal in everything are interchangeable; only among those the order of the input decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    /// Position in the input.
    pub(super) origin: Vec<usize>,
    /// Utility per lot times [`Levels::scale`].
    pub(super) value: Vec<f64>,
    /// Lots wanted; empty without a given target.
    pub(super) wish: Vec<f64>,
    pub(super) rate: Vec<ChargeRate>,
    /// Micro-units per lot.
    pub(super) per_lot: Vec<f64>,
    pub(super) min: Vec<i64>,
    /// Largest order that level cap, total and budget admit when nothing else is quoted.
    pub(super) cap: Vec<i64>,
    /// The caller's cap.
    pub(super) cap_own: Vec<i64>,
    /// Why the level cannot carry an order even alone.
    pub(super) blocked: Vec<Option<Reason>>,
    /// Power of two that brings the largest utility near one.
    pub(super) scale: f64,
    key: Vec<f64>,
}

impl Levels {
    pub(super) fn len(&self) -> usize {
        self.origin.len()
    }

    pub(super) fn load(&mut self, input: &ProjectInput<'_>) {
        self.scale = power_of_two_near(input.utility);
        self.key.clear();
        self.key.extend(input.utility.iter().zip(input.charge).map(|(utility, rate)| per_margin(*utility, rate)));
        self.sort(input);
        let Self { origin, .. } = self;
        gather(&mut self.value, origin, |i| input.utility[i] * self.scale);
        gather(&mut self.rate, origin, |i| input.charge[i]);
        gather(&mut self.per_lot, origin, |i| input.charge[i].per_lot());
        gather(&mut self.min, origin, |i| input.lots_min[i]);
        gather(&mut self.cap_own, origin, |i| input.lots_cap[i]);
        let budget = input.budget.max(0);
        gather(&mut self.cap, origin, |i| {
            input.lots_cap[i].min(input.lots_total_max).min(input.charge[i].lots_within(budget))
        });
        gather(&mut self.blocked, origin, |i| blocked(input, i));
        match input.target {
            Target::Entropy => self.wish.clear(),
            Target::Given(sizes) => gather(&mut self.wish, origin, |i| sizes[i]),
        }
    }

    fn sort(&mut self, input: &ProjectInput<'_>) {
        let Self { origin, key, .. } = self;
        origin.clear();
        origin.extend(0..key.len());
        let wish = |i: usize| match input.target {
            Target::Entropy => 0.0,
            Target::Given(sizes) => sizes[i],
        };
        origin.sort_unstable_by(|&a, &b| {
            key[b]
                .total_cmp(&key[a])
                .then_with(|| input.charge[a].per_lot().total_cmp(&input.charge[b].per_lot()))
                .then_with(|| input.price_ticks[a].cmp(&input.price_ticks[b]))
                .then_with(|| input.lots_min[a].cmp(&input.lots_min[b]))
                .then_with(|| input.lots_cap[b].cmp(&input.lots_cap[a]))
                .then_with(|| wish(b).total_cmp(&wish(a)))
                .then_with(|| a.cmp(&b))
        });
    }
}

fn gather<T>(out: &mut Vec<T>, origin: &[usize], value: impl Fn(usize) -> T) {
    out.clear();
    out.extend(origin.iter().map(|&i| value(i)));
}

/// Value per micro-unit of margin; free lots of value come first, free lots that cost come last.
fn per_margin(utility: f64, rate: &ChargeRate) -> f64 {
    if utility == 0.0 {
        // One zero: `total_cmp` would tell −0 from 0.
        return 0.0;
    }
    if rate.num > 0 { utility / rate.per_lot() } else { utility * f64::INFINITY }
}

/// Why level `i` cannot carry an order even if it were the only one.
fn blocked(input: &ProjectInput<'_>, i: usize) -> Option<Reason> {
    let least = input.lots_min[i];
    if input.lots_total_max < least {
        return Some(if input.lots_total_max <= 0 || least == 1 { Reason::Position } else { Reason::Notional });
    }
    if input.lots_cap[i] < least {
        return Some(Reason::Notional);
    }
    if matches!(input.target, Target::Given(sizes) if sizes[i] == 0.0) {
        return Some(Reason::NoValue);
    }
    if input.charge[i].lots_within(input.budget.max(0)) < least {
        return Some(match (input.budget, least) {
            (..=0, _) => Reason::NoMargin,
            (_, 1) => Reason::Margin,
            _ => Reason::Notional,
        });
    }
    None
}

/// The power of two that brings the largest of `values` into `[1, 2)`; one when all are zero or far below any use.
fn power_of_two_near(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest < 1e-300 {
        return 1.0;
    }
    // The exponent bits alone: a power of two changes no digit of a utility.
    let exponent = (largest.to_bits() >> 52) & 0x7ff;
    f64::from_bits((2046 - exponent) << 52)
}
