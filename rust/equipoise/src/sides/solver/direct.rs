//! The searches for linear values: shapes and totals in turn, and on from there where caps on single sizes are in force.

use super::SidesSolver;
use crate::entropy::Bound;
use crate::lanes::Lanes;
use crate::sides::{Certificate, Inventory, Saturation, Sides, VIOLATION_MAX, crowded, quick};
use crate::status::SideStatus;

/// Gaps up to this part of the scale need no other search.
const GAP_GOOD: f64 = 1e-10;
/// Totals tried for the first point with caps in force, and how each is smaller than the one before.
const TOTALS: u32 = 4;
const SMALLER: f64 = 0.8;

impl SidesSolver {
    /// An answer where the problem allows these searches, they settle, and the certificate agrees.
    #[inline(always)]
    pub(super) fn direct<L: Lanes>(
        &mut self,
        problem: &Sides<'_>,
    ) -> Option<(Certificate, [bool; 2], [SideStatus; 2])> {
        let mut present = [true; 2];
        let mut status = [SideStatus::Quoted; 2];
        let (mut largest, mut most) = (0.0_f64, 0.0_f64);
        for (x, side) in problem.side.iter().enumerate() {
            if side.utility.is_empty() || side.size_max <= 0.0 {
                (present[x], status[x]) = (false, SideStatus::Blocked);
            } else if problem.budget.side[x].min(problem.budget.total) <= 0.0 {
                return None;
            }
            if !matches!(side.saturation, Saturation::None) || !side.roomy() {
                return None;
            }
            largest = side.utility.iter().fold(largest, |largest, u| largest.max(u.abs()));
            most = most.max(side.size_max);
        }
        let inventory =
            problem.inventory.unwrap_or(Inventory { position: 0.0, price_of_risk: 0.0, fill_variance: false });
        let varied = inventory.fill_variance && inventory.price_of_risk > 0.0;
        let (any, both) = (present[0] || present[1], present[0] && present[1]);
        if varied || !any || (!both && problem.bid_share.is_some()) {
            return None;
        }
        let start = self
            .prices
            .unwrap_or(quick::Prices { margin: [0.0; 3], inventory: inventory.price_of_risk * inventory.position });
        let floor =
            (0.5 * inventory.price_of_risk * inventory.position * inventory.position).max(1e-6 * largest * most);
        let mut near = self.places.take().filter(|places| (0..2).all(|x| present[x] || places[x].total == 0.0));
        loop {
            let from_last = near.is_some();
            if let Some(certificate) = self.attempt::<L>(problem, present, near.take(), start, floor) {
                return Some((certificate, present, status));
            }
            if !from_last {
                return None;
            }
        }
    }

    /// Shapes and totals in turn, and on from where they are crowded; or on from the places of the last answer.
    #[inline(always)]
    fn attempt<L: Lanes>(
        &mut self,
        problem: &Sides<'_>,
        present: [bool; 2],
        near: Option<[crowded::Place; 2]>,
        start: quick::Prices,
        floor: f64,
    ) -> Option<Certificate> {
        let (mut places, mut prices) = if near.is_some() {
            (near, start)
        } else {
            let found = quick::search(problem, &mut self.shape, present, start, floor)?;
            self.iterations += found.rounds;
            self.prices = Some(found.prices);
            let places = if found.crowded { Some(self.places(problem, found.size, &found.prices)?) } else { None };
            if places.is_none() {
                self.trial.reset(problem);
                for x in (0..2).filter(|x| present[*x]) {
                    for (to, share) in self.trial.size[x].iter_mut().zip(self.shape[x].share()) {
                        *to = found.size[x].max(0.0) * share;
                    }
                    self.take_temperature(x);
                }
            }
            (places, found.prices)
        };
        if let Some(places) = &mut places {
            self.crowded::<L>(problem, present, places, &mut prices)?;
        }
        let certificate = self.kept::<L>(problem, &prices)?;
        (self.prices, self.places) = (Some(prices), places);
        Some(certificate)
    }

    /// Temperatures and normalisers at totals that ask more of some levels than they can carry, or at smaller ones; nothing
    /// where the entropy floor costs nothing.
    fn places(&mut self, problem: &Sides<'_>, size: [f64; 2], prices: &quick::Prices) -> Option<[crowded::Place; 2]> {
        let mut places = [crowded::Place::default(); 2];
        for x in (0..2).filter(|x| size[*x] > 0.0) {
            let side = &problem.side[x];
            let mut total = size[x];
            for _ in 0..TOTALS {
                self.caps.clear();
                let caps = (0..side.utility.len()).map(|i| side.share_cap.at(i).min(side.size_cap.at(i) / total));
                self.caps.extend(caps);
                if self.shape[x].find(side, Bound::Each(&self.caps), prices.of(x)) {
                    let (temperature, normaliser) = self.shape[x].multipliers();
                    places[x] = crowded::Place { total, temperature, normaliser };
                }
                if places[x].temperature > 0.0 {
                    break;
                }
                total *= SMALLER;
            }
            if places[x].temperature <= 0.0 {
                return None;
            }
        }
        Some(places)
    }

    /// Newton's method with caps in force, from these places and prices to those of the trial; nothing where it does not settle.
    #[inline(always)]
    fn crowded<L: Lanes>(
        &mut self,
        problem: &Sides<'_>,
        present: [bool; 2],
        places: &mut [crowded::Place; 2],
        prices: &mut quick::Prices,
    ) -> Option<()> {
        let mut search = crowded::Crowded::new(problem, *places, *prices, &mut self.crowd);
        let found = search.run::<L>();
        self.iterations += search.rounds;
        if !found {
            return None;
        }
        self.trial.reset(problem);
        let multipliers = &mut self.trial.multipliers;
        (*places, *prices) = (search.places(), search.prices);
        for x in (0..2).filter(|x| places[*x].total > 0.0) {
            search.publish(x, &mut self.trial.size[x], &mut multipliers.level[x]);
            multipliers.temperature[x] = places[x].temperature;
            multipliers.normaliser[x] = places[x].normaliser;
        }
        // A side that stays empty is priced as if it were about to start.
        for x in (0..2).filter(|x| present[*x] && places[*x].total == 0.0) {
            let side = &problem.side[x];
            if !self.shape[x].find(side, side.share_cap, prices.of(x)) {
                return None;
            }
            self.take_temperature(x);
        }
        Some(())
    }

    /// Temperature and normaliser of the last shape.
    fn take_temperature(&mut self, x: usize) {
        let (temperature, normaliser) = self.shape[x].multipliers();
        self.trial.multipliers.temperature[x] = temperature;
        self.trial.multipliers.normaliser[x] = normaliser;
    }

    /// The trial at these prices becomes the answer if it is certainly one.
    #[inline(always)]
    fn kept<L: Lanes>(&mut self, problem: &Sides<'_>, prices: &quick::Prices) -> Option<Certificate> {
        self.trial.multipliers.margin = prices.margin;
        self.trial.multipliers.inventory = prices.inventory;
        let certificate = problem.certify::<L>(self.trial.sizes(), &self.trial.multipliers, &mut self.weights);
        let good =
            certificate.gap.abs() <= GAP_GOOD * certificate.scale && certificate.violation <= 0.1 * VIOLATION_MAX;
        if !good {
            return None;
        }
        std::mem::swap(&mut self.best, &mut self.trial);
        Some(certificate)
    }
}
