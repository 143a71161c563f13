"""Quote both sides of a market from one margin, and never promise that margin twice."""

from equipoise._rust import __version__

__all__ = ["__version__"]
