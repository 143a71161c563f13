//! Order-margin rules: the golden vectors, the worked numbers of each venue, the identities between the rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use equipoise::margin::{
    ChargeRate, Combine, FeeReserve, Leg, MarginContext, Order, OrderMarginRule, Position, PriceBasis, Ratio,
    ReduceOnly, Refusal, TierBasis, Tiers, Triggers, VENUES, open_interest_rate,
};
use equipoise::market::Market;
use equipoise::units::{Decimal, Instrument, PriceRule, Side};
use proptest::prelude::*;
use serde_json::Value;

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("{text} is no decimal"))
}

fn number(value: &Value) -> Decimal {
    dec(value.as_str().unwrap_or(&value.to_string()))
}

/// Micro-units of an amount that has no smaller part.
fn micros(amount: Decimal) -> i64 {
    let floor = amount.floor_units(6).unwrap();
    assert_eq!(amount.ceil_units(6), Some(floor), "{amount} is not a whole number of micro-units");
    floor
}

fn instrument(tick: &str, lot: &str) -> Instrument {
    Instrument {
        tick: dec(tick),
        lot: dec(lot),
        contract_value: Decimal::ONE,
        inverse: false,
        notional_min: Decimal::ZERO,
        price_rule: PriceRule::Tick,
    }
}

fn market_at(instrument: Instrument, mark: &str, last: &str) -> Market {
    let (bid, _) = dec(mark).steps(instrument.tick).unwrap();
    Market { instrument, best_bid_ticks: bid, best_ask_ticks: bid + 1, mark: dec(mark), last: dec(last) }
}

fn venue(name: &str) -> OrderMarginRule {
    OrderMarginRule::venue(name).unwrap()
}

fn bid(lots: i64, price_ticks: i64) -> Order {
    Order::limit(Side::Bid, lots, price_ticks)
}

fn ask(lots: i64, price_ticks: i64) -> Order {
    Order::limit(Side::Ask, lots, price_ticks)
}

// ---------------------------------------------------------------------------------------------------- golden vectors

/// Entries that no rule covers, by position in the file, and why.
const NOT_COVERED: [(&str, &str, &str); 1] =
    [("kraken_futures", "fixture", "states three figures of an account and no inputs to compute them from")];

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/order_margin.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_golden_vector_is_reproduced_or_listed_as_not_covered() {
    let mut listed = Vec::new();
    let entries = vectors();
    for entry in &entries {
        let (name, kind) = (entry["venue"].as_str().unwrap(), entry["kind"].as_str().unwrap());
        if !check_vector(name, kind, &entry["inp"], &entry["out"]) {
            listed.push((name.to_owned(), kind.to_owned()));
        }
    }
    assert_eq!(entries.len(), 25);
    let expected: Vec<_> = NOT_COVERED.iter().map(|(name, kind, _)| ((*name).to_owned(), (*kind).to_owned())).collect();
    assert_eq!(listed, expected);
}

fn check_vector(name: &str, kind: &str, inp: &Value, out: &Value) -> bool {
    match (name, kind) {
        ("hyperliquid", "max_trade_sizes_no_order_reserve_2023") => trade_sizes_2023(inp, out),
        ("hyperliquid", "activeAssetData_identity") => max_trade_size(inp, out),
        ("hyperliquid", "position_side_split_2026") => side_split(inp, out),
        ("hyperliquid", "order_reserve_one_side") => one_side_reserve(inp, out),
        ("hyperliquid", "resting_price_is_limit_price") => limit_price_reserve(inp, out),
        ("hyperliquid", "tier_maintenance") => maintenance(inp, out),
        ("binance_usdm", "one_way_requirement") => one_way(inp, out),
        ("binance_usdm", "cost_long" | "cost_short") => binance_cost(kind, inp, out),
        ("bybit", _) => bybit_cost(inp, out),
        ("okx", "free_margin") => okx_free(inp, out),
        ("deribit_linear_sm", "im") => deribit_margin(inp, out),
        ("dydx_v4", "oimf") => open_interest(inp, out),
        ("bitmex_legacy", "two_sided") => bitmex_guide(inp, out),
        ("mt5", "inflight_only_increases") => mt5_in_flight(out),
        ("mt5", "conversion_and_rate") => mt5_conversion(inp, out),
        ("backpack", "net_equity_available") => net_equity(inp, out),
        _ => return false,
    }
    true
}

fn decimals_of(value: Decimal) -> Decimal {
    Decimal::new(1, value.scale()).unwrap()
}

fn trade_sizes_2023(inp: &Value, out: &Value) {
    let (size, value) = (number(&inp["szi"]), number(&inp["positionValue"]));
    let magnitude = dec(size.to_string().trim_start_matches('-'));
    // The mark is the value over the size: both have few decimals, so it is exact at nine.
    let quotient =
        i128::from(value.mantissa()) * 10_i128.pow(9 + u32::from(magnitude.scale()) - u32::from(value.scale()));
    assert_eq!(quotient % i128::from(magnitude.mantissa()), 0);
    let mark = Decimal::new(i64::try_from(quotient / i128::from(magnitude.mantissa())).unwrap(), 9).unwrap();
    let lot = decimals_of(number(&out["maxBuy"])).to_string();
    let lot = if dec(&lot).scale() < magnitude.scale() { decimals_of(magnitude).to_string() } else { lot };
    let market = market_at(instrument(&decimals_of(mark).to_string(), &lot), &mark.to_string(), &mark.to_string());
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let rule = OrderMarginRule { closing: true, ..OrderMarginRule::plain(Combine::SingleOrder) };
    let position = Position::net(size.steps(dec(&lot)).unwrap().0);
    let available = micros(number(&inp["accountValue"])) - micros(number(&inp["totalMarginUsed"]));
    for (side, expected) in [(Side::Bid, "maxBuy"), (Side::Ask, "maxSell")] {
        let lots = rule.max_size(&ctx, position, &[], side, market.best_bid_ticks, available).unwrap();
        assert_eq!(number(&out[expected]).steps(dec(&lot)), Some((lots, true)), "{inp} {expected}");
    }
    let held = rule.required(&ctx, position, &[]).unwrap();
    // The payload truncates to micro-units, the rule rounds up.
    assert!((0..=1).contains(&(held - micros(number(&out["marginUsed"])))));
}

fn max_trade_size(inp: &Value, out: &Value) {
    let market = market_at(instrument("0.0001", "0.01"), inp["markPx"].as_str().unwrap(), "1");
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    // Ten decimals in the payload: availability is rounded down to micro-units.
    let available = dec("37019438.028474").floor_units(6).unwrap();
    let lots = venue("hyperliquid").max_size(&ctx, Position::default(), &[], Side::Bid, 44_716, available).unwrap();
    assert_eq!(number(&out["maxTradeSz"]).steps(dec("0.01")), Some((lots, true)));
}

fn side_split(inp: &Value, out: &Value) {
    let market = market_at(instrument("0.1", "0.00001"), "85970", "85970");
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let rule = venue("hyperliquid");
    let position = Position::net(number(&out["positionSz"]).steps(dec("0.00001")).unwrap().0);
    assert_eq!(rule.position_margin(&ctx, position).unwrap(), micros(number(&out["marginUsed"])));
    // The payload carries float noise (…0349999 for …035): it is read to the nearest micro-unit.
    let nearest = |name: &str| (inp[name].as_str().unwrap().parse::<f64>().unwrap() * 1e6).round() as i64;
    let available = nearest("availBuy");
    let sell = rule.headroom(&ctx, position, &[], Side::Ask, available).unwrap();
    assert_eq!(sell, nearest("availSell"));
    for (side, expected) in [(Side::Bid, "maxBuy"), (Side::Ask, "maxSell")] {
        let lots = rule.max_size(&ctx, position, &[], side, market.best_bid_ticks, available).unwrap();
        assert_eq!(number(&inp[expected]).steps(dec("0.00001")), Some((lots, true)), "{expected}");
    }
}

fn one_side_reserve(inp: &Value, out: &Value) {
    let market = market_at(instrument("1", "1"), "50", "50");
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let resting = [bid(1, 40)];
    let room = |side| {
        let equity = micros(number(&inp["equity"]));
        venue("hyperliquid").headroom(&ctx, Position::default(), &resting, side, equity).unwrap()
    };
    assert_eq!(room(Side::Bid), micros(number(&out["availBuy"])));
    assert_eq!(room(Side::Ask), micros(number(&out["availSell"])));
}

fn limit_price_reserve(inp: &Value, out: &Value) {
    let market = market_at(instrument("0.01", "0.00001"), "64500", "64500");
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let order = ask(3_584, 6_743_835);
    let rule = venue("hyperliquid");
    assert_eq!(rule.order_charge(&ctx, &order, 0).unwrap(), micros(number(&out["reserve_recomputed"])));
    let available = micros(number(&inp["available"]));
    let answer = rule.accepts(&ctx, Position::default(), &[], &[order], available).unwrap();
    assert_eq!((answer.accepted, answer.refusal), (false, Some(Refusal::Margin)));
    // At the mark it would have fitted.
    let at_mark = OrderMarginRule { sell_price: PriceBasis::Mark, ..rule };
    assert!(at_mark.accepts(&ctx, Position::default(), &[], &[order], available).unwrap().accepted);
}

fn maintenance(inp: &Value, out: &Value) {
    let rows: Vec<_> = inp["tiers"].as_array().unwrap().iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
    let tiers = Tiers::from_leverage(&rows, Ratio::new(1, 2).unwrap()).unwrap();
    for (notional, expected) in inp["notional"].as_array().unwrap().iter().zip(out["mm"].as_array().unwrap()) {
        let margin = tiers.margin(Ratio::from(number(notional))).unwrap();
        assert_eq!(margin, Ratio::from(number(expected)));
    }
}

fn one_way(inp: &Value, out: &Value) {
    let market = market_at(instrument("1", "0.1"), "20000", "20000");
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let orders = [bid(1, 19_000), ask(1, 22_000)];
    for name in ["binance_usdm", "okx", "worst_side"] {
        let required = venue(name).required(&ctx, Position::net(5), &orders).unwrap();
        assert_eq!(required, micros(number(&out["im"])), "{name}");
    }
}

fn binance_cost(kind: &str, inp: &Value, out: &Value) {
    let market = market_at(instrument("0.01", "1"), inp["mark"].as_str().unwrap(), inp["last"].as_str().unwrap());
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let rule = venue("binance_usdm");
    let pricer = rule.pricer(&ctx, 0).unwrap();
    let (side, margin, loss) = match kind {
        "cost_long" => (Side::Bid, dec("462.665"), Decimal::ZERO),
        // 463.64392425 rounded up to a micro-unit.
        _ => (Side::Ask, dec("463.643925"), number(&out["open_loss"])),
    };
    assert_eq!(pricer.bare_rate(side, 925_330).unwrap().charge(1), micros(margin));
    assert_eq!(pricer.loss_rate(side, 925_330).unwrap().charge(1), micros(loss));
    let cost = rule.order_charge(&ctx, &Order::limit(side, 1, 925_330), 0).unwrap();
    assert_eq!(cost, micros(margin) + micros(loss));
}

fn bybit_cost(inp: &Value, out: &Value) {
    let market = market_at(instrument("1", "1"), "50000", "50000");
    let ctx = MarginContext::new(&market, number(&inp["leverage"]));
    let rule = OrderMarginRule { taker_fee: number(&inp["taker"]), ..venue("bybit") };
    assert_eq!(rule.order_charge(&ctx, &bid(1, 50_000), 0).unwrap(), micros(number(&out["cost"])));
}

fn okx_free(inp: &Value, out: &Value) {
    let free = venue("okx").free_margin(number(&inp["balance"]), dec("15"), number(&inp["in_use"])).unwrap();
    assert_eq!(free, micros(number(&out["free"])));
}

fn deribit_margin(inp: &Value, out: &Value) {
    let market = market_at(instrument("1", "1"), "100000", "100000");
    let ctx = MarginContext::new(&market, dec("50"));
    let tiers = Tiers::linear(number(&inp["base"]), number(&inp["slope"])).unwrap();
    let rule = OrderMarginRule { tiers, ..venue("deribit_linear") };
    assert_eq!(rule, venue("deribit_linear"));
    let size = inp["size"].as_i64().unwrap();
    let expected = micros(number(&out["im"]));
    assert_eq!(rule.required(&ctx, Position::net(-size), &[]).unwrap(), expected);
    // The same size, part position and part orders on both sides, is charged the same: everything is summed.
    let split = [bid(5, 100_000), ask(size - 15, 100_000)];
    assert_eq!(rule.required(&ctx, Position::net(10), &split).unwrap(), expected);
}

fn open_interest(inp: &Value, out: &Value) {
    let rate = open_interest_rate(number(&inp["base"]), dec("20000000"), dec("50000000"), number(&inp["oi_notional"]))
        .unwrap();
    assert_eq!(rate, Ratio::from(number(&out["imf"])));
    // As the rate of the rule: 0.525 of one contract at 100.
    let market = market_at(instrument("1", "1"), "100", "100");
    let rule = OrderMarginRule { tiers: Tiers::steps(&[(Decimal::ZERO, rate)]).unwrap(), ..venue("dydx") };
    let ctx = MarginContext::new(&market, dec("20"));
    assert_eq!(rule.required(&ctx, Position::net(1), &[]).unwrap(), 52_500_000);
}

fn bitmex_guide(inp: &Value, out: &Value) {
    assert_eq!(inp["bids"][0], serde_json::json!([20, 100]));
    assert_eq!(out["charged"], "r*m*(5*100+15*150)=2750*r*m");
    let market = Market { best_ask_ticks: 150, ..market_at(instrument("1", "1"), "100", "100") };
    for (leverage, rate) in [("1", 1_000_000), ("100", 10_000)] {
        let ctx = MarginContext::new(&market, dec(leverage));
        let required = venue("bitmex").required(&ctx, Position::default(), &[bid(20, 100), ask(15, 150)]).unwrap();
        assert_eq!(required, 2_750 * rate);
    }
}

fn mt5_in_flight(out: &Value) {
    // Lots of 100 000 USD at leverage 300, in cents.
    let mut market = market_at(instrument("1", "0.01"), "1", "1");
    market.instrument.contract_value = dec("100000");
    let ctx = MarginContext::new(&market, dec("300"));
    let cents = |lots: i64, orders: &[Order]| {
        let required = venue("mt5").required(&ctx, Position::net(lots), orders).unwrap();
        Some((required + 5_000) / 10_000)
    };
    assert_eq!(Some(667), cents(-2, &[]));
    for (name, lots, orders) in [
        ("buy_003_started", -2, vec![bid(3, 1)]),
        ("buy_003_filled", 1, vec![]),
        ("sell_003_started", -2, vec![ask(3, 1)]),
    ] {
        assert_eq!(number(&out[name]).floor_units(2), cents(lots, &orders), "{name}");
    }
}

fn mt5_conversion(inp: &Value, out: &Value) {
    let market = market_at(instrument("0.0001", "1"), "1.2790", "1.2790");
    let ctx = MarginContext::new(&market, Decimal::ONE);
    let rate = Ratio::from(number(&inp["rate"]));
    let rule = OrderMarginRule { tiers: Tiers::steps(&[(Decimal::ZERO, rate)]).unwrap(), ..venue("mt5") };
    let held = rule.required(&ctx, Position::net(inp["base_eur"].as_i64().unwrap()), &[]).unwrap();
    assert_eq!(held, micros(number(&out["usd"])));
}

fn net_equity(inp: &Value, out: &Value) {
    let used = micros(number(&inp["pos_margin"])) + micros(number(&inp["order_margin"]));
    let free = venue("sum").free_margin(number(&inp["total"]), Decimal::ZERO, Decimal::new(used, 6).unwrap()).unwrap();
    assert_eq!(free, micros(number(&out["available"])));
}

// --------------------------------------------------------------------------------------------------- worked numbers

fn hype() -> Market {
    let instrument = Instrument { notional_min: dec("10"), ..instrument("0.001", "0.01") };
    Market::new(instrument, dec("27.10"), dec("27.12"), dec("27.11"), None).unwrap()
}

const MISSION: i64 = 397_490_000;

#[test]
fn mission_scenario_full_capacity_on_both_sides_is_refused_under_sum_and_half_of_it_is_accepted() {
    let market = hype();
    let ctx = MarginContext::new(&market, dec("10"));
    let rule = venue("sum");
    let ladder = |lots: i64| [bid(lots, 27_110), ask(lots, 27_110)];
    let both = rule.accepts(&ctx, Position::default(), &[], &ladder(14_662), MISSION).unwrap();
    assert_eq!((both.accepted, both.required_after, both.shortfall), (false, 794_973_640, 397_483_640));
    let half = rule.accepts(&ctx, Position::default(), &[], &ladder(7_331), MISSION).unwrap();
    assert_eq!((half.accepted, half.required_after), (true, 397_486_820));
    assert!(!rule.accepts(&ctx, Position::default(), &[], &ladder(7_332), MISSION).unwrap().accepted);
}

#[test]
fn mission_scenario_two_sided_at_the_mark_carries_full_capacity_a_side_under_worst_side_and_per_side() {
    let market = hype();
    let ctx = MarginContext::new(&market, dec("10"));
    for name in ["worst_side", "per_side"] {
        let rule = venue(name);
        let at_mark = [bid(14_662, 27_110), ask(14_662, 27_110)];
        assert!(rule.accepts(&ctx, Position::default(), &[], &at_mark, MISSION).unwrap().accepted, "{name}");
        // Asks above the mark cost more than a budget priced at the mark says: refused by a hair.
        let quoted = [bid(14_662, 27_100), ask(14_662, 27_120)];
        let answer = rule.accepts(&ctx, Position::default(), &[], &quoted, MISSION).unwrap();
        assert_eq!((answer.accepted, answer.shortfall), (false, 143_440), "{name}");
        let scale = rule.max_scale(&ctx, Position::default(), &[], &quoted, MISSION).unwrap();
        assert_eq!((scale.num, scale.den, scale.lots), (14_656, 14_662, vec![14_656, 14_656]));
    }
}

#[test]
fn five_orders_at_7x_are_charged_order_by_order() {
    let market = hype();
    let ctx = MarginContext::new(&market, dec("7"));
    let ladder = [(1_435, 27_104), (1_434, 27_099), (1_472, 27_088), (1_490, 27_066), (1_499, 27_023)];
    let orders: Vec<Order> = ladder.iter().map(|&(lots, ticks)| bid(lots, ticks)).collect();
    let value: i64 = ladder.iter().map(|(lots, ticks)| lots * ticks * 10).sum();
    assert_eq!(value / 7, 283_519_370);
    for name in ["sum", "worst_side", "per_side"] {
        assert_eq!(venue(name).required(&ctx, Position::default(), &orders).unwrap(), 283_519_373, "{name}");
    }
}

#[test]
fn orders_in_flight_never_free_margin_and_stops_are_summed_on_mt5() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let rule = venue("mt5");
    let required = |lots, orders: &[Order]| rule.required(&ctx, Position::net(lots), orders).unwrap();
    assert_eq!(required(-2, &[]), 20_000_000);
    assert_eq!(required(-2, &[bid(3, 100)]), 20_000_000);
    assert_eq!(required(1, &[]), 10_000_000);
    assert_eq!(required(-2, &[ask(3, 100)]), 50_000_000);
    let stop = Order { trigger: true, ..bid(3, 100) };
    assert_eq!(required(-2, &[stop]), 50_000_000);
}

#[test]
fn larger_leg_takes_the_dearest_rate_times_the_larger_leg_position_included() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let required = |position, orders: &[Order]| venue("larger_leg").required(&ctx, position, orders).unwrap();
    assert_eq!(required(Position::net(5), &[bid(2, 90), ask(6, 120)]), 12_000_000 * 7);
    assert_eq!(required(Position::legs(5, 8), &[bid(2, 90)]), 10_000_000 * 8);
    assert_eq!(required(Position::default(), &[]), 0);
}

#[test]
fn hedge_legs_adds_opening_orders_and_frees_closing_ones() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let rule = venue("hedge_legs");
    let leg = |order: Order, leg| Order { leg: Some(leg), ..order };
    let orders = [bid(1, 100), ask(2, 100), leg(ask(3, 100), Leg::Long), leg(bid(4, 100), Leg::Short)];
    let required = rule.required(&ctx, Position::legs(3, 4), &orders).unwrap();
    assert_eq!(required, 10_000_000 * (3 + 1 + 4 + 2));
    let beyond = [leg(ask(4, 100), Leg::Long)];
    let answer = rule.accepts(&ctx, Position::legs(3, 4), &[], &beyond, MISSION).unwrap();
    assert_eq!(answer.refusal, Some(Refusal::Leg));
}

#[test]
fn an_order_that_raises_nothing_is_accepted_whatever_is_missing() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let resting = [bid(5, 100)];
    let hedge = [ask(15, 100)];
    let answer = |name, candidates: &[Order]| {
        venue(name).accepts(&ctx, Position::net(5), &resting, candidates, -1_000_000_000).unwrap()
    };
    assert!(answer("worst_side", &hedge).accepted, "selling 15 leaves 10 short at most, as large as 10 long");
    assert_eq!(answer("worst_side", &[ask(16, 100)]).refusal, Some(Refusal::Margin));
    assert_eq!(answer("sum", &hedge).refusal, Some(Refusal::Margin));
    assert!(answer("sum", &[ask(5, 100).reducing()]).accepted);
}

#[test]
fn closing_prefix_frees_the_best_priced_lots_first() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("1"));
    let rule = OrderMarginRule { closing: true, ..venue("sum") };
    let orders = [ask(4, 130), ask(3, 110), ask(2, 120)];
    let charged = |lots| rule.required(&ctx, Position::net(lots), &orders).unwrap() - lots * 100_000_000;
    assert_eq!(charged(0), (4 * 130 + 3 * 110 + 2 * 120) * 1_000_000);
    assert_eq!(charged(4), (4 * 130 + 120) * 1_000_000);
    assert_eq!(charged(6), 3 * 130 * 1_000_000);
    assert_eq!(charged(9), 0);
    // Covering a short, the highest bid fills first.
    let covering = [bid(2, 80), bid(3, 90)];
    assert_eq!(rule.required(&ctx, Position::net(-4), &covering).unwrap(), (4 * 100 + 80) * 1_000_000);
    // A better priced reduce-only order fills first and pushes the others out of the credit.
    let pushed = [orders[0], orders[1], orders[2], ask(2, 105).reducing()];
    let required = rule.required(&ctx, Position::net(9), &pushed).unwrap();
    assert_eq!(required, (9 * 100 + 2 * 130) * 1_000_000);
}

#[test]
fn reduce_only_modes_charge_nothing_the_surplus_or_refuse() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("1"));
    let with = |mode| OrderMarginRule { reduce_only: mode, ..venue("sum") };
    let orders = [ask(3, 120).reducing(), ask(3, 110).reducing()];
    let required = |mode, lots| with(mode).required(&ctx, Position::net(lots), &orders).unwrap() / 1_000_000;
    assert_eq!(required(ReduceOnly::Free, 4), 400);
    assert_eq!(required(ReduceOnly::FreeIfFits, 6), 600);
    assert_eq!(required(ReduceOnly::FreeIfFits, 4), 400 + 2 * 120);
    assert_eq!(required(ReduceOnly::FreeIfFits, 0), 3 * 120 + 3 * 110);
    let answer = |lots| with(ReduceOnly::Checked).accepts(&ctx, Position::net(lots), &[], &orders, 0).unwrap();
    assert_eq!(
        (answer(6).refusal, answer(5).refusal, answer(-9).refusal),
        (None, Some(Refusal::ReduceOnly), Some(Refusal::ReduceOnly))
    );
}

#[test]
fn open_loss_test_credits_lots_that_close_and_charges_the_rest() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let rule = venue("okx");
    // Long 5, selling 8 at 90: three lots open, at a loss of 10 each.
    let answer = |available| rule.accepts(&ctx, Position::net(5), &[], &[ask(8, 90)], available).unwrap();
    assert_eq!(rule.order_charge(&ctx, &ask(8, 90), 0).unwrap(), 8 * (9 + 10) * 1_000_000);
    assert!(answer(152_000_000 - 100_000_000).accepted);
    // A loss that the combine rule hides on the lighter side is still tested.
    let two = [bid(10, 100), ask(2, 95)];
    let refused = rule.accepts(&ctx, Position::default(), &[], &two, 100_000_000).unwrap();
    assert_eq!((refused.accepted, refused.refusal, refused.shortfall), (false, Some(Refusal::OpenLoss), 10_000_000));
    assert_eq!(refused.required_after, 100_000_000);
}

#[test]
fn inverse_contracts_are_charged_by_contracts_over_price() {
    let instrument = Instrument { inverse: true, contract_value: dec("100"), ..instrument("0.5", "1") };
    let market = Market::new(instrument, dec("49999.5"), dec("50000"), dec("50000"), None).unwrap();
    let ctx = MarginContext::new(&market, dec("10"));
    // 50 contracts of 100 at 50 000: 0.1 coin, 0.01 at 10x.
    assert_eq!(venue("sum").required(&ctx, Position::default(), &[bid(50, 100_000)]).unwrap(), 10_000);
    assert_eq!(venue("sum").required(&ctx, Position::net(-50), &[]).unwrap(), 10_000);
    // A buy at 62 500 is 0.08 coin against 0.1 at the mark: a loss of 0.02.
    let pricer = venue("okx").pricer(&ctx, 0).unwrap();
    assert_eq!(pricer.loss_rate(Side::Bid, 125_000).unwrap().charge(50), 20_000);
    assert_eq!(pricer.loss_rate(Side::Ask, 125_000).unwrap(), ChargeRate::ZERO);
}

#[test]
fn step_tiers_charge_the_average_rate_of_the_worst_exposure() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let rows = [(Decimal::ZERO, dec("20")), (dec("1000"), dec("5"))];
    let tiers = Tiers::from_leverage(&rows, Ratio::new(1, 1).unwrap()).unwrap();
    let rule = OrderMarginRule { tiers, ..venue("sum") };
    let required = |lots, orders: &[Order]| rule.required(&ctx, Position::net(lots), orders).unwrap();
    // The chosen 10x is dearer than the first row, the second row (20 %) dearer than 10x.
    assert_eq!(required(10, &[]), 100_000_000);
    assert_eq!(required(20, &[]), 100_000_000 + 200_000_000);
    assert_eq!(required(10, &[bid(10, 100)]), 300_000_000);
    let position_only = OrderMarginRule { tier_basis: TierBasis::Position, ..rule.clone() };
    assert_eq!(position_only.required(&ctx, Position::net(10), &[bid(10, 100)]).unwrap(), 200_000_000);
}

#[test]
fn price_bases_choose_the_price_they_name() {
    let market = Market { best_ask_ticks: 104, last: dec("101"), ..market_at(instrument("1", "1"), "102", "1") };
    let ctx = MarginContext::new(&market, Decimal::ONE);
    let charged = |basis, ticks| {
        let rule = OrderMarginRule { buy_price: basis, ..venue("sum") };
        rule.order_charge(&ctx, &bid(1, ticks), 0).unwrap() as f64 / 1e6
    };
    let premium = PriceBasis::LastMarkLimit { premium: dec("0.02") };
    let table = [
        (PriceBasis::Limit, 90, 90.0),
        (PriceBasis::Mark, 90, 102.0),
        (PriceBasis::LimitOrBestBid, 90, 102.0),
        (PriceBasis::LimitOrBestBid, 103, 103.0),
        (PriceBasis::LimitOrBestAsk, 103, 103.0),
        (PriceBasis::LimitOrBestAsk, 110, 104.0),
        (premium, 90, 103.02),
        (premium, 103, 103.02),
        (premium, 104, 104.0),
    ];
    for (basis, ticks, expected) in table {
        assert!((charged(basis, ticks) - expected).abs() < 1e-9, "{basis:?} at {ticks}");
    }
}

#[test]
fn fee_reserves_and_the_mark_buffer_add_to_the_charge() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, dec("10"));
    let rule = OrderMarginRule { maker_fee: dec("0.0002"), taker_fee: dec("0.0005"), ..venue("sum") };
    let charge = |reserve, ctx: &MarginContext<'_>, order: &Order| {
        OrderMarginRule { fee_reserve: reserve, ..rule.clone() }.order_charge(ctx, order, 0).unwrap()
    };
    assert_eq!(charge(FeeReserve::None, &ctx, &bid(1, 100)), 10_000_000);
    assert_eq!(charge(FeeReserve::Maker, &ctx, &bid(1, 100)), 10_020_000);
    assert_eq!(charge(FeeReserve::Taker, &ctx, &bid(1, 100)), 10_050_000);
    assert_eq!(charge(FeeReserve::TakerOpenClose, &ctx, &bid(1, 100)), 10_095_000);
    assert_eq!(charge(FeeReserve::TakerOpenClose, &ctx, &ask(1, 100)), 10_105_000);
    assert_eq!(charge(FeeReserve::Flat { bps: dec("40") }, &ctx, &bid(1, 100)), 10_400_000);
    assert_eq!(charge(FeeReserve::None, &ctx.with_buffer(dec("40")), &bid(1, 100)), 10_460_000);
    let rebate = OrderMarginRule { maker_fee: dec("-0.0002"), fee_reserve: FeeReserve::Maker, ..rule };
    assert_eq!(rebate.order_charge(&ctx, &bid(1, 100), 0).unwrap(), 10_000_000, "a rebate is not credited");
}

#[test]
fn quantum_rounds_requirements_up_and_availability_down() {
    let market = hype();
    let ctx = MarginContext::new(&market, dec("10"));
    let rule = OrderMarginRule { quantum_micros: 10_000, ..venue("sum") };
    assert_eq!(rule.required(&ctx, Position::default(), &[bid(1, 27_111)]).unwrap(), 30_000);
    assert!(!rule.accepts(&ctx, Position::default(), &[], &[bid(1, 27_111)], 29_999).unwrap().accepted);
    assert_eq!(rule.free_margin(dec("1.239"), Decimal::ZERO, Decimal::ZERO).unwrap(), 1_230_000);
}

#[test]
fn every_preset_states_where_it_comes_from_and_exactness_needs_documents() {
    for name in VENUES {
        let rule = venue(name);
        assert_eq!(rule.name, name);
        assert!(!rule.standing.is_empty(), "{name}");
        let exact = ["binance_usdm", "binance_usdm_hedge", "okx", "okx_hedge", "deribit_linear", "bitmex", "mt5"];
        assert_eq!(rule.exact, exact.contains(&name), "{name}");
    }
    for (name, _) in Combine::ALL {
        assert!(!venue(name).exact && venue(name).standing.is_empty());
    }
    assert_eq!(OrderMarginRule::venue("unheard_of"), None);
}

#[test]
fn amounts_beyond_64_bits_are_errors_and_never_wrap() {
    let market = hype();
    let ctx = MarginContext::new(&market, Decimal::ONE);
    for (name, _) in Combine::ALL.into_iter().filter(|(_, combine)| *combine != Combine::SingleOrder) {
        let error = venue(name).required(&ctx, Position::default(), &[bid(i64::MAX, i64::MAX)]).unwrap_err();
        assert!(error.requirement.contains("64-bit"), "{name}: {error}");
        let two = [bid(i64::MAX / 4, 100_000), ask(i64::MAX / 4, 100_000), bid(i64::MAX / 4, 100_000)];
        assert!(venue(name).required(&ctx, Position::net(i64::MAX), &two).is_err(), "{name}");
    }
    for order in [bid(-1, 27_110), bid(1, 0), bid(1, -5)] {
        let error = venue("sum").required(&ctx, Position::default(), &[bid(1, 1), order]).unwrap_err();
        assert_eq!(error.index, Some(1), "{error}");
    }
}

// ------------------------------------------------------------------------------------------------------- identities

#[derive(Clone, Debug)]
struct Scene {
    lots: i64,
    leverage: Decimal,
    orders: Vec<Order>,
}

fn order() -> impl Strategy<Value = Order> {
    (any::<bool>(), 0_i64..5_000, 20_000_i64..35_000)
        .prop_map(|(buys, lots, ticks)| if buys { bid(lots, ticks) } else { ask(lots, ticks) })
}

fn scene() -> impl Strategy<Value = Scene> {
    let leverage = prop_oneof![Just("1"), Just("3"), Just("7"), Just("10"), Just("12.5"), Just("40")].prop_map(dec);
    (-9_000_i64..9_000, leverage, prop::collection::vec(order(), 0..9)).prop_map(|(lots, leverage, orders)| Scene {
        lots,
        leverage,
        orders,
    })
}

fn all_rules() -> Vec<OrderMarginRule> {
    let mut rules: Vec<_> =
        VENUES.into_iter().chain(Combine::ALL.into_iter().map(|(name, _)| name)).map(venue).collect();
    rules.push(OrderMarginRule { closing: true, ..venue("sum") });
    rules.push(OrderMarginRule { reduce_only: ReduceOnly::FreeIfFits, ..venue("worst_side") });
    rules.push(OrderMarginRule { quantum_micros: 1_000, ..venue("per_side") });
    let rows = [(Decimal::ZERO, dec("30")), (dec("500"), dec("8")), (dec("2000"), dec("2.5"))];
    let tiers = Tiers::from_leverage(&rows, Ratio::new(1, 1).unwrap()).unwrap();
    rules.push(OrderMarginRule { tiers: tiers.clone(), ..venue("worst_side") });
    rules.push(OrderMarginRule { tiers, closing: true, ..venue("sum") });
    rules
}

/// Rules that the reservation book keeps, bare and as presets.
const BOOKED: [&str; 9] =
    ["sum", "worst_side", "per_side", "larger_leg", "hedge_legs", "hyperliquid", "okx", "binance_usdm", "bybit"];

fn mirrored(orders: &[Order]) -> Vec<Order> {
    orders.iter().map(|order| Order { side: order.side.opposite(), ..*order }).collect()
}

proptest! {
    #[test]
    fn flat_with_equal_sides_sum_is_twice_worst_side(scene in scene()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let bids: Vec<Order> = scene.orders.iter().map(|order| Order { side: Side::Bid, ..*order }).collect();
        let both: Vec<Order> = bids.iter().copied().chain(mirrored(&bids)).collect();
        let required = |name| venue(name).required(&ctx, Position::default(), &both).unwrap();
        prop_assert_eq!(required("sum"), 2 * required("worst_side"));
    }

    #[test]
    fn flat_worst_side_lies_between_half_and_all_of_sum(scene in scene()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let required = |name| venue(name).required(&ctx, Position::default(), &scene.orders).unwrap();
        prop_assert!(required("worst_side") <= required("sum"));
        prop_assert!(required("sum") <= 2 * required("worst_side"));
    }

    #[test]
    fn okx_one_way_formula_is_binance_one_way_and_per_side_is_worst_side(scene in scene()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let position = Position::net(scene.lots);
        let rule = venue("worst_side");
        let charges = rule.side_charges(&ctx, position, &scene.orders).unwrap();
        let held = rule.position_margin(&ctx, position).unwrap();
        // OKX: max(P + B, A − P) for a long, mirrored for a short. Hyperliquid: max(|P| + same, opposite − |P|).
        let okx = if scene.lots >= 0 {
            (held + charges.bids).max(charges.asks - held)
        } else {
            (held + charges.asks).max(charges.bids - held)
        };
        prop_assert_eq!(rule.required(&ctx, position, &scene.orders).unwrap(), okx);
        prop_assert_eq!(venue("per_side").required(&ctx, position, &scene.orders).unwrap(), okx);
    }

    #[test]
    fn per_side_availability_accepts_exactly_what_worst_side_accepts(
        scene in scene(), candidate in order(), spare in 0_i64..900_000_000,
    ) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let position = Position::net(scene.lots);
        let (rule, whole) = (venue("per_side"), venue("worst_side"));
        // What rests already is covered.
        let resting = whole.accepts(&ctx, position, &scene.orders, &[], 0).unwrap();
        let available = resting.required_before - resting.position_only + spare;
        let room = rule.headroom(&ctx, position, &scene.orders, candidate.side, available).unwrap();
        let charge = rule.order_charge(&ctx, &candidate, 0).unwrap();
        let answer = whole.accepts(&ctx, position, &scene.orders, &[candidate], available).unwrap();
        let raises_nothing = answer.required_after <= answer.required_before;
        prop_assert_eq!(answer.accepted, charge <= room || raises_nothing);
    }

    #[test]
    fn an_added_order_never_lowers_the_requirement(scene in scene(), extra in order(), reduce in any::<bool>()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let extra = Order { reduce_only: reduce, ..extra };
        for rule in all_rules() {
            let position = Position::net(scene.lots);
            let added = rule.incremental(&ctx, position, &scene.orders, &[extra]).unwrap();
            prop_assert!(added >= 0, "{} {}", rule.name, added);
        }
    }

    #[test]
    fn a_fitting_reduce_only_order_adds_nothing(scene in scene(), ticks in 20_000_i64..35_000, share in 0_i64..=100) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let lots = scene.lots.abs() * share / 100;
        let reduce = if scene.lots > 0 { ask(lots, ticks) } else { bid(lots, ticks) }.reducing();
        // Orders of the same side as the position: nothing else competes for the closing lots.
        let same = reduce.side.opposite();
        let resting: Vec<Order> = scene.orders.iter().map(|order| Order { side: same, ..*order }).collect();
        for rule in all_rules() {
            let added = rule.incremental(&ctx, Position::net(scene.lots), &resting, &[reduce]).unwrap();
            prop_assert_eq!(added, 0, "{}", rule.name);
        }
    }

    #[test]
    fn mirrored_position_and_orders_need_the_same_where_prices_are_symmetric(scene in scene()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        for (name, combine) in Combine::ALL {
            let rule = venue(name);
            let mut orders = scene.orders.clone();
            if combine == Combine::NetContracts {
                // Best price first means the other way round on the other side: one price is what is symmetric.
                orders.iter_mut().for_each(|order| order.price_ticks = 27_000);
            }
            let here = rule.required(&ctx, Position::net(scene.lots), &orders).unwrap();
            let there = rule.required(&ctx, Position::net(-scene.lots), &mirrored(&orders)).unwrap();
            prop_assert_eq!(here, there, "{}", name);
        }
    }

    #[test]
    fn removing_what_was_added_restores_the_number_and_order_does_not_matter(scene in scene(), extra in order()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let position = Position::net(scene.lots);
        for rule in all_rules().into_iter().filter(|rule| rule.combine != Combine::SingleOrder) {
            let before = rule.required(&ctx, position, &scene.orders).unwrap();
            let mut orders = scene.orders.clone();
            orders.insert(scene.orders.len() / 2, extra);
            let with = rule.required(&ctx, position, &orders).unwrap();
            prop_assert_eq!(with - before, rule.incremental(&ctx, position, &scene.orders, &[extra]).unwrap());
            orders.remove(scene.orders.len() / 2);
            prop_assert_eq!(rule.required(&ctx, position, &orders).unwrap(), before);
        }
    }

    #[test]
    fn requirement_is_the_books_definition_over_the_holds(scene in scene(), reduce in any::<u8>()) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let orders: Vec<Order> = scene.orders.iter().enumerate()
            .map(|(index, order)| Order { reduce_only: reduce >> (index % 8) & 1 == 1, ..*order }).collect();
        for rule in BOOKED.map(venue) {
            let position = Position::net(scene.lots);
            let held = rule.position_margin(&ctx, position).unwrap();
            let holds: Vec<i64> = orders.iter().map(|order| rule.order_charge(&ctx, order, 0).unwrap()).collect();
            let of = |side| orders.iter().zip(&holds).filter(move |(order, _)| order.side == side);
            let total = |side| -> i64 { of(side).map(|(_, hold)| hold).sum() };
            let lots = |side| -> i64 { of(side).filter(|(o, _)| !o.reduce_only).map(|(o, _)| o.lots).sum() };
            let (b, s) = (total(Side::Bid), total(Side::Ask));
            let signed = held * scene.lots.signum();
            let expected = match rule.combine {
                Combine::Sum | Combine::HedgeLegs => held + b + s,
                Combine::LargerLeg => {
                    let rate = |hold: i64, lots: i64| if lots == 0 { 0 } else { (hold + lots - 1) / lots };
                    let rates = orders.iter().zip(&holds).map(|(o, h)| rate(*h, o.lots));
                    let dearest = rates.chain([rate(held, scene.lots.abs())]).max().unwrap_or(0);
                    dearest * (scene.lots.max(0) + lots(Side::Bid)).max((-scene.lots).max(0) + lots(Side::Ask))
                }
                _ => (signed + b).abs().max((signed - s).abs()),
            };
            prop_assert_eq!(rule.required(&ctx, position, &orders).unwrap(), expected, "{}", rule.name);
        }
    }

    #[test]
    fn charge_and_lots_within_are_consistent_and_the_charge_rounds_up(
        num in 0_i128..1_000_000_000_000,
        den in 1_i128..1_000_000,
        lots in 0_i64..10_000_000,
        budget in 0_i64..1_000_000_000,
    ) {
        let rate = ChargeRate { num, den };
        let charge = i128::from(rate.charge(lots));
        prop_assert!(charge * den >= i128::from(lots) * num && (charge - 1) * den < i128::from(lots) * num);
        let most = rate.lots_within(budget);
        if num > 0 {
            prop_assert!(rate.charge(most) <= budget && rate.charge(most + 1) > budget);
        } else {
            prop_assert_eq!(most, i64::MAX);
        }
    }

    #[test]
    fn max_size_is_accepted_and_one_lot_more_is_not(
        scene in scene(), buys in any::<bool>(), ticks in 20_000_i64..35_000, available in 0_i64..600_000_000,
    ) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let (position, side) = (Position::net(scene.lots), if buys { Side::Bid } else { Side::Ask });
        for rule in all_rules() {
            let fits = |lots| {
                let one = [Order::limit(side, lots, ticks)];
                rule.accepts(&ctx, position, &scene.orders, &one, available).unwrap().accepted
            };
            let most = rule.max_size(&ctx, position, &scene.orders, side, ticks, available).unwrap();
            prop_assert!(most == 0 || fits(most), "{} {}", rule.name, most);
            prop_assert!(!fits(most + 1), "{} {}", rule.name, most);
        }
    }

    #[test]
    fn max_scale_is_accepted_and_the_next_factor_is_not(scene in scene(), available in 0_i64..600_000_000) {
        let market = hype();
        let ctx = MarginContext::new(&market, scene.leverage);
        let position = Position::net(scene.lots);
        for rule in all_rules() {
            let scale = rule.max_scale(&ctx, position, &[], &scene.orders, available).unwrap();
            let ladder = |lots: &[i64]| -> Vec<Order> {
                scene.orders.iter().zip(lots).map(|(order, &lots)| Order { lots, ..*order }).collect()
            };
            let accepted = |lots: &[i64]| rule.accepts(&ctx, position, &[], &ladder(lots), available).unwrap().accepted;
            prop_assert!(accepted(&scale.lots), "{}", rule.name);
            // The next factor at which any order gains a lot.
            let next = scene.orders.iter().zip(&scale.lots).filter(|(order, lots)| **lots < order.lots)
                .map(|(order, lots)| (i128::from(lots + 1), i128::from(order.lots)))
                .min_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)));
            if let Some((num, den)) = next {
                let grow = |order: &Order| i64::try_from(i128::from(order.lots) * num / den).unwrap();
                let grown: Vec<i64> = scene.orders.iter().map(grow).collect();
                prop_assert!(!accepted(&grown), "{} {:?} {:?}", rule.name, scale, grown);
            } else {
                prop_assert_eq!((scale.num, scale.den), (1, 1));
            }
        }
    }

    #[test]
    fn net_contracts_equals_the_guide_for_one_price_a_side(
        bids in 0_i64..50, asks in 0_i64..50, low in 1_i64..100, gap in 0_i64..100,
    ) {
        let market = Market { best_bid_ticks: 1, best_ask_ticks: 2, ..market_at(instrument("1", "1"), "100", "100") };
        let ctx = MarginContext::new(&market, Decimal::ONE);
        let orders = [bid(bids, low), ask(asks, low + gap)];
        let required = venue("bitmex").required(&ctx, Position::default(), &orders).unwrap();
        prop_assert_eq!(required, ((bids - asks).max(0) * low + asks * (low + gap)) * 1_000_000);
    }
}

#[test]
fn dormant_triggers_are_free_charged_or_summed() {
    let market = market_at(instrument("1", "1"), "100", "100");
    let ctx = MarginContext::new(&market, Decimal::ONE);
    let stop = Order { trigger: true, ..ask(2, 100) };
    let required = |mode| {
        let rule = OrderMarginRule { triggers: mode, ..venue("worst_side") };
        rule.required(&ctx, Position::default(), &[bid(3, 100), stop]).unwrap() / 1_000_000
    };
    assert_eq!((required(Triggers::Free), required(Triggers::Charged), required(Triggers::Summed)), (300, 300, 500));
}
