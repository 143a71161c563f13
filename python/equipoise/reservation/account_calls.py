"""Calls on an account as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.errors import InputError
from equipoise.reservation.arguments import flag_of, leg_of, places_of, span_of, terms_of, time_of
from equipoise.reservation.calls import Calls
from equipoise.reservation.flat import FlatImport, read_flat
from equipoise.reservation.ids import account_id_of, derived_id, fingerprint, id_of, plain
from equipoise.reservation.money import MICRO_SCALE, SCALE_MAX, Amount, lots_of, to_decimal, units
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import (
    Abandon,
    Archive,
    ImportFlat,
    Mark,
    Money,
    OpenAccount,
    Revalue,
    SetTerms,
    Suspend,
    Sweep,
)
from equipoise.reservation.scales import counted_anew
from equipoise.reservation.steps import terms_content

__all__ = ["AccountCalls"]

ADJUST_KINDS = ("correction", "fee", "funding", "interest", "swap", "venue_sync")


class AccountCalls(Calls):
    """Opening, terms, money, marks, upkeep."""

    def open_account(
        self,
        account_id: str,
        balance: Amount = 0,
        currency: str = "USD",
        *,
        scale: int = MICRO_SCALE,
        rule: object = "sum",
        positions: str | None = None,
        pnl_policy: str = "loss_only",
        mark_age_ms_max: int | None = None,
        orders_max: int | None = None,
        order_margin_max: Amount | None = None,
        margin_max: Amount | None = None,
        position_lots_max: Mapping[str, int] | None = None,
        owner_margin_max: Mapping[str, Amount] | None = None,
        records_max: int | None = None,
        request_id: str | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Open an account.

        Parameters
        ----------
        account_id
            Printable, without braces or spaces.
        balance
            First balance, may be negative.
        currency
            One per account; conversion is the caller's.
        scale
            Decimal places of every amount of the account, 0-9, fixed from now on. Orders of the quoter carry
            micro-units and need the default, 6.
        rule
            How charges combine: an order-margin rule, or the name of its combine rule ("sum", "worst_side", "per_side",
            "hedge_legs", "larger_leg").
        positions
            "net", "hedge" or "tickets"; default "hedge" for hedge_legs, else "net".
        request_id
            Default: derived from the content, so that the same call repeated is a DUPLICATE.

        Returns
        -------
        Outcome
            OK, DUPLICATE, REQUEST_CONFLICT, REQUEST_EXPIRED, ACCOUNT_EXISTS, TERMS_INVALID or AMOUNT_OVERFLOW. The
            remaining parameters are described at `Terms`.
        """
        account_id = account_id_of(account_id)
        places = lots_of(scale, "scale", least=0)
        if places > SCALE_MAX:
            raise InputError("scale", None, f"0-{SCALE_MAX}", scale)
        amount = units(balance, places, "balance", signed=True)
        terms = terms_of(
            places,
            rule,
            positions,
            pnl_policy,
            mark_age_ms_max,
            orders_max,
            order_margin_max,
            margin_max,
            position_lots_max,
            owner_margin_max,
            records_max,
        )
        currency = id_of(currency, "currency")
        print_ = fingerprint("open_account", amount, currency, places, terms_content(terms))
        ident = derived_id("open:", print_) if request_id is None else id_of(request_id, "request_id")
        issued, until = self._validity(issued_at_us, not_after_us)
        return self._run(
            OpenAccount(
                "open_account",
                account_id,
                ident,
                print_,
                issued,
                until,
                currency,
                places,
                amount,
                terms,
                self._horizon_us,
            )
        )

    def import_flat(
        self,
        account_id: str,
        portfolio: Mapping[str, str],
        holdings: Mapping[str, Mapping[str, str]],
        *,
        currency: str = "USD",
        scale: int = MICRO_SCALE,
        lot: Amount = 1,
        request_id: str | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> FlatImport:
        """Take an account over from the flat layout of decimal strings, in one step; says what was wrong with it.

        Rule `sum`, ticket positions. Totals are summed anew over the orders. A queued order becomes UNKNOWN and stays
        held until there is evidence; so does one whose status is not known. Nothing is imported when an amount cannot
        be read.

        Parameters
        ----------
        portfolio
            Fields of the account: balance, used_margin_executed, used_margin_all.
        holdings
            Fields of each order by its id.
        lot
            Quantity of one lot.
        """
        account_id = account_id_of(account_id)
        places = lots_of(scale, "scale", least=0)
        if places > SCALE_MAX:
            raise InputError("scale", None, f"0-{SCALE_MAX}", scale)
        size = to_decimal(units(lot, SCALE_MAX, "lot"), SCALE_MAX)
        if not size:
            raise InputError("lot", None, "positive", lot)
        balance, orders, faults = read_flat(account_id, portfolio, holdings, places, size)
        if balance is None:
            return FlatImport(None, faults)
        terms = terms_of(places, "sum", "tickets", "loss_only", None, None, None, None, None, None)
        currency = id_of(currency, "currency")
        content = fingerprint("import_flat", balance, currency, places, tuple(map(tuple, orders)))
        ident = derived_id("import:", content) if request_id is None else id_of(request_id, "request_id")
        issued, until = self._validity(issued_at_us, not_after_us)
        opened = (currency, places, balance, terms, self._horizon_us, orders, len(faults))
        request = ImportFlat("import_flat", account_id, ident, content, issued, until, *opened)
        return FlatImport(self._run(request), faults)

    @counted_anew
    def set_terms(
        self,
        account_id: str,
        *,
        request_id: str,
        rule: object = "sum",
        positions: str | None = None,
        pnl_policy: str = "loss_only",
        mark_age_ms_max: int | None = None,
        orders_max: int | None = None,
        order_margin_max: Amount | None = None,
        margin_max: Amount | None = None,
        position_lots_max: Mapping[str, int] | None = None,
        owner_margin_max: Mapping[str, Amount] | None = None,
        records_max: int | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Replace all terms; touches no existing hold.

        Another combine rule or position mode is taken only when flat with no live orders (TERMS_INVALID otherwise).
        """
        scale = self._scale(account_id := account_id_of(account_id))
        terms = terms_of(
            scale,
            rule,
            positions,
            pnl_policy,
            mark_age_ms_max,
            orders_max,
            order_margin_max,
            margin_max,
            position_lots_max,
            owner_margin_max,
            records_max,
        )
        content = fingerprint("set_terms", terms_content(terms))
        issued, until = self._validity(issued_at_us, not_after_us)
        ident = id_of(request_id, "request_id")
        return self._run(SetTerms("set_terms", account_id, ident, content, issued, until, terms, at_scale=scale))

    def suspend(
        self,
        account_id: str,
        on: bool = True,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Refuse growth from now on (`on=False` lifts it). Facts are booked all the same.

        An account that is recovering after a promotion stays so: `reconcile` lifts that.
        """
        issued, until = self._validity(issued_at_us, not_after_us)
        ident = id_of(request_id, "request_id")
        content = fingerprint("suspend", flag_of(on, "on"))
        return self._run(Suspend("suspend", account_id_of(account_id), ident, content, issued, until, on))

    def abandon(self, account_id: str, request_id: str, *, issued_at_us: int | None = None) -> Outcome:
        """Make a request final: DUPLICATE with its effect, or OK and a late arrival will be REQUEST_ABANDONED.

        `issued_at_us` is that of the request itself (default: now). One from before what `archive` has let go of is
        TOO_OLD_FOR_DEDUPE: whether it was done is in the orders and the journal, and it cannot be done any more. A
        request that old is not told from one that never came where `issued_at_us` is left out.
        """
        issued, until = self._validity(issued_at_us, None)
        ident = id_of(request_id, "request_id")
        return self._run(Abandon("abandon", account_id_of(account_id), ident, "abandon", issued, until))

    def deposit(
        self,
        account_id: str,
        amount: Amount,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Add to the balance."""
        return self._money("deposit", account_id, amount, "deposit", request_id, issued_at_us, not_after_us)

    def withdraw(
        self,
        account_id: str,
        amount: Amount,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Take from the balance; INSUFFICIENT_MARGIN beyond `withdrawable`, which looks at every hold."""
        return self._money("withdraw", account_id, amount, "withdraw", request_id, issued_at_us, not_after_us)

    def adjust(
        self,
        account_id: str,
        amount: Amount,
        kind: str,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Book a signed fact on the balance: fee, funding, swap, interest, correction or venue_sync. Never refused."""
        if not isinstance(kind, str) or kind not in ADJUST_KINDS:
            raise InputError("kind", None, f"one of {', '.join(ADJUST_KINDS)}", kind)
        return self._money("adjust", account_id, amount, plain(kind), request_id, issued_at_us, not_after_us)

    @counted_anew
    def _money(
        self,
        op: str,
        account_id: str,
        amount: Amount,
        kind: str,
        request_id: str,
        issued_at_us: int | None,
        not_after_us: int | None,
        expected_version: int | None = None,
    ) -> Outcome:
        scale = self._scale(account_id := account_id_of(account_id))
        count = units(amount, scale, "amount", signed=op == "adjust")
        count = -count if op == "withdraw" else count
        issued, until = self._validity(issued_at_us, not_after_us)
        content = fingerprint(op, count, kind)
        ident = id_of(request_id, "request_id")
        return self._run(
            Money(
                op,
                account_id,
                ident,
                content,
                issued,
                until,
                count,
                kind,
                expected_version=expected_version,
                at_scale=scale,
            )
        )

    @counted_anew
    def mark(
        self, account_id: str, open_pnl: Mapping[str | tuple[str, str], Amount], *, as_of_us: int | None = None
    ) -> Outcome:
        """Push open profit or loss per symbol (hedge: per (symbol, leg)), each once.

        An older `as_of_us` than the symbol's last is dropped (flag `older`), unless that is more than ten seconds ahead
        of the store's clock, and so is a mark for a symbol without a position (flag `no_position`). Never touches used
        margin; not journalled.
        """
        scale = self._scale(account_id := account_id_of(account_id))
        values = [
            (symbol, leg, units(value, scale, f"open_pnl[{symbol}]", signed=True))
            for symbol, leg, value in places_of(open_pnl, "open_pnl")
        ]
        as_of = self._clock() if as_of_us is None else time_of(as_of_us, "as_of_us")
        return self._run(Mark("mark", account_id, "", "", tuple(values), as_of, at_scale=scale))

    @counted_anew
    def revalue(
        self,
        account_id: str,
        symbol: str,
        position_margin: Amount,
        *,
        leg: str | None = None,
        as_of_us: int | None = None,
        request_id: str | None = None,
    ) -> Outcome:
        """Set the margin of a position to what a venue that holds positions at mark holds for it now.

        Sets an absolute figure, so an id is needed only to remember the answer; an older `as_of_us` is dropped as by
        `mark` (flag `older`), an unchanged figure is OK without a journal record. A fact: never refused for margin.
        """
        scale = self._scale(account_id := account_id_of(account_id))
        margin = units(position_margin, scale, "position_margin", round_up=True)
        now = self._clock()
        as_of = now if as_of_us is None else time_of(as_of_us, "as_of_us")
        ident = "" if request_id is None else id_of(request_id, "request_id")
        symbol, leg = id_of(symbol, "symbol"), None if leg is None else leg_of(leg)
        content = fingerprint("revalue", symbol, leg, margin) if ident else ""
        until = now + self._timeout_us
        return self._run(
            Revalue(
                "revalue",
                account_id,
                ident,
                content,
                now,
                until,
                id_of(symbol, "symbol"),
                leg_of(leg),
                margin,
                as_of,
                at_scale=scale,
            )
        )

    def sweep(self, account_id: str, *, sweeper: str | None = None, lease_ms: int = 10_000) -> Outcome:
        """Cancel RESERVED orders past their deadline (never sent); label overdue SENT and cancelling orders UNKNOWN.

        Frees nothing that may be live. Safe to run at any time and many times over.

        Parameters
        ----------
        sweeper
            Name of whoever sweeps regularly, of its own among all: takes the account for `lease_ms` by the store's
            clock, or does nothing (OK with the flag `leased`) while it is another's. None: sweeps at once, and leaves
            any lease as it is.
        lease_ms
            Longer than the sweeper's round: it takes the lease anew with each; one that died loses it after so long.
        """
        name = "" if sweeper is None else id_of(sweeper, "sweeper")
        lease_us = span_of(lease_ms, "lease_ms", 1000)
        return self._run(Sweep("sweep", account_id_of(account_id), "", "", name, lease_us))

    def archive(self, account_id: str, *, compact_after_s: int | None = 60) -> Outcome:
        """Let go of what is older than the book's `horizon_s`; writes a checkpoint into the journal.

        Lets go of request ids, of settled orders (terminal, flat), and of those journal records that `export` has
        confirmed. Moves the dedupe watermark forward, never past now - horizon: a request issued at or before it is
        TOO_OLD_FOR_DEDUPE. The checkpoint has the totals of account and symbols, the orders let go, and a digest of
        those that stand. Nothing is archived unless this is called.

        Parameters
        ----------
        compact_after_s
            Orders that ended so long ago without a fill keep only what a late fill needs (`BookOrder.compacted`): id,
            state, symbol, leg, side, quantities and aliases; not their event ids. None: they stay whole.
        """
        compact = None if compact_after_s is None else span_of(compact_after_s, "compact_after_s", 1_000_000, least=0)
        return self._run(Archive("archive", account_id_of(account_id), "", "", self._horizon_us, compact))
