"""Quote both sides of a market from one margin, and never promise that margin twice."""

from equipoise._rust import (
    Acceptance,
    AccountState,
    Levels,
    LeverageTiers,
    Market,
    OrderMarginRule,
    PriceRule,
    Shape,
    SideResult,
    Split,
    SplitConfig,
    __version__,
    open_interest_rate,
    position_max_from_equity,
    solve_side,
    split_margin,
)
from equipoise.errors import EquipoiseError, InputError
from equipoise.estimator import ShapeEstimator
from equipoise.orders import Order, Side
from equipoise.reservation import (
    BookAccount,
    BookOrder,
    BookSymbol,
    Code,
    OrderState,
    Outcome,
    ReservationBook,
    from_micros,
)
from equipoise.status import Status

__all__ = [
    "Acceptance",
    "AccountState",
    "BookAccount",
    "BookOrder",
    "BookSymbol",
    "Code",
    "EquipoiseError",
    "InputError",
    "Levels",
    "LeverageTiers",
    "Market",
    "Order",
    "OrderMarginRule",
    "OrderState",
    "Outcome",
    "PriceRule",
    "ReservationBook",
    "Shape",
    "ShapeEstimator",
    "Side",
    "SideResult",
    "Split",
    "SplitConfig",
    "Status",
    "__version__",
    "from_micros",
    "open_interest_rate",
    "position_max_from_equity",
    "solve_side",
    "split_margin",
]
