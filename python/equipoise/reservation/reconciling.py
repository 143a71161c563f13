"""Reconcile as a call: it looks at everything once, then repairs step by step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from equipoise.errors import StoreCorrupt
from equipoise.reservation.account_calls import AccountCalls
from equipoise.reservation.arguments import flag_of, leg_of, span_of, text_of
from equipoise.reservation.audit import Holdings
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.discrepancies import HARMLESS, Discrepancy, Plan, ReconcileReport, settled_by
from equipoise.reservation.foreign import understood
from equipoise.reservation.ids import account_id_of, derived_id, fingerprint
from equipoise.reservation.money import AMOUNT_MAX, to_decimal, units
from equipoise.reservation.order_calls import OrderCalls
from equipoise.reservation.reconcile_self import within
from equipoise.reservation.reconcile_venue import beside_venue
from equipoise.reservation.records import BookAccount, Outcome
from equipoise.reservation.requests import Adopt, Ask, Repair
from equipoise.reservation.venue import VenueView, checked_view

__all__ = ["Reconciling"]


WITHIN = ("order", "symbol", "index", "lookups", "totals", "journal", "status")
"""Steps that put the account itself right."""


@dataclass
class _Progress:
    """How far the repairs of one call are."""

    account_id: str
    view: VenueView | None
    operator: str
    scale: int
    """What the findings are counted at."""
    settled_us: int | None
    """Until when the view shows what has happened."""
    version: int
    """Of the account, as of our last step."""
    versions: dict[str, int]
    """Of its orders."""
    settled: bool = True
    """Nothing was found that is not repaired."""
    booked: bool = True
    """Every fill of the view that was missed is booked."""


class Reconciling(AccountCalls, OrderCalls):
    """A book that can be compared with itself and with its venue, and repaired."""

    @abstractmethod
    def account(self, account_id: str) -> BookAccount:
        """The account as of its latest step; InputError where there is none."""

    @abstractmethod
    def _holdings(self, account_id: str) -> Holdings:
        """Everything kept of an account at one version."""

    @abstractmethod
    def _knows_event(self, account_id: str, order_id: str, ident: str) -> bool:
        """Whether an event id of an order has been used."""

    def reconcile(
        self,
        account_id: str,
        view: VenueView | None = None,
        *,
        apply: bool = False,
        grace_ms: int = 5_000,
        operator: str = "",
    ) -> ReconcileReport:
        """Compare an account with itself and with what the venue says; with `apply`, repair what differs.

        Parameters
        ----------
        view
            What the venue says; None: the book is compared with itself only.
        apply
            False: a dry run that changes nothing. True: every finding is repaired by a step of its own, journalled,
            and refused (skipped) when what it is about has changed since; findings without a repair are reported.
        grace_ms
            Orders that changed less than this before the view are not judged by it.
        operator
            Who asks; kept in the journal.

        Returns
        -------
        ReconcileReport
            Absence at the venue releases a LIVE order, and an UNKNOWN one whose `good_till_us` has passed; it releases
            nothing that is RESERVED, SENT or otherwise UNKNOWN. A difference of positions is reported, never booked.

        Raises
        ------
        InputError
            Something in the view is of a wrong type or out of range; nothing was repaired.
        """
        account_id = account_id_of(account_id)
        grace_us = span_of(grace_ms, "grace_ms", 1000, least=0)
        flag_of(apply, "apply")
        operator = text_of(operator, "operator")
        kept = self._holdings(account_id)
        scale = kept.account.scale
        if view is not None:
            view = checked_view(view, scale)
        now = self._clock()
        # A clock that is ahead, the venue's or the caller's, makes nothing older than it is.
        settled_us = None if view is None else min(view.as_of_us, now) - grace_us
        with understood(f"what is kept of {account_id}"):
            inner = within(kept, settled_us)
            outer, unjudged = list[Plan](), tuple[str, ...]()
            if view is not None and settled_us is not None:
                outer, unjudged = beside_venue(
                    kept,
                    view,
                    settled_us,
                    lambda amount, up: units(amount, scale, "view", signed=not up, round_up=up),
                    lambda order_id, ident: self._knows_event(account_id, order_id, ident),
                )
        items = [plan.item for plan in [*inner, *outer]]
        if apply:
            versions = {name: order.version for name, order in kept.orders.items()}
            progress = _Progress(account_id, view, operator, scale, settled_us, kept.account.version, versions)
            items = []
            if any(plan.step == "noted" for plan in inner):
                # A record that is lost is held for again before what it held is let go of.
                adoptions = [plan for plan in outer if plan.step == "adopt"]
                outer = [plan for plan in outer if plan.step != "adopt"]
                items += self._repairs(adoptions, progress)
            items += self._repairs(inner, progress)
            if inner and progress.settled:
                items += self._what_is_left(progress)
            items += self._repairs(outer, progress)
        return ReconcileReport(account_id, kept.account.version, apply, tuple(items), unjudged)

    def _what_is_left(self, progress: _Progress) -> Iterator[Discrepancy]:
        """Repair what the account shows once it has been put right: one thing may have hidden another."""
        kept = self._holdings(progress.account_id)
        left = [plan for plan in within(kept, progress.settled_us) if plan.step != "noted"]
        # Steps of others since then are not what the view was compared with: `progress` does not follow them.
        alone = kept.account.version == progress.version
        again = replace(progress, version=kept.account.version, versions={})
        yield from self._repairs(left, again)
        progress.settled = progress.settled and again.settled
        if alone:
            progress.version = again.version

    def _repairs(self, plans: Sequence[Plan], progress: _Progress) -> Iterator[Discrepancy]:
        """Do what each finding says, in order; the versions expected move with our own steps only."""
        account_id, view, versions = progress.account_id, progress.view, progress.versions
        for plan in plans:
            if plan.step == "noted":
                yield replace(plan.item, state="applied")
                continue
            if plan.step is None:
                progress.settled = progress.settled and plan.item.kind in HARMLESS
                yield replace(plan.item, state="skipped")
                continue
            if plan.step == "adjust" and not progress.booked:
                yield replace(plan.item, state="skipped", note="waits for a fill that is not booked")
                continue
            if plan.step == "status" and not progress.settled:
                yield replace(plan.item, state="skipped", note="not everything found is repaired")
                continue
            if plan.step in WITHIN:
                where, leg, position = plan.values or (account_id, "", None)
                ident = derived_id(f"{plan.step}:", where)
                outcome = self._run(
                    Repair(
                        "repair",
                        account_id,
                        ident,
                        "",
                        plan.step,
                        where,
                        leg,
                        position,
                        progress.operator,
                        expected_version=progress.version,
                    )
                )
            else:
                assert view is not None  # noqa: S101 - only a view leads to these
                try:
                    if plan.step == "adopt" and plan.order_id is not None:
                        named = self.acknowledge(account_id, plan.order_id, plan.values[0].venue_id)
                        if named.version == progress.version + 1:
                            progress.version = versions[plan.order_id] = named.version
                    outcome = self._by_the_venue(progress, plan, view)
                except StoreCorrupt as error:
                    # What has been done is reported: a step meets what could not be put right.
                    progress.settled = False
                    progress.booked = progress.booked and plan.step != "fill"
                    yield replace(plan.item, state="skipped", note=str(error))
                    continue
            if outcome.code is Code.OK and outcome.version == progress.version + 1:
                progress.version = outcome.version
                if outcome.order_id is not None:
                    versions[outcome.order_id] = outcome.version
                elif plan.step == "order":
                    versions[plan.values[0]] = outcome.version
            state, note = settled_by(outcome)
            progress.settled = progress.settled and state == "applied"
            progress.booked = progress.booked and (plan.step != "fill" or state == "applied")
            yield replace(plan.item, state=state, note=note)

    def _by_the_venue(self, progress: _Progress, plan: Plan, view: VenueView) -> Outcome:
        """One repair that books what the venue says."""
        name, account_id, scale, version = plan.order_id, progress.account_id, progress.scale, progress.version
        expected = None if name is None else progress.versions[name]
        # One id for each thing said of an order as it stands: the same view, applied again, repeats nothing.
        mark = f"reconcile:{view.as_of_us}:{plan.step}" if name is None else f"reconcile:{plan.step}:{expected}"
        if plan.step == "adopt":
            venue, order_id, lots, hold = plan.values
            side = venue.side.value
            ask = Ask(order_id, venue.symbol, leg_of(venue.leg), side, lots, venue.price_ticks, hold, venue.reduce_only)
            content = fingerprint("adopt", tuple(ask))
            return self._run(Adopt("adopt", account_id, "adopt", content, ask, venue.venue_id, at_scale=scale))
        if plan.step == "fill":
            fill = plan.values[0]
            return self.fill(
                account_id,
                fill.order_id,
                fill.lots,
                fill_id=fill.fill_id,
                margin=fill.margin,
                realised_pnl=fill.realised_pnl,
                fee=fill.fee,
            )
        if plan.step == "adjust":
            (change,) = plan.values
            if abs(change) > AMOUNT_MAX:
                return Outcome(Code.AMOUNT_OVERFLOW, "adjust", account_id)
            # Only on what was looked at: whatever has been booked since may be what the venue's balance has too.
            amount, ident = to_decimal(change, scale), f"{mark}:{version}"
            return self._money("adjust", account_id, amount, "venue_sync", ident, None, None, version)
        assert name is not None  # noqa: S101 - the rest is about one order
        if plan.step == "acknowledge":
            venue_id = plan.values[0]
            return self._event(
                "acknowledge", account_id, name, mark, (venue_id,), venue_id=venue_id, expected_version=expected
            )
        if plan.step == "settle_amend":
            return self.settle_amend(account_id, name, "accepted", amend_id=plan.values[0])
        if plan.step == "resolve":
            return self.resolve(account_id, name, OrderState.CANCELLED, evidence="not_at_venue", event_id=mark)
        reason = "not open at the venue"
        return self._event("cancel", account_id, name, mark, (), reason=reason, expected_version=expected)
