"""A proxy in front of PostgreSQL that loses a connection at COMMIT, at an exact byte."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack, suppress
from enum import Enum
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cut(Enum):
    """When a connection is lost."""

    NEVER = "never"
    BEFORE = "COMMIT is not delivered, and the server sees that its client is gone"
    UNNOTICED = "COMMIT is not delivered, and the server goes on waiting for its client"
    AFTER = "COMMIT is done, and its answer is not delivered"


class Proxy:
    """Relays TCP connections to the server of `url`, and loses the first one to send COMMIT.

    `spared` COMMITs come through before that. With `last`, nobody can connect afterwards.
    `accepted` counts connections, `round_trips` the answers of the server on those established.
    """

    def __init__(
        self, url: str, cut: Cut = Cut.NEVER, *, spared: int = 0, last: bool = False
    ) -> None:
        self._url = url
        self._spared = spared
        self._cut = cut
        self._last = last
        self._open = ExitStack()
        self._listener = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._threads = [threading.Thread(target=self._accept)]
        self.accepted = 0
        self.round_trips = 0

    @property
    def url(self) -> str:
        """The connection string of the same database by way of the proxy."""
        parameters = conninfo_to_dict(self._url) | {
            "host": "127.0.0.1",
            "port": self._listener.getsockname()[1],
        }
        parameters.pop("requirepeer", None)  # only a Unix socket tells who sits behind it
        return make_conninfo("", **parameters)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._listener)
        self._threads[0].join()
        self._open.close()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was shut
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._socket())
                for end in (client, server):
                    self._open.callback(_shut, end)
                self._threads.append(threading.Thread(target=self._relay, args=(client, server)))
                self._threads[-1].start()

    def _socket(self) -> str:
        parameters = conninfo_to_dict(self._url)
        return f"{parameters['host']}/.s.PGSQL.{parameters.get('port', 5432)}"

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, EOFError):
            server.sendall(_startup(client))
            try:
                ready = b"".join(_until(server, b"Z"))
            except EOFError:  # it does not let us in
                _shut(client)
                return
            client.sendall(ready)
            commits: set[bytes] = set()
            while True:
                messages = list(_until(client, b"SQX"))
                request = b"".join(messages)
                if self._cut is not Cut.NEVER and _executes_commit(messages, commits):
                    if not self._spared:
                        self._lose(client, server, request)
                        return
                    self._spared -= 1
                server.sendall(request)
                answer = b"".join(_until(server, b"Z"))
                self.round_trips += 1
                client.sendall(answer)

    def _lose(self, client: socket.socket, server: socket.socket, request: bytes) -> None:
        cut, self._cut = self._cut, Cut.NEVER
        match cut:
            case Cut.BEFORE:
                _shut(server)
            case Cut.AFTER:
                server.sendall(request)
                list(_until(server, b"Z"))
            case _:
                pass
        if self._last:
            _shut(self._listener)
        _shut(client)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _executes_commit(messages: list[bytes], commits: set[bytes]) -> bool:
    """Tell whether a request executes COMMIT; note the `commits` among prepared statements."""
    for message in messages:
        kind, fields = message[:1], message[5:].split(b"\0")
        if kind == b"Q" and b"COMMIT\0" in message:
            return True
        if kind == b"P":
            name, query = fields[:2]
            (commits.add if query == b"COMMIT" else commits.discard)(name)
        if kind == b"B" and fields[1] in commits:
            return True
    return False


def _startup(client: socket.socket) -> bytes:
    """Return the one message without a type, which opens a connection."""
    length = _exactly(client, 4)
    return length + _exactly(client, _integer(length) - 4)


def _until(end: socket.socket, kinds: bytes) -> Iterator[bytes]:
    """Yield whole messages, up to one of these kinds."""
    kind = b""
    while not kind or kind not in kinds:
        kind = _exactly(end, 1)
        length = _exactly(end, 4)
        yield kind + length + _exactly(end, _integer(length) - 4)


def _exactly(end: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = end.recv(size - len(read))
        if not more:
            raise EOFError
        read += more
    return read


def _integer(four_bytes: bytes) -> int:
    (value,) = struct.unpack("!i", four_bytes)
    return value
