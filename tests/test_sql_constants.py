"""Every SQL constant runs on real servers, names itself, and spells out its columns."""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, cast

import pytest
from conftest import Server, open_directory, settings_for
from psycopg import sql
from psycopg.types.json import Jsonb

import concord.sql
from concord import migrate, outcome
from concord import transaction as runner
from concord.database import Database
from concord.query import parse
from concord.seed import load as seeding
from concord.sql import (
    assignments,
    claims,
    comments,
    conditions,
    contents,
    history,
    import_comments,
    import_links,
    import_rows,
    imports,
    links,
    listing,
    logins,
    projects,
    queries,
    readiness,
    refill,
    search,
    tags,
    tasks,
    undo,
    users,
    views,
    watch,
)
from concord.sql.listing import Filters
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import ModuleType

    from concord.connections import Connection

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Other servers than the embedded one, where Debian's packages have put them."""

PARTS_ONLY = {concord.sql, conditions, queries}
"""Modules of parts, which others make statements of."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)

FRAGMENTS = {
    "COLUMNS",
    "LATELY",
    "FACTS",
    "JOINS",
    "BLOCKED",
    "OPEN_PARTS",
    "UNHINDERED",
    "WAITING",
    "LAPSED",
    "CHOSEN",
    "CONDITIONS",
    "TRASH",
    "APPEND",
    "MINE",
    "ME",
    "OWNER",
    "CLOSED",
    "NOT_ARCHIVED",
    "STILL_READY",
    "STARTABLE",
    "ESTIMATE",
    "MEASURE",
    "MEMBERS",
    "ORDERS",
    "HOLDING",
    "TSQUERIES",
    "EITHER",
    "BRANCH",
    "SIGNS",
    "BEST_FIRST",
    "MEANT",
    "WRITTEN",
    "HAS",
    "IS_LIKE",
    "LIKENESS",
    "LOOKUPS",
    # One round trip begins and prepares a transaction; it is known by its BEGIN.
    "_BEGIN",
    "_SETTLE",
    "SEARCH_PATH",
    "_WHOAMI",
}
"""Constants that are no statements by themselves, but parts of some."""

TEMPLATES = {"list_tasks", "list_history", "update_tasks", "update_task_version"} | {
    "update_user",
    "update_project",
    "create_login",
    "drop_login",
    "pick_ready",
    "take_picked",
    "unassign_lapsed",
    "consider_next",
    "watch_changes",
    "count_columns",
    "pick_cards",
    "explain_list",
    "pick_due",
    "rank_tasks",
    "find_texts",
    "mark_words",
    "weigh_words",
    "find_similar",
    "count_days",
    "measure_durations",
    "count_groups",
    "lock_things",
    "read_things",
    "insert_things",
    "update_things",
    "delete_things",
    "next_id",
    "checksum_rows",
    "rows_of_table",
    "lock_tables",
    "triggers_off",
    "triggers_on",
    "empty_tables",
    "fill_table",
    "unpack_rows",
    "restart_ids",
    "skip_transactions",
    "analyze_tables",
}
"""Statements that are composed from parts, and run below in every variant."""

GIVEN: dict[str, Any] = {
    "actor": "ana",
    "alike": "0.4",
    "operation": "test",
    "options": ["--trash"],
    "others": [1],
    "replace": True,
    "actor_id": 1,
    "append": "x",
    "archived": True,
    "assigned_by": 1,
    "author_id": 1,
    "auto_close": True,
    "blocked": [1],
    "blockers": [3],
    "body": "Yes.",
    "change": 1,
    "comments": [1],
    "description": None,
    "due": NOW,
    "email": None,
    "entity": "task",
    "epoch": "1",
    "format": "csv",
    "own": False,
    "lines": [1],
    "lock_timeout": "10000",
    "left_out": Jsonb([{"name": "a", "field": "parent", "other": "b"}]),
    "found": [1],
    "gap": timedelta(minutes=5),
    "id": 99,
    "ids": [1, 2],
    "key": "EMPTY",
    "keys": ["WEB"],
    "count": 2,
    "lease": timedelta(minutes=15),
    "me": 1,
    "name": "ana",
    "names": ["ana", "Bug", "new"],
    "new": "newer",
    "owner_id": 1,
    "parent": 1,
    "place": "concord.ids_test",
    "project": 1,
    "first": "2026-01-01",
    "days": 3,
    "zone": "Europe/Berlin",
    "recurrence": "every 2w",
    "recurrence_zone": "UTC",
    "prefix": "a%",
    "rows": Jsonb([{"id": 1, "fields": {"title": "y"}}]),
    "sent": NOW,
    "since": 1,
    "priority": "none",
    "project_id": 1,
    "status": "todo",
    "tags": [1],
    "task": 1,
    "tasks": [1],
    "title": "x",
    "undone": [1],
    "role": "viewer",
    "username": "newcomer",
    "visibility": "private",
    "users": [1],
    "version": 0,
    "xids": ["3", "9"],
    "xid": "3",
}
"""Parameter → a value that every statement with such a parameter takes."""

EXCEPT: dict[str, dict[str, Any]] = {
    "insert_project": {"key": "NEW"},
    "add_tag": {"name": "new"},
    "tree_roots": {"project": "API"},
    "attach_tags": {"tasks": [1, 1, 1]},
    "put_blockers_back": {"others": [3]},
    # The only user is the owner, who has to stay.
    "set_member": {"role": "owner"},
    "delete_member": {"name": "nobody"},
    "delete_user": {"name": "nobody"},
}
"""Statement → parameters that differ for it."""

IMPORTS = (
    import_rows.STAGE,
    import_comments.STAGE,
    imports.MATCH,
    import_links.NAME,
    import_links.SAY,
    import_links.REFER,
    import_links.PLAN,
    import_comments.PLAN,
    imports.TELL,
    imports.PLAN,
)
"""Statements that make the temporary tables of an import, in order."""


def sql_of(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield (constant, SQL) for all SQL in the constants of a module."""
    annotations = module.__annotations__
    for name, value in vars(module).items():
        declared = str(annotations.get(name, ""))
        if not (isinstance(value, sql.SQL) or re.search(r"LiteralString|sql\.SQL", declared)):
            continue
        for text in cast("dict[Any, Any]", value).values() if isinstance(value, dict) else [value]:
            yield name, text.as_string() if isinstance(text, sql.SQL) else text


MODULES = [runner, outcome, seeding] + [
    import_module(module.name)
    for module in pkgutil.walk_packages(concord.sql.__path__, "concord.sql.")
]
CONSTANTS = [(module, name, text.strip()) for module in MODULES for name, text in sql_of(module)]
STATEMENTS = [(module, text) for module, name, text in CONSTANTS if name not in FRAGMENTS]


def name_of(text: str) -> str:
    return text.partition("\n")[0].removeprefix("-- ").partition(":")[0]


@contextmanager
def debian_server(binaries: Path) -> Generator[str]:
    """Yield the connection string of a new server of Debian's, which does not run as root."""
    directory = open_directory()
    account: dict[str, Any] = (
        {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    )
    data = directory / "data"
    data.mkdir()
    if account:
        shutil.chown(data, "postgres", "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [str(binaries / program), "-D", str(data), *arguments]
        subprocess.run(
            command, check=True, cwd=directory, stdout=subprocess.DEVNULL, timeout=60, **account
        )

    options = f"-k {data} -c listen_addresses= -c fsync=off"
    run("initdb", "-U", "ana", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    run("pg_ctl", "start", "-w", "-o", options, "-l", str(data / "log"))
    try:
        yield f"host={data} user=ana dbname=postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(directory)


@pytest.fixture(scope="module", params=[None, *DEBIAN], ids=lambda path: path and path.parts[-2])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with one of everything: on the embedded server, then on Debian's."""
    if request.param is None:
        server: Server = request.getfixturevalue("server")
        with server.janitor("constants") as janitor:
            yield from filled(server.url(janitor.dbname))
    else:
        with debian_server(request.param) as url:
            yield from filled(url)


def filled(url: str) -> Iterator[Database]:
    settings = settings_for(url)
    migrate.upgrade(settings)
    with Database(settings, "test", newcomer="add") as made:
        for key in ("API", "EMPTY"):
            made.run(projects.add, key)
        new = tasks.NewTask("x", project="API", due=NOW, tags=["bug"], assignees=["me"])
        for _ in range(3):
            made.run(tasks.add, new)
        made.run(tasks.delete, [2])
        yield made


def run(connection: Connection, module: ModuleType, statement: LiteralString) -> None:
    """Run a statement as its module would."""
    if module in (imports, import_rows, import_links, import_comments):
        for earlier in IMPORTS:
            if earlier.strip() == statement:
                break
            run(connection, runner, earlier)
    if statement == undo.FORGET.strip():
        connection.execute(undo.TRY)
    if statement == refill.RENUMBER.strip():
        refill.triggers(connection, ["history"], on=False)
    connection.execute("SELECT set_config('concord.actor', 'ana', true)")
    # Without parameters the driver leaves `%` alone.
    given = GIVEN | EXCEPT.get(name_of(statement), {}) if "%(" in statement else None
    text = sql.SQL(statement)
    if "\nCOPY " in statement:
        with connection.cursor() as cursor, cursor.copy(text):
            pass
    elif " {}" in statement:
        connection.execute(text.format(sql.Identifier("concord_scratch_test")))
    else:
        connection.execute(text, given)


def test_there_are_statements_in_every_module() -> None:
    assert len(STATEMENTS) > 80
    assert {module for module, _ in STATEMENTS} == set(MODULES) - PARTS_ONLY


@pytest.mark.parametrize(("module", "text"), STATEMENTS, ids=[name_of(t) for _, t in STATEMENTS])
def test_a_statement_runs(anywhere: Database, module: ModuleType, text: LiteralString) -> None:
    if name_of(text) in TEMPLATES:
        assert "{" in text
        return
    connection = anywhere.connection()
    with connection.transaction(force_rollback=True):
        run(connection, module, text)


def test_a_statement_names_itself_and_its_purpose_on_its_first_line() -> None:
    nameless = [text for _, text in STATEMENTS if not re.match(r"-- [a-z_]+: \S.+\n", text)]
    assert nameless == []


def test_no_two_statements_have_one_name() -> None:
    names = [name_of(text) for _, text in STATEMENTS]
    assert sorted(names) == sorted(set(names))


def test_columns_are_spelled_out() -> None:
    stars = {
        (name_of(text), star)
        for _, _, text in CONSTANTS
        for star in re.findall(r"(?:\w+\.)?(?<!\()\*(?! [\d%])(?!\))", text)
    }
    # In a regular expression and in a prefix to search for.
    assert stars == {("probe_patterns", "*"), ("probe_search", "*")}


# Composed statements


QUERIES = (
    "id:1 project:API,none -project:EMPTY,API status:todo -status:canceled,completed",
    "priority:low,none -priority:high -priority<none priority>=none tag:bug,none -tag:none",
    "assignee:ana,none -assignee:none owner:me,ana title:x -parent:2,none -ref:a,none",
    "due:2026-01-01,none -due<fri created<2030-01-01 -created:today updated>2020-01-01",
    "started:none -completed<=now -blocked:yes -blocked:no ready:yes -ready:no",
    "-claimed:yes claimed:no,me,ana -recurring:yes recurring:no",
    '(x or the) -deploy* -"exact words" \'\'* text:"\'"',
    "tag:bug or id:3 or x or (due<now -tag:bug)",
)


def filters() -> Iterator[Filters]:
    """Yield filters so that each condition is there, alone and beside its alternative."""
    yield Filters()
    yield Filters(trash=True)
    yield Filters(trash=None)
    yield from (Filters(projects=keys) for keys in (["API"], ["none"], ["API", "WEB", "none"]))
    yield from (Filters(statuses=STATUSES[:count]) for count in (1, 2))
    yield from (Filters(tags=some) for some in (["bug"], ["bug", "ui"]))
    yield from (Filters(assignees=some) for some in (["ana"], ["me", "bo", "none"], ["none"]))
    yield Filters(owners=["ana", "bo"])
    yield from (Filters(priorities=PRIORITIES[:count]) for count in (1, 2))
    yield from (Filters(due_before=NOW), Filters(due_after=NOW), Filters(titles=["a", "b"]))
    yield from (Filters(assigned=True), Filters(assigned=False))
    yield from (Filters(parents=[1, 2]), Filters(ready=True), Filters(blocked=True))
    yield Filters(excluded=[1, 2])
    yield Filters(projects=["API", "WEB"])
    yield from (Filters(query=parse(text, now=NOW)) for text in QUERIES)


def test_the_variants_of_a_list_hold_every_condition() -> None:
    said = "\n".join(
        listing.compose(listing.asked("ana", variant), sort="id")[0].as_string()
        for variant in filters()
    )
    unsaid = [
        name
        for name, condition in conditions.CONDITIONS.items()
        if condition.partition("{}")[0] not in said
    ]
    assert unsaid == []


def test_every_claim_runs_and_is_explained(anywhere: Database) -> None:
    for variant in filters():
        if variant.trash is False:
            anywhere.run(readiness.explain, variant)
            taken = anywhere.run(claims.claim, variant, lease=timedelta(hours=1), count=2)
            for task in taken:
                assert task.claim is not None
                anywhere.run(claims.release, task.id, task.claim.epoch)


@pytest.mark.parametrize("sort", [sign + name for name in listing.SORTS for sign in ("", "-")])
def test_every_list_of_tasks_runs_with_and_without_a_cursor(anywhere: Database, sort: str) -> None:
    (task, *_) = anywhere.run(listing.page, Filters(), sort=sort).items
    for variant, after in product(filters(), (None, listing.cursor(sort, task))):
        anywhere.run(listing.page, variant, sort=sort, limit=3, after=after)


def test_every_list_of_history_runs(anywhere: Database) -> None:
    assert set(history.CONDITIONS) == {"task", "actor", "xid", "after"}
    for task, actor, xid, after in product((None, 1), (None, "ana"), (None, "3"), (None, 99)):
        wanted = history.Filters(task=task, actor=actor, xid=xid)
        assert (anywhere.run(history.page, wanted, after=after).items == ()) == (xid is not None)


@pytest.mark.parametrize("text", ["x", "x -y", "x*", '"x"', "x or y", "x (x or y)", "the x"])
def test_every_search_runs(anywhere: Database, text: str) -> None:
    for variant in filters():
        anywhere.run(search.find, parse(text, now=NOW), variant, limit=3)
    assert anywhere.run(search.find, parse(text, now=NOW), Filters()).items


@pytest.mark.parametrize("text", ["nowhere", "nowhere x", '"not here" nowhere', "nowhere x*"])
def test_every_search_for_what_is_similar_runs(anywhere: Database, text: str) -> None:
    found = anywhere.run(search.find, parse(text, now=NOW), Filters())
    assert (found.items, found.tolerant) == ((), True)


def test_every_poll_runs(anywhere: Database) -> None:
    assert set(watch.CONDITIONS) == {"projects", "tasks", "actors"}
    beginning = watch.Cursor.parse("beginning")
    for keys, ids, actors in product(((), ["API"], ["none"]), ((), [1, 3]), ((), ["me", "bo"])):
        filters = watch.Filters(keys, ids, actors)
        whole = anywhere.run(watch.poll, filters, anywhere.run(watch.begin, filters, beginning))
        page = anywhere.run(watch.poll, filters, beginning, limit=1)
        rest = anywhere.run(watch.poll, filters, page.cursor)
        assert (*page.changes, *rest.changes)[-1:] == whole.changes[-1:]


def test_every_edit_runs(anywhere: Database) -> None:
    values = {
        "title": "y",
        "description": "y",
        "status": "canceled",
        "priority": "low",
        "due": None,
        "owner": "ana",
        "auto_close": True,
    }
    for some in [*({name: value} for name, value in values.items()), values]:
        (edited,) = anywhere.run(tasks.edit, [1], some)
        assert {name: getattr(edited, name) for name in some} == some
        anywhere.run(tasks.edit, [1], some, if_version=edited.version)
        if "description" not in some:
            anywhere.run(tasks.edit, [1, 3], some, append_description="z")
    for parent in (3, None):
        (edited,) = anywhere.run(tasks.edit, [1], {"parent": parent})
        assert edited.parent == parent
    for some in ({"email": "ana@example.org"}, {"username": "ana"}, {"email": None}):
        anywhere.run(users.edit, "ana", some)
    for some in ({"name": "y"}, {"description": "y"}, {"owner": "me"}, {"key": "EMPTY"}):
        anywhere.run(projects.edit, "EMPTY", some)


def test_every_login_is_made_and_dropped(anywhere: Database) -> None:
    secret = logins.verifier(anywhere.connection(), "di", "x")
    anywhere.run(users.add, "di", None, secret)
    assert anywhere.connection().execute(logins.FIND, {"name": "di"}).fetchall() == [("di",)]
    anywhere.run(users.delete, "di")
    assert anywhere.connection().execute(logins.TAKEN, {"name": "di"}).fetchall() == []


def test_every_kind_of_thing_is_put_back(anywhere: Database) -> None:
    done: list[tuple[Any, ...]] = [
        (users.add, "cy"),
        (users.edit, "cy", {"email": "cy@example.org"}),
        (users.delete, "cy"),
        (projects.edit, "EMPTY", {"description": "y", "wip_limit": 2}),
        (projects.delete, "EMPTY"),
        (tags.add, "old"),
        (tags.rename, "old", "older"),
        (tags.delete, "older"),
        (comments.add, [1], "Yes."),
        (views.save, "mine", ["--trash"]),
        (tasks.edit, [1], {"title": "y", "recurrence": "every 2w", "recurrence_zone": "UTC"}),
        (links.block, [1], [3]),
        (tags.untag, [1], ["bug"]),
        (assignments.unassign, [1], []),
    ]
    for operation, *given in done:
        anywhere.run(operation, *given)
        undone, redone = anywhere.run(undo.run), anywhere.run(undo.run)
        assert [(row.old, row.new) for row in redone] == [(row.new, row.old) for row in undone]
    assert len(anywhere.run(undo.run, last=3 * len(done))) >= 3 * len(done)


def test_every_table_is_read_and_put_back(anywhere: Database) -> None:
    connection = anywhere.connection()
    refill.skip(connection, 1)
    with connection.transaction(force_rollback=True):
        contents.settle(connection, 10_000)
        tables = contents.present(connection, contents.TABLES)
        before = contents.describe(connection, "x", tables)
        rows = {name: list(contents.rows(connection, name, some)) for name, some in tables.items()}
        refill.lock(connection, tables)
        refill.triggers(connection, tables, on=False)
        refill.empty(connection, [*tables, *contents.DERIVED])
        for name, columns in tables.items():
            lines = (f'{{"row":{row}}}' for row in rows[name])
            refill.unpack(connection, name, columns, lines)
            refill.fill(connection, name, columns, ())
        for name, held in before.tables.items():
            if held.next_id is not None:
                refill.restart_ids(connection, name, held.next_id)
        refill.triggers(connection, tables, on=True)
        refill.finish(connection)
        refill.analyze(connection, tables)
        assert contents.describe(connection, "x", tables) == before
        assert before.rows("tasks") >= 3


def test_the_journey_of_a_task_runs(anywhere: Database) -> None:
    made = anywhere.run(tasks.add, tasks.NewTask("x", tags=["new", "bug"]))
    anywhere.run(assignments.assign, [made.id], ["ana"])
    anywhere.run(tasks.set_status, [made.id], "in_progress", nowait=True)
    anywhere.run(tasks.move, [made.id], "API")
    anywhere.run(tags.rename, "new", "newer")
    anywhere.run(tags.delete, "newer")
    anywhere.run(tasks.delete, [made.id])
    anywhere.run(tasks.restore, [made.id])
    (done,) = anywhere.run(tasks.set_status, [made.id], "completed")
    assert (done.version, done.project, done.tags, done.assignees) == (8, "API", ("bug",), ("ana",))
    anywhere.run(tasks.delete, [made.id])
    assert anywhere.run(tasks.purge, [made.id])[0].completed_at == done.completed_at
    told = anywhere.run(history.page, history.Filters(task=made.id)).items
    assert [change.version for change in told][-1] == 1
    assert told[0].new == {}
