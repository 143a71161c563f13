"""Decimal text to whole steps of a grid, exactly and fast."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, DecimalException, DivisionByZero, InvalidOperation, Overflow
from math import gcd

from equipoise.errors import InputError

__all__ = ["Grid", "Unusable", "decimal_step", "finest_step", "nanoseconds", "plausible"]

STEPS_MAX = 2**63 - 1
"""Largest number of ticks or lots: what fits the core's 64-bit integers."""

TEXTS_MAX = 1 << 17
"""Distinct texts a grid remembers before it starts again; bounds memory on an endless tape."""

APART_NS_MAX = 2 * 86_400 * 10**9
"""Largest difference between a row's local and exchange time."""

_EXACT = Context(prec=60, traps=[InvalidOperation, DivisionByZero, Overflow])
_POWERS: tuple[int, ...] = tuple(10**digits for digits in range(19))


class Unusable(Exception):
    """A row cannot be used; `reason` is the glitch it is counted under. Never leaves the readers."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Grid(dict[str, int]):
    """Map of decimal text to whole positive steps, filled as texts are met.

    Recorders write the same few prices and sizes over and over, so one dictionary look-up replaces most of the parsing.
    A text that is not a positive whole number of steps raises `Unusable`; nothing is ever rounded.

    Parameters
    ----------
    step
        Size of one step in the text's unit; positive and finite.
    """

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self.step = step

    def __missing__(self, text: str) -> int:
        try:
            value = Decimal(text)
        except DecimalException:
            raise Unusable("malformed") from None
        if not value.is_finite() or value <= 0:
            raise Unusable("malformed")
        try:
            steps, rest = _EXACT.divmod(value, self.step)
        except DecimalException:
            raise Unusable("out_of_range") from None
        if rest:
            raise Unusable("off_grid")
        if steps > STEPS_MAX:
            raise Unusable("out_of_range")
        if len(self) >= TEXTS_MAX:
            self.clear()
        count = int(steps)
        self[text] = count
        return count


def nanoseconds(text: str, digits: int) -> int:
    """Whole nanoseconds of a decimal time.

    Parameters
    ----------
    text
        Unsigned decimal without exponent, such as ``1757015216.673878``.
    digits
        Decimal places from its unit to a nanosecond: 9 for seconds, 6 for milliseconds. Further places are cut off.

    Raises
    ------
    Unusable
        Not such a number, zero, or beyond 2^63 ns.
    """
    whole, _, places = text.partition(".")
    if not whole.isdecimal() or not whole.isascii() or len(whole) > 19:
        raise Unusable("malformed")
    ns = int(whole) * _POWERS[digits]
    if places:
        if not places.isdecimal() or not places.isascii():
            raise Unusable("malformed")
        ns += int(places[:digits].ljust(digits, "0"))
    if not 0 < ns <= STEPS_MAX:
        raise Unusable("out_of_range")
    return ns


def plausible(exchange_ns: int, local_ns: int) -> None:
    """Refuse a row whose two times cannot both be right.

    Raises
    ------
    Unusable
        They are over two days apart: more than any clock error or time zone explains, and enough to put a row far out
        of its place.
    """
    if abs(local_ns - exchange_ns) > APART_NS_MAX:
        raise Unusable("out_of_range")


def decimal_step(argument: str, value: object) -> Decimal:
    """Tick or lot as the caller gave it, as an exact positive decimal.

    Raises
    ------
    InputError
        Not a positive finite decimal between 1e-12 and 1e12. A float is refused: 0.1 as a float is another number.
    """
    requirement = "a positive decimal between 1e-12 and 1e12, as text, int or Decimal"
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InputError(argument, None, requirement, repr(value))
    try:
        step = Decimal(value)
    except DecimalException as error:
        raise InputError(argument, None, requirement, repr(value)) from error
    if not step.is_finite() or not Decimal("1e-12") <= step <= Decimal("1e12"):
        raise InputError(argument, None, requirement, repr(value))
    return step


def finest_step(texts: Iterable[str]) -> Decimal | None:
    """Largest step of the form 1, 2, 2.5 or 5 times a power of ten, up to 5e12, that divides every positive text.

    Texts that are not positive finite decimals, or lie outside 1e-12…1e18, are passed over. None when none remains.
    """
    units = 0  # greatest common divisor in units of 1e-12
    for text in set(texts):
        try:
            value = Decimal(text)
        except DecimalException:
            continue
        if not value.is_finite() or not Decimal("1e-12") <= value <= Decimal("1e18"):
            continue
        scaled = _EXACT.scaleb(value, 12)
        if scaled == scaled.to_integral_value():
            units = gcd(units, int(scaled))
    if units == 0:
        return None
    steps = (tenths * 10**power // 10 for power in range(24, -1, -1) for tenths in (50, 25, 20, 10))
    step = next(step for step in steps if step and units % step == 0)
    return Decimal(format(Decimal(step).scaleb(-12).normalize(), "f"))
