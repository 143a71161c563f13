//! The solution without an entropy floor: a fractional knapsack whose tied marginal levels share evenly.

use super::bounds::Feasible;
use super::rows::Rows;
use super::water::{clip, entropy_of, sum, water_level};

/// Fills levels in order of utility into the row of shares, leaves that order in `rows.order`, and returns the utility of
/// the marginal level.
pub(super) fn fill(rows: &mut Rows<'_>) -> f64 {
    let levels = rows.levels;
    let utility = &rows.utility.as_flattened()[..levels];
    let (floor, cap) = (&rows.floor.as_flattened()[..levels], &rows.cap.as_flattened()[..levels]);
    let share = rows.share.as_flattened_mut();
    share[levels..].fill(0.0);
    let share = &mut share[..levels];
    let order = &mut *rows.order;
    order.clear();
    order.extend((0..levels).map(|index| index as u32));
    order.sort_unstable_by(|&a, &b| utility[b as usize].total_cmp(&utility[a as usize]));
    share.copy_from_slice(floor);
    let mut left = 1.0 - sum(floor.iter().copied());
    let mut start = 0;
    loop {
        let critical = utility[order[start] as usize];
        let end = start + order[start..].iter().take_while(|index| utility[**index as usize] == critical).count();
        let group = &order[start..end];
        let room: f64 = group.iter().map(|&index| cap[index as usize] - floor[index as usize]).sum();
        if room < left && end < levels {
            for &index in group {
                share[index as usize] = cap[index as usize];
            }
            left -= room;
            start = end;
            continue;
        }
        let mass = left.max(0.0) + group.iter().map(|&index| floor[index as usize]).sum::<f64>();
        let level = water_level(group.iter().map(|&index| (floor[index as usize], cap[index as usize])), mass);
        for &index in group {
            let index = index as usize;
            share[index] = clip(level, floor[index], cap[index]);
        }
        return critical;
    }
}

/// The filled point meets the entropy floor, so the floor costs nothing.
pub(super) fn entropy_suffices(rows: &Rows<'_>, feasible: &Feasible) -> bool {
    let slack = if feasible.tight { super::ENTROPY_TIE } else { 1e-15 * (1.0 + feasible.entropy_min.max(0.0)) };
    entropy_of(&rows.share.as_flattened()[..rows.levels]) >= feasible.entropy_min - slack
}
