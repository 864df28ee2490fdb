"""An archive holds all there is, and comes back the same on whatever server."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from audit import check_history, tables
from conftest import settings_for
from copies import back_up, fill, state
from hypothesis import given
from hypothesis import strategies as st
from test_sql_constants import DEBIAN, debian_server
from workers import psql

from concord import backup, migrate
from concord.database import SCHEMA_HEAD
from concord.formats import archive
from concord.models import Contents, TableContents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from commands import Here
    from conftest import Server
    from databases import Databases


@pytest.fixture
def filled(here: Here) -> Here:
    """The command line on a database with something of everything."""
    fill(here)
    return here


@pytest.fixture(scope="module")
def older_server() -> Iterator[str]:
    """A database on a server of Debian's, whose owner has no other right."""
    if not DEBIAN:
        pytest.skip("there is no other server than the embedded one")
    with debian_server(DEBIAN[0]) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE plain LOGIN")
            connection.execute("CREATE DATABASE plain OWNER plain")
        yield url.replace("user=ana dbname=postgres", "user=plain dbname=plain")


def sealed(lines: list[bytes]) -> bytes:
    """Return an archive of these lines, with the right hash in the last one."""
    *body, last = lines
    end: dict[str, Any] = json.loads(last)
    end["sha256"] = hashlib.sha256(b"".join(body)).hexdigest()
    return b"".join(body) + json.dumps(end).encode() + b"\n"


def test_an_archive_goes_to_another_server_and_back_unchanged(
    filled: Here,
    url: str,
    empty_url: str,
    older_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = (url, older_server, empty_url)
    files = [filled.home / f"{number}.jsonl" for number in range(3)]
    for number, (place, file) in enumerate(zip(places, files, strict=True)):
        monkeypatch.setenv("CONCORD_DATABASE_URL", place)
        if number:
            done = filled("import", "archive", str(files[number - 1]))
            assert (done.code, done.err) == (0, ""), done
        assert filled("export", "--all", str(file)).code == 0
    first, second, third = (file.read_bytes() for file in files)
    assert first == second == third
    assert state(empty_url) == state(url)
    with_rows = {json.loads(line)["table"] for line in first.splitlines()[1:-1]}
    assert with_rows == set(json.loads(first.splitlines()[0])["tables"])
    for place in (older_server, empty_url):
        monkeypatch.setenv("CONCORD_DATABASE_URL", place)
        before = len(tables(place)["history"])
        filled.ok("task", "edit", "2", "--title", "goes on")
        assert len(tables(place)["history"]) == before + 1
        check_history(place)


def test_a_backup_goes_to_another_server_and_back_too(
    filled: Here, url: str, older_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(url)
    for place, following in ((url, older_server), (older_server, url)):
        monkeypatch.setenv("CONCORD_DATABASE_URL", place)
        back_up(filled)
        monkeypatch.setenv("CONCORD_DATABASE_URL", following)
        filled.ok("db", "restore", "tasks.dump", "--yes")
        rows, positions = state(following)
        assert positions == before[1]
        # Search documents are each server's own: they do not split words alike.
        differing = {name for name in before[0] if rows[name] != before[0][name]}
        assert differing <= {"task_texts"}
    assert state(url) == before


def test_an_archive_is_json_lines_with_a_header_and_an_end(filled: Here) -> None:
    header, *rows, end = map(json.loads, filled("export", "--all").out.strip("\n").split("\n"))
    assert (header["concord_archive"], header["schema"]) == (1, migrate.head())
    counts = {name: table["rows"] for name, table in header["tables"].items()}
    assert counts.keys() == end["checksums"].keys()
    for name, count in counts.items():
        told = [row["row"] for row in rows if row["table"] == name]
        assert len(told) == count
        assert all(list(row) == header["tables"][name]["columns"] for row in told)
    (trashed,) = [
        row["row"] for row in rows if row["table"] == "tasks" and row["row"]["deleted_at"]
    ]
    assert trashed["title"] == "gone"


def test_an_archive_is_taken_only_where_there_are_no_tasks(filled: Here, url: str) -> None:
    filled.ok("export", "--all", "all.jsonl")
    before = state(url)
    told = filled.refused("import", "archive", "all.jsonl", code=1)
    assert "tasks in the database" in told
    assert state(url) == before


def test_an_archive_comes_through_a_pipe(
    filled: Here, url: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = filled("export", "--all").out
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    done = filled("import", "archive", "-", "--json", stdin=told)
    assert json.loads(done.out)["tasks"] == len(tables(url)["tasks"])
    assert state(empty_url) == state(url)


def test_what_is_in_the_database_besides_tasks_makes_way(
    filled: Here, databases: Databases, server: Server, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    filled.ok("export", "--all", "all.jsonl")
    name = databases.take()
    try:
        monkeypatch.setenv("CONCORD_DATABASE_URL", server.url(name))
        filled.ok("user", "add", "stranger")
        filled.ok("import", "archive", "all.jsonl")
        assert state(server.url(name)) == state(url)
    finally:
        databases.give_back(name)


HEAD = f'"{SCHEMA_HEAD}"'.encode()

DAMAGES: list[tuple[Callable[[list[bytes]], list[bytes]], str]] = [
    (lambda _: [], "not an archive"),
    (lambda _: [b"{}\n"], "not an archive"),
    (lambda lines: [b'{"concord_archive":2}\n', *lines[1:]], "version 2"),
    (lambda lines: lines[:-1], "cut off"),
    (lambda lines: lines[: len(lines) // 2], "cut off"),
    (lambda lines: [*lines[:-1], lines[-1][:-1]], "cut off"),
    (lambda lines: [*lines[:-2], lines[-1]], "changed"),
    (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "changed"),
    (lambda lines: [*lines, lines[-1]], "goes on after its end"),
    (lambda lines: [sealed([*lines[:-2], lines[-1]])], "not as many rows"),
    (lambda lines: [sealed([lines[0].replace(b'"rows"', b'"row"'), *lines[1:]])], "no sense"),
    (lambda lines: [sealed([lines[0].replace(HEAD, b'"9999"'), *lines[1:]])], "Upgrade"),
]
"""What may happen to the lines of an archive, and what is said of it then."""


def test_what_is_no_whole_archive_is_refused(here: Here, url: str) -> None:
    whole = here("export", "--all").out.encode().splitlines(keepends=True)
    before = state(url)
    for damage, why in DAMAGES:
        told = here.refused("import", "archive", "-", code=2, stdin=b"".join(damage(whole)))
        assert why in told
    assert state(url) == before


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"username":"ana"', b'"username":"eve"', 7),
        (b'"owner_id":1', b'"owner_id":77', 2),
        (b'"status":"todo"', b'"status":"done"', 2),
        (b'"title":"x"', b'"title":"\xff"', 2),
        (b'"title":"x"', b'"title":"x"}', 2),
        (b'["id","username"', b'["id","name"', 2),
    ],
)
def test_an_archive_that_lies_or_breaks_a_rule_leaves_everything_as_it_was(
    here: Here,
    url: str,
    empty_url: str,
    monkeypatch: pytest.MonkeyPatch,
    old: bytes,
    new: bytes,
    code: int,
) -> None:
    here.ok("task", "add", "x")
    whole = here("export", "--all").out.encode().splitlines(keepends=True)
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    here.ok("init")
    before = state(empty_url)
    forged = sealed([line.replace(old, new) for line in whole])
    here.refused("import", "archive", "-", code=code, stdin=forged)
    assert state(empty_url) == before


def test_a_reader_who_has_had_enough_ends_it(filled: Here, url: str) -> None:
    def read_a_little(lines: Iterable[str]) -> None:
        for line in lines:
            if line.startswith('{"table":"tasks"'):
                raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        backup.export(settings_for(url), "test", read_a_little)
    filled.ok("task", "add", "and goes on")


def test_all_goes_with_a_file_and_nothing_else(here: Here) -> None:
    for more in (["csv", "x"], ["--trash"], ["--project", "api"], ["--fields", "id"]):
        here.refused("export", "--all", *more, code=2)
    assert "in which format" in here.refused("export", code=2)
    assert "nonsense" in here.refused("export", "nonsense", code=2)


TABLE = TableContents(("id", "title"), 0, "0" * 16, 1)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)))))
def test_lines_come_back_as_they_went(titles: list[str]) -> None:
    rows = [json.dumps({"id": 1, "title": title}, ensure_ascii=False) for title in titles]
    held = Contents(
        "0001",
        {"users": TABLE, "tasks": TableContents(TABLE.columns, len(rows), "1" * 16, None)},
        None,
        0,
    )
    told = "".join(
        line + "\n" for line in archive.dump(held, {"users": [], "tasks": rows}.__getitem__)
    )
    stream = io.BytesIO(told.encode())
    found = archive.check(stream)
    assert found.contents == held
    assert [json.loads(line)["row"] for line in archive.lines(stream, found, "tasks")] == [
        json.loads(row) for row in rows
    ]
    assert list(archive.lines(stream, found, "users")) == []


@given(st.binary(max_size=300))
def test_nothing_in_a_file_raises_anything_but_what_is_wrong_with_it(content: bytes) -> None:
    with pytest.raises(ValueError, match="archive"):
        archive.check(io.BytesIO(content))


def test_an_older_schema_comes_by_archive_too(
    here: Here, url: str, empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with migrate.movable(settings_for(empty_url), "test") as older:
        older.move("0002")
        older.driver.commit()
    psql(empty_url, "INSERT INTO users (username) VALUES ('ana')")
    psql(empty_url, "INSERT INTO tasks (title, owner_id) VALUES ('ancient', 1)")
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    here.ok("export", "--all", "old.jsonl")
    monkeypatch.setenv("CONCORD_DATABASE_URL", url)
    told = here("import", "archive", "old.jsonl")
    assert "schema 0002 is now" in told.out, told
    assert here.ok("search", "ancient")
    check_history(url)
