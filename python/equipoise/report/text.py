"""Numbers and words as the report prints them."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from datetime import UTC, datetime

__all__ = ["aligned", "clock", "escape", "integer", "number", "percent", "plain", "signed", "significant", "utc"]

MISSING = "–"
MINUS = "\N{MINUS SIGN}"
PRINTABLE_MAX = 1e15


def escape(value: object) -> str:
    """Text that is safe between tags and inside a quoted attribute; control characters become spaces."""
    plain = "".join(char if char.isprintable() or char in "\n\t" else " " for char in str(value))
    return html.escape(plain, quote=True)


def number(value: float, digits: int) -> str:
    """A number with thousands separators and a true minus sign; a dash when it is unknown.

    >>> number(1234567.891, 2), number(-0.001, 2), number(float("nan"), 1)
    ('1,234,567.89', '0.00', '–')
    """
    if not math.isfinite(value):
        return MISSING
    if abs(value) >= PRINTABLE_MAX:
        return f"{value:.3e}".replace("-", MINUS)
    text = f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def integer(value: float) -> str:
    """A whole number with thousands separators."""
    return number(value, 0)


def plain(value: float) -> str:
    """A number as short as it can be written, with thousands separators.

    >>> plain(10.0), plain(19.75), plain(12500.5)
    ('10', '19.75', '12,500.5')
    """
    text = significant(value, 8)
    return text.rstrip("0").rstrip(".") if "." in text else text


def aligned(values: Iterable[float]) -> list[str]:
    """Numbers of one column, all with the digits that the longest of them needs (at most eight).

    >>> aligned([202.5, 202.577, 0.1 + 0.2])
    ['202.500', '202.577', '0.300']
    """
    column = list(values)
    known = [value for value in column if math.isfinite(value)]
    exact = (d for d in range(8) if all(abs(round(v, d) - v) <= 1e-9 * max(1.0, abs(v)) for v in known))
    digits = next(exact, 8)
    return [number(value, digits) for value in column]


def signed(value: float, digits: int) -> str:
    """As `number`, with a plus sign before what is above zero.

    >>> signed(1.5, 2), signed(-1.5, 2), signed(0.0, 2)
    ('+1.50', '−1.50', '0.00')
    """
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.,") not in {"", MISSING} else text


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage, 0.125 as 12.5 %."""
    return number(share * 100, digits) + "\N{NO-BREAK SPACE}%"


def significant(value: float, figures: int = 5) -> str:
    """A number with about `figures` significant figures, never fewer than its whole digits.

    >>> significant(0.0123456), significant(110250.7), significant(202.4567)
    ('0.012346', '110,251', '202.46')
    """
    if not math.isfinite(value) or value == 0:
        return number(value, 0)
    return number(value, max(0, min(12, figures - 1 - math.floor(math.log10(abs(value))))))


def clock(seconds: float) -> str:
    """A duration as h:mm:ss, or m:ss below one hour.

    >>> clock(75.2), clock(3675)
    ('1:15', '1:01:15')
    """
    if not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return MINUS + text if seconds < 0 and (hours or minutes or rest) else text


def utc(time_ns: int) -> str:
    """A moment as date and time in UTC, to the second.

    >>> utc(1_757_015_216_000_000_000)
    '2025-09-04 19:46:56'
    """
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return MISSING
    return f"{moment:%Y-%m-%d %H:%M:%S}"
