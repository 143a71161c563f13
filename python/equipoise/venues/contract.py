"""What every venue adapter gives: one protocol, one event form, one status per order.

Requests carry client order ids and only *send*. Whatever the venue decides comes back through `events`, one event per
order, each with an id that is the same when the event is delivered twice. No answer in time is `Unresolved`: the
order may be live, so it is queried by its client id and never sent again.

Money is in integer micro-units (10^-6) of the account currency, prices are integer ticks, sizes integer lots,
positions are signed lots with long > 0. `exchange_ns` is by the venue's clock, `local_ns` by ours, both nanoseconds
since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from equipoise._rust import Market, PriceRule
from equipoise.errors import InputError
from equipoise.orders import Order, Side

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from equipoise.tape.events import BookSnapshot, Quotes, Trade

__all__ = [
    "Acknowledged",
    "Calibration",
    "CancelReason",
    "CancelRejected",
    "Cancelled",
    "Filled",
    "Instrument",
    "Liquidity",
    "OpenOrder",
    "RejectReason",
    "Rejected",
    "TimeInForce",
    "Unresolved",
    "Venue",
    "VenueAccount",
    "VenueEvent",
]

MICROS = 1_000_000


class TimeInForce(StrEnum):
    """How long an order may wait, and whether it may take liquidity."""

    POST_ONLY = "alo"
    """Rests until cancelled; refused when it would match at once."""
    GTC = "gtc"
    """Takes what it can, the rest waits."""
    IOC = "ioc"
    """Takes what it can, the rest is cancelled."""


class Liquidity(StrEnum):
    """Whether our order waited in the book or crossed the spread."""

    MAKER = "maker"
    TAKER = "taker"


class RejectReason(StrEnum):
    """Why a venue refused an order, in the order in which the paper venue checks."""

    DUPLICATE_ID = "duplicate_id"
    LOT = "lot"
    TICK = "tick"
    MIN_NOTIONAL = "min_notional"
    REDUCE_ONLY = "reduce_only"
    NO_MARKET = "no_market"
    ORDER_LIMIT = "order_limit"
    POST_ONLY = "post_only"
    MARGIN = "margin"
    NO_LIQUIDITY = "no_liquidity"
    MISSING_ORDER = "missing_order"
    """The order to be replaced is not open."""
    OTHER = "other"
    """A text this version does not know; the text is in the event."""


class CancelReason(StrEnum):
    """Why an accepted order ended before it was filled."""

    REQUESTED = "requested"
    REPLACED = "replaced"
    IOC = "ioc"
    """What an immediate-or-cancel order could not take."""
    REDUCE_ONLY = "reduce_only"
    """The position it could reduce is gone."""
    MARGIN = "margin"
    """Its match would have needed more margin than the account has."""
    SELF_TRADE = "self_trade"
    """It would have matched with an order of the same account."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What is traded and in which steps.

    Parameters
    ----------
    symbol
        Name at the venue.
    tick, lot
        Price step in quote currency, size step in contracts; positive.
    notional_min
        Smallest order value in the account currency; 0 where there is none.
    contract_value
        Value of one contract per unit of price; positive. Linear contracts only.
    significant_figures
        Largest number of significant figures of a price; whole prices are always valid. None where only the tick
        counts. The tick must then be a power of ten.
    leverage_max
        Largest leverage the venue gives; None when unknown.

    Raises
    ------
    InputError
        A step or a value is not positive, or the tick does not go with significant figures.
    """

    symbol: str
    tick: Decimal
    lot: Decimal
    notional_min: Decimal = Decimal(0)
    contract_value: Decimal = Decimal(1)
    significant_figures: int | None = None
    leverage_max: Decimal | None = None
    _unit: Fraction = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("tick", "lot", "contract_value"):
            value = getattr(self, name)
            if not (isinstance(value, Decimal) and value.is_finite() and value > 0):
                raise InputError(name, None, "a positive Decimal", value)
        if not (isinstance(self.notional_min, Decimal) and self.notional_min.is_finite() and self.notional_min >= 0):
            raise InputError("notional_min", None, "a Decimal of at least 0", self.notional_min)
        if self.significant_figures is not None:
            if self.significant_figures < 1:
                raise InputError("significant_figures", None, "at least 1", self.significant_figures)
            if self.tick.normalize().as_tuple().digits != (1,) or self.tick > 1:
                raise InputError("tick", None, "1 or a negative power of ten with significant figures", self.tick)
        unit = Fraction(self.tick) * Fraction(self.lot) * Fraction(self.contract_value) * MICROS
        object.__setattr__(self, "_unit", unit)

    @property
    def unit_micros(self) -> Fraction:
        """Value of one lot at a price of one tick, in micro-units; exact."""
        return self._unit

    def market(self, bid: Decimal, ask: Decimal, mark: Decimal, last: Decimal) -> Market:
        """The quoter's and the margin rule's view of this instrument at these prices."""
        rule = None
        if self.significant_figures is not None:
            decimals = -int(self.tick.normalize().as_tuple().exponent)
            rule = PriceRule.significant(self.significant_figures, decimals_max=decimals)
        return Market(
            symbol=self.symbol,
            bid=bid,
            ask=ask,
            mark=mark,
            tick=self.tick,
            lot=self.lot,
            notional_min=self.notional_min,
            contract_value=self.contract_value,
            price_rule=rule,
            last=last,
        )

    def price(self, ticks: int) -> Decimal:
        """Exact price of `ticks`."""
        return self.tick * ticks

    def size(self, lots: int) -> Decimal:
        """Exact size of `lots`, in contracts."""
        return self.lot * lots

    def price_step(self, ticks: int) -> int:
        """Grid step in ticks around a price: above 1 where significant figures run out before decimals do."""
        if self.significant_figures is None:
            return 1
        excess = len(str(abs(ticks))) - self.significant_figures
        decimals = -int(self.tick.normalize().as_tuple().exponent)
        return int(10 ** max(0, min(excess, decimals)))

    def price_valid(self, ticks: int) -> bool:
        """Whether the venue takes this price: positive and on the grid."""
        return ticks > 0 and ticks % self.price_step(ticks) == 0

    def price_floor(self, ticks: int) -> int:
        """Largest valid price not above `ticks` (for bids)."""
        step = self.price_step(ticks)
        return ticks // step * step

    def price_ceil(self, ticks: int) -> int:
        """Smallest valid price not below `ticks` (for asks)."""
        step = self.price_step(ticks)
        return -(-ticks // step) * step

    def notional_reached(self, lots: int, price_ticks: int) -> bool:
        """Whether an order reaches the minimum value at its own price; exact."""
        return self._unit * lots * price_ticks >= Fraction(self.notional_min) * MICROS

    def order(
        self,
        side: Side,
        lots: int,
        price_ticks: int,
        *,
        order_id: str,
        hold: int = 0,
        reduce_only: bool = False,
    ) -> Order:
        """An order of this instrument with its exact price and size written out."""
        return Order(
            symbol=self.symbol,
            side=side,
            lots=lots,
            price_ticks=price_ticks,
            hold=hold,
            price=self.price(price_ticks),
            size=self.size(lots),
            reduce_only=reduce_only,
            order_id=order_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The venue accepted `lots` of the order; they rest, or fills follow."""

    event_id: str
    exchange_ns: int
    local_ns: int
    order_id: str
    venue_order_id: str
    lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A part or all of an order matched.

    Parameters
    ----------
    fill_id
        Stable name of the fill at the venue; the same on every delivery.
    lots, price_ticks
        What matched, and at which price.
    lots_left
        What is left of the order after this fill.
    fee
        Micro-units taken from the balance; negative for a rebate.
    realised_pnl
        Micro-units booked to the balance for the part that closed, before the fee.
    position_after
        Signed lots.
    mark
        The venue's mark at the match.
    """

    event_id: str
    exchange_ns: int
    local_ns: int
    order_id: str
    venue_order_id: str
    fill_id: str
    side: Side
    lots: int
    price_ticks: int
    lots_left: int
    fee: int
    liquidity: Liquidity
    realised_pnl: int
    position_after: int
    mark: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The venue refused the order; nothing of it rests or filled.

    `text` is the venue's own. `mark` is the venue's mark at the refusal, `shortfall` the missing margin in
    micro-units; both are given for `RejectReason.MARGIN` where the venue tells.
    """

    event_id: str
    exchange_ns: int
    local_ns: int
    order_id: str
    code: RejectReason
    text: str
    mark: Decimal | None = None
    shortfall: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """An accepted order ended with `lots_left` not filled (0 never occurs: a filled order ends with its fill).

    For `CancelReason.MARGIN`, `mark` is the mark at the refused match, `mark_moved_bps` its distance from the mark at
    which the venue accepted the order (in 10^-4 of the latter, never negative), and `shortfall` the missing margin in
    micro-units.
    """

    event_id: str
    exchange_ns: int
    local_ns: int
    order_id: str
    venue_order_id: str
    lots_left: int
    reason: CancelReason
    text: str = ""
    mark: Decimal | None = None
    mark_moved_bps: float | None = None
    shortfall: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRejected:
    """The order to be cancelled was not open: never placed, already cancelled or filled."""

    event_id: str
    exchange_ns: int
    local_ns: int
    order_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """No answer in time: the order may be live. Written by adapters, never by a venue. Query by client id."""

    event_id: str
    exchange_ns: int
    local_ns: int
    order_id: str
    text: str


VenueEvent = Acknowledged | Filled | Rejected | Cancelled | CancelRejected | Unresolved


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order that rests at the venue."""

    order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    lots: int
    lots_left: int
    price_ticks: int
    reduce_only: bool
    time_in_force: TimeInForce
    placed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueAccount:
    """The account by the venue's own figures, micro-units unless said otherwise.

    Parameters
    ----------
    balance
        Money booked: deposits, realised profit and loss, fees.
    equity
        Balance plus unrealised profit and loss at the mark, rounded down.
    position_lots
        Signed lots.
    entry_price
        Average entry; None when flat or not told.
    margin_position
        Held by the position alone.
    margin_orders
        Held on top of it by resting orders.
    mark
        Mark used for the figures; None before the first two-sided market.
    """

    exchange_ns: int
    symbol: str
    balance: int
    equity: int
    position_lots: int
    entry_price: Decimal | None
    unrealised_pnl: int
    realised_pnl: int
    fees: int
    margin_position: int
    margin_orders: int
    mark: Decimal | None

    @property
    def margin_available(self) -> int:
        """`equity − margin_position`: what resting orders may hold, those that rest already included."""
        return self.equity - self.margin_position

    @property
    def margin_free(self) -> int:
        """What new orders may hold on top of everything that rests."""
        return self.equity - self.margin_position - self.margin_orders


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the venue's own available-margin figures compare with an order-margin rule.

    `differences` gives, per side, ours minus the venue's in micro-units; `fits` is true when all are 0.
    """

    rule: str
    differences: tuple[tuple[str, int], ...]

    @property
    def fits(self) -> bool:
        """Whether the rule reproduces every figure the venue gave."""
        return all(difference == 0 for _, difference in self.differences)


@runtime_checkable
class Venue(Protocol):
    """An exchange account, live or simulated.

    `place`, `cancel`, `replace` and `cancel_all` return when the request is on its way; `VenueUnavailable` from them
    means that nothing was sent. Every order that was on its way gets exactly one of `Acknowledged`, `Rejected` or
    `Unresolved` from `events`, in any batch, whatever happened to its neighbours.
    """

    async def instrument(self, symbol: str) -> Instrument:
        """Steps, minimum and limits of an instrument."""
        ...

    def book(self) -> AsyncIterator[BookSnapshot | Quotes]:
        """Depth and best quotes as they change."""
        ...

    def trades(self) -> AsyncIterator[Trade]:
        """Trades between others."""
        ...

    async def account(self) -> VenueAccount:
        """Balance, position and margin by the venue's own figures."""
        ...

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Everything that rests now; also the answer to `Unresolved`."""
        ...

    async def place(self, orders: Sequence[Order], *, time_in_force: TimeInForce = TimeInForce.POST_ONLY) -> None:
        """Send new orders in one request; each must carry an `order_id` not used before."""
        ...

    async def cancel(self, order_ids: Sequence[str]) -> None:
        """Ask for the end of orders by client id."""
        ...

    async def replace(
        self, order_ids: Sequence[str], orders: Sequence[Order], *, time_in_force: TimeInForce = TimeInForce.POST_ONLY
    ) -> None:
        """End each old order and place the new one in its stead, pairwise, in one request."""
        ...

    async def cancel_all(self) -> None:
        """Ask for the end of everything that rests when the request arrives."""
        ...

    def events(self) -> AsyncIterator[VenueEvent]:
        """What happened to our orders, in the order in which we learn it."""
        ...

    async def calibrate(self) -> Calibration:
        """Compare the venue's available margin with the order-margin rule in use."""
        ...

    async def close(self) -> None:
        """Close streams and connections. Orders stay as they are."""
        ...
