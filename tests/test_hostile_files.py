"""Files and their names: what is read and written is what was named, and nothing beside it."""

from __future__ import annotations

import csv
import io
import os
import threading
from typing import TYPE_CHECKING

import pytest
from format_tasks import exported
from hostile import obeyed
from workers import psql

from concord.formats import table
from concord.formats.catalogue import FORMATS, READ, WRITTEN
from concord.models import ImportedTask

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Here

TITLES = [
    "../../etc/passwd", "/etc/passwd", "..", ".", "...", "~/x", "con", "NUL", "aux.md", "a/b\\c:d",
    "x" * 255, "\U0001f389" * 255, "é" * 255, "\U0001f389\U0001f4a5", "-rf", "--", "*",
    "$(touch x)", "same", "same", "SAME", "e\u0301", "\u00e9", "trailing. . ", "a\tb",
    "\u202egpj.md", "\x1b]0;owned\x07", "`x`", "|", "%00", "a\u2028b", "\ufeff", ".env",
    ".git/config",
]  # fmt: skip


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return all files below a folder, and what is in them; links are not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def filled(here: Here, url: str) -> Here:
    here.ok("project", "add", "API")
    psql(
        url,
        "INSERT INTO tasks (title, external_ref, owner_id, project_id)"
        " SELECT title, CASE number WHEN 1 THEN '../../evil' WHEN 2 THEN 'TASK-1/../..' END,"
        " u.id, p.id FROM users u, projects p,"
        " unnest(%s::text[]) WITH ORDINALITY AS t(title, number)",
        TITLES,
    )
    (here.home / "work").mkdir()
    return here


@pytest.fixture
def work(filled: Here, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = filled.home / "work"
    monkeypatch.chdir(folder)
    return folder


def test_titles_make_no_path_that_leads_elsewhere(filled: Here, work: Path) -> None:
    outside = everything(filled.home)
    assert filled("export", "backlog-md", "out", "--project", "API").code == 0
    names = [path.name for path in (work / "out").iterdir()]
    assert len(names) == len(TITLES)
    assert len({name.lower() for name in names}) == len(names), "not on every file system"
    for name in names:
        path = work / "out" / name
        assert path.is_file()
        assert not path.is_symlink()
        assert len(os.fsencode(name)) <= 255
        assert not obeyed(name)
        assert not set(name) & set('/\\:*?"<>|')
        assert name.startswith("task-"), "neither an option nor a device nor hidden"
    everywhere = everything(filled.home)
    assert {name: everywhere[name] for name in outside} == outside
    assert all(name.startswith("work/out") for name in everywhere.keys() - outside.keys())
    report = filled.ok("import", "backlog-md", "out", "--project", "AGAIN")
    assert report["created"] == len(TITLES)
    titles = [
        task["title"] for task in filled.ok("task", "list", "--project", "AGAIN", "--limit", "0")
    ]
    # An import makes one space of any other.
    told = sorted(" ".join(title.split()) for title in TITLES)
    assert sorted(" ".join(title.split()) for title in titles) == told


@pytest.mark.parametrize("name", [name for name in WRITTEN if not FORMATS[name].directory])
def test_what_is_named_is_written_and_nothing_beside_it(
    filled: Here, work: Path, name: str
) -> None:
    before = everything(filled.home)
    assert filled("export", name, "out", "--project", "API").code == 0
    after = everything(filled.home)
    assert after.keys() - before.keys() == {"work/out"}
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (".", "Is a directory"),
        ("missing/out", "No such file or directory"),
        ("file/out", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("/dev/full", "No space left on device"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said(filled: Here, work: Path, target: str, told: str) -> None:
    (work / "file").write_text("kept")
    (work / "loop").symlink_to("loop")
    before = everything(filled.home)
    assert told in filled.refused("export", "csv", target, code=2)
    assert everything(filled.home) == before


def test_a_link_stays_one_and_what_it_leads_to_is_written(filled: Here, work: Path) -> None:
    elsewhere = filled.home / "elsewhere"
    (work / "link").symlink_to("../elsewhere")
    assert filled("export", "jsonl", "link").code == 0
    assert (work / "link").is_symlink()
    assert elsewhere.read_text().count("\n") == len(TITLES)
    # A link in place of the file that is written first is not followed.
    (work / f".concord-{os.getpid()}.part").symlink_to("../elsewhere")
    before = elsewhere.read_bytes()
    filled.refused("export", "csv", "out.csv", code=2)
    assert elsewhere.read_bytes() == before
    assert not (work / "out.csv").exists()


def test_a_directory_is_no_link_to_another_one(filled: Here, work: Path) -> None:
    elsewhere = filled.home / "elsewhere"
    elsewhere.mkdir()
    (work / "out").symlink_to(elsewhere)
    filled.refused("export", "backlog-md", "out", code=2)
    assert everything(elsewhere) == {}
    for target in ("-", ".", "/dev/null"):
        (work / "kept").write_text("")
        filled.refused("export", "backlog-md", target, code=2)
    assert sorted(everything(work)) == ["kept", "out"]


def test_pipes_by_name(filled: Here, work: Path) -> None:
    os.mkfifo(work / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((work / "pipe").read_bytes()))
    reader.start()
    assert filled("export", "jsonl", "pipe").code == 0
    reader.join()
    assert read[0].count(b"\n") == len(TITLES)
    assert (work / "pipe").is_fifo()
    writer = threading.Thread(target=lambda: (work / "pipe").write_bytes(read[0]))
    writer.start()
    assert filled.ok("import", "jsonl", "pipe")["unchanged"] == len(TITLES)
    writer.join()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (".", "is a directory"),
        ("missing", "cannot read missing: No such file"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("\udcff", "No such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(filled: Here, work: Path, source: str, told: str) -> None:
    (work / "loop").symlink_to("loop")
    message = filled.refused("import", "jsonl", source, code=2)
    assert told.lower() in message.lower()
    assert not obeyed(message)


@pytest.mark.parametrize("name", [name for name in READ if not FORMATS[name].directory])
def test_a_device_without_an_end_is_no_file(filled: Here, name: str) -> None:
    told = filled.refused("import", name, "/dev/zero", "--project", "API", code=2)
    assert told.startswith("error: cannot read /dev/zero: it has no end\n")
    # That is how nothing is spelled.
    assert filled("import", name, "/dev/null", "--project", "API").code in (0, 2)


def test_an_import_of_a_directory_follows_no_links(filled: Here, work: Path) -> None:
    tasks = work / "backlog" / "tasks"
    tasks.mkdir(parents=True)
    secret = filled.home / "secret"
    secret.write_text("---\nid: TASK-1\ntitle: secret\nstatus: To Do\n---\n")
    (tasks / "task-1 - x.md").symlink_to(secret)
    os.mkfifo(tasks / "task-2 - y.md")
    result = filled("import", "backlog-md", ".", "--project", "NEW")
    assert (result.code, result.out[:9]) == (0, "0 created"), result
    assert "secret" not in result.out + result.err
    assert filled.ok("task", "list", "--title", "secret") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_is_not_ones_own(filled: Here, work: Path) -> None:
    (work / "closed").write_text("")
    (work / "closed").chmod(0)
    assert "Permission denied" in filled.refused("import", "jsonl", "closed", code=2)
    work.chmod(0o555)
    assert "Permission denied" in filled.refused("export", "csv", "out", code=2)
    work.chmod(0o755)


# Spreadsheets

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1",
    "＋1", "－1", "＠x", "'=1", "'", "''", "-", "- item",
]  # fmt: skip
HARMLESS = ["", "a=1", "1-1", "x@y", "a\n=1", '"=1"', "é", "(1)", "\U0001f389"]


def cells_of(text: str, *, spreadsheet: bool) -> list[dict[str, str]]:
    task = exported(ImportedTask(ref="1", title="x", line=1, description=text), 1, "linear")
    lines = [*table.dump([task], spreadsheet=spreadsheet), ""]
    return list(csv.DictReader(io.StringIO("\n".join(lines), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text_in_a_spreadsheet(text: str) -> None:
    assert cells_of(text, spreadsheet=False)[0]["description"] == text
    assert cells_of(text, spreadsheet=True)[0]["description"] == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert cells_of(text, spreadsheet=True) == cells_of(text, spreadsheet=False)


def test_no_cell_of_an_export_for_spreadsheets_is_a_formula(here: Here, url: str) -> None:
    titles = [text for text in FORMULAS if "\n" not in text and "\r" not in text]
    psql(
        url,
        "INSERT INTO tasks (title, description, owner_id)"
        " SELECT title, title, u.id FROM users u, unnest(%s::text[]) AS title",
        titles,
    )
    plain = list(csv.DictReader(io.StringIO(here("export", "csv").out, newline="")))
    assert [row["title"] for row in plain] == titles, "it changes data: only if it is asked for"
    assert [
        row["title"]
        for row in csv.DictReader(here("task", "list", "--csv", "--sort", "id").out.splitlines())
    ] == titles
    assert here("export", "csv", "tasks.csv", "--spreadsheet").code == 0
    for out in ((here.home / "tasks.csv").read_text(), here("export", "csv", "--spreadsheet").out):
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        assert not any(
            cell[:1] in tuple("=+-@\t＝＋－＠") for row in rows for cell in row.values() if cell
        )
        # And back: an apostrophe at the beginning is one too many.
        told = [{name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]
        assert told == plain


def test_only_csv_is_for_spreadsheets(here: Here) -> None:
    assert "goes with csv alone" in here.refused("export", "jsonl", "--spreadsheet", code=2)
