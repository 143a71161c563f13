//! Venue presets, with the standing of each line.

use crate::units::Decimal;

use super::{BalanceBasis, Combine, FeeReserve, OrderMarginRule, PriceBasis, ReduceOnly, TierBasis, Tiers, Triggers};

/// How a line of a preset is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The venue's own document or code.
    Documented,
    /// Measured by a third party on an account.
    Measured,
    /// Derived by arithmetic from documents or measurements.
    Derived,
    /// Inference.
    Inferred,
}

impl Standing {
    /// `C`, `M`, `D` or `I`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Documented => "C",
            Self::Measured => "M",
            Self::Derived => "D",
            Self::Inferred => "I",
        }
    }
}

/// One statement of a preset and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StandingLine {
    /// How it is known.
    pub standing: Standing,
    /// What is stated.
    pub line: &'static str,
}

const fn c(line: &'static str) -> StandingLine {
    StandingLine { standing: Standing::Documented, line }
}
const fn m(line: &'static str) -> StandingLine {
    StandingLine { standing: Standing::Measured, line }
}
const fn d(line: &'static str) -> StandingLine {
    StandingLine { standing: Standing::Derived, line }
}
const fn i(line: &'static str) -> StandingLine {
    StandingLine { standing: Standing::Inferred, line }
}

/// Names of the venue presets.
pub const VENUES: [&str; 11] = [
    "hyperliquid",
    "hyperliquid_conservative",
    "binance_usdm",
    "binance_usdm_hedge",
    "okx",
    "okx_hedge",
    "bybit",
    "deribit_linear",
    "bitmex",
    "mt5",
    "dydx",
];

fn decimal(mantissa: i64, scale: u8) -> Decimal {
    Decimal::new(mantissa, scale).unwrap_or(Decimal::ZERO)
}

impl OrderMarginRule {
    /// The preset of a venue, or a bare combine rule by its name.
    #[must_use]
    pub fn venue(name: &str) -> Option<Self> {
        if let Some((_, combine)) = Combine::ALL.iter().find(|(known, _)| *known == name) {
            return Some(Self::plain(*combine));
        }
        let rule = match name {
            "hyperliquid" => hyperliquid(),
            "hyperliquid_conservative" => hyperliquid_conservative(),
            "binance_usdm" => binance(Combine::WorstSide),
            "binance_usdm_hedge" => binance(Combine::HedgeLegs),
            "okx" => okx(Combine::WorstSide),
            "okx_hedge" => okx(Combine::HedgeLegs),
            "bybit" => bybit(),
            "deribit_linear" => deribit(),
            "bitmex" => bitmex(),
            "mt5" => mt5(),
            "dydx" => dydx(),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), ..rule })
    }
}

fn hyperliquid() -> OrderMarginRule {
    OrderMarginRule {
        maker_fee: decimal(15, 5),
        taker_fee: decimal(45, 5),
        reduce_only: ReduceOnly::Checked,
        standing: const {
            &[
                c("position margin = |size| × mark / leverage"),
                m("each resting order that is not reduce-only holds size × its own limit price / leverage"),
                m("bids and asks have separate availability"),
                d("the closing side has 2 · |position| more than the same side"),
            ]
        },
        notes: &[
            "how both sides of another coin count is not known",
            "the fee term is not known",
            "dormant triggers and isolated mode are not known",
        ],
        ..OrderMarginRule::plain(Combine::PerSide)
    }
}

fn hyperliquid_conservative() -> OrderMarginRule {
    OrderMarginRule {
        combine: Combine::Sum,
        standing: const { &[i("an upper bound: every order in full at its limit price, no credit for closing")] },
        notes: &["holds more than the venue does"],
        ..hyperliquid()
    }
}

fn binance(combine: Combine) -> OrderMarginRule {
    OrderMarginRule {
        sell_price: PriceBasis::LastMarkLimit { premium: decimal(15, 4) },
        open_loss: true,
        closing: true,
        maker_fee: decimal(2, 4),
        taker_fee: decimal(5, 4),
        reduce_only: ReduceOnly::Free,
        standing: const {
            &[
                c("one-way: max(|P + B|, |P − A|) / L; hedge: each leg on its own, added"),
                c("position at mark, orders at their price"),
                c("charged price: buys at the order price, sells at max(last × 1.0015, mark, order price)"),
                c("cost of a new order = initial margin + open loss"),
                c("an opposite order opens only beyond |position| − opposite quantity already resting"),
                c("untriggered stops hold nothing"),
            ]
        },
        exact: true,
        notes: &["the open loss of an order is part of its hold here; the venue tests it at placement only"],
        ..OrderMarginRule::plain(combine)
    }
}

fn okx(combine: Combine) -> OrderMarginRule {
    OrderMarginRule {
        open_loss: true,
        closing: true,
        maker_fee: decimal(2, 4),
        taker_fee: decimal(5, 4),
        standing: const {
            &[
                c("one-way since November 2024: long max(P + B, A − P) / L, short mirrored"),
                c("hedge: |Pl + Bl| / L + |Ps + As| / L"),
                c("order loss is added; coin-margined contracts with inverse prices"),
                c("free margin = max(0, balance + cross open profit and loss − in use)"),
            ]
        },
        exact: true,
        notes: &["the open loss of an order is part of its hold here"],
        ..OrderMarginRule::plain(combine)
    }
}

fn bybit() -> OrderMarginRule {
    OrderMarginRule {
        fee_reserve: FeeReserve::TakerOpenClose,
        maker_fee: decimal(2, 4),
        taker_fee: decimal(55, 5),
        standing: const {
            &[
                c("order cost = qty·px/L + qty·px·f + qty·px·(1 ∓ 1/L)·f, minus for buys"),
                c("two sides: the larger one, in the published contract rules"),
                i("two sides in today's unified account: the same"),
            ]
        },
        notes: &["exact for a single order; two sides are modelled"],
        ..OrderMarginRule::plain(Combine::WorstSide)
    }
}

fn deribit() -> OrderMarginRule {
    OrderMarginRule {
        tiers: Tiers::Linear { base: decimal(2, 2), slope: decimal(5, 5) },
        tier_basis: TierBasis::PositionAndOrders,
        standing: const {
            &[
                c("initial margin rate = base + slope × size, so the margin is quadratic in size"),
                c("positions and orders are summed in the published guide"),
            ]
        },
        exact: true,
        notes: &["exact for a single instrument; portfolio margin is another rule", "the mark stands for the index"],
        ..OrderMarginRule::plain(Combine::Sum)
    }
}

fn bitmex() -> OrderMarginRule {
    OrderMarginRule {
        sell_price: PriceBasis::LimitOrBestBid,
        standing: const {
            &[
                c("matched contracts are charged once at the offer, the rest of the bids at the bid"),
                c("sells at max(limit, best bid); reducing orders are free"),
                i("with several prices a side, the dearest bid is matched with the dearest offer"),
            ]
        },
        exact: true,
        notes: &["exact for the published guide"],
        ..OrderMarginRule::plain(Combine::NetContracts)
    }
}

fn mt5() -> OrderMarginRule {
    OrderMarginRule {
        triggers: Triggers::Summed,
        balance_basis: BalanceBasis::Equity,
        standing: const {
            &[
                c("netting: opposite market and limit orders hold the larger side"),
                c("stop orders are summed"),
                c("an order in flight may only raise the margin: a pending hedge frees nothing until it fills"),
            ]
        },
        exact: true,
        notes: &["netting accounts; hedging accounts with a hedged margin are larger_leg"],
        ..OrderMarginRule::plain(Combine::WorstSide)
    }
}

fn dydx() -> OrderMarginRule {
    OrderMarginRule {
        buy_price: PriceBasis::Mark,
        sell_price: PriceBasis::Mark,
        closing: true,
        standing: const {
            &[
                c("only the candidate order counts, fully filled on top of the position; resting orders hold nothing"),
                d("the initial margin fraction grows with open interest: open_interest_rate()"),
            ]
        },
        notes: &["the leverage or a tier stands for the initial margin fraction"],
        ..OrderMarginRule::plain(Combine::SingleOrder)
    }
}
