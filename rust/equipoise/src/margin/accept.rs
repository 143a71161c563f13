//! Whether a venue accepts orders, and how much it would still accept.

use crate::error::{Error, Result};
use crate::units::{Decimal, Side};

use super::combine::{Part, check, position_margin};
use super::tiers::{Ratio, Tiers};
use super::{AMOUNT_MAX, BalanceBasis, Combine, MarginContext, Order, OrderMarginRule, Position, ReduceOnly, overflow};

/// Why candidates are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The requirement would exceed the margin.
    Margin,
    /// Margin and the loss realised at the mark together exceed the margin.
    OpenLoss,
    /// A reduce-only order does not fit the position.
    ReduceOnly,
    /// Closing orders exceed their hedge leg.
    Leg,
}

impl Refusal {
    /// The name used in every language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Margin => "margin",
            Self::OpenLoss => "open_loss",
            Self::ReduceOnly => "reduce_only",
            Self::Leg => "leg",
        }
    }
}

/// The venue's answer to candidates, with the numbers behind it, all in micro-units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Acceptance {
    /// Requirement of position and resting orders.
    pub required_before: i64,
    /// Requirement with the candidates.
    pub required_after: i64,
    /// Requirement of the position alone.
    pub position_only: i64,
    /// Whether the candidates are accepted.
    pub accepted: bool,
    /// Margin that is missing; zero when accepted, or refused for another reason than margin.
    pub shortfall: i64,
    /// Why not, when refused.
    pub refusal: Option<Refusal>,
}

/// A ladder scaled down to what is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The largest factor, `num / den` in \[0, 1\].
    pub num: i64,
    /// Denominator, positive.
    pub den: i64,
    /// Lots of each order, `⌊lots · num / den⌋`.
    pub lots: Vec<i64>,
}

impl OrderMarginRule {
    /// Whether the venue accepts `candidates` beside `resting` orders.
    ///
    /// `margin_available` is equity − position margin − margin of other symbols' orders; orders of this symbol that stay are
    /// passed as `resting`, orders that are being replaced are passed nowhere. Accepted iff the requirement with the candidates,
    /// less that of the position alone, is within `margin_available`, or the candidates raise nothing.
    ///
    /// # Errors
    /// As [`OrderMarginRule::required`].
    pub fn accepts(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        candidates: &[Order],
        margin_available: i64,
    ) -> Result<Acceptance> {
        let position_only = self.required(ctx, position, &[])?;
        let required_before = if resting.is_empty() { position_only } else { self.required(ctx, position, resting)? };
        let required_after = self.required_after(ctx, position, resting, candidates)?;
        let quantum = i128::from(self.quantum_micros.max(1));
        let available = i128::from(margin_available).div_euclid(quantum) * quantum;
        let raised = i128::from(required_after) - i128::from(position_only);
        let mut cost = raised;
        if self.open_loss {
            cost = cost.max(self.cost_with_loss(ctx, position, resting, candidates)? - i128::from(position_only));
        }
        let refusal = if let Some(refusal) = self.misfit(position, resting, candidates) {
            Some(refusal)
        } else if required_after <= required_before || cost <= available {
            None
        } else if raised > available {
            Some(Refusal::Margin)
        } else {
            Some(Refusal::OpenLoss)
        };
        let shortfall = match refusal {
            Some(Refusal::Margin | Refusal::OpenLoss) => {
                i64::try_from(cost - available).map_err(|_| overflow("orders", cost))?
            }
            _ => 0,
        };
        Ok(Acceptance {
            required_before,
            required_after,
            position_only,
            accepted: refusal.is_none(),
            shortfall,
            refusal,
        })
    }

    /// Margin without open losses, plus the candidates' open losses in full (on lots that open, where the rule credits
    /// closing): venues test this at placement beside the requirement.
    fn cost_with_loss(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        candidates: &[Order],
    ) -> Result<i128> {
        let bare = if self.combine == Combine::SingleOrder {
            self.placed_singly(ctx, position, candidates, Part::Bare)?
        } else {
            self.required_parts(ctx, position, &[resting, candidates], Part::Bare)?
        };
        let parts: [&[Order]; 2] = [resting, candidates];
        let credit = self.closing && self.combine != Combine::HedgeLegs;
        let opening = self.lots_after_credit(position, &parts, credit)?;
        let pricer = self.pricer(ctx, 0)?;
        let mut loss = 0_i128;
        for (order, &lots) in candidates.iter().zip(opening.iter().skip(resting.len())) {
            let rate = pricer.loss_rate(order.side, order.price_ticks)?;
            loss += i128::from(rate.checked_charge(lots).ok_or_else(|| overflow("lots", lots))?);
        }
        Ok(i128::from(bare) + loss)
    }

    /// Reduce-only candidates that do not fit, closing candidates beyond their leg.
    fn misfit(&self, position: Position, resting: &[Order], candidates: &[Order]) -> Option<Refusal> {
        let total = |wanted: &dyn Fn(&Order) -> bool| -> i128 {
            resting.iter().chain(candidates).filter(|o| wanted(o)).map(|o| i128::from(o.lots)).sum()
        };
        if self.combine == Combine::HedgeLegs {
            for (side, held) in [(Side::Ask, position.long_lots()), (Side::Bid, position.short_lots())] {
                let closes = |o: &Order| o.side == side && o.closes_leg();
                if candidates.iter().any(|o| closes(o) && o.lots > 0) && total(&closes) > i128::from(held) {
                    return Some(Refusal::Leg);
                }
            }
        }
        if self.reduce_only == ReduceOnly::Checked {
            for side in [Side::Bid, Side::Ask] {
                let reduces = |o: &Order| o.side == side && o.reduce_only && !o.closes_leg();
                let fits = total(&reduces) <= i128::from(position.closable(side));
                if candidates.iter().any(|o| reduces(o) && o.lots > 0) && !fits {
                    return Some(Refusal::ReduceOnly);
                }
            }
        }
        None
    }

    /// Whether candidates are accepted; amounts beyond 64 bits are not.
    fn fits(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        candidates: &[Order],
        margin_available: i64,
    ) -> bool {
        self.accepts(ctx, position, resting, candidates, margin_available).is_ok_and(|answer| answer.accepted)
    }

    /// Largest number of lots of one more order that is accepted, at most 2⁵³ − 1.
    ///
    /// # Errors
    /// As [`OrderMarginRule::accepts`] for one lot.
    pub fn max_size(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        side: Side,
        price_ticks: i64,
        margin_available: i64,
    ) -> Result<i64> {
        self.accepts(ctx, position, resting, &[Order::limit(side, 1, price_ticks)], margin_available)?;
        let fits = |lots| self.fits(ctx, position, resting, &[Order::limit(side, lots, price_ticks)], margin_available);
        Ok(largest(AMOUNT_MAX, fits))
    }

    /// The largest factor k ≤ 1 whose ladder `⌊k · lots⌋` is accepted.
    ///
    /// # Errors
    /// As [`OrderMarginRule::accepts`].
    pub fn max_scale(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        ladder: &[Order],
        margin_available: i64,
    ) -> Result<Scale> {
        check(&[ladder])?;
        self.accepts(ctx, position, resting, &[], margin_available)?;
        let largest_order = ladder.iter().map(|order| order.lots).max().unwrap_or(0);
        if largest_order > AMOUNT_MAX {
            return Err(Error::new("lots", "below 2^53", largest_order));
        }
        let mut scaled = ladder.to_vec();
        let mut fits = |num: i64, den: i64| {
            for (target, order) in scaled.iter_mut().zip(ladder) {
                target.lots = floor_mul(order.lots, num, den);
            }
            self.fits(ctx, position, resting, &scaled, margin_available)
        };
        let (num, den) =
            if largest_order == 0 || fits(1, 1) { (1, 1) } else { largest_factor(ladder, largest_order, &mut fits) };
        let lots = ladder.iter().map(|order| floor_mul(order.lots, num, den)).collect();
        Ok(Scale { num, den, lots })
    }

    /// Margin that further orders of a side may hold, in micro-units, before the next one is refused.
    ///
    /// `sum`, `hedge_legs`: what is left of one pot. `worst_side`, `per_side`: the side's own availability, credit for closing
    /// included. Other rules and `closing` credits depend on price: the charge of the largest order at the touch, in full.
    ///
    /// # Errors
    /// As [`OrderMarginRule::required`].
    pub fn headroom(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        side: Side,
        margin_available: i64,
    ) -> Result<i64> {
        let linear = self.tiers == Tiers::None && !(self.closing && self.combine == Combine::Sum);
        let held = self.required(ctx, position, &[])?;
        match self.combine {
            Combine::Sum | Combine::HedgeLegs if linear => {
                let used = self.required(ctx, position, resting)? - held;
                Ok((margin_available.max(0) - used).max(0))
            }
            Combine::WorstSide | Combine::PerSide if linear => {
                let sums = self.side_charges(ctx, position, resting)?;
                let (charges, opposes) = match side {
                    Side::Bid => (sums.bids, position.lots < 0),
                    Side::Ask => (sums.asks, position.lots > 0),
                };
                let credit = if opposes { i128::from(held) * 2 } else { 0 };
                let used = i128::from(charges) + i128::from(sums.stops);
                let room = i128::from(margin_available.max(0)) + credit - used;
                i64::try_from(room.max(0)).map_err(|_| overflow("margin_available", margin_available))
            }
            _ => {
                let price_ticks = match side {
                    Side::Bid => ctx.best_bid_ticks,
                    Side::Ask => ctx.best_ask_ticks,
                };
                let lots = self.max_size(ctx, position, resting, side, price_ticks, margin_available)?;
                let mut orders = resting.to_vec();
                orders.push(Order::limit(side, lots, price_ticks));
                let pricer = self.pricer(ctx, self.lots_worst(position, &orders))?;
                Ok(pricer.charge_rate(side, price_ticks)?.charge(lots))
            }
        }
    }

    /// Free margin of an account in micro-units, rounded down, not below zero: what the rule counts of balance and open profit
    /// and loss, less what is in use.
    ///
    /// # Errors
    /// The amounts leave 64-bit micro-units.
    pub fn free_margin(&self, balance: Decimal, open_pnl: Decimal, in_use: Decimal) -> Result<i64> {
        let counted = match self.balance_basis {
            BalanceBasis::Balance => Decimal::ZERO,
            BalanceBasis::BalanceLessLosses if open_pnl.mantissa() > 0 => Decimal::ZERO,
            BalanceBasis::BalanceLessLosses | BalanceBasis::Equity => open_pnl,
        };
        let too_large = || overflow("balance", balance);
        let free =
            Ratio::from(balance).add(Ratio::from(counted)).and_then(|sum| sum.add(Ratio::from(in_use).negated()));
        let free = free.ok_or_else(too_large)?;
        let micros = free.num().checked_mul(1_000_000).ok_or_else(too_large)?.div_euclid(free.den());
        let quantum = i128::from(self.quantum_micros.max(1));
        i64::try_from((micros.div_euclid(quantum) * quantum).max(0)).map_err(|_| too_large())
    }

    /// Margin of the position alone, in micro-units, rounded up.
    ///
    /// # Errors
    /// As [`OrderMarginRule::required`].
    pub fn position_margin(&self, ctx: &MarginContext<'_>, position: Position) -> Result<i64> {
        let worst = if self.tiers == Tiers::None { 0 } else { self.worst(position, &[]) };
        position_margin(&self.pricer(ctx, worst)?, position.lots)
    }
}

fn floor_mul(lots: i64, num: i64, den: i64) -> i64 {
    // lots ≥ 0 and num ≤ den, so the result is at most lots.
    i64::try_from(i128::from(lots) * i128::from(num) / i128::from(den)).unwrap_or(lots)
}

/// Largest value in 0..=limit that fits, for a test that holds up to some point (0 where even 1 does not).
fn largest(limit: i64, fits: impl Fn(i64) -> bool) -> i64 {
    let (mut low, mut high) = (0, limit);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// Factors at which some order gains a lot are m / lots. Search the grid of the largest order, then the few steps of the other
/// orders inside the one cell that is left: each has at most one there.
fn largest_factor(ladder: &[Order], largest_order: i64, fits: &mut impl FnMut(i64, i64) -> bool) -> (i64, i64) {
    let (mut low, mut high) = (0, largest_order - 1);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if fits(middle, largest_order) { low = middle } else { high = middle - 1 }
    }
    let mut inside: Vec<(i64, i64)> = ladder
        .iter()
        .filter(|order| order.lots > 0)
        .map(|order| (floor_mul(order.lots, low, largest_order) + 1, order.lots))
        .filter(|&(num, den)| i128::from(num) * i128::from(largest_order) < i128::from(low + 1) * i128::from(den))
        .collect();
    inside.sort_by(|a, b| (i128::from(a.0) * i128::from(b.1)).cmp(&(i128::from(b.0) * i128::from(a.1))));
    let mut best = (low, largest_order);
    for (num, den) in inside {
        if !fits(num, den) {
            break;
        }
        best = (num, den);
    }
    best
}
