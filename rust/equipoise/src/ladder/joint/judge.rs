//! Which of the two ladders is worth more on final lots, and what either may leave.

use super::super::config::Policy;
use super::super::side::SideTask;
use super::super::{LadderEngine, Quote, Request, SideQuote};
use super::solve::finite;
use super::{Because, JointReport, Returned, ShareDropped, Terms, fills, over_share};
use crate::entropy::Bound;
use crate::error::Result;
use crate::sides::{self, Multipliers, Side as Stated};
use crate::status::SidesStatus;

impl LadderEngine {
    /// The joint objective of final orders.
    pub(super) fn worth(&self, sides: &[SideQuote; 2], request: &Request<'_>, terms: &Terms) -> f64 {
        let lot = terms.lot;
        let Terms { price_of_risk, fill_variance, .. } = *terms;
        let position = request.market.instrument.size(request.account.position_lots);
        let expected = position + fills(&sides[0], lot) - fills(&sides[1], lot);
        let mut worth = -0.5 * price_of_risk * expected * expected;
        for side in sides {
            for ((&lots, utility), fill) in side.lots.iter().zip(&side.utility).zip(&side.fill_probability) {
                let size = lots as f64 * lot;
                worth += utility * size;
                if fill_variance {
                    worth -= 0.5 * price_of_risk * fill * (1.0 - fill) * size * size;
                }
            }
        }
        worth
    }

    /// The better of both ladders, and what is to be said about it.
    pub(super) fn better(
        &mut self,
        request: &Request<'_>,
        tasks: [SideTask; 2],
        terms: &Terms,
        share_dropped: Option<ShareDropped>,
        joint: Option<Quote>,
        inventory: Quote,
    ) -> Result<Quote> {
        let worth =
            |engine: &Self, quote: &Quote| engine.worth(&[quote.bids.clone(), quote.asks.clone()], request, terms);
        let objective_inventory = worth(self, &inventory);
        let objective_joint = joint.as_ref().map(|quote| worth(self, quote));
        let lots = [inventory.bids.lots_total() as f64, inventory.asks.lots_total() as f64];
        let keeps_share = terms.bid_share.is_none_or(|bounds| over_share(lots, bounds).is_none());
        let (mut quote, returned, because) = match (joint, objective_joint) {
            (Some(joint), Some(_)) if !keeps_share => (joint, Returned::Joint, Because::ShareBound),
            (Some(joint), Some(value)) if value > objective_inventory => (joint, Returned::Joint, Because::WorthMore),
            (Some(joint), Some(value)) if value == objective_inventory => {
                (joint, Returned::Joint, Because::WorthTheSame)
            }
            (Some(_), _) => (inventory, Returned::Inventory, Because::WorthMore),
            (None, _) => (inventory, Returned::Inventory, Because::Inaccurate),
        };
        let objective = worth(self, &quote);
        let solution = self.joint.solution;
        let dual_bound = self.bound(request, tasks, terms, &mut quote)?.max(objective);
        let position = request.market.instrument.size(request.account.position_lots);
        quote.policy = Policy::Joint;
        quote.joint = Some(JointReport {
            status: solution.map_or(SidesStatus::Inaccurate, |solution| solution.status),
            returned,
            because,
            objective,
            dual_bound,
            regret: dual_bound - objective,
            objective_continuous: self.joint.objective_continuous,
            objective_joint,
            objective_inventory,
            margin_price: solution.map_or([0.0; 2], |solution| solution.margin_price.map(known)),
            price_of_risk: terms.price_of_risk,
            inventory_price: solution.map_or(0.0, |solution| known(solution.inventory_price)),
            position_expected: position + fills(&quote.bids, terms.lot) - fills(&quote.asks, terms.lot),
            bid_share: terms.bid_share,
            share_dropped,
            iterations: solution.map_or(0, |solution| solution.iterations),
        });
        Ok(quote)
    }

    /// An upper bound on the joint objective of every ladder that keeps what the final orders keep, and the regret of each
    /// side at its prices of margin and inventory: what is left of the whole is idle margin and inventory off its target.
    fn bound(&mut self, request: &Request<'_>, tasks: [SideTask; 2], terms: &Terms, quote: &mut Quote) -> Result<f64> {
        let mut wide = *terms;
        wide.position = request.market.instrument.size(request.account.position_lots);
        wide.pot.total = wide.pot.total.map(|total| total.saturating_add(wide.least_bad_held));
        for (x, side) in [&quote.bids, &quote.asks].into_iter().enumerate() {
            if side.reduce_only != self.joint.free[x] {
                self.charge(request, SideTask { free: side.reduce_only, ..tasks[x] })?;
                self.joint.last = None;
            }
            let total = side.lots_total();
            let size = request.market.instrument.size(total);
            wide.present[x] = terms.able[x] || total > 0;
            wide.size_max[x] = wide.size_max[x].max(size);
            if total > 0 {
                wide.share_floor[x] = 0.0;
                let tallest = side.lots.iter().max().map_or(0.0, |most| *most as f64 / total as f64);
                wide.share_cap[x] = wide.share_cap[x].max(tallest).min(1.0);
                if side.certificate.relaxed.is_some() {
                    let met = side.certificate.entropy_min_used.min(side.certificate.entropy);
                    wide.entropy_min[x] = wide.entropy_min[x].min(met);
                }
            }
        }
        // Shares of the sides hold to one lot.
        let both = (quote.bids.lots_total() + quote.asks.lots_total()) as f64;
        wide.bid_share =
            terms.bid_share.map(|[lo, hi]| [(lo - 1.0 / both.max(1.0)).max(0.0), (hi + 1.0 / both.max(1.0)).min(1.0)]);
        let mut dual_bound = self.solve_sides(&wide)?.dual_bound;
        let mut multipliers = self.joint.multipliers.clone();
        if !(dual_bound.is_finite() && finite(&multipliers)) {
            // Any multipliers give a true bound: those of empty ladders.
            multipliers = Multipliers { inventory: wide.price_of_risk * wide.position, ..Multipliers::default() };
            let problem = self.joint.stated([&self.bids, &self.asks], &wide);
            let none = [vec![0.0; self.bids.utility.len()], vec![0.0; self.asks.utility.len()]];
            dual_bound = sides::certify(&problem, [&none[0], &none[1]], &multipliers)?.dual_bound;
        }
        for (x, side) in [&mut quote.bids, &mut quote.asks].into_iter().enumerate() {
            let regret = self.side_regret(&wide, x, &multipliers, side)?;
            side.certificate.regret = regret;
            side.certificate.objective =
                side.utility.iter().zip(&side.lots).map(|(u, &n)| u * n as f64 * terms.lot).sum();
            side.certificate.dual_bound = side.certificate.objective + regret;
        }
        Ok(dual_bound)
    }

    /// What a side leaves at the prices of margin and inventory: `max over its ladders of w·s` less its own, with
    /// `w = u − μ m ∓ ν λ`.
    fn side_regret(&self, wide: &Terms, x: usize, multipliers: &Multipliers, quote: &SideQuote) -> Result<f64> {
        let work = if x == 0 { &self.bids } else { &self.asks };
        let sign = if x == 0 { 1.0 } else { -1.0 };
        let price = multipliers.margin[x] + multipliers.margin[2];
        let Terms { price_of_risk, fill_variance, .. } = *wide;
        let nu = if price_of_risk > 0.0 { multipliers.inventory } else { 0.0 };
        let at = self.joint.solver.size()[x];
        let weight: Vec<f64> = (0..work.utility.len())
            .map(|i| {
                let fill = work.fill_probability[i];
                let spread = if fill_variance { price_of_risk * fill * (1.0 - fill) * at[i] } else { 0.0 };
                work.utility[i] - price * self.joint.margin[x][i] - sign * nu * fill - spread
            })
            .collect();
        let mut size = vec![0.0; weight.len()];
        for (&ticks, &lots) in quote.price_ticks.iter().zip(&quote.lots) {
            if let Some(i) = work.price_ticks.iter().position(|other| *other == ticks) {
                size[i] = lots as f64 * wide.lot;
            }
        }
        let mut problem = self.joint.stated([&self.bids, &self.asks], wide);
        problem.side[x].utility = &weight;
        problem.side[1 - x] = Stated {
            utility: &[],
            margin: &[],
            fill_probability: Bound::Scalar(0.0),
            size_max: 0.0,
            ..problem.side[1 - x]
        };
        (problem.bid_share, problem.inventory) = (None, None);
        let own = Multipliers {
            temperature: multipliers.temperature,
            normaliser: multipliers.normaliser,
            ..Multipliers::default()
        };
        let ladders: [&[f64]; 2] = if x == 0 { [&size, &[]] } else { [&[], &size] };
        Ok(sides::certify(&problem, ladders, &own)?.gap.max(0.0))
    }
}

/// Zero where an answer that was not certified has no figure.
pub(super) fn known(figure: f64) -> f64 {
    if figure.is_finite() { figure } else { 0.0 }
}
