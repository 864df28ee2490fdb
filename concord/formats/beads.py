"""beads' JSON Lines: an issue, its labels, dependencies and comments in a line.

An issue waits for what `blocks` it, and is a part of its first `parent-child`. What a task has no
field for goes into its description, as sections: design, acceptance criteria, notes, close reason
and all dependencies that are none here: those of other types, on issues that are not in the file,
on a second parent, and those that close a circle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from concord.formats import text
from concord.formats.beginning import beginning
from concord.formats.names import tag_name
from concord.models import BadRow, ImportedComment, ImportedTask, SkippedRow, Unlinked
from concord.order import arrange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from concord.formats.beginning import Numbered
    from concord.formats.words import Words
    from concord.models import ParsedRow
    from concord.vocabulary import Priority, Status

_TOMBSTONE = "tombstone"
_STATUSES: dict[str, Status] = {
    "open": "todo",
    "in_progress": "in_progress",
    "hooked": "in_progress",
    "blocked": "todo",
    "deferred": "todo",
    "pinned": "todo",
    "closed": "completed",
}
_PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "medium", "low", "none")
_SECTIONS = {
    "Design": "design",
    "Acceptance criteria": "acceptance_criteria",
    "Notes": "notes",
    "Close reason": "close_reason",
    "External reference": "external_ref",
}


class _UnreadableError(Exception):
    """A line is no issue; the message says why."""


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each line of a beads export means; empty lines mean nothing.

    Tombstones, and records that are not issues (beads exports memories too), are `SkippedRow`s.
    Nothing in a file raises: a line that cannot be read is a `BadRow`, and so is one whose id
    occurred before. Titles become one line within `TITLE_LIMIT`; a longer one ends in `…`, with
    the full text as the first paragraph of the description. Priority 0 is `urgent`; none is `none`.
    At the end come, as `Unlinked`, further parents and the dependencies that would close a circle.

    What cannot be linked goes into a description, so that all ids and dependencies are gathered
    before the first row is yielded. Rows wait for that as far as there is room for them; what
    follows is gone through twice.
    """
    start = stream.tell()
    lines = _lines(stream)
    seen: dict[str, int] = {}
    kept = list(_rows(beginning(lines), seen, words))
    following = next(lines, None)
    if following is None:
        links = _Links(_linked(kept))
        yield from map(links.resolved, kept)
    else:
        rest = chain((following,), lines)
        links = _Links(_linked(chain(kept, _rows(rest, dict(seen), words.afresh()))))
        yield from map(links.resolved, kept)
        del kept
        stream.seek(start)
        again = (each for each in _lines(stream) if each[0] >= following[0])
        yield from map(links.resolved, _rows(again, seen, words))
    yield from links.unlinked


def _lines(stream: BinaryIO) -> Iterator[Numbered]:
    """Yield the lines that are not blank, with their numbers."""
    for number, line in enumerate(text.lines(stream), start=1):
        if line and not line.isspace():
            yield number, line


def _rows(
    lines: Iterable[Numbered], seen: dict[str, int], words: Words
) -> Iterator[_Issue | SkippedRow | BadRow]:
    for number, line in lines:
        try:
            yield _row(number, _record(line), seen, words)
        except _UnreadableError as error:
            yield BadRow(number, str(error))


def _linked(
    rows: Iterable[_Issue | SkippedRow | BadRow],
) -> Iterator[tuple[str, Sequence[_Dependency]]]:
    return ((row.task.ref, row.dependencies) for row in rows if isinstance(row, _Issue))


@dataclass(frozen=True, slots=True)
class _Dependency:
    """What an issue says of another one."""

    kind: str
    on: str
    own: bool
    """Whether it is the issue's own, and not another one's that stands in its line."""

    @property
    def line(self) -> str:
        return f"- {self.kind} {self.on}"


@dataclass(frozen=True, slots=True)
class _Issue:
    """An issue whose dependencies are still to be sorted out."""

    task: ImportedTask
    dependencies: tuple[_Dependency, ...]

    def linked(
        self, parent: str | None, blockers: list[str], known: frozenset[str]
    ) -> ImportedTask:
        """Return the task with these, and with all other dependencies in its description."""
        carried = {("parent-child", parent), *(("blocks", blocker) for blocker in blockers)}
        rest = [
            each.line
            for each in self.dependencies
            if not (each.own and (each.kind, each.on) in carried and each.on in known)
        ]
        parts = [self.task.description, _section("Dependencies", "\n".join(rest))]
        return replace(
            self.task,
            description="\n\n".join(filter(None, parts)) or None,
            parent=parent,
            blocked_by=tuple(blockers),
        )


def _on(dependencies: Sequence[_Dependency], kind: str) -> list[str]:
    """Return the issues that one depends on in a way, each once."""
    return list(dict.fromkeys(each.on for each in dependencies if each.own and each.kind == kind))


class _Links:
    """Who is part of whom and waits for whom in a file, without circles."""

    def __init__(self, issues: Iterable[tuple[str, Sequence[_Dependency]]]) -> None:
        told = dict(issues)
        self._known = frozenset(told)
        self._parents: dict[str, str] = {}
        self._blockers: dict[str, list[str]] = {}
        self.unlinked: list[Unlinked] = []
        for ref, dependencies in told.items():
            if not dependencies:
                continue
            if blockers := _on(dependencies, "blocks"):
                self._blockers[ref] = blockers
            # One that is in the file, if any is: the others may be long gone.
            parents = sorted(
                _on(dependencies, "parent-child"), key=lambda on: on not in self._known
            )
            parent, *others = parents or [None]
            if parent is not None:
                self._parents[ref] = parent
            for other in others:
                reason = f"a task is part of one other, here of {parent}"
                self.unlinked.append(Unlinked(ref, "parent", str(other), reason))
        linked = {*self._parents, *self._parents.values(), *self._blockers}
        linked.update(*self._blockers.values())
        names = [ref for ref in told if ref in linked]
        for each in arrange(names, self._parents, self._blockers).left_out:
            if each.field == "parent":
                del self._parents[each.name]
            else:
                self._blockers[each.name].remove(each.other)
            circle = " → ".join([*each.circle, each.circle[0]])
            reason = f"would close a circle: {circle}"
            self.unlinked.append(Unlinked(each.name, each.field, each.other, reason))

    def resolved(self, row: _Issue | SkippedRow | BadRow) -> ParsedRow:
        """Return an issue's task, and any other row as it is."""
        if not isinstance(row, _Issue):
            return row
        if not row.dependencies:
            return row.task
        ref = row.task.ref
        return row.linked(self._parents.get(ref), self._blockers.get(ref, []), self._known)


def _record(line: str) -> dict[str, Any]:
    if fault := text.fault(line):
        raise _UnreadableError(f"the line {fault}")
    try:
        record = json.loads(line)
    except RecursionError:
        raise _UnreadableError("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _UnreadableError(
            f"not valid JSON ({error.msg} at column {error.colno}); is the line cut off?"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise _UnreadableError(f"not valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise _UnreadableError("not a JSON object")
    return cast("dict[str, Any]", record)


def _row(
    number: int, record: dict[str, Any], seen: dict[str, int], words: Words
) -> _Issue | SkippedRow:
    kind = _text(record, "_type")
    if kind not in (None, "issue"):
        return SkippedRow(number, f"a record of type {kind}, not an issue")
    ref = _required(record, "id")
    if ref in seen:
        raise _UnreadableError(f"{ref} was already on line {seen[ref]}")
    if _text(record, "status") == _TOMBSTONE:
        row = SkippedRow(number, f"{ref} was deleted (tombstone)")
    else:
        row = _task(number, ref, record, words)
    seen[ref] = number
    return row


def _task(number: int, ref: str, record: dict[str, Any], words: Words) -> _Issue:
    title_lines = map(str.strip, _required(record, "title").splitlines())
    title, full_title = text.fit_title(" ".join(filter(None, title_lines)))
    assignee = _user(record, "assignee", words)
    # beads leaves its default out.
    status = words.status(_text(record, "status") or "open", _STATUSES)
    updated_at = _time(record, "updated_at")
    closed_at = _time(record, "closed_at")
    task = ImportedTask(
        ref=ref,
        title=title,
        line=number,
        description=_description(full_title, record),
        status=status,
        priority=_priority(record),
        due=_time(record, "due_at"),
        tags=_tags(record),
        assignees=(assignee,) if assignee else (),
        owner=_user(record, "created_by", words) or _user(record, "owner", words),
        created_at=_time(record, "created_at"),
        updated_at=updated_at,
        completed_at=(closed_at or updated_at) if status == "completed" else None,
        comments=tuple(_comments(record, words)) if "comments" in record else (),
    )
    return _Issue(task, tuple(_dependencies(ref, record)) if "dependencies" in record else ())


def _text(record: dict[str, Any], key: str) -> str | None:
    """Return the text at `key`; None where it is missing, null or blank."""
    value = record.get(key)
    if value is None:
        return None
    # Most texts are plain, and there are many.
    if type(value) is not str or not value.isascii() or "\0" in value:
        value = _storable(value, key)
    return None if not value or value.isspace() else value


def _storable(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _UnreadableError(f"{what} is not a string")
    if fault := text.fault(value):
        raise _UnreadableError(f"{what} {fault}")
    return value


def _required(record: dict[str, Any], key: str) -> str:
    value = _text(record, key)
    if not value:
        raise _UnreadableError(f"no {key}")
    return value


def _priority(record: dict[str, Any]) -> Priority:
    priority = record.get("priority")
    if priority is None:
        return "none"
    if type(priority) is not int or not 0 <= priority < len(_PRIORITIES):
        raise _UnreadableError(f"priority is not a whole number from 0 to 4: {priority!r}")
    return _PRIORITIES[priority]


def _time(record: dict[str, Any], key: str) -> datetime | None:
    value = _text(record, key)
    if not value:
        return None
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise _UnreadableError(f"{key} has no UTC offset: {value!r}")
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _UnreadableError(f"{key} is not an RFC 3339 time: {value!r}") from None


def _user(record: dict[str, Any], key: str, words: Words) -> str | None:
    value = _text(record, key)
    try:
        return words.user(value) if value else None
    except ValueError as error:
        raise _UnreadableError(f"{key}: {error}") from error


def _tags(record: dict[str, Any]) -> tuple[str, ...]:
    """Return labels and issue type, sorted; of two that differ in case only, the first."""
    labels = [_storable(label, "a label") for label in _list(record, "labels")]
    labels.append(_text(record, "issue_type") or "")
    try:
        return _tags_of(tuple(labels))
    except ValueError as error:
        raise _UnreadableError(f"a label: {error}") from error


@lru_cache(maxsize=1024)  # many issues have the same few
def _tags_of(labels: tuple[str, ...]) -> tuple[str, ...]:
    tags: dict[str, str] = {}
    for tag in map(tag_name, filter(str.strip, labels)):
        tags.setdefault(tag.lower(), tag)
    return tuple(sorted(tags.values()))


def _list(record: dict[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _UnreadableError(f"{key} is not a list")
    return cast("list[Any]", value)


def _objects(record: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    for value in _list(record, key):
        if not isinstance(value, dict):
            raise _UnreadableError(f"{key} holds something that is not an object")
        yield cast("dict[str, Any]", value)


def _description(full_title: str | None, record: dict[str, Any]) -> str | None:
    parts = [full_title, _text(record, "description")]
    for heading, key in _SECTIONS.items():
        if key in record:
            parts.append(_section(heading, _text(record, key)))
    return "\n\n".join(part.strip("\n") for part in parts if part) or None


def _section(heading: str, content: str | None) -> str | None:
    return f"## {heading}\n\n" + content.strip("\n") if content else None


def _dependencies(ref: str, record: dict[str, Any]) -> Iterator[_Dependency]:
    for each in _objects(record, "dependencies"):
        kind = _text(each, "type") or "blocks"
        on = _required(each, "depends_on_id")
        yield _Dependency(kind, on, own=(_text(each, "issue_id") or ref) == ref)


def _comments(record: dict[str, Any], words: Words) -> Iterator[ImportedComment]:
    """Yield the comments that say something, each with a ref that stays the same."""
    refs: set[str] = set()
    for each in _objects(record, "comments"):
        author = _user(each, "author", words)
        created_at = _time(each, "created_at")
        body = (_text(each, "text") or "").strip("\n")
        given = each.get("id")
        told = f"{author}\n{created_at}\n{body}"
        ref = str(given) if type(given) is int else _text(each, "id")
        if not ref or ref in refs:
            ref = hashlib.sha256(told.encode()).hexdigest()[:32]
        if body and ref not in refs:
            refs.add(ref)
            yield ImportedComment(body, author, created_at, ref)
