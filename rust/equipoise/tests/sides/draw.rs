//! Seeded instances by family: a failing case is a family and a seed.

use crate::case::{Case, Curve, Ladder};
use crate::judge;
use equipoise::sides::{Budget, Inventory};

/// Deterministic numbers from a seed (SplitMix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn power(&mut self, low: f64, high: f64) -> f64 {
        10_f64.powf(self.between(low, high))
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    pub(crate) fn below(&mut self, count: u64) -> usize {
        (self.bits() % count) as usize
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

pub(crate) const FAMILIES: [&str; 17] = [
    "market",
    "ties",
    "wide ranges",
    "mixed margins",
    "one to three",
    "tight entropy",
    "negative",
    "free margin",
    "exponential",
    "log",
    "floors sum to 1",
    "tiny budgets",
    "caps binding",
    "empty side",
    "fill variance",
    "share bounds",
    "many levels",
];

fn family_of(name: &str) -> usize {
    FAMILIES.iter().position(|family| *family == name).unwrap()
}

fn levels(draw: &mut Draw, family: &str, seed: u64) -> usize {
    match family {
        "one to three" => 1 + draw.below(3),
        // Thousands now and then, tens to hundreds otherwise.
        "many levels" if (seed / FAMILIES.len() as u64).is_multiple_of(100) => 1_000 + draw.below(4_000),
        "many levels" => 17 + draw.below(134),
        _ => 1 + draw.below(16),
    }
}

/// Values, charges and fill probabilities of a market: edges that grow outwards, fills that decay.
fn market(draw: &mut Draw, levels: usize, sign: f64) -> Ladder {
    let (price, leverage) = (draw.power(-1.0, 3.0), draw.between(1.0, 20.0));
    let (mut utility, mut margin, mut fill) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..levels {
        let depth = 2.0 * (1.0 + i as f64 * draw.between(0.5, 1.5));
        let probability = -(-3.0 * (-0.15 * depth).exp()).exp_m1();
        let edge = depth - 3.0 * (-depth / 8.0).exp() - 1.5;
        utility.push(probability * edge * price * 1e-4);
        margin.push(price * (1.0 + sign * (depth * 1e-4).min(0.5)) / leverage);
        fill.push(probability);
    }
    let mut side = Ladder::open(&utility, &margin);
    side.fill = fill;
    side.size_max = draw.power(0.0, 4.0) / price * leverage;
    side
}

fn values(draw: &mut Draw, family: &str, side: &mut Ladder) {
    let price = side.margin[0];
    match family {
        "ties" => {
            let tied = draw.between(-0.3, 1.0);
            let part = if draw.chance(0.3) { 1.0 } else { 0.7 };
            side.utility.iter_mut().for_each(|u| *u = if draw.chance(part) { tied } else { *u });
        }
        "wide ranges" => {
            side.utility
                .iter_mut()
                .for_each(|u| *u = draw.power(-8.0, 8.0) * if draw.chance(0.3) { -1.0 } else { 1.0 });
            if draw.chance(0.5) {
                side.margin.iter_mut().for_each(|m| *m = draw.power(-4.0, 4.0));
            }
        }
        "mixed margins" => {
            side.utility.iter_mut().for_each(|u| *u = draw.normal());
            side.margin.iter_mut().for_each(|m| *m = draw.between(0.2, 2.0) * price);
        }
        "negative" => {
            let mostly = draw.chance(0.5);
            side.utility.iter_mut().for_each(|u| {
                *u = -u.abs() * draw.between(0.0, 2.0) + if mostly && draw.chance(0.2) { 1e-6 * price } else { 0.0 };
            });
        }
        "free margin" => {
            side.utility.iter_mut().for_each(|u| *u = draw.normal() * 1e-4 * price);
            let part = if draw.chance(0.2) { 1.0 } else { 0.3 };
            side.margin.iter_mut().for_each(|m| *m = if draw.chance(part) { 0.0 } else { *m });
        }
        _ => {}
    }
}

fn limits(draw: &mut Draw, family: &str, side: &mut Ladder) {
    let levels = side.levels();
    let k = levels as f64;
    let q = side.size_max;
    match if family == "floors sum to 1" { 9 } else { draw.below(4) } {
        0 => side.floor.iter_mut().for_each(|f| *f = draw.between(0.0, 0.3) / k),
        1 => side.floor.fill(draw.between(0.0, 0.9) / k),
        9 => {
            let weights: Vec<f64> = (0..levels).map(|_| draw.power(-3.0, 0.0)).collect();
            let all: f64 = weights.iter().sum();
            let part = if draw.chance(0.5) { 1.0 } else { 1.0 - draw.power(-14.0, -3.0) };
            side.floor = weights.iter().map(|weight| part * weight / all).collect();
        }
        _ => {}
    }
    match draw.below(4) {
        0 => side.cap.iter_mut().for_each(|c| *c = (draw.between(1.2, 4.0) / k).min(1.0)),
        1 => side.cap.fill((draw.between(1.05, 3.0) / k).min(1.0)),
        _ => {}
    }
    if family == "floors sum to 1" {
        side.cap.iter_mut().zip(&side.floor).for_each(|(cap, floor)| *cap = cap.max(*floor));
    }
    match if family == "caps binding" { draw.below(2) } else { draw.below(5) } {
        0 => side.size_cap.iter_mut().for_each(|c| {
            *c = if draw.chance(0.7) { q / k * draw.between(0.05, 2.0) } else { f64::INFINITY };
        }),
        1 => side.size_cap.fill(q / k * draw.between(0.1, 3.0)),
        _ => {}
    }
    if draw.chance(0.03) {
        side.size_cap[draw.below(levels as u64)] = 0.0;
    }
    let most = judge::flattest(side).map_or(k.ln(), |shares| judge::entropy(&shares));
    side.entropy_min = match if family == "tight entropy" { 9 } else { draw.below(8) } {
        0 => -1.0,
        1 => 0.0,
        2 => most,
        3 => most * (1.0 - draw.power(-9.0, -1.0)),
        9 if draw.chance(0.2) => most,
        9 => most * (1.0 - draw.power(-9.0, -2.0)),
        _ => most * draw.between(0.1, 0.99),
    };
}

fn ladder(draw: &mut Draw, family: &str, seed: u64, sign: f64) -> Ladder {
    let levels = levels(draw, family, seed);
    let mut side = market(draw, levels, sign);
    values(draw, family, &mut side);
    limits(draw, family, &mut side);
    side.curve = match family {
        "exponential" => Curve::Exponential,
        "log" => Curve::Log,
        "fill variance" if draw.chance(0.2) => Curve::Log,
        _ => Curve::Linear,
    };
    let one = side.size_max / levels as f64;
    side.scale.iter_mut().for_each(|scale| *scale = one * draw.power(-2.0, 2.0));
    side
}

fn budget(draw: &mut Draw, family: &str, side: &[Ladder; 2]) -> Budget {
    let each = [0, 1].map(|x| {
        let side = &side[x];
        side.margin.iter().sum::<f64>() / (side.levels() as f64).max(1.0) * side.size_max
    });
    let need = each[0] + each[1];
    let part = if family == "tiny budgets" { draw.power(-12.0, -6.0) } else { 1.0 };
    let none = f64::INFINITY;
    let some = |draw: &mut Draw, need: f64| part * need * draw.between(0.05, 1.2);
    match draw.below(5) {
        // Worst side; with a closing credit the budgets differ by much.
        0 => Budget { side: [some(draw, need), some(draw, need)], total: none },
        1 => {
            let own = some(draw, need);
            Budget { side: [own, own * draw.between(1.0, 5.0)], total: none }
        }
        2 => Budget { side: [part * need * 0.5, none], total: some(draw, need) },
        _ => Budget { side: [none; 2], total: part * need * draw.power(-3.0, 0.1) },
    }
}

fn share(draw: &mut Draw, family: &str) -> Option<[f64; 2]> {
    let (a, b) = (draw.unit(), draw.unit());
    match if family == "share bounds" { draw.below(6) } else { draw.below(12) } {
        0 => Some([0.3, 0.7]),
        1 => Some([0.5, 0.5]),
        2 => Some([f64::min(a, b), f64::max(a, b)]),
        3 => Some([a, a]),
        4 => Some([a, 1.0]),
        5 => Some([0.0, a]),
        _ => None,
    }
}

/// One instance of a family.
pub(crate) fn instance(family: usize, seed: u64) -> Case {
    let family = FAMILIES[family];
    let mut draw = Draw(seed.wrapping_mul(7919) + 1);
    let draw = &mut draw;
    let mut side = [ladder(draw, family, seed, -1.0), ladder(draw, family, seed, 1.0)];
    let budget = budget(draw, family, &side);
    let share = share(draw, family);
    if family == "empty side" {
        let x = draw.below(2);
        match draw.below(4) {
            0 => side[x] = Ladder { size_max: side[x].size_max, ..Ladder::open(&[], &[]) },
            1 => side[x].size_max = 0.0,
            2 => side[x].size_cap.fill(0.0),
            _ => side[x].entropy_min = (side[x].levels() as f64).ln() + 0.1,
        }
    }
    let utility = side.iter().flat_map(|side| &side.utility).fold(0.0_f64, |most, u| most.max(u.abs()));
    let size = side[0].size_max.max(side[1].size_max);
    let varied = family == "fill variance";
    let inventory = (varied || draw.chance(0.6)).then(|| Inventory {
        position: if draw.chance(0.2) { 0.0 } else { draw.normal() * size },
        price_of_risk: utility / size * draw.power(-4.0, 2.0),
        fill_variance: varied || draw.chance(0.1),
    });
    Case { side, budget, share, inventory }
}

/// An instance of one of the ordinary families, for properties.
pub(crate) fn ordinary(seed: u64) -> Case {
    let names = [
        "market",
        "ties",
        "mixed margins",
        "one to three",
        "negative",
        "exponential",
        "log",
        "caps binding",
        "fill variance",
        "share bounds",
    ];
    instance(family_of(names[(seed % names.len() as u64) as usize]), seed)
}
