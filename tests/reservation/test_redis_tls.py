"""TLS: a Redis of the distribution (Valkey of the wheel is built without), with certificates of its own authority."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import servers

from equipoise.errors import StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook

REDIS = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(
    REDIS is None or shutil.which("openssl") is None, reason="redis-server or openssl is not installed"
)


class Tls:
    """A server that answers on a port with TLS, and the file of its authority."""

    def __init__(self, server: servers.Server, port: int, authority: Path) -> None:
        self.server, self.port, self.authority = server, port, authority

    def url(self, scheme: str = "rediss", host: str = "127.0.0.1", *, known: bool = True) -> str:
        return f"{scheme}://{host}:{self.port}" + (f"?ca={self.authority}" if known else "")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    subject = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(folder, "req", "-x509", *subject, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=an authority")
    openssl(folder, "req", *subject, "-keyout", "key.pem", "-out", "ask.pem", "-subj", "/CN=a server")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl(folder, "x509", "-req", "-in", "ask.pem", *signing, "-out", "cert.pem")
    port = servers.free_port()
    files = (f"tls-cert-file {folder}/cert.pem", f"tls-key-file {folder}/key.pem", f"tls-ca-cert-file {folder}/ca.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_SERVER", str(REDIS))
        with servers.Server(f"tls-port {port}", "tls-auth-clients no", *files) as server:
            yield Tls(server, port, folder / "ca.pem")


def test_a_book_over_tls(tls: Tls, order: Callable[..., Order]) -> None:
    with ReservationBook.connect(tls.url()) as book:
        book.open_account("a", 100)
        assert book.reserve("a", [order()], request_id="r").ok
        assert book.audit("a").ok
    with tls.server.client() as client:
        assert client.exists("user_portfolio:{a}")


def test_hints_over_tls_leave_the_connection_in_step(
    tls: Tls, order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their replies are read before a connection that was idle is used again."""
    monkeypatch.setattr("equipoise.reservation.redis_links.IDLE_S", 0.0)
    with ReservationBook.connect(tls.url()) as book, tls.server.client() as client:
        assert book.open_account("h", 100).ok
        before = client.info("stats")["total_connections_received"]
        for n in range(20):
            assert book.reserve("h", [order()], request_id=f"r{n}", send="outbox").ok
            time.sleep(0.01)
            assert book.account("h").version == n + 2
        assert client.info("stats")["total_connections_received"] - before <= 1
        assert book.audit("h").ok


def test_an_awaited_book_over_tls(tls: Tls, order: Callable[..., Order]) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(tls.url()) as book:
            await book.open_account("b", 100)
            assert (await book.reserve("b", [order()], request_id="r")).ok
            assert (await book.audit("b")).ok

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "known"), [("127.0.0.1", False), ("localhost", True)], ids=["authority not known", "name not certified"]
)
def test_a_server_that_cannot_prove_who_it_is_is_not_spoken_to(tls: Tls, host: str, known: bool) -> None:
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        ReservationBook.connect(tls.url(host=host, known=known))


def test_a_plain_client_is_not_answered(tls: Tls) -> None:
    with pytest.raises(StoreUnavailable):
        ReservationBook.connect(tls.url("redis", known=False))
