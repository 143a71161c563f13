//! Outcomes that callers decide on, shared by the solver, the projection and the quote.

/// Outcome of problem P1 (one side).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Optimal within the stated gap.
    Optimal,
    /// The floors sum to more than one.
    InfeasibleFloorSum,
    /// The caps sum to less than one.
    InfeasibleCapSum,
    /// A floor lies above its cap.
    InfeasibleFloorAboveCap,
    /// The entropy floor exceeds the largest entropy that floors and caps admit.
    InfeasibleEntropy,
    /// Feasible, but the certified gap is above the promise.
    Inaccurate,
}

/// What stopped a side from being larger or more valuable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Nothing: the side holds all the size that has value.
    None,
    /// The side's part of the margin.
    Margin,
    /// The position limit.
    Position,
    /// A per-level cap.
    LevelCap,
    /// The minimum notional: what is left buys no valid order.
    Notional,
    /// The entropy floor left lots unused.
    Entropy,
    /// The share bound between the sides (joint policy).
    Share,
    /// The price of inventory (joint policy).
    Inventory,
    /// No level has positive value.
    NoValue,
}

/// Why a level of the requested ladder is smaller than asked, or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The level stands as solved (up to lots).
    Kept,
    /// Rounded onto the price of its neighbour and merged with it.
    Merged,
    /// Dropped: the minimum notional at this price does not fit.
    Notional,
    /// Dropped or shrunk: the entropy floor on the final lots.
    Entropy,
    /// Dropped or shrunk: the side's budget.
    Margin,
    /// Dropped or shrunk: the position limit.
    Position,
    /// Dropped: no value on this side.
    NoValue,
    /// Dropped: the side has no margin at all.
    NoMargin,
    /// Dropped: the price would not be positive.
    Price,
}

/// Outcome of problems P2 and P3 (both sides).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SidesStatus {
    /// Optimal within the stated gap, with at least one side quoted.
    Optimal,
    /// Quoting nothing is optimal, or all there is.
    Zero,
    /// The certified gap or violation is above the promise.
    Inaccurate,
}

/// What became of one side of problem P2 or P3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SideStatus {
    /// Its total is positive.
    Quoted,
    /// Quoting it adds no value.
    NoValue,
    /// Its margin is zero.
    NoBudget,
    /// Its limits on size leave nothing.
    Blocked,
    /// The floors sum to more than one.
    InfeasibleFloorSum,
    /// The caps sum to less than one.
    InfeasibleCapSum,
    /// A floor lies above its cap.
    InfeasibleFloorAboveCap,
    /// The entropy floor exceeds the largest entropy that floors and caps admit.
    InfeasibleEntropy,
}
