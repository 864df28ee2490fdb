"""Issues there and back again: as they were, and as they are now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from format_tasks import all_exported, exported
from github_issues import FULL, dumped, issue, parse, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import github
from concord.models import BadRow, ImportedComment, ImportedTask
from concord.vocabulary import PRIORITIES, STATUSES, TITLE_LIMIT


def test_what_came_from_github_goes_back_as_it_was() -> None:
    epic, part = issue(number=9, body=""), issue(number=13, parent={"number": 9}, isPinned=True)
    rows = [task_of(told) for told in (FULL, epic, part)]
    whole, *others = all_exported(rows, "github")
    full, _, back = dumped(replace(whole, children=(3,)), *others)
    assert full == FULL
    assert (back["parent"], back["isPinned"]) == ({"number": 9}, True)


def test_the_fields_of_gh_are_all_there_for_a_task_of_our_own() -> None:
    parent = exported(ImportedTask("t-1", "Parent", 1), 1, "github")
    child = replace(
        exported(ImportedTask("bd-2", "Child", 1, priority="high"), 2, "github"),
        status="in_progress",
        parent=1,
        blocked_by=(1, 99),
        due=datetime(2026, 1, 2, tzinfo=UTC),
    )
    first, second = dumped(replace(parent, children=(2,)), child)
    assert first == {
        "number": None, "title": "Parent", "body": "", "state": "OPEN", "stateReason": "",
        "closed": False, "labels": [], "assignees": [], "author": {"login": "importer"},
        "createdAt": "2026-11-21T12:00:00Z", "updatedAt": "2026-11-21T12:00:00Z", "closedAt": None,
        "comments": [], "milestone": None, "url": None, "parent": None,
        "subIssues": {
            "nodes": [{"number": None, "concord": {"ref": str(child.uid)}}], "totalCount": 1,
        },
        "blockedBy": {"nodes": [], "totalCount": 0},
        "concord": {"ref": str(parent.uid)},
    }  # fmt: skip
    assert second["concord"] == {
        "ref": str(child.uid),
        "status": "in_progress",
        "priority": "high",
        "due": "2026-01-02T00:00:00Z",
    }
    row = task_of(second)
    assert (row.ref, row.parent, row.blocked_by) == (
        str(child.uid), str(parent.uid), (str(parent.uid),),
    )  # fmt: skip


def test_logins_that_are_no_names_here_come_back_with_their_comments() -> None:
    said = [
        {"id": f"IC_{login}", "author": {"login": login}, "body": "Yes", "createdAt": None}
        for login in ("me", "bo")
    ]
    row = task_of(issue(author={"login": "me"}, assignees=[{"login": "me"}], comments=said))
    assert (row.owner, row.assignees) == ("user-me", ("user-me",))
    assert [comment.author for comment in row.comments] == ["user-me", "bo"]
    (back,) = dumped(*all_exported([row], "github"))
    assert (back["author"], back["assignees"]) == ({"login": "me"}, [{"login": "me"}])
    assert [comment["author"] for comment in back["comments"]] == [
        {"login": "me"}, {"login": "bo"},
    ]  # fmt: skip


def test_lists_that_are_null_are_empty() -> None:
    row = task_of(issue(labels=None, assignees=None, comments=None))
    (back,) = dumped(*all_exported([row], "github"))
    assert back["labels"] == back["assignees"] == back["comments"] == []


def test_nothing_is_an_empty_array() -> None:
    assert dumped() == []


def test_what_changed_here_is_told_and_what_github_said_of_it_no_longer_is() -> None:
    (task,) = all_exported([task_of(FULL)], "github")
    changed = replace(
        task, title="Crash", status="todo", canceled_at=None, tags=("bug", "new"),
        assignees=("bo", "di"), due=None, updated_at=datetime(2026, 2, 2, tzinfo=UTC),
    )  # fmt: skip
    (back,) = dumped(changed)
    assert (back["title"], back["state"], back["stateReason"]) == ("Crash", "OPEN", "")
    assert (back["closedAt"], back["updatedAt"]) == (None, "2026-02-02T00:00:00Z")
    assert back["labels"] == [FULL["labels"][1], {"name": "new"}]
    assert back["assignees"] == [FULL["assignees"][0], {"login": "di"}]
    assert back["concord"] == {"due": None}
    assert task_of(back).due is None
    # What GitHub names but is not among these tasks is still as GitHub said.
    assert (back["parent"], back["blockedBy"]) == (FULL["parent"], FULL["blockedBy"])


def test_a_tie_that_was_cut_here_is_not_told_again() -> None:
    blocked = issue(
        blockedBy={"nodes": [{"number": 2, "title": "x"}], "totalCount": 1},
        parent={"number": 2, "title": "x"},
    )
    first, second = all_exported([task_of(blocked), task_of(issue(number=2))], "github")
    told, _ = dumped(replace(first, blocked_by=(), parent=None), second)
    assert told["blockedBy"] == {"nodes": [], "totalCount": 0}
    assert told["parent"] is None


def test_github_alone_knows_whether_an_issue_is_open_by_now() -> None:
    own = {"status": "in_progress", "priority": "low"}
    assert task_of(issue(concord=own)).status == "in_progress"
    assert task_of(issue(concord=own, state="CLOSED")).status == "completed"
    assert task_of(issue(concord=own)).priority == "low"


NAMES = st.from_regex(r"(?!(?:me|none)\Z)[a-z][a-z0-9-]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LINES = TEXTS.map(lambda text: " ".join(text.split())[:TITLE_LIMIT].strip()).filter(bool)


@st.composite
def rows(draw: st.DrawFn) -> ImportedTask:
    status = draw(st.sampled_from(STATUSES))
    at = draw(TIMES)
    return ImportedTask(
        ref=draw(st.sampled_from(["#1", "#42", "3e7d4c1e-0000-4000-8000-000000000001"])),
        title=draw(LINES),
        line=1,
        description=draw(TEXTS.filter(str.strip) | st.none()),
        status=status,
        priority=draw(st.sampled_from(PRIORITIES)),
        due=draw(TIMES | st.none()),
        tags=tuple(sorted(draw(st.sets(NAMES)))),
        assignees=tuple(sorted(draw(st.sets(NAMES)))),
        owner=draw(NAMES),
        created_at=draw(TIMES),
        updated_at=draw(TIMES),
        started_at=at if status == "in_progress" else draw(TIMES | st.none()),
        completed_at=at if status == "completed" else None,
        canceled_at=at if status == "canceled" else None,
        comments=tuple(
            ImportedComment(body, author, time, f"IC_{number}")
            for number, (body, author, time) in enumerate(
                draw(st.lists(st.tuples(TEXTS.filter(str.strip), NAMES, TIMES), max_size=3))
            )
        ),
    )


@given(rows())
@settings(max_examples=60, deadline=None)
def test_whatever_is_exported_comes_back_the_same(row: ImportedTask) -> None:
    extra = {"concord": {"ref": row.ref}} if not row.ref.startswith("#") else {}
    told = replace(row, extra=extra)
    (back,) = parse("\n".join(github.dump([exported(told, 7, "github")])))
    assert isinstance(back, ImportedTask)
    assert replace(back, extra={}) == row
    again = "\n".join(github.dump([exported(back, 7, "github")]))
    assert again == "\n".join(github.dump([exported(told, 7, "github")]))


KEYS = st.sampled_from([*FULL, "concord", "nodes", "totalCount", "name", "login", "dueOn", "ref"])
JSON = st.recursive(
    st.none() | st.integers(-1, 9) | st.text() | st.booleans() | st.just("2026-01-02T00:00:00Z"),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, JSON), st.booleans())
@settings(max_examples=60, deadline=None)
def test_nothing_in_a_file_raises_and_what_is_read_can_be_written(
    told: dict[str, Any], whole: bool
) -> None:
    (row,) = parse(json.dumps([told | issue() if whole else told]))
    assert isinstance(row, BadRow | ImportedTask)
    if isinstance(row, ImportedTask):
        (back,) = dumped(exported(row, 1, "github"))
        assert (back["number"], back["title"]) == (int(row.ref[1:]), row.title)
