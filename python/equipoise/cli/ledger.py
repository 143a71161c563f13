"""`equipoise ledger`: the reservation book from the command line.

A command exits with 0 when the book did what was asked (or had done it under the same id), with 1 when it refused,
found a contradiction or left something unrepaired.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from equipoise.cli.text import flush, say, say_json, table
from equipoise.config import load_config
from equipoise.errors import InputError, StoreCorrupt, StoreError, StoreUnavailable
from equipoise.orders import Order, Side
from equipoise.reservation import (
    BookAccount,
    BookOrder,
    JournalRecord,
    OrderState,
    Outcome,
    ReconcileReport,
    ReservationBook,
    VenueFill,
    VenueOrder,
    VenueView,
)
from equipoise.reservation.contract import sqlite_path
from equipoise.reservation.money import to_decimal

__all__ = ["ledger"]

MAKES_THE_FILE = ("open", "import")
ORDER_FIELDS = {"symbol", "side", "lots", "price_ticks", "hold"}
ORDER_MAY = {"order_id", "reduce_only", "leg"}
_Answer = TypeVar("_Answer")
EXPORT_CHUNK = 1_000
TAIL = 1 << 16
"""Bytes of a file's end that are looked at together."""
LINE_START = b'{"account_id": "'
"""What every line of an export begins with."""
LIFTED = "none"
"""In the place of a limit: there is none."""


def ledger(options: argparse.Namespace) -> int:
    """Run one command on the book."""
    commands: dict[str, Callable[[ReservationBook, argparse.Namespace], int]] = {
        "open": _open,
        "show": _show,
        "holds": _holds,
        "deposit": _move,
        "withdraw": _move,
        "adjust": _move,
        "terms": _terms,
        "reserve": _reserve,
        "fill": _fill,
        "reject": _end,
        "cancel": _end,
        "resolve": _resolve,
        "sweep": _each,
        "archive": _each,
        "outbox": _outbox,
        "history": _history,
        "reconcile": _reconcile,
        "audit": _audit,
        "export": _export,
        "import": _import,
    }
    with _book(options) as book:
        return commands[options.command](book, options)


@contextmanager
def _book(options: argparse.Namespace) -> Iterator[ReservationBook]:
    """The book that --book or the configuration names; only some commands make its file."""
    url = options.book or load_config(options.config, options=options.set).reservation.url
    scheme = url.partition(":")[0]
    if scheme == "memory":
        raise InputError("--book", None, "a book that outlives this command", "memory:")
    path = sqlite_path(url)
    # Of a name that no file can have, pathlib raises.
    if scheme == "sqlite" and options.command not in MAKES_THE_FILE and not os.path.exists(path):  # noqa: PTH110
        raise InputError("--book", None, f"a book that is there ({path} is not; `ledger open` makes one)", url)
    with ReservationBook.connect(url) as book:
        yield book


# --- answers --------------------------------------------------------------------------------------------------------


def _outcome_dict(outcome: Outcome, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "code": str(outcome.code),
        "ok": outcome.ok,
        "done": outcome.done,
        "transient": outcome.transient,
        "op": outcome.op,
        "account_id": outcome.account_id,
        "version": outcome.version,
        **more,
    }
    for name in ("before", "after"):
        totals = getattr(outcome, name)
        if totals is not None:
            said[name] = {
                field: to_decimal(getattr(totals, field), outcome.scale)
                for field in ("balance", "open_pnl", "executed", "all", "free")
            }
    if outcome.order_id is not None:
        said |= {"order_id": outcome.order_id, "state": None if outcome.state is None else str(outcome.state)}
    if outcome.flags:
        said["flags"] = list(outcome.flags)
    if outcome.required is not None:
        said |= {"required": outcome.required, "free": outcome.free, "shortfall": outcome.shortfall}
    if outcome.order_rows:
        said["orders"] = [
            {"order_id": row.order_id, "code": str(row.code), "hold": to_decimal(row.hold, outcome.scale)}
            for row in outcome.orders
        ]
    return said


def _say_outcome(outcome: Outcome, options: argparse.Namespace, **more: Any) -> int:
    """Print what became of a step; 1 unless it is done."""
    if options.json:
        say_json(_outcome_dict(outcome, **more))
    else:
        words = [outcome.code.value]
        if outcome.order_id is not None:
            words.append(f"{outcome.order_id} {outcome.state or ''}".rstrip())
        words += [f"flag {flag}" for flag in outcome.flags]
        if outcome.shortfall is not None:
            words.append(f"required {outcome.required}, free {outcome.free}, short {outcome.shortfall}")
        elif outcome.after is not None:
            words.append(f"free {to_decimal(outcome.after.free, outcome.scale)}, version {outcome.version}")
        words += [f"{name.replace('_', ' ')} {value}" for name, value in more.items()]
        say("; ".join(words))
        for row in outcome.orders:
            say(f"  {row.order_id}  {row.code}  {to_decimal(row.hold, outcome.scale)}")
    return 0 if outcome.done else 1


def _with_id(options: argparse.Namespace, step: Callable[[str], Outcome]) -> int:
    """Run a step that carries a request id, and say under which, so that it can be asked again."""
    ident = options.request_id or f"cli:{uuid4()}"
    outcome: Outcome | None = None
    try:
        outcome = step(ident)
        code = _say_outcome(outcome, options, request_id=ident)
        flush()
    except (InputError, StoreUnavailable):
        # Nothing was done.
        raise
    except BaseException as error:
        became = "whether it was done is unknown" if outcome is None else f"the answer was {outcome.code}"
        error.add_note(f"{became}: ask again with --request-id {ident}")
        raise
    return code


def _json_of(name: str, path: str) -> Any:
    """The JSON document in a file, numbers exact."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InputError(name, None, "a JSON document", str(error)) from error


def _pairs(name: str, texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE options."""
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not (key and sign and value):
            raise InputError(name, None, "NAME=VALUE", repr(text))
        found[key] = value
    return found


def _whole(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(name, None, "a whole number", repr(text)) from None


# --- accounts -------------------------------------------------------------------------------------------------------


def _terms_of(options: argparse.Namespace, present: BookAccount | None = None) -> dict[str, Any]:
    """The terms asked for; what is not named stays as the account has it, or begins as the book says."""
    terms = {} if present is None else _present_terms(present)
    named = {
        "rule": options.rule,
        "positions": options.positions,
        "pnl_policy": options.pnl_policy,
        "orders_max": _limit(options.orders_max, lambda text: _whole("--orders-max", text)),
        "order_margin_max": _limit(options.order_margin_max, str),
        "margin_max": _limit(options.margin_max, str),
        "mark_age_ms_max": _limit(options.mark_age_ms_max, lambda text: _whole("--mark-age-ms-max", text)),
        "records_max": _limit(options.records_max, lambda text: _whole("--records-max", text)),
    }
    if "hedge_legs" in {options.rule, terms.get("rule")} and options.rule not in (None, terms.get("rule")):
        # The one rule with positions of its own: those of the other rule would only be refused.
        terms["positions"] = None
    terms |= {name: value for name, value in named.items() if value is not None}
    for name, texts in (
        ("position_lots_max", options.position_lots_max),
        ("owner_margin_max", options.owner_margin_max),
    ):
        option = f"--{name.replace('_', '-')}"
        wanted = terms.get(name, {}) | _pairs(option, texts)
        kept = {key: value for key, value in wanted.items() if value != LIFTED}
        terms[name] = kept if name == "owner_margin_max" else {key: _whole(option, str(kept[key])) for key in kept}
    return {name: None if value == LIFTED else value for name, value in terms.items()}


def _limit(text: str | None, value_of: Callable[[str], Any]) -> Any:
    """The limit that an option gives; None: the option is not there."""
    return text if text is None or text == LIFTED else value_of(text)


def _present_terms(account: BookAccount) -> dict[str, Any]:
    """An account's terms as the arguments that set them."""
    terms, scale = account.terms, account.scale
    names = ("positions", "pnl_policy", "mark_age_ms_max", "orders_max", "records_max")
    present: dict[str, Any] = {"rule": terms.combine, **{name: getattr(terms, name) for name in names}}
    for name in ("order_margin_max", "margin_max"):
        most = getattr(terms, name)
        present[name] = None if most is None else to_decimal(most, scale)
    present["position_lots_max"] = dict(terms.position_lots_max)
    present["owner_margin_max"] = {owner: to_decimal(most, scale) for owner, most in terms.owner_margin_max}
    return present


def _open(book: ReservationBook, options: argparse.Namespace) -> int:
    outcome = book.open_account(
        options.account,
        options.balance,
        options.currency,
        scale=options.scale,
        request_id=options.request_id,
        **_terms_of(options),
    )
    return _say_outcome(outcome, options)


def _terms(book: ReservationBook, options: argparse.Namespace) -> int:
    if options.show:
        terms = book.account(options.account).to_dict()["terms"]
        if options.json:
            say_json(terms)
        else:
            say(table([[name, str(value)] for name, value in terms.items()], left=(0, 1)))
        return 0
    terms = _terms_of(options, book.account(options.account))
    return _with_id(options, lambda ident: book.set_terms(options.account, request_id=ident, **terms))


def _show(book: ReservationBook, options: argparse.Namespace) -> int:
    accounts, failure = _of_each(options.account or book.accounts(), book.account)
    if options.json:
        say_json([account.to_dict() for account in accounts])
    else:
        head = ("account", "status", "balance", "open pnl", "executed", "used", "free", "orders", "version")
        say(table([_account_row(account) for account in accounts], head=head, left=(0, 1)))
    if failure is not None:
        raise failure
    return 0


def _account_row(account: BookAccount) -> list[str]:
    money = (account.balance, account.open_pnl, account.used_margin_executed, account.used_margin_all, account.free)
    name = f"{account.account_id} {account.currency}"
    return [name, str(account.status), *map(str, money), str(account.live_orders), str(account.version)]


def _move(book: ReservationBook, options: argparse.Namespace) -> int:
    name, amount = options.account, options.amount
    if options.command == "adjust":
        return _with_id(options, lambda ident: book.adjust(name, amount, options.kind, request_id=ident))
    step = book.deposit if options.command == "deposit" else book.withdraw
    return _with_id(options, lambda ident: step(name, amount, request_id=ident))


# --- orders ---------------------------------------------------------------------------------------------------------


def _holds(book: ReservationBook, options: argparse.Namespace) -> int:
    states = None if not options.state else [OrderState(state) for state in options.state]
    found = book.orders(
        options.account,
        states,
        symbol=options.symbol,
        overdue=options.overdue,
        age_ms=options.age_ms,
        every=options.every,
    )
    if options.json:
        say_json([_order_dict(order) for order in found])
        return 0
    head = ("order", "symbol", "side", "state", "lots", "filled", "working", "held", "venue id")
    rows = [
        [
            order.order_id,
            order.symbol,
            order.side,
            str(order.state),
            *map(str, (order.lots, order.filled, order.working, order.reserved_margin)),
            order.venue_id or "",
        ]
        for order in found
    ]
    say(table(rows, head=head, left=(0, 1, 2, 3, 8)) if rows else "no such orders")
    return 0


def _order_dict(order: BookOrder) -> dict[str, Any]:
    named = (
        "leg",
        "price_ticks",
        "owner",
        "request_id",
        "venue_id",
        "created_us",
        "changed_us",
        "overdue_us",
        "version",
    )
    flags = list(order.flags)
    return order.to_dict() | {name: getattr(order, name) for name in named} | {"flags": flags, "reason": order.reason}


def _reserve(book: ReservationBook, options: argparse.Namespace) -> int:
    listed = _json_of("--input", options.input)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise InputError("--input", None, "a JSON list of objects", type(listed).__name__)
    orders, holds = [], []
    for index, item in enumerate(listed):
        missing, unknown = ORDER_FIELDS - set(item), set(item) - ORDER_FIELDS - ORDER_MAY
        if missing or unknown:
            wrong = f"without {', '.join(sorted(missing))}" if missing else f"with {', '.join(sorted(unknown))}"
            raise InputError("--input", index, f"an order of {', '.join(sorted(ORDER_FIELDS))}", wrong)
        if item["side"] not in ("bid", "ask"):
            raise InputError("--input", index, "of side 'bid' or 'ask'", repr(item["side"]))
        given = {name: item[name] for name in ORDER_MAY if item.get(name) is not None}
        orders.append(
            Order(
                symbol=item["symbol"],
                side=Side(item["side"]),
                lots=item["lots"],
                price_ticks=item["price_ticks"],
                hold=0,
                price=Decimal(0),
                size=Decimal(0),
                **given,
            )
        )
        holds.append(item["hold"])
    return _with_id(
        options,
        lambda ident: book.reserve(
            options.account,
            orders,
            request_id=ident,
            holds=holds,
            policy=options.policy,
            send=options.send,
            owner=options.owner,
        ),
    )


def _fill(book: ReservationBook, options: argparse.Namespace) -> int:
    outcome = book.fill(
        options.account,
        options.order,
        options.lots,
        fill_id=options.fill_id,
        margin=options.margin,
        realised_pnl=options.realised_pnl,
        fee=options.fee,
    )
    return _say_outcome(outcome, options)


def _end(book: ReservationBook, options: argparse.Namespace) -> int:
    step = book.reject if options.command == "reject" else book.cancel
    ident = options.event_id or options.command
    return _say_outcome(step(options.account, options.order, event_id=ident, reason=options.reason), options)


def _resolve(book: ReservationBook, options: argparse.Namespace) -> int:
    state = OrderState(options.outcome)
    outcome = book.resolve(options.account, options.order, state, evidence=options.evidence, operator=options.operator)
    return _say_outcome(outcome, options)


# --- upkeep ---------------------------------------------------------------------------------------------------------


def _of_each(names: Sequence[str], ask: Callable[[str], _Answer]) -> tuple[list[_Answer], StoreError | None]:
    """The answers of all accounts that give one, and the first failure; before others, one of content."""
    answers: list[_Answer] = []
    failures: list[StoreError] = []
    for name in names:
        try:
            answers.append(ask(name))
        except StoreError as error:
            error.add_note(f"account {name}")
            failures.append(error)
    corrupt = [error for error in failures if isinstance(error, StoreCorrupt)]
    return answers, next(iter(corrupt + failures), None)


def _each(book: ReservationBook, options: argparse.Namespace) -> int:
    """Sweep or archive every account named, or every account there is."""
    names = options.account or book.accounts()
    if options.command == "sweep":
        outcomes, failure = _of_each(names, lambda name: book.sweep(name, sweeper=options.sweeper))
    else:
        outcomes, failure = _of_each(names, book.archive)
    if options.json:
        say_json([_outcome_dict(outcome) for outcome in outcomes])
    else:
        rows = [[o.account_id, " ".join([o.code, *o.flags]), str(len(o.order_rows)), str(o.version)] for o in outcomes]
        say(table(rows, head=("account", "answer", "orders", "version"), left=(0, 1)))
    if failure is not None:
        raise failure
    return 0 if all(outcome.done for outcome in outcomes) else 1


def _outbox(book: ReservationBook, options: argparse.Namespace) -> int:
    entries = book.outbox(options.account, limit=options.limit)
    if options.json:
        say_json([entry._asdict() for entry in entries])
        return 0
    rows = [
        [entry.request_id, str(entry.version), str(entry.open_orders), " ".join(entry.order_ids)] for entry in entries
    ]
    say(table(rows, head=("request", "version", "open", "orders"), left=(0, 3)) if rows else "the outbox is empty")
    return 0


def _record_dict(record: JournalRecord) -> dict[str, Any]:
    """A journal record in units of the account's scale, every field."""
    return {
        **record._asdict(),
        "code": str(record.code),
        "before": record.before._asdict(),
        "after": record.after._asdict(),
        "symbols": [change._asdict() for change in record.symbols],
        "orders": [change._asdict() for change in record.orders],
        "details": dict(record.details),
    }


def _history(book: ReservationBook, options: argparse.Namespace) -> int:
    records = book.history(options.account, after_version=options.after, limit=options.limit)
    if options.json:
        say_json([_record_dict(record) for record in records])
        return 0
    scale = book.account(options.account).scale
    rows = [
        [
            str(record.version),
            record.op,
            record.ident,
            record.order_id,
            str(record.code),
            str(to_decimal(record.after.all - record.before.all, scale)),
            str(to_decimal(record.after.free, scale)),
        ]
        for record in records
    ]
    say(table(rows, head=("version", "step", "id", "order", "answer", "used by", "free"), left=(1, 2, 3, 4)))
    return 0


def _audit(book: ReservationBook, options: argparse.Namespace) -> int:
    reports, failure = _of_each(options.account or book.accounts(), book.audit)
    if options.json:
        say_json([report.to_dict() for report in reports])
    for report in () if options.json else reports:
        verdict = "nothing contradicts" if report.ok else f"{len(report.findings)} contradictions"
        say(f"{report.account_id}: {verdict}; {report.orders} orders, {report.journal_records} journal records")
        for finding in report.findings:
            say(f"  {finding.kind}  {finding.where}  expected {finding.expected}, found {finding.found}")
    if failure is not None:
        raise failure
    return 0 if all(report.ok for report in reports) else 1


def _reconcile(book: ReservationBook, options: argparse.Namespace) -> int:
    view = None if options.view is None else _view_of(_json_of("--view", options.view))
    report = book.reconcile(
        options.account, view, apply=options.apply, grace_ms=options.grace_ms, operator=options.operator
    )
    if options.json:
        say_json(report.to_dict())
    else:
        _say_report(report)
    return 0 if report.ok or (report.applied and report.settled) else 1


def _say_report(report: ReconcileReport) -> None:
    say(f"{report.account_id}: {len(report.discrepancies)} differences at version {report.version}")
    for item in report.discrepancies:
        says = item.note or item.repair
        say(f"  {item.state}  {item.kind}  {item.where}  expected {item.expected}, found {item.found}: {says}")
    if report.unjudged:
        say(f"  changed too recently to judge: {', '.join(report.unjudged)}")


def _view_of(said: Any) -> VenueView:
    """What a venue says, from JSON: as_of_us and orders, and fills, positions and balance where they were asked for."""
    if not isinstance(said, dict):
        raise InputError("--view", None, "a JSON object", type(said).__name__)
    # An order that is not among the open ones is released: a list that was left out is no list without orders.
    missing, unknown = {"as_of_us", "orders"} - said.keys(), said.keys() - {field.name for field in fields(VenueView)}
    if missing or unknown:
        raise InputError("--view", None, "an object of as_of_us, orders, fills, positions, balance", sorted(said))
    try:
        orders = tuple([VenueOrder(**{**item, "side": Side(item["side"])}) for item in said["orders"]])
        fills = tuple([VenueFill(**item) for item in said.get("fills", ())])
        positions = _positions_of(said.get("positions"))
        return VenueView(
            as_of_us=said["as_of_us"], orders=orders, fills=fills, positions=positions, balance=said.get("balance")
        )
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            "--view", None, "orders and fills with the fields of VenueOrder and VenueFill", error
        ) from error


def _positions_of(said: Any) -> Any:
    """Positions per symbol; of a hedged symbol an object with its legs."""
    if not isinstance(said, dict):
        return said
    found: dict[Any, Any] = {}
    for symbol, lots in said.items():
        if isinstance(lots, dict):
            found |= {(symbol, leg): count for leg, count in lots.items()}
        else:
            found[symbol] = lots
    return found


def _ready_for_a_line(path: Path) -> None:
    """Let a file end with a whole line.

    A record that a failed write has torn is taken off: it was not confirmed, and comes again. Whatever else is kept.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        end = start = file.seek(0, os.SEEK_END)
        tail = b""
        while start and b"\n" not in tail:
            start = max(0, start - TAIL)
            file.seek(start)
            tail = file.read(end - start)
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn:
        return
    try:
        json.loads(torn)
        whole = True
    except ValueError:
        whole = not torn.startswith(LINE_START[: len(torn)])
    if whole:
        with path.open("ab") as file:
            file.write(b"\n")
    else:
        os.truncate(path, end - len(torn))


def _export(book: ReservationBook, options: argparse.Namespace) -> int:
    """Append chunk by chunk; a chunk is confirmed once it is on the disk."""
    count, chunk = 0, book.export(options.account, limit=EXPORT_CHUNK)
    _ready_for_a_line(Path(options.file))
    with Path(options.file).open("a", encoding="utf-8") as file:
        while chunk:
            for record in chunk:
                line = {"account_id": options.account, **_record_dict(record)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            count += len(chunk)
            chunk = book.export(options.account, limit=EXPORT_CHUNK, confirmed_version=chunk[-1].version)
    version = book.account(options.account).exported_version
    if options.json:
        say_json({"account_id": options.account, "records": count, "exported_version": version, "file": options.file})
    else:
        say(f"{count} records appended to {options.file}; everything up to version {version} is exported")
    return 0


def _import(book: ReservationBook, options: argparse.Namespace) -> int:
    said = _json_of("file", options.file)
    if not isinstance(said, dict) or set(said) != {"portfolio", "holdings"}:
        raise InputError("file", None, "a JSON object with portfolio and holdings", type(said).__name__)
    taken = book.import_flat(
        options.account,
        said["portfolio"],
        said["holdings"],
        currency=options.currency,
        scale=options.scale,
        lot=options.lot,
        request_id=options.request_id,
    )
    if options.json:
        say_json(taken.to_dict())
    else:
        say("nothing imported" if taken.outcome is None else str(taken.outcome.code))
        for fault in taken.faults:
            say(f"  {fault.kind}  {fault.where}  {fault.field}  said {fault.said}, taken {fault.taken}")
    return 0 if taken.done else 1
