//! The solution without an entropy floor: a fractional knapsack whose tied marginal levels share evenly.

use super::Work;
use super::bounds::{clip, sum, water_level};

/// Fills levels in order of utility into `work.share`, leaves that order in `work.order`, and returns the utility of the
/// marginal level.
pub(super) fn fill(work: &mut Work) -> f64 {
    let Work { utility, floor, cap, share, order, .. } = work;
    order.clear();
    order.extend((0..utility.len()).map(|index| index as u32));
    order.sort_unstable_by(|&a, &b| utility[b as usize].total_cmp(&utility[a as usize]));
    share.copy_from_slice(floor);
    let mut left = 1.0 - sum(floor);
    let mut start = 0;
    loop {
        let critical = utility[order[start] as usize];
        let end = start + order[start..].iter().take_while(|index| utility[**index as usize] == critical).count();
        let group = &order[start..end];
        let room: f64 = group.iter().map(|&index| cap[index as usize] - floor[index as usize]).sum();
        if room < left && end < order.len() {
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
