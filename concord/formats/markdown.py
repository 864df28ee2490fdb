"""Markdown for readers: a section a project, a checkbox a task, its parts below it.

What people wrote cannot break out of its place. Titles and names are text alone. Descriptions and
comments are Markdown, as they were written, unless that could reach beyond the task (HTML, link
definitions, a fence that stays open): then they are shown as code, letter by letter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING

from concord.plain import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from concord.models import Comment, ExportedTask

_STEP = "  "
_IN_MEMORY = 2**22
"""Bytes of text beyond which it waits in a temporary file."""

_LINE_END = re.compile("\r\n?|\n")
# An underscore inside a word and an ampersand that begins no entity mean only themselves.
_SPECIAL = re.compile(r"[\\`*\[\]<>~$|]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|&(?=#?[0-9A-Za-z]+;)")
_BEYOND = re.compile(r"<(?!https?://[^\s<>]*>)[A-Za-z/!?]|\]:")
"""What may begin HTML, whose tags know no indentation, or a link that holds for the whole file."""
_FENCE = re.compile(r"(`{3,})([^`]*)|(~{3,})(.*)")
_INDENTED_FENCE = re.compile(r"[ \t]+(?:```|~~~)")
_BULLET = re.compile(r"\s*([-*+])(?:\s|$)")
_BULLETS = "-*+"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a task stands among the others, and its text in the spool."""

    task: int
    parent: int | None
    project: str | None
    start: int
    size: int
    bullet: str
    """What its parts begin with. Lists in its description do not, or they would go on in them."""


def dump(tasks: Iterable[ExportedTask]) -> Iterator[str]:
    """Yield the lines of a document, without line ends.

    Projects stand in the order of their keys, tasks without one last; tasks, and the parts of one,
    stand in the order in which they come. What is held until all have come is where each belongs,
    and their texts, in a temporary file where they are long.
    """
    with SpooledTemporaryFile(_IN_MEMORY) as spool:
        places = {task.id: _place(task, spool) for task in tasks}
        roots, parts = _arranged(places)
        yield "# Tasks"
        for project in sorted(roots, key=lambda key: (key is None, key or "")):
            yield from ("", f"## {_escaped(project or 'Without a project')}", "")
            apart = False
            for number, (place, depth, bullet) in enumerate(_walk(roots[project], parts)):
                spool.seek(place.start)
                first, *rest = spool.read(place.size).decode().split("\n")
                if number and (rest or apart):
                    yield ""
                apart = bool(rest)
                below = f" (part of {place.parent})" if place.parent and not depth else ""
                yield f"{_STEP * depth}{bullet} {first}{below}"
                for line in rest:
                    yield line and f"{_STEP * (depth + 1)}{line}"


def _place(task: ExportedTask, spool: IO[bytes]) -> _Place:
    """Write a task's lines, not yet indented, and return its place."""
    lines = [_heading(task)]
    bullet = _BULLETS[0]
    description = _lines(task.description or "")
    if description:
        taken = {match[1] for line in description if (match := _BULLET.match(line))}
        free = [each for each in _BULLETS if each not in taken]
        sound = free and not _reaches_beyond(description) and not _stays_open(description)
        bullet = free[0] if sound else bullet
        lines += ["", *(description if sound else _as_code(description))]
    for comment in task.comments:
        lines += ["", *_quoted(comment)]
    text = "\n".join(lines).encode()
    start = spool.tell()
    spool.write(text)
    return _Place(task.id, task.parent, task.project, start, len(text), bullet)


def _arranged(
    places: Mapping[int, _Place],
) -> tuple[dict[str | None, list[_Place]], dict[int, list[_Place]]]:
    """Return the tasks of each project that are no part of one there, and the parts of each."""
    roots: dict[str | None, list[_Place]] = {}
    parts: dict[int, list[_Place]] = {}
    for place in places.values():
        above = None if place.parent is None else places.get(place.parent)
        if above is not None and above.project == place.project:
            parts.setdefault(above.task, []).append(place)
        else:
            roots.setdefault(place.project, []).append(place)
    return roots, parts


def _walk(
    roots: Sequence[_Place], parts: Mapping[int, Sequence[_Place]]
) -> Iterator[tuple[_Place, int, str]]:
    """Yield tasks, each before its parts, with its depth and what its line begins with."""
    ahead = [(place, 0, _BULLETS[0]) for place in reversed(roots)]
    while ahead:
        place, depth, bullet = ahead.pop()
        yield place, depth, bullet
        below = reversed(parts.get(place.task, ()))
        ahead += [(part, depth + 1, place.bullet) for part in below]


def _heading(task: ExportedTask) -> str:
    closed = task.status in ("completed", "canceled")
    heading = f"[{'x' if closed else ' '}] **{task.id}** {_escaped(task.title)}"
    details = " · ".join(_details(task))
    return f"{heading} — {details}" if details else heading


def _details(task: ExportedTask) -> Iterator[str]:
    if task.status == "in_progress":
        yield "in progress"
    if task.completed_at is not None:
        yield f"completed {_shown(task.completed_at)}"
    if task.canceled_at is not None:
        yield f"canceled {_shown(task.canceled_at)}"
    if task.priority != "none":
        yield task.priority
    if task.due is not None:
        yield f"due {_shown(task.due)}"
    if task.recurrence is not None:
        yield task.recurrence
    if task.assignees:
        yield " ".join(f"@{_escaped(name)}" for name in task.assignees)
    if task.tags:
        yield " ".join(f"#{_escaped(tag)}" for tag in task.tags)
    if task.blocked_by:
        yield f"blocked by {', '.join(map(str, task.blocked_by))}"
    if task.external_ref is not None:
        yield f"known as {_escaped(task.external_ref)}"
    if task.deleted_at is not None:
        yield "in the trash"


def _quoted(comment: Comment) -> Iterator[str]:
    body = _lines(comment.body)
    yield f"> **{_escaped(comment.author)}**, {_shown(comment.created_at)}"
    yield ">"
    for line in _as_code(body) if _reaches_beyond(body) else body:
        yield f"> {line}" if line else ">"


def _lines(text: str) -> list[str]:
    """Return the lines of a text from the first to the last that is not blank."""
    lines = [visible(line) if line.strip() else "" for line in _LINE_END.split(text)]
    told = [place for place, line in enumerate(lines) if line]
    return lines[told[0] : told[-1] + 1] if told else []


def _as_code(lines: Iterable[str]) -> list[str]:
    return [line and f"    {line}" for line in lines]


def _reaches_beyond(lines: Iterable[str]) -> bool:
    return any(_BEYOND.search(line) for line in lines)


def _stays_open(lines: Iterable[str]) -> bool:
    """Return whether a fence may be open at the end; of indented ones that is hard to say."""
    fence = ""
    for line in lines:
        if _INDENTED_FENCE.match(line):
            return True
        if fence:
            closes = line.startswith(fence) and not line.lstrip(fence[0]).strip()
            fence = "" if closes else fence
        elif match := _FENCE.fullmatch(line):
            fence = match[1] or match[3]
    return bool(fence)


def _escaped(text: str) -> str:
    """Return text on one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\g<0>", visible(" ".join(text.split())))


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).isoformat(' ', 'minutes')[:16]} UTC"
