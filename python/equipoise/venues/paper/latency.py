"""Seeded travel times, in integers so that a run is the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from equipoise.errors import InputError

__all__ = ["Latency", "TravelTime"]

_STEPS = 1 << 32
_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class TravelTime:
    """Distribution of one way's travel time by its quantiles, straight lines between them.

    Parameters
    ----------
    quantiles
        Pairs (parts per million of the draws, nanoseconds): from 0 to 1 000 000 ppm, both strictly and weakly rising.

    Raises
    ------
    InputError
        The quantiles do not start at 0 ppm, end at 1 000 000, or rise.
    """

    quantiles: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if len(self.quantiles) < 2 or self.quantiles[0][0] != 0 or self.quantiles[-1][0] != 1_000_000:
            raise InputError("quantiles", None, "pairs from 0 to 1000000 ppm", self.quantiles)
        if self.quantiles[0][1] < 0:
            raise InputError("quantiles", 0, "a travel time of at least 0 ns", self.quantiles[0][1])
        pairs = zip(self.quantiles, self.quantiles[1:], strict=False)
        for index, ((share, time), (share_next, time_next)) in enumerate(pairs, start=1):
            if share_next <= share or time_next < time:
                raise InputError("quantiles", index, "rising in both columns", self.quantiles[index])

    @classmethod
    def constant(cls, nanoseconds: int) -> TravelTime:
        """Always the same time."""
        return cls(((0, nanoseconds), (1_000_000, nanoseconds)))

    @classmethod
    def uniform(cls, low_ns: int, high_ns: int) -> TravelTime:
        """Every time between the two, ends included, equally likely."""
        return cls(((0, low_ns), (1_000_000, high_ns)))

    def draw(self, random: Random) -> int:
        """One travel time in nanoseconds; uses one 32-bit draw."""
        position = random.getrandbits(32) * 1_000_000
        share, time = self.quantiles[0]
        for share_next, time_next in self.quantiles[1:]:
            if position <= share_next * _STEPS:
                return time + (time_next - time) * (position - share * _STEPS) // ((share_next - share) * _STEPS)
            share, time = share_next, time_next
        return time


_HALF_ROUND_TRIP = TravelTime(
    (
        (0, 50 * _MILLISECOND),
        (500_000, 100 * _MILLISECOND),
        (990_000, 450 * _MILLISECOND),
        (1_000_000, 900 * _MILLISECOND),
    )
)


@dataclass(frozen=True, slots=True)
class Latency:
    """Travel times of requests to the venue and of answers back.

    The default halves the round trip that Hyperliquid's documentation gives for a co-located client (median 0.2 s, 99th
    percentile 0.9 s; "HyperCore: Overview", section Latency) and assumes the other quantiles.
    """

    to_venue: TravelTime = _HALF_ROUND_TRIP
    to_client: TravelTime = _HALF_ROUND_TRIP

    @classmethod
    def none(cls) -> Latency:
        """Requests and answers arrive at once."""
        return cls(TravelTime.constant(0), TravelTime.constant(0))

    @classmethod
    def constant(cls, to_venue_ns: int, to_client_ns: int) -> Latency:
        """The same time on every trip."""
        return cls(TravelTime.constant(to_venue_ns), TravelTime.constant(to_client_ns))
