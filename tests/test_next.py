"""What to do next: who may do what, how urgent it is, and that nothing more urgent is missed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from commands import Here, on_terminal, plain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workers import psql

from concord.errors import NotFound
from concord.sql import urgency
from concord.sql.listing import Filters
from concord.vocabulary import PRIORITIES

if TYPE_CHECKING:
    from conftest import CommandLine

    from concord.database import Database
    from concord.models import Suggestion

pytestmark = pytest.mark.crew

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WEIGHTS = urgency.Weights(*map(Decimal, (6, 12, 2, 8, 4)))
ANA, BO = 1, 2
OPEN, ARCHIVED, FULL = 1, 2, 3

# Made as they are, past the triggers: they would keep the limit, and end claims.
SETUP = """
SET session_replication_role = replica;
INSERT INTO users (id, username) VALUES (2, 'bo');
INSERT INTO projects (id, key, name, owner_id, archived_at, wip_limit)
VALUES (1, 'OPEN', 'x', 1, NULL, 9999), (2, 'OLD', 'x', 1, now(), NULL),
       (3, 'FULL', 'x', 1, NULL, 1);
"""


@dataclass(frozen=True)
class Made:
    """A task as the test makes it. Days are from `NOW` on; `claim` is (user, whether it lives)."""

    status: str
    priority: str
    due: float | None
    age: float
    owner: int
    assignees: frozenset[int]
    claim: tuple[int, bool] | None
    project: int | None
    trashed: bool
    blockers: frozenset[int]
    parent: int | None

    @property
    def open(self) -> bool:
        return self.status in ("todo", "in_progress") and not self.trashed


def fill(connection: psycopg.Connection, population: list[Made]) -> None:
    """Make tasks, whose ids are their places in the list, from 1 on."""
    connection.execute("SET session_replication_role = replica")
    connection.execute(
        "DELETE FROM tasks; DELETE FROM assignments; DELETE FROM claims; DELETE FROM links"
    )
    for number, made in enumerate(population, start=1):
        connection.execute(
            """INSERT INTO tasks (id, title, status, priority, due, created_at, owner_id,
                                  project_id, deleted_at, parent_id, completed_at)
               VALUES (%s, 'x', %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            (
                *(number, made.status, made.priority),
                None if made.due is None else NOW + timedelta(days=made.due),
                *(NOW - timedelta(days=made.age), made.owner, made.project),
                *(NOW if made.trashed else None, made.parent),
                NOW if made.status == "completed" else None,
            ),
        )
        for user in made.assignees:
            connection.execute("INSERT INTO assignments VALUES (%s, %s)", (number, user))
        for blocker in made.blockers:
            connection.execute("INSERT INTO links VALUES (%s, %s)", (number, blocker))
        if made.claim is not None:
            user, lives = made.claim
            connection.execute(
                """INSERT INTO claims (task_id, user_id, claimed_at, expires_at, assigned)
                   VALUES (%s, %s, now(), now() + %s, %s)""",
                (number, user, timedelta(hours=1 if lives else -1), user in made.assignees),
            )
    connection.commit()


PLAIN = Made("todo", "none", None, 0, ANA, frozenset(), None, None, False, frozenset(), None)


@st.composite
def entangled(draw: st.DrawFn, number: int) -> Made:
    """Return a task with people, projects and other tasks around it."""
    # Only tasks that came before it, so that nothing goes in circles.
    earlier = st.integers(0, number - 1)
    status = draw(st.sampled_from(["todo", "todo", "todo", "in_progress", "completed"]))
    claims = st.none() | st.tuples(st.sampled_from([ANA, BO]), st.booleans())
    return replace(
        PLAIN,
        status=status,
        owner=draw(st.sampled_from([ANA, BO])),
        assignees=draw(st.just(frozenset[int]()) | st.frozensets(st.sampled_from([ANA, BO]))),
        claim=draw(claims) if status == "in_progress" else None,
        project=draw(st.sampled_from([None, None, OPEN, ARCHIVED, FULL])),
        trashed=draw(st.integers(0, 9)) == 0,
        blockers=draw(st.frozensets(earlier, max_size=2)) - {0},
        parent=(draw(earlier) or None) if draw(st.integers(0, 4)) == 0 else None,
    )


@st.composite
def populations(draw: st.DrawFn) -> list[Made]:
    population: list[Made] = []
    # Of few kinds, so that there are more of a kind than are asked for.
    levels = draw(st.lists(st.sampled_from(PRIORITIES), min_size=1, max_size=2))
    dues = st.none() | st.floats(-20, 30).map(lambda days: round(days, 1))
    free = PLAIN if draw(st.booleans()) else None
    for number in range(1, draw(st.integers(1, 25)) + 1):
        made = free or draw(entangled(number))
        population.append(
            replace(
                made,
                priority=draw(st.sampled_from(levels)),
                due=draw(dues),
                age=draw(st.integers(-3, 800)),
            )
        )
    # Somebody is at work in the project that has room for one.
    return [*population, Made("in_progress", "none", None, 0, BO, frozenset(), (BO, True), FULL,
                              False, frozenset(), None)]  # fmt: skip


def expected(population: list[Made]) -> dict[int, dict[str, float]]:
    """Return what is Ana's to do, with the terms of its urgency, by the rules as they are told."""
    tasks = dict(enumerate(population, start=1))

    def blocked(number: int | None) -> bool:
        if number is None:
            return False
        waits = any(tasks[blocker].open for blocker in tasks[number].blockers)
        return waits or blocked(tasks[number].parent)

    def by_ana(made: Made) -> bool:
        if made.claim is not None:
            return made.claim[0] == ANA
        return ANA in made.assignees if made.assignees else made.owner == ANA

    def hers(made: Made) -> bool:
        expired = {made.claim[0]} if made.claim is not None else set[int]()
        return ANA in made.assignees or not made.assignees - expired

    def possible(made: Made) -> bool:
        if made.status == "todo":
            return hers(made) and made.project not in (ARCHIVED, FULL)
        if by_ana(made):
            return True
        lapsed = made.claim is not None and not made.claim[1]
        return lapsed and hers(made) and made.project != ARCHIVED

    found: dict[int, dict[str, float]] = {}
    for number, made in tasks.items():
        parts = [task for task in tasks.values() if task.parent == number and task.open]
        if not made.open or parts or blocked(number) or not possible(made):
            continue
        others = sum(1 for task in tasks.values() if number in task.blockers and task.open)
        found[number] = {
            "priority": 6 * PRIORITIES.index(made.priority) / 4,
            "due": 0
            if made.due is None
            else 12 * min(1, max(0.2, 0.2 + (14 - made.due) * 0.8 / 21)),
            "age": 0 if made.due is not None else 2 * min(1, max(0, made.age / 365)),
            "blocking": 8 * others / (others + 1),
            "in_progress": 4.0 * (made.status == "in_progress" and by_ana(made)),
        }
    return found


def suggested(
    database: Database,
    limit: int | None = None,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    weights: urgency.Weights = WEIGHTS,
) -> tuple[Suggestion, ...]:
    return database.run(urgency.suggest, filters, weights=weights, now=NOW, limit=limit)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(population=populations(), limit=st.integers(1, 4))
def test_urgency_is_what_is_told_of_it_and_the_first_are_the_most_urgent(
    filled: tuple[psycopg.Connection, Database], population: list[Made], limit: int
) -> None:
    connection, database = filled
    fill(connection, population)
    everything = suggested(database)
    terms = expected(population)
    assert {one.task.id for one in everything} == set(terms)
    for one in everything:
        assert one.terms == pytest.approx(terms[one.task.id], abs=0.0051)
        assert one.urgency == pytest.approx(sum(one.terms.values()), abs=1e-9)
    keys = [
        (-one.urgency, -PRIORITIES.index(one.task.priority),
         one.task.due or datetime.max.replace(tzinfo=UTC), one.task.created_at, one.task.id)
        for one in everything
    ]  # fmt: skip
    assert keys == sorted(keys)
    assert suggested(database, limit) == everything[:limit], "none of the first is missed"


@pytest.fixture
def filled(url: str, database: Database) -> Any:
    psql(url, SETUP)
    with psycopg.connect(url) as connection:
        yield connection, database


def test_the_weights_decide(filled: tuple[psycopg.Connection, Database]) -> None:
    connection, database = filled
    fill(
        connection,
        [
            replace(PLAIN, priority="urgent"),
            replace(PLAIN, due=1.0),
            replace(PLAIN, age=400),
            PLAIN,
            replace(PLAIN, blockers=frozenset({4})),
            replace(PLAIN, status="in_progress"),
        ],
    )
    names = ("priority", "due", "age", "blocking", "in_progress")
    for name, first in zip(names, (1, 2, 3, 4, 6), strict=True):
        weights = urgency.Weights(**{one: Decimal(one == name) for one in names})
        assert suggested(database, 1, weights=weights)[0].task.id == first, name
    nothing = urgency.Weights(*[Decimal(0)] * 5)
    assert [one.urgency for one in suggested(database, weights=nothing)] == [0.0] * 5


def test_why(filled: tuple[psycopg.Connection, Database]) -> None:
    connection, database = filled
    fill(
        connection,
        [
            replace(PLAIN, due=1.0, priority="high"),
            replace(PLAIN, due=-1.0, status="in_progress"),
            replace(PLAIN, age=100),
            replace(PLAIN, status="in_progress", claim=(BO, False), priority="low"),
            *[replace(PLAIN, blockers=frozenset({1}))] * 3,
            replace(PLAIN, blockers=frozenset({3})),
            replace(PLAIN, owner=BO),
            # Nobody can claim it there.
            replace(PLAIN, status="in_progress", claim=(BO, False), project=ARCHIVED),
        ],
    )
    assert {one.task.id: one.why for one in suggested(database)} == {
        1: "due tomorrow 12:00, high, blocks 3 others",
        2: "in progress, overdue since yesterday 12:00",
        3: "blocks 1 other, 100 days old",
        4: "the lease of bo ran out, low",
        9: "ready",
    }


def test_filters_and_names(filled: tuple[psycopg.Connection, Database]) -> None:
    connection, database = filled
    fill(
        connection, [PLAIN, replace(PLAIN, project=OPEN), replace(PLAIN, assignees=frozenset({BO}))]
    )
    assert [one.task.id for one in suggested(database)] == [1, 2]
    assert [one.task.id for one in suggested(database, filters=Filters(projects=["OPEN"]))] == [2]
    bo = Filters(assignees=["bo"])
    assert [one.task.id for one in suggested(database, filters=bo)] == [3]
    with pytest.raises(NotFound, match="NOPE"):
        suggested(database, filters=Filters(projects=["NOPE"]))


# The command


def test_nothing_to_do_is_exit_8(here: Here) -> None:
    here.ok("user", "add", "bo")
    here.ok("task", "add", "x", "--assign", "bo")
    told = here.refused("next", code=8)
    assert told == (
        "error: nothing to do\nhint: See what stands against it: concord task claim --explain\n"
    )


def test_json_has_the_task_its_urgency_the_terms_and_why(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.ok("task", "add", "x", "--priority", "high")
    (one,) = here.ok("next")
    assert list(one) == ["task", "urgency", "terms", "why"]
    assert one["task"] == here.ok("task", "list")[0]
    assert (one["urgency"], one["why"]) == (4.5, "high")
    assert one["terms"] == {
        "priority": 4.5, "due": 0.0, "age": 0.0, "blocking": 0.0, "in_progress": 0.0,
    }  # fmt: skip
    monkeypatch.setenv("CONCORD_URGENCY_PRIORITY", "2.5")
    assert here("next").out.startswith("1\t1.88\tx\thigh\t{")
    for bad in ("-1", "much", "1e3", "inf"):
        monkeypatch.setenv("CONCORD_URGENCY_PRIORITY", bad)
        assert "is not a number from 0 to 9999" in here.refused("next", code=2)


def test_who_asks_for_no_number_is_told_that_there_is_more(here: Here) -> None:
    for _ in range(6):
        here.ok("task", "add", "x")
    told = here("next", "--quiet")
    assert told.out == "1\n2\n3\n4\n5\n"
    assert told.err == "the list is cut at 5; all: --limit 0\n"
    assert here("next", "--quiet", "--limit", "1") == replace(told, out="1\n", err="")
    assert here("next", "--quiet", "--limit", "0").out == "1\n2\n3\n4\n5\n6\n"


def test_a_terminal_gets_a_line_a_task_and_the_terms_on_request(concord: CommandLine) -> None:
    concord.ok("task", "add", "Write the report", "--priority", "high")
    concord.ok("task", "add", "Read it", "--blocked-by", "1")
    shown = plain(on_terminal(concord, "next", columns=60).out)
    assert shown == "1 Write the report — high, blocks 1 other"
    explained = plain(on_terminal(concord, "next", "--explain", columns=60).out)
    assert explained.splitlines() == [
        "1 Write the report — high, blocks 1 other",
        "     4.50 priority    6 × 0.75",
        "     4.00 blocking    8 × 0.50",
        "     8.50 urgency",
    ]
