//! Policy `joint`: both sides' sizes from one problem under the venue's rule (P2), then lots.
//!
//! ```text
//! maximise    Σ_bids u_i s_i + Σ_asks u_i s_i − ½ η (q + Σ_bids λ_i s_i − Σ_asks λ_i s_i)²  [− ½ η Σ λ_i (1 − λ_i) s_i²]
//! subject to  what the inventory policy keeps side by side, with one budget where the rule has one
//! ```
//!
//! Sizes are contracts, money is account currency, `η = γ_c (σ·price)² τ`. The inventory policy's ladder is always made too:
//! whichever is worth more under this objective, on its final lots, is the quote. The bound on the regret of either comes
//! from the multipliers of the continuous problem ([`crate::sides::certify`]); nothing grows a size after the projection.

mod judge;
mod solve;

use judge::known;

use super::jitter::jittered;
use super::side::{SideTask, SideWork, contract_worth, mid_ticks};
use super::{LadderEngine, Quote, Request, SideQuote, Source, tasks, tempered_floor};
use crate::entropy::{Bound, SideProblem, SideSolver};
use crate::error::{Error, Result};
use crate::margin::{MarginContext, OrderMarginRule};
use crate::market::{Account, Market};
use crate::project::{OnInfeasible, OnUnprofitable, ProjectInput, Target};
use crate::sides::{Budget, Inventory, Multipliers, Saturation, Side as Stated, Sides, SidesSolution, SidesSolver};
use crate::split::Split;
use crate::status::{Binding, Reason, SideStatus, SidesStatus, Status};
use crate::units::Side;

/// Which of the two ladders a joint quote carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Returned {
    /// The joint answer.
    Joint,
    /// The inventory policy's ladder.
    Inventory,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    /// It is worth more on final lots.
    WorthMore,
    /// Both are worth the same.
    WorthTheSame,
    /// The solver could not certify its answer.
    Inaccurate,
    /// The inventory policy's ladder does not keep the share bound.
    ShareBound,
}

/// Why a share bound was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShareDropped {
    /// A side has no room below its position limit, or no level.
    Blocked,
    /// A side's budget is below its smallest order.
    Minimum,
    /// A side cannot meet its entropy floor.
    Entropy,
}

/// What the joint problem says of a quote. Account currency and contracts; bids first in pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JointReport {
    /// Outcome of the continuous problem.
    pub status: SidesStatus,
    /// Which ladder the quote carries.
    pub returned: Returned,
    /// Why.
    pub because: Because,
    /// Joint objective of the final orders.
    pub objective: f64,
    /// No ladders within the same constraints, whole lots or not, are worth more.
    pub dual_bound: f64,
    /// `dual_bound − objective`.
    pub regret: f64,
    /// Joint objective of the continuous answer, before a side whose part bought no order was left out.
    pub objective_continuous: f64,
    /// Joint objective of the joint answer after lots; `None` where it was not certified.
    pub objective_joint: Option<f64>,
    /// Joint objective of the inventory policy's ladder.
    pub objective_inventory: f64,
    /// Value of one more unit of margin on bids and on asks.
    pub margin_price: [f64; 2],
    /// `η`.
    pub price_of_risk: f64,
    /// `ν`: price of one more contract of position at the continuous answer.
    pub inventory_price: f64,
    /// Position expected after the horizon: `q + Σ_bids λ s − Σ_asks λ s` of the final orders.
    pub position_expected: f64,
    /// Share bound in force.
    pub bid_share: Option<[f64; 2]>,
    /// Why the share bound asked for was dropped.
    pub share_dropped: Option<ShareDropped>,
    /// Steps of the solver.
    pub iterations: u32,
}

/// What may be held, micro-units: each side alone, and both together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pot {
    side: [i64; 2],
    total: Option<i64>,
}

/// What the joint problem of one quote is stated with.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Terms {
    pot: Pot,
    /// Sides that the problem decides; the others are empty, or least-bad ladders made already.
    present: [bool; 2],
    /// Sides that could carry an order if the other had none.
    able: [bool; 2],
    /// Sides quoted at a loss, as configured, and what they hold of one pot.
    least_bad: [bool; 2],
    least_bad_held: i64,
    entropy_min: [f64; 2],
    share_floor: [f64; 2],
    share_cap: [f64; 2],
    /// Contracts.
    size_max: [f64; 2],
    bid_share: Option<[f64; 2]>,
    /// Contracts, orders at a loss counted as filled at their probabilities.
    position: f64,
    price_of_risk: f64,
    fill_variance: bool,
    lot: f64,
}

/// Buffers of the joint policy.
#[derive(Debug, Default)]
pub(super) struct JointWork {
    solver: SidesSolver,
    spare: SidesSolver,
    /// Of the last answer.
    multipliers: Multipliers,
    /// Margin of a contract at every level, account currency.
    margin: [Vec<f64>; 2],
    /// Whether that margin is none because the orders are free.
    free: [bool; 2],
    terms: Option<Terms>,
    solution: Option<SidesSolution>,
    /// Objective of the problem as it was stated first, before a side was left out.
    objective_continuous: f64,
    /// What was solved last, while the charges are those it was solved with.
    last: Option<(Terms, SidesSolution)>,
}

impl JointWork {
    fn stated<'a>(&'a self, works: [&'a SideWork; 2], terms: &Terms) -> Sides<'a> {
        let side = |x: usize| Stated {
            utility: &works[x].utility,
            margin: &self.margin[x],
            fill_probability: Bound::Each(&works[x].fill_probability),
            entropy_min: terms.entropy_min[x],
            share_floor: Bound::Scalar(terms.share_floor[x]),
            share_cap: Bound::Scalar(terms.share_cap[x]),
            size_cap: Bound::Scalar(f64::INFINITY),
            size_max: if terms.present[x] { terms.size_max[x] } else { 0.0 },
            saturation: Saturation::None,
        };
        let money = |micros: i64| micros.max(0) as f64 * 1e-6;
        Sides {
            side: [side(0), side(1)],
            budget: Budget {
                // A limit of a side that the common one implies would share its price with it.
                side: terms.pot.side.map(|side| match terms.pot.total {
                    Some(total) if side >= total => f64::INFINITY,
                    _ => money(side),
                }),
                total: terms.pot.total.map_or(f64::INFINITY, money),
            },
            bid_share: terms.bid_share,
            inventory: Some(Inventory {
                position: terms.position,
                price_of_risk: terms.price_of_risk,
                fill_variance: terms.fill_variance,
            }),
        }
    }
}

impl LadderEngine {
    /// Quotes under policy `joint`.
    pub(super) fn quote_joint(
        &mut self,
        market: &Market,
        account: &Account,
        rule: &OrderMarginRule,
        source: Source<'_>,
    ) -> Result<Quote> {
        let price_of_risk = self.price_of_risk(market, source)?;
        // A solver that has seen other problems starts elsewhere and may end a digit off: a quote depends on its input alone.
        (self.joint.solver, self.joint.spare) = (SidesSolver::new(), SidesSolver::new());
        let inventory = self.quote_inventory(market, account, rule, source)?;
        let split = inventory.split;
        let context = MarginContext::new(market, account.leverage);
        let mut tasks = tasks(&split, account, market);
        if !split.pooled {
            // Budgets that are separate are not tilted: the price of inventory does that.
            (tasks[0].budget, tasks[1].budget) = (split.bid_budget, split.ask_budget);
        }
        let worst = self.exposure(rule, &context, account, &split, &mut tasks)?;
        let pricers = self.pricers(rule, &context, worst)?;
        let request = Request { market, account, rule, context, pricers, margin_usable: split.usable };
        for task in &tasks {
            self.charge(&request, *task)?;
        }
        self.joint.last = None;
        let mut sides = [SideQuote::default(), SideQuote::default()];
        let (mut terms, share_dropped) =
            self.terms(&request, &split, &mut tasks, price_of_risk, inventory.split, &mut sides)?;
        self.joint.terms = Some(terms);
        self.decide(&request, &tasks, &mut sides)?;
        let mut share_dropped = share_dropped;
        let usable_answer = self.joint.solution.is_some_and(|solution| solution.status != SidesStatus::Inaccurate);
        self.joint.objective_continuous = self.joint.solution.map_or(0.0, |solution| known(solution.objective));
        let joint = if usable_answer {
            self.spend_on_the_other(&request, &tasks, &mut sides, &mut share_dropped)?;
            self.keep_share_bound(&request, &tasks, &mut sides)?;
            self.offer_reduction(&request, &split, &mut tasks, &mut sides)?;
            let acceptance = self.fit(&request, &tasks, &mut sides, Self::joint_at_share)?;
            self.drop_share_bound(&sides, &mut share_dropped);
            Some(self.certified(market, split, 0, sides, acceptance))
        } else {
            None
        };
        terms = self.joint.terms.unwrap_or(terms);
        self.better(&request, tasks, &terms, share_dropped, joint, inventory)
    }

    /// `η`: the caller's, or the shape's.
    fn price_of_risk(&self, market: &Market, source: Source<'_>) -> Result<f64> {
        match (self.config.joint.price_of_risk, source) {
            (Some(price), _) => Ok(price),
            (None, Source::Shape(shape)) => {
                let mid = mid_ticks(market) * market.instrument.tick.to_f64();
                Ok(shape.price_of_risk(contract_worth(&market.instrument, mid)))
            }
            (None, Source::Levels { .. }) => {
                Err(Error::new("price_of_risk", "given where levels come without a shape", "None"))
            }
        }
    }

    fn charge(&mut self, request: &Request<'_>, task: SideTask) -> Result<()> {
        let x = index(task.side);
        let work = if x == 0 { &mut self.bids } else { &mut self.asks };
        work.charge(request.market, task, &request.pricers)?;
        let per_contract = 1e-6 / request.market.instrument.lot.to_f64();
        let margin = &mut self.joint.margin[x];
        self.joint.free[x] = task.free;
        margin.clear();
        margin.extend(work.buffered.iter().map(|rate| rate.per_lot() * per_contract));
        Ok(())
    }

    /// States the problem. Sides that are quoted at a loss are made here, and their orders counted as given.
    fn terms(
        &mut self,
        request: &Request<'_>,
        split: &Split,
        tasks: &mut [SideTask; 2],
        price_of_risk: f64,
        inventory: Split,
        sides: &mut [SideQuote; 2],
    ) -> Result<(Terms, Option<ShareDropped>)> {
        let lot = request.market.instrument.lot.to_f64();
        let credit = [self.bids.credit(tasks[0].credit_lots), self.asks.credit(tasks[1].credit_lots)];
        let mut pot = Pot { side: [tasks[0].budget, tasks[1].budget], total: None };
        if split.pooled {
            let whole = tasks[0].budget.saturating_add(tasks[1].budget);
            pot.side = credit.map(|credit| whole.saturating_add(credit));
            pot.total = Some(whole.saturating_add(credit[0]).saturating_add(credit[1]));
        }
        let mut position = request.market.instrument.size(request.account.position_lots);
        let mut terms = Terms {
            pot,
            present: [true; 2],
            able: [true; 2],
            least_bad: [false; 2],
            least_bad_held: 0,
            entropy_min: [0.0; 2],
            share_floor: [0.0; 2],
            share_cap: [1.0; 2],
            size_max: tasks.map(|task| request.market.instrument.size(task.limit_lots.max(0))),
            bid_share: self.config.joint.bid_share,
            position,
            price_of_risk,
            fill_variance: self.config.joint.fill_variance,
            lot,
        };
        let mut dropped = None;
        for x in 0..2 {
            let work = if x == 0 { &self.bids } else { &self.asks };
            let count = work.utility.len() as f64;
            terms.share_floor[x] = self.config.share_floor.min(1.0 / count.max(1.0));
            terms.share_cap[x] = self.config.share_cap.max(1.0 / count.max(1.0));
            let asked = tempered_floor(&self.config, &mut self.solver, &work.lot_utility)?;
            terms.entropy_min[x] = match self.config.on_infeasible {
                OnInfeasible::Relax => asked.min(count.max(1.0).ln()),
                OnInfeasible::Refuse => asked,
            };
            let loses = loses(&mut self.solver, work, &terms, x)?;
            let stopped = cannot_quote(work, tasks[x], terms.pot.side[x])
                .or((terms.entropy_min[x] > count.ln() + 1e-12).then_some(ShareDropped::Entropy));
            (terms.present[x], terms.able[x]) = (stopped.is_none(), stopped.is_none());
            if terms.bid_share.is_some() {
                dropped = dropped.or(stopped);
            }
            if stopped.is_none() && loses && self.config.on_unprofitable == OnUnprofitable::LeastBad {
                let part = if x == 0 { inventory.bid_part } else { inventory.ask_part };
                let task = SideTask { budget: part.min(tasks[x].budget), ..tasks[x] };
                self.solve(request, task, &mut sides[x])?;
                let held = sides[x].certificate.held.saturating_sub(credit[x]).max(0);
                terms.pot.total = terms.pot.total.map(|total| total.saturating_sub(held));
                terms.least_bad_held += held;
                (terms.present[x], terms.least_bad[x]) = (false, true);
                position += fills(&sides[x], lot) * tasks[x].side.sign() as f64;
            }
        }
        terms.position = position;
        if dropped.is_some() || terms.least_bad != [false; 2] {
            terms.bid_share = None;
        }
        Ok((terms, dropped))
    }

    /// Solves the problem as it is stated and projects its answer.
    fn decide(&mut self, request: &Request<'_>, tasks: &[SideTask; 2], sides: &mut [SideQuote; 2]) -> Result<()> {
        let Some(terms) = self.joint.terms else { return Ok(()) };
        let solution = self.solve_sides(&terms)?;
        self.joint.solution = Some(solution);
        if solution.status == SidesStatus::Inaccurate {
            return Ok(());
        }
        let mut used = [0.0; 2];
        for (x, used) in used.iter_mut().enumerate() {
            let work = if x == 0 { &mut self.bids } else { &mut self.asks };
            work.target.clear();
            work.target.extend(self.joint.solver.size()[x].iter().map(|size| (size / terms.lot).max(0.0)));
            let margin = &self.joint.margin[x];
            let spent = |target: &[f64]| target.iter().zip(margin).map(|(lots, margin)| lots * margin).sum::<f64>();
            *used = spent(&work.target);
            let total: f64 = work.target.iter().sum();
            if total > 0.0 && self.config.jitter.strength > 0.0 {
                work.target.iter_mut().for_each(|lots| *lots /= total);
                let boxed = (terms.share_floor[x], terms.share_cap[x]);
                let (ticks, floor) = (&work.price_ticks, terms.entropy_min[x]);
                jittered(self.config.jitter, tasks[x].side, ticks, floor, boxed, &mut work.target);
                // The draw may lean to dearer levels: the margin stays what it was.
                let drawn = spent(&work.target) * total;
                let scale = if drawn > *used { total * (*used / drawn) } else { total };
                work.target.iter_mut().for_each(|share| *share *= scale);
            }
        }
        let parts = parts(&terms.pot, used);
        for x in 0..2 {
            if !terms.least_bad[x] {
                self.project(request, tasks[x], parts[x], &terms, solution.side[x], &mut sides[x])?;
            }
        }
        Ok(())
    }

    /// One side's answer as lots; a side that the problem leaves out says why.
    fn project(
        &mut self,
        request: &Request<'_>,
        task: SideTask,
        part: i64,
        terms: &Terms,
        status: SideStatus,
        side: &mut SideQuote,
    ) -> Result<()> {
        let x = index(task.side);
        if !terms.present[x] || !matches!(status, SideStatus::Quoted | SideStatus::NoValue) {
            self.solve(request, SideTask { budget: terms.pot.side[x], credit_lots: 0, ..task }, side)?;
            if side.empty.is_some() {
                return Ok(());
            }
        }
        let work = if x == 0 { &mut self.bids } else { &mut self.asks };
        if !terms.present[x] {
            work.target.fill(0.0);
        }
        let entropy_min = tempered_floor(&self.config, &mut self.solver, &work.lot_utility)?;
        self.projector.project(&ProjectInput {
            price_ticks: &work.price_ticks,
            utility: &work.lot_utility,
            charge: &work.buffered,
            lots_min: &work.lots_min,
            lots_cap: &work.lots_cap,
            lots_total_max: task.limit_lots,
            budget: part,
            entropy_min,
            share_floor: self.config.share_floor,
            share_cap: self.config.share_cap,
            target: Target::Given(&work.target),
            breadth: self.config.breadth,
            on_infeasible: self.config.on_infeasible,
            on_unprofitable: self.config.on_unprofitable,
        })?;
        work.write(&self.projector, SideTask { budget: part, ..task }, side);
        if !terms.present[x] && status == SideStatus::Blocked && side.empty == Some(Reason::NoValue) {
            // Left out because its part bought no order.
            side.empty = Some(Reason::Notional);
            side.reasons.iter_mut().filter(|reason| **reason == Reason::NoValue).for_each(|r| *r = Reason::Notional);
        }
        side.certificate.binding = self.joint_binding(terms, x, status, side);
        Ok(())
    }

    /// What stopped a side of the continuous answer.
    fn joint_binding(&self, terms: &Terms, x: usize, status: SideStatus, side: &SideQuote) -> Binding {
        let Some(solution) = self.joint.solution else { return Binding::None };
        let work = if x == 0 { &self.bids } else { &self.asks };
        let sign = if x == 0 { 1.0 } else { -1.0 };
        if status == SideStatus::NoValue {
            let worth = |price: f64| {
                work.utility
                    .iter()
                    .zip(&work.fill_probability)
                    .any(|(utility, fill)| utility - sign * price * fill > 0.0)
            };
            return match (worth(0.0), worth(solution.inventory_price)) {
                (false, _) => Binding::NoValue,
                (true, false) => Binding::Inventory,
                (true, true) => Binding::Margin,
            };
        }
        if side.empty.is_some() {
            return Binding::Notional;
        }
        let totals = self.joint.solver.size().map(|sizes| sizes.iter().sum::<f64>());
        if totals[x] >= (1.0 - 1e-6) * terms.size_max[x] {
            return Binding::Position;
        }
        if let Some([lo, hi]) = terms.bid_share {
            let share = totals[0] / (totals[0] + totals[1]);
            if (x == 1 && share <= lo + 1e-7) || (x == 0 && share >= hi - 1e-7) {
                return Binding::Share;
            }
        }
        let budget = terms.pot.total.unwrap_or(terms.pot.side[x]) as f64 * 1e-6;
        if solution.margin_price[x] * budget > 1e-7 * solution.scale {
            Binding::Margin
        } else if terms.price_of_risk > 0.0 {
            Binding::Inventory
        } else {
            Binding::None
        }
    }

    /// Where a side's part buys no order, its margin belongs to the other side: the best of leaving either side out.
    fn spend_on_the_other(
        &mut self,
        request: &Request<'_>,
        tasks: &[SideTask; 2],
        sides: &mut [SideQuote; 2],
        dropped: &mut Option<ShareDropped>,
    ) -> Result<()> {
        let (Some(terms), Some(solution)) = (self.joint.terms, self.joint.solution) else { return Ok(()) };
        let lost = |x: usize| terms.present[x] && solution.side[x] == SideStatus::Quoted && sides[x].empty.is_some();
        let lost = [lost(0), lost(1)];
        if lost == [false; 2] || !(terms.present[0] && terms.present[1]) {
            return Ok(());
        }
        let mut best = (self.worth(sides, request, &terms), terms, solution, sides.clone());
        for x in (0..2).filter(|&x| lost[x]) {
            let mut alone = Terms { bid_share: None, ..terms };
            alone.present[x] = false;
            self.joint.terms = Some(alone);
            let mut other = [SideQuote::default(), SideQuote::default()];
            self.decide(request, tasks, &mut other)?;
            let (Some(found), worth) = (self.joint.solution, self.worth(&other, request, &terms)) else { continue };
            if found.status != SidesStatus::Inaccurate && worth > best.0 {
                best = (worth, alone, found, other);
            }
        }
        if best.1.bid_share.is_none() && terms.bid_share.is_some() {
            *dropped = Some(ShareDropped::Minimum);
        }
        (self.joint.terms, self.joint.solution) = (Some(best.1), Some(best.2));
        *sides = best.3;
        Ok(())
    }

    /// Lots are lost on both sides: takes lots off the side that is over the share bound, to one lot.
    fn keep_share_bound(
        &mut self,
        request: &Request<'_>,
        tasks: &[SideTask; 2],
        sides: &mut [SideQuote; 2],
    ) -> Result<()> {
        const ROUNDS: usize = 8;
        let (Some(terms), Some(solution)) = (self.joint.terms, self.joint.solution) else { return Ok(()) };
        let Some([lo, hi]) = terms.bid_share else { return Ok(()) };
        for _ in 0..ROUNDS {
            let lots = [sides[0].lots_total() as f64, sides[1].lots_total() as f64];
            let Some((x, most)) = over_share(lots, [lo, hi]) else { return Ok(()) };
            let work = if x == 0 { &mut self.bids } else { &mut self.asks };
            let total: f64 = work.target.iter().sum();
            if total <= most {
                work.target.iter_mut().for_each(|lots| *lots *= 1.0 - 1.0 / total.max(2.0));
            } else {
                work.target.iter_mut().for_each(|lots| *lots *= most / total);
            }
            let part = sides[x].budget;
            self.project(request, tasks[x], part, &terms, solution.side[x], &mut sides[x])?;
        }
        Ok(())
    }

    /// A bound on shares cannot hold where lots leave one side alone.
    fn drop_share_bound(&mut self, sides: &[SideQuote; 2], dropped: &mut Option<ShareDropped>) {
        let alone = sides[0].empty.is_some() != sides[1].empty.is_some();
        if let Some(terms) = self.joint.terms.as_mut()
            && let Some([lo, hi]) = terms.bid_share
            && alone
            && (lo > 0.0 || hi < 1.0)
        {
            terms.bid_share = None;
            *dropped = dropped.or(Some(ShareDropped::Minimum));
        }
    }

    /// Both sides at a share of what may be held.
    fn joint_at_share(
        &mut self,
        request: &Request<'_>,
        tasks: &[SideTask; 2],
        share: f64,
        sides: &mut [SideQuote; 2],
    ) -> Result<()> {
        let Some(whole) = self.joint.terms else { return Ok(()) };
        let cut = |micros: i64| (micros as f64 * share) as i64;
        let pot = Pot { side: whole.pot.side.map(cut), total: whole.pot.total.map(cut) };
        let solution = self.joint.solution;
        self.joint.terms = Some(Terms { pot, ..whole });
        self.decide(request, tasks, sides)?;
        let certified = self.joint.solution.is_some_and(|solution| solution.status != SidesStatus::Inaccurate);
        if certified {
            self.keep_share_bound(request, tasks, sides)?;
        }
        (self.joint.terms, self.joint.solution) = (Some(whole), solution);
        if certified { Ok(()) } else { self.at_share(request, tasks, share, sides) }
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Bid => 0,
        Side::Ask => 1,
    }
}

/// Contracts expected to fill.
fn fills(side: &SideQuote, lot: f64) -> f64 {
    side.lots.iter().zip(&side.fill_probability).map(|(&lots, fill)| lots as f64 * lot * fill).sum()
}

/// Whether a side has no value at its entropy floor, even without a price on margin or inventory.
fn loses(solver: &mut SideSolver, work: &SideWork, terms: &Terms, x: usize) -> Result<bool> {
    if work.utility.iter().all(|utility| *utility <= 0.0) {
        return Ok(true);
    }
    let solution = solver.solve(&SideProblem {
        utility: &work.utility,
        entropy_min: terms.entropy_min[x],
        floor: Bound::Scalar(terms.share_floor[x]),
        cap: Bound::Scalar(terms.share_cap[x]),
    })?;
    Ok(solution.status == Status::Optimal && solution.objective <= 0.0)
}

/// Why no order of a side is possible, whatever the other side does.
fn cannot_quote(work: &SideWork, task: SideTask, budget: i64) -> Option<ShareDropped> {
    let mut room = false;
    for (rate, &least) in work.buffered.iter().zip(&work.lots_min) {
        if least <= task.limit_lots {
            room = true;
            if rate.charge(least) <= budget {
                return None;
            }
        }
    }
    Some(if room { ShareDropped::Minimum } else { ShareDropped::Blocked })
}

/// What each side's orders may hold: one pot in proportion to what the answer uses.
fn parts(pot: &Pot, used: [f64; 2]) -> [i64; 2] {
    let Some(total) = pot.total else { return pot.side };
    let both = used[0] + used[1];
    if both <= 0.0 {
        return pot.side;
    }
    let part = |x: usize| ((total as f64 * (used[x] / both)).floor() as i64).min(pot.side[x]);
    let bids = part(0);
    [bids, part(1).min(total - bids)]
}

/// The side that has more lots than the share bound allows by more than one, and the most it may have.
fn over_share(lots: [f64; 2], [lo, hi]: [f64; 2]) -> Option<(usize, f64)> {
    let both = lots[0] + lots[1];
    if lots[0] > hi * both + 1.0 {
        return Some((0, if hi < 1.0 { lots[1] * hi / (1.0 - hi) } else { f64::INFINITY }));
    }
    if lots[0] < lo * both - 1.0 {
        return Some((1, if lo > 0.0 { lots[0] * (1.0 - lo) / lo } else { f64::INFINITY }));
    }
    None
}
