"""Commands that write while something goes wrong, and what must be so afterwards.

A round is a few commands at once and one fault. Then: what was acknowledged (exit code 0) is there,
whole; what was refused is not there; what was killed is there as a whole or not at all; of a commit
that is unknown, `doctor --unknown` tells what is so; and history tells the same as the rows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, LiteralString

import clocks
import psycopg
from audit import check_history
from conftest import open_directory
from proxy import Cut, Proxy
from wire import Wire

from concord import cli, embedded, migrate
from concord.database import Database
from concord.errors import ExitCode
from concord.settings import load
from concord.sql import fates, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from concord.settings import Settings

PATIENCE = 60
"""Seconds after which a command hangs: far more than all of its time-outs together."""

BULK = 4
"""Tasks that a bulk command changes."""

TIMEOUTS = {
    "CONCORD_LOCK_TIMEOUT": "300ms",
    "CONCORD_STATEMENT_TIMEOUT": "5s",
    "CONCORD_CONNECT_TIMEOUT": "3s",
}

FEW_CONNECTIONS: LiteralString = "ALTER SYSTEM SET max_connections = 16"

PARTS: LiteralString = """
-- parts: how much of what a word stands for is to be seen
SELECT (SELECT count(*) FROM tasks WHERE strpos(description, %(word)s) > 0)
     + (SELECT count(*) FROM tasks WHERE title = %(word)s)
     + (SELECT count(*) FROM task_tags x JOIN tasks t ON t.id = x.task_id WHERE t.title = %(word)s)
     + (SELECT count(*) FROM assignments x JOIN tasks t ON t.id = x.task_id
        WHERE t.title = %(word)s)
"""

SMALL_DISK = 192 * 1024 * 1024
"""Bytes: enough for a server, and some of its log of changes."""

HOLD: LiteralString = "SELECT FROM tasks WHERE id = %(task)s FOR UPDATE"
END: LiteralString = "SELECT pg_terminate_backend(pid) FROM unnest(%(pids)s::int[]) AS pid"

LONGEST_REQUEST, LONGEST_ANSWER = 5_000, 5_000
"""Bytes: a little more than a command sends, and than it is answered."""

BACKENDS: LiteralString = """
SELECT pid FROM pg_stat_activity
WHERE application_name LIKE 'concord task%' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Write:
    """A command that carries a word of its own into so many places (`whole`)."""

    word: str
    words: Sequence[str]
    whole: int


@dataclass(frozen=True)
class Answer:
    """What became of a command: its exit code, or the negative number of a signal."""

    write: Write
    code: int
    told: str

    @property
    def xid(self) -> str | None:
        """The transaction whose commit is unknown, if it is."""
        with suppress(ValueError, LookupError, TypeError):
            return json.loads(self.told.strip().splitlines()[-1])["error"]["details"]["xid"]
        return None


class Running:
    """A command in a process of its own, forked: Python and its modules are there already.

    Unless its environment preloads a library, which only a program that is started heeds.
    """

    def __init__(self, write: Write, environment: Mapping[str, str]) -> None:
        self.write = write
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes to it
        self.pid = os.fork()
        if self.pid == 0:
            self._become(environment)

    def _become(self, environment: Mapping[str, str]) -> None:
        code = int(ExitCode.BUG)
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(self._out.fileno(), 1)
            os.dup2(self._out.fileno(), 2)
            if "LD_PRELOAD" in environment:
                anew = [sys.executable, "-m", "concord", *self.write.words, "--json"]
                os.execve(sys.executable, anew, {**os.environ, **environment})
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            os.environ.update(environment)
            code = cli.run([*self.write.words, "--json"])
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def finish(self) -> Answer:
        """Wait for its end. Raises `AssertionError` if there is none."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self.kill()
                os.waitpid(self.pid, 0)
                raise AssertionError(f"{self.write.words} hangs")
            time.sleep(0.002)
        self._out.seek(0)
        told = self._out.read().decode(errors="replace")
        self._out.close()
        return Answer(self.write, os.waitstatus_to_exitcode(status), told)


class Ground:
    """An embedded server of its own, on which everything may go wrong, and its tasks."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.random = Random(seed)
        self.answers: dict[str, int] = {}
        self._words = 0
        embedded.start(directory)
        with self.connection() as connection:
            connection.execute(FEW_CONNECTIONS)
        self.restart()
        migrate.upgrade(self.settings)
        with self.database() as database:
            self.tasks = [
                database.run(tasks.add, tasks.NewTask(f"Task {n}")).id for n in range(BULK)
            ]

    @property
    def url(self) -> str:
        """The connection string of the database."""
        return embedded.conninfo(self.directory, owner=True)

    @property
    def settings(self) -> Settings:
        """Settings that know nothing of the machine's environment."""
        flags = {"database_url": self.url, "user": "ana"}
        return load(flags, {"XDG_CONFIG_HOME": "/nonexistent"}, Path("/"))

    def connection(self) -> psycopg.Connection[Any]:
        """Return a connection of the fault's own."""
        return psycopg.connect(self.url, autocommit=True)

    def database(self) -> Database:
        """Return the database, as somebody else."""
        return Database(self.settings, "look", newcomer="add")

    def restart(self) -> None:
        """End the server, and start it again."""
        embedded.stop(self.directory)
        embedded.start(self.directory)

    def close(self) -> None:
        """End the server."""
        embedded.stop(self.directory)

    def write(self) -> Write:
        """Make up a command that writes."""
        self._words += 1
        word = f"word{self._words:06}."
        match self.random.randrange(3):
            case 0:
                words = ["task", "add", word, "--tag", "common", "--tag", word, "--assign", "me"]
                return Write(word, words, 4)
            case 1:
                one = str(self.random.choice(self.tasks))
                return Write(word, ["task", "edit", one, "--append-description", word], 1)
            case _:
                some = map(str, self.random.sample(self.tasks, BULK))
                return Write(word, ["task", "edit", *some, "--append-description", word], BULK)

    def round(
        self, goes_wrong: Callable[[Ground], AbstractContextManager[Fault]], commands: int = 3
    ) -> None:
        """Run commands beside a fault. Raises `AssertionError` if anything is lost or half done."""
        environment = {
            "CONCORD_DATABASE_URL": self.url,
            "CONCORD_USER": "ana",
            "CONCORD_LOG_FILE": str(self.directory / "concord.log"),
            "XDG_CONFIG_HOME": "/nonexistent",
            **TIMEOUTS,
        }
        with goes_wrong(self) as fault:
            running = [
                Running(self.write(), {**environment, **fault.environment}) for _ in range(commands)
            ]
            try:
                fault.happen(running)
            finally:
                answers = [one.finish() for one in running]
        embedded.start(self.directory)
        for answer in answers:
            self._judge(answer)

    def check(self) -> int:
        """Compare history with the rows; return how many tasks there are."""
        return check_history(self.url)

    def _judge(self, answer: Answer) -> None:
        with self.connection() as connection:
            row = connection.execute(PARTS, {"word": answer.write.word}).fetchone()
        assert row is not None
        parts, whole = row[0], answer.write.whole
        assert parts in (0, whole), f"half done, {parts} of {whole}: {answer}"
        kind = "killed" if answer.code < 0 else str(answer.code)
        if answer.code == 0:
            assert parts, f"lost: {answer}"
        elif answer.xid is not None:
            kind = "unknown"
            with self.database() as database:
                (fate,) = database.run(fates.tell, [answer.xid])
            assert fate.outcome == ("saved" if parts else "not saved"), (fate, answer)
        elif answer.code > 0:
            assert answer.code in (ExitCode.CONTENTION, ExitCode.DATABASE), answer
            assert not parts, f"refused, and there: {answer}"
        self.answers[kind] = self.answers.get(kind, 0) + 1


@dataclass(frozen=True)
class Fault:
    """What goes wrong: `happen` is called once the commands run, which have the `environment`."""

    happen: Callable[[Sequence[Running]], object] = len
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@contextmanager
def nothing(_: Ground) -> Generator[Fault]:
    """All is well."""
    yield Fault()


@contextmanager
def client_killed(ground: Ground) -> Generator[Fault]:
    """A command is killed, at any moment."""

    def happen(running: Sequence[Running]) -> None:
        time.sleep(ground.random.uniform(0, 0.25))
        ground.random.choice(running).kill()

    yield Fault(happen)


@contextmanager
def backend_killed(ground: Ground) -> Generator[Fault]:
    """A process of the server is killed, which then ends all others and recovers."""

    def happen(_: Sequence[Running]) -> None:
        if backends := _backends(ground):
            with suppress(ProcessLookupError):
                os.kill(ground.random.choice(backends), signal.SIGKILL)

    yield Fault(happen)


@contextmanager
def backend_ended(ground: Ground) -> Generator[Fault]:
    """An administrator ends the sessions of the commands."""

    def happen(_: Sequence[Running]) -> None:
        if backends := _backends(ground):
            with suppress(psycopg.Error), ground.connection() as connection:
                connection.execute(END, {"pids": backends})

    yield Fault(happen)


@contextmanager
def postmaster_killed(ground: Ground) -> Generator[Fault]:
    """The server is killed, and started again."""

    def happen(_: Sequence[Running]) -> None:
        time.sleep(ground.random.uniform(0, 0.25))
        pid = embedded.status(ground.directory).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        embedded.start(ground.directory)

    yield Fault(happen)


@contextmanager
def server_restarted(ground: Ground) -> Generator[Fault]:
    """The server is shut down, and started again."""

    def happen(_: Sequence[Running]) -> None:
        time.sleep(ground.random.uniform(0, 0.25))
        ground.restart()

    yield Fault(happen)


@contextmanager
def request_cut(ground: Ground) -> Generator[Fault]:
    """A connection is cut before, within or after what a command sends."""
    with Wire(ground.url, sent=ground.random.randrange(1, LONGEST_REQUEST)) as wire:
        yield Fault(environment={"CONCORD_DATABASE_URL": wire.url})


@contextmanager
def answer_cut(ground: Ground) -> Generator[Fault]:
    """A connection is cut before, within or after what the server answers."""
    with Wire(ground.url, answered=ground.random.randrange(1, LONGEST_ANSWER)) as wire:
        yield Fault(environment={"CONCORD_DATABASE_URL": wire.url})


@contextmanager
def commit_cut(ground: Ground) -> Generator[Fault]:
    """A connection is cut at COMMIT, before or after the server did it, and perhaps for good."""
    cut = ground.random.choice([Cut.BEFORE, Cut.UNNOTICED, Cut.AFTER])
    with Proxy(ground.url, cut, last=ground.random.random() < 0.5) as proxy:
        yield Fault(environment={"CONCORD_DATABASE_URL": proxy.url})


@contextmanager
def stuck(ground: Ground) -> Generator[Fault]:
    """A transaction that does not end holds a task, and others queue up behind it."""
    with ground.connection() as connection, connection.transaction():
        connection.execute(HOLD, {"task": ground.random.choice(ground.tasks)})
        yield Fault(lambda running: [_await_end(one) for one in running])


@contextmanager
def deadlock(ground: Ground) -> Generator[Fault]:
    """Somebody locks tasks in the other order."""
    first, *_, last = ground.tasks

    def happen(_: Sequence[Running]) -> None:
        time.sleep(ground.random.uniform(0, 0.25))
        with suppress(psycopg.errors.DeadlockDetected):
            connection.execute(HOLD, {"task": first})
        connection.rollback()

    with psycopg.connect(ground.url) as connection:
        connection.execute(HOLD, {"task": last})
        yield Fault(happen, {"CONCORD_LOCK_TIMEOUT": "30s"})


@contextmanager
def too_many(ground: Ground) -> Generator[Fault]:
    """There are too many connections."""
    held: list[psycopg.Connection[Any]] = []
    with suppress(psycopg.OperationalError):
        while True:
            held.append(ground.connection())

    def happen(running: Sequence[Running]) -> None:
        _await_end(running[0])
        for connection in held:
            connection.close()

    yield Fault(happen)


@contextmanager
def statements_end(ground: Ground) -> Generator[Fault]:
    """Statements take longer than they may."""
    yield Fault(environment={"CONCORD_STATEMENT_TIMEOUT": f"{ground.random.randrange(1, 8)}ms"})


@contextmanager
def clock_jumps(ground: Ground) -> Generator[Fault]:
    """The clock of the commands is hours or years off, and is set again and again."""
    off = ground.directory / "clock"

    def set_clock(offset: str) -> None:
        # In one step: whoever reads it finds a whole one.
        new = off.with_suffix(".new")
        new.write_text(offset)
        new.replace(off)

    def happen(running: Sequence[Running]) -> None:
        while not all(map(_has_ended, running)):
            set_clock(ground.random.choice(["+0", *clocks.OFFSETS]))
            time.sleep(ground.random.uniform(0, 0.1))

    set_clock(ground.random.choice(clocks.OFFSETS))
    yield Fault(happen, clocks.jumping(off))


@contextmanager
def disk_full(ground: Ground) -> Generator[Fault]:
    """The disk is full, for a while. Only for a ground on a `small_disk`."""
    filler = ground.directory / "filler"
    with filler.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(4096))
    try:
        yield Fault(lambda running: [_await_end(one) for one in running])
    finally:
        filler.unlink()


@contextmanager
def small_disk() -> Generator[Path]:
    """Yield a directory on a disk of its own that is soon full. Raises `OSError` if it cannot."""
    directory = open_directory()
    size = f"size={SMALL_DISK}"
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"{size},mode=755", "tmpfs", directory], check=False
        )
        if mounted.returncode:
            raise OSError("nothing can be mounted here")
        try:
            yield directory
        finally:
            subprocess.run(["umount", directory], check=True)
    finally:
        directory.rmdir()


FAULTS: dict[str, Callable[[Ground], AbstractContextManager[Fault]]] = {
    "nothing": nothing,
    "client killed": client_killed,
    "backend killed": backend_killed,
    "session ended": backend_ended,
    "server killed": postmaster_killed,
    "server restarted": server_restarted,
    "request cut": request_cut,
    "answer cut": answer_cut,
    "COMMIT cut": commit_cut,
    "stuck transaction": stuck,
    "deadlock": deadlock,
    "too many connections": too_many,
    "statement time-out": statements_end,
    **({"clock set": clock_jumps} if clocks.LIBRARY else {}),
}
"""What can go wrong, by name."""


def _backends(ground: Ground) -> list[int]:
    """Return the processes of the server that work for the commands, waiting a little for some."""
    with suppress(psycopg.Error), ground.connection() as connection:
        time.sleep(ground.random.uniform(0, 0.1))
        for _ in range(50):
            if found := [pid for (pid,) in connection.execute(BACKENDS)]:
                return found
    return []


def _await_end(one: Running) -> None:
    """Return when a command has ended, which is still to be asked after."""
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)


def _has_ended(one: Running) -> bool:
    return os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
