"""What a search looks in: it follows every change of title, description and comments, whoever
makes it and however many do so at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from steps import Observer, Session
from workers import Worker, Workers, psql

from concord.database import Isolation, Transaction, transaction
from concord.models import ImportedComment, ImportedTask
from concord.sql import comments, imports, projects, tasks, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concord.database import Database

STALE: LiteralString = """
SELECT coalesce(t.id, x.task_id) FROM tasks t FULL JOIN task_texts x ON x.task_id = t.id
WHERE text_document(t.title, t.description, task_comments(t.id)) IS DISTINCT FROM x.document
"""
"""Tasks whose document is not what it would be if it were made anew."""

FOUND: LiteralString = """
SELECT task_id FROM task_texts WHERE document @@ plainto_tsquery('pg_catalog.english', %s)
ORDER BY task_id
"""


def found(url: str, words: str) -> list[int]:
    """Return the tasks that have these words. Fails if any document is stale."""
    assert psql(url, STALE) == []
    return [task for (task,) in psql(url, FOUND, words)]


def test_words_are_found_where_they_were_written_last(url: str, database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("Deploy it", description="On the server"))
    assert found(url, "deployed") == found(url, "servers") == [made.id]
    database.run(tasks.edit, [made.id], {"title": "Roll it out"})
    assert (found(url, "deploy"), found(url, "rolls")) == ([], [made.id])
    database.run(tasks.edit, [made.id], {"description": None})
    assert found(url, "server") == []
    database.run(tasks.edit, [made.id], {}, append_description="Another machine")
    assert found(url, "machine") == [made.id]
    database.run(comments.add, [made.id], "Which of them?")
    database.run(comments.add, [made.id], "The green one")
    assert found(url, "green machine out") == [made.id], "each word somewhere"


def test_an_undo_takes_words_back_and_brings_them_again(url: str, database: Database) -> None:
    (one, two) = (database.run(tasks.add, tasks.NewTask(word)).id for word in ("apple", "pear"))
    database.run(comments.add, [one, two], "Ripe fruit")
    database.run(tasks.edit, [one, two], {"title": "plum"})
    database.run(undo.run)
    assert (found(url, "plum"), found(url, "apple"), found(url, "pear")) == ([], [one], [two])
    database.run(undo.run)
    assert (found(url, "plum"), found(url, "apple")) == ([one, two], [])
    database.run(undo.run, last=4)
    assert (found(url, "ripe"), found(url, "fruit apple")) == ([], [])


def test_the_trash_is_searched_until_it_is_purged(url: str, database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("Deploy it"))
    database.run(comments.add, [made.id], "Soon")
    database.run(tasks.delete, [made.id])
    assert found(url, "deploy") == [made.id]
    database.run(tasks.purge, [made.id])
    assert found(url, "deploy") == []
    assert psql(url, "SELECT count(*) FROM task_texts") == [(0,)]


def test_an_import_brings_its_words_along(url: str, database: Database) -> None:
    database.run(projects.add, "API")
    rows = [
        ImportedTask(
            ref=f"bd-{number}",
            title=f"Deploy {number}",
            line=number,
            description="On the server",
            comments=(ImportedComment("A remark", ref="1"),),
        )
        for number in (1, 2, 3)
    ]
    options: dict[str, Any] = {"format_name": "beads", "project": "API"}
    database.run(imports.run, rows, **options)
    assert len(found(url, "deploy server remark")) == 3
    changed = [
        ImportedTask(
            ref="bd-2",
            title="Roll out 2",
            line=1,
            comments=(ImportedComment("Another", ref="2"),),
        )
    ]
    database.run(imports.run, changed, **options)
    assert len(found(url, "deploy server")) == 2
    assert len(found(url, "roll another")) == 1


PSQL: tuple[tuple[LiteralString, str, list[int]], ...] = (
    ("INSERT INTO tasks (title, owner_id) VALUES ('apple', 1), ('pear', 1)", "pear", [2]),
    ("UPDATE tasks SET title = title || ' tree'", "tree", [1, 2]),
    ("UPDATE tasks SET description = 'bark' WHERE id = 2", "bark", [2]),
    (
        """INSERT INTO comments (task_id, author_id, body)
           SELECT id, 1, w FROM tasks, unnest('{leaf,twig}'::text[]) w""",
        "leaf twig",
        [1, 2],
    ),
    ("UPDATE comments SET body = 'root' WHERE task_id = 1", "root", [1]),
    ("DELETE FROM comments WHERE body = 'leaf'", "leaf", []),
    ("DELETE FROM tasks WHERE id = 1", "tree", [2]),
    (
        """WITH made AS (INSERT INTO tasks (title, owner_id) VALUES ('plum', 1) RETURNING id)
           INSERT INTO comments (task_id, author_id, body) SELECT id, 1, 'stone' FROM made""",
        "plum stone",
        [3],
    ),
    (
        """MERGE INTO tasks USING (VALUES (2), (9)) AS v (id) ON v.id = tasks.id
           WHEN MATCHED THEN UPDATE SET title = 'cherry'
           WHEN NOT MATCHED THEN INSERT (title, owner_id) VALUES ('cherry', 1)""",
        "cherry",
        [2, 4],
    ),
)


def test_whatever_is_written_in_psql_is_found(url: str) -> None:
    for statement, words, expected in PSQL:
        psql(url, statement)
        assert found(url, words) == expected, statement


def test_a_change_that_says_nothing_new_leaves_the_document_alone(url: str) -> None:
    psql(url, "INSERT INTO tasks (title, owner_id) VALUES ('apple', 1)")
    before = psql(url, "SELECT ctid, xmin FROM task_texts")
    psql(url, "UPDATE tasks SET status = 'in_progress', title = 'apple', due = now()")
    assert psql(url, "SELECT ctid, xmin FROM task_texts") == before


# At the same time


@pytest.fixture
def task(url: str) -> int:
    ((made,),) = psql(url, "INSERT INTO tasks (title, owner_id) VALUES ('x', 1) RETURNING id")
    return made


def test_of_those_who_write_at_once_every_word_is_kept(
    url: str, workers: Workers, ana: Worker, bo: Worker, task: int
) -> None:
    gate, cy = workers.gate(), workers.patient("cy")
    writing = [
        ana.run(gate.before_commit(comments.add), [task], "apple"),
        bo.run(comments.add, [task], "pear"),
        cy.run(tasks.edit, [task], {"title": "plum"}),
    ]
    assert bo.waits_for(ana)
    assert not any(each.done() for each in writing)
    gate.open()
    for each in writing:
        each.result()
    assert found(url, "apple pear plum") == [task]
    assert {outcome for worker in (ana, bo, cy) for outcome in worker.outcomes} == {("done", None)}


WRITES: dict[str, LiteralString] = {
    "a comment": "INSERT INTO comments (task_id, author_id, body) VALUES (%(task)s, 1, 'apple')",
    "a title": "UPDATE tasks SET title = 'pear' WHERE id = %(task)s",
    "a description": "UPDATE tasks SET description = 'plum' WHERE id = %(task)s",
    "a comment's end": "DELETE FROM comments WHERE task_id = %(task)s AND body = 'old'",
}


class Psql:
    """A transaction of somebody in psql."""

    def __init__(self, observer: Observer, url: str) -> None:
        self.connection = psycopg.connect(url)
        pid = self.connection.info.backend_pid
        self.session = Session(observer, pid, self.connection.close)

    def __call__(self, statement: LiteralString, **given: Any) -> Any:
        return self.session.send(self.connection.execute, statement, given)


@pytest.fixture
def psqls(url: str) -> Iterator[Callable[[], Psql]]:
    made: list[Psql] = []
    with Observer(url) as observer:

        def make() -> Psql:
            made.append(Psql(observer, url))
            return made[-1]

        yield make
        for each in made:
            each.session.close()


@pytest.mark.parametrize("first", WRITES)
@pytest.mark.parametrize("second", WRITES)
def test_whoever_comes_second_waits_and_sees_what_the_first_one_wrote(
    url: str, task: int, psqls: Callable[[], Psql], first: str, second: str
) -> None:
    psql(url, "INSERT INTO comments (task_id, author_id, body) VALUES (%s, 1, 'old')", task)
    one, other = psqls(), psqls()
    one(WRITES[first], task=task).result()
    waiting = other(WRITES[second], task=task)
    assert other.session.blocked_by(one.session)
    one.session.send(one.connection.commit).result()
    waiting.result()
    other.session.send(other.connection.commit).result()
    assert psql(url, STALE) == []


@transaction(isolation=Isolation.SERIALIZABLE)
def look_then_retitle(tx: Transaction, task: int, wait: Callable[[Transaction], None]) -> None:
    tx.scalars("SELECT title FROM tasks WHERE id = %(task)s", {"task": task})
    wait(tx)
    tx.changed("UPDATE tasks SET title = 'pear' WHERE id = %(task)s", {"task": task})


def test_with_an_older_snapshot_it_starts_again_and_loses_nothing(
    url: str, workers: Workers, ana: Worker, bo: Worker, task: int
) -> None:
    gate = workers.gate()
    retitling = ana.run(look_then_retitle, task, gate.wait)
    bo.run(comments.add, [task], "apple").result()
    gate.open()
    retitling.result()
    assert ana.outcomes == [("retry", "40001"), ("done", None)]
    assert found(url, "apple pear") == [task]


def test_an_import_beside_a_comment_loses_neither(
    url: str, workers: Workers, ana: Worker, bo: Worker
) -> None:
    def row(title: str, *said: str) -> list[ImportedTask]:
        told = tuple(ImportedComment(body, ref=body) for body in said)
        return [ImportedTask(ref="bd-1", title=title, line=1, comments=told)]

    options: dict[str, Any] = {"format_name": "beads", "project": "API"}
    ana.run(projects.add, "API").result()
    ana.run(imports.run, row("x"), **options).result()
    ((task,),) = psql(url, "SELECT id FROM tasks")
    gate = workers.gate()
    said = bo.run(gate.before_commit(comments.add), [task], "apple")
    importing = ana.run(imports.run, row("pear", "plum"), **options)
    assert ana.waits_for(bo)
    gate.open()
    said.result()
    assert importing.result().updated == 1
    assert ana.outcomes[2:] == [("retry", "40001"), ("done", None)]
    assert found(url, "apple pear plum") == [task]


# What does not fit


def test_texts_without_measure_are_found_by_their_beginnings(url: str, task: int) -> None:
    psql(
        url,
        "UPDATE tasks SET description = 'apple ' || repeat('lorem ipsum ', 900000) || 'pear'"
        " WHERE id = %s",
        task,
    )
    psql(
        url,
        "INSERT INTO comments (task_id, author_id, body)"
        " SELECT %s, 1, 'remark' || n || ' ' || repeat(md5(n::text) || ' ', 30)"
        " FROM generate_series(1, 1000) AS n",
        task,
    )
    assert found(url, "apple lorem remark1000 remark990") == [task]
    assert found(url, "pear") == found(url, "remark1") == []


WORST: LiteralString = """
UPDATE tasks SET description = (
    SELECT string_agg(chr(131072 + n % 40000) || '-' || chr(131072 + n * 7 % 40000), ' ')
    FROM generate_series(1, 40000) AS n)
"""


def test_the_most_that_fifty_thousand_characters_can_be_is_not_too_much(
    url: str, task: int
) -> None:
    psql(url, WORST)
    psql(url, "INSERT INTO comments (task_id, author_id, body)"
              " SELECT id, 1, reverse(description) FROM tasks")  # fmt: skip
    ((size,),) = psql(url, "SELECT pg_column_size(document || '') FROM task_texts")
    assert found(url, "\U00020001") == [task]
    assert size > 100_000


def test_a_word_that_is_too_long_is_passed_over(url: str, task: int) -> None:
    psql(url, "UPDATE tasks SET description = repeat('long', 1000) || ' apple'")
    assert found(url, "apple") == [task]
    assert found(url, "x") == [task]


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Ship 🎉 the release", "release"),
        ("שלום עולם", "עולם"),
        ("مرحبا بالعالم", "مرحبا"),
        ("Straße gesperrt \u202e", "straße"),
        ("日本語 タスク", "日本語"),
        ("don't 'quote' \\ back", "quote"),
        ("a\tb\x07c", "b"),
    ],
)
def test_any_script_is_found(url: str, database: Database, title: str, words: str) -> None:
    made = database.run(tasks.add, tasks.NewTask(title, description=title))
    assert found(url, words) == [made.id]
