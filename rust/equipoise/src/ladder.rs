//! From a market, an account, a venue rule and a shape to a two-sided quote.
//!
//! The order of work is fixed, and nothing grows a size after the projection:
//!
//! 1. split the margin ([`crate::split`]);
//! 2. per side: depths → passive prices on the grid → merge equal prices → values and exact charges;
//! 3. per side: entropy-constrained optimum (or an older optimizer) → integer lots ([`crate::project`]);
//! 4. what one side could not use passes once to the other, where both draw on one pot;
//! 5. the venue's own rule on the final orders: the quote's certificate.

use crate::entropy::SideSolver;
use crate::error::{Error, Result};
use crate::margin::{
    AMOUNT_MAX, Acceptance, ChargeRate, Combine, MarginContext, Order, OrderMarginRule, Pricer, Tiers,
};
use crate::market::{Account, Market};
use crate::older::{self, KellyConfig, KellyProblem};
use crate::project::{Breadth, OnInfeasible, OnUnprofitable, ProjectInput, Projector, SideCertificate, Target};
use crate::shape::{self, DepthSpacing, Levels, Shape};
use crate::split::{self, FreeBy, Split, SplitConfig};
use crate::status::{Binding, Reason};
use crate::units::{Decimal, Instrument, Side};

/// Largest number of levels a side may ask for.
pub const LEVELS_MAX: usize = 1_000;

/// How sizes are chosen within a side's part of the margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Entropy-constrained optimum, problem P1.
    Entropy,
    /// Sizes in proportion to expected edge per unit of time.
    Proportional,
    /// Fractional Kelly under a margin constraint.
    Kelly(KellyConfig),
}

/// Everything a quoter is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct LadderConfig {
    /// Levels asked for on each side, 1…[`LEVELS_MAX`].
    pub levels: usize,
    /// How levels beyond the innermost are placed.
    pub spacing: DepthSpacing,
    /// Depth of the innermost level in bps; `None`: from the shape's half-spread and inventory skew.
    pub inner_bps: Option<f64>,
    /// Entropy floor h of each side, nats.
    pub entropy_min: f64,
    /// Regime factor f ≥ 1 on the temperature; 1 leaves the floor as it is.
    pub temperature_factor: f64,
    /// Sizing within a side.
    pub optimizer: Optimizer,
    /// The inventory rule and the buffers.
    pub split: SplitConfig,
    /// Smallest share of a side's size per level, 0…1/levels.
    pub share_floor: f64,
    /// Largest share of a side's size per level, 1/levels…1.
    pub share_cap: f64,
    /// Whether levels are dropped to gain value.
    pub breadth: Breadth,
    /// What to do where the entropy floor cannot be met.
    pub on_infeasible: OnInfeasible,
    /// What to do where no size has value.
    pub on_unprofitable: OnUnprofitable,
}

impl LadderConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// Names the first field out of range.
    pub fn checked(self) -> Result<Self> {
        let in_unit = |value: f64| (0.0..=1.0).contains(&value);
        if !(1..=LEVELS_MAX).contains(&self.levels) {
            return Err(Error::new("levels", "between 1 and 1000", self.levels));
        }
        if let Some(inner) = self.inner_bps
            && !(inner.is_finite() && (0.0..10_000.0).contains(&inner))
        {
            return Err(Error::new("inner_bps", "between 0 and 10000", inner));
        }
        if !(self.entropy_min.is_finite() && self.entropy_min >= 0.0) {
            return Err(Error::new("entropy_min", "finite and at least 0", self.entropy_min));
        }
        if !(self.temperature_factor.is_finite() && self.temperature_factor >= 1.0) {
            return Err(Error::new("temperature_factor", "finite and at least 1", self.temperature_factor));
        }
        if !in_unit(self.share_floor) || self.share_floor * self.levels as f64 > 1.0 {
            return Err(Error::new("share_floor", "between 0 and 1/levels", self.share_floor));
        }
        if !in_unit(self.share_cap) || self.share_cap * (self.levels as f64) < 1.0 {
            return Err(Error::new("share_cap", "between 1/levels and 1", self.share_cap));
        }
        if let Optimizer::Kelly(kelly) = self.optimizer {
            kelly_checked(kelly)?;
        }
        self.spacing.check()?;
        Ok(Self { split: self.split.checked()?, ..self })
    }
}

fn kelly_checked(kelly: KellyConfig) -> Result<()> {
    if !(kelly.fraction > 0.0 && kelly.fraction <= 1.0) {
        return Err(Error::new("fraction", "above 0 and at most 1", kelly.fraction));
    }
    if !(0.0..=1.0).contains(&kelly.toxicity) {
        return Err(Error::new("toxicity", "between 0 and 1", kelly.toxicity));
    }
    if !(kelly.toxicity_decay_bps > 0.0 && kelly.toxicity_decay_bps.is_finite()) {
        return Err(Error::new("toxicity_decay_bps", "positive and finite", kelly.toxicity_decay_bps));
    }
    Ok(())
}

/// Where depths, fill probabilities and edges come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// From a parametric shape.
    Shape(&'a Shape),
    /// From the caller, level by level.
    Levels {
        /// Levels below the mid.
        bids: &'a Levels,
        /// Levels above the mid.
        asks: &'a Levels,
    },
}

/// One side of a quote: the orders, and what became of every level asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideQuote {
    /// Limit prices of the orders in ticks, innermost first.
    pub price_ticks: Vec<i64>,
    /// Sizes in lots; positive.
    pub lots: Vec<i64>,
    /// Charge of each order under the venue's rule, micro-units.
    pub hold: Vec<i64>,
    /// Depth of each order below or above the mid, bps.
    pub depth_bps: Vec<f64>,
    /// Probability that a level is reached within the horizon.
    pub fill_probability: Vec<f64>,
    /// Edge per fill, bps.
    pub edge_bps: Vec<f64>,
    /// Expected value per contract quoted, account currency.
    pub utility: Vec<f64>,
    /// Outcome of every level asked for, in the order asked.
    pub reasons: Vec<Reason>,
    /// Why there is no order at all; `None` when there is one.
    pub empty: Option<Reason>,
    /// Whether the orders are reduce-only (a side that works off a position without margin of its own).
    pub reduce_only: bool,
    /// The side's part of the margin after passing, micro-units.
    pub budget: i64,
    /// What bound, entropy, dual bound, regret.
    pub certificate: SideCertificate,
}

impl SideQuote {
    /// Total size in lots.
    #[must_use]
    pub fn lots_total(&self) -> i64 {
        self.lots.iter().sum()
    }

    /// Sum of the orders' charges, micro-units.
    #[must_use]
    pub fn held(&self) -> i64 {
        self.hold.iter().sum()
    }

    /// Forgets the orders and makes room for `levels` of them.
    fn reserve(&mut self, levels: usize) {
        for column in [&mut self.price_ticks, &mut self.lots, &mut self.hold] {
            column.clear();
            column.reserve(levels);
        }
        for column in [&mut self.depth_bps, &mut self.fill_probability, &mut self.edge_bps, &mut self.utility] {
            column.clear();
            column.reserve(levels);
        }
    }
}

/// Proof on the final, rounded orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The venue's own rule on the final orders against the usable margin.
    pub acceptance: Acceptance,
    /// `required(position and orders) − required(position)`, micro-units.
    pub margin_held: i64,
    /// What the orders may hold: margin available after haircut and buffers, micro-units.
    pub margin_usable: i64,
    /// Accepted by the rule, within the usable margin, and each side within its budget with its entropy floor met or
    /// its relaxation named.
    pub ok: bool,
}

/// A two-sided quote.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    /// The market the quote was made for.
    pub market: Market,
    /// How the margin was shared.
    pub split: Split,
    /// Margin that one side could not use and the other was given, micro-units; positive: from bids to asks.
    pub margin_passed: i64,
    /// Buying side.
    pub bids: SideQuote,
    /// Selling side.
    pub asks: SideQuote,
    /// Proof on the final orders.
    pub certificate: Certificate,
}

/// Levels of one side on the way to orders: prices on the grid, values, charges. Buffers are reused from call to call.
#[derive(Debug, Default)]
struct SideWork {
    /// Depths asked for, bps.
    wanted: Vec<f64>,
    /// Outcome of every level asked for; `Kept` while it stands.
    reasons: Vec<Reason>,
    /// For every distinct price, the level asked for that it stands for.
    asked: Vec<usize>,
    price_ticks: Vec<i64>,
    depth_bps: Vec<f64>,
    fill_probability: Vec<f64>,
    edge_bps: Vec<f64>,
    /// Expected value per contract.
    utility: Vec<f64>,
    /// Expected value per lot: what the projection maximises.
    lot_utility: Vec<f64>,
    /// Charge under the rule, per lot.
    charge: Vec<ChargeRate>,
    /// The same with the mark buffer: what the budget is spent against.
    buffered: Vec<ChargeRate>,
    lots_min: Vec<i64>,
    lots_cap: Vec<i64>,
    /// Fee that edges are net of, bps; edges given by the caller are taken as they are.
    fee_bps: f64,
    /// Sizes in lots that an older optimizer asks for.
    target: Vec<f64>,
    /// Adverse selection of a fill, bps.
    adverse_bps: Vec<f64>,
    kelly_edge: Vec<f64>,
    kelly_variance: Vec<f64>,
    kelly_margin: Vec<f64>,
    kelly_cap: Vec<f64>,
}

impl SideWork {
    fn clear(&mut self) {
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
    fn ask_for(&mut self, config: &LadderConfig, source: Source<'_>, side: Side, market: &Market, account: &Account) {
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
    fn place(&mut self, market: &Market, side: Side, opposite_ticks: i64) {
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
    fn value(&mut self, market: &Market, source: Source<'_>, side: Side) {
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
    fn charge(&mut self, market: &Market, task: SideTask, pricers: &Pricers) -> Result<()> {
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
    fn credit(&self, lots: i64) -> i64 {
        if lots == 0 {
            return 0;
        }
        self.buffered.iter().map(|rate| rate.charge(lots)).min().unwrap_or(0)
    }

    /// Fractional Kelly in lots: gains and variances per lot, equity as the account states it.
    fn kelly_target(&mut self, kelly: KellyConfig, account: &Account, market: &Market, budget: i64) -> Result<Binding> {
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
    fn write(&self, projector: &Projector, task: SideTask, quote: &mut SideQuote) {
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
fn mid_ticks(market: &Market) -> f64 {
    0.5 * (market.best_bid_ticks as f64 + market.best_ask_ticks as f64)
}

/// Value of one contract in account currency at `price`: linear contracts gain with the price, inverse ones with its
/// reciprocal.
fn contract_worth(instrument: &Instrument, price: f64) -> f64 {
    let unit = instrument.contract_value.to_f64();
    if instrument.inverse { unit / price } else { unit * price }
}

/// The nearest valid price at least `depth_bps` away from the mid that stays short of `opposite_ticks`.
fn passive_price(market: &Market, side: Side, mid_ticks: f64, depth_bps: f64, opposite_ticks: i64) -> i64 {
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

/// Charges as the venue makes them, and with the mark buffer where there is one.
#[derive(Debug)]
struct Pricers {
    bare: Pricer,
    buffered: Option<Pricer>,
}

/// What one quote is made from.
struct Request<'a> {
    market: &'a Market,
    account: &'a Account,
    rule: &'a OrderMarginRule,
    context: MarginContext<'a>,
    pricers: Pricers,
    margin_usable: i64,
}

/// What a side is solved with.
#[derive(Clone, Copy, Debug)]
struct SideTask {
    side: Side,
    /// Micro-units the buffered charges may sum to, closing credit not included.
    budget: i64,
    /// Most lots of the side.
    limit_lots: i64,
    /// Lots whose charge the rule credits because they close.
    credit_lots: i64,
    /// Orders hold nothing: reduce-only, or closing a leg.
    free: bool,
}

/// The quoting pipeline with its buffers. One per strategy; a result does not depend on what came before it.
#[derive(Debug)]
pub struct LadderEngine {
    config: LadderConfig,
    bids: SideWork,
    asks: SideWork,
    solver: SideSolver,
    projector: Projector,
    orders: Vec<Order>,
}

impl LadderEngine {
    /// An engine for one configuration.
    ///
    /// # Errors
    /// Names the first field out of range.
    pub fn new(config: LadderConfig) -> Result<Self> {
        Ok(Self {
            config: config.checked()?,
            bids: SideWork::default(),
            asks: SideWork::default(),
            solver: SideSolver::new(),
            projector: Projector::new(),
            orders: Vec::new(),
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LadderConfig {
        &self.config
    }

    /// Quotes both sides from the margin of `account` under `rule`.
    ///
    /// # Errors
    /// An argument is malformed, or an amount leaves the range of exact arithmetic.
    pub fn quote(
        &mut self,
        market: &Market,
        account: &Account,
        rule: &OrderMarginRule,
        source: Source<'_>,
    ) -> Result<Quote> {
        let split = split::split(&self.config.split, rule, market, account)?;
        let context = MarginContext::new(market, account.leverage);
        self.prepare(market, account, source);
        let mut tasks = tasks(&split, account, market);
        let worst = self.exposure(rule, &context, account, &split, &mut tasks)?;
        let pricers = self.pricers(rule, &context, worst)?;
        let request = Request { market, account, rule, context, pricers, margin_usable: split.usable };
        let mut sides = [SideQuote::default(), SideQuote::default()];
        for (task, side) in tasks.iter().zip(&mut sides) {
            self.solve(&request, *task, side)?;
        }
        let credit = [self.bids.credit(tasks[0].credit_lots), self.asks.credit(tasks[1].credit_lots)];
        let margin_passed = if split.pooled { passed(&sides, &tasks, credit, account.position_lots) } else { 0 };
        if margin_passed != 0 {
            tasks[0].budget -= margin_passed;
            tasks[1].budget += margin_passed;
            let taker = usize::from(margin_passed > 0);
            sides[1 - taker].budget = tasks[1 - taker].budget;
            self.solve(&request, tasks[taker], &mut sides[taker])?;
        }
        self.offer_reduction(&request, &split, &mut tasks, &mut sides)?;
        let acceptance = self.fit(&request, &tasks, &mut sides)?;
        let [bids, asks] = sides;
        let margin_held = acceptance.required_after - acceptance.position_only;
        let certificate = Certificate {
            ok: acceptance.accepted && margin_held <= split.usable && bids.certificate.ok && asks.certificate.ok,
            acceptance,
            margin_held,
            margin_usable: split.usable,
        };
        Ok(Quote { market: *market, split, margin_passed, bids, asks, certificate })
    }

    /// Exposure in lots that the charges assume. Only leverage tiers look at it: the smallest exposure that no ladder within
    /// the budgets can exceed, so that the rate is never too low and hardly too high. What the position itself costs more at
    /// that rate comes off the budgets.
    fn exposure(
        &self,
        rule: &OrderMarginRule,
        context: &MarginContext<'_>,
        account: &Account,
        split: &Split,
        tasks: &mut [SideTask; 2],
    ) -> Result<i64> {
        let position = account.position();
        let (mut low, mut high) = (rule.lots_worst(position, &[]), i64::MAX);
        if rule.tiers == Tiers::None || rule.combine == Combine::SingleOrder {
            return Ok(low.max(split.bid_limit_lots.max(split.ask_limit_lots).saturating_add(low)));
        }
        let held = |pricer: &Pricer| {
            let rate = pricer.position_rate();
            rate.charge(position.long_lots()).saturating_add(rate.charge(position.short_lots()))
        };
        let held_before = held(&rule.pricer(context, low)?);
        let budgets = |extra: i64| {
            tasks.map(|task| {
                let opposes = position.closable(task.side) > 0 && !split.pooled;
                let part = i128::from(task.budget) * i128::from(split.usable.saturating_sub(extra).max(0));
                let cut = i64::try_from(part / i128::from(split.usable.max(1))).unwrap_or(0);
                if opposes { task.budget } else { cut }
            })
        };
        // A larger exposure raises the rate and lowers what the budgets carry: one crossing.
        high = high.min(AMOUNT_MAX);
        while low < high {
            let middle = low + (high - low) / 2;
            let reached = match rule.pricer(context, middle) {
                Ok(pricer) => {
                    let extra = held(&pricer).saturating_sub(held_before);
                    self.reach(rule, account, tasks, &pricer, budgets(extra))?
                }
                // Beyond exact arithmetic: no ladder gets there.
                Err(_) => 0,
            };
            if reached > middle {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let extra = held(&rule.pricer(context, low)?).saturating_sub(held_before);
        let cut = budgets(extra);
        (tasks[0].budget, tasks[1].budget) = (cut[0], cut[1]);
        Ok(low)
    }

    /// Exposure in lots if every lot the budgets buy at the cheapest level were quoted and filled.
    fn reach(
        &self,
        rule: &OrderMarginRule,
        account: &Account,
        tasks: &[SideTask; 2],
        pricer: &Pricer,
        budgets: [i64; 2],
    ) -> Result<i64> {
        let summed = rule.combine == Combine::Sum;
        let (mut within, mut limit) = ([0_i64; 2], [0_i64; 2]);
        for (index, work) in [&self.bids, &self.asks].into_iter().enumerate() {
            let mut cheapest: Option<ChargeRate> = None;
            for &ticks in &work.price_ticks {
                let rate = pricer.charge_rate(tasks[index].side, ticks)?;
                if cheapest.is_none_or(|least| rate.per_lot() < least.per_lot()) {
                    cheapest = Some(rate);
                }
            }
            // One lot more: floats chose the cheapest.
            let budget = if summed { budgets[0].saturating_add(budgets[1]) } else { budgets[index] };
            let bought = cheapest.map_or(0, |rate| rate.lots_within(budget).saturating_add(1));
            within[index] = bought.saturating_add(tasks[index].credit_lots);
            limit[index] = if tasks[index].free { 0 } else { tasks[index].limit_lots };
        }
        let lots = if summed {
            // Both sides count, and one pot buys its lots once, on whichever side margin passes to.
            [within[0].max(within[1]).min(limit[0].saturating_add(limit[1])), 0]
        } else {
            [within[0].min(limit[0]), within[1].min(limit[1])]
        };
        let order = |side, lots| Order::limit(side, lots, 1);
        let orders = [order(Side::Bid, lots[0]), order(Side::Ask, lots[1])];
        Ok(rule.lots_worst(account.position(), &orders))
    }

    fn pricers(&self, rule: &OrderMarginRule, context: &MarginContext<'_>, worst: i64) -> Result<Pricers> {
        let buffer = self.config.split.mark_buffer_bps;
        let buffered =
            if buffer == Decimal::ZERO { None } else { Some(rule.pricer(&context.with_buffer(buffer), worst)?) };
        Ok(Pricers { bare: rule.pricer(context, worst)?, buffered })
    }

    fn prepare(&mut self, market: &Market, account: &Account, source: Source<'_>) {
        for (work, side) in [(&mut self.bids, Side::Bid), (&mut self.asks, Side::Ask)] {
            work.clear();
            work.ask_for(&self.config, source, side, market, account);
        }
        // Depths at or beyond the mid could make the two ladders trade with each other. The side that reduces the position
        // (flat: the bids) takes its prices first, the other stays clear of them.
        let (bids, asks) = (&mut self.bids, &mut self.asks);
        if account.position_lots > 0 {
            asks.place(market, Side::Ask, market.best_bid_ticks);
            let inner = asks.price_ticks.iter().copied().min().unwrap_or(i64::MAX);
            bids.place(market, Side::Bid, inner.min(market.best_ask_ticks));
        } else {
            bids.place(market, Side::Bid, market.best_ask_ticks);
            let inner = bids.price_ticks.iter().copied().max().unwrap_or(0);
            asks.place(market, Side::Ask, inner.max(market.best_bid_ticks));
        }
        bids.value(market, source, Side::Bid);
        asks.value(market, source, Side::Ask);
    }

    /// One side: charges, sizes, lots.
    fn solve(&mut self, request: &Request<'_>, task: SideTask, side: &mut SideQuote) -> Result<()> {
        let work = match task.side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        work.charge(request.market, task, &request.pricers)?;
        let budget = task.budget.saturating_add(work.credit(task.credit_lots));
        let entropy_min = tempered_floor(&self.config, &mut self.solver, &work.lot_utility)?;
        let bound = size_target(&self.config, request, work, budget, task.limit_lots)?;
        let target = match self.config.optimizer {
            Optimizer::Entropy => Target::Entropy,
            Optimizer::Proportional | Optimizer::Kelly(_) => Target::Given(&work.target),
        };
        self.projector.project(&ProjectInput {
            price_ticks: &work.price_ticks,
            utility: &work.lot_utility,
            charge: &work.buffered,
            lots_min: &work.lots_min,
            lots_cap: &work.lots_cap,
            lots_total_max: task.limit_lots,
            budget,
            entropy_min,
            share_floor: self.config.share_floor,
            share_cap: self.config.share_cap,
            target,
            breadth: self.config.breadth,
            on_infeasible: self.config.on_infeasible,
            on_unprofitable: self.config.on_unprofitable,
        })?;
        work.write(&self.projector, task, side);
        // Sizes that were given in full ran into nothing in the projection.
        if side.certificate.binding == Binding::None {
            side.certificate.binding = bound;
        }
        Ok(())
    }

    /// A position must always be workable-off: where the side that reduces it has no margin for an order of its own, its
    /// orders are reduce-only and hold nothing.
    fn offer_reduction(
        &mut self,
        request: &Request<'_>,
        split: &Split,
        tasks: &mut [SideTask; 2],
        sides: &mut [SideQuote; 2],
    ) -> Result<()> {
        if split.free_by != FreeBy::ReduceOnly {
            return Ok(());
        }
        for (index, (side, free_lots)) in
            [(Side::Bid, split.bid_free_lots), (Side::Ask, split.ask_free_lots)].into_iter().enumerate()
        {
            let starved = matches!(sides[index].empty, Some(Reason::NoMargin | Reason::Notional | Reason::Margin));
            if starved && free_lots > 0 {
                let budget = sides[index].budget;
                tasks[index] = SideTask { side, budget, limit_lots: free_lots, credit_lots: 0, free: true };
                self.solve(request, tasks[index], &mut sides[index])?;
            }
        }
        Ok(())
    }

    /// The venue's rule on the final orders. Budgets are exact for the rules with a linear charge; for the others they are
    /// sized by the worst side, and here the largest share of both is sought that the rule itself accepts.
    fn fit(&mut self, request: &Request<'_>, tasks: &[SideTask; 2], sides: &mut [SideQuote; 2]) -> Result<Acceptance> {
        /// Solves at most; a quote that is accepted as it stands needs none.
        const ATTEMPTS: usize = 16;
        /// Stop where the margin left idle is below this share of the usable.
        const IDLE: f64 = 1e-3;
        let mut acceptance = self.accepts(request, sides)?;
        if acceptance.accepted {
            return Ok(acceptance);
        }
        let refused = acceptance;
        let mut accepted = None;
        let mut best = [SideQuote::default(), SideQuote::default()];
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        let usable = request.margin_usable as f64;
        for _ in 0..ATTEMPTS {
            // What is raised is nearly linear in the share: the first guess is in proportion, the rest halve the bracket.
            let raised = (refused.required_after - refused.position_only) as f64;
            let share = if low == 0.0 && high == 1.0 && raised > usable { usable / raised } else { 0.5 * (low + high) };
            self.at_share(request, tasks, share, sides)?;
            acceptance = self.accepts(request, sides)?;
            if acceptance.accepted {
                low = share;
                let idle = usable - (acceptance.required_after - acceptance.position_only) as f64;
                accepted = Some(acceptance);
                std::mem::swap(&mut best, sides);
                if idle <= IDLE * usable {
                    break;
                }
            } else {
                high = share;
            }
            if high - low <= 0.1 * IDLE * high {
                break;
            }
        }
        if let Some(acceptance) = accepted {
            *sides = best;
            return Ok(acceptance);
        }
        // Nothing was accepted: quote nothing rather than something that the venue refuses.
        let none = tasks.map(|task| SideTask { budget: 0, limit_lots: 0, credit_lots: 0, ..task });
        self.at_share(request, &none, 0.0, sides)?;
        self.accepts(request, sides)
    }

    /// Both sides at a share of their budgets.
    fn at_share(
        &mut self,
        request: &Request<'_>,
        tasks: &[SideTask; 2],
        share: f64,
        sides: &mut [SideQuote; 2],
    ) -> Result<()> {
        for (task, side) in tasks.iter().zip(sides) {
            let task = SideTask { budget: (task.budget as f64 * share) as i64, ..*task };
            self.solve(request, task, side)?;
        }
        Ok(())
    }

    /// The rule's answer to the orders of both sides, against the margin that may be used.
    fn accepts(&mut self, request: &Request<'_>, sides: &[SideQuote; 2]) -> Result<Acceptance> {
        self.orders.clear();
        for (name, side) in [Side::Bid, Side::Ask].into_iter().zip(sides) {
            for (&price_ticks, &lots) in side.price_ticks.iter().zip(&side.lots) {
                let order = Order::limit(name, lots, price_ticks);
                self.orders.push(if side.reduce_only { order.reducing() } else { order });
            }
        }
        request.accepts(&self.orders)
    }
}

impl Request<'_> {
    /// The rule against the usable margin: stricter than the venue by haircut and buffer.
    fn accepts(&self, orders: &[Order]) -> Result<Acceptance> {
        self.rule.accepts(&self.context, self.account.position(), &[], orders, self.margin_usable)
    }
}

/// Budgets and limits of both sides, bids first.
fn tasks(split: &Split, account: &Account, market: &Market) -> [SideTask; 2] {
    let over_limit = account.position_lots.saturating_abs() > account.position_max_lots;
    let task = |side: Side, budget: i64, limit_lots: i64, free_lots: i64| {
        // In hedge mode a side closes the opposite leg before it opens its own, unless what is left of that leg is worth
        // less than the smallest order; over the limit it may only reduce.
        let least = market.instrument.lots_min(market.best_bid_ticks).unwrap_or(i64::MAX);
        let closes =
            (split.free_by == FreeBy::Leg && free_lots >= least) || (over_limit && split.free_by == FreeBy::ReduceOnly);
        let free = closes && free_lots > 0;
        let credit_lots = if split.free_by == FreeBy::Closing { free_lots } else { 0 };
        SideTask { side, budget, limit_lots: if free { free_lots } else { limit_lots }, credit_lots, free }
    };
    [
        task(Side::Bid, split.bid_part, split.bid_limit_lots, split.bid_free_lots),
        task(Side::Ask, split.ask_part, split.ask_limit_lots, split.ask_free_lots),
    ]
}

/// Margin that passes from bids to asks (negative: from asks to bids): what a side that is stopped by something other than
/// margin has left, if the other side is stopped by margin.
fn passed(sides: &[SideQuote; 2], tasks: &[SideTask; 2], credit: [i64; 2], position_lots: i64) -> i64 {
    let spare = |index: usize| {
        let task = &tasks[index];
        // What is held for closing lots is credited on top of the budget and cannot be passed on.
        let held = if task.free { 0 } else { sides[index].certificate.held.saturating_sub(credit[index]) };
        task.budget.saturating_sub(held.max(0)).max(0)
    };
    // A side whose last lots the entropy floor keeps back would be larger with more margin, as one stopped by margin itself.
    let spends = |side: &SideQuote| {
        side.empty.is_none() && matches!(side.certificate.binding, Binding::Margin | Binding::Entropy)
    };
    let takes = |side: &SideQuote| spends(side) || matches!(side.empty, Some(Reason::Notional | Reason::Margin));
    let gives = |side: &SideQuote| !spends(side);
    let (to_asks, to_bids) = (gives(&sides[0]) && takes(&sides[1]), gives(&sides[1]) && takes(&sides[0]));
    match (to_asks, to_bids) {
        (true, false) => spare(0),
        (false, true) => -spare(1),
        // Neither can afford an order by itself: the side that reduces the position gets both parts; flat: the bids.
        (true, true) if position_lots > 0 => spare(0),
        (true, true) => -spare(1),
        (false, false) => 0,
    }
}

/// The entropy floor after the regime factor: the entropy of the same side at f times its temperature.
fn tempered_floor(config: &LadderConfig, solver: &mut SideSolver, utility: &[f64]) -> Result<f64> {
    if config.temperature_factor <= 1.0 || utility.is_empty() {
        return Ok(config.entropy_min);
    }
    older::tempered(
        solver,
        utility,
        config.entropy_min,
        config.share_floor,
        config.share_cap,
        config.temperature_factor,
    )
}

/// Sizes in lots that an older optimizer asks for: they spend the side's budget up to its limit. Returns what bounds them.
fn size_target(
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
