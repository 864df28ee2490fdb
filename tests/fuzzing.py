"""Command lines that nobody would type, made up from the command tree, and what holds of each.

Case N of a seed is the same on every machine; what a case does depends on those before it as well.
"""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from databases import Original
from fuzz_cases import FORMATS, Maker
from hostile import ENTITIES, SEQUENCES, STYLE, obeyed
from psycopg import sql
from psycopg.conninfo import make_conninfo

from concord.cli import run
from concord.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import FrameType
    from typing import Self

    from fuzz_cases import Case

LARGEST = 1 << 30
"""Bytes of memory that a command line may take besides what is taken already."""

LONGEST = 60
"""Seconds after which a command line is a failure."""

PASSWORD = "open-sesame"
"""What is in the URL of the database, and nowhere else."""

LINK = "link"
"""A link to itself."""

RENEWED_EVERY = 200
"""Cases after which the database and the files are again as they were."""

UNDONE = frozenset(
    {
        ExitCode.REFUSED,
        ExitCode.USAGE,
        ExitCode.NOT_FOUND,
        ExitCode.CONFLICT,
        ExitCode.FORBIDDEN,
        ExitCode.DATABASE,
    }
)
"""Exit codes after which nothing was written."""

XIDS: LiteralString = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
ONE: LiteralString = (
    "SELECT {name} AS name, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} AS t"
)


TABLES: LiteralString = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""

POPULATION: tuple[list[str], ...] = (
    ["user", "add", "bo"],
    ["project", "add", "API", "--name", "The API"],
    ["project", "add", "WEB"],
    *(
        ["task", "add", f"Task {number}", "--project", "API", "--tag", "bug", "--assign", "bo"]
        for number in range(1, 9)
    ),
    ["task", "block", "2", "--by", "1"],
    ["task", "edit", "4", "--parent", "3"],
    ["task", "comment", "1", "said"],
    ["task", "claim", "--quiet", "--as", "bo"],
    ["task", "delete", "8"],
    ["view", "save", "mine", "--assignee", "me"],
)

HOSTILE_TASK: LiteralString = """
WITH made AS (
    INSERT INTO tasks (title, description, owner_id, project_id)
    SELECT 'Show ' || replace(%(text)s, chr(13), ''), %(text)s, u.id, p.id
    FROM users u CROSS JOIN projects p
    WHERE u.username = 'ana' AND p.key = 'API'
    RETURNING id, owner_id)
INSERT INTO comments (task_id, author_id, body) SELECT id, owner_id, 'Said ' || %(text)s FROM made
"""

HOSTILE_NAMES: LiteralString = """
WITH made AS (
    INSERT INTO tags (name) VALUES (%(text)s) RETURNING id),
named AS (
    INSERT INTO users (username) VALUES (%(text)s) RETURNING id),
tagged AS (
    INSERT INTO task_tags (task_id, tag_id) SELECT 1, id FROM made)
INSERT INTO assignments (task_id, user_id, assigned_by) SELECT 1, id, id FROM named
"""


class Stuck(BaseException):
    """A command line does not end. No `Exception`: the command line would take it for a bug."""


@dataclass(frozen=True)
class Seen:
    """What a case did."""

    code: int | None
    """`None` if something else was raised than an exit status told."""
    out: str
    err: str
    changed: bool
    """Whether the database is another one."""
    raised: str = ""


@dataclass
class Tally:
    """What many cases did."""

    codes: Counter[int] = field(default_factory=Counter[int])
    commands: set[str] = field(default_factory=set[str])
    faults: list[str] = field(default_factory=list[str])

    def add(self, case: Case, seen: Seen) -> None:
        """Take note of what a case did."""
        self.commands.add(case.command)
        self.codes[-1 if seen.code is None else seen.code] += 1
        self.faults += [f"{case}: {fault}\n{seen.err[-2000:]}" for fault in faults(case, seen)]


class _Stream(io.TextIOWrapper):
    """A standard stream over a file, which may say that it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stream
        # Of our own: a stream that takes no more is let go of.
        self._copy = os.dup(self._file.fileno())
        self._terminal = terminal
        super().__init__(self._file, "utf-8", "backslashreplace", newline="")

    def isatty(self) -> bool:
        return self._terminal

    def told(self) -> str:
        self.flush()
        return os.pread(self._copy, os.fstat(self._copy).st_size, 0).decode()

    def close(self) -> None:
        super().close()
        os.close(self._copy)


class Ground:
    """A database and a home directory in which anything may be done, and is undone again."""

    def __init__(self, url: str, home: Path) -> None:
        """Take a database with the schema and the user `ana`, and an empty directory."""
        self._connection = psycopg.connect(url, autocommit=True)
        self._url = url
        self._home = home
        self._work = home / "work"
        self._work.mkdir()
        (home / "bin").mkdir()
        with self._surroundings({}):
            self._populate()
        self._original = Original.read(url)
        self._files = {
            path: path.read_bytes() for path in self._work.iterdir() if not path.is_symlink()
        }
        self.exports = {name: self._files[self._work / f"{name}.txt"] for name in FORMATS}
        """A file of each format that Concord writes."""
        names = (row[0] for row in self._connection.execute(TABLES))
        self._rows = sql.SQL(" UNION ALL ").join(
            sql.SQL(ONE).format(sql.Identifier(name), name=sql.Literal(name)) for name in names
        )
        self._cases = 0
        self._known: tuple[str, Any] | None = None

    def run(self, case: Case) -> Seen:
        """Run a command line in this process."""
        if self._cases % RENEWED_EVERY == 0 or not self._has_actor():
            self._renew()
        self._cases += 1
        before = self._state()
        streams = _Stream(terminal=case.terminal), _Stream(terminal=case.terminal)
        code, raised = None, ""
        with self._surroundings(case.environment), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stdin), "utf-8"))
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            try:
                with _bounded():
                    code = run(case.arguments)
            except (Exception, SystemExit, Stuck) as error:  # noqa: BLE001 - that is the finding
                raised = repr(error)
        out, err = (stream.told() for stream in streams)
        for stream in streams:
            stream.close()
        after = self._state()
        changed = before[0] != after[0] and before[1] != after[1]
        return Seen(code, out, err, changed, raised)

    def logged(self) -> str:
        """Return what is in the log."""
        return "".join(path.read_text() for path in self._home.rglob("*.log"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _has_actor(self) -> bool:
        found = self._connection.execute("SELECT FROM users WHERE username = 'ana'")
        return found.rowcount == 1

    def _state(self) -> tuple[str, Any]:
        """Return how many transactions have written anything, and what is in the tables."""
        row = self._connection.execute(XIDS).fetchone()
        assert row is not None
        if self._known is None or self._known[0] != row[0]:
            self._known = row[0], self._connection.execute(self._rows).fetchall()
        return self._known

    def _renew(self) -> None:
        self._connection.close()  # nobody else may be there meanwhile
        assert self._original.restore(self._url), "a command has changed the schema"
        self._connection = psycopg.connect(self._url, autocommit=True)
        self._known = None
        for path in self._work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path not in self._files and path.name != LINK:
                path.unlink()
        for path, data in self._files.items():
            path.write_bytes(data)
        (self._home / "config" / "concord" / "config.toml").unlink(missing_ok=True)

    @contextmanager
    def _surroundings(self, environment: Mapping[str, str]) -> Generator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("CONCORD_")]:
                patch.delenv(name)
            for name in ("VISUAL", "EDITOR", "NO_COLOR", "CLICOLOR_FORCE"):
                patch.delenv(name, raising=False)
            for name, value in {
                "HOME": str(self._home),
                "XDG_CONFIG_HOME": str(self._home / "config"),
                "XDG_STATE_HOME": str(self._home / "state"),
                # No program named `concord-NAME` is to take this process over.
                "PATH": str(self._home / "bin"),
                "CONCORD_DATABASE_URL": make_conninfo(self._url, password=PASSWORD),
                "CONCORD_DATA_DIR": str(self._home / "data"),
                "CONCORD_USER": "ana",
                "TERM": "xterm",
                "COLUMNS": "80",
                **environment,
            }.items():
                patch.setenv(name, value)
            patch.chdir(self._work)
            yield

    def _populate(self) -> None:
        """Put in what is hard to show, in every field, and things to be found by name."""
        for line in POPULATION:
            assert _quietly(line) == 0, line
        with self._connection.transaction():
            for text in (*SEQUENCES.values(), ENTITIES, "=1+1", "[red]x[/red]", "'; DROP --"):
                self._connection.execute(HOSTILE_TASK, {"text": text})
            self._connection.execute(HOSTILE_NAMES, {"text": "\u202ebidi"})
        for name in FORMATS:
            (self._work / f"{name}.txt").touch()
            assert _quietly(["export", name, f"{name}.txt", "--project", "API"]) == 0, name
        (self._work / "random.bin").write_bytes(bytes(range(256)))
        (self._work / LINK).symlink_to(LINK)


def faults(case: Case, seen: Seen) -> Iterator[str]:
    """Yield what must not be, of what a command line did."""
    if seen.code is None:
        yield f"raised {seen.raised}"
        return
    if seen.code == ExitCode.BUG or seen.code not in set(ExitCode):
        yield f"exit code {seen.code}"
    if "Traceback" in seen.err:
        yield "a traceback"
    if os.strerror(errno.ENOMEM) in seen.err:
        yield "more memory than there was"
    if PASSWORD in seen.out + seen.err:
        yield "the password"
    if seen.changed and seen.code in UNDONE:
        yield f"exit code {seen.code}, and the database has changed"
    streams = {"stderr": seen.err}
    if case.terminal or not case.as_it_is:
        streams["stdout"] = seen.out
    for name, shown in streams.items():
        if found := obeyed(STYLE.sub("", shown) if case.terminal else shown):
            yield f"{name} holds {sorted(map(ascii, found))}"
    printed = seen.code == 0 and seen.out and not seen.out.startswith("Usage: ")
    if case.as_json and printed and not _is_json(seen.out):
        yield "what it printed is no JSON"


def made(ground: Ground, seed: int, count: int) -> Iterator[Case]:
    """Yield the first cases of a seed."""
    maker = Maker(seed, ground.exports)
    return map(maker.case, range(count))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _quietly(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        patch.setattr(sys, "stderr", io.StringIO())
        return run(arguments)


@contextmanager
def _bounded() -> Generator[None]:
    """Let nothing go on for ever, or take all memory there is."""

    def stop(_: int, __: FrameType | None) -> None:
        raise Stuck(f"still running after {LONGEST} s")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    with suppress(OSError):  # not everywhere is it told what is taken
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + LARGEST, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
