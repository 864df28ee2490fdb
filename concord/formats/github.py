"""GitHub's issues, as `gh issue list --json …` prints them: an array, or an object a line.

An issue's number is its ref, as `#12`; one of another repository is `owner/repository#12`. An
issue is closed as completed, or as what GitHub calls not planned or a duplicate: canceled. Labels
are tags, the author is the owner, a milestone's date is when it is due. `parent` and `blockedBy`
say what an issue is a part of and waits for; `subIssues` and `blocking` say the same of other
issues, which tell it themselves. What was not asked of `gh` says nothing, and changes nothing.

GitHub knows neither issues in progress nor priorities. An export tells these, and what else an
issue has no field for, in an object of its own, `concord`, which an import reads back. Everything
that has no home here (colours of labels, URLs, reactions …) is in `extra`, under GitHub's names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from concord.formats import text
from concord.formats.foreign_fields import described, tags_of
from concord.formats.github_dump import NAME, dump, rest
from concord.formats.github_fields import (
    STATUSES,
    due_of,
    is_open,
    nodes_at,
    number_of,
    ref_in,
    state_word,
)
from concord.formats.json_stream import (
    BrokenError,
    Reader,
    dict_at,
    fault,
    line_at,
    objects_at,
    text_at,
    time_at,
)
from concord.models import BadRow, ImportedComment, ImportedTask
from concord.vocabulary import PRIORITIES
from concord.vocabulary import STATUSES as OWN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from concord.formats.words import Words
    from concord.models import ParsedRow
    from concord.vocabulary import Priority, Status

__all__ = ["NAME", "dump", "parse"]

_OWN_STATUSES: dict[str, Status] = {status: status for status in OWN_STATUSES}
_OWN_PRIORITIES: dict[str, Priority] = {priority: priority for priority in PRIORITIES}


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each entry means: an `ImportedTask`, or a `BadRow` that says why it is none.

    `line` is the entry's number, from 1. Nothing in a file raises, and nothing is held in memory
    but the entry at hand. Where the file is no JSON, or was cut off, a `BadRow` is the last.
    """
    number = 1
    in_array = False
    reader = Reader(stream)
    try:
        for event in reader:
            if event[0] == ("end_array" if in_array else "start_array"):
                in_array = not in_array
                continue
            try:
                yield _issue(number, reader.value(event), words)
            except ValueError as error:
                yield BadRow(number, str(error))
            number += 1
    except BrokenError as error:
        expected = "expected what `gh issue list --json …` prints: " if number == 1 else ""
        yield BadRow(number, f"{expected}{error}")


def _issue(number: int, record: Any, words: Words) -> ImportedTask:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    issue = cast("dict[str, Any]", record)
    own = dict_at(issue, "concord")
    people: dict[str, str] = {}
    title, full_title = text.fit_title(line_at(issue, "title"))
    status = _status(issue, own, words)
    updated_at, created_at = time_at(issue, "updatedAt"), time_at(issue, "createdAt")
    closed_at = time_at(issue, "closedAt") or updated_at or created_at
    url = text_at(issue, "url")
    blockers, blocker_count = nodes_at(issue, "blockedBy")
    for part in nodes_at(issue, "subIssues")[0]:
        ref_in(url, part)  # is kept, and read when it is written again
    told = {
        "parent": "parent" in issue,
        "blocked_by": "blockedBy" in issue and len(blockers) == blocker_count,
        "comments": "comments" in issue,
    }
    task = ImportedTask(
        ref=_ref(issue, own),
        title=title,
        line=number,
        description=described(full_title, text_at(issue, "body")),
        status=status,
        priority=_priority(own, words),
        due=time_at(own, "due") if "due" in own else due_of(dict_at(issue, "milestone")),
        tags=tags_of(filter(None, (text_at(each, "name") for each in objects_at(issue, "labels")))),
        assignees=_assignees(issue, words, people),
        owner=_login(dict_at(issue, "author"), words, people),
        created_at=created_at,
        updated_at=updated_at,
        completed_at=closed_at if status == "completed" else None,
        canceled_at=closed_at if status == "canceled" else None,
        started_at=time_at(own, "startedAt"),
        parent=ref_in(url, dict_at(issue, "parent")),
        blocked_by=tuple(dict.fromkeys(filter(None, (ref_in(url, each) for each in blockers)))),
        comments=tuple(_comments(issue, words, people)),
        partial=tuple(name for name, whole in told.items() if not whole),
    )
    extra = rest(issue, task, people)
    if why := fault(extra):
        raise ValueError(f"a field {why}")
    return replace(task, extra=extra)


def _ref(issue: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    ref = number_of(issue) or text_at(own, "ref")
    if ref is None:
        raise ValueError("no number")
    return ref


def _status(issue: Mapping[str, Any], own: Mapping[str, Any], words: Words) -> Status:
    state = text_at(issue, "state") or "OPEN"
    told = text_at(own, "status")
    # GitHub alone knows whether it is open by now: the rest was written beside it earlier.
    if told and is_open(told) == (state.upper() == "OPEN"):
        return words.status(told, _OWN_STATUSES)
    return words.status(state_word(state, text_at(issue, "stateReason")), STATUSES)


def _priority(own: Mapping[str, Any], words: Words) -> Priority:
    told = text_at(own, "priority")
    return words.priority(told, _OWN_PRIORITIES) if told else "none"


def _login(person: Mapping[str, Any], words: Words, people: dict[str, str]) -> str | None:
    """Return the username for a person; remember in `people` what GitHub calls them."""
    login = text_at(person, "login")
    if login is None:
        return None
    try:
        username = words.user(login)
    except ValueError as error:
        raise ValueError(f"login: {error}") from None
    people[username] = login
    return username


def _assignees(issue: Mapping[str, Any], words: Words, people: dict[str, str]) -> tuple[str, ...]:
    names = (_login(each, words, people) for each in objects_at(issue, "assignees"))
    return tuple(sorted({name.lower(): name for name in names if name}.values()))


def _comments(
    issue: Mapping[str, Any], words: Words, people: dict[str, str]
) -> Iterator[ImportedComment]:
    """Yield the comments that say something, each id once."""
    seen: set[str] = set()
    for each in objects_at(issue, "comments"):
        body, ref = text_at(each, "body"), text_at(each, "id")
        if body is None or ref in seen:
            continue
        if ref is not None:
            seen.add(ref)
        author = _login(dict_at(each, "author"), words, people)
        yield ImportedComment(body, author, time_at(each, "createdAt"), ref)
