//! What a venue holds for a position and its resting orders.
//!
//! One engine; venues are data ([`OrderMarginRule`]). With `P` the position, `B` and `A` the resting buys and sells and `L`
//! the leverage, the combine rules are, for one symbol,
//!
//! ```text
//! sum           (|P| + B + A) / L
//! worst_side    max(|P + B|, |P − A|) / L
//! hedge_legs    (Pl + Bl) / L + (Ps + As) / L            orders that close a leg hold nothing
//! per_side      worst_side, every order at its own limit price
//! larger_leg    max rate × max(buy lots, sell lots), position included
//! net_contracts |P| / L + matched contracts once at the offer, the rest at its own price; reducing lots are free
//! single_order  |P ± one order| / L; resting orders hold nothing
//! ```
//!
//! Numbers are exact: prices in ticks, sizes in lots, money in micro-units (10⁻⁶ of the account currency), every order's
//! charge rounded up to one micro-unit, totals the sums of rounded charges, intermediates checked `i128`.

mod accept;
mod charge;
mod combine;
mod running;
mod tiers;
mod venues;

pub use accept::{Acceptance, Refusal, Scale};
pub use charge::{ChargeRate, Pricer};
pub use combine::SideCharges;
pub use running::Running;
pub use tiers::{Ratio, Tier, Tiers, open_interest_rate};
pub use venues::{Standing, StandingLine, VENUES};

use crate::error::Error;
use crate::market::Market;
use crate::units::{Decimal, Instrument, Side};

/// Largest number of lots, micro-units or ticks that is booked: 2⁵³ − 1, what every store carries exactly.
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// How the margins of the position and of both sides become one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// Everything charged in full.
    Sum,
    /// The larger exposure after all buys or all sells have filled.
    WorstSide,
    /// Long and short leg on their own, added.
    HedgeLegs,
    /// As [`Combine::WorstSide`], stated as one availability per side (Hyperliquid).
    PerSide,
    /// Dearest rate times the larger of buy lots and sell lots.
    LargerLeg,
    /// Matched contracts once, reducing lots free (BitMEX's guide).
    NetContracts,
    /// Only the order being placed counts, fully filled on top of the position.
    SingleOrder,
}

impl Combine {
    /// Every rule with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("sum", Self::Sum),
        ("worst_side", Self::WorstSide),
        ("hedge_legs", Self::HedgeLegs),
        ("per_side", Self::PerSide),
        ("larger_leg", Self::LargerLeg),
        ("net_contracts", Self::NetContracts),
        ("single_order", Self::SingleOrder),
    ];

    /// The name used in every language and store.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, rule)| *rule == self).map_or("", |(name, _)| name)
    }

    /// Whether the reservation book can keep this rule incrementally.
    #[must_use]
    pub fn bookable(self) -> bool {
        !matches!(self, Self::NetContracts | Self::SingleOrder)
    }
}

/// Price at which an order or a position is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriceBasis {
    /// The order's own limit price (the mark for a position).
    Limit,
    /// The mark price.
    Mark,
    /// The larger of the limit price and the best bid.
    LimitOrBestBid,
    /// The smaller of the limit price and the best ask.
    LimitOrBestAsk,
    /// `max(last × (1 + premium), mark, limit)`.
    LastMarkLimit {
        /// Premium on the last price as a ratio.
        premium: Decimal,
    },
}

/// What is held for fees, per order, on top of the margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeeReserve {
    /// Nothing.
    None,
    /// The maker fee of the order.
    Maker,
    /// The taker fee of the order.
    Taker,
    /// The taker fee of the order and of closing it at its bankruptcy price.
    TakerOpenClose,
    /// A flat share of the order's value, in bps.
    Flat {
        /// Basis points (10⁻⁴) of the charged value.
        bps: Decimal,
    },
}

/// How reduce-only orders are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOnly {
    /// Never charged.
    Free,
    /// Lots that fit the position are free, best price first; the rest is charged like any order.
    FreeIfFits,
    /// Never charged, and refused at placement when they do not fit.
    Checked,
}

/// How orders that wait for a trigger price are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Triggers {
    /// Not before they trigger.
    Free,
    /// Like resting orders.
    Charged,
    /// In full, outside the combine rule (MT5 stop orders).
    Summed,
}

/// Which exposure the leverage tiers look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TierBasis {
    /// The position alone.
    Position,
    /// The position with the resting orders of the worse side (all orders under `sum`).
    PositionAndOrders,
}

/// What of the account counts as margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BalanceBasis {
    /// The wallet balance alone.
    Balance,
    /// The balance less open losses.
    BalanceLessLosses,
    /// The balance with open profit and loss.
    Equity,
}

/// Everything that decides what a venue holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderMarginRule {
    /// Name of the preset, or the caller's own.
    pub name: String,
    /// How the parts become one number.
    pub combine: Combine,
    /// Charged price of buys.
    pub buy_price: PriceBasis,
    /// Charged price of sells.
    pub sell_price: PriceBasis,
    /// Charged price of the position.
    pub position_price: PriceBasis,
    /// Whether the loss an order would realise at the mark is charged with it.
    pub open_loss: bool,
    /// Fees held with each order.
    pub fee_reserve: FeeReserve,
    /// Maker fee as a ratio; may be negative (a rebate is never credited).
    pub maker_fee: Decimal,
    /// Taker fee as a ratio.
    pub taker_fee: Decimal,
    /// Treatment of reduce-only orders.
    pub reduce_only: ReduceOnly,
    /// Whether lots that close the position are free: the exact prefix, best price first. Only `sum`, `single_order` and the
    /// open-loss test look at it; the other rules contain the credit already.
    pub closing: bool,
    /// Treatment of dormant trigger orders.
    pub triggers: Triggers,
    /// Leverage tiers.
    pub tiers: Tiers,
    /// What the tiers look at.
    pub tier_basis: TierBasis,
    /// What counts as balance.
    pub balance_basis: BalanceBasis,
    /// Requirements are rounded up and availability down to this many micro-units. At least 1.
    pub quantum_micros: i64,
    /// Where each line of the rule comes from; empty for a caller's own rule.
    pub standing: &'static [StandingLine],
    /// Whether the venue documents all of it, so that acceptance is exact at the given state.
    pub exact: bool,
    /// What is not known or not modelled.
    pub notes: &'static [&'static str],
}

impl OrderMarginRule {
    /// A rule that charges orders at their limit price, the position at the mark, nothing else.
    #[must_use]
    pub fn plain(combine: Combine) -> Self {
        Self {
            name: combine.name().to_owned(),
            combine,
            buy_price: PriceBasis::Limit,
            sell_price: PriceBasis::Limit,
            position_price: PriceBasis::Mark,
            open_loss: false,
            fee_reserve: FeeReserve::None,
            maker_fee: Decimal::ZERO,
            taker_fee: Decimal::ZERO,
            reduce_only: ReduceOnly::Free,
            closing: false,
            triggers: Triggers::Free,
            tiers: Tiers::None,
            tier_basis: TierBasis::PositionAndOrders,
            balance_basis: BalanceBasis::Equity,
            quantum_micros: 1,
            standing: &[],
            exact: false,
            notes: &[],
        }
    }
}

/// Prices and terms that a charge depends on.
#[derive(Clone, Copy, Debug)]
pub struct MarginContext<'a> {
    /// Grids and contract size.
    pub instrument: &'a Instrument,
    /// Leverage, at least 1.
    pub leverage: Decimal,
    /// Mark price, positive.
    pub mark: Decimal,
    /// Last traded price, positive.
    pub last: Decimal,
    /// Best bid in ticks.
    pub best_bid_ticks: i64,
    /// Best ask in ticks.
    pub best_ask_ticks: i64,
    /// Move of the mark between check and match that is provided for, in bps: a charge grows by `b·(1 + margin rate)` of its
    /// value, the loss and the margin on it, and by the maker fee. Zero states the venue's own charge.
    pub mark_buffer_bps: Decimal,
}

impl<'a> MarginContext<'a> {
    /// Context of a market at a leverage, without a buffer.
    #[must_use]
    pub fn new(market: &'a Market, leverage: Decimal) -> Self {
        Self {
            instrument: &market.instrument,
            leverage,
            mark: market.mark,
            last: market.last,
            best_bid_ticks: market.best_bid_ticks,
            best_ask_ticks: market.best_ask_ticks,
            mark_buffer_bps: Decimal::ZERO,
        }
    }

    /// The same prices with a mark buffer.
    #[must_use]
    pub fn with_buffer(mut self, mark_buffer_bps: Decimal) -> Self {
        self.mark_buffer_bps = mark_buffer_bps;
        self
    }
}

/// Position in one symbol: net lots, and the lots held long and short at once in hedge mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Net lots, long positive.
    pub lots: i64,
    /// Lots that are long in one leg and short in the other at the same time; zero where positions are netted.
    pub hedged_lots: i64,
}

impl Position {
    /// A netted position.
    #[must_use]
    pub fn net(lots: i64) -> Self {
        Self { lots, hedged_lots: 0 }
    }

    /// Two legs, both counted positive.
    #[must_use]
    pub fn legs(long_lots: i64, short_lots: i64) -> Self {
        Self { lots: long_lots.saturating_sub(short_lots), hedged_lots: long_lots.min(short_lots) }
    }

    /// Lots of the long leg.
    #[must_use]
    pub fn long_lots(self) -> i64 {
        self.lots.max(0).saturating_add(self.hedged_lots)
    }

    /// Lots of the short leg, counted positive.
    #[must_use]
    pub fn short_lots(self) -> i64 {
        self.lots.saturating_neg().max(0).saturating_add(self.hedged_lots)
    }

    /// Lots that an order of `side` can close, by netting.
    #[must_use]
    pub fn closable(self, side: Side) -> i64 {
        match side {
            Side::Bid => self.lots.saturating_neg().max(0),
            Side::Ask => self.lots.max(0),
        }
    }
}

/// Leg an order belongs to in hedge mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The long position.
    Long,
    /// The short position.
    Short,
}

/// One resting or candidate order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Buy or sell.
    pub side: Side,
    /// Unfilled lots, not negative.
    pub lots: i64,
    /// Limit price in ticks, positive.
    pub price_ticks: i64,
    /// May only shrink the position.
    pub reduce_only: bool,
    /// Waits for a trigger price.
    pub trigger: bool,
    /// Hedge mode: the leg; `None` opens the leg of its side.
    pub leg: Option<Leg>,
}

impl Order {
    /// A plain resting limit order.
    #[must_use]
    pub fn limit(side: Side, lots: i64, price_ticks: i64) -> Self {
        Self { side, lots, price_ticks, reduce_only: false, trigger: false, leg: None }
    }

    /// The same order, reduce-only.
    #[must_use]
    pub fn reducing(mut self) -> Self {
        self.reduce_only = true;
        self
    }

    /// Hedge mode: whether the order closes its leg.
    #[must_use]
    pub fn closes_leg(&self) -> bool {
        matches!((self.side, self.leg), (Side::Ask, Some(Leg::Long)) | (Side::Bid, Some(Leg::Short)))
    }
}

/// Amounts beyond what 128-bit intermediates and 64-bit results carry.
pub(crate) fn overflow(argument: &'static str, got: impl std::fmt::Display) -> Error {
    Error::new(argument, "small enough for exact 64-bit micro-units", got)
}
