"""Amounts are counted in units before the step that books them, which refuses those of another scale than its own.

The account may have been opened, or another put in its place, since its scale was looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from equipoise.errors import StoreUnavailable
from equipoise.reservation.records import Outcome

__all__ = ["OtherScale", "counted_anew"]

_Calls = TypeVar("_Calls")
_Given = ParamSpec("_Given")


class OtherScale(StoreUnavailable):
    """Nothing was done: the account has `scale`, and the amounts were counted in other units."""

    def __init__(self, account_id: str, scale: int) -> None:
        super().__init__(f"{account_id} has scale {scale}, which is not what its amounts were counted at")
        self.scale = scale


def counted_anew(
    method: Callable[Concatenate[_Calls, _Given], Outcome],
) -> Callable[Concatenate[_Calls, _Given], Outcome]:
    """A call with amounts: made once more where the account has another scale than was known, which is known then."""

    @wraps(method)
    def call(self: _Calls, /, *values: _Given.args, **named: _Given.kwargs) -> Outcome:
        try:
            return method(self, *values, **named)
        except OtherScale:
            return method(self, *values, **named)

    return call
