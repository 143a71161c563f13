"""Proof of a book: its totals recomputed from the orders alone, and from the journal alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from equipoise import present
from equipoise._rust import requirement
from equipoise.reservation.records import (
    STATE_AT,
    STATE_END,
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    OutboxEntry,
    Totals,
    digest_of,
)
from equipoise.reservation.steps import (
    NOT_TERMINAL,
    RateKey,
    counted,
    counted_rate,
    misleads,
    needs_alias,
    order_rate,
    standing,
)

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["AuditReport", "Finding", "Holdings", "JournalBase", "audit"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction.

    `kind` is one of executed, all, symbol, live_orders, records, owner, rates, index, alias, order, outbox,
    journal_gap, journal_chain, journal_state; `where` names the record.
    """

    kind: str
    where: str
    expected: Any
    found: Any


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Result of an audit; `ok` when nothing contradicts."""

    account_id: str
    version: int
    orders: int
    journal_records: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no contradiction was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values ready for JSON, findings as a list."""
        return present.audit_dict(self)

    def to_polars(self) -> polars.DataFrame:
        """One row a finding, as a polars frame (extra `report`)."""
        return present.audit_polars(self)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a finding, as a pandas frame (extra `report`)."""
        return present.audit_pandas(self)

    def _repr_html_(self) -> str:
        return present.audit_html(self)


_NOTHING = Totals(0, 0, 0, 0)


@dataclass(slots=True)
class JournalBase:
    """What the journal says of an account up to a version: totals, symbols and orders folded from its records."""

    version: int = 0
    totals: Totals = _NOTHING
    symbols: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    orders: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def fold(self, record: JournalRecord) -> None:
        """Take in the next record; the same one again changes nothing."""
        for change in record.symbols:
            self.symbols[change.symbol, change.leg] = change.after
        for moved in record.orders:
            if moved.after is None:
                self.orders.pop(moved.order_id, None)
            else:
                self.orders[moved.order_id] = moved.after
        self.totals = record.after
        self.version = record.version

    def copy(self) -> JournalBase:
        """An independent copy."""
        return JournalBase(self.version, self.totals, dict(self.symbols), dict(self.orders))


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything a store keeps of one account, read at one version."""

    account: BookAccount
    symbols: tuple[BookSymbol, ...]
    orders: Mapping[str, BookOrder]
    live_ids: frozenset[str]
    aliases: Mapping[str, str]
    owners: Mapping[str, int]
    rates: Mapping[RateKey, Mapping[int, int]]
    journal: Sequence[JournalRecord]
    base: JournalBase = field(default_factory=JournalBase)
    """What was folded of the journal before its first record."""
    outbox: tuple[OutboxEntry, ...] = ()
    requests: int = 0
    """How many request ids are kept."""
    index_fault: str = ""
    """What the store itself finds wrong between its records and its indexes."""
    later: frozenset[str] = frozenset()
    """Orders that were read later than the rest: what the journal does not tell of them is as of then."""


def audit(kept: Holdings) -> AuditReport:
    """Check an account's records against each other; reads only."""
    findings: list[Finding] = []
    _totals(kept, findings)
    _orders(kept, findings)
    count = _journal(kept, findings)
    return AuditReport(kept.account.account_id, kept.account.version, len(kept.orders), count, tuple(findings))


def _differs(findings: list[Finding], kind: str, where: str, expected: object, found: object) -> None:
    if expected != found:
        findings.append(Finding(kind, where, expected, found))


def _totals(kept: Holdings, findings: list[Finding]) -> None:
    """Symbol rows from orders, account totals from symbol rows."""
    account = kept.account
    owners: dict[str, int] = {}
    rates: dict[RateKey, dict[int, int]] = {}
    sums: dict[tuple[str, str], list[int]] = {}
    for order in kept.orders.values():
        row = sums.setdefault((order.symbol, order.leg), [0] * 10)
        _add_order(row, order)
        if order.owner and order.hold:
            owners[order.owner] = owners.get(order.owner, 0) + order.hold
        if account.terms.combine == "larger_leg":
            _count_rates(rates, order)
    executed = everything = pnl = 0
    tickets = account.terms.positions == "tickets"
    for symbol in kept.symbols:
        mine = sums.pop((symbol.symbol, symbol.leg), [0] * 10)
        where = f"{symbol.symbol} {symbol.leg}".strip()
        found = [symbol.hold_bids, symbol.hold_asks, symbol.bid_lots, symbol.ask_lots]
        found += [symbol.reduce_bid_lots, symbol.reduce_ask_lots]
        _differs(findings, "symbol", where, mine[:6], found)
        if tickets:
            owned = [symbol.long_lots, symbol.short_lots, symbol.margin, symbol.lots]
            _differs(findings, "symbol", f"{where} tickets", [*mine[6:9], mine[6] - mine[7]], owned)
        if not symbol.lots and not (symbol.long_lots or symbol.short_lots) and (symbol.margin or symbol.open_pnl):
            findings.append(Finding("symbol", f"{where} flat", (0, 0), (symbol.margin, symbol.open_pnl)))
        tops = [max(rates.get((symbol.symbol, symbol.leg, kind), {0: 1})) for kind in ("orders", "tickets")]
        _differs(findings, "rates", where, tops, [symbol.rate_orders, symbol.rate_tickets])
        now_executed, now_all = requirement(account.terms.combine, symbol)
        executed, everything, pnl = executed + now_executed, everything + now_all, pnl + symbol.open_pnl
    for (name, leg), row in sums.items():
        if any(row):
            findings.append(Finding("symbol", f"{name} {leg}".strip(), row, None))
    _differs(findings, "executed", account.account_id, executed, account.executed_units)
    _differs(findings, "all", account.account_id, everything, account.all_units)
    _differs(findings, "open_pnl", account.account_id, pnl, account.open_pnl_units)
    _differs(findings, "records", account.account_id, len(kept.orders) + kept.requests, account.records)
    _differs(findings, "owner", account.account_id, owners, {name: held for name, held in kept.owners.items() if held})
    kept_rates = {key: {rate: n for rate, n in counts.items() if n} for key, counts in kept.rates.items()}
    _differs(
        findings, "rates", account.account_id, rates, {key: counts for key, counts in kept_rates.items() if counts}
    )


def _add_order(row: list[int], order: BookOrder) -> None:
    """Add one order to [hold_bids, hold_asks, bid, ask, reduce bid, reduce ask, long, short, ticket margin]."""
    ask = int(order.side == "ask")
    row[ask] += order.hold
    if counted(order):
        row[2 + ask] += order.working
    if order.reduces:
        row[4 + ask] += order.working
    row[6 + ask] += order.open_lots
    row[8] += order.margin


def _count_rates(rates: dict[RateKey, dict[int, int]], order: BookOrder) -> None:
    if order.working and counted(order):
        counts = rates.setdefault((order.symbol, order.leg, "orders"), {})
        rate = counted_rate(order)
        counts[rate] = counts.get(rate, 0) + 1
    if order.open_lots:
        counts = rates.setdefault((order.symbol, order.leg, "tickets"), {})
        rate = order_rate(order.margin, order.open_lots)
        counts[rate] = counts.get(rate, 0) + 1


def _orders(kept: Holdings, findings: list[Finding]) -> None:
    """Each order by itself, and the indexes."""
    live = set()
    for order in kept.orders.values():
        if not order.terminal:
            live.add(order.order_id)
        total = order.filled + order.working + order.released
        _differs(findings, "order", f"{order.order_id} quantity", order.ordered, total)
        if not order.terminal:
            _differs(findings, "order", f"{order.order_id} hold", standing(order, order.filled)[1], order.hold)
        if order.terminal and (order.hold or order.working):
            findings.append(
                Finding("order", f"{order.order_id} hold after its end", (0, 0), (order.hold, order.working))
            )
    _differs(findings, "index", kept.account.account_id, frozenset(live), kept.live_ids)
    _differs(findings, "index", "the store's own", "", kept.index_fault)
    _differs(findings, "live_orders", kept.account.account_id, len(live), kept.account.live_orders)
    waiting: dict[str, int] = {}
    for order in kept.orders.values():
        if order.outbox:
            waiting[order.request_id] = waiting.get(order.request_id, 0) + 1
    entries = {entry.request_id: entry.open_orders for entry in kept.outbox}
    _differs(findings, "outbox", kept.account.account_id, waiting, entries)
    for alias, order_id in kept.aliases.items():
        if order_id not in kept.orders:
            findings.append(Finding("alias", alias, order_id, None))
    for order in kept.orders.values():
        venue_id = order.venue_id or ""
        if needs_alias(order) and order.order_id not in kept.later:
            leads = venue_id if venue_id in kept.orders else kept.aliases.get(venue_id)
            if misleads(venue_id, None if leads is None else kept.orders.get(leads)):
                findings.append(Finding("alias", venue_id, order.order_id, leads))


def _journal(kept: Holdings, findings: list[Finding]) -> int:
    """Fold the journal: no gap, every `before` is the last `after`, and the last `after` is the state."""
    state = kept.base.copy()
    for record in kept.journal:
        if record.version <= state.version:
            continue  # from before a repair began the journal anew
        where = f"version {record.version}"
        if record.version != state.version + 1:
            findings.append(Finding("journal_gap", where, state.version + 1, record.version))
        # Marks move the counted pnl between records and are not journalled.
        if record.op == "repair":
            state.fold(record)
            continue  # it says what it found, which need not be what was written last
        was = (state.totals.balance, state.totals.executed, state.totals.all)
        found = (record.before.balance, record.before.executed, record.before.all)
        _differs(findings, "journal_chain", where, was, found)
        for change in record.symbols:
            key = (change.symbol, change.leg)
            _differs(findings, "journal_chain", f"{where} {key}", state.symbols.get(key), change.before)
        for moved in record.orders:
            _differs(
                findings, "journal_chain", f"{where} {moved.order_id}", state.orders.get(moved.order_id), moved.before
            )
        state.fold(record)
        if record.op == "archive":
            standing_now = [(name, order) for name, order in state.orders.items() if order[0] in NOT_TERMINAL]
            said = dict(record.details).get("digest")
            if said is not None:
                # Up to a hyphen: there were two sums once, and this is the first.
                said = str(said).partition("-")[0]
                _differs(findings, "journal_chain", f"{where} digest", digest_of(standing_now), said)
    account = kept.account
    _differs(findings, "journal_gap", "last", state.version, account.version)
    folded = (state.totals.balance, state.totals.executed, state.totals.all)
    kept_totals = (account.balance_units, account.executed_units, account.all_units)
    _differs(findings, "journal_state", account.account_id, folded, kept_totals)
    rows = {(row.symbol, row.leg): (row.lots, row.margin, row.hold_bids, row.hold_asks) for row in kept.symbols}
    _differs(findings, "journal_state", "symbols", state.symbols, rows)
    kept_orders = {order_id: order[STATE_AT:STATE_END] for order_id, order in kept.orders.items()}
    for order_id in sorted({*state.orders, *kept_orders}):
        _differs(findings, "journal_state", order_id, state.orders.get(order_id), kept_orders.get(order_id))
    return state.version
