"""A checker that knows the tables of a SQLite book and none of its code.

`python -m tests.reservation.raw_rows FILE` looks again and again, each time at one snapshot, until its standard input
ends, and once more then; it prints how often it looked and the totals it saw last.
"""

from __future__ import annotations

import json
import select
import sys
from typing import Any

__all__ = ["check"]


def check(connection: Any) -> dict[str, tuple[int, int]]:
    """Recompute every account under rule sum, net positions, from raw rows; (executed, all) per account."""
    found = {}
    connection.execute("BEGIN")
    for account, balance, executed, everything, version, live in connection.execute(
        "SELECT account_id, balance_units, executed_units, all_units, version, live_orders FROM accounts"
    ).fetchall():
        mine = (account,)
        held, count = connection.execute(
            "SELECT coalesce(sum(hold), 0), count(*) FROM orders WHERE account_id = ? "
            "AND state NOT IN ('FILLED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'CLOSED')",
            mine,
        ).fetchone()
        (positions,) = connection.execute(
            "SELECT coalesce(sum(margin), 0) FROM symbols WHERE account_id = ?", mine
        ).fetchone()
        assert (executed, everything) == (positions, positions + held)
        assert count == live
        assert everything <= balance
        versions = connection.execute("SELECT version FROM journal WHERE account_id = ?", mine).fetchall()
        assert sorted(row[0] for row in versions) == list(range(1, version + 1))
        orphans = connection.execute(
            "SELECT count(*) FROM orders WHERE account_id = ? AND state IN ('FILLED', 'REJECTED', 'CANCELLED', "
            "'EXPIRED') AND (hold <> 0 OR working <> 0)",
            mine,
        ).fetchone()
        assert orphans == (0,)
        found[account] = (executed, everything)
    connection.execute("COMMIT")
    return found


def main() -> None:
    """Look until told to stop."""
    import apsw  # the writers' library: another one would not see their locks

    connection = apsw.Connection(sys.argv[1], apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(30_000)
    looks = 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        check(connection)
        looks += 1
    print(json.dumps([looks, check(connection)]))


if __name__ == "__main__":
    main()
