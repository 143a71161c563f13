"""The words of `equipoise ledger`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["add_ledger"]

Run = Callable[[argparse.Namespace], int]
Command = Callable[[str, str], argparse.ArgumentParser]
STATES = ("RESERVED", "SENT", "LIVE", "UNKNOWN", "FILLED", "REJECTED", "CANCELLED", "EXPIRED", "CLOSED")
LIMITS = (
    ("--orders-max", "orders that are not terminal"),
    ("--order-margin-max", "hold of one order"),
    ("--margin-max", "used margin"),
    ("--mark-age-ms-max", "age of a position's mark, ms"),
    ("--records-max", "orders and request ids kept"),
)


def add_ledger(command: Command) -> None:
    """Add every command below `ledger`; `command(name, words)` makes its parser with the common options."""
    opened = command("open", "open an account; makes the book's file when there is none")
    _account(opened)
    opened.add_argument("--balance", default="0", metavar="AMOUNT", help="first balance (0)")
    opened.add_argument("--currency", default="USD", help="account currency (USD)")
    opened.add_argument("--scale", type=int, default=6, metavar="N", help="decimal places of every amount (6)")
    _terms(opened, kept=False)
    _request(opened)
    shown = command("show", "accounts with balance, used margin and free margin")
    shown.add_argument("account", nargs="*", help="account ids; none: all")
    _holds(command)
    _money(command)
    _orders(command)
    _upkeep(command)
    _whole(command)


def _account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", help="account id")


def _request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--request-id", metavar="ID", help="the same id again changes nothing; default: a new one")


def _terms(parser: argparse.ArgumentParser, *, kept: bool) -> None:
    def unnamed(word: str) -> str:
        return "as it is" if kept else word

    parser.add_argument("--rule", help=f"how charges combine ({unnamed('sum')})")
    parser.add_argument(
        "--positions", choices=("net", "hedge", "tickets"), help=f"net, hedge or tickets ({unnamed('net')})"
    )
    parser.add_argument(
        "--pnl-policy", choices=("loss_only", "all"), help=f"what counts as free ({unnamed('loss_only')})"
    )
    for name, words in LIMITS:
        parser.add_argument(name, metavar="N", help=f"at most: {words} (none: no limit)")
    parser.add_argument(
        "--position-lots-max", action="append", default=[], metavar="SYMBOL=LOTS", help="per symbol; may be repeated"
    )
    parser.add_argument(
        "--owner-margin-max", action="append", default=[], metavar="OWNER=AMOUNT", help="per owner; may be repeated"
    )


def _holds(command: Command) -> None:
    holds = command("holds", "orders and what they hold")
    _account(holds)
    holds.add_argument("--state", action="append", choices=STATES, help="only these; may be repeated")
    holds.add_argument("--symbol", help="only this symbol")
    holds.add_argument("--overdue", action="store_true", help="only those whose answer is past due")
    holds.add_argument("--age-ms", type=int, metavar="MS", help="only those unchanged for so long")
    holds.add_argument("--every", action="store_true", help="terminal ones too")


def _money(command: Command) -> None:
    for name, words in (("deposit", "add to the balance"), ("withdraw", "take from the balance, looking at holds")):
        moved = command(name, words)
        _account(moved)
        moved.add_argument("amount", help="decimal amount")
        _request(moved)
    adjust = command("adjust", "book a signed fact on the balance")
    _account(adjust)
    adjust.add_argument("amount", help="decimal amount, negative to take")
    adjust.add_argument("--kind", default="correction", help="fee, funding, swap, interest, correction or venue_sync")
    _request(adjust)
    terms = command("terms", "change the terms of an account, those that are named; with --show print them")
    _account(terms)
    terms.add_argument("--show", action="store_true", help="print the terms and change nothing")
    _terms(terms, kept=True)
    _request(terms)


def _orders(command: Command) -> None:
    reserve = command("reserve", "hold margin for a ladder")
    _account(reserve)
    reserve.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="JSON list of orders with symbol, side, lots, price_ticks, hold; optional order_id, reduce_only, leg "
        "(-: standard input)",
    )
    reserve.add_argument("--policy", choices=("all_or_nothing", "best_effort"), default="all_or_nothing", help="grant")
    reserve.add_argument("--send", choices=("claim", "outbox", "caller"), default="claim", help="who sends (claim)")
    reserve.add_argument("--owner", default="", help="tag of the strategy")
    _request(reserve)
    fill = command("fill", "book lots of an order that traded")
    _order(fill)
    fill.add_argument("lots", type=int, help="lots of this fill")
    fill.add_argument("--fill-id", required=True, metavar="ID", help="the venue's id of the fill")
    fill.add_argument("--margin", metavar="AMOUNT", help="position margin of the lots that open")
    fill.add_argument("--realised-pnl", metavar="AMOUNT", help="result of the lots that reduce")
    fill.add_argument("--fee", default="0", metavar="AMOUNT", help="taken from the balance (0)")
    for name, words in (("reject", "the venue refused an order"), ("cancel", "the venue confirmed a cancel")):
        ended = command(name, f"{words}: release what it still holds")
        _order(ended)
        ended.add_argument("--reason", default="", help="kept with the order")
        ended.add_argument("--event-id", metavar="ID", help=f"id of the event ({name})")
    resolve = command("resolve", "end the UNKNOWN state of an order by evidence")
    _order(resolve)
    resolve.add_argument("outcome", choices=("LIVE", "REJECTED", "CANCELLED", "EXPIRED"), help="what became of it")
    resolve.add_argument("--evidence", choices=("operator", "venue", "not_at_venue"), default="operator", help="whose")
    resolve.add_argument("--operator", default="", metavar="NAME", help="kept in the journal")


def _order(parser: argparse.ArgumentParser) -> None:
    _account(parser)
    parser.add_argument("order", help="order id, client id or venue id")


def _upkeep(command: Command) -> None:
    sweep = command("sweep", "cancel what was never sent, label UNKNOWN what is overdue")
    sweep.add_argument("account", nargs="*", help="account ids; none: all")
    sweep.add_argument("--sweeper", metavar="NAME", help="take a lease of ten seconds under this name, or leave it")
    outbox = command("outbox", "what waits for a sender or for an answer")
    _account(outbox)
    outbox.add_argument("--limit", type=int, default=100, metavar="N", help="entries at most (100)")
    history = command("history", "journal records, oldest first")
    _account(history)
    history.add_argument("--after", type=int, default=0, metavar="VERSION", help="only later ones")
    history.add_argument("--limit", type=int, default=50, metavar="N", help="records at most (50)")
    archive = command("archive", "let go of what is older than the horizon, and exported")
    archive.add_argument("account", nargs="*", help="account ids; none: all")


def _whole(command: Command) -> None:
    reconcile = command("reconcile", "compare with itself and the venue; repair with --apply")
    _account(reconcile)
    reconcile.add_argument("--view", metavar="FILE", help="what the venue says, as JSON (-: standard input)")
    reconcile.add_argument("--apply", action="store_true", help="repair; without it nothing is changed")
    reconcile.add_argument(
        "--grace-ms", type=int, default=5_000, metavar="MS", help="orders changed later are left out"
    )
    reconcile.add_argument("--operator", default="", metavar="NAME", help="kept in the journal")
    audit = command("audit", "prove the totals from orders alone and from the journal alone")
    audit.add_argument("account", nargs="*", help="account ids; none: all")
    export = command("export", "append the journal to a file as JSON lines, and confirm what is there")
    _account(export)
    export.add_argument("file", help="file to append to")
    taken = command("import", "take over a flat account; makes the book's file when there is none")
    _account(taken)
    taken.add_argument("file", help="JSON object with portfolio and holdings (-: standard input)")
    taken.add_argument("--currency", default="USD", help="account currency (USD)")
    taken.add_argument("--scale", type=int, default=6, metavar="N", help="decimal places of every amount (6)")
    taken.add_argument("--lot", default="1", metavar="X", help="quantity of one lot (1)")
    _request(taken)
