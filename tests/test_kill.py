"""`kill -9` of a command at any moment leaves all of its work done, or none of it."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from audit import check_history
from commands import Here
from conftest import TIMEOUT
from made_up_files import FORMATS, Told

from concord.sql import listing, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import CommandLine
    from forking import Forked, Nursery

    from concord.database import Database
    from concord.models import Task

BULK = 40
"""Tasks that a command changes at once."""

KILLS = 13
"""Of each kind of command."""

BACKENDS: LiteralString = """
SELECT pid, backend_xid IS NOT NULL, cardinality(pg_blocking_pids(pid)) > 0
FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^concord (task|import)'
"""


@dataclass(frozen=True)
class Kind:
    """A kind of command."""

    words: tuple[str, ...]
    """The command line, with `TASKS` for their ids and `{n}` for the number of the round."""
    done: Callable[[Task, int], int]
    """How many of the things that round n's command does are to be seen on a task."""
    whole: int
    """How many it does."""
    hold: LiteralString
    """What somebody else may do to make it wait in the midst of its transaction."""

    def command(self, ids: list[int], n: int) -> list[str]:
        """Return the command line of round n."""
        numbers = list(map(str, ids))
        words = (numbers if word == "TASKS" else [word.format(n=n)] for word in self.words)
        return [argument for arguments in words for argument in arguments]


KINDS = {
    "add": Kind(
        ("task", "add", "New {n}", "--assign", "me", "--tag", "one{n}", "--tag", "two"),
        lambda task, n: (1 + len(task.assignees + task.tags)) * (task.title == f"New {n}"),
        whole=4,
        hold="INSERT INTO tags (name) VALUES ('two')",
    ),
    "edit": Kind(
        ("task", "edit", "TASKS", "--title", "Title {n}", "--priority", "high"),
        lambda task, n: task.title == f"Title {n}" and task.priority == "high",
        whole=BULK,
        hold="SELECT FROM tasks ORDER BY id DESC LIMIT 1 FOR UPDATE",
    ),
    "done": Kind(
        ("task", "done", "TASKS"),
        lambda task, _: task.status == "completed",
        whole=BULK,
        hold="SELECT FROM tasks ORDER BY id DESC LIMIT 1 FOR UPDATE",
    ),
    "import": Kind(
        ("import", "beads", "file", "--project", "P{n}"),
        lambda task, n: task.project == f"P{n}" and task.tags == ("one", "two"),
        whole=120,
        hold="INSERT INTO tags (name) VALUES ('two')",
    ),
}


class Commands:
    """Runs commands, kills them, and looks at what they leave."""

    def __init__(
        self, concord: CommandLine, nursery: Nursery, database: Database, url: str
    ) -> None:
        file = FORMATS["beads"](Told(number, tags=("one", "two")) for number in range(1, 121))
        (concord.home / "file").write_text(file, encoding="utf-8")
        self.ids = [database.run(tasks.add, tasks.NewTask(f"{n}")).id for n in range(BULK)]
        self.start = partial(nursery.start, concord)
        self._database = database
        self._url = url
        self._observer = psycopg.connect(url, autocommit=True)

    def until(self, reached: Callable[[list[tuple[int, bool, bool]]], bool]) -> None:
        """Wait until (pid, has written, is blocked) of the commands' backends are so."""
        deadline = time.monotonic() + TIMEOUT
        while not reached(backends := self._observer.execute(BACKENDS).fetchall()):
            assert time.monotonic() < deadline, backends
            time.sleep(0.001)

    def until_writing(self, process: Forked) -> None:
        """Wait for the first write of the only command that runs, or for its end."""
        self.until(lambda backends: process.has_ended() or any(wrote for _, wrote, _ in backends))

    def until_gone(self) -> None:
        """Wait for the server to notice that nobody is there any more."""
        self.until(lambda backends: not backends)

    def done(self, kind: Kind, n: int) -> int:
        """Return how much of round n's command is done; all that is there must be sound."""
        found = self._database.run(listing.page, listing.Filters()).items
        assert check_history(self._url) == len(found)
        return sum(kind.done(task, n) for task in found)

    def close(self) -> None:
        """Give back the connection."""
        self._observer.close()


@pytest.fixture
def commands(
    concord: CommandLine, nursery: Nursery, database: Database, url: str
) -> Iterator[Commands]:
    """Commands to be killed."""
    made = Commands(concord, nursery, database, url)
    yield made
    made.close()


@pytest.fixture
def here(
    url: str,
    concord: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    """The same command line in this process."""
    return Here(url, concord.home, monkeypatch, capsys)


@pytest.mark.parametrize("name", KINDS)
def test_a_command_killed_at_any_moment_is_done_or_was_never_there(
    name: str, commands: Commands, here: Here
) -> None:
    kind = KINDS[name]
    chance = random.Random(name)
    begun = time.monotonic()
    assert commands.start(*kind.command(commands.ids, 0)).finish().code == 0
    usual = time.monotonic() - begun
    killed = 0
    for n in range(1, KILLS + 1):
        assert here("task", "reopen", *map(str, commands.ids)).code == 0
        process = commands.start(*kind.command(commands.ids, n))
        # Not a wait for something to happen: when the kill comes is what the trial varies,
        # now between its start and its end, now from its first write on.
        if n % 2:
            time.sleep(chance.uniform(0, usual))
        else:
            commands.until_writing(process)
            time.sleep(chance.uniform(0, 0.02))
        process.kill()
        killed += process.finish().code == -signal.SIGKILL
        commands.until_gone()
        assert commands.done(kind, n) in (0, kind.whole)
        assert here(*kind.command(commands.ids, n)).code == 0
        assert commands.done(kind, n) >= kind.whole
    assert killed > 0


@pytest.mark.parametrize("name", KINDS)
def test_a_command_killed_in_the_midst_of_its_transaction_was_never_there(
    name: str, commands: Commands, here: Here, url: str
) -> None:
    kind = KINDS[name]
    command = kind.command(commands.ids, 1)
    with psycopg.connect(url) as other:
        other.execute(kind.hold)
        process = commands.start(*command)
        commands.until(lambda backends: any(blocked for _, _, blocked in backends))
        process.kill()
        assert process.finish().code == -signal.SIGKILL
    commands.until_gone()
    assert commands.done(kind, 1) == 0
    assert here(*command).code == 0
    assert commands.done(kind, 1) == kind.whole
