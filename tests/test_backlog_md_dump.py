"""Files of Backlog.md that come back as they were, or as the tool would write them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from backlog_files import FULL, backlog, dumped, parse, row_of, task_file
from format_tasks import all_exported, exported
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import backlog_file, backlog_md, front_yaml
from concord.formats.backlog_md_dump import NAME_BYTES, file_name
from concord.models import BadRow, ImportedComment, ImportedTask
from concord.vocabulary import PRIORITIES, STATUSES, TITLE_LIMIT

if TYPE_CHECKING:
    from pathlib import Path


FORMS = {
    "as the tool writes it": FULL,
    "nothing in it": task_file(),
    "a body alone": task_file(body="\nJust words.\n\n\n"),
    "no sections' markers": task_file(body="\n## Description\n\nWhat.\n\n## Final Summary\nx"),
    "line ends": FULL.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + FULL,
    "comments in the YAML": task_file("# why\nlabels: [ 'a',b ]   # these\nmilestone: null\n"),
    "another order": "---\ntitle: x\nid: task-001\nstatus: done\ncreated_date: 2026-01-02\n---\nx",
    "a long title": task_file(title="word " * 60, body="\nText.\n"),
    "a description with a later heading": FULL.replace("## Not a section", "## Final Summary"),
    "empty": task_file("labels:\nassignee: ''\n"),
    "no title of one line": task_file(title='"a\\n b"'),
    "ties that lead nowhere": task_file("dependencies: [TASK-99]\nparent_task_id: '98'\n"),
    "right to left": task_file(title="שלום 🙂", body="\nمرحبا\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_comes_back_byte_for_byte(tmp_path: Path, form: str) -> None:
    backlog(tmp_path, task_1=FORMS[form], task_7=task_file(id="TASK-7"))
    rows = [row for row in parse(tmp_path) if isinstance(row, ImportedTask)]
    assert dumped(*rows)[0] == FORMS[form]


def test_what_changed_is_written_and_the_rest_stays(tmp_path: Path) -> None:
    row = row_of(tmp_path, FULL)
    (task,) = all_exported([row], "backlog-md")
    changed = replace(task, title="New: title", status="completed", tags=("bug",), due=None,
                      assignees=("bo", "di"), parent=None, priority="none")  # fmt: skip
    ((name, content),) = backlog_md.dump([changed])
    assert name == "task-2 - New-title.md"
    expected = FULL.replace("'Everything / all: \"options\" & more?'", "'New: title'")
    expected = expected.replace("In Progress", "Done").replace("  - front end\n", "")
    expected = expected.replace("  - '@ana'\n  - bo\n", "  - '@bo'\n  - '@di'\n")
    expected = expected.replace("due_date: '2026-02-01'\n", "").replace("priority: high\n", "")
    assert content == expected


def test_ties_to_tasks_that_are_here_are_told_as_they_are_now(tmp_path: Path) -> None:
    content = task_file("dependencies: [task-2, '3']\nparent_task_id: task-2\n")
    backlog(tmp_path, task_1=content, task_2=task_file(id="TASK-2"), task_4=task_file(id="TASK-4"))
    rows = [row for row in parse(tmp_path) if isinstance(row, ImportedTask)]
    first, *others = all_exported(rows, "backlog-md")
    changed = replace(first, blocked_by=(3,), parent=3)
    told = backlog_file.load(next(iter(backlog_md.dump([changed, *others])))[1])
    assert told.fields["dependencies"] == ["3", "TASK-4"]
    assert told.fields["parent_task_id"] == "TASK-4"


def test_tasks_of_our_own_are_numbered_behind_those_of_the_tool() -> None:
    rows = [ImportedTask("TASK-12", "Theirs", 1), ImportedTask("API-3", "Jira's", 2),
            ImportedTask("bd-1", "Ours", 3, blocked_by=("TASK-12",), parent="API-3")]  # fmt: skip
    names = [name for name, _ in backlog_md.dump(all_exported(rows, "beads"))]
    assert names == ["task-12 - Theirs.md", "task-14 - Jira-s.md", "task-15 - Ours.md"]
    told = backlog_file.load(dumped(*rows)[2]).fields
    assert (told["dependencies"], told["parent_task_id"]) == (["TASK-12"], "TASK-14")


def test_a_rule_within_a_comment_does_not_end_it(tmp_path: Path) -> None:
    comment = ImportedComment(
        "Hi\n---\n<!-- COMMENTS:END -->", "ana", datetime(2026, 1, 2, tzinfo=UTC)
    )
    (content,) = dumped(ImportedTask("TASK-1", "x", 1, comments=(comment,)))
    assert row_of(tmp_path, content).comments == (
        replace(comment, body="Hi\n***\n<!--COMMENTS:END -->"),
    )


def test_an_id_that_two_tasks_have_is_given_to_one() -> None:
    one, two = (exported(ImportedTask("TASK-3", "Same", 1), number, "x") for number in (1, 2))
    assert [name for name, _ in backlog_md.dump([one, two])] == [
        "task-3 - Same.md",
        "task-5 - Same.md",
    ]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("First task: set up 'the' thing", "task-1 - First-task-set-up-the-thing.md"),
        ("../../etc/passwd", "task-1 - etc-passwd.md"),
        ("a\\b/c\0d\x1be\u202ef", "task-1 - a-b-c-d-e-f.md"),
        ("...", "task-1 - Untitled.md"),
        ("v1.2_x 日本 🙂", "task-1 - v1.2_x-日本-🙂.md"),
        ("é" * 255, "task-1 - " + "é" * 94 + ".md"),
        ("ends.", "task-1 - ends.md"),
    ],
)
def test_a_file_s_name_fits_every_file_system(title: str, name: str) -> None:
    assert file_name("TASK-1", title) == name


@given(st.text(max_size=TITLE_LIMIT))
@settings(max_examples=60, deadline=None)
def test_a_file_s_name_is_never_more_than_a_name(title: str) -> None:
    name = file_name("TASK-1", title)
    assert name.startswith("task-1 - ")
    assert name.endswith(".md")
    assert len(name.encode()) <= NAME_BYTES
    assert not set(name) & set('/\\:*?"<>|\0\r\n\t')
    assert name.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**14), 10**14) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_fields_that_are_written_are_read_the_same(fields: dict[str, Any]) -> None:
    try:
        told = front_yaml.load(front_yaml.dump(fields))
    except ValueError as error:
        assert "NUL" in str(error) or "too deeply" in str(error)  # noqa: PT017
        return
    assert told == fields


NAMES = st.from_regex(r"(?!(?:me|none)\Z)[a-z][a-z0-9-]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))
BODIES = TEXTS.map(lambda text: text.strip("\n")).filter(str.strip)
SAYINGS = BODIES.filter(lambda text: "---" not in text and "<!-- COMMENTS:" not in text)
LINES = TEXTS.map(lambda text: " ".join(text.split())[:TITLE_LIMIT].strip()).filter(bool)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda time: time.replace(second=0, microsecond=0)
)


@st.composite
def rows(draw: st.DrawFn) -> ImportedTask:
    status = draw(st.sampled_from(STATUSES))
    created_at, updated_at = draw(TIMES), draw(TIMES)
    return ImportedTask(
        ref=draw(st.sampled_from(["TASK-1", "TASK-42.1", "DRAFT-3"])),
        title=draw(LINES),
        line=1,
        description=draw(BODIES | st.none()),
        status=status,
        priority=draw(st.sampled_from(PRIORITIES)),
        due=draw(TIMES | st.none()),
        tags=tuple(sorted(draw(st.sets(NAMES)))),
        assignees=tuple(sorted(draw(st.sets(NAMES)))),
        owner=draw(NAMES),
        created_at=created_at,
        updated_at=updated_at,
        completed_at=updated_at if status == "completed" else None,
        canceled_at=updated_at if status == "canceled" else None,
        comments=tuple(
            ImportedComment(body, author, time)
            for body, author, time in draw(st.lists(st.tuples(SAYINGS, NAMES, TIMES), max_size=3))
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backlog")


@given(row=rows())
@settings(max_examples=60, deadline=None)
def test_whatever_is_exported_comes_back_the_same(folder: Path, row: ImportedTask) -> None:
    ((_, content),) = backlog_md.dump([exported(row, 7, "backlog-md")])
    back = row_of(folder, content)
    assert replace(back, extra={}) == row
    assert "text" not in back.extra
    assert [told for _, told in backlog_md.dump([exported(back, 7, "backlog-md")])] == [content]


@given(content=st.text() | st.text().map(lambda text: f"---\nid: 1\n{text}\n---\n{text}"))
@settings(max_examples=60, deadline=None)
def test_nothing_in_a_file_raises_and_what_is_read_comes_back(folder: Path, content: str) -> None:
    (row,) = parse(backlog(folder, task_1=content.encode("utf-8", "surrogatepass")))
    assert isinstance(row, BadRow | ImportedTask)
    if isinstance(row, ImportedTask):
        assert dumped(row) == [content]
