"""The paper venue: an in-process exchange for our own orders against a recorded or generated market."""

from equipoise.venues.paper.latency import Latency, TravelTime
from equipoise.venues.paper.lockstep import LockStep
from equipoise.venues.paper.queue import CancelsAhead, UnseenQueue
from equipoise.venues.paper.venue import PaperConfig, PaperVenue

__all__ = ["CancelsAhead", "Latency", "LockStep", "PaperConfig", "PaperVenue", "TravelTime", "UnseenQueue"]
