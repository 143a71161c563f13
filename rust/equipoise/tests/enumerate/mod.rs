//! Every ladder of a small side, one by one: the oracle of the projection. It shares no code with it.

use equipoise::project::ProjectInput;

/// A reproducible stream of numbers (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.bits() % (high - low + 1) as u64) as i64
    }
}

/// The best ladder there is.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    /// `Σ u n`.
    pub(crate) objective: f64,
    /// Its lots.
    pub(crate) lots: Vec<i64>,
}

/// Entropy of a ladder in nats, straight from its definition.
pub(crate) fn entropy(lots: &[i64]) -> f64 {
    let total: i64 = lots.iter().sum();
    let share = |n: i64| n as f64 / total as f64;
    -lots.iter().filter(|n| **n > 0).map(|&n| share(n) * share(n).ln()).sum::<f64>()
}

/// Charge of `n` lots of level `i`: rounded up to one micro-unit.
pub(crate) fn charge(input: &ProjectInput<'_>, i: usize, n: i64) -> i128 {
    let (num, den) = (input.charge[i].num, input.charge[i].den);
    (num * i128::from(n) + den - 1) / den
}

/// Whether the ladder keeps every constraint with entropy floor `h`.
pub(crate) fn feasible(input: &ProjectInput<'_>, lots: &[i64], h: f64) -> bool {
    let total: i64 = lots.iter().sum();
    let held: i128 = lots.iter().enumerate().map(|(i, &n)| charge(input, i, n)).sum();
    let shares = lots.iter().all(|&n| {
        let n = n as f64;
        n == 0.0
            || (n > input.share_floor * total as f64 - 1.0 + 1e-9 && n < input.share_cap * total as f64 + 1.0 - 1e-9)
    });
    let orders = lots.iter().enumerate().all(|(i, &n)| n == 0 || (input.lots_min[i] <= n && n <= input.lots_cap[i]));
    total > 0
        && total <= input.lots_total_max
        && held <= i128::from(input.budget)
        && shares
        && orders
        && entropy(lots) >= h - 1e-12
}

/// The best of all ladders that quote at least `levels_min` levels of value; `None` when no ladder is feasible.
pub(crate) fn best(input: &ProjectInput<'_>, levels_min: usize) -> Option<Best> {
    let mut lots = vec![0; input.utility.len()];
    let mut found = None;
    descend(input, levels_min, 0, &mut lots, &mut found);
    found
}

fn descend(input: &ProjectInput<'_>, levels_min: usize, at: usize, lots: &mut Vec<i64>, found: &mut Option<Best>) {
    if at == lots.len() {
        let quoted = lots.iter().zip(input.utility).filter(|(n, u)| **n > 0 && **u > 0.0).count();
        if quoted < levels_min || !feasible(input, lots, input.entropy_min) {
            return;
        }
        let objective: f64 = lots.iter().zip(input.utility).map(|(&n, u)| n as f64 * u).sum();
        let best = found.get_or_insert_with(|| Best { objective, lots: lots.clone() });
        if objective > best.objective {
            best.objective = objective;
            best.lots.clone_from(lots);
        }
        return;
    }
    let used: i64 = lots[..at].iter().sum();
    let held: i128 = (0..at).map(|i| charge(input, i, lots[i])).sum();
    for n in 0..=input.lots_cap[at].min(input.lots_total_max - used) {
        if held + charge(input, at, n) > i128::from(input.budget) {
            break;
        }
        lots[at] = n;
        if n == 0 || n >= input.lots_min[at] {
            descend(input, levels_min, at + 1, lots, found);
        }
    }
    lots[at] = 0;
}
