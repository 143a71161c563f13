"""Readers of recorded market data, and the seeded market generator."""

from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.tape.generator import GeneratedTape, generate
from equipoise.tape.model import MarketModel
from equipoise.tape.opening import FORMATS, open_tape
from equipoise.tape.tape import GLITCHES, HOLE_NS, Tape

__all__ = [
    "FORMATS",
    "GLITCHES",
    "HOLE_NS",
    "BookSnapshot",
    "GeneratedTape",
    "MarketEvent",
    "MarketModel",
    "Quotes",
    "Taker",
    "Tape",
    "Trade",
    "generate",
    "open_tape",
]
