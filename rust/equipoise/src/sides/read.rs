//! Reads the statement of the problem: what is malformed is an error, what leaves a side nothing is its status, and what is
//! left is described without levels that cannot be used.

use super::{Budget, Multipliers, Saturation, Side, Sides};
use crate::entropy::water::{SUM_TIE, clip, entropy_of, water_level};
use crate::entropy::{Bound, ENTROPY_TIE, LEVELS_MAX};
use crate::error::{Error, Result};
use crate::status::SideStatus;

/// Names of the arguments of one side.
struct Names {
    utility: &'static str,
    margin: &'static str,
    fill_probability: &'static str,
    entropy_min: &'static str,
    share_floor: &'static str,
    share_cap: &'static str,
    size_cap: &'static str,
    size_max: &'static str,
    saturation: &'static str,
}

const NAMES: [Names; 2] = [
    Names {
        utility: "bid.utility",
        margin: "bid.margin_per_unit",
        fill_probability: "bid.fill_probability",
        entropy_min: "bid.entropy_min",
        share_floor: "bid.share_floor",
        share_cap: "bid.share_cap",
        size_cap: "bid.size_cap",
        size_max: "bid.size_max",
        saturation: "bid.saturation.scale",
    },
    Names {
        utility: "ask.utility",
        margin: "ask.margin_per_unit",
        fill_probability: "ask.fill_probability",
        entropy_min: "ask.entropy_min",
        share_floor: "ask.share_floor",
        share_cap: "ask.share_cap",
        size_cap: "ask.size_cap",
        size_max: "ask.size_max",
        saturation: "ask.saturation.scale",
    },
];

/// What can be said of one side before any search.
#[derive(Clone, Debug, Default)]
pub(super) struct Reduced {
    /// Levels that may carry size, by their place in the statement.
    pub(super) keep: Vec<u32>,
    /// Floors and caps of the shares on those levels.
    pub(super) floor: Vec<f64>,
    pub(super) cap: Vec<f64>,
    /// Shares of largest entropy.
    pub(super) flattest: Vec<f64>,
    /// `t` of the flattest shares `clip(t, φ, κ)`.
    pub(super) level: f64,
    /// Only the flattest shares are feasible: the side is a ray, and its total is all there is to choose.
    pub(super) ray: bool,
    /// `h`, zero where there is none.
    pub(super) entropy_min: f64,
    pub(super) entropy_max: f64,
    /// No total above this is feasible, and one within a small factor of it is.
    pub(super) size_max: f64,
    /// A total at which no cap on size touches the flattest shares.
    pub(super) size_free: f64,
}

impl Bound<'_> {
    /// The bound of one level.
    #[inline(always)]
    pub(super) fn at(&self, index: usize) -> f64 {
        match self {
            Self::Scalar(value) => *value,
            Self::Each(values) => values.get(index).copied().unwrap_or(f64::NAN),
        }
    }
}

impl Saturation<'_> {
    /// `1/c` of one level, zero where its value is linear.
    #[inline(always)]
    pub(super) fn inverse_scale(&self, utility: f64, index: usize) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Exponential(scale) | Self::Log(scale) => {
                if utility > 0.0 {
                    1.0 / scale.at(index)
                } else {
                    0.0
                }
            }
        }
    }
}

impl Saturation<'_> {
    /// Value of a size, with `bend` the inverse of its scale.
    #[inline(always)]
    pub(super) fn value(&self, utility: f64, bend: f64, size: f64) -> f64 {
        // A product below half a unit in the last place of one does not bend, and may have vanished.
        if size * bend < 0.25 * f64::EPSILON {
            return utility * size;
        }
        match self {
            Self::None => utility * size,
            Self::Exponential(_) => utility * (-(-size * bend).exp_m1() / bend),
            Self::Log(_) => utility * ((size * bend).ln_1p() / bend),
        }
    }

    /// First and second derivative of the value.
    #[inline(always)]
    pub(super) fn derivatives(&self, utility: f64, bend: f64, size: f64) -> (f64, f64) {
        if bend == 0.0 {
            return (utility, 0.0);
        }
        match self {
            Self::None => (utility, 0.0),
            Self::Exponential(_) => {
                let slope = utility * (-size * bend).exp();
                (slope, -slope * bend)
            }
            Self::Log(_) => {
                let left = 1.0 / (1.0 + size * bend);
                (utility * left, -utility * left * left * bend)
            }
        }
    }
}

/// Reads every number for errors.
pub(super) fn check(problem: &Sides<'_>) -> Result<()> {
    for (side, names) in problem.side.iter().zip(&NAMES) {
        check_side(side, names)?;
    }
    let Budget { side, total } = problem.budget;
    for (index, margin) in [side[0], side[1], total].into_iter().enumerate() {
        if margin.is_nan() {
            return Err(if index == 2 {
                Error::new("margin", "a number", margin)
            } else {
                Error::at("margin", index, "a number", margin)
            });
        }
    }
    if let Some([lo, hi]) = problem.bid_share
        && !(0.0 <= lo && lo <= hi && hi <= 1.0)
    {
        return Err(Error::new("bid_share", "a pair lo ≤ hi between 0 and 1", format_args!("({lo}, {hi})")));
    }
    if let Some(inventory) = problem.inventory {
        if !inventory.position.is_finite() {
            return Err(Error::new("inventory.position", "finite", inventory.position));
        }
        if !(0.0..f64::INFINITY).contains(&inventory.price_of_risk) {
            return Err(Error::new("inventory.price_of_risk", "finite and not negative", inventory.price_of_risk));
        }
    }
    Ok(())
}

/// Reads ladders and multipliers that a caller brings along.
pub(super) fn check_ladders(problem: &Sides<'_>, sizes: [&[f64]; 2], multipliers: &Multipliers) -> Result<()> {
    for ((side, sizes), name) in problem.side.iter().zip(sizes).zip(["bid_size", "ask_size"]) {
        if sizes.len() != side.utility.len() {
            return Err(Error::new(name, "as long as the side's utility", format_args!("{} values", sizes.len())));
        }
        if let Some(index) = sizes.iter().position(|size| !(0.0..f64::INFINITY).contains(size)) {
            return Err(Error::at(name, index, "finite and not negative", sizes[index]));
        }
    }
    let priced = multipliers.margin.iter().chain(&multipliers.temperature);
    if let Some(price) =
        priced.chain(multipliers.level.iter().flatten()).find(|price| !(0.0..f64::INFINITY).contains(*price))
    {
        return Err(Error::new("multipliers", "finite and not negative", price));
    }
    for (level, side) in multipliers.level.iter().zip(&problem.side) {
        if !level.is_empty() && level.len() != side.utility.len() {
            return Err(Error::new(
                "multipliers",
                "as long as the side's utility",
                format_args!("{} values", level.len()),
            ));
        }
    }
    if !multipliers.inventory.is_finite() {
        return Err(Error::new("multipliers", "finite", multipliers.inventory));
    }
    Ok(())
}

fn check_side(side: &Side<'_>, names: &Names) -> Result<()> {
    let levels = side.utility.len();
    if levels > LEVELS_MAX {
        return Err(Error::new(names.utility, "of at most 1048576 levels", levels));
    }
    if let Some(index) = first_not(side.utility, f64::is_finite) {
        return Err(Error::at(names.utility, index, "finite", side.utility[index]));
    }
    if side.margin.len() != levels {
        return Err(Error::new(names.margin, "as long as utility", format_args!("{} values", side.margin.len())));
    }
    if let Some(index) = first_not(side.margin, |value| (0.0..f64::INFINITY).contains(&value)) {
        return Err(Error::at(names.margin, index, "finite and not negative", side.margin[index]));
    }
    if !side.entropy_min.is_finite() {
        return Err(Error::new(names.entropy_min, "finite", side.entropy_min));
    }
    if !(0.0..f64::INFINITY).contains(&side.size_max) {
        return Err(Error::new(names.size_max, "finite and not negative", side.size_max));
    }
    check_bound(&side.fill_probability, levels, names.fill_probability, "between 0 and 1", |v| {
        (0.0..=1.0).contains(&v)
    })?;
    check_bound(&side.share_floor, levels, names.share_floor, "finite and not negative", |v| {
        (0.0..f64::INFINITY).contains(&v)
    })?;
    check_bound(&side.share_cap, levels, names.share_cap, "between 0 and 1", |v| (0.0..=1.0).contains(&v))?;
    check_bound(&side.size_cap, levels, names.size_cap, "not negative", |v| v >= 0.0)?;
    match &side.saturation {
        Saturation::None => Ok(()),
        Saturation::Exponential(scale) | Saturation::Log(scale) => {
            check_bound(scale, levels, names.saturation, "finite and positive", |v| v > 0.0 && v < f64::INFINITY)
        }
    }
}

/// The first number that does not hold. Whether there is one is asked of all at once, which needs no branch a number.
fn first_not(values: &[f64], holds: impl Fn(f64) -> bool) -> Option<usize> {
    if values.iter().fold(true, |all, value| all & holds(*value)) {
        return None;
    }
    values.iter().position(|value| !holds(*value))
}

fn check_bound(
    bound: &Bound<'_>,
    levels: usize,
    name: &'static str,
    requirement: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<()> {
    match bound {
        Bound::Scalar(value) if holds(*value) => Ok(()),
        Bound::Scalar(value) => Err(Error::new(name, requirement, value)),
        Bound::Each(values) if values.len() != levels => {
            Err(Error::new(name, "a number, or as long as utility", format_args!("{} values", values.len())))
        }
        Bound::Each(values) => match first_not(values, holds) {
            Some(index) => Err(Error::at(name, index, requirement, values[index])),
            None => Ok(()),
        },
    }
}

impl Reduced {
    /// Describes one side whose orders may hold `budget`; where nothing can be quoted, why.
    pub(super) fn read(&mut self, side: &Side<'_>, budget: f64) -> std::result::Result<(), SideStatus> {
        let levels = side.utility.len();
        if levels == 0 || side.size_max <= 0.0 {
            // An empty side is one with no room; what else is wrong with it does not matter.
            return Err(SideStatus::Blocked);
        }
        self.take(side, |_| true);
        self.shape(side)?;
        let blocked = |index: usize| side.size_cap.at(index) <= 0.0;
        if (0..levels).any(blocked) {
            self.take(side, |index| !blocked(index));
            self.shape(side).map_err(|_| SideStatus::Blocked)?;
        }
        if budget <= 0.0 && side.margin.iter().any(|margin| *margin > 0.0) {
            self.take(side, |index| !blocked(index) && side.margin[index] <= 0.0);
            self.shape(side).map_err(|_| SideStatus::NoBudget)?;
        }
        self.limit(side, budget);
        Ok(())
    }

    /// Keeps some levels; a floor on one that is not kept cannot be met, which shows as a sum above one.
    fn take(&mut self, side: &Side<'_>, kept: impl Fn(usize) -> bool) {
        self.keep.clear();
        self.floor.clear();
        self.cap.clear();
        for index in 0..side.utility.len() {
            let (floor, cap) = (side.share_floor.at(index), side.share_cap.at(index));
            let usable = kept(index) && (cap > 0.0 || floor > 0.0);
            if usable {
                self.keep.push(index as u32);
                self.floor.push(floor);
                self.cap.push(cap);
            } else if floor > 0.0 {
                self.floor.push(2.0);
                self.cap.push(2.0);
            }
        }
    }

    /// Feasibility of the shares, and the flattest of them.
    fn shape(&mut self, side: &Side<'_>) -> std::result::Result<(), SideStatus> {
        if self.floor.iter().zip(&self.cap).any(|(floor, cap)| floor > cap) {
            return Err(SideStatus::InfeasibleFloorAboveCap);
        }
        let (floors, caps): (f64, f64) = (self.floor.iter().sum(), self.cap.iter().sum());
        if floors > 1.0 + SUM_TIE {
            return Err(SideStatus::InfeasibleFloorSum);
        }
        if caps < 1.0 - SUM_TIE {
            return Err(SideStatus::InfeasibleCapSum);
        }
        let bounds = self.floor.iter().copied().zip(self.cap.iter().copied());
        let level = water_level(bounds.clone(), 1.0);
        self.level = level;
        self.flattest.clear();
        self.flattest.extend(bounds.map(|(floor, cap)| clip(level, floor, cap)));
        self.entropy_max = entropy_of(&self.flattest);
        if side.entropy_min > self.entropy_max + ENTROPY_TIE {
            return Err(SideStatus::InfeasibleEntropy);
        }
        self.entropy_min = side.entropy_min.max(0.0);
        self.ray = self.keep.len() == 1
            || self.entropy_min >= self.entropy_max - ENTROPY_TIE
            || floors >= 1.0 - SUM_TIE
            || caps <= 1.0 + SUM_TIE;
        if self.ray {
            let total: f64 = self.flattest.iter().sum();
            self.flattest.iter_mut().for_each(|share| *share /= total);
        }
        Ok(())
    }

    /// The largest total: what `Q`, caps, floors and margin leave, and what caps leave to the entropy floor.
    fn limit(&mut self, side: &Side<'_>, budget: f64) {
        let (mut caps, mut largest, mut least) = (0.0, side.size_max, f64::INFINITY);
        self.size_free = f64::INFINITY;
        for (at, &index) in self.keep.iter().enumerate() {
            let index = index as usize;
            let cap = side.size_cap.at(index);
            caps += cap;
            largest = largest.min(cap / self.floor[at]);
            self.size_free = self.size_free.min(cap / self.flattest[at]);
            least = least.min(side.margin[index]);
        }
        largest = largest.min(caps);
        if self.ray {
            least = self.keep.iter().zip(&self.flattest).map(|(&i, share)| side.margin[i as usize] * share).sum();
            largest = largest.min(self.size_free);
        }
        if least > 0.0 {
            largest = largest.min(budget / least);
        }
        if !self.ray && largest > self.size_free && self.entropy_min > 0.0 {
            let (mut low, mut high) = (self.size_free, largest);
            if !self.admits(side, high) {
                // In the logarithm, whose whole range is halved below a factor of 1.25 in so many steps.
                for _ in 0..64 {
                    let middle = low.sqrt() * high.sqrt();
                    if high <= 1.25 * low || !(low < middle && middle < high) {
                        break;
                    }
                    if self.admits(side, middle) {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                largest = high;
            }
        }
        self.size_max = largest;
    }

    /// Floor and cap of the shares at a total, for the levels that are kept.
    fn boxes(&self, side: &Side<'_>, size: f64) -> impl Iterator<Item = (f64, f64)> + Clone {
        (0..self.keep.len()).map(move |at| {
            let cap = (side.size_cap.at(self.keep[at] as usize) / size).min(self.cap[at]);
            (self.floor[at].min(cap), cap)
        })
    }

    /// The flattest shares at a total, for the levels that are kept.
    pub(super) fn flattest_at(&self, side: &Side<'_>, size: f64, to: &mut Vec<f64>) {
        let boxes = self.boxes(side, size);
        let level = water_level(boxes.clone(), 1.0);
        to.clear();
        to.extend(boxes.map(|(floor, cap)| clip(level, floor, cap)));
    }

    /// Whether some shares at this total keep every cap and the entropy floor.
    fn admits(&self, side: &Side<'_>, size: f64) -> bool {
        let boxes = self.boxes(side, size);
        let room: f64 = boxes.clone().map(|(_, cap)| cap).sum();
        if room < 1.0 {
            return false;
        }
        let level = water_level(boxes.clone(), 1.0);
        let entropy: f64 = boxes
            .map(|(floor, cap)| clip(level, floor, cap))
            .map(|share| if share > 0.0 { -share * share.ln() } else { 0.0 })
            .sum();
        entropy >= self.entropy_min
    }
}
