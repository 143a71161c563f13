"""Calls on orders: asking for margin, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation.arguments import (
    TIME_MAX,
    asks_of,
    order_type_of,
    owner_of,
    terms_version_of,
    text_of,
    time_of,
)
from equipoise.reservation.calls import Calls
from equipoise.reservation.codes import OrderState
from equipoise.reservation.ids import account_id_of, derived_id, fingerprint, id_of, plain
from equipoise.reservation.money import MICRO_SCALE, Amount, lots_of, units
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import Amend, Close, Execute, Fill, OrderEvent, Reserve, Resolve, SettleAmend
from equipoise.reservation.scales import OtherScale, counted_anew

__all__ = ["OrderCalls"]

EVIDENCE = ("not_at_venue", "operator", "venue")
Policy = Literal["all_or_nothing", "best_effort"]


class OrderCalls(Calls):
    """Reservations, local executions, and the events of orders."""

    def reserve(
        self,
        account_id: str,
        orders: Sequence[Order],
        *,
        request_id: str,
        policy: Policy = "all_or_nothing",
        holds: Sequence[Amount] | None = None,
        terms_version: int | None = None,
        owner: str = "",
        send: Literal["claim", "caller", "outbox"] = "claim",
        order_type: Literal["limit", "market"] = "limit",
        deadline_us: int | None = None,
        good_till_us: int | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Hold margin for a ladder of 1-500 orders, both sides, in one step.

        Parameters
        ----------
        orders
            In the caller's priority. An order without an id is named f"{request_id}:{index}". Its `hold` is
            micro-units, so the account's scale must be 6 (TERMS_INVALID otherwise) unless `holds` is given.
        request_id
            Same id and content again: DUPLICATE with the first result.
        policy
            "all_or_nothing" checks the end state of the whole ladder; "best_effort" goes order by order, with a code
            for each, and is OK when at least one is held.
        holds
            Charge of each order as an amount of the account's currency, rounded up to its scale; replaces `hold`.
        terms_version
            Version the charges were computed under; TERMS_CHANGED when the account's has moved on.
        owner
            Tag of the strategy, for `owner_margin_max`.
        send
            "claim": orders start RESERVED and a sender must `claim` each before its bytes leave; "outbox": the same,
            and the step writes an entry that `outbox` shows to whoever sends; "caller": the caller sends them itself
            now, they start SENT.
        deadline_us
            When an answer is due; default six times the call's time-out from issued_at.
        good_till_us
            Until when the venue may still accept the orders, where the venue has such a field.
        issued_at_us, not_after_us
            When the request was made and until when it may take effect.

        Returns
        -------
        Outcome
            With a code, and one `OrderOutcome` per order. Granted iff used_margin_all does not rise, or `free` after
            the step is zero or more. INSUFFICIENT_MARGIN carries required, free and shortfall.
        """
        account_id = account_id_of(account_id)
        ident = id_of(request_id, "request_id")
        if policy not in ("all_or_nothing", "best_effort"):
            raise InputError("policy", None, "'all_or_nothing' or 'best_effort'", policy)
        if send not in ("claim", "caller", "outbox"):
            raise InputError("send", None, "'claim', 'caller' or 'outbox'", send)
        how = send if type(send) is str else plain(send)
        scale = MICRO_SCALE if holds is None else self._scale(account_id)
        asks = asks_of(ident, orders, holds, scale)
        # What most calls leave as it is costs them a comparison here, not a call.
        if owner != "" or type(owner) is not str:
            owner = owner_of(owner)
        if terms_version is not None:
            terms_version = terms_version_of(terms_version)
        good_till = None if good_till_us is None else time_of(good_till_us, "good_till_us")
        kind = order_type_of(order_type)
        issued, until = self._validity(issued_at_us, not_after_us)
        best_effort = policy == "best_effort"
        in_micros = holds is None
        said = (best_effort, in_micros, terms_version, owner, how, kind, good_till)
        if deadline_us is not None:
            deadline = time_of(deadline_us, "deadline_us")
        elif (deadline := issued + 6 * self._timeout_us) > TIME_MAX:
            deadline = TIME_MAX
        request = Reserve(
            "reserve",
            account_id,
            ident,
            (asks, *said),
            issued,
            until,
            asks,
            best_effort,
            in_micros,
            terms_version,
            owner,
            send == "caller",
            kind,
            deadline,
            good_till,
            send == "outbox",
        )
        if holds is None:
            return self._run(request)
        request.at_scale = scale
        try:
            return self._run(request)
        except OtherScale as other:  # not `counted_anew`: what most calls leave as it is costs them nothing
            request.at_scale = other.scale
            request.asks = asks_of(ident, orders, holds, other.scale)
            request.content = (request.asks, *said)
            return self._run(request)

    @counted_anew
    def execute(
        self,
        account_id: str,
        order: Order,
        *,
        request_id: str,
        margin: Amount | None = None,
        realised_pnl: Amount | None = None,
        fee: Amount = 0,
        terms_version: int | None = None,
        owner: str = "",
        order_type: Literal["limit", "market"] = "market",
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Local flow: the order is executed at placement, margin and position in one step.

        `margin` is what the opened lots take (default the order's `hold`, micro-units); `realised_pnl` and `fee` are
        the result of the lots that reduce. Refused like a `reserve`.
        """
        account_id = account_id_of(account_id)
        ident = id_of(request_id, "request_id")
        scale = self._scale(account_id)
        if not isinstance(order, Order):
            raise InputError("order", None, "an Order", type(order).__name__)
        ask = asks_of(ident, [order], None, scale)[0]
        if margin is not None:
            ask = ask._replace(hold=units(margin, scale, "margin", round_up=True))
        pnl = None if realised_pnl is None else units(realised_pnl, scale, "realised_pnl", signed=True)
        cost = units(fee, scale, "fee", signed=True)
        owner = owner_of(owner)
        terms_version, kind = terms_version_of(terms_version), order_type_of(order_type)
        issued, until = self._validity(issued_at_us, not_after_us)
        content = fingerprint("execute", ask, pnl, cost, terms_version, owner, kind)
        return self._run(
            Execute(
                "execute",
                account_id,
                ident,
                content,
                issued,
                until,
                ask,
                margin is None,
                pnl,
                cost,
                terms_version,
                owner,
                kind,
                at_scale=scale,
            )
        )

    def claim(self, account_id: str, order_id: str, *, event_id: str) -> Outcome:
        """Take a RESERVED order into a sender's hands. Only OK permits the bytes; DUPLICATE does not."""
        return self._event("claim", account_id, order_id, event_id, ())

    def acknowledge(
        self, account_id: str, order_id: str, venue_id: str | None = None, *, event_id: str | None = None
    ) -> Outcome:
        """The venue has the order, under `venue_id`, which becomes an alias. Moves no money."""
        if venue_id is not None:
            venue_id = id_of(venue_id, "venue_id")
        ident = derived_id("acknowledge:", str(venue_id)) if event_id is None else event_id
        derived = event_id is None
        return self._event("acknowledge", account_id, order_id, ident, (venue_id,), venue_id=venue_id, derived=derived)

    @counted_anew
    def fill(
        self,
        account_id: str,
        order_id: str,
        lots: int,
        *,
        fill_id: str,
        margin: Amount | None = None,
        realised_pnl: Amount | None = None,
        fee: Amount = 0,
    ) -> Outcome:
        """Book lots that traded: the hold shrinks, the position and the balance move, all in one step.

        Parameters
        ----------
        lots
            Lots of this fill.
        fill_id
            The venue's id of the fill; the same again is a DUPLICATE.
        margin
            Position margin of the lots that *open*, rounded up to the scale; default what the hold releases for them.
            May exceed the hold (flag `under_reserved`). Ignored (flag `margin_ignored`) when nothing opens.
        realised_pnl
            Result of the lots that *reduce*; missing counts as 0 (flag `pnl_missing`).
        fee
            Taken from the balance; negative for a rebate.

        Returns
        -------
        Outcome
            OK in every state of the order: after a terminal state with flag `late_fill` or `overfill`.
        """
        scale = self._scale(account_id := account_id_of(account_id))
        count = lots_of(lots, "lots")
        taken = None if margin is None else units(margin, scale, "margin", round_up=True)
        pnl = None if realised_pnl is None else units(realised_pnl, scale, "realised_pnl", signed=True)
        cost = 0 if type(fee) is int and fee == 0 else units(fee, scale, "fee", signed=True)
        content = fingerprint("fill", count, taken, pnl, cost)
        ident = id_of(fill_id, "fill_id")
        where = id_of(order_id, "order_id")
        return self._run(Fill("fill", account_id, ident, content, where, count, taken, pnl, cost, at_scale=scale))

    def reject(self, account_id: str, order_id: str, *, event_id: str = "reject", reason: str = "") -> Outcome:
        """The venue refused the order; what it held is released. After a fill only the remainder ends (CANCELLED)."""
        return self._event("reject", account_id, order_id, event_id, (), reason=reason)

    def cancel(self, account_id: str, order_id: str, *, event_id: str = "cancel", reason: str = "") -> Outcome:
        """The venue confirmed the cancel; what still works is released."""
        return self._event("cancel", account_id, order_id, event_id, (), reason=reason)

    def expire(self, account_id: str, order_id: str, *, event_id: str = "expire", reason: str = "") -> Outcome:
        """The venue expired the order; what still works is released."""
        return self._event("expire", account_id, order_id, event_id, (), reason=reason)

    def request_cancel(
        self, account_id: str, order_id: str, *, deadline_us: int | None = None, event_id: str | None = None
    ) -> Outcome:
        """Note that a cancel was asked of the venue, answer due by `deadline_us`. Frees nothing."""
        deadline = self._answer_due(deadline_us)
        ident = f"request_cancel:{deadline}" if event_id is None else event_id
        # Without a deadline of the caller's, the default differs from call to call and is not content.
        content = () if deadline_us is None else (deadline,)
        return self._event(
            "request_cancel",
            account_id,
            order_id,
            ident,
            content,
            deadline_us=deadline,
            derived=event_id is None,
        )

    @counted_anew
    def amend(
        self,
        account_id: str,
        order_id: str,
        lots: int,
        hold: Amount,
        *,
        event_id: str,
        price_ticks: int | None = None,
        client_id: str | None = None,
        terms_version: int | None = None,
        deadline_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Ask the venue for another quantity of an order that is SENT or LIVE; until its answer the larger is held.

        One amendment of an order at a time. Where the venue replaces an order by a new one that can coexist with fills
        of the old, `reserve` the new and `request_cancel` the old instead.

        Parameters
        ----------
        lots
            Total quantity, what has filled included.
        hold
            Charge of the whole amended order, as if nothing of it had filled; rounded up to the scale.
        event_id
            Names the amendment; `settle_amend` repeats it.
        price_ticks
            New price; default unchanged.
        client_id
            Second client id under which the order is known from now on.
        deadline_us
            When the venue's answer is due; default the call's time-out from now.
        not_after_us
            Until when the amendment may take effect; default the deadline.

        Returns
        -------
        Outcome
            Refused like a `reserve` when it asks for more; otherwise only for its state.
        """
        scale = self._scale(account_id := account_id_of(account_id))
        quantity = lots_of(lots, "lots")
        charge = units(hold, scale, "hold", round_up=True)
        ticks = None if price_ticks is None else lots_of(price_ticks, "price_ticks")
        alias = None if client_id is None else id_of(client_id, "client_id")
        terms_version = terms_version_of(terms_version)
        deadline = self._answer_due(deadline_us)
        until = deadline if not_after_us is None else time_of(not_after_us, "not_after_us")
        # Deadlines that default from the clock differ from call to call and are not content.
        content = fingerprint("amend", quantity, charge, ticks, alias, terms_version)
        ident, where = id_of(event_id, "event_id"), id_of(order_id, "order_id")
        return self._run(
            Amend(
                "amend",
                account_id,
                ident,
                content,
                where,
                quantity,
                charge,
                ticks,
                alias,
                terms_version,
                deadline,
                until,
                at_scale=scale,
            )
        )

    def settle_amend(
        self,
        account_id: str,
        order_id: str,
        outcome: Literal["accepted", "refused"],
        *,
        amend_id: str,
        venue_id: str | None = None,
        event_id: str | None = None,
    ) -> Outcome:
        """The venue's answer to the amendment with the event id `amend_id`; what is held beyond it is released.

        `venue_id` is the venue's id of the amended order, which becomes an alias. ILLEGAL_TRANSITION when that
        amendment is not open (any more).
        """
        if outcome not in ("accepted", "refused"):
            raise InputError("outcome", None, "'accepted' or 'refused'", outcome)
        amended = id_of(amend_id, "amend_id")
        if venue_id is not None:
            venue_id = id_of(venue_id, "venue_id")
        ident = derived_id(f"settle:{plain(outcome)}:", amended) if event_id is None else id_of(event_id, "event_id")
        content = fingerprint("settle_amend", amended, plain(outcome), venue_id)
        where = id_of(order_id, "order_id")
        return self._run(
            SettleAmend(
                "settle_amend",
                account_id_of(account_id),
                ident,
                content,
                where,
                amended,
                outcome == "accepted",
                venue_id,
            )
        )

    def resolve(
        self,
        account_id: str,
        order_id: str,
        outcome: OrderState,
        *,
        evidence: Literal["venue", "operator", "not_at_venue"],
        operator: str = "",
        event_id: str | None = None,
    ) -> Outcome:
        """End an UNKNOWN order by evidence: LIVE, REJECTED, CANCELLED or EXPIRED (fills are booked by `fill`).

        "not_at_venue" (the venue does not know the client id) is evidence only after `good_till_us` has passed.
        """
        if outcome not in (OrderState.LIVE, OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED):
            raise InputError("outcome", None, "LIVE, REJECTED, CANCELLED or EXPIRED", outcome)
        if evidence not in EVIDENCE:
            raise InputError("evidence", None, f"one of {', '.join(EVIDENCE)}", evidence)
        state, found = OrderState(outcome), plain(evidence)
        ident = f"resolve:{state.value}:{found}" if event_id is None else id_of(event_id, "event_id")
        content = fingerprint("resolve", state.value, found)
        by = text_of(operator, "operator")
        where = id_of(order_id, "order_id")
        return self._run(
            Resolve(
                "resolve",
                account_id_of(account_id),
                ident,
                content,
                where,
                state,
                found,
                by,
                derived=event_id is None,
            )
        )

    @counted_anew
    def close(
        self,
        account_id: str,
        order_id: str,
        lots: int | None = None,
        *,
        event_id: str,
        realised_pnl: Amount | None = None,
        fee: Amount = 0,
    ) -> Outcome:
        """Close lots of a ticket (default all): margin released and result booked in one step. Only with tickets."""
        scale = self._scale(account_id := account_id_of(account_id))
        count = None if lots is None else lots_of(lots, "lots")
        pnl = None if realised_pnl is None else units(realised_pnl, scale, "realised_pnl", signed=True)
        cost = units(fee, scale, "fee", signed=True)
        content = fingerprint("close", count, pnl, cost)
        ident = id_of(event_id, "event_id")
        where = id_of(order_id, "order_id")
        return self._run(Close("close", account_id, ident, content, where, count, pnl, cost, at_scale=scale))

    def _answer_due(self, deadline_us: int | None) -> int:
        """When the venue's answer is due; default the call's time-out from now."""
        return self._clock() + self._timeout_us if deadline_us is None else time_of(deadline_us, "deadline_us")

    def _event(
        self,
        op: str,
        account_id: str,
        order_id: str,
        event_id: str,
        content: tuple[object, ...],
        *,
        venue_id: str | None = None,
        deadline_us: int | None = None,
        reason: str = "",
        expected_version: int | None = None,
        derived: bool = False,
    ) -> Outcome:
        return self._run(
            OrderEvent(
                op,
                account_id_of(account_id),
                id_of(event_id, "event_id"),
                fingerprint(op, *content),
                id_of(order_id, "order_id"),
                venue_id,
                deadline_us,
                text_of(reason, "reason"),
                expected_version=expected_version,
                derived=derived,
            )
        )
