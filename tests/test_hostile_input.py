"""Input that is too long, too deep, too large a number, or no text at all; and SQL."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from audit import tables
from commands import screen
from test_cli_parse import contexts, path_of

from concord.cli import run
from concord.formats import backlog_md, front_yaml, text
from concord.formats.catalogue import FORMATS, READ
from concord.formats.words import Words
from concord.models import BadRow

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from commands import Here

MEGABYTE = 1 << 20


@pytest.fixture
def filled(here: Here) -> Here:
    here.ok("project", "add", "API")
    here.ok("task", "add", "one", "--project", "API", "--tag", "bug")
    return here


# Long


def test_a_title_of_a_megabyte_is_refused_with_the_limit(filled: Here, url: str) -> None:
    before = tables(url)
    for arguments in (["task", "add"], ["task", "edit", "1", "--title"]):
        told = filled.refused(*arguments, "x" * MEGABYTE, code=2)
        assert "a title has 1 to 255 characters" in told
        assert len(told) < 1000
    assert tables(url) == before


def test_a_description_of_ten_megabytes_comes_back_whole(filled: Here) -> None:
    text = "x" * (5 * MEGABYTE) + "y " * (5 * MEGABYTE // 2)
    made = filled.ok("task", "add", "long", "--description", "-", stdin=text)
    assert made["description"] == text
    assert filled.ok("task", "show", str(made["id"]))["description"] == text
    assert len(filled("task", "list").out) < 1000
    assert filled.ok("task", "edit", str(made["id"]), "--description", "short")["version"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "x" * MEGABYTE,
        "word " * (MEGABYTE // 5),
        "[" * 100_000,
        "> " * 50_000,
        "- " * 50_000,
        "*a " * 50_000,
        "`" * 100_000,
        "![" * 50_000,
        "<" * 100_000,
        "| a " * 20_000 + "\n" + "|---" * 20_000,
        "# " + "x" * 100_000,
    ],
    ids=lambda text: text[:4],
)
def test_a_terminal_is_not_kept_busy_by_one_text(
    filled: Here, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    filled.ok("task", "edit", "1", "--description", "-", stdin=text)
    with screen(monkeypatch) as shown:
        assert run(("task", "show", "1")) == 0
    assert "one" in shown[0]


@pytest.mark.parametrize(
    "line",
    [
        "history",
        "task log 1",
        "task list --fields description",
        "task show 1 --fields id,description",
    ],
)
def test_a_terminal_shows_the_beginning_of_what_nobody_would_read(
    filled: Here, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    text = "é\n" * 100_000
    filled.ok("task", "edit", "1", "--description", "-", stdin=text)
    with screen(monkeypatch) as shown:
        assert run(line.split()) == 0
    assert "more characters; all of it: --json" in " ".join(shown[0].split())
    assert len(shown[0]) < 5 * len(text), "cells are as wide as their column"
    assert json.dumps(text, ensure_ascii=False) in filled(*line.split(), "--json").out


def test_a_file_that_is_closed_before_its_end_is_no_failure() -> None:
    # As where an import fails: what is left of it goes when nobody holds it any more.
    stream = io.BytesIO(b"one\ntwo\n")
    lines = cast("Generator[str]", text.lines(stream))
    assert next(lines) == "one"
    stream.close()
    lines.close()


# No text


BYTES = {"NUL": "a\0b", "no UTF-8": "\udcff", "half a pair": "\ud83d"}


@pytest.mark.parametrize("what", BYTES)
def test_what_is_no_text_is_refused_wherever_it_is_given(filled: Here, url: str, what: str) -> None:
    filled.ok("task", "claim")
    before = tables(url)
    text = BYTES[what]
    for arguments in (
        ["task", "add", "x", "--description", text],
        ["task", "comment", "1", text],
        ["task", "list", "--where", text],
        ["task", "list", "--where", f"tag:{text}"],
        ["task", "list", "--search", text],
        ["search", text],
        ["view", "save", text, "--where", "x"],
        ["view", "save", "x", "--title", text],
        ["tag", "add", text],
        ["project", "add", "P", "--name", text],
        ["user", "add", "bo", "--email", text],
        ["task", "release", "1", "--epoch", "1", "--comment", text],
        ["history", "--actor", text],
        ["stats", "--person", text],
    ):
        result = filled(*arguments)
        assert result.code in (2, 3), (arguments, result)
    assert tables(url) == before


# Numbers


HUGE = [
    "0",
    "-1",
    "9223372036854775808",
    "18446744073709551616",
    "9" * 5000,
    "1e3",
    "0x1",
]


@pytest.mark.parametrize("number", HUGE, ids=lambda number: number[:20])
def test_numbers_beyond_all_bounds(filled: Here, url: str, number: str) -> None:
    before = tables(url)
    for arguments in (
        ["task", "show", f"--limit={number}"],
        ["task", "done", "--", number],
        ["task", "add", "x", f"--parent={number}"],
        ["task", "add", "x", f"--blocked-by={number}"],
        ["task", "block", "1", f"--by={number}"],
        ["task", "edit", "1", "--title", "x", f"--if-version={number}"],
        ["task", "renew", "1", f"--epoch={number}"],
        ["task", "claim", f"--count={number}"],
        ["undo", f"--last={number}"],
        ["undo", f"--change={number}"],
        ["history", f"--xid={number}"],
        ["history", f"--after={number}"],
        ["project", "edit", "API", f"--wip-limit={number}"],
        ["watch", f"--since={number}", "--for=1ms", "--count=1"],
        ["task", "list", "--where", f"id:{number}"],
        ["stats", f"--weeks={number}"],
        ["stats", f"--days={number}"],
    ):
        result = filled(*arguments)
        assert result.code in (0, 1, 2, 3, 4, 8), (arguments, result)
        assert len(result.err) < 12_000
    assert "is not a task id" in filled.refused("task", "done", "-", stdin=number, code=2)
    assert tables(url) == before


# Deep


@pytest.mark.parametrize(
    "query",
    [
        "(" * 100_000, "(" * 9_000, "-(" * 4_000 + "x" + ")" * 4_000, "not " * 2_400 + "x",
        "-" * 9_000 + "x", "x or " * 2_000 + "x", "a " * 4_000, '"' * 9_999, "tag:" + "a," * 4_000,
        ")" * 9_000, "tag:" * 2_000, "due<" * 2_000,
    ],
    ids=lambda query: query[:5],
)  # fmt: skip
def test_a_query_that_is_too_deep_or_too_long(filled: Here, query: str) -> None:
    for arguments in (["task", "list", "--where", query], ["task", "list", query]):
        result = filled(*arguments)
        assert result.code in (2, 3), result
        assert len(result.err) < 3 * 10_000


def parsed(name: str, data: bytes) -> list[Any]:
    return list(FORMATS[name].parser()(io.BytesIO(data), Words()))


DEEP = {
    "lists": b"[" * 200_000,
    "objects": b'{"a":' * 100_000,
    "in a field": b'{"id":"1","title":"x","extra":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "in a list": b'[{"id":1,"title":"x","uuid":"x","a":'
    + b'{"a":' * 50_000
    + b"1"
    + b"}" * 50_001
    + b"]",
    "a number": b'[{"id":' + b"9" * 100_000 + b"}]",
    "digits": b"9" * 1_000_000,
    "one line": b"x" * (8 * MEGABYTE),
    "one cell": b'Key,Title\n1,"' + b"x" * (8 * MEGABYTE) + b'"\n',
    "columns": b"," * 200_000 + b"\n" + b"," * 200_000,
    "quotes": b'"' * 500_001,
    "NUL": b"\0" * 10_000,
    "a mark and nothing": b"\xef\xbb\xbf",
    "two bytes a character": "\ufeff[".encode("utf-16") * 1000,
    "indents": b"".join(b" " * depth + b"- [ ] T001 x\n" for depth in range(500)),
}


@pytest.mark.parametrize("name", [name for name in READ if not FORMATS[name].directory])
@pytest.mark.parametrize("what", DEEP)
def test_a_file_that_is_a_trap_is_bad_rows(name: str, what: str) -> None:
    rows = parsed(name, DEEP[what])
    assert all(len(row.reason) < 2000 for row in rows if isinstance(row, BadRow))


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x,x]\n" + "".join(f"a{n}: &a{n} [*a,*a,*a]\n" for n in range(20)),
        "a: " + "[" * 30_000,
        "a: " + "{a: " * 15_000,
        "a:\n" + "".join("  " * depth + "a:\n" for depth in range(200)),
        "- " * 30_000,
        "a: !!python/object/apply:os.system [id]",
        "<<: {a: 1}\n<<: {a: 1}",
        "? " * 20_000,
        "a: " + "x" * 100_000,
        "%TAG ! tag:x,2000:\n---\na: !x y",
    ],
    ids=lambda bomb: bomb[:12],
)
def test_a_front_matter_that_is_a_trap_is_a_bad_row(tmp_path: Path, bomb: str) -> None:
    with pytest.raises(ValueError, match="front matter"):
        front_yaml.load(bomb)
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "task-1 - x.md").write_text(f"---\n{bomb}\n---\nx\n")
    (row,) = backlog_md.parse(tmp_path, Words())
    assert isinstance(row, BadRow)


@pytest.mark.parametrize(
    "rule",
    ["", ":", "=", "status", "status:", "status:=", "status:x=", "status:=todo", "colour:x=y",
     "status:x=done", "user:x=" + "y" * 1000, "project:x=" + "Y" * 100, "user:x=a b",
     "project:x=1"],
)  # fmt: skip
def test_rules_that_are_none(filled: Here, url: str, rule: str) -> None:
    before = tables(url)
    row = json.dumps(
        {"id": "b-1", "title": "x", "status": "open", "assignee": "x", "labels": ["x"]}
    )
    result = filled("import", "beads", "-", "--project", "API", "--map", rule, stdin=row)
    if "project:" not in rule:
        assert result.code == 2, result
        assert tables(url) == before
    assert result.code in (0, 2)


# SQL

SQL = [
    "'; DROP TABLE tasks; --",
    '"; DROP TABLE tasks; --',
    "$$; DROP TABLE tasks; $$",
    "%s %(x)s {}",
]


@pytest.mark.parametrize("text", SQL)
def test_sql_is_kept_and_shown_as_text(filled: Here, text: str) -> None:
    filled.ok("task", "comment", "1", text)
    shown = filled.ok("task", "show", "1")
    assert shown["comments"][-1]["body"] == text
    filled.ok("task", "edit", "1", "--title", text)
    assert [task["id"] for task in filled.ok("task", "list", "--title", text)] == [1]
    filled.ok("view", "save", "mine", "--title", text)
    assert [task["id"] for task in filled.ok("task", "list", "--view", "mine")] == [1]
    filled.ok("project", "edit", "API", "--name", text)
    assert filled.ok("project", "show", "API")["name"] == text
    assert filled.ok("history", "--limit", "1")[0]["new"]["name"] == text
    row = {"id": "b-1", "title": text, "description": text, "status": text, "assignee": text}
    filled.ok(
        *("import", "beads", "-", "--project", "API", "--map", f"status:{text}=todo"),
        *("--map", f"user:{text}=ana"),
        stdin=json.dumps(row),
    )
    assert len(filled.ok("task", "list", "--title", text)) == 2


def test_sql_in_any_option_does_nothing(filled: Here, url: str) -> None:
    """Every option that takes a text, of every command, whatever else it would need."""
    before = tables(url)
    tried = 0
    for ctx in contexts():
        path = path_of(ctx)
        if not path or path[0] in ("demo", "db", "watch", "agent", "alias", "export", "init"):
            continue
        for param in ctx.command.params:
            if getattr(param, "is_flag", False) or param.name in ("patience", "file"):
                continue
            # Beside another mistake, so that nothing is written even where a text may be that.
            given = [f"{param.opts[-1]}={SQL[0]}"] if param.opts[0].startswith("-") else [SQL[0]]
            result = filled(*path, *given, "--fields=nothing")
            assert result.code in (0, 2, 3, 6, 8), (path, given, result)
            tried += 1
    assert tried > 150
    assert tables(url) == before
