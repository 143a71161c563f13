"""The book in a SQLite file."""

from __future__ import annotations

from equipoise.errors import StoreUnavailable
from equipoise.reservation.contract import Clock
from equipoise.reservation.memory import MemoryBook

__all__ = ["SqliteBook"]


class SqliteBook(MemoryBook):
    """A reservation book in a SQLite file."""

    def __init__(
        self,
        path: str,
        *,
        durability: str,
        clock: Clock | None = None,
        timeout_ms: int = 5_000,
        horizon_s: int = 86_400,
    ) -> None:
        super().__init__(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        raise StoreUnavailable(f"{path} ({durability}): this store comes with the next step")
