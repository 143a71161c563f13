"""Quote both sides of a market from one margin, and never promise that margin twice."""

from equipoise._rust import Levels, Shape, SideResult, __version__, solve_side
from equipoise.errors import EquipoiseError, InputError
from equipoise.status import Status

__all__ = ["EquipoiseError", "InputError", "Levels", "Shape", "SideResult", "Status", "__version__", "solve_side"]
