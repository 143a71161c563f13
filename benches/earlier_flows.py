"""The flows of earlier systems, recreated: they check first and write from outside the check.

They are shown beside the book on the same server in the same run: what a placement costs with many open orders, and
that callers who check at the same moment are all accepted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis

__all__ = ["EarlierFlows", "oversold"]

MARGIN = 600


class EarlierFlows:
    """Placement on one account, in the flat layout, by sequential commands of one client."""

    def __init__(self, client: redis.Redis, account: str) -> None:
        self.client, self.account, self.made = client, account, 0

    def fill_up(self, balance: int, open_orders: int) -> None:
        """An account with this many orders open, of one unit each."""
        pipe = self.client.pipeline(transaction=False)
        fields = {"balance": balance, "used_margin_executed": open_orders, "used_margin_all": open_orders}
        pipe.hset(f"flat_portfolio:{{{self.account}}}", mapping=fields)
        for n in range(open_orders):
            fields = {"order_status": "OPEN", "execution_status": "EXECUTED", "margin": 1, "symbol": "HYPE"}
            pipe.hset(f"flat_holdings:{{{self.account}}}:o{n}", mapping=fields)
            pipe.sadd(f"flat_active:{{{self.account}}}", f"o{n}")
        pipe.execute()

    def local(self, margin: int = 1) -> bool:
        """Local flow: used margin recomputed over all open orders, then checked, then written."""
        client, account = self.client, self.account
        portfolio = f"flat_portfolio:{{{account}}}"
        client.hget(portfolio, "used_margin_all")
        used = 0
        for name in client.smembers(f"flat_active:{{{account}}}"):
            order = client.hgetall(f"flat_holdings:{{{account}}}:{name.decode()}")
            used += int(order.get(b"margin") or order.get(b"reserved_margin") or 0)
        balance = int(client.hget(portfolio, "balance") or 0)
        if balance - used < margin:
            return False
        self.made += 1
        fields = {"order_status": "OPEN", "execution_status": "EXECUTED", "margin": margin, "symbol": "HYPE"}
        name = f"{threading.get_ident()}-{self.made}"
        client.hset(f"flat_holdings:{{{account}}}:{name}", mapping=fields)
        client.sadd(f"flat_active:{{{account}}}", name)
        client.hset(portfolio, mapping={"used_margin_all": used + margin, "used_margin_executed": used + margin})
        return True

    def provider(self, margin: int = 1) -> bool:
        """Provider flow: no recomputation, eleven commands one after the other, and no lock around them."""
        client, account = self.client, self.account
        portfolio = f"flat_portfolio:{{{account}}}"
        self.made += 1
        name = f"{threading.get_ident()}-p{self.made}"
        holding = f"flat_holdings:{{{account}}}:{name}"
        if not client.set(f"flat_seen:{{{account}}}:{name}", 1, ex=60, nx=True):
            return False
        balance = int(client.hget(portfolio, "balance") or 0)
        client.hget(portfolio, "used_margin_executed")
        used = int(client.hget(portfolio, "used_margin_all") or 0)
        if client.exists(holding) or balance - used < margin:
            return False
        fields = {"order_status": "QUEUED", "execution_status": "QUEUED", "reserved_margin": margin, "symbol": "HYPE"}
        client.hset(holding, mapping=fields)
        client.sadd(f"flat_active:{{{account}}}", name)
        client.hset(f"flat_lookup:{{{account}}}", name, account)
        client.sadd(f"flat_symbol:{{{account}}}:HYPE", name)
        client.hset(portfolio, "used_margin_all", used + margin)
        client.lpush(f"flat_queue:{{{account}}}", name)
        return True


def oversold(connect: Callable[[], redis.Redis], flow: str, callers: int, room: int, runs: int) -> int:
    """Runs out of `runs` in which callers who came at the same moment were granted more than there was room for."""
    over = 0
    for number in range(runs):
        account = f"race-{flow}-{number}"
        with connect() as client:
            EarlierFlows(client, account).fill_up(room * MARGIN, 0)
        gate, granted = threading.Barrier(callers), []

        def place(account: str = account, gate: threading.Barrier = gate, granted: list[bool] = granted) -> None:
            with connect() as client:
                client.ping()
                flows = EarlierFlows(client, account)
                gate.wait()
                granted.append(getattr(flows, flow)(MARGIN))

        threads = [threading.Thread(target=place) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        over += sum(granted) > room
    return over
