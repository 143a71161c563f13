"""The quoter: configuration in, a two-sided ladder with its certificate out."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from equipoise import _rust
from equipoise._rust import SplitConfig
from equipoise.errors import InputError

if TYPE_CHECKING:
    from equipoise._rust import AccountState, Levels, Market, OrderMarginRule, Quote, QuoteSide, Shape

__all__ = [
    "Breadth",
    "KellyConfig",
    "OnInfeasible",
    "OnUnprofitable",
    "Optimizer",
    "Policy",
    "Preset",
    "Quoter",
    "QuoterConfig",
    "Spacing",
]

LOGGER = logging.getLogger(__name__)


class Preset(StrEnum):
    """How evenly a side spreads its size, by its entropy floor in nats: 1.5, 1.0 and 2.0, at most ln(levels)."""

    DEFAULT = "default"
    AGGRESSIVE = "aggressive"
    DEFENSIVE = "defensive"


class Policy(StrEnum):
    """How the two sides share the margin."""

    INVENTORY = "inventory"
    """By the inventory rule, one side at a time."""
    JOINT = "joint"
    """Both sides in one problem under the venue's rule, with a price on inventory; never worse by its own measure."""


class Optimizer(StrEnum):
    """How sizes are chosen within a side's part of the margin."""

    ENTROPY = "entropy"
    """Largest expected value whose entropy stays above the floor; exact, certified."""
    PROPORTIONAL = "proportional"
    """Older: sizes in proportion to expected edge per unit of time."""
    KELLY = "kelly"
    """Older: fractional Kelly under the margin constraint."""


class Spacing(StrEnum):
    """How depths grow from the innermost level to the outermost."""

    GEOMETRIC = "geometric"
    LINEAR = "linear"


class Breadth(StrEnum):
    """What to do with levels whose smallest order is worth less than the lots it takes from others."""

    WIDEST = "widest"
    """Quote every level that is affordable and has value: the number of orders follows from the money."""
    BEST = "best"
    """Drop a level when the side is worth more without it and its entropy floor still holds."""


class OnInfeasible(StrEnum):
    """What to do where the affordable levels cannot meet the entropy floor."""

    RELAX = "relax"
    """Meet the floor in proportion to the levels there are, and say so."""
    REFUSE = "refuse"
    """Quote nothing on that side."""


class OnUnprofitable(StrEnum):
    """What to do where no size has positive value."""

    EMPTY = "empty"
    """Quote nothing on that side."""
    LEAST_BAD = "least_bad"
    """Quote minimum sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KellyConfig:
    """Parameters of the `kelly` optimizer.

    Parameters
    ----------
    fraction
        Share of full Kelly, 0…1; .05, .25 and .75 are the usual presets.
    toxicity
        Probability that a fill at the touch is adverse, 0…1.
    toxicity_decay_bps
        Depth over which that probability falls by 1/e.
    """

    fraction: float = 0.25
    toxicity: float = 0.15
    toxicity_decay_bps: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoterConfig:
    """Everything a quoter is told once.

    Parameters
    ----------
    levels
        Levels asked for on each side, 1…1000.
    spacing, depth_inner_bps, depth_outer_bps
        Depths below and above the mid, in bps. `depth_inner_bps=None` takes the innermost depth from the shape:
        half-spread and inventory skew of Guéant, Lehalle and Fernandez-Tapia.
    preset, entropy_min
        Entropy floor of each side; `entropy_min` in nats wins over the preset.
    temperature_factor
        Regime factor of at least 1 on the temperature (toxicity, volatility, cascades); capped at 3. Raises the floor.
    optimizer, kelly
        Sizing within a side.
    sensitivity, weight_min, weight_max
        The inventory rule: ask weight = clamp(0.5 + sensitivity · position / position_max, weight_min, weight_max).
    haircut
        Share of the available margin that may be used, 0…1.
    mark_buffer_bps
        Move of the mark after the quote that must not lead to a refusal.
    share_floor, share_cap
        Bounds on one level's share of its side.
    breadth
        Whether levels are dropped to gain value: "widest" quotes every level whose smallest order is affordable, "best"
        drops a level when the side is worth more without it and its entropy floor still holds.
    on_infeasible, on_unprofitable
        What to do where the floor cannot be met, and where nothing has value.
    policy
        How the two sides share the margin: "inventory", by the rule above, or "joint", both sides decided at once from
        one margin with inventory priced; sensitivity and weights then describe only the ladder it is compared with.
    price_of_risk
        Policy "joint": price of inventory in account currency per squared contract. Not set: risk_aversion times
        (volatility times price) squared times horizon_s of the shape; levels from the caller need it.
    bid_share_min, bid_share_max
        Policy "joint": bounds on the bids' part of the contracts quoted, 0 to 1; none by default. Dropped, and
        reported, when a side cannot quote.
    fill_variance
        Policy "joint": whether the variance of fills is priced besides that of the expected position.
    jitter
        Standard deviation of a share p as a multiple of sqrt(p (1 - p)), 0 (off) to below 1. Randomised shares keep
        every constraint; an order whose price stays keeps its draw.
    jitter_seed
        Another seed, another draw.

    Raises
    ------
    InputError
        Names the first field out of range.
    """

    levels: int = 5
    spacing: Spacing = Spacing.GEOMETRIC
    depth_inner_bps: float | None = None
    depth_outer_bps: float = 32.0
    preset: Preset = Preset.DEFAULT
    entropy_min: float | None = None
    temperature_factor: float = 1.0
    optimizer: Optimizer = Optimizer.ENTROPY
    kelly: KellyConfig = field(default_factory=KellyConfig)
    sensitivity: float = 0.2
    weight_min: float = 0.3
    weight_max: float = 0.7
    haircut: float = 1.0
    mark_buffer_bps: float = 0.0
    share_floor: float = 0.0
    share_cap: float = 1.0
    breadth: Breadth = Breadth.WIDEST
    on_infeasible: OnInfeasible = OnInfeasible.RELAX
    on_unprofitable: OnUnprofitable = OnUnprofitable.EMPTY
    policy: Policy = Policy.INVENTORY
    price_of_risk: float | None = None
    bid_share_min: float = 0.0
    bid_share_max: float = 1.0
    fill_variance: bool = False
    jitter: float = 0.0
    jitter_seed: int = 1

    def __post_init__(self) -> None:
        for name, kind in (
            ("spacing", Spacing),
            ("preset", Preset),
            ("optimizer", Optimizer),
            ("breadth", Breadth),
            ("on_infeasible", OnInfeasible),
            ("on_unprofitable", OnUnprofitable),
            ("policy", Policy),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in list(kind):
                wanted = "one of " + ", ".join(repr(str(member)) for member in kind)
                raise InputError(name, None, wanted, _shown(value))
            object.__setattr__(self, name, kind(value))
        if isinstance(self.levels, bool) or not isinstance(self.levels, int):
            raise InputError("levels", None, "an int", _shown(self.levels))
        if not isinstance(self.kelly, KellyConfig):
            raise InputError("kelly", None, "a KellyConfig", _shown(self.kelly))
        if not isinstance(self.fill_variance, bool):
            raise InputError("fill_variance", None, "true or false", _shown(self.fill_variance))
        for name in ("bid_share_min", "bid_share_max"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise InputError(name, None, "between 0 and 1", _shown(share))
        if self.bid_share_min > self.bid_share_max:
            raise InputError("bid_share_min", None, "at most bid_share_max", self.bid_share_min)

    @property
    def bid_share(self) -> tuple[float, float] | None:
        """Bounds on the bids' part of the contracts quoted; None where there are none."""
        bounds = (float(self.bid_share_min), float(self.bid_share_max))
        return None if bounds == (0.0, 1.0) else bounds

    @property
    def split(self) -> SplitConfig:
        """The inventory rule and buffers as the split takes them."""
        return SplitConfig(
            sensitivity=self.sensitivity,
            weight_min=self.weight_min,
            weight_max=self.weight_max,
            haircut=self.haircut,
            mark_buffer_bps=self.mark_buffer_bps,
        )

    @property
    def entropy_floor(self) -> float:
        """The entropy floor h in nats that preset, `entropy_min` and `levels` come to."""
        if self.entropy_min is not None:
            return self.entropy_min
        floor = {Preset.DEFAULT: 1.5, Preset.AGGRESSIVE: 1.0, Preset.DEFENSIVE: 2.0}[self.preset]
        return min(floor, math.log(self.levels)) if self.levels >= 1 else floor


def _shown(value: object) -> str:
    """Text and numbers as they are; of anything else the type, because its own text may be long or fail."""
    return repr(value)[:80] if isinstance(value, str | float) else type(value).__name__


class Quoter:
    """Quotes both sides of a market from one margin. Keep one per strategy: it owns its buffers.

    Parameters
    ----------
    config
        Defaults where None.

    Raises
    ------
    InputError
        A field of the configuration is out of range.

    Examples
    --------
    >>> import equipoise as eq
    >>> market = eq.Market(symbol="HYPE", bid=27.10, ask=27.12, mark=27.11, tick="0.001", lot="0.01", notional_min=10)
    >>> state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)
    >>> levels = eq.Levels(depth_bps=[4, 8, 16, 32], fill_probability=[0.7, 0.5, 0.3, 0.1], edge_bps=[2, 5, 11, 25])
    >>> quoter = eq.Quoter(eq.QuoterConfig(levels=4, entropy_min=1.2))
    >>> quote = quoter.quote(market, state, rule=eq.OrderMarginRule.venue("sum"), bids=levels, asks=levels)
    >>> quote.split.ask_weight, quote.certificate.ok, quote.margin_held <= 397.49
    (0.5, True, True)
    """

    __slots__ = ("_engine", "config")

    def __init__(self, config: QuoterConfig | None = None) -> None:
        self.config = c = config if config is not None else QuoterConfig()
        if not isinstance(c, QuoterConfig):
            raise InputError("config", None, "a QuoterConfig", _shown(c))
        self._engine = _rust.LadderEngine(
            levels=c.levels,
            spacing=c.spacing,
            depth_inner_bps=c.depth_inner_bps,
            depth_outer_bps=c.depth_outer_bps,
            entropy_min=c.entropy_floor,
            temperature_factor=c.temperature_factor,
            optimizer=c.optimizer,
            kelly_fraction=c.kelly.fraction,
            kelly_toxicity=c.kelly.toxicity,
            kelly_toxicity_decay_bps=c.kelly.toxicity_decay_bps,
            split=c.split,
            share_floor=c.share_floor,
            share_cap=c.share_cap,
            breadth=c.breadth,
            on_infeasible=c.on_infeasible,
            on_unprofitable=c.on_unprofitable,
            policy=c.policy,
            price_of_risk=c.price_of_risk,
            bid_share=c.bid_share,
            fill_variance=c.fill_variance,
            jitter=c.jitter,
            jitter_seed=c.jitter_seed,
        )

    def __repr__(self) -> str:
        return f"Quoter({self.config!r})"

    def quote(
        self,
        market: Market,
        state: AccountState,
        *,
        rule: OrderMarginRule | None = None,
        shape: Shape | None = None,
        bids: Levels | None = None,
        asks: Levels | None = None,
    ) -> Quote:
        """Two-sided ladder for one market and account.

        Parameters
        ----------
        market
            Best prices, mark, grids. Depths count from the mid; margin is charged at the rule's own price basis.
        state
            Margin available without the orders this quote replaces, position, leverage, position limit.
        rule
            What the venue holds for resting orders; `sum` where None, the strictest of them.
        shape
            Parametric depths, fill probabilities and edges. Exactly one of `shape` and (`bids`, `asks`) is given.
        bids, asks
            Depths, fill probabilities and edges from the caller, level by level.

        Returns
        -------
        Quote
            Orders that together hold at most the margin available under `rule`, each on tick and lot, worth at least
            the minimum at its own price, never crossing, with the entropy floor met or its relaxation named.

        Raises
        ------
        InputError
            An argument is malformed, or shape and levels are both given or both missing.

        Notes
        -----
        O(levels · iterations); deterministic; unchanged input gives identical output. Every quote is one line at INFO
        of the logger `equipoise.quoter`: capacity, margin available and usable, inventory ratio, weights, both parts,
        margin passed, position limits, and what bound each side; under policy "joint" also which ladder it is and why,
        its regret, the prices of margin and inventory. The line is written only where that level is enabled.
        """
        quote = self._engine.quote(market, state, rule, shape, bids, asks)
        if LOGGER.isEnabledFor(logging.INFO):
            LOGGER.info("%s", _line(quote))
        return quote


def _line(quote: Quote) -> str:
    """What the split gave, what passed, and what bound each side."""
    split = quote.split
    return (
        f"{quote.market.symbol} capacity={split.capacity:.6g} available={split.margin_available} usable={split.usable} "
        f"r={split.inventory_ratio:.4g} weights={split.bid_weight:.4g}/{split.ask_weight:.4g} "
        f"parts={split.bid_part}/{split.ask_part} passed={quote.margin_passed} "
        f"limits_lots={split.bid_limit_lots}/{split.ask_limit_lots} held={quote.margin_held} "
        f"bids=[{_side(quote.bids)}] asks=[{_side(quote.asks)}]{_joint(quote)} certified={quote.certificate.ok}"
    )


def _joint(quote: Quote) -> str:
    """Which ladder a joint quote carries, what it may leave, and the prices that explain it."""
    joint = quote.joint
    if joint is None:
        return ""
    dropped = f" share_bound_dropped={joint.share_dropped}" if joint.share_dropped else ""
    bids, asks = joint.margin_price
    return (
        f" policy=joint returned={joint.returned} because={joint.because} objective={joint.objective:.6g} "
        f"regret={joint.regret:.3g} margin_price={bids:.4g}/{asks:.4g} "
        f"inventory_price={joint.inventory_price:.4g}{dropped}"
    )


def _side(side: QuoteSide) -> str:
    if side.empty is not None:
        return f"empty {side.empty.name}"
    relaxed = " relaxed" if side.relaxed else ""
    return f"{len(side)} orders, {side.total:g}, {side.binding.name}{relaxed}"
