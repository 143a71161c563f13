//! Running totals of a symbol, and what they require: the combine rules on sums that a reservation book keeps.

use super::{AMOUNT_MAX, Combine};
use crate::units::Side;

/// Running totals of one symbol, or of one leg of it. Pairs are (bids, asks) or (long, short).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Signed position, long positive.
    pub lots: i64,
    /// Margin of the position.
    pub margin: i64,
    /// What resting orders hold.
    pub hold: [i64; 2],
    /// Resting lots, those that may only reduce and hold nothing apart.
    pub resting: [i64; 2],
    /// Resting lots that may only reduce, whether they hold anything or not.
    pub reducing: [i64; 2],
    /// Tickets: lots of open tickets.
    pub open: [i64; 2],
    /// Larger leg: highest charge per lot among resting orders.
    pub rate_orders: i64,
    /// Larger leg: highest margin per lot among open tickets.
    pub rate_tickets: i64,
}

/// `count / parts`, rounded up. None for no parts.
fn per_part(count: i128, parts: i128) -> Option<i128> {
    let whole = count.checked_div_euclid(parts)?;
    Some(whole + i128::from(count.checked_rem_euclid(parts)? != 0))
}

impl Running {
    /// (margin of the position alone, margin of position and resting orders). None where the rule is not one of running
    /// totals ([`Combine::NetContracts`], [`Combine::SingleOrder`]) or a product has more than 128 bits.
    ///
    /// Legs are rows of their own, and what closes a leg holds nothing: [`Combine::HedgeLegs`] adds.
    pub fn required(&self, combine: Combine) -> Option<(i128, i128)> {
        let margin = i128::from(self.margin);
        let [bids, asks] = self.hold.map(i128::from);
        match combine {
            Combine::Sum | Combine::HedgeLegs => Some((margin, margin + bids + asks)),
            Combine::WorstSide | Combine::PerSide => {
                let signed = if self.lots >= 0 { margin } else { -margin };
                Some((margin, (signed + bids).abs().max((signed - asks).abs())))
            }
            Combine::LargerLeg => {
                let [mut long, mut short] = self.open.map(i128::from);
                let mut rate = i128::from(self.rate_tickets);
                if long == 0 && short == 0 {
                    let lots = i128::from(self.lots);
                    (long, short) = (lots.max(0), (-lots).max(0));
                    rate = if lots == 0 { 0 } else { per_part(margin, long + short)? };
                }
                let [bids, asks] = self.resting.map(i128::from);
                let alone = rate.checked_mul(long.max(short))?;
                let dearest = rate.max(self.rate_orders.into());
                Some((alone, dearest.checked_mul((long + bids).max(short + asks))?))
            }
            Combine::NetContracts | Combine::SingleOrder => None,
        }
    }

    /// With more resting on a side (less: negative). `reduces`: may only reduce; `counts`: its lots count. None where a sum
    /// has more than 64 bits.
    pub fn rested(mut self, side: Side, hold: i64, lots: i64, reduces: bool, counts: bool) -> Option<Self> {
        let at = match side {
            Side::Bid => 0,
            Side::Ask => 1,
        };
        let add = |sum: &mut i64, change: i64| sum.checked_add(change).map(|after| *sum = after);
        add(&mut self.hold[at], hold)?;
        if reduces {
            add(&mut self.reducing[at], lots)?;
        }
        if counts {
            add(&mut self.resting[at], lots)?;
        }
        Some(self)
    }

    /// Whether every sum can be booked; only the position may be negative.
    pub fn fits(&self) -> bool {
        let sums = [self.hold, self.resting, self.reducing, self.open];
        self.lots >= -AMOUNT_MAX
            && self.lots.max(self.margin) <= AMOUNT_MAX
            && sums.as_flattened().iter().all(|sum| *sum <= AMOUNT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals() -> Running {
        Running { lots: -3, margin: 30, hold: [100, 7], resting: [10, 1], rate_orders: 12, ..Running::default() }
    }

    #[test]
    fn each_rule_of_running_totals() {
        let required = |combine| totals().required(combine);
        assert_eq!(required(Combine::Sum), Some((30, 137)));
        assert_eq!(required(Combine::HedgeLegs), Some((30, 137)));
        assert_eq!(required(Combine::WorstSide), Some((30, 70)));
        assert_eq!(required(Combine::PerSide), Some((30, 70)));
        assert_eq!(required(Combine::LargerLeg), Some((30, 120)));
        assert_eq!(required(Combine::NetContracts), None);
        assert_eq!(required(Combine::SingleOrder), None);
    }

    #[test]
    fn a_rate_of_a_position_is_rounded_up_and_tickets_have_their_own() {
        let position = Running { lots: 3, margin: 10, ..Running::default() };
        assert_eq!(position.required(Combine::LargerLeg), Some((12, 12)));
        let tickets = Running { open: [2, 5], rate_tickets: 4, resting: [9, 0], rate_orders: 3, ..Running::default() };
        assert_eq!(tickets.required(Combine::LargerLeg), Some((20, 44)));
    }

    #[test]
    fn resting_counts_where_it_is_to() {
        let row = Running::default()
            .rested(Side::Ask, 5, 2, true, false)
            .and_then(|row| row.rested(Side::Bid, 4, 3, false, true));
        let expected = Running { hold: [4, 5], resting: [3, 0], reducing: [0, 2], ..Running::default() };
        assert_eq!(row, Some(expected));
        assert_eq!(Running { hold: [i64::MAX, 0], ..Running::default() }.rested(Side::Bid, 1, 1, false, true), None);
    }

    #[test]
    fn what_can_be_booked() {
        assert!(totals().fits());
        assert!(!Running { lots: -AMOUNT_MAX - 1, ..Running::default() }.fits());
        assert!(!Running { margin: AMOUNT_MAX + 1, ..Running::default() }.fits());
        assert!(!Running { open: [0, AMOUNT_MAX + 1], ..Running::default() }.fits());
        assert!(Running { rate_orders: AMOUNT_MAX + 1, ..Running::default() }.fits());
    }
}
