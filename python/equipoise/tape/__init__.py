"""Readers of recorded market data, and the seeded market generator."""

from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.tape.opening import FORMATS, open_tape
from equipoise.tape.tape import GLITCHES, HOLE_NS, Tape

__all__ = [
    "FORMATS",
    "GLITCHES",
    "HOLE_NS",
    "BookSnapshot",
    "MarketEvent",
    "Quotes",
    "Taker",
    "Tape",
    "Trade",
    "open_tape",
]
