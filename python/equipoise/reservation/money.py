"""Amounts: decimals at the door, integers of 10^-scale inside.

Every booked amount is an integer count of 10^-scale units of the account's currency, at most 2^53 - 1 in magnitude so
that a store whose numbers are doubles (Lua) computes the same.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import SupportsIndex

from equipoise.errors import InputError

__all__ = ["Amount", "from_micros", "held", "lots_of", "to_decimal", "units"]

Amount = Decimal | int | str
"""What the API takes for money: exact decimals. An int is whole currency units. A float is refused."""

AMOUNT_MAX = 2**53 - 1
MICRO_SCALE = 6
SCALE_MAX = 9
_DIGITS_MAX = 60
_EXACT = Context(prec=_DIGITS_MAX, traps=[Inexact, InvalidOperation, Overflow])
_POWERS = tuple(10**scale for scale in range(SCALE_MAX + 1))


def units(
    value: Amount, scale: int, argument: str, *, index: int | None = None, signed: bool = False, round_up: bool = False
) -> int:
    """Count of 10^-scale units in an amount.

    Parameters
    ----------
    value
        Decimal, int (whole currency units) or decimal string.
    scale
        Decimal places of the account, 0-9.
    argument, index
        Named in the error.
    signed
        Whether a negative amount is allowed.
    round_up
        Round finer amounts towards plus infinity (holds and margins) instead of refusing them.

    Raises
    ------
    InputError
        Float, not a number, not finite, too fine for the scale, out of range or of the wrong sign.
    """
    if type(value) is int:
        count: int = value * _POWERS[scale]
    else:
        count = _decimal_units(_decimal(value, argument, index), scale, argument, index, round_up)
    if not -AMOUNT_MAX <= count <= AMOUNT_MAX:
        raise InputError(argument, index, f"within 2^53 - 1 units of 10^-{scale}", value)
    if count < 0 and not signed:
        raise InputError(argument, index, "zero or positive", value)
    return count


def _decimal(value: object, argument: str, index: int | None) -> Decimal:
    """The amount as an exact decimal."""
    if isinstance(value, float):
        raise InputError(
            argument,
            index,
            "a Decimal, an int or a decimal string (a float is not an exact amount)",
            f"float {value!r}",
        )
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, str):
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise InputError(argument, index, "a decimal number", repr(value)) from None
    elif (integer := _integer(value)) is not None:
        number = Decimal(integer)
    else:
        got = f"{type(value).__name__} {value!r}"
        raise InputError(argument, index, "a Decimal, an int or a decimal string", got)
    if not number.is_finite():
        raise InputError(argument, index, "finite", value)
    return number


def _decimal_units(number: Decimal, scale: int, argument: str, index: int | None, round_up: bool) -> int:
    """Scaled integer of a finite decimal."""
    # An exponent in the thousands would make int() build the number digit by digit.
    if number and not -_DIGITS_MAX < number.adjusted() < _DIGITS_MAX // 2:
        requirement = "at most 2^53 - 1 units" if number.adjusted() > 0 else f"given in at most {scale} decimals"
        raise InputError(argument, index, requirement, number)
    try:
        scaled = _EXACT.scaleb(number, scale)
    except (Inexact, InvalidOperation):
        raise InputError(argument, index, f"given in at most {_DIGITS_MAX} digits", number) from None
    count = int(scaled)
    if count != scaled:
        if not round_up:
            raise InputError(argument, index, f"given in at most {scale} decimals", number)
        count += scaled > count
    return count


def _integer(value: object) -> int | None:
    """The integer that a value is; None for bools and for what only looks like one, such as an array."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        return int(value.__index__())
    except TypeError:
        return None


def whole(value: object, argument: str, index: int | None = None) -> int:
    """An integer that is not a bool; numpy integers pass."""
    integer = _integer(value)
    if integer is None:
        raise InputError(argument, index, "an integer", f"{type(value).__name__} {value!r}")
    return integer


def lots_of(value: object, argument: str, index: int | None = None, *, least: int = 1) -> int:
    """A number of lots or ticks: an integer from `least` to 2^53 - 1."""
    count = value if type(value) is int else whole(value, argument, index)
    if not least <= count <= AMOUNT_MAX:
        raise InputError(argument, index, f"an integer from {least} to 2^53 - 1", value)
    return count


def to_decimal(count: int, scale: int) -> Decimal:
    """Exact decimal of an integer count of 10^-scale units."""
    return _EXACT.scaleb(Decimal(count), -scale)


def from_micros(count: int) -> Decimal:
    """Exact decimal of a count of micro-units: what the order-margin rules return, as an amount the book takes.

    Examples
    --------
    >>> from_micros(27_110_000)
    Decimal('27.110000')
    """
    return to_decimal(count, MICRO_SCALE)


def held(amount: int, lots: int, left: int) -> int:
    """Part of `amount` that stays held when `left` of `lots` lots remain: b*left + min(x, left).

    b = amount // lots and x = amount - b*lots. Depends on `left` only, so any order of partial releases ends at the
    same figure; needs no product above `amount`; is 0 at left = 0 and `amount` at left = lots.

    Parameters
    ----------
    amount
        Units held for all lots; zero or positive.
    lots
        Number of lots the amount was held for; positive.
    left
        Lots that remain, 0 <= left <= lots.
    """
    if left == lots:
        return amount
    each, extra = divmod(amount, lots)
    return each * left + (min(left, extra))
