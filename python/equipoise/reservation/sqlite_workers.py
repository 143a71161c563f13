"""What a worker finds in the outbox of a SQLite book."""

from __future__ import annotations

from equipoise.reservation.records import BookOrder, OutboxEntry
from equipoise.reservation.sqlite_engine import Connection
from equipoise.reservation.sqlite_rows import entry_of, order_of
from equipoise.reservation.workers import Delivery, partition_of

__all__ = ["unsent"]

_UNSENT = (
    f"SELECT box.account_id, {', '.join(f'box.{name}' for name in OutboxEntry._fields)}, "  # noqa: S608
    f"{', '.join(f'orders.{name}' for name in BookOrder._fields)} "
    # In this order: the outbox is short, the table of orders is not.
    "FROM outbox AS box CROSS JOIN json_each(box.order_ids) AS named CROSS JOIN orders "
    "WHERE orders.account_id = box.account_id AND orders.order_id = named.value AND orders.state = 'RESERVED' "
    # An id that was archived may be another order's by now.
    "AND orders.outbox AND orders.request_id = box.request_id "
    "ORDER BY box.account_id, box.version, named.key"
)


def unsent(connection: Connection, partitions: frozenset[int]) -> list[Delivery]:
    """Every entry of the partitions with orders that nobody has claimed, oldest first within an account."""
    ends = 1 + len(OutboxEntry._fields)
    found: dict[tuple[str, int], Delivery] = {}
    for row in connection.execute(_UNSENT).fetchall():
        account_id = row[0]
        if partition_of(account_id) in partitions:
            entry, order = entry_of(row[1:ends]), order_of(row[ends:])
            known = found.get((account_id, entry.version))
            orders = (order,) if known is None else (*known.orders, order)
            found[account_id, entry.version] = Delivery(account_id, entry, orders)
    return list(found.values())
