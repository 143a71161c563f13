"""Every parameter of every public method, with values it cannot take: refused by name, and nothing is written.

One table for all stores and for both kinds of book. A method or a parameter that is new must be entered here.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import servers

from equipoise.errors import InputError
from equipoise.orders import Order, Side
from equipoise.reservation import Code, OrderState, ReservationBook, VenueFill, VenueOrder, VenueView
from equipoise.reservation.awaited import AsyncReservationBook

Make = Callable[..., Order]
A = "acc"
NAN = float("nan")
LONE = "\ud800"
HUGE = 10**5_000

# What no parameter of a kind can take. None is added where the parameter has no default of None.
ODD: list[Any] = [True, 1.5, NAN, b"x", [], {}, object()]
NO_ID = [*ODD, 7, 2**63, -1, HUGE, "", "x" * 201, LONE, "a\nb", "a\x1fb"]
NO_COUNT = [*ODD, "1", 0, -1, 2**53, 2**63, HUGE]
NO_VERSION = [*ODD, "1", -1, 2**53, HUGE]
NO_TIME = [*ODD, "1", "x", 2**53, -(2**53), 2**63, 10**400, HUGE]
NO_SPAN = [*ODD, "1", -1, 2**53, 2**63, HUGE]
NO_AMOUNT = [*ODD, "one", "", LONE, "NaN", "Infinity", 2**53, 2**63, HUGE, "1e999999"]
NO_SIGN = [*NO_AMOUNT, -1]
NO_WORD = [*ODD, 7, -1, HUGE, "", "none of these", LONE]
NO_TEXT = [*ODD, 7, -1, HUGE, LONE, "x" * 1_001]
NO_FLAG = [0, 1, 1.5, NAN, "yes", "", [], HUGE, LONE]
NO_MAPPING = [True, 1.5, NAN, 7, "x", [], [1], {"": 1}, {LONE: 1}, {7: 1}]
NO_LIMITS = [*NO_MAPPING, {"SYM": 1.5}, {"SYM": -1}, {"SYM": 2**53}, {"SYM": NAN}, {"SYM": HUGE}, {"SYM": None}]
NO_ACCOUNT = [*NO_ID, None, "a b", "{a}"]


def _order(**changes: Any) -> Order:
    whole: dict[str, Any] = {"symbol": "SYM", "side": Side.BID, "lots": 1, "price_ticks": 1, "hold": 1}
    return Order(**{**whole, "price": None, "size": None, **changes})


BAD_ORDERS = [
    _order(**{name: value})
    for name, values in {
        "symbol": [*NO_ID, None],
        "side": [*NO_WORD, "bid", None],
        "lots": [*NO_COUNT, None],
        "price_ticks": [*NO_COUNT, None],
        "hold": [*[value for value in NO_COUNT if value != 0], None],
        "order_id": NO_ID,
        "reduce_only": [*NO_FLAG, None],
        "leg": NO_WORD,
    }.items()
    for value in values
    if name != "leg" or value is not None
]
NO_LADDER: list[Any] = [*ODD, None, "ab", [1], [None], [_order()] * 501, *[[order] for order in BAD_ORDERS]]
NO_HOLDS: list[Any] = [*[value for value in ODD if value != []], "1", (), (1, 1), *[(value,) for value in NO_SIGN]]


def _venue(**changes: Any) -> VenueView:
    whole = {"symbol": "SYM", "side": Side.ASK, "lots": 7, "price_ticks": 3, "hold": "0.7", "order_id": "zz"}
    return VenueView(as_of_us=1, orders=(VenueOrder(**{**whole, **changes}),))


def _traded(**changes: Any) -> VenueView:
    # A good order before it: what an error half way would have left behind.
    good = _venue().orders
    fill = VenueFill(**{"fill_id": "f", "order_id": "zz", "lots": 1, **changes})
    return VenueView(as_of_us=1, orders=good, fills=(fill,))


NO_VIEW: list[Any] = [
    *ODD,
    "x",
    *[VenueView(as_of_us=value) for value in [*NO_TIME, None]],
    *[VenueView(as_of_us=1, orders=value) for value in [7, "x", None, (1,), (None,)]],
    *[VenueView(as_of_us=1, fills=value) for value in [7, "x", None, (1,), (None,)]],
    *[VenueView(as_of_us=1, balance=value) for value in NO_AMOUNT],
    *[VenueView(as_of_us=1, positions=value) for value in NO_MAPPING],
    *[VenueView(as_of_us=1, positions={"SYM": value}) for value in [*ODD, "1", None, 2**53, -(2**53), HUGE]],
    VenueView(as_of_us=1, positions={("SYM", "up"): 1}),
    VenueView(as_of_us=1, positions={("SYM", "long", ""): 1}),
    VenueView(as_of_us=1, positions={"SYM": 1, ("SYM", ""): 1}),
    *[_venue(symbol=value) for value in [*NO_ID, None]],
    *[_venue(side=value) for value in [*NO_WORD, "bid", None]],
    *[_venue(lots=value) for value in [*NO_COUNT, None]],
    *[_venue(price_ticks=value) for value in [*NO_VERSION, None]],
    *[_venue(hold=value) for value in [*NO_SIGN, None]],
    *[_venue(order_id=value) for value in NO_ID],
    *[_venue(venue_id=value) for value in NO_ID],
    *[_venue(filled=value) for value in [*NO_VERSION, None]],
    *[_venue(reduce_only=value) for value in [*NO_FLAG, None]],
    *[_venue(leg=value) for value in NO_WORD],
    *[_traded(fill_id=value) for value in [*NO_ID, None]],
    *[_traded(order_id=value) for value in [*NO_ID, None]],
    *[_traded(lots=value) for value in [*NO_COUNT, None]],
    *[_traded(margin=value) for value in NO_SIGN],
    *[_traded(realised_pnl=value) for value in NO_AMOUNT],
    *[_traded(fee=value) for value in [*NO_AMOUNT, None]],
]

TIMES: dict[str, list[Any]] = {"issued_at_us": NO_TIME, "not_after_us": NO_TIME}
TERMS: dict[str, list[Any]] = {
    "rule": [*NO_WORD, None],
    "positions": NO_WORD,
    "pnl_policy": [*NO_WORD, None],
    "mark_age_ms_max": [*NO_SPAN, 0],
    "orders_max": NO_VERSION,
    "order_margin_max": NO_SIGN,
    "margin_max": NO_SIGN,
    "position_lots_max": NO_LIMITS,
    "owner_margin_max": NO_LIMITS,
    "records_max": NO_VERSION,
}
EVENT: dict[str, list[Any]] = {"order_id": [*NO_ID, None], "event_id": [*NO_ID, None]}
ENDED = {**EVENT, "reason": [*NO_TEXT, None]}
RESULT: dict[str, list[Any]] = {"realised_pnl": NO_AMOUNT, "fee": [*NO_AMOUNT, None]}
READ: dict[str, list[Any]] = {"limit": [*NO_COUNT, None]}
MOVED: dict[str, list[Any]] = {"amount": [*NO_SIGN, None], "request_id": [*NO_ID, None], **TIMES}

# Of each method: a call that would be taken, and for each further parameter what it cannot take.
TABLE: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "open_account": (
        {"account_id": "new"},
        {
            "balance": [*NO_AMOUNT, None],
            "currency": [*NO_ID, None],
            "scale": [*NO_VERSION, 10, None],
            "request_id": NO_ID,
            **TERMS,
            **TIMES,
        },
    ),
    "import_flat": (
        {"account_id": "new", "portfolio": {"balance": "1"}, "holdings": {}},
        {
            "portfolio": [*[value for value in ODD if value != {}], 7, "x", None],
            "holdings": [
                *[value for value in ODD if value != {}],
                7,
                "x",
                None,
                {"": {}},
                {7: {}},
                {LONE: {}},
                {"o": 1},
                {"o": None},
            ],
            "currency": [*NO_ID, None],
            "scale": [*NO_VERSION, 10, None],
            "lot": [*NO_SIGN, 0, None],
            "request_id": NO_ID,
            **TIMES,
        },
    ),
    "set_terms": ({"request_id": "q"}, {"request_id": [*NO_ID, None], **TERMS, **TIMES}),
    "suspend": ({"request_id": "q"}, {"on": [*NO_FLAG, None], "request_id": [*NO_ID, None], **TIMES}),
    "abandon": ({"request_id": "q"}, {"request_id": [*NO_ID, None], "issued_at_us": NO_TIME}),
    "deposit": ({"amount": 1, "request_id": "q"}, MOVED),
    "withdraw": ({"amount": 1, "request_id": "q"}, MOVED),
    "adjust": (
        {"amount": 1, "kind": "fee", "request_id": "q"},
        {**MOVED, "amount": [*NO_AMOUNT, None], "kind": [*NO_WORD, None]},
    ),
    "mark": (
        {"open_pnl": {"SYM": 1}},
        {
            "open_pnl": [
                *NO_MAPPING,
                None,
                *[{"SYM": value} for value in [*NO_AMOUNT, None]],
                {("SYM",): 1},
                {("SYM", "up"): 1},
                {("SYM", 3): 1},
                {"SYM": 1, ("SYM", ""): 1},
                {("SYM", None): 1, ("SYM", ""): 1},
            ],
            "as_of_us": NO_TIME,
        },
    ),
    "revalue": (
        {"symbol": "SYM", "position_margin": 1},
        {
            "symbol": [*NO_ID, None],
            "position_margin": [*NO_SIGN, None],
            "leg": NO_WORD,
            "as_of_us": NO_TIME,
            "request_id": NO_ID,
        },
    ),
    "sweep": ({}, {"sweeper": NO_ID, "lease_ms": [*NO_SPAN, 0, None]}),
    "archive": ({}, {"compact_after_s": NO_SPAN}),
    "reserve": (
        {"orders": [_order()], "request_id": "q"},
        {
            "orders": NO_LADDER,
            # An order is named after its request, and no longer than a name may be.
            "request_id": [*NO_ID, "x" * 199, None],
            "policy": [*NO_WORD, None],
            "holds": NO_HOLDS,
            "terms_version": NO_VERSION,
            "owner": [*[value for value in NO_ID if value != ""], None],
            "send": [*NO_WORD, None],
            "order_type": [*NO_WORD, None],
            "deadline_us": NO_TIME,
            "good_till_us": NO_TIME,
            **TIMES,
        },
    ),
    "execute": (
        {"order": _order(), "request_id": "q"},
        {
            "order": [*ODD, 7, None, *BAD_ORDERS],
            "request_id": [*NO_ID, "x" * 199, None],
            "margin": NO_SIGN,
            **RESULT,
            "terms_version": NO_VERSION,
            "owner": [*[value for value in NO_ID if value != ""], None],
            "order_type": [*NO_WORD, None],
            **TIMES,
        },
    ),
    "claim": ({"order_id": "o", "event_id": "e"}, EVENT),
    "acknowledge": (
        {"order_id": "o"},
        {"order_id": [*NO_ID, None], "venue_id": NO_ID, "event_id": NO_ID},
    ),
    "fill": (
        {"order_id": "o", "lots": 1, "fill_id": "f"},
        {
            "order_id": [*NO_ID, None],
            "lots": [*NO_COUNT, None],
            "fill_id": [*NO_ID, None],
            "margin": NO_SIGN,
            **RESULT,
        },
    ),
    "reject": ({"order_id": "o"}, ENDED),
    "cancel": ({"order_id": "o"}, ENDED),
    "expire": ({"order_id": "o"}, ENDED),
    "request_cancel": (
        {"order_id": "o"},
        {"order_id": [*NO_ID, None], "deadline_us": NO_TIME, "event_id": NO_ID},
    ),
    "amend": (
        {"order_id": "o", "lots": 1, "hold": 1, "event_id": "m"},
        {
            **EVENT,
            "lots": [*NO_COUNT, None],
            "hold": [*NO_SIGN, None],
            "price_ticks": NO_COUNT,
            "client_id": NO_ID,
            "terms_version": NO_VERSION,
            "deadline_us": NO_TIME,
            "not_after_us": NO_TIME,
        },
    ),
    "settle_amend": (
        {"order_id": "o", "outcome": "refused", "amend_id": "m"},
        {
            "order_id": [*NO_ID, None],
            "outcome": [*NO_WORD, None],
            "amend_id": [*NO_ID, None],
            "venue_id": NO_ID,
            "event_id": NO_ID,
        },
    ),
    "resolve": (
        {"order_id": "o", "outcome": OrderState.LIVE, "evidence": "venue"},
        {
            "order_id": [*NO_ID, None],
            "outcome": [*NO_WORD, OrderState.FILLED, None],
            "evidence": [*NO_WORD, None],
            "operator": [*NO_TEXT, None],
            "event_id": NO_ID,
        },
    ),
    "close": (
        {"order_id": "o", "event_id": "c"},
        {**EVENT, "lots": NO_COUNT, **RESULT},
    ),
    "account": ({}, {}),
    "order": ({"order_id": "o"}, {"order_id": [*NO_ID, None]}),
    "orders": (
        {},
        {
            "state": [True, 1.5, NAN, 7, HUGE, "", "FOO", LONE, ["LIVE", "FOO"], [[]], object()],
            "symbol": NO_ID,
            "overdue": [*NO_FLAG, None],
            "age_ms": NO_SPAN,
            "every": [*NO_FLAG, None],
        },
    ),
    "symbols": ({}, {}),
    "history": ({}, {"after_version": [*NO_VERSION, None], **READ}),
    "outbox": ({}, {"after_version": [*NO_VERSION, None], **READ}),
    "export": ({}, {"confirmed_version": [*NO_VERSION, 10**6], **READ}),
    "audit": ({}, {}),
    "reconcile": (
        {"view": _venue(), "apply": True},
        {"view": NO_VIEW, "apply": [*NO_FLAG, None], "grace_ms": [*NO_SPAN, None], "operator": [*NO_TEXT, None]},
    ),
    "worker": (
        {"name": "w"},
        {
            "name": [*NO_ID, None],
            "partition": [*NO_VERSION, 16],
            "poll_ms": [*NO_SPAN, 0, None],
            "takeover_ms": [*NO_SPAN, 0, None],
        },
    ),
}
BARE = {"accounts", "rebuild_registry", "close_book", "connect"}
"""Methods without a parameter, and `connect`, which has a test of its own."""
NOT_OF_AN_ACCOUNT = {"worker"}
EXPECTED = {"order": "orders"}
"""Parameters whose parts are named after another one."""


def test_the_table_has_every_parameter_of_every_public_method() -> None:
    names = {name for name, _ in inspect.getmembers(ReservationBook, inspect.isfunction) if name[0] != "_"}
    assert names == {*TABLE, *BARE}
    for name, (good, wrong) in TABLE.items():
        taken = set(inspect.signature(getattr(ReservationBook, name)).parameters) - {"self", "account_id"}
        assert taken == set(wrong), name
        assert set(good) <= {*wrong, "account_id"}, name


def calls() -> list[tuple[str, str, dict[str, Any]]]:
    """(method, the parameter that is wrong, arguments)."""
    found = []
    for name, (good, wrong) in TABLE.items():
        base = good if name in NOT_OF_AN_ACCOUNT else {"account_id": A, **good}
        wrongs = wrong if name in NOT_OF_AN_ACCOUNT else {"account_id": NO_ACCOUNT, **wrong}
        for parameter, values in wrongs.items():
            found += [(name, parameter, {**base, parameter: value}) for value in values]
    return found


def furnish(book: ReservationBook) -> None:
    """A position, an order in flight, one in the outbox, one that has ended."""
    assert book.open_account(A, 100).ok
    ladder = [_order(lots=2, hold=4), _order(side=Side.ASK, order_id="o", hold=3), _order(order_id="ended")]
    assert book.reserve(A, ladder, request_id="r", send="caller").ok
    assert book.fill(A, "r:0", 1, fill_id="f", realised_pnl=0).ok
    assert book.cancel(A, "ended").ok
    assert book.reserve(A, [_order(order_id="waits")], request_id="w", send="outbox").ok


def everything(book: ReservationBook) -> tuple[object, ...]:
    reads = (book.accounts(), book.account(A), book.orders(A, every=True), book.symbols(A), book.history(A))
    return *reads, book.outbox(A), book.audit(A).findings


def fault_of(error: BaseException | None, parameter: str, arguments: dict[str, Any]) -> str | None:
    """What is wrong with the answer to a call that cannot be taken; None: nothing."""
    said = f"{parameter}={type(arguments[parameter])} {ascii_of(arguments[parameter])}"
    if not isinstance(error, InputError):
        return f"{said}: {type(error).__name__}"
    named = error.argument
    names = (parameter, EXPECTED.get(parameter, parameter))
    if not any(named == name or named.startswith((f"{name}.", f"{name}[")) for name in names):
        # An order's leg is called as the one of a position is.
        return None if parameter in ("orders", "order") and named == "leg" else f"{said}: names {named}"
    return None


def ascii_of(value: object) -> str:
    try:
        return ascii(value)[:200]
    except ValueError:
        return "beyond what can be shown"


def test_what_a_parameter_cannot_take_is_refused_by_name_and_nothing_is_written(book: ReservationBook) -> None:
    furnish(book)
    before = everything(book)
    assert before[-1] == ()
    faults = []
    for name, parameter, arguments in calls():
        try:
            getattr(book, name)(**arguments)
        except Exception as error:
            fault = fault_of(error, parameter, arguments)
        else:
            fault = fault_of(None, parameter, arguments)
        if fault is not None:
            faults.append(f"{name}: {fault}")
    assert faults == []
    assert everything(book) == before
    assert book.reserve(A, [_order()], request_id="after").ok


@pytest.mark.parametrize("store", ["memory", "sqlite", "valkey"])
def test_what_a_parameter_cannot_take_is_refused_when_awaited_too(store: str, tmp_path: Path) -> None:
    url = "memory:" if store == "memory" else f"sqlite:///{tmp_path}/margin.db?durability=normal"
    if store == "valkey":
        url = servers.shared().url
        with servers.shared().client() as client:
            client.flushall()

    async def main() -> list[str]:
        faults = []
        async with await AsyncReservationBook.connect(url) as book:
            furnish(book.reader)
            before = everything(book.reader)
            for name, parameter, arguments in calls():
                try:
                    given = dict(arguments)
                    # The account is the first argument and has no name in a coroutine.
                    first = [given.pop("account_id")] if name not in NOT_OF_AN_ACCOUNT else []
                    answer = getattr(book, name)(*first, **given)
                    if name != "worker":
                        await answer
                except Exception as error:
                    fault = fault_of(error, parameter, arguments)
                else:
                    fault = fault_of(None, parameter, arguments)
                if fault is not None:
                    faults.append(f"{name}: {fault}")
            assert everything(book.reader) == before
        return faults

    assert asyncio.run(main()) == []


def test_a_missing_argument_is_a_type_error(book: ReservationBook) -> None:
    furnish(book)
    before = everything(book)
    for name, (good, _) in TABLE.items():
        parameters = inspect.signature(getattr(ReservationBook, name)).parameters.values()
        needed = {one.name for one in parameters if one.default is one.empty} - {"self", "account_id"}
        for missing in needed:
            given = {key: value for key, value in {"account_id": A, **good}.items() if key != missing}
            if name in NOT_OF_AN_ACCOUNT:
                given.pop("account_id")
            with pytest.raises(TypeError, match=missing):
                getattr(book, name)(**given)
    assert everything(book) == before


def opened(kind: type[Any], named: dict[str, Any]) -> None:
    book = kind.connect(**named)
    if inspect.iscoroutine(book):
        asyncio.run(book)


@pytest.mark.parametrize("kind", [ReservationBook, AsyncReservationBook])
@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("url", [*ODD, None, 7, LONE, "sqlite:///a\x00b", "sqlite:///a%00b", "redis://h/x"]),
        ("clock", [True, 1.5, "now", [], 7, time.time, lambda: None, lambda: 2**53]),
        ("timeout_ms", [*NO_COUNT, 2**31, None]),
        ("horizon_s", [*NO_SPAN, 0, None]),
    ],
)
def test_connect_refuses_what_it_cannot_take(kind: type[Any], argument: str, values: list[Any]) -> None:
    for value in values:
        named = {"url": "memory:", argument: value}
        with pytest.raises(InputError) as caught:
            opened(kind, named)
        assert caught.value.argument == argument


def test_times_at_the_edge_are_taken_and_read_back_unchanged(proven: ReservationBook) -> None:
    edge = 2**53 - 1
    proven.open_account(A, 100)
    late = {"issued_at_us": edge, "deadline_us": edge, "good_till_us": edge}
    assert proven.reserve(A, [_order(order_id="late")], request_id="late", **late).ok
    late_order = proven.order(A, "late")
    assert late_order is not None
    assert (late_order.deadline_us, late_order.good_till_us) == (edge, edge)
    assert proven.reserve(A, [_order(order_id="d")], request_id="d", issued_at_us=edge, send="caller").ok
    by_default = proven.order(A, "d")
    assert by_default is not None
    assert by_default.deadline_us == edge
    assert proven.request_cancel(A, "d", deadline_us=edge).ok
    assert proven.execute(A, _order(), request_id="e").ok
    assert proven.mark(A, {"SYM": 1}, as_of_us=edge).ok
    assert proven.mark(A, {"SYM": 2}, as_of_us=-edge).flags == ("older",)
    assert proven.revalue(A, "SYM", 1, as_of_us=edge).ok
    early = proven.reserve(A, [_order()], request_id="early", issued_at_us=-edge)
    assert early.code is Code.TOO_OLD_FOR_DEDUPE


def test_a_reason_may_be_any_text_that_can_be_encoded(proven: ReservationBook) -> None:
    proven.open_account(A, 100)
    for place, reason in enumerate(["", "x\x00y\x1f\n\t", '"\\', "é" * 5, "💥" * 1_000, "\x7f\u2028"]):
        proven.reserve(A, [_order(order_id=f"o{place}")], request_id=f"r{place}", send="caller")
        assert proven.cancel(A, f"o{place}", reason=reason).ok
        ended = proven.order(A, f"o{place}")
        assert ended is not None
        assert ended.reason == reason


def test_long_ids_that_differ_at_their_end_are_different_events(proven: ReservationBook) -> None:
    proven.open_account(A, 100)
    proven.reserve(A, [_order()], request_id="x" * 198, send="caller")
    held = "x" * 198 + ":0"
    first, second = "v" * 199 + "1", "v" * 199 + "2"
    assert proven.acknowledge(A, held, first).ok
    assert proven.acknowledge(A, held, first).code is Code.DUPLICATE
    assert proven.acknowledge(A, held, second).ok
    aliased = proven.order(A, second)
    assert aliased is not None
    assert aliased.order_id == held
    for amend_id in (first, second):
        assert proven.amend(A, held, 2, 2, event_id=amend_id).ok
        assert proven.settle_amend(A, held, "refused", amend_id=amend_id).ok
        assert proven.settle_amend(A, held, "refused", amend_id=amend_id).code is Code.DUPLICATE
    assert proven.cancel(A, held).ok
    proven.reserve(A, [_order(order_id="y" * 200)], request_id="z" * 200)
    assert proven.cancel(A, "y" * 200).ok


def test_a_venues_order_without_a_price_is_held_and_one_without_an_id_is_named_in_the_report(
    proven: ReservationBook, clock: Any
) -> None:
    proven.open_account(A, 100)
    stop = VenueOrder(symbol="SYM", side=Side.ASK, lots=7, price_ticks=0, hold="0.7", order_id="stop")
    nameless = VenueOrder(symbol="SYM", side=Side.ASK, lots=7, price_ticks=3, hold="0.7")
    view = VenueView(as_of_us=clock(), orders=(nameless, stop))
    done = proven.reconcile(A, view, apply=True)
    assert {(item.where, item.state) for item in done.discrepancies} == {("stop", "applied"), ("SYM", "skipped")}
    assert not done.settled
    assert [(held.order_id, held.price_ticks, held.hold) for held in proven.orders(A)] == [("stop", 0, 700_000)]
    assert proven.account(A).all_units == 700_000
    clock.advance(100)
    assert proven.amend(A, "stop", 8, "0.8", event_id="m", price_ticks=4).ok
    assert proven.settle_amend(A, "stop", "accepted", amend_id="m").ok
    amended = proven.order(A, "stop")
    assert amended is not None
    assert (amended.price_ticks, amended.hold) == (4, 800_000)
    assert proven.fill(A, "stop", 2, fill_id="f").ok
    assert proven.cancel(A, "stop").ok


def test_reconcile_goes_on_past_a_balance_that_cannot_be_booked(proven: ReservationBook, clock: Any) -> None:
    most = "9007199254.740991"
    proven.open_account(A, most)
    clock.advance(60)
    report = proven.reconcile(A, VenueView(as_of_us=clock(), balance=f"-{most}"), apply=True)
    assert [(item.kind, item.state, item.note) for item in report.discrepancies] == [
        ("balance", "skipped", "AMOUNT_OVERFLOW")
    ]


@pytest.mark.parametrize("book", ["valkey"], indirect=True)
def test_marks_of_thousands_of_symbols_are_taken_in_one_call(proven: ReservationBook) -> None:
    proven.open_account(A, 10**6)
    names = [f"S{number}" for number in range(4_500)]
    for start in range(0, len(names), 500):
        ladder = [_order(symbol=name, hold=0) for name in names[start : start + 500]]
        assert proven.reserve(A, ladder, request_id=str(start), send="caller").ok
        for place in range(500):
            assert proven.fill(A, f"{start}:{place}", 1, fill_id="f", margin=0).ok
    assert proven.mark(A, dict.fromkeys(names, -1)).ok
    assert proven.account(A).open_pnl == -4_500
