//! One side on the way to orders: prices on the grid, values, exact charges, what an older optimizer asks for.

use super::config::{LadderConfig, Optimizer};
use super::jitter::jittered;
use super::{Request, SideQuote, Source};
use crate::entropy::{Bound, SideProblem, SideSolver};
use crate::error::Result;
use crate::margin::{AMOUNT_MAX, ChargeRate, Pricer};
use crate::market::{Account, Market};
use crate::older::{self, KellyConfig, KellyProblem};
use crate::project::Projector;
use crate::shape;
use crate::status::{Binding, Reason, Status};
use crate::units::{Instrument, Side};

/// Charges as the venue makes them, and with the mark buffer where there is one.
#[derive(Debug)]
pub(super) struct Pricers {
    pub(super) bare: Pricer,
    pub(super) buffered: Option<Pricer>,
}

/// What a side is solved with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SideTask {
    pub(super) side: Side,
    /// Micro-units the buffered charges may sum to, closing credit not included.
    pub(super) budget: i64,
    /// Most lots of the side.
    pub(super) limit_lots: i64,
    /// Lots whose charge the rule credits because they close.
    pub(super) credit_lots: i64,
    /// Orders hold nothing: reduce-only, or closing a leg.
    pub(super) free: bool,
}

/// Levels of one side on the way to orders: prices on the grid, values, charges. Buffers are reused from call to call.
#[derive(Debug, Default)]
pub(super) struct SideWork {
    /// Depths asked for, bps.
    pub(super) wanted: Vec<f64>,
    /// Outcome of every level asked for; `Kept` while it stands.
    pub(super) reasons: Vec<Reason>,
    /// For every distinct price, the level asked for that it stands for.
    pub(super) asked: Vec<usize>,
    pub(super) price_ticks: Vec<i64>,
    pub(super) depth_bps: Vec<f64>,
    pub(super) fill_probability: Vec<f64>,
    pub(super) edge_bps: Vec<f64>,
    /// Expected value per contract.
    pub(super) utility: Vec<f64>,
    /// Expected value per lot: what the projection maximises.
    pub(super) lot_utility: Vec<f64>,
    /// Charge under the rule, per lot.
    pub(super) charge: Vec<ChargeRate>,
    /// The same with the mark buffer: what the budget is spent against.
    pub(super) buffered: Vec<ChargeRate>,
    pub(super) lots_min: Vec<i64>,
    pub(super) lots_cap: Vec<i64>,
    /// Fee that edges are net of, bps; edges given by the caller are taken as they are.
    pub(super) fee_bps: f64,
    /// Sizes in lots that an older optimizer asks for.
    pub(super) target: Vec<f64>,
    /// Adverse selection of a fill, bps.
    pub(super) adverse_bps: Vec<f64>,
    pub(super) kelly_edge: Vec<f64>,
    pub(super) kelly_variance: Vec<f64>,
    pub(super) kelly_margin: Vec<f64>,
    pub(super) kelly_cap: Vec<f64>,
}

impl SideWork {
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.reasons.clear();
        self.asked.clear();
        self.price_ticks.clear();
        self.depth_bps.clear();
        self.fill_probability.clear();
        self.edge_bps.clear();
        self.adverse_bps.clear();
        self.utility.clear();
        self.lot_utility.clear();
        self.charge.clear();
        self.buffered.clear();
        self.lots_min.clear();
        self.lots_cap.clear();
    }

    /// Depths of the levels asked for.
    pub(super) fn ask_for(
        &mut self,
        config: &LadderConfig,
        source: Source<'_>,
        side: Side,
        market: &Market,
        account: &Account,
    ) {
        match source {
            Source::Shape(shape) => {
                let instrument = &market.instrument;
                let mid = contract_worth(instrument, mid_ticks(market) * instrument.tick.to_f64());
                let inner = config.inner_bps.unwrap_or_else(|| {
                    let position = instrument.size(account.position_lots);
                    let q = shape.inventory_q(position, instrument.size(account.position_max_lots));
                    shape.side_depth_bps(side, q, mid)
                });
                self.wanted.resize(config.levels, 0.0);
                let written = shape::ladder_depths(inner, &config.spacing, &mut self.wanted);
                self.wanted.truncate(written);
            }
            Source::Levels { bids, asks } => {
                self.wanted.extend_from_slice(if side == Side::Bid { bids.depth_bps() } else { asks.depth_bps() });
            }
        }
        self.reasons.resize(self.wanted.len(), Reason::Kept);
    }

    /// Rounds every depth to a passive price on the grid and merges equal prices. The deepest level asked for stands for a
    /// merged price: rounding is passive, so it is the nearest to the price that is quoted. `opposite_ticks` is the price
    /// that no order of this side may reach.
    pub(super) fn place(&mut self, market: &Market, side: Side, opposite_ticks: i64) {
        let mid_ticks = mid_ticks(market);
        for (level, &depth) in self.wanted.iter().enumerate() {
            let price = passive_price(market, side, mid_ticks, depth, opposite_ticks);
            if !(1..=AMOUNT_MAX).contains(&price) {
                self.reasons[level] = Reason::Price;
                continue;
            }
            match self.price_ticks.iter().position(|&ticks| ticks == price) {
                None => {
                    self.price_ticks.push(price);
                    self.asked.push(level);
                }
                Some(at) if depth > self.wanted[self.asked[at]] => {
                    self.reasons[self.asked[at]] = Reason::Merged;
                    self.asked[at] = level;
                }
                Some(_) => self.reasons[level] = Reason::Merged,
            }
        }
    }

    /// Values at the prices that will be quoted, not at those asked for.
    pub(super) fn value(&mut self, market: &Market, source: Source<'_>, side: Side) {
        let mid_ticks = mid_ticks(market);
        let sign = side.sign() as f64;
        let lot = market.instrument.lot.to_f64();
        self.fee_bps = match source {
            Source::Shape(shape) => shape.parameters().fee_bps,
            Source::Levels { .. } => 0.0,
        };
        for (&ticks, &asked) in self.price_ticks.iter().zip(&self.asked) {
            let depth = sign * (mid_ticks - ticks as f64) / mid_ticks * 1e4;
            let worth = contract_worth(&market.instrument, market.instrument.price(ticks));
            let value = match source {
                Source::Shape(shape) => shape.value_at(depth, worth),
                Source::Levels { bids, asks } => {
                    let levels = if side == Side::Bid { bids } else { asks };
                    levels.value_at(asked, depth, worth).unwrap_or_default()
                }
            };
            self.depth_bps.push(depth);
            self.fill_probability.push(value.fill_probability);
            // What the caller's edge is short of the depth is what a fill loses.
            self.adverse_bps.push(match source {
                Source::Shape(_) => value.adverse_bps,
                Source::Levels { .. } => depth - value.edge_bps,
            });
            self.edge_bps.push(value.edge_bps);
            self.utility.push(value.utility);
            self.lot_utility.push(value.utility * lot);
        }
    }

    /// Exact charges and smallest orders.
    pub(super) fn charge(&mut self, market: &Market, task: SideTask, pricers: &Pricers) -> Result<()> {
        self.charge.clear();
        self.buffered.clear();
        self.lots_min.clear();
        self.lots_cap.clear();
        for &ticks in &self.price_ticks {
            let (charge, buffered) = if task.free {
                (ChargeRate::ZERO, ChargeRate::ZERO)
            } else {
                let charge = pricers.bare.charge_rate(task.side, ticks)?;
                let buffered = match &pricers.buffered {
                    Some(pricer) => pricer.charge_rate(task.side, ticks)?,
                    None => charge,
                };
                (charge, buffered)
            };
            self.charge.push(charge);
            self.buffered.push(buffered);
            self.lots_min.push(market.instrument.lots_min(ticks).unwrap_or(i64::MAX));
            self.lots_cap.push(task.limit_lots);
        }
        Ok(())
    }

    /// What `lots` closing lots would be charged at the cheapest level: with this on top of its budget a side's charge
    /// beyond the closed lots stays within the budget, whichever orders close.
    pub(super) fn credit(&self, lots: i64) -> i64 {
        if lots == 0 {
            return 0;
        }
        self.buffered.iter().map(|rate| rate.charge(lots)).min().unwrap_or(0)
    }

    /// Fractional Kelly in lots: gains and variances per lot, equity as the account states it.
    pub(super) fn kelly_target(
        &mut self,
        kelly: KellyConfig,
        account: &Account,
        market: &Market,
        budget: i64,
    ) -> Result<Binding> {
        let lot = market.instrument.lot.to_f64();
        self.kelly_edge.clear();
        self.kelly_variance.clear();
        self.kelly_margin.clear();
        self.kelly_cap.clear();
        for level in 0..self.price_ticks.len() {
            let capture = self.edge_bps[level] + self.adverse_bps[level];
            let worth = contract_worth(&market.instrument, market.instrument.price(self.price_ticks[level]));
            let value = kelly.value(self.depth_bps[level], capture, self.adverse_bps[level], worth);
            self.kelly_edge.push(value.edge * lot);
            self.kelly_variance.push(value.variance * lot * lot);
            self.kelly_margin.push(self.buffered[level].per_lot() * 1e-6);
            self.kelly_cap.push(self.lots_cap[level] as f64);
        }
        let equity = account.equity.unwrap_or(account.margin_available).max(0) as f64 * 1e-6;
        if equity <= 0.0 || budget <= 0 {
            return Ok(Binding::Margin);
        }
        let problem = KellyProblem {
            edge: &self.kelly_edge,
            variance: &self.kelly_variance,
            weight: &self.fill_probability,
            margin_per_unit: &self.kelly_margin,
            size_cap: &self.kelly_cap,
            fraction_equity: kelly.fraction * equity,
            margin: budget as f64 * 1e-6,
        };
        let solution = older::kelly(&problem, &mut self.target)?;
        Ok(if solution.margin_price > 0.0 { Binding::Margin } else { Binding::None })
    }

    /// The orders of the last projection and the outcome of every level asked for. Writes over the quote of an earlier
    /// attempt, so that attempts allocate nothing.
    pub(super) fn write(&self, projector: &Projector, task: SideTask, quote: &mut SideQuote) {
        let projected = projector.projected();
        quote.reserve(self.price_ticks.len());
        quote.reasons.clone_from(&self.reasons);
        quote.empty = projected.empty;
        quote.reduce_only = task.free;
        quote.budget = task.budget;
        quote.certificate = projected.certificate;
        for (level, &lots) in projected.lots.iter().enumerate() {
            quote.reasons[self.asked[level]] = projected.reasons[level];
            if lots > 0 {
                quote.price_ticks.push(self.price_ticks[level]);
                quote.lots.push(lots);
                quote.hold.push(self.charge[level].charge(lots));
                quote.depth_bps.push(self.depth_bps[level]);
                quote.fill_probability.push(self.fill_probability[level]);
                quote.edge_bps.push(self.edge_bps[level]);
                quote.utility.push(self.utility[level]);
            }
        }
    }
}

/// Middle of the best prices, in ticks.
pub(super) fn mid_ticks(market: &Market) -> f64 {
    0.5 * (market.best_bid_ticks as f64 + market.best_ask_ticks as f64)
}

/// Value of one contract in account currency at `price`: linear contracts gain with the price, inverse ones with its
/// reciprocal.
pub(super) fn contract_worth(instrument: &Instrument, price: f64) -> f64 {
    let unit = instrument.contract_value.to_f64();
    if instrument.inverse { unit / price } else { unit * price }
}

/// The nearest valid price at least `depth_bps` away from the mid that stays short of `opposite_ticks`.
pub(super) fn passive_price(market: &Market, side: Side, mid_ticks: f64, depth_bps: f64, opposite_ticks: i64) -> i64 {
    // A price that floats put a millionth of a tick off the grid is on the grid.
    const ON_GRID: f64 = 1e-6;
    match side {
        Side::Bid => {
            let raw = (mid_ticks * (1.0 - depth_bps * 1e-4) + ON_GRID).floor() as i64;
            market.instrument.price_floor(raw.min(opposite_ticks - 1))
        }
        Side::Ask => {
            let raw = (mid_ticks * (1.0 + depth_bps * 1e-4) - ON_GRID).ceil() as i64;
            market.instrument.price_ceil(raw.max(opposite_ticks + 1))
        }
    }
}

/// Sizes in lots that an older optimizer asks for: they spend the side's budget up to its limit. Returns what bounds them.
pub(super) fn size_target(
    config: &LadderConfig,
    request: &Request<'_>,
    work: &mut SideWork,
    budget: i64,
    limit_lots: i64,
) -> Result<Binding> {
    work.target.clear();
    work.target.resize(work.price_ticks.len(), 0.0);
    let bound = match config.optimizer {
        Optimizer::Entropy => return Ok(Binding::None),
        Optimizer::Proportional => {
            if older::proportional(&work.lot_utility, &mut work.target) {
                let margin: f64 =
                    work.buffered.iter().zip(&work.target).map(|(rate, share)| rate.per_lot() * share).sum();
                let total = if margin > 0.0 { budget as f64 / margin } else { f64::INFINITY };
                let total = total.min(limit_lots as f64);
                work.target.iter_mut().for_each(|share| *share *= total);
            }
            Binding::Margin
        }
        Optimizer::Kelly(kelly) => work.kelly_target(kelly, request.account, request.market, budget)?,
    };
    let total: f64 = work.target.iter().sum();
    if total > limit_lots as f64 {
        let shrink = limit_lots as f64 / total;
        work.target.iter_mut().for_each(|lots| *lots *= shrink);
        return Ok(Binding::Position);
    }
    Ok(bound)
}

/// Randomised sizes in `work.target`, around the optimum or what an older optimizer asks for; false where the side stays as
/// it is: nothing to randomise, no optimum, or a draw without value.
pub(super) fn randomise(
    config: &LadderConfig,
    solver: &mut SideSolver,
    work: &mut SideWork,
    task: SideTask,
    budget: i64,
    entropy_min: f64,
) -> Result<bool> {
    let count = work.price_ticks.len();
    if config.jitter.strength <= 0.0 || count < 2 {
        return Ok(false);
    }
    let boxed = (config.share_floor.min(1.0 / count as f64), config.share_cap.max(1.0 / count as f64));
    let worth = |share: &[f64]| work.lot_utility.iter().zip(share).map(|(value, share)| value * share).sum::<f64>();
    let charge =
        |share: &[f64]| work.buffered.iter().zip(share).map(|(rate, share)| rate.per_lot() * share).sum::<f64>();
    let entropic = config.optimizer == Optimizer::Entropy;
    let mut share = if entropic {
        let problem = SideProblem {
            utility: &work.lot_utility,
            entropy_min,
            floor: Bound::Scalar(boxed.0),
            cap: Bound::Scalar(boxed.1),
        };
        let solution = solver.solve(&problem)?;
        if !matches!(solution.status, Status::Optimal | Status::Inaccurate) || solution.objective <= 0.0 {
            return Ok(false);
        }
        solver.share().to_vec()
    } else {
        work.target.clone()
    };
    let total: f64 = share.iter().sum();
    let spent = charge(&share);
    if total <= 0.0 {
        return Ok(false);
    }
    share.iter_mut().for_each(|share| *share /= total);
    if !jittered(config.jitter, task.side, &work.price_ticks, entropy_min, boxed, &mut share)
        || (entropic && worth(&share) <= 0.0)
    {
        return Ok(false);
    }
    let (per_lot, limit) = (charge(&share), task.limit_lots.max(0) as f64);
    let size = match (entropic, per_lot > 0.0) {
        (true, true) => limit.min(budget.max(0) as f64 / per_lot),
        (true, false) => limit,
        // The draw may lean to dearer levels: the margin stays what it was.
        (false, true) => total.min(spent / per_lot),
        (false, false) => total,
    };
    work.target.clear();
    work.target.extend(share.iter().map(|share| share * size));
    Ok(true)
}
