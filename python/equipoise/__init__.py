"""Quote both sides of a market from one margin, and never promise that margin twice."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from equipoise._rust import (
    Acceptance,
    AccountState,
    BatchResult,
    Certificate,
    Inventory,
    JointReport,
    Levels,
    LeverageTiers,
    Market,
    Multipliers,
    OrderMarginRule,
    PriceRule,
    Quote,
    QuoteSide,
    Saturation,
    Shape,
    SideProblem,
    SideResult,
    SidesCertificate,
    SidesProblem,
    SidesResult,
    Solver,
    Split,
    SplitConfig,
    __version__,
    certify,
    open_interest_rate,
    position_max_from_equity,
    solve_batch,
    solve_side,
    solve_sides,
    split_margin,
)
from equipoise.errors import EquipoiseError, InputError
from equipoise.orders import Order, Side
from equipoise.quoter import Quoter, QuoterConfig
from equipoise.status import Binding, Reason, SidesStatus, SideStatus, Status

if TYPE_CHECKING:
    from equipoise.estimator import ShapeEstimator
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
    from equipoise.reservation.awaited import AsyncReservationBook

__all__ = [
    "Acceptance",
    "AccountState",
    "AsyncReservationBook",
    "BatchResult",
    "Binding",
    "BookAccount",
    "BookOrder",
    "BookSymbol",
    "Certificate",
    "Code",
    "EquipoiseError",
    "InputError",
    "Inventory",
    "JointReport",
    "Levels",
    "LeverageTiers",
    "Market",
    "Multipliers",
    "Order",
    "OrderMarginRule",
    "OrderState",
    "Outcome",
    "PriceRule",
    "Quote",
    "QuoteSide",
    "Quoter",
    "QuoterConfig",
    "Reason",
    "ReservationBook",
    "Saturation",
    "Shape",
    "ShapeEstimator",
    "Side",
    "SideProblem",
    "SideResult",
    "SideStatus",
    "SidesCertificate",
    "SidesProblem",
    "SidesResult",
    "SidesStatus",
    "Solver",
    "Split",
    "SplitConfig",
    "Status",
    "__version__",
    "certify",
    "from_micros",
    "open_interest_rate",
    "position_max_from_equity",
    "solve_batch",
    "solve_side",
    "solve_sides",
    "split_margin",
]


# The estimator brings the tape readers with it, the book its steps and audits: most of the import, for later.
_LATER = {
    "AsyncReservationBook": "equipoise.reservation.awaited",
    "ShapeEstimator": "equipoise.estimator",
    **dict.fromkeys(
        (
            "BookAccount",
            "BookOrder",
            "BookSymbol",
            "Code",
            "OrderState",
            "Outcome",
            "ReservationBook",
            "from_micros",
        ),
        "equipoise.reservation",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
