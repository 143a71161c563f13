//! From a market, an account, a venue rule and a shape to a two-sided quote.
//!
//! The order of work is fixed, and nothing grows a size after the projection:
//!
//! 1. split the margin ([`crate::split`]);
//! 2. per side: depths → passive prices on the grid → merge equal prices → values and exact charges;
//! 3. per side: entropy-constrained optimum (or an older optimizer) → integer lots ([`crate::project`]);
//! 4. what one side could not use passes once to the other, where both draw on one pot;
//! 5. the venue's own rule on the final orders: the quote's certificate.
//!
//! Under policy `joint` the steps 1, 3 and 4 are one problem ([`crate::sides`]), and the ladder of the steps above is the
//! one to beat.

mod config;
mod jitter;
mod joint;
mod side;

use crate::entropy::SideSolver;
use crate::error::Result;
use crate::margin::{
    AMOUNT_MAX, Acceptance, ChargeRate, Combine, MarginContext, Order, OrderMarginRule, Pricer, Tiers,
};
use crate::market::{Account, Market};
use crate::older;
use crate::project::{ProjectInput, Projector, SideCertificate, Target};
use crate::shape::{Levels, Shape};
use crate::split::{self, FreeBy, Split};
use crate::status::{Binding, Reason};
use crate::units::{Decimal, Side};
use joint::JointWork;
use side::{Pricers, SideTask, SideWork, randomise, size_target};

pub use config::{Jitter, JointConfig, LEVELS_MAX, LadderConfig, Optimizer, Policy};
pub use joint::{Because, JointReport, Returned, ShareDropped};

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
    /// How the two sides shared the margin.
    pub policy: Policy,
    /// What the joint problem says; `None` under policy `inventory`.
    pub joint: Option<JointReport>,
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

/// What one quote is made from.
struct Request<'a> {
    market: &'a Market,
    account: &'a Account,
    rule: &'a OrderMarginRule,
    context: MarginContext<'a>,
    pricers: Pricers,
    margin_usable: i64,
}

/// Makes both sides again at a share of what they may hold.
type AtShare = fn(&mut LadderEngine, &Request<'_>, &[SideTask; 2], f64, &mut [SideQuote; 2]) -> Result<()>;

/// The quoting pipeline with its buffers. One per strategy; a result does not depend on what came before it.
#[derive(Debug)]
pub struct LadderEngine {
    config: LadderConfig,
    bids: SideWork,
    asks: SideWork,
    solver: SideSolver,
    projector: Projector,
    orders: Vec<Order>,
    joint: JointWork,
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
            joint: JointWork::default(),
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
        match self.config.policy {
            Policy::Inventory => self.quote_inventory(market, account, rule, source),
            Policy::Joint => self.quote_joint(market, account, rule, source),
        }
    }

    fn quote_inventory(
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
        let acceptance = self.fit(&request, &tasks, &mut sides, Self::at_share)?;
        Ok(self.certified(market, split, margin_passed, sides, acceptance))
    }

    /// The orders with their proof.
    fn certified(
        &self,
        market: &Market,
        split: Split,
        margin_passed: i64,
        sides: [SideQuote; 2],
        acceptance: Acceptance,
    ) -> Quote {
        let [bids, asks] = sides;
        let margin_held = acceptance.required_after - acceptance.position_only;
        let certificate = Certificate {
            ok: acceptance.accepted && margin_held <= split.usable && bids.certificate.ok && asks.certificate.ok,
            acceptance,
            margin_held,
            margin_usable: split.usable,
        };
        let policy = self.config.policy;
        Quote { market: *market, policy, joint: None, split, margin_passed, bids, asks, certificate }
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
        let drawn = randomise(&self.config, &mut self.solver, work, task, budget, entropy_min)?;
        let target = match self.config.optimizer {
            Optimizer::Entropy if !drawn => Target::Entropy,
            _ => Target::Given(&work.target),
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
    fn fit(
        &mut self,
        request: &Request<'_>,
        tasks: &[SideTask; 2],
        sides: &mut [SideQuote; 2],
        at_share: AtShare,
    ) -> Result<Acceptance> {
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
            at_share(self, request, tasks, share, sides)?;
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
