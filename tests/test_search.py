"""Search: what is found, in which order, with which words marked, and what is similar to it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import settings_for
from psycopg import sql as composing
from psycopg.conninfo import make_conninfo
from workers import psql

from concord import dates, migrate
from concord.database import Database
from concord.errors import NotFound, Usage
from concord.models import Highlights, Task
from concord.query import parse
from concord.sql import comments, search, task_rows, tasks
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from concord.database import Transaction
    from concord.models import SearchResult


def look_for(
    database: Database, text: str, limit: int | None = None, **filters: Any
) -> SearchResult:
    query = parse(text, now=dates.local_now())
    return database.run(search.find, query, Filters(**filters), limit=limit)


def found(database: Database, text: str, **filters: Any) -> list[int]:
    """Return the ids of what a query finds, the best first."""
    return [task.id for task in look_for(database, text, **filters).items]


def add(database: Database, title: str, description: str | None = None, *said: str) -> int:
    made = database.run(tasks.add, tasks.NewTask(title, description=description))
    for body in said:
        database.run(comments.add, [made.id], body)
    return made.id


def similar(database: Database, text: str, **filters: Any) -> list[tuple[int, str]]:
    """Return what is suggested where nothing is found."""
    result = look_for(database, text, **filters)
    assert result.items == ()
    return [(task.id, task.title) for task in result.similar]


# What is found


def test_the_title_counts_more_than_the_description_and_that_more_than_comments(
    database: Database,
) -> None:
    said = add(database, "x", "y", "deploy", "deploy again", "and deploy")
    described = add(database, "x", "deploy")
    title = add(database, "deploy")
    newer = add(database, "deploy")
    result = look_for(database, "deploy")
    assert [task.id for task in result.items] == [newer, title, described, said]
    ranks = [task.rank for task in result.items]
    assert ranks[0] == ranks[1] > ranks[2] > ranks[3] > 0
    assert (result.matching, result.more, result.unknown) == (4, False, ())


def test_words_that_stand_together_count_more(database: Database) -> None:
    near = add(database, "x", "deploy the server")
    add(database, "x", "deploy " + "and then something else " * 20 + "server")
    assert found(database, "deploy server")[0] == near


def test_a_task_is_as_it_is_everywhere(database: Database) -> None:
    add(database, "deploy")
    (task,) = look_for(database, "deploy").items
    (same,) = database.run(tasks.show, [task.id])
    assert [getattr(task, field.name) for field in fields(Task)] == [
        getattr(same, field.name) for field in fields(Task)
    ]


NOTHING: set[int] = set()


@pytest.fixture
def several(database: Database) -> Database:
    """Tasks 1 to 5, of which the first two are about deploying."""
    add(database, "Deploying the green server", None, "Not before lunch")
    add(database, "The server was deployed", "to the green zone")
    add(database, "Deposit the keys")
    add(database, "Can't reproduce O'Neill's crash in C:\\temp")
    add(database, "Read foo-bar and version 1.2.3 of x@example.org")
    return database


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deploys", {1, 2}),
        ("DEPLOY", {1, 2}),
        ("the deploy", {1, 2}),
        ("dep*", {1, 2, 3}),
        ("Deploying*", {1, 2}),
        ("the*", None),
        ('"green server"', {1}),
        ('"server green"', NOTHING),
        ('"the server was"', {1, 2}),
        ("green server", {1, 2}),
        ("server lunch", {1}),
        ("deploy -lunch", {2}),
        ('deploy -"green server"', {2}),
        ("lunch or keys", {1, 3}),
        ("server (lunch or zone)", {1, 2}),
        ("o'neill", {4}),
        ("o'neill*", {4}),
        ("foo-bar", {5}),
        ("foo-b*", {5}),
        ("bar", {5}),
        ("1.2.3", {5}),
        ("reproduce crash -id:4", NOTHING),
        ("the (lunch or keys)", {1, 3}),
    ],
)
def test_a_query_finds(several: Database, text: str, expected: set[int] | None) -> None:
    if expected is None:
        with pytest.raises(Usage, match="no word to search for"):
            look_for(several, text)
    else:
        assert set(found(several, text)) == expected


def test_any_text_is_a_word(several: Database) -> None:
    for text in (
        "'",
        "\\",
        "a\\'b",
        "':*",
        "&",
        "!x",
        "<->",
        "x:A",
        "%",
        "%s",
        "{}",
        "🎉",
        "ü" * 3000,
    ):
        for written in (text, text + "*", f'"{text}"'):
            quoted = written.replace("\\", "\\\\") if written.startswith('"') else written
            with suppress(Usage):  # no word, or no query: but never an error of the database
                look_for(several, quoted)


def test_what_else_is_asked_for_narrows_it(several: Database) -> None:
    several.run(tasks.set_status, [1], "in_progress")
    assert found(several, "deploy status:in_progress") == [1]
    assert found(several, "deploy", statuses=["todo"]) == [2]
    assert found(several, "(deploy or keys) status:todo", titles=["key"]) == [3]
    several.run(tasks.delete, [2])
    assert found(several, "deploy") == [1]
    assert found(several, "deploy", trash=True) == [2]
    with pytest.raises(NotFound, match="NOPE"):
        look_for(several, "deploy", projects=["NOPE"])


@pytest.mark.parametrize("text", ["status:todo", "-deploy", "-(deploy or keys) status:todo"])
def test_a_search_without_words_is_a_list(several: Database, text: str) -> None:
    with pytest.raises(Usage, match="no words to search for"):
        look_for(several, text)


# How much of it


def test_the_newest_are_ranked_and_the_best_of_them_are_shown(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "RANKED", 3)
    add(database, "deploy")
    ids = [add(database, "x", word) for word in ("deploy", "deploy deploy", "deploy")]
    result = look_for(database, "deploy")
    assert [task.id for task in result.items] == [ids[1], ids[2], ids[0]], (
        "not the oldest, best one"
    )
    assert (result.matching, result.more) == (3, True)
    best = look_for(database, "deploy", limit=1)
    assert [task.id for task in best.items] == [ids[1]]
    assert (best.matching, best.more) == (3, True)
    rest = look_for(database, "deploy -id:1")
    assert (rest.matching, rest.more) == (3, False)


def test_what_is_purged_between_two_statements_is_not_found(
    several: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = task_rows.fetch

    def too_late(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
        psql(url, "DELETE FROM tasks WHERE id = 2")
        return fetch(tx, ids)

    monkeypatch.setattr(task_rows, "fetch", too_late)
    assert found(several, "deploy") == [1]


# Which words


def highlights(database: Database, text: str) -> tuple[str, str | None]:
    (task,) = look_for(database, text).items

    def readable(marked: str) -> str:
        return marked.replace("\x02", "[").replace("\x03", "]")

    told = task.highlights
    return readable(told.title), None if told.text is None else readable(told.text)


@pytest.mark.parametrize(
    ("title", "description", "said", "text", "expected"),
    [
        ("Deploying it", None, (), "deploy", ("[Deploying] it", None)),
        ("Deploy it", "once", (), "depl*", ("[Deploy] it", None)),
        ("x", "deploys\n\n\tit", (), "deploy", ("x", "[deploys] it")),
        ("x", "y", ("deploy it", "never mind"), "deploy", ("x", "never mind [deploy] it")),
        ("x", "deploy", ("deploy",), "deploy", ("x", "[deploy]")),
        ("x", "deploy", ("deploy the server",), "deploy server",
         ("x", "[deploy] the [server]")),
        ("deploy", "here", ("soon",), "deploy soon", ("[deploy]", "[soon]")),
        ("apple pear", "pear or apple", (), '"apple pear" or plum',
         ("[apple] [pear]", None)),
        ("x", "use List<str> & deploy <b>it</b>", (), "deploy",
         ("x", "use List<str> & [deploy] <b>it</b>")),
        ("a\x02b\x03c deploy", None, (), "deploy", ("a\ufffdb\ufffdc [deploy]", None)),
        ("x", "deploy \x02\x04", (), "deploy", ("x", "[deploy] \ufffd\ufffd")),
        ("שלום עולם", None, (), "עולם", ("שלום [עולם]", None)),
        ("🎉 deploy 🎉", None, (), "deploy", ("🎉 [deploy] 🎉", None)),
    ],
)  # fmt: skip
def test_found_words_are_marked(
    database: Database,
    title: str,
    description: str | None,
    said: tuple[str, ...],
    text: str,
    expected: tuple[str, str | None],
) -> None:
    add(database, title, description, *said)
    assert highlights(database, text) == expected


def test_of_a_long_text_the_part_with_the_words_is_shown(database: Database) -> None:
    add(database, "x", "lorem ipsum " * 2000 + "now deploy the server " + "dolor sit " * 2000)
    _, excerpt = highlights(database, "deploy server")
    assert excerpt is not None
    assert "[deploy] the [server]" in excerpt
    assert len(excerpt.split()) <= 24


def test_an_excerpt_has_no_marks(database: Database) -> None:
    add(database, "x", "deploy it")
    (task,) = look_for(database, "deploy").items
    assert task.excerpt == "deploy it"
    assert replace(task, highlights=Highlights("x", None)).excerpt is None


# What is similar


def test_a_word_that_no_task_has_is_compared_with_titles(several: Database) -> None:
    result = look_for(several, "deplyoing")
    assert (result.unknown, result.tolerant, result.matching) == (("deplyoing",), True, 0)
    assert result.similar[0].id == 1
    assert 0.4 <= result.similar[0].similarity <= 1
    assert similar(several, '"gren sever"') == [(1, "Deploying the green server")]
    assert similar(several, "deposti*") == [(3, "Deposit the keys")]
    assert similar(several, "xylophone") == []


def test_only_what_has_the_other_words_and_meets_the_filters_is_similar(several: Database) -> None:
    assert similar(several, "sever lunch") == [(1, "Deploying the green server")]
    assert similar(several, "sever lunhc") == [], "no title has the like of both"
    assert similar(several, "sever gren") == [(1, "Deploying the green server")]
    assert {task for task, _ in similar(several, "sever")} == {1, 2}
    several.run(tasks.delete, [1])
    assert similar(several, "sever") == [(2, "The server was deployed")]
    assert similar(several, "sever status:completed") == []


def test_where_every_word_is_known_nothing_is_guessed(several: Database) -> None:
    result = look_for(several, "keys lunch")
    assert (result.items, result.unknown, result.similar) == ((), (), ())


def test_words_that_are_in_no_index_are_refused(several: Database) -> None:
    for text in ("the", "of the", '"the of"', '"..."'):
        with pytest.raises(Usage, match="no word to search for") as refused:
            look_for(several, text)
        assert "--title" in str(refused.value.hint)


@pytest.mark.parametrize(
    "statement", ["DROP EXTENSION pg_trgm CASCADE", "DROP INDEX tasks_title_trigrams_idx"]
)
def test_without_trigrams_it_finds_all_the_same_and_guesses_nothing(
    several: Database, url: str, statement: Any
) -> None:
    psql(url, statement)
    assert set(found(several, "deploy")) == {1, 2}
    result = look_for(several, "deplyoing")
    assert (result.unknown, result.similar, result.tolerant) == (("deplyoing",), (), False)
    migrate.upgrade(settings_for(url))
    assert look_for(several, "deplyoing").similar, "init brings them back"


def test_the_extension_may_live_anywhere(several: Database, url: str) -> None:
    for statement in (
        "DROP EXTENSION pg_trgm CASCADE",
        'CREATE SCHEMA "Odd ""place"""',
        'CREATE EXTENSION pg_trgm SCHEMA "Odd ""place"""',
        "SELECT add_trigrams(), admit_people()",
    ):
        psql(url, statement)
    assert similar(several, "deposti") == [(3, "Deposit the keys")]


@pytest.fixture
def plain_url(empty_url: str) -> Iterator[str]:
    """A database in which Concord may make tables, but no extension."""
    name = "plain_" + empty_url.partition("dbname=")[2].split()[0]
    role = composing.Identifier(name)
    with psycopg.connect(empty_url, autocommit=True) as owner:
        owner.execute(composing.SQL("CREATE ROLE {}").format(role))
        owner.execute(composing.SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(role))
        yield make_conninfo(empty_url, options=f"-c role={name}")
        owner.execute(composing.SQL("DROP OWNED BY {}").format(role))
        owner.execute(composing.SQL("DROP ROLE {}").format(role))


def test_who_may_not_create_the_extension_can_do_without_until_somebody_does(
    plain_url: str, empty_url: str
) -> None:
    settings = settings_for(plain_url)
    migrate.upgrade(settings)
    with Database(settings, "test", newcomer="add") as database:
        add(database, "Deposit the keys")
        assert len(found(database, "keys")) == 1
        assert not look_for(database, "deposti").tolerant
        migrate.upgrade(settings)
        assert not look_for(database, "deposti").tolerant
        psql(empty_url, "CREATE EXTENSION pg_trgm")
        migrate.upgrade(settings)
        assert [title for _, title in similar(database, "deposti")] == ["Deposit the keys"]
