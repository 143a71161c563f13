"""Quote both sides of a market from one margin, and never promise that margin twice."""

from equipoise._rust import Levels, Shape, SideResult, __version__, solve_side
from equipoise.errors import EquipoiseError, InputError
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
    "BookAccount",
    "BookOrder",
    "BookSymbol",
    "Code",
    "EquipoiseError",
    "InputError",
    "Levels",
    "OrderState",
    "Outcome",
    "ReservationBook",
    "Shape",
    "SideResult",
    "Status",
    "__version__",
    "from_micros",
    "solve_side",
]
