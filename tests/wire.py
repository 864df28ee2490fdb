"""A wire to PostgreSQL that is cut after so many bytes, in either direction."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Callable


class Wire:
    """Relays TCP connections to the server of `url`, which is on a Unix socket.

    The first connection is cut once `sent` bytes went to the server, or `answered` bytes came from
    it: what comes after the last byte is not delivered, and both ends see that the other is gone.
    Connections after it are whole.
    """

    def __init__(self, url: str, *, sent: int | None = None, answered: int | None = None) -> None:
        self._url = url
        self._budgets = [(sent, answered)]
        self._open = ExitStack()
        self._listener = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        """The connection string of the same database by way of the wire."""
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
                server = socket.socket(socket.AF_UNIX)
                self._open.callback(_shut, client)
                self._open.callback(_shut, server)
                try:
                    server.connect(self._socket())
                except OSError:  # the server is down
                    _shut(client)
                    continue
                sent, answered = self._budgets.pop() if self._budgets else (None, None)

                def cut(client: socket.socket = client, server: socket.socket = server) -> None:
                    _shut(server)
                    _shut(client)

                for ends, budget in (((client, server), sent), ((server, client), answered)):
                    relay = threading.Thread(target=_relay, args=(*ends, budget, cut))
                    self._threads.append(relay)
                    relay.start()

    def _socket(self) -> str:
        parameters = conninfo_to_dict(self._url)
        return f"{parameters['host']}/.s.PGSQL.{parameters.get('port', 5432)}"


def _relay(
    source: socket.socket, target: socket.socket, budget: int | None, cut: Callable[[], None]
) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if budget is not None:
                data = data[:budget]
                budget -= len(data)
            target.sendall(data)
            if budget == 0:
                cut()
                return
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        end.shutdown(socket.SHUT_RDWR)
    end.close()
