//! The margin split: exactness, edge cases, the mission's figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use equipoise::margin::{MarginContext, Order, OrderMarginRule, Position};
use equipoise::market::{Account, Market};
use equipoise::split::{FreeBy, Split, SplitConfig, position_max_from_equity, split};
use equipoise::units::{Decimal, Instrument, PriceRule, Side};
use proptest::prelude::*;

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn hype() -> Market {
    let instrument = Instrument {
        tick: dec("0.001"),
        lot: dec("0.01"),
        contract_value: Decimal::ONE,
        inverse: false,
        notional_min: dec("10"),
        price_rule: PriceRule::Tick,
    };
    Market::new(instrument, dec("27.10"), dec("27.12"), dec("27.11"), None).unwrap()
}

fn account(margin: &str, position: &str) -> Account {
    let market = hype();
    Account::new(&market.instrument, dec(margin), dec(position), dec("10"), dec("146.62"), None).unwrap()
}

fn of(rule: &str, margin: &str, position: &str) -> Split {
    let rule = OrderMarginRule::venue(rule).unwrap();
    split(&SplitConfig::default(), &rule, &hype(), &account(margin, position)).unwrap()
}

#[test]
fn mission_margin_gives_146_62_contracts_and_73_31_a_side_under_sum() {
    let answer = of("sum", "397.49", "0");
    assert!((answer.capacity - 146.621_172_9).abs() < 1e-6);
    assert_eq!((answer.bid_part, answer.ask_part), (198_745_000, 198_745_000));
    let (rule, market) = (OrderMarginRule::venue("sum").unwrap(), hype());
    let ctx = MarginContext::new(&market, dec("10"));
    for side in [Side::Bid, Side::Ask] {
        assert_eq!(rule.charge_rate(&ctx, side, 27_110, 0).unwrap().lots_within(198_745_000), 7_331);
    }
}

#[test]
fn inventory_from_short_to_long_moves_the_ask_weight_from_30_to_70_percent() {
    let positions = ["-146.62", "-73.31", "0", "73.31", "146.62"];
    let weights: Vec<f64> = positions.iter().map(|position| of("sum", "397.49", position).ask_weight).collect();
    assert_eq!(weights, [0.3, 0.4, 0.5, 0.6, 0.7]);
}

#[test]
fn free_lots_of_a_long_position_are_reduce_only_under_sum() {
    let answer = of("sum", "397.49", "10");
    assert_eq!((answer.free_by, answer.bid_free_lots, answer.ask_free_lots), (FreeBy::ReduceOnly, 0, 1_000));
}

#[test]
fn long_at_the_limit_tilts_the_budgets_of_worst_side_and_does_not_halve_them() {
    for name in ["worst_side", "per_side", "hyperliquid", "binance_usdm"] {
        let flat = of(name, "397.49", "0");
        assert_eq!((flat.bid_part, flat.ask_part, flat.pooled), (397_490_000, 397_490_000, false), "{name}");
        let long = of(name, "397.49", "146.62");
        // Position margin 146.62 × 27.11 / 10 = 397.48682; bids 3/7 of U, asks all of U + 2|P|/L.
        assert_eq!(long.bid_part, 397_490_000 * 3 / 7, "{name}");
        assert_eq!(long.ask_part, 397_490_000 + 2 * 397_486_820, "{name}");
        let short = of(name, "397.49", "-146.62");
        assert_eq!((short.bid_part, short.ask_part), (long.ask_part, long.bid_part), "{name}");
    }
}

#[test]
fn larger_leg_credits_the_position_once() {
    let long = of("larger_leg", "397.49", "146.62");
    assert_eq!((long.bid_part, long.ask_part), (397_490_000 * 3 / 7, 397_490_000 + 397_486_820));
}

#[test]
fn hedge_legs_share_one_pot_and_close_each_leg_for_free() {
    let mut hedged = account("397.49", "0");
    (hedged.position_lots, hedged.hedged_lots) = (300, 500);
    let rule = OrderMarginRule::venue("hedge_legs").unwrap();
    let answer = split(&SplitConfig::default(), &rule, &hype(), &hedged).unwrap();
    assert_eq!(answer.bid_part + answer.ask_part, 397_490_000);
    assert_eq!((answer.free_by, answer.bid_free_lots, answer.ask_free_lots), (FreeBy::Leg, 500, 800));
}

#[test]
fn remainder_micro_unit_goes_to_the_side_that_reduces_and_to_the_bids_when_flat() {
    let parts = |position| {
        let answer = of("sum", "0.000001", position);
        (answer.bid_part, answer.ask_part)
    };
    assert_eq!((parts("0"), parts("1"), parts("-1")), ((1, 0), (0, 1), (1, 0)));
}

#[test]
fn no_margin_leaves_no_budget_but_the_position_stays_closable() {
    for margin in ["0", "-5", "0.0000009"] {
        let answer = of("sum", margin, "146.62");
        assert_eq!((answer.usable, answer.bid_part, answer.ask_part), (0, 0, 0));
        assert_eq!((answer.free_by, answer.ask_free_lots), (FreeBy::ReduceOnly, 14_662));
        assert_eq!(of("worst_side", margin, "146.62").ask_part, 2 * 397_486_820);
    }
}

#[test]
fn limits_are_asymmetric_and_over_the_limit_only_reducing_is_left() {
    let limits = |position| {
        let answer = of("sum", "397.49", position);
        (answer.bid_limit_lots, answer.ask_limit_lots)
    };
    assert_eq!(limits("0"), (14_662, 14_662));
    assert_eq!(limits("40"), (10_662, 18_662));
    assert_eq!(limits("146.62"), (0, 29_324));
    assert_eq!(limits("200"), (0, 20_000));
    assert_eq!(limits("-200"), (20_000, 0));
    assert_eq!((of("sum", "1", "200").ask_weight, of("sum", "1", "-200").ask_weight), (0.7, 0.3));
}

#[test]
fn position_limit_of_zero_keeps_the_split_even_and_forbids_growth() {
    let mut nothing = account("397.49", "5");
    nothing.position_max_lots = 0;
    let rule = OrderMarginRule::venue("sum").unwrap();
    let answer = split(&SplitConfig::default(), &rule, &hype(), &nothing).unwrap();
    assert_eq!((answer.inventory_ratio, answer.ask_weight), (0.0, 0.5));
    assert_eq!((answer.bid_limit_lots, answer.ask_limit_lots), (0, 500));
}

#[test]
fn haircut_and_mark_buffer_reduce_what_is_used() {
    let rule = OrderMarginRule::venue("sum").unwrap();
    let with = |haircut: &str, buffer: &str, position: &str| {
        let config = SplitConfig { haircut: dec(haircut), mark_buffer_bps: dec(buffer), ..SplitConfig::default() };
        split(&config, &rule, &hype(), &account("397.49", position)).unwrap().usable
    };
    assert_eq!(with("0.5", "0", "0"), 198_745_000);
    assert_eq!(with("1", "40", "0"), 397_490_000);
    // (100 × 27.11 + its margin of 271.1) × 40 bps = 11.9284
    assert_eq!(with("1", "40", "100"), 385_561_600);
    assert_eq!(with("1", "40", "-100"), 385_561_600);
    assert_eq!(with("0", "40", "100"), 0);
}

#[test]
fn parameters_out_of_range_are_named() {
    let rule = OrderMarginRule::venue("sum").unwrap();
    let usual = SplitConfig::default();
    let wrong = [
        ("sensitivity", SplitConfig { sensitivity: dec("-0.1"), ..usual }),
        ("weight_min", SplitConfig { weight_min: dec("0.51"), ..usual }),
        ("weight_max", SplitConfig { weight_max: dec("0.49"), ..usual }),
        ("haircut", SplitConfig { haircut: dec("1.01"), ..usual }),
        ("mark_buffer_bps", SplitConfig { mark_buffer_bps: dec("-1"), ..usual }),
        ("haircut", SplitConfig { haircut: dec("0.1234567891"), ..usual }),
    ];
    for (argument, config) in wrong {
        let error = split(&config, &rule, &hype(), &account("1", "0")).unwrap_err();
        assert_eq!(error.argument, argument);
    }
    let (market, low) = (hype(), dec("0.99"));
    let error = Account::new(&market.instrument, dec("1"), dec("0"), low, dec("1"), None).unwrap_err();
    assert_eq!(error.to_string(), "leverage must be at least 1, got 0.99");
    let error = Account::new(&market.instrument, dec("1"), dec("0.005"), dec("1"), dec("1"), None).unwrap_err();
    assert_eq!(error.to_string(), "position must be a multiple of the lot, got 0.005");
}

#[test]
fn position_limit_from_equity_is_floored_to_the_lot() {
    let lots = |equity, share| position_max_from_equity(&hype(), dec(equity), dec("10"), dec(share)).unwrap();
    assert_eq!((lots("397.49", "1"), lots("397.49", "0.5"), lots("-3", "1")), (14_662, 7_331, 0));
    assert_eq!(position_max_from_equity(&hype(), dec("1"), dec("10"), dec("0")).unwrap_err().argument, "share");
}

proptest! {
    #[test]
    fn pooled_parts_sum_to_the_usable_margin_to_the_micro_unit(
        micros in 0_i64..1_000_000_000_000, lots in -20_000_i64..20_000, limit in 0_i64..20_000,
        sensitivity in 0_i64..=1_000_000_000, low in 0_i64..=500, high in 500_i64..=1_000,
    ) {
        let config = SplitConfig {
            sensitivity: Decimal::new(sensitivity, 9).unwrap(),
            weight_min: Decimal::new(low, 3).unwrap(),
            weight_max: Decimal::new(high, 3).unwrap(),
            ..SplitConfig::default()
        };
        let account = Account {
            margin_available: micros,
            position_lots: lots,
            hedged_lots: 0,
            leverage: dec("10"),
            position_max_lots: limit,
            equity: None,
        };
        for name in ["sum", "hedge_legs", "deribit_linear"] {
            let answer = split(&config, &OrderMarginRule::venue(name).unwrap(), &hype(), &account).unwrap();
            prop_assert_eq!(answer.bid_part + answer.ask_part, micros);
            prop_assert!((answer.ask_part as f64 - answer.ask_weight * micros as f64).abs() < 2.0);
            prop_assert!(answer.ask_weight >= low as f64 / 1e3 - 1e-12 && answer.ask_weight <= high as f64 / 1e3 + 1e-12);
        }
    }

    #[test]
    fn side_budgets_are_exactly_what_the_rule_accepts(
        micros in 1_i64..1_000_000_000, lots in -14_662_i64..=14_662, ticks in 26_000_i64..28_000,
    ) {
        // With weights that do not tilt, the dearest order inside a part is accepted and one lot more is not.
        let config = SplitConfig { sensitivity: Decimal::ZERO, ..SplitConfig::default() };
        let market = hype();
        let account = Account { margin_available: micros, position_lots: lots, ..account("0", "0") };
        let ctx = MarginContext::new(&market, account.leverage);
        for name in ["worst_side", "per_side"] {
            let rule = OrderMarginRule::venue(name).unwrap();
            let answer = split(&config, &rule, &market, &account).unwrap();
            for (side, part) in [(Side::Bid, answer.bid_part), (Side::Ask, answer.ask_part)] {
                let most = rule.charge_rate(&ctx, side, ticks, 0).unwrap().lots_within(part);
                let fits = |lots_of_order| {
                    let order = [Order::limit(side, lots_of_order, ticks)];
                    rule.accepts(&ctx, Position::net(lots), &[], &order, micros).unwrap().accepted
                };
                prop_assert!(most == 0 || fits(most));
                prop_assert!(!fits(most + 1));
            }
        }
    }
}
