"""Hold margin before an order leaves: the provider flow and the local flow, step by step.

Run it with nothing, or with a book to write to: `python examples/reservation_flow.py sqlite:///margin.db`.
"""

from __future__ import annotations

import sys
from decimal import Decimal

import equipoise as eq
from equipoise.orders import Order, Side

ACCOUNT = "live:6"


def order(order_id: str, lots: int = 1) -> Order:
    """A bid of some lots; its charge is given to `reserve` as an amount."""
    return Order(
        symbol="EURUSD",
        side=Side.BID,
        lots=lots,
        price_ticks=108_450,
        hold=0,
        price=Decimal("1.08450"),
        size=Decimal(lots),
        order_id=order_id,
    )


def show(book: eq.ReservationBook, step: str) -> None:
    """One line of the account."""
    account = book.account(ACCOUNT)
    used = f"executed {account.used_margin_executed:>12}  all {account.used_margin_all:>12}"
    print(f"{step:<42} {used}  free {account.free:>13}")


def main(url: str) -> None:
    """Both flows of a wallet of 10 000.00."""
    with eq.ReservationBook.connect(url) as book:
        opened = book.open_account(ACCOUNT, "10000.00", "USD", rule="sum", positions="tickets")
        if not opened.ok:
            sys.exit(f"{ACCOUNT} is already in {url}: {opened.code}")
        book.execute(ACCOUNT, order("old"), request_id="old", margin="1250.50")
        show(book, "an open position of 1 250.50")

        book.reserve(ACCOUNT, [order("A")], request_id="A", holds=["500.00"], order_type="market")
        show(book, "provider order A reserves 500.00")
        if book.claim(ACCOUNT, "A", event_id="worker-1").ok:
            print("  ... the bytes of A leave; only an OK claim permits that")
        book.fill(ACCOUNT, "A", 1, fill_id="fill-1", margin="500.00")
        show(book, "the provider confirms A")
        again = book.fill(ACCOUNT, "A", 1, fill_id="fill-1", margin="500.00")
        print(f"  ... the same confirmation again: {again.code}, nothing moves")

        book.reserve(ACCOUNT, [order("B")], request_id="B", holds=["500.00"], order_type="market")
        show(book, "provider order B reserves 500.00")
        book.reject(ACCOUNT, "B", reason="off quotes")
        show(book, "the provider refuses B")

        refused = book.reserve(ACCOUNT, [order("C")], request_id="C", holds=["9000"])
        print(f"order C asks for 9 000: {refused.code}, free {refused.free}, short by {refused.shortfall}")

        book.close(ACCOUNT, "A", event_id="close-1", realised_pnl="-12.30", fee="0.70")
        show(book, "A is closed at a loss of 12.30, fee 0.70")
        print(f"audit: {'clean' if book.audit(ACCOUNT).ok else 'CONTRADICTION'}")
        for record in book.history(ACCOUNT):
            print(f"  {record.version:>3} {record.op:<13} {record.ident:<12.12} {record.order_id}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "memory:")
