"""`import` and `export`: what they print, what they refuse, and that files survive them."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from audit import tables
from commands import Here, on_terminal
from conftest import TIMEOUT, finish
from made_up_files import Told
from made_up_files import own_line as row
from workers import psql

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from conftest import CommandLine

BEADS = """\
{"id":"bd-1","title":"Closed","status":"closed","priority":0,"labels":["ui"],"created_at":"2024-01-02T03:04:05+01:00","updated_at":"2024-01-02T03:04:05+01:00"}
{"id":"bd-2","title":"Gone","status":"tombstone"}
"""

SPEC = """\
## Phase 1: Setup

- [X] T001 Create the project
- [ ] T002 [P] Choose a linter
"""


COMMENT = {"author": "bo", "body": "x", "external_ref": "1", "created_at": "2030-01-01T00:00:00Z"}


def counts(**given: int) -> dict[str, Any]:
    kinds = ("created", "updated", "unchanged", "skipped", "conflicting")
    rest: dict[str, Any] = {"conflicts": [], "unlinked": [], "words": []}
    return {kind: given.get(kind, 0) for kind in kinds} | rest


FILES = {"jsonl": row(1) + row(2), "beads": BEADS, "spec-kit": SPEC}
CREATED = {
    "jsonl": counts(created=2),
    "beads": counts(created=1, skipped=1),
    "spec-kit": counts(created=3),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_an_import_counts_what_it_did(here: Here, name: str, source: str) -> None:
    (here.home / "tasks").write_text(FILES[name])
    given = "tasks" if source == "file" else "-"
    command = ("import", name, given, *(() if name == "jsonl" else ("--project", "api")))
    told = here(*command, "--dry-run", stdin=FILES[name])
    assert told.out.startswith(f"would be: {CREATED[name]['created']} created, 0 updated, ")
    assert here.ok("task", "list") == here.ok("project", "list") == [], "a dry run writes nothing"
    report = here.ok(*command, stdin=FILES[name])
    assert report | {"words": []} == CREATED[name]
    again = here.ok(*command, stdin=FILES[name])
    assert again["unchanged"] == CREATED[name]["created"]
    assert again["created"] == again["updated"] == 0
    assert len(here.ok("task", "list")) == CREATED[name]["created"]
    assert {line["operation"] for line in here.ok("history")} >= {f"import {name}"}


def test_an_import_in_words(here: Here) -> None:
    assert here("import", "jsonl", "-", stdin=row(1)).out == (
        "1 created, 0 updated, 0 unchanged, 0 skipped, 0 conflicting\n"
    )
    assert here("import", "jsonl", "-", "--quiet", stdin=row(2)).out == ""
    assert here("import", "jsonl", "-", "--fields", "created,skipped", stdin=row(3)).out == "1\t0\n"
    assert here.ok("import", "jsonl", "-", stdin="") == counts()


def test_what_both_sides_changed_is_told_and_left_alone(here: Here) -> None:
    here.ok("import", "jsonl", "-", stdin=row(1))
    here.ok("task", "edit", "1", "--title", "mine")
    result = here("import", "jsonl", "-", "--json", stdin=row(1, title="theirs"))
    assert result.json == counts(conflicting=1) | {
        "conflicts": [{"ref": Told(1).uid, "task": 1, "fields": ["title"]}]
    }
    notice = json.loads(result.err)["notice"]
    assert notice["code"] == "conflict"
    assert notice["details"] == {"ref": Told(1).uid, "task": 1, "fields": ["title"]}
    assert here.ok("task", "show", "1")["title"] == "mine"
    told = here("import", "jsonl", "-", stdin=row(1, title="theirs")).err
    assert told == (
        f"{Told(1).uid}: title changed both in the file and here; task 1 is left as it is\n"
    )


BAD_LINES: dict[str, str] = {
    "[1": "Expecting",
    "5": "not a JSON object",
    "{}": "uid: not a text",
    "[" * 100_000: "too deeply nested",
    row(1): f"uid {Told(1).uid} was already on line 1",
    row(9, id=7) + row(8, id=7): "id 7 was already on line 2",
    row(9, uid="x"): "uid: 'x' is no UUID",
    row(9, title=""): "title: not one line",
    row(9, title="x" * 256): "title: not one line",
    row(9, title="a\nb"): "title: not one line",
    row(9, title="a\0b"): "title: holds a NUL character, which PostgreSQL cannot store",
    row(9, title="\ud800"): "title: holds bytes or half a surrogate pair that are no character",
    row(9, owner=None): "owner: not a text",
    row(9, owner="me"): "owner: 'me' is no name",
    row(9, owner="a b"): "owner: 'a b' is no name",
    row(9, assignees=["12"]): "assignees: '12' is no name",
    row(9, assignees="bo"): "assignees: not a list",
    row(9, tags=["-x"]): "tags: '-x' is no name",
    row(9, tags=["x" * 65]): "tags: 'xxx",
    row(9, tags=[None]): "tags: not a text",
    row(9, project="a b"): "project: 'a b' is no name",
    row(9, project="api"): "project: 'api' is no name",
    row(9, status="done"): "status: 'done' is not one of todo",
    row(9, priority=1): "priority: 1 is not one of none",
    row(9, id=0): "id: not a whole number",
    row(9, id=True): "id: not a whole number",
    row(9, id=2**63 - 1): "id: not a whole number",
    row(9, version=2**31): "version: not a whole number",
    row(9, id=5, parent=5): "parent: the task itself",
    row(9, id=5, previous=5): "previous: the task itself",
    row(9, previous=5) + row(8, previous=5): "previous 5 was already on line 2",
    row(9, id=5, blocked_by=[4, 5]): "blocked_by: the task itself",
    row(9, blocked_by=["4"]): "blocked_by: not a whole number",
    row(9, blocked_by=[None]): "blocked_by: not a list of ids",
    row(9, blocked_by=4): "blocked_by: not a list",
    row(9, auto_close=1): "auto_close: neither true nor false",
    row(9, recurrence="often"): "recurrence: 'often' is none",
    row(9, recurrence="every 0d"): "recurrence: 'every 0d' is none",
    row(9, recurrence="every 1d", recurrence_zone="no zone"): "recurrence_zone: 'no zone' is none",
    row(9, canceled_at="2030-01-01T00:00:00Z"): "canceled_at: only a canceled task has one",
    row(9, comments={}): "comments: not a list",
    row(9, comments=["x"]): "comments: not a JSON object",
    row(9, comments=[{"author": "bo"}]): "comments: body: not a text",
    row(9, comments=[{"author": "bo", "body": " \n"}]): "comments: body: says nothing",
    row(9, comments=[{"body": "x"}]): "comments: author: not a text",
    row(9, comments=[COMMENT, COMMENT]): "comments: two of one external_ref",
    row(9, due="soon"): "due: 'soon' is no time",
    row(9, due=5): "due: not a text",
    row(9, due="2030-01-01T00:00:00"): "due: '2030-01-01T00:00:00' has no zone",
    row(9, due="9999-12-31T23:59:59-14:00"): "is not in the years 1 to 9999",
    row(9, created_at="0001-01-01T00:00:00+14:00"): "is not in the years 1 to 9999",
    row(9, completed_at="2030-01-01T00:00:00Z"): "completed_at: only a completed task has one",
}  # fmt: skip


def test_lines_that_cannot_be_read_are_named_and_nothing_is_written(here: Here, url: str) -> None:
    before = tables(url)
    for bad, reason in BAD_LINES.items():
        text = row(1) + bad.removesuffix("\n") + "\n"
        line = text.count("\n")
        result = here("import", "jsonl", "-", "--json", stdin=text)
        assert (result.code, result.out, result.error["code"]) == (2, "", "usage"), bad
        (told,) = result.error["details"]["lines"]
        assert told["line"] == line, bad
        assert reason in told["reason"], bad
        assert f"-: line {line}: " in result.error["message"]
        assert "nothing was imported" in result.error["message"]
    assert tables(url) == before


def test_lines_that_are_not_utf_8(here: Here) -> None:
    (here.home / "tasks").write_bytes(row(1).encode() + b'{"uid":"\xff"}\n')
    assert "tasks: line 2: 'utf-8' codec" in here.refused("import", "jsonl", "tasks", code=2)


def test_the_rest_can_be_had_without_the_bad_lines(here: Here) -> None:
    bad = [line for line in BAD_LINES if line.count("\n") < 2]
    text = row(1) + "".join(line.removesuffix("\n") + "\n" for line in bad) + row(2)
    result = here("import", "jsonl", "-", "--skip-bad", "--json", stdin=text)
    assert result.code == 0, result
    assert result.json | {"words": []} == counts(created=2, skipped=len(bad))
    notices = [json.loads(line)["notice"] for line in result.err.splitlines()]
    assert [notice["code"] for notice in notices] == ["bad_row"] * len(bad)
    assert notices[0]["message"].startswith("-, line 2: ")
    assert [task["title"] for task in here.ok("task", "list")] == ["t1", "t2"]
    assert here.ok("task", "add", "the next")["id"] == 3, "no id was used up"


def test_many_bad_lines_are_not_all_told_in_words(here: Here) -> None:
    told = here("import", "jsonl", "-", "--json", stdin="x\n" * 25)
    assert len(told.error["details"]["lines"]) == 25
    assert "; line 20: " in told.error["message"]
    assert "line 21" not in told.error["message"]
    assert "; and 5 more; nothing was imported" in told.error["message"]


def test_an_archived_project_takes_no_import(here: Here, url: str) -> None:
    here.ok("project", "add", "api")
    here.ok("project", "archive", "api")
    before = tables(url)
    told = here.refused("import", "beads", "-", "--project", "api", stdin=BEADS, code=1)
    assert "archived, takes no tasks: API" in told
    assert tables(url) == before


def test_a_file_that_is_not_there(here: Here) -> None:
    told = here.refused("import", "jsonl", "nowhere.jsonl", code=2)
    assert told == (
        "error: cannot read nowhere.jsonl: No such file or directory\nhint: Name a file, or -.\n"
    )


# Export


def fill(here: Here) -> list[dict[str, Any]]:
    """Make tasks of all kinds, and return those that are not in the trash."""
    here.ok("user", "add", "bo")
    here.ok("project", "add", "api")
    here.ok(
        "task", "add", 'One "quoted", 日本 🎉', "--project", "api", "--tag", "bug", "--tag", "ui",
        "--assign", "bo", "--assign", "me", "--due", "2030-06-28T12:00:00.5Z",
        "--description", "a\tb\r\n\x1b[31m\u202e\x85c", "--priority", "high",
    )  # fmt: skip
    here.ok("task", "add", "Two")
    here.ok("task", "done", "2")
    here.ok("task", "add", "Gone")
    here.ok("task", "delete", "3")
    return here.ok("task", "list")


def test_an_export_holds_what_a_list_shows(here: Here) -> None:
    listed = fill(here)
    shown = here.ok("task", "show", *(str(task["id"]) for task in listed))
    exported = [json.loads(line) for line in here("export", "jsonl").out.splitlines()]
    assert exported == [task | {"recurrence_zone": None, "extra": {}} for task in shown]
    assert [task.keys() - listed[0].keys() for task in exported] == [
        {"comments", "recurrence_zone", "extra"}
    ] * len(listed)
    rows = list(csv.DictReader(io.StringIO(here("export", "csv").out, newline="")))
    assert [row["title"] for row in rows] == [task["title"] for task in listed]
    assert rows[0]["tags"] == "bug,ui"
    assert rows[0]["description"] == listed[0]["description"]
    assert "- [ ] T001 " in here("export", "spec-kit", "--project", "api").out
    only = here("export", "jsonl", "--project", "api").out
    assert [json.loads(line)["id"] for line in only.splitlines()] == [1]
    everything = here("export", "jsonl", "--trash").out
    assert [json.loads(line)["id"] for line in everything.splitlines()] == [1, 2, 3]
    assert "no such project" in here.refused("export", "csv", "--project", "web", code=3)


def test_what_is_exported_comes_back_the_same(
    here: Here, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(here)
    exported = here("export", "jsonl", "--trash").out
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    here.ok("init")
    assert here.ok("import", "jsonl", "-", stdin=exported) == counts(created=3)
    assert here("export", "jsonl", "--trash").out == exported
    assert here.ok("import", "jsonl", "-", stdin=exported) == counts(unchanged=3)


def test_spec_kit_goes_out_and_comes_in_again(here: Here) -> None:
    here.ok("import", "spec-kit", "-", "--project", "api", stdin=SPEC)
    out = here("export", "spec-kit", "--project", "api").out
    assert "- [x] T001 Create the project" in out
    assert "T002" in out
    again = here.ok("import", "spec-kit", "-", "--project", "api", stdin=out)
    assert (again["created"], again["updated"]) == (0, 0)


def test_an_export_to_a_file_says_so_on_stderr(here: Here) -> None:
    fill(here)
    result = here("export", "jsonl", "tasks.jsonl")
    assert (result.code, result.out, result.err) == (0, "", "2 tasks written to tasks.jsonl\n")
    assert (here.home / "tasks.jsonl").read_text() == here("export", "jsonl").out
    assert here("export", "csv", "-").out == here("export", "csv").out
    notice = json.loads(here("export", "csv", "tasks.csv", "--json").err)["notice"]
    assert (notice["code"], notice["details"]) == ("exported", {"tasks": 2})
    assert here("export", "csv", "tasks.csv", "--quiet").err == ""


def names(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


def test_a_file_that_cannot_be_written(here: Here) -> None:
    (here.home / "file").write_text("mine")
    before = names(here.home)
    for path in ("nowhere/tasks.csv", "file/tasks.csv", "x" * 300):
        assert f"error: cannot write {path}: " in here.refused("export", "csv", path, code=2)
    assert "Is a directory" in here.refused("export", "csv", str(here.home), code=2)
    assert names(here.home) == before


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(here: Here) -> None:
    fill(here)
    target, link = here.home / "target.csv", here.home / "link.csv"
    target.write_text("before")
    target.chmod(0o604)
    link.symlink_to(target.name)
    assert here("export", "csv", "link.csv").code == 0
    assert link.is_symlink()
    assert target.read_bytes().decode() == here("export", "csv").out
    assert stat.S_IMODE(target.stat().st_mode) == 0o604
    before = names(here.home)
    old = os.umask(0o027)
    try:
        here("export", "csv", "new.csv")
    finally:
        os.umask(old)
    assert stat.S_IMODE((here.home / "new.csv").stat().st_mode) == 0o640
    assert names(here.home) == before | {"new.csv"}


def test_a_pipe_is_written_to_and_not_replaced(here: Here) -> None:
    fill(here)
    path = here.home / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(path.read_bytes)
        assert here("export", "csv", "pipe").code == 0
        assert reading.result(TIMEOUT).decode() == here("export", "csv").out
    assert path.is_fifo()


def test_a_pipe_whose_reader_has_had_enough(here: Here) -> None:
    fill(here)
    path = here.home / "pipe"
    os.mkfifo(path)
    psql(os.environ["CONCORD_DATABASE_URL"], "UPDATE tasks SET description = repeat('x', 1000000)")
    with ThreadPoolExecutor(1) as pool:

        def read_a_little() -> str:
            with path.open() as pipe:
                return pipe.read(10)

        reading = pool.submit(read_a_little)
        result = here("export", "csv", "pipe")
        assert (result.code, result.out, result.err) == (0, "", "")
        assert reading.result(TIMEOUT) == "id,uid,pro"


def test_what_was_there_stays_until_the_new_file_is_complete(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concord.formats import table

    fill(here)
    (here.home / "tasks.csv").write_text("the one before")
    before = names(here.home) | {"state"}  # where it is logged that the transaction failed

    def lines(*_: object) -> Iterable[str]:
        yield "a line"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "dump", lines)
    told = here.refused("export", "csv", "tasks.csv", code=2)
    assert "cannot write tasks.csv: No space left on device" in told
    assert (here.home / "tasks.csv").read_text() == "the one before"
    assert names(here.home) == before


def test_exports_to_one_file_at_once_do_not_mix(concord: CommandLine, tmp_path: Path) -> None:
    concord("import", "jsonl", "-", stdin="".join(row(number) for number in range(1, 2000)))
    processes = [concord.start("export", "jsonl", "tasks.jsonl") for _ in range(3)]
    assert [finish(process).code for process in processes] == [0, 0, 0]
    assert (tmp_path / "tasks.jsonl").read_text() == concord("export", "jsonl").out
    assert not list(tmp_path.glob("*part*"))


def test_dev_stdout_is_stdout(concord: CommandLine) -> None:
    concord.ok("task", "add", "one")
    script = f"{sys.executable} -m concord export csv /dev/stdout | head -c 6"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=concord.environment,
        cwd=concord.home,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "id,uid")


def test_an_import_shows_no_bar_where_it_is_quick(concord: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text(row(1))
    shown = on_terminal(concord, "import", "jsonl", "tasks.jsonl").out
    assert shown == "1 created, 0 updated, 0 unchanged, 0 skipped, 0 conflicting\n"
