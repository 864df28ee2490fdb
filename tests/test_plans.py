"""Plans at 100,000 tasks: what commands ask for is found by an index, however many there are."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

import pytest
from crowd import END, LARGE, START
from psycopg import sql
from psycopg.types.json import Jsonb

from concord.database import Database, Isolation, Transaction, transaction
from concord.errors import Refused
from concord.query import parse
from concord.sql import (
    agents,
    assignments,
    board,
    claims,
    comments,
    completion,
    due,
    history,
    links,
    listing,
    search,
    stats,
    tags,
    task_rows,
    tasks,
    urgency,
    users,
    watch,
)
from concord.sql.listing import Filters
from concord.sql.undo import conflicts, lists, names, past, things
from concord.sql.undo import tasks as undone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from concord.sql.stats import By
    from concord.transaction import Query
    from concord.vocabulary import Status

PROJECT = {
    "tasks_project_id_id_idx",
    "tasks_project_id_status_id_idx",
    "tasks_project_id_external_ref_key",
}

ALL = listing.asked("ana", Filters())
"""What asks for all tasks but those in the trash."""


class Scan(NamedTuple):
    """How a plan reads a table: the index that it uses, if any, and the condition on it."""

    kind: str
    table: str | None
    by: str | None
    condition: str


@transaction(isolation=Isolation.READ_COMMITTED)
def explain(
    tx: Transaction,
    query: Query,
    given: Mapping[str, Any],
    before: LiteralString | None = None,
    asked: listing.Asked | None = None,
) -> dict[str, Any]:
    """Return the plan that a query has in an operation, after the statement `before`.

    The names that are `asked` for are looked up.
    """
    if before is not None:
        tx.execute(before)
    if asked is not None:
        listing.look_up(tx, asked)
    text = sql.SQL(query) if isinstance(query, str) else query
    return tx.scalar(sql.SQL("EXPLAIN (FORMAT JSON) ") + text, given)[0]["Plan"]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def scans(
    database: Database, query: Query, given: Mapping[str, Any], asked: listing.Asked | None = None
) -> list[Scan]:
    """Return how a query reads its tables. Fails if it reads a large one from end to end."""
    return _scans(database.run(explain, query, given, asked=asked))


def page(
    database: Database, filters: Filters, sort: str = "id", after: str | None = None
) -> list[Scan]:
    """Return how the tasks of a page are found; that all else is looked up by index is checked."""
    asked = listing.asked("ana", filters)
    query, given = listing.compose(asked, sort=sort, after=after)
    plan = database.run(explain, query, given | {"limit": 101, "skip": 0}, asked=asked)
    _scans(plan)
    return _scans(limit_of(plan))


def limit_of(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a plan that yields no more rows than were asked for."""
    # Policies look for one row as well: below the one that is meant, or for a single value.
    return next(node for node in nodes(plan) if node["Node Type"] == "Limit")


def _scans(plan: dict[str, Any]) -> list[Scan]:
    found = [
        Scan(
            node["Node Type"],
            node.get("Relation Name"),
            node.get("Index Name"),
            node.get("Index Cond", ""),
        )
        for node in nodes(plan)
        if "Scan" in node["Node Type"]
    ]
    assert [scan for scan in found if scan.kind == "Seq Scan" and scan.table in LARGE] == []
    return found


def found_by(scans: list[Scan]) -> set[str]:
    """Return the indexes that a plan looks something up in."""
    return {scan.by for scan in scans if scan.by is not None and scan.condition}


# Lists of tasks


FOUND_BY: dict[str, tuple[Filters, set[str]]] = {
    "project": (Filters(projects=["P7"]), PROJECT),
    "projects": (Filters(projects=["P7", "P8"]), PROJECT),
    "status": (Filters(statuses=["canceled"]), {"tasks_status_id_idx"}),
    "statuses": (Filters(statuses=["in_progress", "canceled"]), {"tasks_status_id_idx"}),
    "project and status": (
        Filters(projects=["P7"], statuses=["completed"]),
        {"tasks_project_id_status_id_idx"},
    ),
    "tag": (Filters(tags=["tag7"]), {"task_tags_tag_id_task_id_idx"}),
    "tags": (Filters(tags=["TAG7", "tag8"]), {"task_tags_tag_id_task_id_idx"}),
    "assignee": (Filters(assignees=["user8"]), {"assignments_user_id_task_id_idx"}),
    "assignees": (Filters(assignees=["user8", "me"]), {"assignments_user_id_task_id_idx"}),
    "owner": (Filters(owners=["user8"]), {"tasks_owner_id_idx"}),
    "priority": (Filters(priorities=["urgent"]), {"tasks_priority_id_idx"}),
    "priorities": (Filters(priorities=["urgent", "low"]), {"tasks_priority_id_idx"}),
    "due before": (Filters(due_before=START + timedelta(days=3)), {"tasks_due_id_idx"}),
    "due after": (Filters(due_after=END - timedelta(days=3)), {"tasks_due_id_idx"}),
    "part of the title": (Filters(titles=["4238A0B92"]), {"tasks_title_trigrams_idx"}),
    "parts of titles": (Filters(titles=["4238a0b92", "c4ca42"]), {"tasks_title_trigrams_idx"}),
}
"""Filter → the indexes of which one leads to its tasks."""


@pytest.mark.parametrize("name", FOUND_BY)
def test_a_filter_finds_its_tasks_by_an_index(crowded: Database, name: str) -> None:
    filters, indexes = FOUND_BY[name]
    assert found_by(page(crowded, filters)) & indexes


TAGS = "task_tags_tag_id_task_id_idx"
PEOPLE = "assignments_user_id_task_id_idx"
WORDS = "task_texts_document_idx"

ASKED_FOR: dict[str, set[str]] = {
    "tag:tag7 -status:completed": {TAGS},
    "tag:tag7,tag8 assignee:user8": {TAGS, PEOPLE},
    "status:todo,in_progress tag:tag7 the": {TAGS},
    "id:7,9 -tag:none": {"tasks_pkey"},
    "parent:7": {"tasks_parent_id_idx"},
    "due:2026-01-02..2026-01-03 priority>=low": {"tasks_due_id_idx"},
    "priority>high": {"tasks_priority_id_idx"},
    "status:in_progress claimed:yes": {"tasks_status_id_idx", "claims_expires_at_idx"},
    "c4ca4238a0b923820dcc509a6f75849b": {WORDS},
    '"task c4ca4238a0b923820dcc509a6f75849b"': {WORDS},
    "c4ca4* -deploy": {WORDS},
    "tag:tag7 or assignee:user8": {TAGS, PEOPLE},
    "(tag:tag7 priority:low) or (c4ca4* -status:completed) or id:7": {TAGS, WORDS, "tasks_pkey"},
    "(tag:tag7 or c4ca4*) status:completed": {TAGS, WORDS},
}
"""Query → the indexes that lead to its tasks, all of them where it has alternatives."""


@pytest.mark.parametrize("text", ASKED_FOR)
def test_a_query_finds_its_tasks_by_indexes(crowded: Database, text: str) -> None:
    query = parse(text, now=START)
    used = found_by(page(crowded, Filters(query=query)))
    expected = ASKED_FOR[text]
    assert expected <= used if " or " in text else expected & used


@pytest.mark.parametrize(
    "text", ["the", "priority>=none or blocked:no", "-tag:tag7", "created<2030-01-01"]
)
def test_a_query_that_most_tasks_meet_reads_them_in_order(crowded: Database, text: str) -> None:
    found = page(crowded, Filters(query=parse(text, now=START)))
    assert "tasks_pkey" in {scan.by for scan in found}


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(trash=True), "tasks_trash_idx"),
        (Filters(projects=["none"]), "tasks_inbox_idx"),
    ],
    ids=["trash", "inbox"],
)
def test_what_is_set_apart_has_an_index_of_its_own(
    crowded: Database, filters: Filters, index: str
) -> None:
    assert index in {scan.by for scan in page(crowded, filters)}


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(trash=None),
        Filters(assignees=["none"]),
        Filters(assigned=True),
        Filters(assigned=False),
        Filters(titles=["task"]),
        Filters(titles=["a"]),
    ],
    ids=[
        *("none", "with the trash", "nobody", "assigned", "unassigned"),
        *("part of any title", "part without a trigram"),
    ],
)
def test_a_filter_that_most_tasks_meet_reads_them_in_order_until_the_page_is_full(
    crowded: Database, filters: Filters
) -> None:
    assert "tasks_pkey" in {scan.by for scan in page(crowded, filters)}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("canceled", "tasks_status_id_idx"),
        ("completed", "tasks_status_id_idx"),
        # What is in progress, of which there is little, comes among it, and is left out.
        ("todo", "tasks_open_idx"),
    ],
)
def test_the_tasks_of_a_status_come_in_order_and_are_not_sorted(
    crowded: Database, status: Status, name: str
) -> None:
    query, given = listing.compose(listing.asked("ana", Filters(statuses=[status])), sort="id")
    read = list(nodes(limit_of(crowded.run(explain, query, given | {"limit": 101, "skip": 0}))))
    (index,) = (node for node in read if node.get("Index Name") == name)
    assert index["Node Type"] in ("Index Scan", "Index Only Scan")
    assert not [node for node in read if "Sort" in node["Node Type"]]


ORDERED_BY = {
    "id": "tasks_pkey",
    "priority": "tasks_priority_id_idx",
    "due": "tasks_due_order_idx",
    "created": "tasks_created_at_id_idx",
    "updated": "tasks_updated_at_id_idx",
    "title": "tasks_title_id_idx",
    "status": "tasks_status_id_idx",
}
"""Order → the index that yields it."""


@pytest.mark.parametrize("sort", [sign + name for name in listing.SORTS for sign in ("", "-")])
def test_an_order_comes_from_an_index_from_the_first_page_to_the_last(
    crowded: Database, sort: str
) -> None:
    index = ORDERED_BY[sort.removeprefix("-")]
    first = page(crowded, Filters(), sort)
    assert index in {scan.by for scan in first}
    assert index not in found_by(first)
    (task,) = crowded.run(tasks.show, [50_000])
    assert index in found_by(page(crowded, Filters(), sort, listing.cursor(sort, task)))


# Search


def wanted(text: str) -> search.Wanted:
    return search.Wanted.by(parse(text, now=START), Filters(), "ana")


RARE = "c4ca4238a0b923820dcc509a6f75849b"


@pytest.mark.parametrize("text", [RARE, f'"task {RARE}"', f"task -tag:tag8 {RARE}", "nowhere"])
def test_few_words_are_found_by_their_index(crowded: Database, text: str) -> None:
    asked = wanted(text)
    given = asked.params | {"most": 500, "limit": 20}
    assert WORDS in found_by(scans(crowded, asked.ranked, given, asked.asked))


@pytest.mark.parametrize("text", ["task", "task yes status:completed", "the"])
def test_of_many_the_newest_are_read_until_there_are_enough(crowded: Database, text: str) -> None:
    asked = wanted(text)
    found = scans(crowded, asked.ranked, asked.params | {"most": 500, "limit": 20})
    assert {"task_texts_pkey", "tasks_pkey"} & {scan.by for scan in found}
    assert WORDS not in {scan.by for scan in found}


def test_only_what_is_shown_is_searched_for_words_again(crowded: Database) -> None:
    asked = wanted("task")
    given = asked.params | search.MARKED | {"ids": [10, 20]}
    assert {"task_texts_pkey", "tasks_pkey"} <= found_by(scans(crowded, asked.marked, given))


def test_whether_a_word_is_written_anywhere_is_asked_of_the_index(crowded: Database) -> None:
    asked = wanted("nowhere")
    assert WORDS in found_by(scans(crowded, asked.weighed, asked.params))


def test_similar_titles_are_found_by_trigrams(crowded: Database) -> None:
    asked = wanted("c4ca4238a0x")
    query, given = asked.similar([], asked.demanded, "public")
    found = scans(crowded, query, given | {"most": 500, "limit": 10})
    assert "tasks_title_trigrams_idx" in found_by(found)


# Boards, what is due, what is next, statistics


@pytest.mark.parametrize(
    ("status", "filters", "index"),
    [
        ("todo", Filters(), "tasks_next_idx"),
        ("todo", Filters(projects=["P7"]), "tasks_project_id_next_idx"),
        ("in_progress", Filters(), "tasks_working_idx"),
        ("in_progress", Filters(projects=["P7"]), "tasks_project_id_status_id_idx"),
        ("completed", Filters(), "tasks_completed_at_idx"),
        ("completed", Filters(projects=["P7"]), "tasks_project_id_status_id_idx"),
        ("canceled", Filters(), "tasks_status_id_idx"),
    ],
)
def test_a_column_of_the_board_is_found_by_an_index(
    crowded: Database, status: Status, filters: Filters, index: str
) -> None:
    asked = listing.asked("ana", filters)
    query = board.PICK.format(
        members=sql.SQL(board.MEMBERS[status]),
        conditions=sql.SQL(" AND ").join(asked.conditions),
        order=sql.SQL(board.ORDERS[status]),
    )
    found = scans(crowded, query, asked.params | {"limit": 10}, asked)
    assert index in {scan.by for scan in found}


def test_what_is_due_is_found_among_what_is_open(crowded: Database) -> None:
    query = due.DUE.format(conditions=sql.SQL(" AND ").join(ALL.conditions))
    found = scans(crowded, query, ALL.params | {"within": timedelta(days=1), "limit": 100})
    (soon,) = (scan for scan in found if scan.by is not None)
    assert soon.by == "tasks_open_due_idx"
    assert "THEN 'infinity'" in soon.condition


def test_what_is_next_comes_in_the_order_of_the_index(crowded: Database) -> None:
    weights = urgency.Weights(*[Decimal(1)] * 5)
    query, given = urgency.compose(ALL, Filters(), weights)
    found = crowded.run(explain, query, given | {"me": 1, "now": START, "limit": 5})
    ranges = [node for node in nodes(found) if node.get("Index Name") == "tasks_next_idx"]
    assert len(ranges) == 2, "those with a due date, and those without"
    for scan in ranges:
        assert "priority = " in scan["Index Cond"]
        assert "THEN 'infinity'" in scan["Index Cond"]
        within = [node for node in nodes(found) if scan in nodes(node)]
        limit = max(number for number, node in enumerate(within) if node["Node Type"] == "Limit")
        assert not [node for node in within[limit:] if "Sort" in node["Node Type"]]


@pytest.mark.parametrize("by", stats.GROUPINGS)
def test_statistics_read_the_tasks_once_and_not_for_each_day(crowded: Database, by: By) -> None:
    within = sql.SQL(" AND ").join(ALL.conditions)
    bounds = [START + timedelta(days=n) for n in range(366)]
    given = ALL.params | {
        "bounds": bounds,
        "starts": bounds[:-1],
        "begin": bounds[0],
        "end": bounds[-1],
    }
    parts = {name: sql.SQL(part) for name, part in stats.GROUPINGS[by]._asdict().items()}
    for query, times in (
        (stats.DAYS.format(lately=stats.LATELY, conditions=within), 1),
        (stats.DURATIONS.format(conditions=within), 1),
        (stats.GROUPS.format(lately=stats.LATELY, conditions=within, **parts), 1),
    ):
        found = list(nodes(crowded.run(explain, query, given)))
        read = [node for node in found if node.get("Relation Name") == "tasks"]
        # Policies look single ones up.
        assert len([node for node in read if node["Parent Relationship"] != "SubPlan"]) == times
        again = [
            node
            for loop in found
            if loop["Node Type"] == "Nested Loop"
            for node in nodes(loop["Plans"][1])
            if node.get("Relation Name") == "tasks" and node["Parent Relationship"] != "SubPlan"
        ]
        assert again == []


# History


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("task", "history_task_id_id_idx"),
        ("actor", "history_actor_id_idx"),
        ("xid", "history_xid_idx"),
        ("after", "history_pkey"),
    ],
)
def test_history_is_found_by_an_index(crowded: Database, name: str, index: str) -> None:
    given = {"task": 10000, "actor": "user1", "xid": "3", "after": 10000, "limit": 101, "skip": 0}
    query = history.PAGE.format(conditions=sql.SQL(history.CONDITIONS[name]))
    found = [scan for scan in scans(crowded, query, given) if scan.table == "history"]
    assert found_by(found) == {index}


def test_the_newest_history_is_read_from_the_end(crowded: Database) -> None:
    query = history.PAGE.format(conditions=sql.SQL("true"))
    (scan,) = (
        scan for scan in scans(crowded, query, {"limit": 101, "skip": 0}) if scan.table == "history"
    )
    assert scan.by == "history_pkey"


@pytest.mark.parametrize("running", [0, 3, 30])
@pytest.mark.parametrize("until", [None, "3:9:"])
def test_a_poll_reads_what_is_new_however_long_history_is(
    crowded: Database, running: int, until: str | None
) -> None:
    ((newest,),) = crowded.connection().execute(NEWEST).fetchall()
    given = {
        "end": str(newest + 1),
        "running": [str(newest - 2 * number) for number in range(1, running + 1)],
        "until": until,
        "after": 0,
        "limit": watch.PAGE,
    }
    found = scans(crowded, watch.CHANGES.format(conditions=sql.SQL("true")), given)
    # Policies look up tasks and tags besides.
    told = [scan for scan in found if scan.table == "history" or "history" in (scan.by or "")]
    assert {scan.by for scan in told} <= {
        "history_xid_idx",
        None,  # a heap scan by a bitmap, which an index made
    }
    conditions = [scan.condition for scan in found if scan.by]
    assert len([text for text in conditions if "xid >= " in text]) == 1
    assert len([text for text in conditions if "xid = ANY" in text]) <= 1


NEWEST: LiteralString = "SELECT max(xid::text::bigint) FROM history"


# Lookups


LOOKUPS: dict[LiteralString, str] = {
    task_rows.SHOW: "tasks_pkey",
    task_rows.LOCK: "tasks_pkey",
    task_rows.LOCK_NOWAIT: "tasks_pkey",
    task_rows.SEEN: "tasks_pkey",
    tasks.PRESENT: "tasks_pkey",
    tasks.LOCK_TRASH: "tasks_trash_idx",
    tasks.CHANGES_SINCE: "history_task_id_id_idx",
    tasks.SET_STATUS: "tasks_pkey",
    tasks.MOVE: "tasks_pkey",
    tasks.TRASH: "tasks_pkey",
    tasks.PURGE: "tasks_pkey",
    watch.UNKNOWN: "history_task_id_id_idx",
    agents.ENDING: "history_task_id_id_idx",
    assignments.DELETE_ALL: "assignments_pkey",
    tags.NAMES: "tags_name_key",
    tags.DETACH_ALL: "task_tags_pkey",
    tags.DETACH_TAG: "task_tags_tag_id_task_id_idx",
    tags.LOCK_TASKS: "task_tags_tag_id_task_id_idx",
    tags.SHOW: "task_tags_tag_id_task_id_idx",
    comments.OF_TASKS: "comments_task_id_id_idx",
    links.DELETE_ALL: "links_pkey",
    links.DETACH: "links_blocker_id_blocked_id_idx",
    links.ORDER: "links_blocker_id_blocked_id_idx",
    links.TREE: "tasks_parent_id_idx",
    claims.HOLDER: "claims_pkey",
    claims.RENEW: "claims_pkey",
    users.IDS: "users_username_key",
    users.LOCK: "users_username_key",
    users.UNASSIGN: "assignments_user_id_task_id_idx",
    past.NEWEST: "history_actor_id_idx",
    past.CHANGE: "history_pkey",
    past.TRANSACTION: "history_xid_idx",
    names.RENAMES: "history_entity_entity_id_id_idx",
    conflicts.ATTACHED: "comments_task_id_id_idx",
    conflicts.SINCE: "history_task_id_id_idx",
    undone.LOCK: "tasks_pkey",
    undone.READ: "tasks_pkey",
    undone.WRITE: "tasks_pkey",
    undone.OWN: "history_xid_idx",
    undone.MARK: "history_xid_idx",
    lists.DETACH["tags"]: "task_tags_pkey",
    lists.DETACH["assignees"]: "assignments_user_id_task_id_idx",
    lists.DETACH["blocked_by"]: "links_blocker_id_blocked_id_idx",
    things.USED_USERS: "tasks_owner_id_idx",
    things.USED_TAGS: "task_tags_tag_id_task_id_idx",
}
"""Statement → an index that it looks something up in."""


@pytest.mark.parametrize("query", LOOKUPS, ids=lambda query: query.split()[1])
def test_a_lookup_uses_an_index(crowded: Database, query: LiteralString) -> None:
    given = {
        "id": 10,
        "ids": [10, 20],
        "tasks": [10, 20],
        "users": [11, 21],
        "tags": [11, 21],
        "name": "tag10",
        "names": ["tag10", "user10"],
        "status": "todo",
        "project": "P7",
        "task": 10,
        "blocked": [10, 20],
        "change": 10,
        "comments": [1],
        "entity": "task",
        "found": [95_000, 100_000],
        "gap": timedelta(minutes=5),
        "operation": "task edit",
        "others": [11, 21],
        "rows": Jsonb([{"id": 10, "fields": {"title": "x"}}]),
        "since": 100_000,
        "undone": [100_000],
        "lease": timedelta(minutes=15),
        "epoch": "1",
        "actor": "ana",
        "version": 1,
        "sent": datetime(2026, 1, 1, tzinfo=UTC),
        "xid": "3",
    }
    assert LOOKUPS[query] in found_by(scans(crowded, query, given))


@pytest.mark.parametrize("query", [assignments.DELETE, tags.DETACH], ids=["assignments", "tags"])
def test_a_row_of_a_list_is_found_by_one_of_its_indexes(
    crowded: Database, query: LiteralString
) -> None:
    given = {"tasks": [10, 20], "names": ["user 11", "tag 11"]}
    lists = ("assignments", "task_tags")
    # A policy asks besides whether any task that is seen carries the tag.
    found = [scan.condition for scan in scans(crowded, query, given) if scan.table in lists]
    assert "task_id" in found[0] or "task_id" in found[-1]


@pytest.mark.parametrize("prefix", ["%", "1%", "99999%"])
def test_completion_reads_the_tasks_that_were_touched_last(crowded: Database, prefix: str) -> None:
    found = scans(crowded, completion.TASKS, {"prefix": prefix})
    assert [scan.by for scan in found if scan.table == "tasks"] == ["tasks_updated_at_id_idx"]


# Claims


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(), "tasks_next_idx"),
        (Filters(projects=["P7"]), "tasks_project_id_next_idx"),
        (Filters(priorities=["none"]), "tasks_next_idx"),
    ],
    ids=["any", "project", "priority"],
)
def test_a_claim_reads_what_is_to_do_in_order_until_one_is_ready(
    crowded: Database, filters: Filters, index: str
) -> None:
    said = statements_of_a_claim(crowded, filters)
    before = claims.IN_ORDER if "in_order" in said else None
    statement, given = said["pick_ready"]
    asked = listing.asked("ana", filters)
    found = _scans(crowded.run(explain, sql.SQL(statement), given, before, asked))
    assert index in {scan.by for scan in found}
    assert "claims_expires_at_idx" in found_by(found)
    assigned = [scan for scan in found if scan.table == "assignments"]
    assert assigned
    assert all("task_id" in scan.condition for scan in assigned), "not all there are"


def test_what_is_taken_is_found_by_its_id(crowded: Database) -> None:
    statement, given = statements_of_a_claim(crowded, Filters())["take_picked"]
    assert "tasks_pkey" in found_by(scans(crowded, sql.SQL(statement), given))


def statements_of_a_claim(
    database: Database, filters: Filters
) -> dict[str, tuple[LiteralString, Any]]:
    """Return the statements of a claim, which is rolled back, with their parameters, by name."""
    said: dict[str, tuple[LiteralString, Any]] = {}

    class Listening(Transaction):
        """Notes what is said."""

        def _exchange(self, queue: Any) -> None:
            for asked in queue:
                query = asked.query
                text: Any = query if isinstance(query, str) else query.as_string()
                said[text.split()[1].rstrip(":")] = text, asked.params
            super()._exchange(queue)

    @transaction(isolation=Isolation.READ_COMMITTED)
    def claim(tx: Transaction) -> None:
        tx.__class__ = Listening
        claims.claim(tx, filters, lease=timedelta(minutes=15))
        raise Refused("only to see what it says")

    with suppress(Refused):
        database.run(claim)
    return said


# Foreign keys


FOREIGN_KEYS: LiteralString = """
SELECT conname, EXISTS (
    SELECT 1 FROM pg_index
    WHERE indrelid = conrelid AND indkey[0] = conkey[1] AND indisvalid AND indpred IS NULL)
FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""


def test_every_foreign_key_has_an_index(crowded: Database) -> None:
    keys = dict(crowded.connection().execute(FOREIGN_KEYS).fetchall())
    assert {"tasks_owner_id_fkey", "task_tags_tag_id_fkey"} < set(keys)
    assert [name for name, indexed in keys.items() if not indexed] == []


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("tasks", "project_id"),
        ("tasks", "owner_id"),
        ("tasks", "parent_id"),
        ("task_tags", "task_id"),
        ("task_tags", "tag_id"),
        ("assignments", "task_id"),
        ("assignments", "user_id"),
        ("links", "blocked_id"),
        ("links", "blocker_id"),
        ("claims", "task_id"),
        ("claims", "user_id"),
        ("comments", "task_id"),
        ("comments", "author_id"),
        ("import_bases", "task_id"),
        ("import_bases", "project_id"),
    ],
)
def test_what_refers_to_a_row_is_found_by_an_index(
    crowded: Database, table: LiteralString, column: LiteralString
) -> None:
    # What the server asks before it lets the row go.
    query = sql.SQL("SELECT 1 FROM ONLY {} x WHERE {} = 10 FOR KEY SHARE OF x").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    assert found_by(_scans(crowded.run(explain, query, {}, "SET LOCAL ROLE NONE")))
