"""Operations by themselves: lists against their definition in Python, merging, all or nothing."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, settings_for
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from concord.database import Database, Isolation, Operation
from concord.errors import Conflict, NotFound, Refused, Usage
from concord.sql import assignments, history, listing, projects, tags, tasks, users
from concord.sql.listing import NONE, SORTS, Filters
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from databases import Databases

    from concord.database import Transaction
    from concord.models import Task

pytestmark = pytest.mark.crew

# Upper case of some scripts has no single lower case: who folds it has to be the database.
PEOPLE = ("ana", "Bo", "ΟΔΥΣΣΕΥΣ")
LABELS = ("bug", "UI", "100%", "ΟΔΟΣ")
KEYS = ("API", "WEB")
DAY = datetime(2026, 3, 1, tzinfo=UTC)
WORDS = ("100%", "a_b", "back\\slash", "Write", "write", "read")


@pytest.fixture(scope="module")
def shelf(server: Server, crew_databases: Databases) -> Iterator[Database]:
    """A database with sixty tasks in which every sort key is shared by several."""
    place = crew_databases.take()
    with Database(settings_for(server.url(place)), "test") as made:
        for name in PEOPLE[1:]:
            made.run(users.add, name)
        for key in KEYS:
            made.run(projects.add, key)
        made.run(Operation(fill, Isolation.READ_COMMITTED, read_only=False))
        yield made
    crew_databases.give_back(place)


def fill(tx: Transaction) -> None:
    chance = random.Random(20)
    for _ in range(60):
        new = tasks.NewTask(
            title=chance.choice(WORDS),
            project=chance.choice((None, *KEYS)),
            status=chance.choice(STATUSES),
            priority=chance.choice(PRIORITIES),
            due=chance.choice((None, None, *(DAY + timedelta(days) for days in range(4)))),
            tags=chance.sample(LABELS, chance.randrange(3)),
            assignees=chance.sample(PEOPLE, chance.randrange(3)),
        )
        made = tasks.add(tx, new)
        tasks.edit(tx, [made.id], {"owner": chance.choice(PEOPLE)})
        tx.execute(
            "UPDATE tasks SET created_at = %(at)s WHERE id = %(id)s",
            {"id": made.id, "at": DAY + timedelta(days=chance.randrange(5))},
        )
        if chance.random() < 0.2:
            tasks.delete(tx, [made.id])


@pytest.fixture(scope="module")
def everything(shelf: Database) -> tuple[Task, ...]:
    """Every task on the shelf, and those in the trash."""
    return shelf.run(listing.page, Filters(trash=None)).items


def some(*values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=3).map(tuple)


MOMENTS = st.none() | st.sampled_from([DAY + timedelta(days) for days in range(-1, 6)])
FILTERS = st.builds(
    Filters,
    projects=some(*KEYS, NONE),
    statuses=some(*STATUSES),
    tags=some(*LABELS, "BUG", "ui"),
    assignees=some(*PEOPLE, "BO", "me", NONE),
    owners=some(*PEOPLE, "Ana", "me"),
    priorities=some(*PRIORITIES),
    due_before=MOMENTS,
    due_after=MOMENTS,
    titles=some(*WORDS, "%", "_", "\\", "RIT"),
    assigned=st.none() | st.booleans(),
    trash=st.sampled_from([False, True, None]),
)
# One filter alone finds enough to page through; all together mostly find nothing.
ONE_FILTER = st.one_of(
    st.just(Filters()),
    *(
        st.builds(Filters, **{name: strategy})
        for name, strategy in {
            "projects": some(*KEYS, NONE),
            "statuses": some(*STATUSES),
            "tags": some(*LABELS),
            "assignees": some(*PEOPLE, NONE),
            "titles": some(*WORDS, "%"),
            "trash": st.just(True),
        }.items()
    ),
)
ORDERS = st.sampled_from([sign + name for name in SORTS for sign in ("", "-")])


def matches(task: Task, filters: Filters) -> bool:
    """What a filter means, told without a database."""

    def named(wanted: Sequence[str], have: Sequence[str]) -> bool:
        spelled = {name.upper().replace("ME", "ANA") for name in wanted}
        return bool(spelled & {name.upper() for name in have}) or (NONE in wanted and not have)

    due = task.due
    return all(
        [
            filters.trash in (None, task.deleted_at is not None),
            not filters.projects or (task.project or NONE) in filters.projects,
            not filters.statuses or task.status in filters.statuses,
            not filters.tags or named(filters.tags, task.tags),
            not filters.assignees or named(filters.assignees, task.assignees),
            not filters.owners or named(filters.owners, [task.owner]),
            not filters.priorities or task.priority in filters.priorities,
            not filters.due_before or (due is not None and due < filters.due_before),
            not filters.due_after or (due is not None and due > filters.due_after),
            not filters.titles or any(t.lower() in task.title.lower() for t in filters.titles),
            filters.assigned is None or bool(task.assignees) == filters.assigned,
        ]
    )


NEVER = datetime.max.replace(tzinfo=UTC)
RANKS: dict[str, tuple[bool, Callable[[Task], Any]]] = {
    "id": (False, lambda task: task.id),
    "priority": (False, lambda task: -PRIORITIES.index(task.priority)),
    "due": (False, lambda task: task.due or NEVER),
    "created": (True, lambda task: task.created_at),
    "updated": (True, lambda task: task.updated_at),
    "title": (False, lambda task: task.title.lower()),
    "status": (False, lambda task: STATUSES.index(task.status)),
}
"""Order → whether it is descending by nature, and its key."""


def expected(everything: Sequence[Task], filters: Filters, sort: str) -> list[Task]:
    descending, rank = RANKS[sort.removeprefix("-")]
    return sorted(
        (task for task in everything if matches(task, filters)),
        key=lambda task: (rank(task), task.id),
        reverse=descending != sort.startswith("-"),
    )


# Lists


@examples(max_examples=300, deadline=None)
@given(FILTERS | ONE_FILTER, ORDERS, st.none() | st.integers(1, 70), st.integers(0, 20))
def test_a_list_is_what_its_filters_and_order_say(
    shelf: Database,
    everything: tuple[Task, ...],
    filters: Filters,
    sort: str,
    limit: int | None,
    skip: int,
) -> None:
    wanted = expected(everything, filters, sort)[skip:]
    page = shelf.run(listing.page, filters, sort=sort, limit=limit, skip=skip)
    assert list(page.items) == wanted[:limit]
    assert (page.after is not None) == (limit is not None and len(wanted) > limit)


@examples(max_examples=60, deadline=None)
@given(ONE_FILTER, ORDERS, st.integers(1, 9))
def test_pages_visit_every_row_once_and_in_order(
    shelf: Database, everything: tuple[Task, ...], filters: Filters, sort: str, limit: int
) -> None:
    wanted = expected(everything, filters, sort)
    seen: list[Task] = []
    after = None
    for _ in range(len(wanted) // limit + 1):
        page = shelf.run(listing.page, filters, sort=sort, limit=limit, after=after)
        seen += page.items
        after = page.after
        if after is None:
            break
    assert after is None
    assert seen == wanted


def test_orders_are_all_told_above() -> None:
    assert set(RANKS) == set(SORTS)


def test_a_page_starts_behind_its_cursor_though_rows_come_and_go(database: Database) -> None:
    made = [database.run(tasks.add, tasks.NewTask(title)).id for title in "bdfh"]
    first = database.run(listing.page, Filters(), sort="title", limit=2)
    database.run(tasks.add, tasks.NewTask("a"))
    late = database.run(tasks.add, tasks.NewTask("e")).id
    database.run(tasks.delete, made[:3])
    rest = database.run(listing.page, Filters(), sort="title", after=first.after)
    assert [task.id for task in rest.items] == [late, made[3]]


@pytest.mark.parametrize(
    ("filters", "missing"),
    [
        (Filters(projects=["API"]), "no such project: API"),
        (Filters(tags=["bug"]), "no such tag: bug"),
        (Filters(assignees=["bo"]), "no such user: bo"),
        (Filters(owners=["bo", "me"]), "no such user: bo"),
    ],
)
def test_a_name_that_is_spelled_wrong_is_told_from_an_empty_list(
    database: Database, filters: Filters, missing: str
) -> None:
    with pytest.raises(NotFound, match=missing):
        database.run(listing.page, filters)


def test_an_empty_list_of_names_that_exist_is_empty(database: Database) -> None:
    nobody = Filters(projects=[NONE], assignees=["me", NONE], owners=["ana"])
    assert database.run(listing.page, nobody, limit=5).items == ()


def packed(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "é",
        "no cursor",
        packed(),
        packed("id", "1"),
        packed("title", "1", 1),
        packed("-id", "1", 1),
        packed("id", 1, 1),
        packed("id", "1", "1"),
        packed("id", "1", True),
        packed("id", "x", 1),
        packed("id", "1\0", 1),
        packed("id", "\ud800", 1),
        base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    ],
    ids=lambda cursor: cursor[:24],
)
def test_what_is_no_cursor_of_this_list_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(Usage):
        database.run(listing.page, Filters(), after=cursor)


def test_an_order_that_does_not_exist_is_refused_with_those_that_do(database: Database) -> None:
    with pytest.raises(Usage, match="cannot sort by 'nonsense'") as raised:
        database.run(listing.page, Filters(), sort="-nonsense")
    assert all(name in (raised.value.hint or "") for name in SORTS)


# Names


@pytest.mark.parametrize("name", ["bug", "Öffentlich", "ΟΔΟΣ", "İstanbul", "名前"])
def test_a_name_is_found_as_it_was_given(database: Database, name: str) -> None:
    database.run(users.add, name)
    made = database.run(tasks.add, tasks.NewTask("x", tags=[name], assignees=[name]))
    database.run(tasks.edit, [made.id], {"owner": name})
    wanted = Filters(tags=[name], assignees=[name], owners=[name])
    (found,) = database.run(listing.page, wanted).items
    assert (found.tags, found.assignees, found.owner) == ((name,), (name,), name)
    database.run(tags.tag, [made.id], [name])
    database.run(tags.untag, [made.id], [name])
    (bare,) = database.run(assignments.unassign, [made.id], [name])
    assert (bare.tags, bare.assignees) == ((), ())


def test_names_that_do_not_exist_are_told_as_they_were_given(database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("x", tags=["bug"]))
    with pytest.raises(NotFound, match="no such tag: ÜI, Nope"):
        database.run(tags.untag, [made.id], ["BUG", "ÜI", "Nope"])
    with pytest.raises(NotFound, match="no such user: Bö"):
        database.run(assignments.assign, [made.id], ["Ana", "Bö", "me"])


# History


def test_history_is_paged_newest_first_and_filtered(database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("x"))
    for status in ("in_progress", "completed", "todo"):
        database.run(tasks.set_status, [made.id], status)
    whole = database.run(history.page, history.Filters(task=made.id)).items
    assert [change.new.get("status") for change in whole] == [
        "todo",
        "completed",
        "in_progress",
        "todo",
    ]
    first = database.run(history.page, history.Filters(task=made.id), limit=3)
    rest = database.run(
        history.page, history.Filters(task=made.id), limit=3, after=int(first.after or 0)
    )
    assert first.items + rest.items == whole
    assert rest.after is None
    by_xid = database.run(history.page, history.Filters(actor="ANA", xid=whole[0].xid))
    assert by_xid.items == whole[:1]
    assert database.run(history.page, history.Filters(actor="me"), skip=1, limit=1).items == (
        whole[1],
    )
    with pytest.raises(NotFound, match="no such task, now or ever: 99"):
        database.run(history.page, history.Filters(task=99))


def test_a_task_that_somebody_never_touched_exists_all_the_same(database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("x"))
    for wanted in (history.Filters(made.id, actor="bo"), history.Filters(made.id, xid="3")):
        assert database.run(history.page, wanted).items == ()


# Merging


MERGES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | list[str]]] = {
    "nobody else": ({}, {"title": "mine"}, {"title": "mine"}),
    "different fields": (
        {"priority": "high"},
        {"title": "mine"},
        {"title": "mine", "priority": "high"},
    ),
    "the same change": ({"title": "both"}, {"title": "both"}, {"title": "both"}),
    "only theirs": ({"title": "theirs"}, {"title": "base"}, ["title"]),
    "nothing of mine": ({"title": "theirs"}, {}, {"title": "theirs"}),
    "both": ({"title": "theirs"}, {"title": "mine"}, ["title"]),
    "one of two": (
        {"title": "theirs", "due": DAY},
        {"title": "mine", "priority": "low"},
        ["title"],
    ),
    "two of two": ({"title": "x", "due": DAY}, {"title": "y", "due": None}, ["due", "title"]),
    "both unset": ({"due": None}, {"due": None}, {"due": None}),
    "owner": ({"owner": "bo"}, {"title": "mine"}, {"title": "mine", "owner": "bo"}),
}
"""What they wrote meanwhile, what I write → what becomes of it, or the fields that clash."""


@pytest.mark.parametrize("case", MERGES)
def test_a_merge_takes_each_field_from_who_changed_it(database: Database, case: str) -> None:
    theirs, mine, outcome = MERGES[case]
    database.run(users.add, "bo")
    base = database.run(tasks.add, tasks.NewTask("base", due=DAY + timedelta(days=1)))
    if theirs:
        database.run(tasks.edit, [base.id], theirs)
    (before,) = database.run(tasks.show, [base.id])
    if isinstance(outcome, list):
        with pytest.raises(Conflict) as raised:
            database.run(tasks.merge, base, mine)
        assert raised.value.details["fields"] == outcome
        assert raised.value.details["version"] == before.version
        assert database.run(tasks.show, [base.id]) == (before,)
    else:
        merged = database.run(tasks.merge, base, mine)
        assert {name: getattr(merged, name) for name in outcome} == outcome
        assert database.run(tasks.show, [base.id]) == (merged,)


def test_a_stale_version_is_told_with_what_made_it_stale(database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("x"))
    database.run(tasks.edit, [made.id], {"title": "y"})
    with pytest.raises(Conflict, match="is at version 2, not 1: ana changed title") as raised:
        database.run(tasks.edit, [made.id], {"title": "z"}, if_version=1)
    (change,) = raised.value.details["changes"]
    assert (change["actor"], change["old"], change["new"]) == (
        "ana",
        {"title": "x"},
        {"title": "y"},
    )
    assert raised.value.details["version"] == 2
    with pytest.raises(NotFound):
        database.run(tasks.edit, [99], {"title": "z"}, if_version=1)


# All or nothing


BULK: dict[str, tuple[Operation[..., Any], tuple[Any, ...]]] = {
    "edit": (tasks.edit, ({"title": "changed"},)),
    "set_status": (tasks.set_status, ("completed",)),
    "move": (tasks.move, ("API",)),
    "delete": (tasks.delete, ()),
    "restore": (tasks.restore, ()),
    "assign": (assignments.assign, (["bo"],)),
    "unassign": (assignments.unassign, (["ana"],)),
    "tag": (tags.tag, (["new"],)),
    "untag": (tags.untag, (["bug"],)),
    "show": (tasks.show, ()),
}


@pytest.mark.parametrize("name", BULK)
@pytest.mark.parametrize("odd", ["missing", "trashed"])
def test_a_bulk_command_does_all_or_nothing(database: Database, name: str, odd: str) -> None:
    operation, arguments = BULK[name]
    database.run(users.add, "bo")
    database.run(projects.add, "API")
    new = tasks.NewTask("x", tags=["bug"], assignees=["ana"])
    one, two, trashed = (database.run(tasks.add, new).id for _ in range(3))
    database.run(tasks.delete, [trashed])
    third = 99 if odd == "missing" else trashed
    if odd == "trashed" and name in ("show", "restore"):
        assert len(database.run(operation, [one, third, two], *arguments)) == 3
        return
    before = database.run(history.page, history.Filters()).items
    with pytest.raises(NotFound) as raised:
        database.run(operation, [one, third, two], *arguments)
    assert raised.value.details == {"tasks": [third]}
    assert database.run(history.page, history.Filters()).items == before


def test_purge_takes_only_what_is_in_the_trash_and_all_of_it_or_nothing(
    database: Database,
) -> None:
    one, two, three = (database.run(tasks.add, tasks.NewTask("x")).id for _ in range(3))
    database.run(tasks.delete, [one, two])
    with pytest.raises(Refused, match=f"not in the trash: {three}"):
        database.run(tasks.purge, [one, two, three])
    with pytest.raises(NotFound, match="no such task: 99"):
        database.run(tasks.purge, [one, two, 99])
    assert [task.id for task in database.run(tasks.purge, [two, one])] == [two, one]
    assert [task.id for task in database.run(listing.page, Filters()).items] == [three]


def test_results_come_in_the_order_asked_for_each_once(database: Database) -> None:
    one, two = (database.run(tasks.add, tasks.NewTask("x")).id for _ in range(2))
    edited = database.run(tasks.edit, [two, one, two], {"title": "y"})
    assert [(task.id, task.version) for task in edited] == [(two, 2), (one, 2)]
