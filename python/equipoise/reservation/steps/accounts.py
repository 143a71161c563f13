"""Steps on an account as a whole: opening, terms, money, marks, ids."""

from __future__ import annotations

from typing import cast

from equipoise.reservation.codes import AccountStatus, Code
from equipoise.reservation.money import AMOUNT_MAX
from equipoise.reservation.records import BookAccount, BookSymbol, Outcome, digest_of, outcome_of
from equipoise.reservation.requests import (
    Abandon,
    Archive,
    Export,
    Mark,
    Money,
    OpenAccount,
    Revalue,
    SetTerms,
    Suspend,
)
from equipoise.reservation.steps.draft import (
    Draft,
    account_fits,
    account_step,
    growth_gate,
    id_gate,
    marks_stale,
    refuse,
    replaces,
    row_of,
    snapshot,
)
from equipoise.reservation.steps.rules import terms_content, terms_fault
from equipoise.reservation.steps.view import Effect, Upkeep, View

__all__ = [
    "abandon",
    "archive",
    "blank_account",
    "export",
    "mark",
    "move_money",
    "open_account",
    "revalue",
    "set_terms",
    "suspend",
]

OK = Code.OK


def blank_account(request: OpenAccount, now: int) -> BookAccount:
    """The account before its first step."""
    return BookAccount(
        request.account_id,
        request.currency,
        request.scale,
        now,
        AccountStatus.ACTIVE,
        0,
        0,
        0,
        0,
        0,
        request.terms,
        1,
        now - request.horizon_us,
        0,
        0,
        0,
        0,
        0,
        now,
        0,
        0,
        0,
    )


def open_account(view: View, request: OpenAccount, now: int) -> Effect:
    """Open an account with its first balance and terms."""
    account = view.account()
    refusal = id_gate(view, request, account, now)
    if refusal is not None:
        return refusal
    if account is not None:
        return refuse(Code.ACCOUNT_EXISTS, request, account)
    if terms_fault(request.terms) is not None:
        return refuse(Code.TERMS_INVALID, request, None)
    draft = Draft(view, request, blank_account(request, now), now)
    draft.balance = request.balance
    draft.details = (("currency", request.currency), ("scale", request.scale), ("terms", terms_content(request.terms)))
    return draft.finish()


def set_terms(view: View, request: SetTerms, now: int) -> Effect:
    """Replace the terms; combine and positions only when flat with no live orders."""
    account, refusal = account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    new, old = request.terms, account.terms
    if terms_fault(new) is not None:
        return refuse(Code.TERMS_INVALID, request, account)
    if new.combine != old.combine or new.positions != old.positions:
        busy = account.live_orders or any(row.lots or row.long_lots or row.short_lots for row in view.symbols())
        if busy:
            return refuse(Code.TERMS_INVALID, request, account)
    draft = Draft(view, request, account, now)
    draft.terms = new
    draft.terms_version = account.terms_version + 1
    draft.details = (("terms", terms_content(new)),)
    return draft.finish()


def suspend(view: View, request: Suspend, now: int) -> Effect:
    """Refuse growth from now on, or lift that."""
    account, refusal = account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    draft = Draft(view, request, account, now)
    draft.status = account.status.changed(suspended=request.on)
    draft.details = (("status", draft.status.value),)
    return draft.finish()


def abandon(view: View, request: Abandon, now: int) -> Effect:
    """Return the effect of an id, or plant a tombstone that refuses a late arrival."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    found = view.request(request.ident)
    if found is not None:
        if found[2] is not None:
            return Effect(outcome_of(request.account_id, found[2])._replace(code=Code.DUPLICATE))
        return refuse(Code.DUPLICATE, request, account)
    if request.issued_us <= account.watermark_us:
        # It may have been used and let go since, with orders that live; nothing can use it any more.
        return refuse(Code.TOO_OLD_FOR_DEDUPE, request, account)
    tombstone = (request.ident, (request.fingerprint, request.issued_us, None))
    return Draft(view, request, account, now).finish()._replace(request=tombstone)


def archive(view: View, request: Archive, now: int) -> Effect:
    """Write a checkpoint; delete what is older than the horizon, shrink orders that ended without a fill."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    watermark = now - request.horizon_us
    if watermark <= account.watermark_us:
        totals = account.totals
        return Effect(Outcome(OK, request.op, account.account_id, account.version, account.scale, totals, totals))
    draft = Draft(view, request, account, now)
    draft.watermark_us = watermark
    gone = list(view.settled(watermark))
    draft.forgotten = len(gone) + view.forgotten(watermark)
    names = {order.order_id for order in gone}
    ended = () if request.compact_us is None else view.unfilled(now - request.compact_us)
    compacted = tuple([name for name in ended if name not in names])
    trim = max(account.trimmed_version, min(view.aged(watermark), account.exported_version))
    draft.trimmed_version = trim
    # The record is a checkpoint: every symbol's totals, and a digest that the orders left standing must have.
    for row in sorted(view.symbols()):
        draft.put_row(row)
    standing = [(order.order_id, snapshot(order)) for order in view.live()]
    draft.details = (
        ("watermark_us", watermark),
        ("orders", len(gone)),
        ("compacted", len(compacted)),
        ("trimmed_version", trim),
        ("open_orders", len(standing)),
        ("digest", digest_of(standing)),
    )
    effect = draft.finish()
    journal = effect.journal
    if journal is not None:
        changes = tuple([(order.order_id, snapshot(order), None) for order in gone])
        journal = (*journal[:9], changes, *journal[10:])
    upkeep = Upkeep(
        archived=tuple([order.order_id for order in gone]),
        compacted=compacted,
        watermark_us=watermark,
        trim_version=trim if trim > account.trimmed_version else None,
    )
    return effect._replace(journal=journal, upkeep=upkeep)


def export(view: View, request: Export, now: int) -> Effect:  # noqa: ARG001 - every step has the same signature
    """Note up to which version the journal is stored elsewhere; forward only, not journalled."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    if request.confirmed_version > account.version:
        return refuse(Code.ILLEGAL_TRANSITION, request, account)
    totals = account.totals
    outcome = Outcome(OK, request.op, account.account_id, account.version, account.scale, totals, totals)
    if request.confirmed_version <= account.exported_version:
        return Effect(outcome)
    return Effect(outcome, account._replace(exported_version=request.confirmed_version))


def move_money(view: View, request: Money, now: int) -> Effect:
    """Deposit, withdraw or adjust the balance."""
    account, refusal = account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    if request.expected_version is not None and account.version != request.expected_version:
        return refuse(Code.ILLEGAL_TRANSITION, request, account)
    if request.op == "withdraw":
        refusal = growth_gate(request, account)
        if refusal is not None:
            return refusal
        if not account_fits(account._replace(balance_units=account.balance_units + request.amount)):
            return refuse(Code.AMOUNT_OVERFLOW, request, account)
        if marks_stale(view, account, now):
            return refuse(Code.STALE_MARK, request, account)
        # Less than nothing is free where that is so, and missing as well; in the range of figures like every other.
        room = max(account.balance_units + min(account.open_pnl_units, 0) - account.all_units, -AMOUNT_MAX)
        if -request.amount > max(0, room):
            return refuse(Code.INSUFFICIENT_MARGIN, request, account, required_units=-request.amount, free_units=room)
    draft = Draft(view, request, account, now)
    draft.balance += request.amount
    draft.details = (("amount", request.amount), ("kind", request.kind))
    return draft.finish()


def mark(view: View, request: Mark, now: int) -> Effect:
    """Take in open profit or loss; ordered by as_of, not journalled, never touches used margin."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    pnl = account.open_pnl_units
    rows: list[BookSymbol] = []
    flags: set[str] = set()
    for symbol, leg, value in request.values:
        row = view.symbol(symbol, leg)
        if row is None or not (row.lots or row.long_lots or row.short_lots):
            flags.add("no_position")
        elif not replaces(request.as_of_us, row.marked_us, account, now):
            flags.add("older")
        else:
            pnl += value - row.open_pnl
            rows.append(row._replace(open_pnl=value, marked_us=request.as_of_us))
    after = account._replace(open_pnl_units=pnl)
    if not -AMOUNT_MAX <= pnl <= AMOUNT_MAX or not account_fits(after):
        return refuse(Code.AMOUNT_OVERFLOW, request, account)
    outcome = Outcome(
        OK,
        request.op,
        account.account_id,
        account.version,
        account.scale,
        account.totals,
        after.totals,
        flags=tuple(sorted(flags)),
    )
    return Effect(outcome, after if rows else None, tuple(rows))


def revalue(view: View, request: Revalue, now: int) -> Effect:
    """Move a position's margin to what the venue holds for it now."""
    account, refusal = account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    terms = account.terms
    if terms.positions == "tickets" or (terms.positions == "hedge") != bool(request.leg):
        return refuse(Code.TERMS_INVALID, request, account)
    row = row_of(view, request.symbol, request.leg)
    if not row.lots and request.margin:
        return refuse(Code.ILLEGAL_TRANSITION, request, account)
    older = not replaces(request.as_of_us, row.revalued_us, account, now)
    if older or (request.margin == row.margin and not request.ident):
        totals = account.totals
        flags = ("older",) if older else ()
        outcome = Outcome(
            OK, request.op, account.account_id, account.version, account.scale, totals, totals, flags=flags
        )
        moved = not older and row.revalued_us != request.as_of_us and row.lots != 0
        return Effect(outcome, symbols=(row._replace(revalued_us=request.as_of_us),) if moved else ())
    draft = Draft(view, request, account, now)
    draft.put_row(row._replace(margin=request.margin, revalued_us=request.as_of_us))
    return draft.finish()
