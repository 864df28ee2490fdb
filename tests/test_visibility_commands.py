"""What commands tell those who may not see everything: nothing, not even that it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from commands import Here
from conftest import Result
from visibility import (
    HIDDEN_TASKS,
    MISSING,
    PEOPLE,
    Actor,
    Rules,
    forget_hidden,
    make_world,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Server

    As = Callable[[str, str], Here]

HIDDEN_WORDS = ("hisper", "SEC", "Inbox of owner", "Inbox of member", "forgotten", "inboxed")
"""What nothing that the stranger is shown may contain."""


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[str]:
    """The name of a database with the world in it."""
    with server.janitor("commanded_world", template) as janitor:
        make_world(server.url(janitor.dbname))
        yield janitor.dbname


@pytest.fixture(scope="module")
def bare_world(server: Server, world: str) -> Iterator[str]:
    """The name of a database that is the same, but for what the stranger does not see."""
    with server.janitor("bare_world", world) as janitor:
        forget_hidden(server.url(janitor.dbname))
        yield janitor.dbname


@pytest.fixture
def as_(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> As:
    """The command line on a database, as somebody."""
    here = Here(None, tmp_path, monkeypatch, capsys)

    def acting(person: str, database: str) -> Here:
        monkeypatch.setenv("CONCORD_DATABASE_URL", server.url(database))
        monkeypatch.setenv("CONCORD_USER", person)
        return here

    return acting


READS = """
task list
task list --sort updated --limit 2
task list --limit 1 --skip 1
task list --tag whisper
task list --tag common
task list --project SEC
task list --project PUB
task list --project none
task list --owner owner
task list --owner member
task list --assignee assignee
task list --assigned
task list --unassigned
task list --title whisper
task list --search whispered
task list --search words
task list --parent 2
task list --parent 3
task list --ready
task list --blocked
task list --trash
task list --where status:todo
task list --where project:SEC
task list --where tag:whisper
task list --where tag:forgotten
task list --where tag:nothing
task list --where id:1
task list --view whispers
task list --view own
task show 1
task show 2
task show 3
task show 4
task show 8
task show 3 1
task show 3 6
task log 1
task log 3
task log 4
task tree
task tree 2
task tree 3
task tree --project SEC
task tree --project PUB
task claim --explain
task claim --explain --project SEC
task claim --explain --tag whisper
search whispered
search words
search wispered
search whisper inbox
search common
board
board --project SEC
board --tag whisper
board --limit 1
stats
stats weekly --by project
stats weekly --by person
stats weekly --by tag
stats --project SEC
stats --tag whisper
stats --person assignee
stats --chart
due
due --within 3650d
next
next --limit 0
next --explain
next --project SEC
history
history --limit 0
history --limit 3
history 1
history 3
history --actor owner
history --actor member
history --actor assignee
tag list
project list
project list --archived
project show SEC
project show PUB
project show OWN
user list
user show owner
user show me
view list
view show whispers
view show own
export jsonl
export csv
export jsonl --project SEC
export csv --project PUB
export markdown
export ics
export jsonl --trash
watch --since beginning --count 9
""".strip().splitlines()

WRITES_TO_HIDDEN = """
task show {}
task log {}
task tree {}
task edit {} --title New
task edit {} --title New --if-version 1
task edit {} --status completed
task edit 6 --parent {}
task assign {} --to me
task assign {} --to idle
task unassign {} --from assignee
task start {}
task done {}
task cancel {}
task reopen {}
task move {} --project PUB
task move {} --project OWN
task move {} --project none
task tag {} common
task tag {} whisper
task untag {} common
task delete {}
task restore {}
task purge {} --yes
task comment {} words
task claim {}
task renew {}
task release {}
task block {} --by 6
task block 6 --by {}
task block 6 --by 8 {}
task unblock {} --by 6
task unblock 6 --by {}
task show 3 {}
task done 6 {}
task list --parent {}
history {}
""".strip().splitlines()

WRITES_TO_HIDDEN_PROJECTS = """
task add New --project {}
task move 6 --project {}
task list --project {}
board --project {}
next --project {}
task claim --project {}
stats --project {}
project show {}
project edit {} --name New
project archive {}
project delete {}
export jsonl --project {}
""".strip().splitlines()

WRITES_TO_HIDDEN_TAGS = """
task untag 6 {}
tag rename {} other
tag delete {}
task list --tag {}
board --tag {}
stats --tag {}
task claim --tag {}
""".strip().splitlines()


def split(line: str) -> list[str]:
    """Return the arguments of a command line without quotes."""
    return line.split()


def told_of(word: object, result: Result, other: object) -> Result:
    """Return what would have been told if another word had been asked for."""
    one, two = str(other), str(word)
    return Result(result.code, result.out.replace(one, two), result.err.replace(one, two))


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_stranger_reads_as_if_nothing_hidden_had_ever_been(
    as_: As, world: str, bare_world: str, form: str
) -> None:
    wrong: list[str] = []
    for line in READS:
        if form and not line.startswith(("task list", "task show", "task claim", "history")):
            continue
        arguments = [*split(line), *form.split()]
        full = as_("stranger", world)(*arguments)
        bare = as_("stranger", bare_world)(*arguments)
        if full != bare:
            wrong.append(f"{line} {form}:\n  there: {full}\n  bare:  {bare}")
        asked = [word for word in HIDDEN_WORDS if word in line]
        leaked = [word for word in HIDDEN_WORDS if word in full.out and not asked]
        if leaked or "Traceback" in full.err:
            wrong.append(f"{line} {form}: tells {leaked}: {full}")
    assert not wrong, "\n".join(wrong)


def test_reads_tell_those_who_may_see(as_: As, world: str) -> None:
    """Or the test above would compare nothing with nothing."""
    for line in ("search whispered", "task show 1", "board --project SEC", "history 1", "tag list"):
        result = as_("owner", world)(*split(line))
        assert result.code == 0, line
        assert "hisper" in result.out, line
    assert "Whisper to one" in as_("member", world)("task", "list").out
    assert "Inbox of owner" not in as_("member", world)("task", "list").out
    assert "Inbox of owner" in as_("owner", world)("export", "jsonl").out


@pytest.mark.parametrize(
    ("lines", "hidden", "missing"),
    [
        (WRITES_TO_HIDDEN, HIDDEN_TASKS, MISSING),
        (WRITES_TO_HIDDEN_PROJECTS, ("SEC",), "NIL"),
        (WRITES_TO_HIDDEN_TAGS, ("whisper", "forgotten", "inboxed"), "unheard"),
    ],
    ids=["task", "project", "tag"],
)
def test_a_stranger_is_told_of_what_is_hidden_what_is_told_of_what_is_missing(
    as_: As,
    world: str,
    lines: list[str],
    hidden: tuple[object, ...],
    missing: object,
) -> None:
    wrong: list[str] = []
    stranger = as_("stranger", world)
    for line in lines:
        nothing = stranger(*split(line.format(missing)))
        for thing in hidden:
            got = stranger(*split(line.format(thing)))
            expected = told_of(thing, nothing, missing)
            if got != expected:
                wrong.append(f"{line.format(thing)}:\n  got:     {got}\n  missing: {expected}")
    assert not wrong, "\n".join(wrong)


CHANGES = """
task edit {} --title Renamed
task edit {} --priority low
task assign {} --to idle
task unassign {} --from idle
task tag {} newtag
task untag {} newtag
task comment {} words
task start {}
task done {}
task reopen {}
task cancel {}
task reopen {}
task delete {}
task restore {}
""".strip().splitlines()


@pytest.mark.parametrize("person", [person for person in PEOPLE if person != "nobody"])
def test_tasks_are_changed_by_whom_the_rules_let(
    as_: As, server: Server, world: str, person: str
) -> None:
    with psycopg.connect(server.url(world)) as connection:
        rules = Rules.read(connection, ["tasks", "assignments"])
    actor = Actor(person, login=False)
    wrong: list[str] = []
    with server.janitor(f"changed_by_{person}", world) as janitor:
        here = as_(person, janitor.dbname)
        for task in (1, 2, 3, 4):
            here("task", "release", str(task), "--force")
            for line in CHANGES:
                result = here(*split(line.format(task)))
                code = 0 if rules.changes(actor, task) else 6 if rules.sees(actor, task) else 3
                if code == 6 and "restore" in line:
                    code = 0  # it is not in the trash, and stays where it is
                if result.code != code:
                    wrong.append(f"{person}: {line.format(task)}: {result}, not {code}")
    assert not wrong, "\n".join(wrong)


def test_nobody_is_told_that_they_are_nobody(as_: As, world: str) -> None:
    wrong: list[str] = []
    for line in READS[::3]:
        result = as_("nobody", world)(*split(line))
        if result.code != 3 or result.out or "nobody" not in result.err:
            wrong.append(f"{line}: {result}")
    assert not wrong, "\n".join(wrong)
