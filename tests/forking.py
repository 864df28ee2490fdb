"""Many processes of the command line at once, without the start of Python in each.

To start Python and load Concord takes a third of a second, ten times as long as most commands, and
never twice the same time. Here that is done once; each command is a fork of the process at that
moment. It is a process like any other, with streams, environment and connection of its own, and it
is at its first statement a few milliseconds after it was asked for: so those that are started
together do meet.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from traceback import print_exc
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import CommandLine, Result

LARGEST = 100_000
"""Bytes of a command line and its environment."""

NUMBER = struct.Struct("i")


class Forked:
    """A command in a process of its own."""

    def __init__(
        self,
        channel: socket.socket,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        terminal: int | None = None,
    ) -> None:
        self._arguments = arguments
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._told, telling = os.pipe()
        order = json.dumps([arguments, dict(environment)]).encode()
        with Path(os.devnull).open("rb") as nothing:
            streams = (
                [nothing.fileno(), self._out.fileno(), self._err.fileno()]
                if terminal is None
                else [terminal] * 3
            )
            socket.send_fds(channel, [order], [*streams, telling])
        os.close(telling)
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """Its number, once it is there."""
        if self._pid is None:
            self._pid = self._number()
        return self._pid

    def has_ended(self) -> bool:
        """Whether it is over."""
        assert self.pid
        return self._is_told(0)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if not self.has_ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def finish(self) -> Result:
        """Wait for the process and return what it did."""
        from conftest import Result

        try:
            assert self.pid
            code = self._number()
            for file in (self._out, self._err):
                file.seek(0)
            return Result(code, self._out.read().decode(), self._err.read().decode())
        except AssertionError:
            self.kill()
            raise
        finally:
            os.close(self._told)
            self._out.close()
            self._err.close()

    def _number(self) -> int:
        from conftest import TIMEOUT

        assert self._is_told(TIMEOUT), f"still running after {TIMEOUT} s: {self._arguments}"
        (number,) = NUMBER.unpack(os.read(self._told, NUMBER.size))
        return number

    def _is_told(self, patience: float) -> bool:
        return bool(select.select([self._told], [], [], patience)[0])


class Nursery:
    """The process that others are forked from."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )

    def start(self, concord: CommandLine, *arguments: str, **environment: str) -> Forked:
        """Start a process of a command line."""
        return Forked(self._channel, arguments, _told(concord, environment))

    def on_terminal(
        self, terminal: int, concord: CommandLine, *arguments: str, **environment: str
    ) -> Forked:
        """Start a process of a command line whose streams are a terminal."""
        return Forked(self._channel, arguments, _told(concord, environment), terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._process.wait()


def _told(concord: CommandLine, environment: Mapping[str, str]) -> dict[str, str]:
    return {**concord.environment, **environment, "PWD": str(concord.home)}


def serve(channel: socket.socket) -> None:
    """Fork a process for each order, and tell its number and at last its exit status."""
    telling: dict[int, int] = {}
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, _heed)
    signal.set_wakeup_fd(waker)
    while True:
        ready = select.select([channel, woken], [], [])[0]
        if woken in ready:
            os.read(woken, LARGEST)
            for pid in list(telling):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    os.write(telling[pid], NUMBER.pack(os.waitstatus_to_exitcode(status)))
                    os.close(telling.pop(pid))
        if channel in ready:
            order, descriptors, _, _ = socket.recv_fds(channel, LARGEST, 4)
            if not order:
                return
            pid = os.fork()
            if not pid:
                channel.close()
                arguments, environment = json.loads(order)
                _become(arguments, environment, descriptors)
            *streams, telling[pid] = descriptors
            for stream in streams:
                os.close(stream)
            os.write(telling[pid], NUMBER.pack(pid))


def _heed(_number: int, _frame: object) -> None:
    """Do nothing: that there is something to do, the descriptor tells."""


def _become(arguments: list[str], environment: dict[str, str], descriptors: list[int]) -> NoReturn:
    code: Any = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(environment["PWD"])
        time.tzset()
        sys.argv[1:] = arguments
        import_module("concord.__main__").main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - a child must never go on as its parent
        print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def load() -> None:
    """Load what commands load, and those that fail."""
    for package in ("concord.cli", "concord.sql"):
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)
    for name in ("concord.logs", "structlog", "platformdirs"):
        import_module(name)


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
