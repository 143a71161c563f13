//! From charges to one requirement.

use crate::error::{Error, Result};
use crate::units::Side;

use super::charge::{ChargeRate, Pricer};
use super::tiers::Tiers;
use super::{Combine, MarginContext, Order, OrderMarginRule, Position, ReduceOnly, TierBasis, Triggers, overflow};

/// Rates of `net_contracts` are kept to 10⁻⁶ of a micro-unit per lot: sums of them are exact and rounded once, so that an
/// added order never lowers the total by its rounding.
const FINE: i128 = 1_000_000;

/// Resting and candidate orders, without joining them in memory.
pub(super) type Orders<'a> = [&'a [Order]];

fn each<'a>(orders: &'a Orders<'_>) -> impl Iterator<Item = (usize, &'a Order)> {
    orders.iter().flat_map(|part| part.iter()).enumerate()
}

/// Which part of the charge is combined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Margin, fee reserve, buffer and open loss: the hold of an order.
    Whole,
    /// Without the open loss.
    Bare,
}

/// Sums over the orders of one symbol.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    bids: i128,
    asks: i128,
    stops: i128,
    bid_lots: i128,
    ask_lots: i128,
    rate_max: i64,
}

/// Holds by side, in micro-units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideCharges {
    /// Σ holds of buys.
    pub bids: i64,
    /// Σ holds of sells.
    pub asks: i64,
    /// Σ holds of orders that are added outside the combine rule.
    pub stops: i64,
}

impl OrderMarginRule {
    /// Charge of one lot of an order at `price_ticks`, for a worst-case exposure of `lots_worst` lots (only leverage tiers look
    /// at it). To ask for many levels, build one [`Pricer`].
    ///
    /// # Errors
    /// The context or the price is out of range, or an amount leaves 128 bits.
    pub fn charge_rate(
        &self,
        ctx: &MarginContext<'_>,
        side: Side,
        price_ticks: i64,
        lots_worst: i64,
    ) -> Result<ChargeRate> {
        Pricer::new(self, ctx, lots_worst)?.charge_rate(side, price_ticks)
    }

    /// Prepared charges; see [`Pricer::new`].
    ///
    /// # Errors
    /// As [`Pricer::new`].
    pub fn pricer(&self, ctx: &MarginContext<'_>, lots_worst: i64) -> Result<Pricer> {
        Pricer::new(self, ctx, lots_worst)
    }

    /// Hold of one order in micro-units, rounded up: what a reservation takes for it. Reduce-only orders and dormant triggers
    /// hold nothing where the rule frees them.
    ///
    /// # Errors
    /// As [`OrderMarginRule::charge_rate`]; the lots must not be negative.
    pub fn order_charge(&self, ctx: &MarginContext<'_>, order: &Order, lots_worst: i64) -> Result<i64> {
        if order.lots < 0 {
            return Err(Error::new("lots", "at least 0", order.lots));
        }
        if self.exempt(order) {
            return Ok(0);
        }
        let rate = self.charge_rate(ctx, order.side, order.price_ticks, lots_worst)?;
        rate.checked_charge(order.lots).ok_or_else(|| overflow("lots", order.lots))
    }

    /// Orders that hold nothing, whatever the position.
    fn exempt(&self, order: &Order) -> bool {
        (order.trigger && self.triggers == Triggers::Free)
            || (order.reduce_only && self.reduce_only != ReduceOnly::FreeIfFits)
            || (self.combine == Combine::HedgeLegs && order.closes_leg())
    }

    /// Exposure the tiers look at, in lots.
    #[must_use]
    pub fn lots_worst(&self, position: Position, orders: &[Order]) -> i64 {
        self.worst(position, &[orders])
    }

    pub(super) fn worst(&self, position: Position, orders: &Orders<'_>) -> i64 {
        let (long, short) = (i128::from(position.long_lots()), i128::from(position.short_lots()));
        let net = i128::from(position.lots);
        let (mut bids, mut asks) = (0_i128, 0_i128);
        if self.tier_basis == TierBasis::PositionAndOrders && self.combine != Combine::SingleOrder {
            for (_, order) in each(orders).filter(|(_, order)| !self.exempt(order)) {
                match order.side {
                    Side::Bid => bids += i128::from(order.lots),
                    Side::Ask => asks += i128::from(order.lots),
                }
            }
        }
        let worst = match self.combine {
            Combine::Sum => long + short + bids + asks,
            Combine::HedgeLegs => (long + bids).max(short + asks),
            _ => (net + bids).abs().max((net - asks).abs()),
        };
        i64::try_from(worst).unwrap_or(i64::MAX)
    }

    /// Initial margin held for a position and resting orders of one symbol, in micro-units.
    ///
    /// # Errors
    /// An order or the context is out of range, or an amount leaves 64 bits.
    pub fn required(&self, ctx: &MarginContext<'_>, position: Position, orders: &[Order]) -> Result<i64> {
        self.required_parts(ctx, position, &[orders], Part::Whole)
    }

    /// Initial margin after `candidates` join `resting`.
    ///
    /// # Errors
    /// As [`OrderMarginRule::required`].
    pub fn required_after(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        candidates: &[Order],
    ) -> Result<i64> {
        if self.combine == Combine::SingleOrder {
            return self.placed_singly(ctx, position, candidates, Part::Whole);
        }
        self.required_parts(ctx, position, &[resting, candidates], Part::Whole)
    }

    /// What `candidates` add to the requirement.
    ///
    /// # Errors
    /// As [`OrderMarginRule::required`].
    pub fn incremental(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        resting: &[Order],
        candidates: &[Order],
    ) -> Result<i64> {
        Ok(self.required_after(ctx, position, resting, candidates)? - self.required(ctx, position, resting)?)
    }

    pub(super) fn required_parts(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        orders: &Orders<'_>,
        part: Part,
    ) -> Result<i64> {
        let worst = if self.tiers == Tiers::None { 0 } else { self.worst(position, orders) };
        let pricer = self.pricer(ctx, worst)?;
        let too_large = || overflow("orders", "more");
        let held = i128::from(position_margin(&pricer, position.lots)?);
        let total = match self.combine {
            Combine::SingleOrder => {
                check(orders)?;
                held
            }
            Combine::NetContracts => {
                let fine = self.net_contracts(&pricer, position, orders, part)?;
                held + crate::units::div_ceil(fine, FINE)
            }
            _ => {
                let sums = self.sums(&pricer, position, orders, part)?;
                let signed = if position.lots < 0 { -held } else { held };
                let combined = match self.combine {
                    Combine::Sum => legs(&pricer, position)? + sums.bids + sums.asks,
                    Combine::HedgeLegs => legs(&pricer, position)? + sums.bids + sums.asks,
                    Combine::LargerLeg => larger_leg(&pricer, position, &sums).ok_or_else(too_large)?,
                    _ => (signed + sums.bids).abs().max((signed - sums.asks).abs()),
                };
                combined + sums.stops
            }
        };
        let quantum = i128::from(self.quantum_micros.max(1));
        i64::try_from(crate::units::div_ceil(total, quantum) * quantum).map_err(|_| too_large())
    }

    /// Requirement while one candidate at a time is checked: the position with that order fully filled, nothing else.
    pub(super) fn placed_singly(
        &self,
        ctx: &MarginContext<'_>,
        position: Position,
        candidates: &[Order],
        part: Part,
    ) -> Result<i64> {
        check(&[candidates])?;
        let mut largest = self.required_parts(ctx, position, &[], part)?;
        for order in candidates.iter().filter(|order| !self.exempt(order)) {
            let opposing = position.closable(order.side) > 0;
            let after = if opposing && self.closing {
                (i128::from(order.lots) - i128::from(position.lots.unsigned_abs())).abs()
            } else {
                i128::from(position.lots.unsigned_abs()) + i128::from(order.lots)
            };
            let after = i64::try_from(after).map_err(|_| overflow("lots", order.lots))?;
            let worst = if self.tier_basis == TierBasis::Position { position.lots.saturating_abs() } else { after };
            let pricer = self.pricer(ctx, worst)?;
            let held = i128::from(position_margin(&pricer, position.lots)?);
            let charge = i128::from(charge(&pricer, order, order.lots, part)?);
            let total = if opposing && self.closing { (charge - held).abs() } else { held + charge };
            largest = largest.max(i64::try_from(total).map_err(|_| overflow("lots", order.lots))?);
        }
        let quantum = self.quantum_micros.max(1);
        let rounded = crate::units::div_ceil(i128::from(largest), i128::from(quantum)) * i128::from(quantum);
        i64::try_from(rounded).map_err(|_| overflow("orders", largest))
    }

    /// Holds of the orders that count, by side; `stops` are those outside the combine rule.
    ///
    /// # Errors
    /// As [`OrderMarginRule::required`].
    pub fn side_charges(&self, ctx: &MarginContext<'_>, position: Position, orders: &[Order]) -> Result<SideCharges> {
        let worst = if self.tiers == Tiers::None { 0 } else { self.worst(position, &[orders]) };
        let sums = self.sums(&self.pricer(ctx, worst)?, position, &[orders], Part::Whole)?;
        let amount = |sum: i128| i64::try_from(sum).map_err(|_| overflow("orders", sum));
        Ok(SideCharges { bids: amount(sums.bids)?, asks: amount(sums.asks)?, stops: amount(sums.stops)? })
    }

    fn sums(&self, pricer: &Pricer, position: Position, orders: &Orders<'_>, part: Part) -> Result<Sums> {
        let charged = self.charged_lots(position, orders)?;
        let mut sums = Sums::default();
        for (index, order) in each(orders) {
            check_one(index, order)?;
            let lots = match &charged {
                Some(lots) => lots.get(index).copied().unwrap_or(order.lots),
                None if self.exempt(order) => 0,
                None => order.lots,
            };
            if lots == 0 {
                continue;
            }
            let amount = i128::from(charge(pricer, order, lots, part)?);
            if order.trigger && self.triggers == Triggers::Summed {
                sums.stops += amount;
                continue;
            }
            match order.side {
                Side::Bid => (sums.bids, sums.bid_lots) = (sums.bids + amount, sums.bid_lots + i128::from(lots)),
                Side::Ask => (sums.asks, sums.ask_lots) = (sums.asks + amount, sums.ask_lots + i128::from(lots)),
            }
            if self.combine == Combine::LargerLeg {
                sums.rate_max = sums.rate_max.max(charge(pricer, order, 1, part)?);
            }
        }
        Ok(sums)
    }

    /// Lots of each order that are charged, where that depends on the other orders; `None` where it does not.
    pub(super) fn charged_lots(&self, position: Position, orders: &Orders<'_>) -> Result<Option<Vec<i64>>> {
        let fits = self.reduce_only == ReduceOnly::FreeIfFits && each(orders).any(|(_, order)| order.reduce_only);
        let credit = (self.closing && self.combine == Combine::Sum) || self.combine == Combine::NetContracts;
        if !(fits || credit && position.lots != 0) {
            return Ok(None);
        }
        check(orders)?;
        self.lots_after_credit(position, orders, credit).map(Some)
    }

    /// Charged lots with the exact closing prefix, best price first; `credit` extends it to ordinary orders.
    pub(super) fn lots_after_credit(&self, position: Position, orders: &Orders<'_>, credit: bool) -> Result<Vec<i64>> {
        let mut charged: Vec<i64> = each(orders).map(|(_, o)| if self.exempt(o) { 0 } else { o.lots }).collect();
        for side in [Side::Bid, Side::Ask] {
            let closable = position.closable(side);
            let mut queue: Vec<(usize, &Order)> = each(orders)
                .filter(|(_, o)| o.side == side && !(o.trigger && self.triggers == Triggers::Free))
                .collect();
            // Best price fills first; among equals the earlier order does.
            queue.sort_by_key(|(_, o)| if side == Side::Bid { -o.price_ticks } else { o.price_ticks });
            let (mut left, mut left_reduce_only) = (closable, closable);
            for (index, order) in queue {
                let free = left.min(order.lots);
                left -= free;
                let Some(slot) = charged.get_mut(index) else { continue };
                if order.reduce_only {
                    let fitting = left_reduce_only.min(order.lots);
                    left_reduce_only -= fitting;
                    if self.reduce_only == ReduceOnly::FreeIfFits {
                        *slot = order.lots - fitting;
                    }
                } else if credit {
                    *slot = order.lots - free;
                }
            }
        }
        Ok(charged)
    }

    /// Matched contracts at the dearer of the two, paired dearest with dearest, the rest at its own price; 10⁻⁶ micro-units.
    fn net_contracts(&self, pricer: &Pricer, position: Position, orders: &Orders<'_>, part: Part) -> Result<i128> {
        let charged = self.charged_lots(position, orders)?;
        let mut queues: [Vec<(i128, i64)>; 2] = [Vec::new(), Vec::new()];
        for (index, order) in each(orders) {
            check_one(index, order)?;
            let lots = match &charged {
                Some(lots) => lots.get(index).copied().unwrap_or(order.lots),
                None if self.exempt(order) => 0,
                None => order.lots,
            };
            let rate = rate(pricer, order, part)?;
            let fine = rate.num.checked_mul(FINE).ok_or_else(|| overflow("orders", order.lots))?;
            queues[usize::from(order.side == Side::Ask)].push((crate::units::div_ceil(fine, rate.den), lots));
        }
        let [mut bids, mut asks] = queues;
        bids.sort_unstable_by(|a, b| b.cmp(a));
        asks.sort_unstable_by(|a, b| b.cmp(a));
        pair(&mut bids, &mut asks).ok_or_else(|| overflow("orders", bids.len() + asks.len()))
    }
}

/// Σ over lots of the dearer rate of the k-th dearest bid lot and the k-th dearest ask lot.
fn pair(bids: &mut [(i128, i64)], asks: &mut [(i128, i64)]) -> Option<i128> {
    let (mut i, mut j, mut total) = (0, 0, 0_i128);
    while i < bids.len() || j < asks.len() {
        let bid = bids.get(i).copied().unwrap_or((0, i64::MAX));
        let ask = asks.get(j).copied().unwrap_or((0, i64::MAX));
        let lots = bid.1.min(ask.1);
        total = total.checked_add(bid.0.max(ask.0).checked_mul(i128::from(lots))?)?;
        for (queue, at) in [(&mut *bids, &mut i), (&mut *asks, &mut j)] {
            if let Some(front) = queue.get_mut(*at) {
                front.1 -= lots;
                *at += usize::from(front.1 == 0);
            }
        }
    }
    Some(total)
}

fn check_one(index: usize, order: &Order) -> Result<()> {
    if order.lots < 0 {
        return Err(Error::at("lots", index, "at least 0", order.lots));
    }
    if order.price_ticks <= 0 {
        return Err(Error::at("price_ticks", index, "positive", order.price_ticks));
    }
    Ok(())
}

pub(super) fn check(orders: &Orders<'_>) -> Result<()> {
    each(orders).try_for_each(|(index, order)| check_one(index, order))
}

fn rate(pricer: &Pricer, order: &Order, part: Part) -> Result<ChargeRate> {
    match part {
        Part::Whole => pricer.charge_rate(order.side, order.price_ticks),
        Part::Bare => pricer.bare_rate(order.side, order.price_ticks),
    }
}

fn charge(pricer: &Pricer, order: &Order, lots: i64, part: Part) -> Result<i64> {
    rate(pricer, order, part)?.checked_charge(lots).ok_or_else(|| overflow("lots", lots))
}

/// Margin of `lots` of position, rounded up.
pub(super) fn position_margin(pricer: &Pricer, lots: i64) -> Result<i64> {
    pricer.position_rate().checked_charge(lots.saturating_abs()).ok_or_else(|| overflow("position", lots))
}

/// Both legs in full.
fn legs(pricer: &Pricer, position: Position) -> Result<i128> {
    let long = position_margin(pricer, position.long_lots())?;
    let short = position_margin(pricer, position.short_lots())?;
    Ok(i128::from(long) + i128::from(short))
}

fn larger_leg(pricer: &Pricer, position: Position, sums: &Sums) -> Option<i128> {
    let (long, short) = (position.long_lots(), position.short_lots());
    let held = if long > 0 || short > 0 { pricer.position_rate().per_lot_ceil()? } else { 0 };
    let lots = (sums.bid_lots + i128::from(long)).max(sums.ask_lots + i128::from(short));
    i128::from(sums.rate_max.max(held)).checked_mul(lots)
}
