"""The command line without a process of its own, with a terminal of its own, and kept waiting."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest
from conftest import TIMEOUT, Result

from concord.cli import run

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from conftest import CommandLine

STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What sets colours and weight (SGR), and nothing else."""


WAITING = """
SELECT FROM pg_stat_activity
WHERE application_name = %s AND %s = ANY(pg_blocking_pids(pid))
"""


class Here:
    """`concord` in this very process: it costs milliseconds, where a process costs a third of a
    second. Acts as `ana`, in a home and working directory of its own.
    """

    def __init__(
        self,
        url: str | None,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.home = home
        self._patch = monkeypatch
        self._capsys = capsys
        for name in [name for name in os.environ if name.startswith("CONCORD_")]:
            monkeypatch.delenv(name)
        for name in ("VISUAL", "EDITOR", "NO_COLOR", "CLICOLOR_FORCE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
        monkeypatch.setenv("CONCORD_DATA_DIR", str(home / "data"))
        monkeypatch.setenv("CONCORD_USER", "ana")
        if url is not None:
            monkeypatch.setenv("CONCORD_DATABASE_URL", url)
        monkeypatch.chdir(home)

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Result:
        """Run a command line and return what it did."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        self._capsys.readouterr()
        code = run(arguments)
        out, err = self._capsys.readouterr()
        return Result(code, out, err)

    def ok(self, *arguments: str, stdin: str = "") -> Any:
        """Run a command line with --json, which must succeed, and return what it printed."""
        result = self(*arguments, "--json", stdin=stdin)
        assert result.code == 0, result
        return json.loads(result.out) if result.out else None

    def refused(self, *arguments: str, code: int, stdin: str | bytes = "") -> str:
        """Run a command line that must fail with this code; return its message and hint."""
        result = self(*arguments, stdin=stdin)
        assert (result.code, result.out) == (code, ""), result
        assert "Traceback" not in result.err
        return result.err


class Terminal:
    """A process of the real command line on a terminal of its own."""

    def __init__(
        self,
        concord: CommandLine,
        *arguments: str,
        columns: int = 100,
        **environment: str,
    ) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, columns))
        self._shown = b""
        self.process = concord.start(
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**concord.environment, "TERM": "xterm", "LANG": "C.UTF-8", **environment},
            # With a session of its own the terminal is its own, and Ctrl-C reaches it.
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    @property
    def shown(self) -> str:
        """All that was shown so far, escape sequences too."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def type(self, keys: str) -> Self:
        """Press keys."""
        os.write(self._ours, keys.encode())
        return self

    def wait_for(self, text: str, *, times: int = 1) -> Self:
        """Read until the terminal has shown a text, so many times."""
        while self.shown.count(text) < times:
            assert self._read(), f"{text!r} never came: {self.shown!r}"
        return self

    def end(self) -> Result:
        """Read to the end of the process; `out` is all that was shown."""
        while self._read():
            pass
        return Result(self.process.wait(TIMEOUT), self.shown, "")

    def _read(self) -> bool:
        assert select.select([self._ours], [], [], TIMEOUT)[0], f"still running: {self.shown!r}"
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self._shown += read
        return bool(read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def on_terminal(
    concord: CommandLine, *arguments: str, columns: int = 100, **environment: str
) -> Result:
    """Run a command line on a terminal to its end; `out` is all that it showed."""
    with Terminal(concord, *arguments, columns=columns, **environment) as terminal:
        return terminal.end()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def plain(text: str) -> str:
    """Return what a terminal shows without colours, and without spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in STYLE.sub("", text).splitlines())


@contextmanager
def zone(name: str) -> Generator[None]:
    """Make this process live in a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()


@contextmanager
def screen(monkeypatch: pytest.MonkeyPatch, *, columns: int = 80) -> Generator[list[str]]:
    """Make stdout of this process a real terminal; afterwards the list holds all it showed."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    shown: list[str] = []
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        reading = pool.submit(_read_all, ours)
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("TERM", "xterm")
        with os.fdopen(theirs, "w", encoding="utf-8") as out:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "__stdout__", out)
            yield shown
            patch.undo()
        shown.append(reading.result(TIMEOUT).decode().replace("\r\n", "\n"))
    os.close(ours)


def _read_all(terminal: int) -> bytes:
    read = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return read
        read += more


@contextmanager
def locked(url: str, task: int) -> Generator[psycopg.Connection]:
    """Hold the lock of a task from a session of its own."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task,))
        yield connection


def await_waiting(url: str, command: str, holder: psycopg.Connection) -> None:
    """Return once a command waits for what the holder has locked."""
    with psycopg.connect(url, autocommit=True) as observer:
        for _ in range(1_000_000):
            if observer.execute(WAITING, (f"concord {command}", holder.info.backend_pid)).rowcount:
                return
    raise AssertionError(f"{command} does not wait")
