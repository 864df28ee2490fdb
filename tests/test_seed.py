"""`demo seed`: what it makes is what the tables allow, and what triggers would have made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, LiteralString

import pytest
from conftest import Server, settings_for

from concord.database import Database
from concord.errors import Conflict
from concord.seed import load, words
from concord.seed.rows import SPAN, MadeTask, Maker, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CommandLine

    from concord.settings import Settings

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PLAN = Plan(400, 7, NOW)


def made(plan: Plan) -> list[MadeTask]:
    maker = Maker(plan)
    return [maker.task(number) for number in range(1, plan.tasks + 1)]


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """This test's database, as whoever may fill it."""
    with Database(settings, "test", owner=True) as made:
        yield made


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[Database]:
    """A database with made-up tasks that came in several batches."""
    with (
        server.janitor("seeded", template) as janitor,
        pytest.MonkeyPatch.context() as patch,
        Database(settings_for(server.url(janitor.dbname)), "demo seed", owner=True) as database,
    ):
        patch.setattr(load, "BATCH", 150)
        database.run(load.fill, PLAN)
        yield database


@pytest.fixture(scope="module")
def many() -> list[MadeTask]:
    """Enough tasks to count."""
    return made(Plan(2000, 1, NOW))


def ask(database: Database, query: LiteralString) -> list[tuple[object, ...]]:
    return database.connection().execute(query).fetchall()


# What is made up


def test_the_same_numbers_make_the_same_tasks() -> None:
    assert made(PLAN) == made(PLAN)
    assert made(PLAN) != made(Plan(PLAN.tasks, 8, NOW))


def test_tasks_of_another_prefix_are_others() -> None:
    uids = {task.uid for task in made(PLAN)}
    assert not uids & {task.uid for task in made(Plan(PLAN.tasks, PLAN.seed, NOW, "B-"))}


def test_times_follow_each_other_and_spread_over_two_years(many: list[MadeTask]) -> None:
    tasks = many
    assert NOW - SPAN <= tasks[0].created < NOW - SPAN + timedelta(days=30)
    assert NOW - timedelta(days=30) < tasks[-1].created <= NOW
    assert [task.created for task in tasks] == sorted(task.created for task in tasks)
    for task in tasks:
        times = [task.created, task.started, task.closed, task.deleted]
        told = [time for time in times if time is not None]
        assert told == sorted(told)
        assert told[-1] == task.updated <= NOW


def test_most_tasks_are_done_long_since(many: list[MadeTask]) -> None:
    tasks = many
    shares = {
        status: sum(task.status == status for task in tasks) / len(tasks)
        for status in ("todo", "in_progress", "completed", "canceled")
    }
    assert 0.8 < shares["completed"] < 0.95
    assert 0.03 < shares["todo"] < 0.12
    assert 0 < shares["in_progress"] < 0.05
    assert 0.03 < shares["canceled"] < 0.12


def test_a_part_is_closed_before_its_parent_and_a_blocker_before_what_waited_is_begun(
    many: list[MadeTask],
) -> None:
    tasks = {task.id: task for task in many}
    parts = [task for task in tasks.values() if task.parent is not None]
    waiting = [task for task in tasks.values() if task.blockers]
    assert len(parts) > 50
    assert len(waiting) > 50
    for task in parts:
        assert task.parent is not None
        parent = tasks[task.parent]
        assert parent.id < task.id
        assert parent.project == task.project
        assert parent.closed is None or (task.closed is not None and task.closed <= parent.closed)
    for task in waiting:
        for blocker in map(tasks.__getitem__, task.blockers):
            assert blocker.id < task.id
            begun = task.started or task.closed
            assert begun is None or (blocker.closed is not None and blocker.closed <= begun)


def test_frequent_words_are_many_times_as_frequent_as_the_next() -> None:
    counts: dict[str, int] = {}
    for task in made(PLAN):
        for word in (task.description or "").lower().replace(".", "").split():
            counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts.values(), reverse=True)
    assert ranked[0] > 5 * ranked[20] > 25 * ranked[1000]


@pytest.mark.parametrize("count", [1, 20, 45, 400])
def test_names_are_as_many_as_asked_for_and_all_different(count: int) -> None:
    assert len(set(words.numbered(words.AREAS, count))) == count


# What is in the database


def test_the_report_tells_what_is_there(database: Database) -> None:
    told: list[int] = []
    seeded = database.run(load.fill, PLAN, told.append)
    assert told == [PLAN.tasks]
    (counted,) = ask(database, COUNTS)
    assert counted == (
        *(seeded.tasks, seeded.projects, seeded.users + 1, seeded.tags, seeded.assignments),
        *(seeded.task_tags, seeded.links, seeded.comments, seeded.claims),
    )
    assert seeded.links > 0
    assert seeded.comments > 0


COUNTS: LiteralString = """
SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM projects),
       (SELECT count(*) FROM users), (SELECT count(*) FROM tags),
       (SELECT count(*) FROM assignments), (SELECT count(*) FROM task_tags),
       (SELECT count(*) FROM links), (SELECT count(*) FROM comments),
       (SELECT count(*) FROM claims)
"""


def test_batches_come_in_the_order_in_which_they_were_made(filled: Database) -> None:
    titles = [task.title for task in made(PLAN)]
    assert [title for (title,) in ask(filled, "SELECT title FROM tasks ORDER BY id")] == titles


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM tasks WHERE version <> 1",
        "SELECT id FROM tasks EXCEPT SELECT entity_id FROM history WHERE entity = 'task'",
        "SELECT id FROM comments EXCEPT SELECT entity_id FROM history WHERE entity = 'comment'",
        """SELECT t.id FROM tasks t LEFT JOIN task_texts x ON x.task_id = t.id
           WHERE x.document IS DISTINCT FROM
                 text_document(t.title, t.description, task_comments(t.id))""",
        """SELECT t.id FROM tasks t JOIN history h ON h.task_id = t.id AND h.new ? 'title'
           WHERE h.new <> jsonb_strip_nulls(task_fields(t))""",
        """SELECT x.task_id FROM task_tags x JOIN tags g ON g.id = x.tag_id
           WHERE NOT EXISTS (SELECT FROM history h
                             WHERE h.task_id = x.task_id AND h.new -> 'tags' ? g.name)""",
        """SELECT id FROM history
           WHERE operation <> 'demo seed' AND (entity, new ->> 'username') <> ('user', 'ana')""",
        "SELECT blocked_id FROM links WHERE blocker_id >= blocked_id",
    ],
    ids=["version", "history", "comments", "texts", "fields", "tags", "operation", "links"],
)
def test_nothing_is_missing_that_triggers_would_have_made(
    filled: Database, query: LiteralString
) -> None:
    assert ask(filled, query) == []


def test_what_is_interrupted_leaves_nothing_behind(database: Database) -> None:
    before = ask(database, COUNTS)

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.run(load.fill, PLAN, stop)
    assert ask(database, COUNTS) == before


def test_names_that_exist_are_shared_but_projects_are_not(database: Database) -> None:
    first, again = Plan(30, 1, NOW), Plan(30, 1, NOW, "B-")
    database.run(load.fill, first)
    with pytest.raises(Conflict, match="projects of these names already: API, BILLING, WEB"):
        database.run(load.fill, first)
    database.run(load.fill, again)
    ((users, tags),) = ask(
        database, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM tags)"
    )
    assert (users, tags) == (len(first.users) + 1, len(first.tags))


# The command


def test_the_command_tells_what_it_made(concord: CommandLine) -> None:
    seeded = concord.ok("demo", "seed", "--tasks", "20", "--yes")
    assert seeded["tasks"] == 20
    assert len(concord.ok("task", "list")) <= 20
    told = concord.ok("history", "--actor", "me")
    assert {change["operation"] for change in told if change["entity"] == "task"} == {"demo seed"}


def test_the_command_asks_first_and_refuses_where_there_are_tasks(concord: CommandLine) -> None:
    asked = concord("demo", "seed", "--tasks", "20")
    assert asked.code == 2
    assert "This adds 20 tasks to the database" in asked.err
    concord.ok("task", "add", "Mine")
    refused = concord("demo", "seed", "--tasks", "20")
    assert refused.code == 1
    assert "has tasks already" in refused.err
    assert len(concord.ok("task", "list")) == 1
