"""todo.txt: a task a line, `x DONE CREATED text`, `(A) CREATED text +project @context key:value`.

- The title is the text up to the projects, contexts and keys that it ends with. Those in the middle
  of the sentence stay words of it, except `due:`, `rec:`, `t:`, `pri:`, `h:`, `status:`, `id:` and
  `uid:`. A text too long for a title is the description as well.
- `x` is completed; an `x` with `status:canceled` is canceled, and without an `x`
  `status:in_progress` is in progress. All else is to do.
- A is urgent, B high, C medium, all other letters are low; `pri:A` is the letter of a line that
  has none at its front, as those that are done.
- Days are those of the system's time zone: created and done at their beginning, due at their end.
- `@context` is a tag, the first `+project` the project.
- `rec:+2w` is `every 2w`, from the due date; `rec:2w` is `after 2w`, from the completion. Business
  days (`rec:3b`) have no rule here.

A line has no number. What the last `id:` or `uid:` says identifies a task, else a digest of its
words, projects, contexts and keys, so that a line that is done, or due on another day, is still the
same task; with other words it is another one. The second and further lines of the same words are
told apart by their order.

The line itself is kept in `extra`, unless the task gives it back: with the letters E to Z, `t:`,
`h:`, all other keys, further projects, missing dates and spaces. What is exported is that line for
as long as it tells the task as it is, and otherwise the line with what has changed; an `id:` is
added where its words are others by now, as they are where a line named no project and its task is
in one. A task that is not from a todo.txt gets a `uid:`.

The format has no place for descriptions, comments, parents, blockers, owners, assignees, times of
day, when a task was started, and recurrence by hours or days of the week. Nothing can be quoted: a
title that begins or ends like a line's other parts is read as those. Empty lines mean nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from concord import recurrence
from concord.dates import local_now
from concord.formats import text, todo_txt_dump, todo_txt_line
from concord.formats.words import Words
from concord.models import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from concord.formats.todo_txt_line import Line
    from concord.models import ImportedTask, ParsedRow

NAME = todo_txt_dump.NAME
dump = todo_txt_dump.dump

_PLACES = 1 << 20
_ESCAPED = re.compile("[\udc80-\udcff]")


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each line means: an `ImportedTask`, or a `BadRow` that says why it is none.

    The text is UTF-8, UTF-16 where a byte order mark says so, or, line by line, cp1252. Nothing in
    a file raises. It is read twice, and nothing is held in memory but a megabyte and the digests
    of texts that occur again. Raises `Usage` where tasks recur and the system's time zone has no
    name.
    """
    start = stream.tell()
    refs = _Refs(_lines(stream))
    stream.seek(start)
    zone, clock = local_now().tzinfo, None
    number = 0
    for number, line in _lines(stream):
        if fault := text.fault(line):
            yield BadRow(number, f"the line {fault}")
            continue
        parts = todo_txt_line.split(line)
        try:
            task = _task(line, parts, words, zone, refs.ref(parts), number)
        except ValueError as error:
            yield BadRow(number, str(error))
            continue
        if task.recurrence:
            clock = clock or recurrence.zone()
            task = replace(task, recurrence_zone=clock)
        yield task
    if not number:
        yield BadRow(1, "expected a task a line, as `(A) 2026-01-31 Call the bank +home @phone`")


class _Refs:
    """What lines are called.

    Repeats are numbered without remembering every line. A first reading counts, up to two, how
    many lines fall on each of a fixed number of places; only those on a place with two can be
    repeats, and they alone are remembered.
    """

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines_on = bytearray(_PLACES)
        self._seen: Counter[bytes] = Counter()
        for _, line in lines:
            place = _place(todo_txt_line.split(line).fingerprint)
            self._lines_on[place] = min(2, self._lines_on[place] + 1)

    def ref(self, line: Line) -> str:
        """Return what the next line is called."""
        if line.name is not None:
            return line.name
        fingerprint = line.fingerprint
        if self._lines_on[_place(fingerprint)] < 2:
            return fingerprint.hex()
        self._seen[fingerprint] += 1
        count = self._seen[fingerprint]
        return fingerprint.hex() if count == 1 else f"{fingerprint.hex()}-{count}"


def _place(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint[:4], "big") % _PLACES


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    for number, line in enumerate(text.lines(stream), start=1):
        if line.strip():
            yield number, _decoded(line)


def _decoded(line: str) -> str:
    """Return a line whose bytes that are no UTF-8 were those of an older encoding."""
    if not _ESCAPED.search(line):
        return line
    raw = line.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _task(
    line: str, parts: Line, words: Words, zone: tzinfo | None, ref: str, number: int
) -> ImportedTask:
    """Return the task that a line tells. Raises ValueError."""
    task = todo_txt_line.read(parts, words, zone, ref=ref, number=number)
    dated = parts.created_on and (parts.done_on or not parts.done)
    if dated and " ".join(todo_txt_dump.write(task, zone)) == line:
        return task
    extra: dict[str, Any] = {"line": line}
    plain = todo_txt_line.read(parts, Words(), zone, ref=ref, number=number)
    told = {name: getattr(task, name) for name in todo_txt_dump.MEANT}
    if meant := {name: value for name, value in told.items() if value != getattr(plain, name)}:
        extra["meant"] = meant
    return replace(task, extra=extra)
