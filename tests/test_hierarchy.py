"""Parts and wholes: what closes with its last part, what a tree shows, what cannot be purged."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history
from steps import PATIENCE
from together import everything_but_gates
from workers import Worker, Workers, psql

from concord.database import Isolation, Operation
from concord.errors import NotFound, Refused
from concord.sql import claims, comments, links, projects, tasks
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from concord.database import Database


def add(database: Database, **fields: Any) -> int:
    return database.run(tasks.add, tasks.NewTask("x", **fields)).id


def family(database: Database, parts: int = 2, **fields: Any) -> list[int]:
    """Return a whole that closes by itself, and its parts."""
    whole = add(database, auto_close=True, **fields)
    return [whole, *(add(database, parent=whole) for _ in range(parts))]


def close(database: Database, *ids: int, status: Any = "completed") -> None:
    database.run(tasks.set_status, ids, status)


def status(url: str, task: int) -> str:
    return psql(url, "SELECT status::text FROM tasks WHERE id = %s", task)[0][0]


def closings(url: str, task: int) -> list[tuple[str, str]]:
    """Return (actor, new status) of each change of a task's status."""
    return [
        (actor, new)
        for actor, new in psql(
            url,
            "SELECT actor, new ->> 'status' FROM history"
            " WHERE entity = 'task' AND task_id = %s AND old ? 'status' ORDER BY id",
            task,
        )
    ]


# Closing


@pytest.mark.parametrize("last", ["completed", "canceled"])
@pytest.mark.parametrize("first", ["completed", "canceled"])
def test_the_last_part_to_close_completes_the_whole_once(
    url: str, database: Database, first: str, last: str
) -> None:
    whole, one, two = family(database)
    close(database, one, status=first)
    assert status(url, whole) == "todo"
    close(database, two, status=last)
    close(database, one, two)
    assert closings(url, whole) == [("ana", "completed")]
    assert check_history(url) == 3


def test_all_parts_closed_in_one_command_complete_the_whole_once(
    url: str, database: Database
) -> None:
    whole, *parts = family(database, 3)
    close(database, *parts)
    assert closings(url, whole) == [("ana", "completed")]
    assert psql(url, "SELECT version FROM tasks WHERE id = %s", whole) == [(2,)]


def test_a_whole_that_is_not_told_to_stays_open(url: str, database: Database) -> None:
    whole = add(database)
    part = add(database, parent=whole)
    close(database, part)
    assert status(url, whole) == "todo"
    database.run(tasks.edit, [whole], {"auto_close": True})
    assert status(url, whole) == "todo", "only the end of a part closes it"


def test_closing_goes_up_as_far_as_wholes_are_told_to(url: str, database: Database) -> None:
    top = add(database)
    upper = add(database, auto_close=True, parent=top)
    middle = add(database, auto_close=True, parent=upper)
    part = add(database, parent=middle)
    close(database, part)
    assert [status(url, task) for task in (middle, upper, top)] == [
        "completed", "completed", "todo",
    ]  # fmt: skip
    assert check_history(url) == 4


def test_a_part_that_goes_elsewhere_or_to_the_trash_closes_nothing(
    url: str, database: Database
) -> None:
    whole, one, two, three = family(database, 3)
    close(database, one)
    database.run(tasks.delete, [two])
    database.run(tasks.edit, [three], {"parent": None})
    assert status(url, whole) == "todo"
    close(database, three)
    assert status(url, whole) == "todo", "it is no part of it any more"
    other = add(database, parent=whole)
    close(database, other)
    assert status(url, whole) == "completed", "what is in the trash is not waited for"


def test_a_whole_in_the_trash_stays_as_it_is(url: str, database: Database) -> None:
    whole, part = family(database, 1)
    database.run(tasks.delete, [whole])
    before = psql(url, "SELECT version FROM tasks WHERE id = %s", whole)
    close(database, part)
    assert psql(url, "SELECT version FROM tasks WHERE id = %s", whole) == before
    assert status(url, whole) == "todo"


def test_a_claimed_whole_that_closes_is_no_longer_held(url: str, database: Database) -> None:
    whole, part = family(database, 1)
    psql(url, "UPDATE tasks SET status = 'in_progress' WHERE id = %s", whole)
    psql(
        url,
        "INSERT INTO claims (task_id, user_id, claimed_at, expires_at)"
        " VALUES (%s, 1, now(), now() + interval '1 h')",
        whole,
    )
    close(database, part)
    (closed,) = database.run(tasks.show, [whole])
    assert (closed.status, closed.claim) == ("completed", None)


LEVELS = [Isolation.READ_COMMITTED, Isolation.SERIALIZABLE]


@pytest.mark.parametrize("his", LEVELS)
@pytest.mark.parametrize("hers", LEVELS)
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_last_parts_that_close_at_once_the_later_one_closes_the_whole(
    url: str,
    ana: Worker,
    bo: Worker,
    workers: Workers,
    hers: Isolation,
    his: Isolation,
    turned: bool,
) -> None:
    whole, one, two = family(ana.database)
    if turned:
        one, two = two, one
    done = tasks.set_status
    gate = workers.gate()
    first = ana.run(
        gate.before_commit(Operation(done.body, hers, read_only=False)), [one], "completed"
    )
    second = bo.run(Operation(done.body, his, read_only=False), [two], "canceled")
    assert bo.waits_for(ana)
    gate.open()
    assert first.result(PATIENCE)
    assert second.result(PATIENCE)
    assert closings(url, whole) == [("bo", "completed")]
    retried = [("retry", "40001")] if his == Isolation.SERIALIZABLE else []
    assert bo.outcomes == [*retried, ("done", None)]
    assert check_history(url) == 3


def test_a_whole_that_is_locked_is_waited_for(
    url: str, ana: Worker, bo: Worker, workers: Workers
) -> None:
    whole, part = family(ana.database, 1)
    gate = workers.gate()
    editing = ana.run(gate.before_commit(tasks.set_status), [whole], "canceled")
    closing = bo.run(tasks.set_status, [part], "completed")
    assert bo.waits_for(ana)
    gate.open()
    assert editing.result(PATIENCE)
    assert closing.result(PATIENCE)
    assert closings(url, whole) == [("ana", "canceled")]


# Trees


def depths(database: Database, *ids: int, project: str | None = None) -> list[tuple[int, int]]:
    return [(node.id, node.depth) for node in database.run(links.tree, ids, project=project)]


def test_a_tree_shows_parts_below_their_whole(database: Database) -> None:
    whole, one, two = family(database)
    piece = add(database, parent=one)
    other = add(database)
    add(database, parent=other)
    database.run(links.block, [two], [one])
    assert depths(database, whole) == [(whole, 0), (one, 1), (piece, 2), (two, 1)]
    assert depths(database, one) == [(one, 0), (piece, 1)]
    assert {task for task, depth in depths(database) if depth == 0} == {whole, other}
    (node,) = [node for node in database.run(links.tree, [whole]) if node.id == two]
    assert (node.parent, node.waits_for) == (whole, (one,))
    close(database, one)
    assert all(not node.waits_for for node in database.run(links.tree, [whole]))


def test_a_tree_of_a_project_that_does_not_exist_is_not_found(database: Database) -> None:
    database.run(projects.add, "API")
    assert depths(database, project="API") == []
    whole = add(database, project="API")
    part = add(database, parent=whole)
    assert depths(database, project="API") == [(whole, 0), (part, 1)]
    with pytest.raises(NotFound, match="no such project: NOPE"):
        depths(database, project="NOPE")
    with pytest.raises(NotFound, match="no such task: 99"):
        depths(database, whole, 99)


def test_parts_of_what_is_in_the_trash_still_have_a_tree(database: Database) -> None:
    whole, part = family(database, 1)
    piece = add(database, parent=part)
    database.run(tasks.delete, [whole])
    assert depths(database) == [(part, 0), (piece, 1)]


def test_a_tree_of_a_project_begins_where_the_project_does(database: Database) -> None:
    for key in ("API", "WEB"):
        database.run(projects.add, key)
    whole = add(database, project="WEB")
    part = add(database, project="API", parent=whole)
    piece = add(database, parent=part)
    assert depths(database, project="API") == [(part, 0), (piece, 1)]
    assert depths(database) == [(whole, 0), (part, 1), (piece, 2)]


# Purging


def test_a_whole_is_not_purged_before_its_parts(url: str, database: Database) -> None:
    whole, one, two = family(database)
    database.run(tasks.delete, [whole, one])
    before = everything_but_gates(url)
    with pytest.raises(Refused) as caught:
        database.run(tasks.purge, [whole])
    assert caught.value.details["constraint"] == "tasks_parent_id_fkey"
    assert everything_but_gates(url) == before
    database.run(tasks.edit, [two], {"parent": None})
    assert {task.id for task in database.run(tasks.purge, [whole, one])} == {whole, one}
    assert check_history(url) == 1


def test_what_is_purged_takes_its_links_claim_and_comments_along(
    url: str, database: Database
) -> None:
    task, waiting = add(database), add(database)
    database.run(links.block, [waiting], [task])
    database.run(comments.add, [task], "Soon.")
    database.run(claims.claim, Filters(), lease=timedelta(minutes=15))
    database.run(tasks.delete, [task])
    (gone,) = database.run(tasks.purge, [task])
    assert gone.blocks == (waiting,)
    for table in ("links", "claims", "comments"):
        assert everything_but_gates(url)[table] == []
    assert check_history(url) == 1
    told = psql(url, "SELECT old ->> 'body', new FROM history WHERE entity = 'comment' ORDER BY id")
    assert told == [(None, told[0][1]), ("Soon.", {})]
