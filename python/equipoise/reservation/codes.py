"""Words of the reservation book: outcome codes, order states, account states."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AccountStatus", "Code", "OrderState"]


class Code(StrEnum):
    """What became of a request, in order of precedence: when several apply, the first one here is returned.

    `transient` codes may turn into another answer when the same request is made again later; the others stay.
    """

    OK = "OK"
    DUPLICATE = "DUPLICATE"
    REQUEST_CONFLICT = "REQUEST_CONFLICT"
    TOO_OLD_FOR_DEDUPE = "TOO_OLD_FOR_DEDUPE"
    REQUEST_EXPIRED = "REQUEST_EXPIRED"
    REQUEST_ABANDONED = "REQUEST_ABANDONED"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    ACCOUNT_EXISTS = "ACCOUNT_EXISTS"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    ACCOUNT_RECOVERING = "ACCOUNT_RECOVERING"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    ORDER_EXISTS = "ORDER_EXISTS"
    ILLEGAL_TRANSITION = "ILLEGAL_TRANSITION"
    TERMS_CHANGED = "TERMS_CHANGED"
    TERMS_INVALID = "TERMS_INVALID"
    AMOUNT_OVERFLOW = "AMOUNT_OVERFLOW"
    STALE_MARK = "STALE_MARK"
    POSITION_LIMIT = "POSITION_LIMIT"
    ORDER_LIMIT = "ORDER_LIMIT"
    OWNER_LIMIT = "OWNER_LIMIT"
    INSUFFICIENT_MARGIN = "INSUFFICIENT_MARGIN"

    @property
    def precedence(self) -> int:
        """Place in the order of precedence, 0 for OK."""
        return PRECEDENCE[self]

    @property
    def transient(self) -> bool:
        """Whether the same question may get another answer later."""
        return self in TRANSIENT


PRECEDENCE = {code: place for place, code in enumerate(Code)}
TRANSIENT = frozenset(
    {
        Code.ACCOUNT_NOT_FOUND,
        Code.ACCOUNT_SUSPENDED,
        Code.ACCOUNT_RECOVERING,
        Code.ORDER_NOT_FOUND,
        Code.TERMS_CHANGED,
        Code.STALE_MARK,
        Code.POSITION_LIMIT,
        Code.ORDER_LIMIT,
        Code.OWNER_LIMIT,
        Code.INSUFFICIENT_MARGIN,
    }
)


class OrderState(StrEnum):
    """Where an order stands. An order holds margin in every state that is not terminal."""

    RESERVED = "RESERVED"
    """Held; in no sender's hands."""
    SENT = "SENT"
    """The bytes may have left."""
    LIVE = "LIVE"
    """Known to the venue; partly filled when `filled` > 0."""
    UNKNOWN = "UNKNOWN"
    """May be live; still reserved until there is evidence."""
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    CLOSED = "CLOSED"
    """Ticket positions only: filled, and its position closed again."""

    @property
    def terminal(self) -> bool:
        """Whether nothing of the order works any more."""
        return self in TERMINAL


TERMINAL = frozenset(
    {OrderState.FILLED, OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.CLOSED}
)


class AccountStatus(StrEnum):
    """Whether an account may ask for more. Facts are booked in every status.

    An operator suspends, a promotion makes an account recover, and neither lifts the other.
    """

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    """By `suspend`, until it is lifted there."""
    RECOVERING = "RECOVERING"
    """The last steps may be lost, until `reconcile` has settled everything."""
    SUSPENDED_RECOVERING = "SUSPENDED_RECOVERING"
    """Both at once."""

    @property
    def suspended(self) -> bool:
        """Whether an operator has suspended growth."""
        return self in (AccountStatus.SUSPENDED, AccountStatus.SUSPENDED_RECOVERING)

    @property
    def recovering(self) -> bool:
        """Whether the last steps may be lost."""
        return self in (AccountStatus.RECOVERING, AccountStatus.SUSPENDED_RECOVERING)

    def changed(self, *, suspended: bool | None = None, recovering: bool | None = None) -> AccountStatus:
        """The status with one of the two put on or lifted; None: as it is."""
        suspended = self.suspended if suspended is None else suspended
        recovering = self.recovering if recovering is None else recovering
        if recovering:
            return AccountStatus.SUSPENDED_RECOVERING if suspended else AccountStatus.RECOVERING
        return AccountStatus.SUSPENDED if suspended else AccountStatus.ACTIVE
