"""Tasks of every kind for queries to find, and queries of every kind to find them by."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from hypothesis import strategies as st

from concord.query import Comparison, Not, Span, Text, all_of, any_of
from concord.query.fields import FIELDS
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from concord.query import Query

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
"""The moment around which everything happens."""

COUNT = 60

USERS = ("ana", "bo", "Cy")
KEYS = ("API", "WEB")
TAGS = ("bug", "UI", "none", "area:api")
WORDS = ("deploy", "deployment", "Fix", "the", "pre-release", "notes", "100%", "a_b", "o'clock")
REFERENCES = ("T-1", "T-2", "a b")

TABLES = f"""
INSERT INTO users (username) VALUES ('bo'), ('Cy');
INSERT INTO projects (key, name, owner_id) VALUES ('API', 'API', 1), ('WEB', 'WEB', 1);
INSERT INTO tags (name) SELECT unnest('{{{",".join(TAGS)}}}'::text[]);
"""

TASK = """
INSERT INTO tasks (title, description, project_id, owner_id, status, priority, due, parent_id,
                   external_ref, recurrence, recurrence_zone, created_at, updated_at, deleted_at)
VALUES (%(title)s, %(description)s, %(project)s, %(owner)s, %(status)s, %(priority)s, %(due)s,
        %(parent)s, %(ref)s, %(recurrence)s, %(zone)s, %(created)s, %(created)s, %(deleted)s)
"""

CLAIM = """
INSERT INTO claims (task_id, user_id, claimed_at, expires_at)
VALUES (%s, %s, now() - interval '2 days', now() + %s)
"""


def fill(url: str) -> None:
    """Make the tasks in a database that has none: always the same."""
    chance = random.Random(12)
    with psycopg.connect(url) as connection:
        connection.execute(TABLES)
        for number in range(1, COUNT + 1):
            status = chance.choice(STATUSES)
            again = chance.random() < 0.2
            connection.execute(TASK, {
                "title": " ".join(chance.choices(WORDS, k=3)),
                "description": chance.choice([None, "Release notes", "Deploying\nthe fix"]),
                "project": chance.choice([None, 1, 2]),
                "owner": chance.randint(1, 3),
                "status": status,
                "priority": chance.choice(PRIORITIES),
                "due": chance.choice([None, moment(chance)]),
                "parent": chance.choice([None, None, chance.randint(1, number - 1)])
                if number > 1 else None,
                "ref": chance.choice([None, f"{chance.choice(REFERENCES)}"])
                if number <= len(REFERENCES) else None,
                "recurrence": "every 2w" if again else None,
                "zone": "UTC" if again else None,
                "created": moment(chance),
                "deleted": NOON if chance.random() < 0.1 else None,
            })  # fmt: skip
            pair = {"task": number, "other": chance.randint(1, max(1, number - 1))}
            for _ in range(chance.randint(0, 2)):
                _relate(connection, chance, pair)
            if status == "in_progress":
                lease = timedelta(days=chance.choice([-1, 1]))
                connection.execute(CLAIM, (number, chance.randint(1, 3), lease))


def _relate(connection: psycopg.Connection, chance: random.Random, pair: dict[str, int]) -> None:
    given = pair | {"tag": chance.randint(1, len(TAGS)), "user": chance.randint(1, 3)}
    connection.execute(
        "INSERT INTO task_tags VALUES (%(task)s, %(tag)s) ON CONFLICT DO NOTHING", given
    )
    connection.execute(
        "INSERT INTO assignments (task_id, user_id, assigned_by) VALUES (%(task)s, %(user)s, 1)"
        " ON CONFLICT DO NOTHING", given
    )  # fmt: skip
    if chance.random() < 0.3 and pair["task"] != pair["other"]:
        connection.execute(
            "INSERT INTO links (blocked_id, blocker_id) VALUES (%(task)s, %(other)s)"
            " ON CONFLICT DO NOTHING", given
        )  # fmt: skip


def moment(chance: random.Random) -> datetime:
    """Return some moment within days of `NOON`, often a day's end."""
    day = NOON + timedelta(days=chance.randint(-4, 4))
    return chance.choice([day, day.replace(hour=23, minute=59, second=59), day.replace(hour=0)])


# Queries

moments = st.builds(
    timedelta,
    days=st.integers(-5, 5),
    hours=st.sampled_from([-12, 0, 12]),
    microseconds=st.sampled_from([-1, 0, 1]),
).map(lambda ahead: NOON + ahead)
spans = st.tuples(moments, moments).map(lambda pair: Span(min(pair), max(pair)))
ids = st.integers(1, COUNT + 2)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": ids,
    "project": st.sampled_from([*KEYS, "NOPE", None]),
    "status": st.sampled_from(STATUSES),
    "priority": st.sampled_from(PRIORITIES),
    "tag": st.sampled_from([*TAGS, "BUG", "nope", None]),
    "assignee": st.sampled_from([*USERS, "me", "CY", "nope", None]),
    "owner": st.sampled_from([*USERS, "me", "nope"]),
    "title": st.sampled_from([*WORDS, "EPLO", "%", "_", "\\", " ", "nope"]),
    "parent": ids | st.none(),
    "blocked": st.booleans(),
    "ready": st.booleans(),
    "claimed": st.booleans() | st.sampled_from([*USERS, "me", "nope"]),
    "recurring": st.booleans(),
    "external_ref": st.sampled_from([*REFERENCES, "t-1", None]),
    **{name: spans | st.none() for name in ("due", "started", "completed")},
    **dict.fromkeys(("created", "updated"), spans),
}
"""Field → values that some tasks have, and some that none has."""

WANTED = (
    "deploy",
    "notes",
    "the",
    "pre-release",
    "re",
    "o'clock",
    "fix notes",
    "the fix",
    "'",
    "\\",
)


def comparisons(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Query]:
    """Return comparisons of all fields with their values."""
    equal = [
        st.builds(Comparison, st.just(name), st.just(":"), some_of(strategy))
        for name, strategy in values.items()
    ]
    ordered = [
        st.builds(
            Comparison,
            st.just(name),
            st.sampled_from(["<", "<=", ">", ">="]),
            st.tuples(st.sampled_from(PRIORITIES) if name == "priority" else moments),
        )
        for name in values
        if "<" in FIELDS[name].operators
    ]
    return st.one_of(*equal, *ordered)


def some_of(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, min_size=1, max_size=3).map(tuple)


def terms(words: st.SearchStrategy[str]) -> st.SearchStrategy[Query]:
    """Return texts of words."""
    return st.one_of(
        st.builds(Text, words),
        st.builds(Text, words, exact=st.just(True)),
        st.builds(Text, words, prefix=st.just(True)),
    )


def queries(leaves: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    """Return queries that combine some."""
    several = st.lists
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            several(inner, min_size=1, max_size=3).map(lambda parts: all_of(parts) or parts[0]),
            several(inner, min_size=1, max_size=3).map(lambda parts: any_of(parts) or parts[0]),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )


findable = queries(comparisons(VALUES) | terms(st.sampled_from(WANTED)))
"""Queries about the tasks."""
