"""A request as the KEYS and ARGV of its script, and the script's reply as an outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from equipoise._rust import outcome_fields
from equipoise.errors import InputError, StoreCorrupt
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.foreign import UNREADABLE
from equipoise.reservation.money import SCALE_MAX
from equipoise.reservation.records import Outcome, RawJournal, Terms, new_record
from equipoise.reservation.requests import (
    Abandon,
    Adopt,
    Amend,
    Archive,
    Close,
    Execute,
    Export,
    Fill,
    ImportFlat,
    Mark,
    Money,
    OpenAccount,
    OrderEvent,
    Request,
    Resolve,
    Revalue,
    SetTerms,
    SettleAmend,
    Suspend,
    Sweep,
)
from equipoise.reservation.scales import OtherScale
from equipoise.reservation.steps import terms_content, terms_fault
from equipoise.reservation.steps.events import ENDS

__all__ = [
    "SCALES",
    "Arguments",
    "Candidates",
    "arguments",
    "journal_of",
    "outcome_from",
    "packed_terms",
    "said",
    "text_reply",
    "unpacked_terms",
]

Arguments = tuple[list[str], list[str]]
"""(ids of the order records after the fixed keys, ARGV from the seventh on)."""

SCALES = {str(scale): scale for scale in range(SCALE_MAX + 1)}
"""Scales, by how user_portfolio has them."""

_LIMITS = ("mark_age_ms_max", "orders_max", "order_margin_max", "margin_max", "records_max")
_LIMIT_MAPS = ("position_lots_max", "owner_margin_max")


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _optional(value: int | str | None) -> str:
    return "" if value is None else str(value)


def _flag(value: bool) -> str:
    return "1" if value else ""


def packed_terms(terms: Terms) -> str:
    """Terms as the account's hash keeps them: what every step needs in front, limits as JSON where there are any."""
    limits: dict[str, Any] = {
        name: getattr(terms, name) for name in (*_LIMITS, *_LIMIT_MAPS) if getattr(terms, name) not in (None, ())
    }
    for name in _LIMIT_MAPS:
        if name in limits:
            limits[name] = dict(limits[name])
    words = f"{terms.combine} {terms.positions} {terms.pnl_policy}"
    return f"{words} {_text(limits)}" if limits else words


def unpacked_terms(text: str) -> Terms:
    """The inverse of `packed_terms`."""
    combine, positions, policy, *rest = text.split(" ", 3)
    limits: dict[str, Any] = json.loads(rest[0]) if rest else {}
    for name in _LIMIT_MAPS:
        if name in limits:
            limits[name] = tuple(sorted(limits[name].items()))
    return Terms(combine=combine, positions=positions, pnl_policy=policy, **limits)


# --- requests -------------------------------------------------------------------------------------------------------


def _open_account(r: OpenAccount) -> Arguments:
    fault = "" if terms_fault(r.terms) is None else "1"
    terms = [packed_terms(r.terms), fault, str(r.horizon_us), _text(terms_content(r.terms))]
    return [], [str(r.issued_us), str(r.not_after_us), r.currency, str(r.scale), str(r.balance), *terms]


IMPORT_MAX = 1_000
"""Orders of one step: an order's place in the index is its version and its place in the step."""


def _import_flat(r: ImportFlat) -> Arguments:
    if len(r.orders) > IMPORT_MAX:
        raise InputError("holdings", None, f"at most {IMPORT_MAX} orders on this store", len(r.orders))
    opened = [r.currency, str(r.scale), str(r.balance), packed_terms(r.terms), str(r.faults), str(r.horizon_us)]
    orders = [
        f"{o.side}\x1f{o.lots}\x1f{o.state.value}\x1f{o.hold}\x1f{o.margin}\x1f{o.symbol}\x1f{o.order_id}"
        for o in r.orders
    ]
    return [o.order_id for o in r.orders], [str(r.issued_us), str(r.not_after_us), *opened, *orders]


def _set_terms(r: SetTerms) -> Arguments:
    fault = "" if terms_fault(r.terms) is None else "1"
    terms = [packed_terms(r.terms), fault, _text(terms_content(r.terms)), _optional(r.at_scale)]
    return [], [str(r.issued_us), str(r.not_after_us), *terms]


def _suspend(r: Suspend) -> Arguments:
    return [], [str(r.issued_us), str(r.not_after_us), _flag(r.on)]


def _abandon(r: Abandon) -> Arguments:
    return [], [str(r.issued_us), str(r.not_after_us)]


def _money(r: Money) -> Arguments:
    more = [str(r.amount), r.kind, _optional(r.expected_version), _optional(r.at_scale)]
    return [], [str(r.issued_us), str(r.not_after_us), *more]


def _mark(r: Mark) -> Arguments:
    values = [str(r.as_of_us), _optional(r.at_scale)]
    for symbol, leg, value in r.values:
        values += (f"{symbol}\x1f{leg}" if leg else symbol, str(value))
    return [], values


def _revalue(r: Revalue) -> Arguments:
    more = [r.symbol, r.leg, str(r.margin), str(r.as_of_us), _optional(r.at_scale)]
    return [], [str(r.issued_us), str(r.not_after_us), *more]


def _execute(r: Execute) -> Arguments:
    ask = r.ask
    return [ask.order_id], [
        str(r.issued_us),
        str(r.not_after_us),
        ask.side,
        str(ask.lots),
        str(ask.price_ticks),
        str(ask.hold),
        "1" if ask.reduce_only else "",
        ask.leg,
        ask.symbol,
        ask.order_id,
        "1" if r.in_micros else "",
        _optional(r.realised_pnl),
        str(r.fee),
        _optional(r.terms_version),
        r.owner,
        r.order_type,
        _optional(r.at_scale),
    ]


def _export(r: Export) -> Arguments:
    return [], [str(r.confirmed_version)]


def _named(r: Request, order_id: str, real_id: str) -> Arguments:
    return [real_id or order_id], [order_id, "" if real_id == order_id else real_id, _optional(r.expected_version)]


def _event(r: OrderEvent, real_id: str) -> Arguments:
    ids, values = _named(r, r.order_id, real_id)
    if r.op == "acknowledge":
        # The name may be taken by another order: its record is declared, so that the script can look.
        return [*ids, r.venue_id or r.order_id], [*values, r.venue_id or "", _flag(r.derived)]
    if r.op == "request_cancel":
        return ids, [*values, _optional(r.deadline_us), _flag(r.derived)]
    if r.op in ENDS:
        return ids, [*values, ENDS[r.op].value, r.reason]
    return ids, values


def _fill(r: Fill, real_id: str) -> Arguments:
    ids, values = _named(r, r.order_id, real_id)
    amounts = [_optional(r.margin), _optional(r.realised_pnl), str(r.fee), _optional(r.at_scale)]
    return ids, [*values, str(r.lots), *amounts]


def _close(r: Close, real_id: str) -> Arguments:
    ids, values = _named(r, r.order_id, real_id)
    return ids, [*values, _optional(r.lots), _optional(r.realised_pnl), str(r.fee), _optional(r.at_scale)]


def _resolve(r: Resolve, real_id: str) -> Arguments:
    ids, values = _named(r, r.order_id, real_id)
    return ids, [*values, r.outcome.value, r.evidence, r.operator, _flag(r.derived)]


def _amend(r: Amend, real_id: str) -> Arguments:
    ids, values = _named(r, r.order_id, real_id)
    values += [str(r.lots), str(r.hold), _optional(r.price_ticks), _optional(r.client_id), _optional(r.terms_version)]
    values += [str(r.deadline_us), str(r.not_after_us), _optional(r.at_scale)]
    return [*ids, r.client_id or r.order_id], values


def _settle_amend(r: SettleAmend, real_id: str) -> Arguments:
    ids, values = _named(r, r.order_id, real_id)
    answer = [r.amend_id, "1" if r.accepted else "", _optional(r.venue_id)]
    return [*ids, r.venue_id or r.order_id], [*values, *answer]


def _adopt(r: Adopt, real_id: str) -> Arguments:
    ask = r.ask
    ids, values = _named(r, ask.order_id, real_id)
    values += [ask.side, str(ask.lots), str(ask.price_ticks), str(ask.hold), "1" if ask.reduce_only else "", ask.leg]
    values += [ask.symbol, _optional(r.venue_id), r.order_type, r.owner, _optional(r.at_scale)]
    return [*ids, r.venue_id or ask.order_id], values


_REQUESTS: dict[type[Request], Callable[[Any], Arguments]] = {
    OpenAccount: _open_account,
    ImportFlat: _import_flat,
    SetTerms: _set_terms,
    Suspend: _suspend,
    Abandon: _abandon,
    Money: _money,
    Mark: _mark,
    Revalue: _revalue,
    Execute: _execute,
    Export: _export,
}
_EVENTS: dict[type[Request], Callable[[Any, str], Arguments]] = {
    OrderEvent: _event,
    Fill: _fill,
    Close: _close,
    Resolve: _resolve,
    Amend: _amend,
    SettleAmend: _settle_amend,
    Adopt: _adopt,
}


Candidates = tuple[list[str], list[str], list[str]]
"""Orders to be swept or let go, orders that may shrink, and request ids that may go."""


def arguments(request: Request, real_id: str = "", candidates: Candidates = ([], [], [])) -> Arguments:
    """Record ids and ARGV of a request.

    Parameters
    ----------
    request
        What the caller asks.
    real_id
        Events: the order that the id given is an alias of, where that is known.
    candidates
        Sweep and archive: found by a read beforehand; the script judges each again.
    """
    kind = type(request)
    pack = _REQUESTS.get(kind)
    if pack is not None:
        return pack(request)
    event = _EVENTS.get(kind)
    if event is not None:
        return event(request, real_id)
    ids, ended, old = candidates
    if isinstance(request, Archive):
        values = [str(request.horizon_us), str(len(ids)), _optional(request.compact_us), str(len(ended))]
        return [*ids, *ended], [*values, *ids, *ended, *old]
    if isinstance(request, Sweep):
        return ids, [request.sweeper, str(request.lease_us), *ids]
    raise InputError("request", None, "an operation of this store", request.op)


# --- replies --------------------------------------------------------------------------------------------------------


_decoded = json.JSONDecoder().raw_decode
"""JSON without what `json.loads` does around it."""
_DONE = b"OD"
"""What replies begin with that have a journal entry: done now, and done before."""
_CODES = {code.value: code for code in Code}
_STATES = {state.value: state for state in OrderState}


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, all the way down."""
    return tuple([_tuples(item) for item in value]) if isinstance(value, list) else value


def journal_of(record: str) -> RawJournal:
    """A journal entry as the other stores keep it."""
    return tuple(_tuples(json.loads(record)[:11]))


def text_reply(reply: object) -> bytes:
    """What every script answers with: a string."""
    if isinstance(reply, bytes):
        return reply
    raise _not_ours(reply, TypeError("not a string"))


def said(reply: bytes) -> str:
    """The text of a script's reply."""
    try:
        return str(reply, "utf-8")
    except UnicodeDecodeError as error:
        raise _not_ours(reply, error) from error


def outcome_from(request: Request, reply: bytes) -> Outcome:
    """What a script answered. Replies that ask for another call (K, H) are not for here; S raises OtherScale."""
    # No context manager, and no call more than needed: every step comes through here.
    try:
        if reply[0] in _DONE:
            return new_record(Outcome, outcome_fields(reply, request.account_id, _CODES, _STATES))
        return _outcome_of_answer(request, str(reply, "utf-8"))
    except UNREADABLE as error:
        raise _not_ours(reply, error) from error


def _not_ours(reply: object, error: Exception) -> StoreCorrupt:
    return StoreCorrupt(f"the step may have been done, and its answer {reply!r:.200} is not the book's ({error!r})")


def _outcome_of_answer(request: Request, reply: str) -> Outcome:
    """The outcome of what no journal entry stands for."""
    kind, account_id = reply[0], request.account_id
    if kind == "S":
        raise OtherScale(account_id, SCALES[reply[1:]])
    if kind == "E":
        code, op, version, before, after, order_id, state, flags = _decoded(reply, 2)[0]
        return Outcome(
            Code.DUPLICATE if code == "OK" else _CODES[code],
            op,
            account_id,
            version,
            int(reply[1]),
            tuple(before),
            tuple(after),
            order_id,
            None if state is None else _STATES[state],
            tuple(flags),
        )
    if kind != "R":
        raise StoreCorrupt(f"a script answered {reply!r:.80}")
    code, version, scale, before, after, order_id, state, flags, rows, required, free = _decoded(reply, 1)[0]
    return Outcome(
        _CODES[code],
        request.op,
        account_id,
        version,
        scale,
        None if before is None else tuple(before),
        None if after is None else tuple(after),
        order_id,
        None if state is None else _STATES[state],
        tuple(flags),
        tuple([tuple(row) for row in rows]),
        required,
        free,
    )
