//! The margin split: exactness, edge cases, the mission's figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use equipoise::margin::OrderMarginRule;
use equipoise::market::{Account, Market};
use equipoise::split::{FreeBy, Split, SplitConfig, split};
use equipoise::units::{Decimal, Instrument, PriceRule};

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
    let ctx = equipoise::margin::MarginContext::new(&market, dec("10"));
    for side in [equipoise::units::Side::Bid, equipoise::units::Side::Ask] {
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
