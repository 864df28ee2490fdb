"""spec-kit files: what people's files hold, real ones, and the way there and back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import spec_kit, spec_kit_dump, text
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask, Task
from concord.vocabulary import STATUSES, TITLE_LIMIT

DATA = Path(__file__).parents[1].parent / "shared" / "data"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

real_files = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not here")


def parse(document: str | bytes) -> list[ImportedTask | BadRow]:
    """Return what each item is by itself: its phase and its order have tests of their own."""
    data = document if isinstance(document, bytes) else document.encode()
    return [
        replace(row, parent=None, blocked_by=()) if isinstance(row, ImportedTask) else row
        for row in spec_kit.parse(BytesIO(data), Words())
        if isinstance(row, BadRow)
        or (isinstance(row, ImportedTask) and not row.ref.startswith("Phase"))
    ]


def parse_tasks(document: str | bytes) -> list[ImportedTask]:
    rows = parse(document)
    assert all(isinstance(row, ImportedTask) for row in rows), rows
    return [row for row in rows if isinstance(row, ImportedTask)]


def parse_task(document: str | bytes) -> ImportedTask:
    (task,) = parse_tasks(document)
    return task


def make_task(title: str = "Do it", **fields: Any) -> Task:
    values: dict[str, Any] = {
        "id": 1,
        "uid": UUID(int=1),
        "project": "API",
        "description": None,
        "status": "todo",
        "priority": "none",
        "due": None,
        "tags": (),
        "assignees": (),
        "owner": "ana",
        "external_ref": None,
        "parent": None,
        "version": 1,
        "created_at": NOW,
        "updated_at": NOW,
        "completed_at": None,
        "deleted_at": None,
    }
    return Task(title=title, **(values | fields))


def dump(*tasks: Task) -> str:
    numbered = [replace(task, id=number) for number, task in enumerate(tasks, 1)]
    return "".join(f"{line}\n" for line in spec_kit_dump.dump(numbered, "API"))


# Items: ids, markers, boxes and bullets


@pytest.mark.parametrize(
    ("line", "ref", "title", "tags"),
    [
        ("- [ ] T001 Do it", "T001", "Do it", ()),
        ("* [ ] T001 Do it", "T001", "Do it", ()),
        ("+ [ ] T001 Do it", "T001", "Do it", ()),
        ("1. [ ] T001 Do it", "T001", "Do it", ()),
        ("-\t[ ]\tT001\tDo\tit\t", "T001", "Do\tit", ()),
        ("-[ ]T001 Do it", "T001", "Do it", ()),
        ("- [] T001 Do it", "T001", "Do it", ()),
        ("- [  ] T001 Do it", "T001", "Do it", ()),
        ("   - [ ]   T001   Do  it   ", "T001", "Do  it", ()),
        ("- [ ] T1234 Do it", "T1234", "Do it", ()),
        ("- [ ] T020a Do it", "T020a", "Do it", ()),
        ("- [ ] T001: Do it", "T001", "Do it", ()),
        ("- [ ] T001. Do it", "T001", "Do it", ()),
        ("- [ ] **T001** Do it", "T001", "Do it", ()),
        ("- [ ] **T001**: Do it", "T001", "Do it", ()),
        ("- [ ] **T001:** Do it", "T001", "Do it", ()),
        ("- [ ] __T001__ [P] Do **it**", "T001", "Do **it**", ("parallel",)),
        ("- [ ] **T001 [P] Do it**", "T001", "Do it", ("parallel",)),
        ("- [ ] **T001 Do it** in **a** file", "T001", "Do it in **a** file", ()),
        ("- [ ] T001 **Do** it", "T001", "**Do** it", ()),
        ("- [ ] T001 [P] Do it", "T001", "Do it", ("parallel",)),
        ("- [ ] T001 [p] Do it", "T001", "Do it", ("parallel",)),
        ("- [ ] T001 [P] [US1] Do it", "T001", "Do it", ("parallel", "us1")),
        ("- [ ] T001 [US1] [P] Do it", "T001", "Do it", ("parallel", "us1")),
        ("- [ ] T001 [US1][P] Do it", "T001", "Do it", ("parallel", "us1")),
        ("- [ ] T001[US1] Do it", "T001", "Do it", ("us1",)),
        ("- [ ] [P] T001 [us12] Do it", "T001", "Do it", ("parallel", "us12")),
        ("- [ ] T001 **[P]** **[US1]** Do it", "T001", "Do it", ("parallel", "us1")),
        ("- [ ] T001 [US1]: Do it", "T001", "Do it", ("us1",)),
        ("- [ ] T001 [US1e] Do it", "T001", "Do it", ("us1e",)),
        ("- [ ] T001 [US1] [US2] Do it", "T001", "Do it", ("us1", "us2")),
        ("- [ ] T001 [Setup] Do it [P]", "T001", "[Setup] Do it [P]", ()),
        ("- [ ] T001 [P](p.md) Do it", "T001", "[P](p.md) Do it", ()),
        ("- [ ] T001 \\[P] is the marker", "T001", "[P] is the marker", ()),
        ("- [ ] T001 \\d is a digit", "T001", "\\d is a digit", ()),
        ("- [ ] T001 Do it (depends on T002)", "T001", "Do it (depends on T002)", ()),
        ("- [ ] T001 &lt; and 'é' — “quoted”", "T001", "&lt; and 'é' — “quoted”", ()),
    ],
)
def test_an_item_is_read_into_ref_title_and_tags(
    line: str, ref: str, title: str, tags: tuple[str, ...]
) -> None:
    assert parse(line) == [ImportedTask(ref=ref, title=title, line=1, tags=tags)]


@pytest.mark.parametrize(
    ("box", "status"), [(" ", "todo"), ("", "todo"), ("x", "completed"), ("X", "completed")]
)
def test_the_box_tells_the_status(box: str, status: str) -> None:
    assert parse_task(f"- [{box}] T001 Do it").status == status


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("- [ ] T1 Do it", "T1 is no task id: write T and three digits or more, like T001"),
        ("- [ ] [P] T01 Do it", "T01 is no task id"),
        ("- [ ] t001 Do it", "t001 is no task id"),
        ("- [ ] T-001 Do it", "T-001 is no task id"),
        ("- [ ] T001ab Do it", "T001ab is no task id"),
        ("- [ ] T001, T002 Do it", "T001, is no task id"),
        ("- [ ] TXXX [P] Documentation", "TXXX is no task id"),
        ("- [ ] T### Documentation", "T### is no task id"),
        ("- [ ] ~~T001~~ Do it", "~~T001~~ is no task id"),
        ("- [ ] [T001] Do it", "[T001] is no task id"),
        ("- [ ] T" + "1" * 19, "T1111111111111111"),
        ("- [-] T001 Do it", "T001 has - in its box: write [ ] or [x]"),
        ("- [✓] T001 Do it", "T001 has ✓ in its box"),
        ("- [ ] T001", "T001 has no title"),
        ("- [ ] T001:  ", "T001 has no title"),
        ("- [ ] T001 [P] [US1]", "T001 has no title"),
        ("- [ ] **T001 [P]**", "T001 has no title"),
        ("- [ ] T001 Do\0it", "T001 holds a NUL character"),
        ("- [ ] T1 Do\0it", "T1 is no task id"),
    ],
)
def test_a_task_that_cannot_be_taken_is_a_bad_row(line: str, reason: str) -> None:
    first, row, last = parse(f"- [ ] T100 One\n{line}\n  of which\n- [ ] T200 Two\n")
    assert isinstance(row, BadRow)
    assert row.line == 2
    assert row.reason.startswith(reason)
    assert first == ImportedTask(ref="T100", title="One", line=1)
    assert last == ImportedTask(ref="T200", title="Two", line=4)


@pytest.mark.parametrize(
    "line",
    [
        "T001 Do it",
        "- T001 Do it",
        "- [P] T001, T002 can run together",
        "- [P]: can run in parallel",
        "- **[P]**: can run in parallel",
        "- [ ] All tasks are marked",
        "- [ ] Test the thing",
        "- [ ] T-shirts for all",
        "- [ ] TASK-1",
        "- [ ]",
        "- [T001](tasks.md) is a link",
        "> - [ ] T001 Do it",
        "| [ ] T001 | Do it |",
        "**Checkpoint**: T001 is done",
        "    ",
        "a \0 in prose",
    ],
)
def test_prose_is_nothing_at_all(line: str) -> None:
    assert parse(line) == []


def test_an_id_that_occurs_twice_is_taken_once() -> None:
    rows = parse("- [ ] T007 One\n\n- [x] T007 Two\n  more\n- [x] T007 Three\n")
    assert rows == [
        ImportedTask(ref="T007", title="One", line=1),
        BadRow(3, "T007 was already on line 1"),
        BadRow(5, "T007 was already on line 1"),
    ]


def test_an_id_counts_only_once_it_is_taken() -> None:
    rows = parse("- [ ] T007\n- [ ] T007 Two\n")
    assert rows == [BadRow(1, "T007 has no title"), ImportedTask(ref="T007", title="Two", line=2)]


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_a_long_title_is_cut_and_kept_in_the_description(more: int) -> None:
    title = "x" * (TITLE_LIMIT + more)
    task = parse_task(f"- [ ] T001 {title}\n  and more\n")
    if more:
        assert task.title == "x" * (TITLE_LIMIT - 1) + "…"
        assert task.description == f"{title}\n\nand more"
        assert parse_task(f"- [ ] T001 {title}").description == title
    else:
        assert (task.title, task.description) == (title, "and more")


# Phases


@pytest.mark.parametrize(
    ("heading", "tag"),
    [
        ("## Phase 1: Setup", "phase-1"),
        ("## Phase 12 - Setup", "phase-12"),
        ("## Phase 3.1: Setup", "phase-3.1"),
        ("## Phase 3a", "phase-3a"),
        ("# PHASE 1 Setup", "phase-1"),
        ("### **Phase 1: Setup**", "phase-1"),
        ("## 🚀 Phase 1: Setup", "phase-1"),
        ("##\tPhase 1. Setup", "phase-1"),
        ("## Phase N: Polish", "phase-n"),
        ("## Phase IV – Polish", "phase-iv"),
        ("## Phase Dependencies", None),
        ("## Phase A lot of work", None),
        ("## Setup", None),
        ("Phase 1: Setup", None),
        ("##Phase 1: Setup", None),
        ("    ## Phase 1: Setup", None),
    ],
)
def test_a_phase_heading_gives_a_tag(heading: str, tag: str | None) -> None:
    task = parse_task(f"{heading}\n\nSome prose.\n\n- [ ] T001 Do it\n")
    assert task.tags == ((tag,) if tag else ())


def test_a_phase_lasts_to_the_next_heading_of_its_level() -> None:
    tasks = parse_tasks(
        "- [ ] T001 a\n"
        "## Phase 1: Setup\n- [ ] T002 a\n"
        "### Tests\n- [ ] T003 a\n"
        "## Phase 2: Core\n- [ ] T004 a\n"
        "## Dependencies\n- [ ] T005 a\n"
        "### Phase 3: Deeper\n- [ ] T006 [P] a\n"
        "# Other\n- [ ] T007 a\n"
    )
    tags = [task.tags for task in tasks]
    assert tags == [
        (),
        ("phase-1",),
        ("phase-1",),
        ("phase-2",),
        (),
        ("parallel", "phase-3"),
        (),
    ]


# Descriptions


@pytest.mark.parametrize(
    ("below", "description"),
    [
        ("", None),
        ("\n\n", None),
        ("  one\n  two\n", "one\ntwo"),
        ("  - one\n    - two\n  - three\n", "- one\n  - two\n- three"),
        ("\t- one\n\t\t- two\n", "- one\n\t- two"),
        ("    - one\n\t- two\n", "- one\n- two"),
        ("  - one\n\t- two\n", "- one\n  - two"),
        (" - one\n", "- one"),
        ("\n\n  one\n\n\n  two  \n \t \n", "one\n\n\ntwo  "),
        ("  - [ ] a step without an id\n", "- [ ] a step without an id"),
        ("  # no heading\n", "# no heading"),
        ("  one\n\nprose\n  indented prose\n", "one"),
        ("  one\n## Phase 2: x\n  no more\n", "one"),
        ("  one\nlazy\n", "one"),
        (
            "  ```sh\n  - [ ] T002 x\n\n    y\n  ```\n  after",
            "```sh\n- [ ] T002 x\n\n  y\n```\nafter",
        ),
        ("  ```\n  - [ ] T002 never closed\n", "```\n- [ ] T002 never closed"),
        ("  <!-- a comment -->\n", "<!-- a comment -->"),
        ("  <!--\n  - [ ] T002 x\n  -->\n  after", "<!--\n- [ ] T002 x\n-->\nafter"),
        ('  <!-- concord:description "a\\n\\u00e9" -->\n', "a\né"),
        ('  <!-- concord:description "a" -->\n  b\n', '<!-- concord:description "a" -->\nb'),
        ('  <!-- concord:description "\\x" -->\n', '<!-- concord:description "\\x" -->'),
    ],
)
def test_what_is_indented_below_an_item_is_its_description(
    below: str, description: str | None
) -> None:
    assert parse_task(f"- [ ] T001 Do it\n{below}").description == description


def test_nested_items_are_tasks_of_their_own() -> None:
    rows = parse(
        "## Phase 1: x\n"
        "- [ ] T001 Parent\n"
        "  - before\n"
        "  - [x] T002 Child\n"
        "    of the child\n"
        "    - [ ] T003 Grandchild\n"
        "    - [ ] T004\n"
        "  - after\n"
        "- [ ] T005 Next\n"
    )
    tags = ("phase-1",)
    description = "- before\n- after"
    assert rows == [
        ImportedTask(ref="T001", title="Parent", line=2, description=description, tags=tags),
        ImportedTask("T002", "Child", 4, "of the child", "completed", tags=tags),
        ImportedTask(ref="T003", title="Grandchild", line=6, tags=tags),
        BadRow(7, "T004 has no title"),
        ImportedTask(ref="T005", title="Next", line=9, tags=tags),
    ]


@pytest.mark.parametrize(
    ("below", "line"),
    [("  a\n  b\0\n  c\0\n", 3), ('  <!-- concord:description "\\u0000" -->\n', 1), ("\0\n", 2)],
)
def test_a_description_that_cannot_be_stored_is_a_bad_row(below: str, line: int) -> None:
    reason = "T001 holds a NUL character, which PostgreSQL cannot store"
    assert parse(f"- [ ] T001 Do it\n{below}") == [BadRow(line, reason)]


# Code blocks and comments


@pytest.mark.parametrize(
    "block",
    [
        "```\n- [ ] T002 x\n```",
        "```text\n- [ ] T002 x\n## Phase 2: x\n```",
        "~~~\n- [ ] T002 x\n```\n- [ ] T003 x\n~~~~",
        "````\n```\n- [ ] T002 x\n```\n````  ",
        "prose\n   ```\n- [ ] T002 x\n   ```",
        "<!--\n- [ ] T002 x\n-->",
        "<!-- one line -->",
        "```not a fence```",
        "```sh\nno task in it",
    ],
)
def test_items_in_blocks_are_no_tasks(block: str) -> None:
    document = f"## Phase 1: x\n- [ ] T001 One\n\n{block}\n"
    assert parse(document) == [ImportedTask(ref="T001", title="One", line=2, tags=("phase-1",))]


def test_text_after_a_block_counts_again() -> None:
    refs = [task.ref for task in parse_tasks("```\n- [ ] T001 x\n```\n- [ ] T002 x\n")]
    assert refs == ["T002"]


@pytest.mark.parametrize(("opening", "what"), [("```", "code block"), ("<!--", "comment")])
def test_a_block_that_is_never_closed_does_not_hide_tasks_silently(opening: str, what: str) -> None:
    rows = parse(f"- [ ] T001 One\n{opening}\n- [ ] T002 Two\n- [x] T003 Three\nprose\n")
    reason = f"the {what} that opens here is never closed, and hides 2 task(s)"
    assert rows == [ImportedTask(ref="T001", title="One", line=1), BadRow(2, reason)]


def test_an_item_that_ends_closes_the_block_in_it() -> None:
    tasks = parse_tasks("- [ ] T001 One\n  ```\n  x\n- [ ] T002 Two\n")
    assert [(task.ref, task.description) for task in tasks] == [("T001", "```\nx"), ("T002", None)]


# Encodings

SAMPLE = "# Tâches\n\n## Phase 1: É\n\n- [x] T001 [P] Crée “l’été“ – à 20 €\n  - voilà\n"
"""Every character of it has a byte in cp1252, and so has every byte of its UTF-8."""
EXPECTED = ImportedTask(
    ref="T001",
    title="Crée “l’été“ – à 20 €",
    line=5,
    description="- voilà",
    status="completed",
    tags=("parallel", "phase-1"),
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("saved_as", "misread_as"),
    [
        ("utf-8", ()),
        ("utf-8-sig", ()),
        ("utf-16", ()),
        ("cp1252", ()),
        ("utf-8", ("cp1252",)),
        ("utf-8-sig", ("cp1252",)),
        ("utf-8", ("latin-1",)),
        ("utf-8", ("latin-1", "latin-1")),
    ],
)
def test_the_encoding_a_file_was_saved_in_does_not_matter(
    saved_as: str, misread_as: tuple[str, ...], line_end: str
) -> None:
    document = SAMPLE.replace("\n", line_end).encode(saved_as)
    for encoding in misread_as:
        document = document.decode(encoding).encode()
    assert parse(document) == [EXPECTED]


@pytest.mark.parametrize(
    ("mark", "encoding"), [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")]
)
def test_utf_16_comes_in_either_byte_order(mark: bytes, encoding: str) -> None:
    assert parse(mark + SAMPLE.encode(encoding)) == [EXPECTED]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", "ï»¿".encode(), b"\xef\xbb\xbf" * 2])
def test_a_byte_order_mark_does_not_hide_the_first_task(mark: bytes) -> None:
    assert parse_task(mark + b"- [ ] T001 Do it\n").title == "Do it"


def test_latin_1_is_read_where_cp1252_has_no_such_byte() -> None:
    assert parse_task(b"- [ ] T001 \xe9\x81").title == "é\x81"


def test_encodings_may_differ_from_line_to_line() -> None:
    document = "- [ ] T001 é\n".encode() + b"- [ ] T002 \xe9\n" + "- [ ] T003 Ã©\n".encode()
    assert [task.title for task in parse_tasks(document)] == ["é", "é", "é"]


@pytest.mark.parametrize(
    ("damaged", "title"),
    [
        ("specâ†’planâ†’tasks", "spec→plan→tasks"),
        ("voilÃ\xa0 Ã\xa0 la", "voilà à la"),
        ("voilÃ le travail", "voilà le travail"),  # the no-break space became a plain one
        ("it\x92s", "it’s"),  # cp1252 read as Latin-1
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
    ],
)
def test_damage_is_repaired(damaged: str, title: str) -> None:
    assert parse_task(f"- [ ] T001 {damaged}\n").title == title


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_does_not_pass_for_a_file_without_tasks(encoding: str) -> None:
    (row,) = parse("- [ ] T001 Do it\n".encode(encoding))
    assert isinstance(row, BadRow)
    assert "NUL" in row.reason


@pytest.mark.parametrize(
    "title",
    [
        "“CAFÉ” – É”",
        "GRÖSSE “Ö”…",
        "São Paulo – Ação",
        "DÉJÀ VU… à 44×44 px ± 2°",
        "voilà\xa0! « À »",
        "→ ✅ 🎯",
        "на русском",
        "日本語のタスク",
        "a\ufffdb",
        "Fix 'Ã©' that should be 'é'",
        "ligature ﬁ, ﬀ, ½ and Ⅳ",
    ],
)
def test_correct_text_stays_as_it_is(title: str) -> None:
    assert parse_task(f"- [ ] T001 {title}\n  {title}\n").title == title


def test_a_mark_that_reads_right_switches_repair_off() -> None:
    document = f"- [ ] T001 Ã©\n{text.INTACT}\n- [ ] T002 Ã©\n"
    assert [task.title for task in parse_tasks(document)] == ["é", "Ã©"]
    broken = document.encode().decode("cp1252").encode()
    assert [task.title for task in parse_tasks(broken)] == ["é", "é"]


def test_the_library_that_repairs_is_loaded_only_for_broken_text() -> None:
    script = (
        "import io, sys; from concord.formats import spec_kit, words\n"
        "for title in ('naïve — café', 'Ã©'):\n"
        "    file = io.BytesIO(f'- [ ] T001 {title}'.encode())\n"
        "    list(spec_kit.parse(file, words.Words())); print('ftfy' in sys.modules)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    ).stdout
    assert printed.split() == ["False", "True"]


# Real files


@real_files
@pytest.mark.parametrize("errors", ["replace", "ignore"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_a_real_file_of_mojibake(encoding: str, errors: str) -> None:
    document = (DATA / "spec-kit-backend-data-layer.md").read_text(encoding="utf-8")
    tasks = parse_tasks(document.encode(encoding, errors))
    assert [task.ref for task in tasks] == [f"T{number:03}" for number in range(1, 51)]
    assert [task.ref for task in tasks if task.status != "completed"] == ["T048", "T049", "T050"]
    assert tasks[20].tags == ("parallel", "phase-4", "us2")


@real_files
def test_mojibake_in_a_real_title_is_repaired() -> None:
    tasks = parse_tasks((DATA / "spec-kit-backend-data-layer.md").read_bytes())
    assert tasks[-1].title == "Run `/sp.analyze` to verify spec→plan→tasks alignment"


@real_files
def test_a_real_file_that_is_correct_stays_as_it_is() -> None:
    data = (DATA / "spec-kit-event-discovery.md").read_bytes()
    lines = data.decode().splitlines()
    tasks = parse_tasks(data)
    assert len(tasks) == 70
    assert {task.status for task in tasks} == {"todo"}
    for task in tasks:
        assert lines[task.line - 1].endswith(f" {task.description or task.title}")
    assert sum("parallel" in task.tags for task in tasks) == sum(
        "[ ] T" in s and "[P]" in s for s in lines
    )


# The way back


def test_dump_writes_the_file_that_people_know() -> None:
    document = dump(
        make_task("Last", tags=("phase-10",)),
        make_task("Model", external_ref="T012", tags=("bug", "parallel", "phase-2", "us1")),
        make_task("Done", status="completed", description="- a\n\n- b", tags=("phase-1", "us2")),
        make_task("Setup", status="in_progress", tags=("phase-1", "us1e")),
        make_task("Inbox", status="canceled", external_ref="gh-1"),
        make_task("Polish", tags=("phase-n", "us10", "us2")),
    )
    assert document == (
        "# Tasks: API\n"
        "\n"
        "## Phase 1: Shared work\n"
        "\n"
        "- [x] T014 [US2] Done\n"
        "  - a\n"
        "\n"
        "  - b\n"
        "- [ ] T015 [US1e] Setup\n"
        "\n"
        "## Phase 2: User Story 1\n"
        "\n"
        "- [ ] T012 [P] [US1] Model\n"
        "\n"
        "## Phase 10: Shared work\n"
        "\n"
        "- [ ] T013 Last\n"
        "\n"
        "## Phase N: Shared work\n"
        "\n"
        "- [ ] T017 [US2] [US10] Polish\n"
        "\n"
        "## Tasks without a phase\n"
        "\n"
        "- [ ] T016 Inbox\n"
    )


def test_dump_of_nothing_is_a_title() -> None:
    assert list(spec_kit_dump.dump([], "A\nname")) == ["# Tasks: A name"]


def test_dump_marks_a_file_only_where_it_needs_it() -> None:
    assert text.INTACT not in dump(make_task("plain", description="plain"))
    assert text.INTACT in dump(make_task("plain", description="é"))


def test_dump_gives_every_task_a_ref_of_its_own() -> None:
    refs = ["T007", "T007", "T7", None, "T1000a", "t008", f"T{'9' * 18}", f"T{'9' * 300}"]
    tasks = [make_task(f"{number}", external_ref=ref) for number, ref in enumerate(refs)]
    assert [(task.ref, task.title) for task in parse_tasks(dump(*tasks))] == [
        ("T007", "0"),
        ("T1001", "1"),
        ("T1002", "2"),
        ("T1003", "3"),
        ("T1000a", "4"),
        ("T1004", "5"),
        ("T1005", "6"),
        ("T1006", "7"),
    ]


def test_dump_takes_the_first_of_several_phases() -> None:
    (task,) = parse_tasks(dump(make_task(tags=("Parallel", "phase-10", "phase-2", "US3"))))
    assert task.tags == ("parallel", "phase-2", "us3")


@pytest.mark.parametrize(
    ("description", "lines"),
    [
        ("plain\n\n  text", ["  plain", "", "    text"]),
        ("```\n- [ ] T002 x\n```", ["  ```", "  - [ ] T002 x", "  ```"]),
        ("- [ ] T002 x", ['  <!-- concord:description "- [ ] T002 x" -->']),
        ("  all\n  indented", ['  <!-- concord:description "  all\\n  indented" -->']),
        ("a\r\nb", ['  <!-- concord:description "a\\r\\nb" -->']),
        ("\r--> \n", ['  <!-- concord:description "\\r--\\u003e \\n" -->']),
        ("", ['  <!-- concord:description "" -->']),
    ],
)
def test_a_description_is_written_plainly_where_it_can_be(
    description: str, lines: list[str]
) -> None:
    document = dump(make_task(description=description), make_task("Next"))
    assert document.splitlines()[4:] == ["- [ ] T001 Do it", *lines, "- [ ] T002 Next"]
    assert [task.description for task in parse_tasks(document)] == [description, None]


# fmt: off
MISLEADING_WORDS = [
    "[P]", "[US1]", "[us2e]", "\\[P]", "\\\\[US1]", "**[P]**", "[P]:", "**", ":", "T002", "\\", "#",
    "- [ ] T009", "`", "```", "<!--", "-->", text.INTACT,
    "Ã©", "é", "É”", "Â ", "ï»¿", "\ufeff", "\x85", "\u2028",
]
MISLEADING_LINES = [
    "", "- a", "- [x] b", "- [ ] T009 x", "- [ ] T9", "```", "````sh", "~~~", "<!--", "-->",
    "## Phase 9: x", '<!-- concord:description "a" -->', text.INTACT, "Ã©", "\r", "text \r",
]
# fmt: on
STORABLE = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
ONE_LINE = st.characters(exclude_categories=("Cs",), exclude_characters="\0\n\r")
titles = (
    st.lists(st.sampled_from(MISLEADING_WORDS) | st.text(ONE_LINE, max_size=8), max_size=6)
    .map(lambda words: " ".join(words).strip())
    .filter(bool)
)
lines = st.tuples(
    st.sampled_from(["", "", " ", "  ", "\t", "    "]), st.sampled_from(MISLEADING_LINES)
)
descriptions = st.one_of(
    st.none(),
    st.lists(lines.map("".join), max_size=6).map("\n".join),
    st.text(STORABLE, max_size=30),
)
MARKERS = ["parallel", "us1", "us2", "us10", "us1e"]
PHASES = ["phase-1", "phase-2", "phase-10", "phase-3.1", "phase-n"]
OTHER_TAGS = ["bug", "user", "phase", "us", "parallel2", "phases-1"]


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    tags = draw(st.sets(st.sampled_from(MARKERS + OTHER_TAGS)))
    tags |= draw(st.sets(st.sampled_from(PHASES), max_size=1))
    return make_task(
        draw(titles),
        description=draw(descriptions),
        tags=tuple(sorted(tags)),
        status=draw(st.sampled_from(STATUSES)),
        external_ref=draw(st.sampled_from([None, "T001", "T002", "T020a", "T1234", "T1", "gh-1"])),
    )


Kept = tuple[str, str | None, tuple[str, ...], bool]


def kept_by_the_format(task: Task) -> Kept:
    tags = tuple(tag for tag in task.tags if tag in MARKERS + PHASES)
    return task.title, task.description, tags, task.status == "completed"


@settings(deadline=None)
@given(st.lists(tasks(), max_size=5))
def test_what_dump_writes_parse_reads_back(exported: list[Task]) -> None:
    imported = {task.ref: task for task in parse_tasks(dump(*exported))}
    read: list[Kept] = [
        (task.title, task.description, task.tags, task.status == "completed")
        for task in imported.values()
    ]
    assert sorted(read, key=repr) == sorted(map(kept_by_the_format, exported), key=repr)
    assert {task.status for task in imported.values()} <= {"todo", "completed"}
    first_titles = {task.external_ref: task.title for task in reversed(exported)}
    for ref in ("T001", "T002", "T020a", "T1234"):
        if ref in first_titles:
            assert imported[ref].title == first_titles[ref]


# Anything at all

fragments = st.sampled_from(
    [
        "- ", "* ", "[ ]", "[x]", "[-]", " T001", " T002", " T1", "**", "[P]", "[US1]", "title",
        " ", "  ", "\t", "\n", "\r\n", "```", "~~~", "<!--", "-->", "## Phase 1: ", "## x",
        "é", "Ã©", "\0",
    ]
)  # fmt: skip
documents = st.one_of(
    st.binary(),
    st.lists(fragments, max_size=60).map(lambda parts: "".join(parts).encode()),
    st.lists(fragments, max_size=60).map(lambda parts: "".join(parts).encode("utf-16")),
    st.binary().map(lambda rest: b"\xff\xfe" + rest),
)


@settings(deadline=None, max_examples=300)
@given(documents)
def test_nothing_in_a_file_raises(document: bytes) -> None:
    rows = parse(document)
    refs = [row.ref for row in rows if isinstance(row, ImportedTask)]
    assert len(refs) == len(set(refs))
    count = sum(1 for _ in text.lines(BytesIO(document)))
    for row in rows:
        assert 1 <= row.line <= count
        if isinstance(row, ImportedTask):
            assert 1 <= len(row.title) <= TITLE_LIMIT
            assert row.title == row.title.strip()
            assert text.fault(row.title + (row.description or "")) is None
        else:
            assert row.reason


@settings(deadline=None)
@given(
    bullet=st.sampled_from(["- ", "* ", "+ ", "-\t", "12. "]),
    box=st.sampled_from(["[ ]", "[x]", "[X]", "[]"]),
    ref=st.from_regex(r"T[0-9]{3,6}[a-z]?", fullmatch=True),
    bold=st.sampled_from(["", "**", "__"]),
    marks=st.lists(st.sampled_from(["[P]", "[US1]", "[US2e]", "**[US3]**"]), unique=True),
    title=st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=40).filter(
        lambda title: "[" not in title and "\\" not in title
    ),
)  # fmt: skip
def test_every_spelling_of_an_item_is_understood(
    bullet: str, box: str, ref: str, bold: str, marks: list[str], title: str
) -> None:
    line = f"{bullet}{box} {bold}{ref}{bold} {' '.join([*marks, title])}"
    tags = {"[P]": "parallel", "[US1]": "us1", "[US2e]": "us2e", "**[US3]**": "us3"}
    expected = ImportedTask(
        ref=ref,
        title=title,
        line=2,
        status="completed" if box in ("[x]", "[X]") else "todo",
        tags=tuple(sorted(tags[mark] for mark in marks)),
    )
    assert parse(f"{text.INTACT}\n{line}") == [expected]
