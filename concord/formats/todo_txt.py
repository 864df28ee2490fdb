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
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from concord import recurrence
from concord.formats import text, todo_txt_dump, todo_txt_line
from concord.formats.beginning import beginning
from concord.formats.todo_txt_days import Days
from concord.formats.words import Words
from concord.models import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concord.formats.beginning import Numbered
    from concord.formats.todo_txt_line import Line
    from concord.models import ImportedTask, ParsedRow

NAME = todo_txt_dump.NAME
dump = todo_txt_dump.dump

_PLACES = 1 << 20
_ESCAPED = re.compile("[\udc80-\udcff]")


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each line means: an `ImportedTask`, or a `BadRow` that says why it is none.

    The text is UTF-8, UTF-16 where a byte order mark says so, or, line by line, cp1252. Nothing in
    a file raises. What there is no room for in memory is read twice; of that, only a megabyte and
    the digests of texts that occur again are held. Raises `Usage` where tasks recur and the
    system's time zone has no name.
    """
    start = stream.tell()
    lines = _lines(stream)
    kept = list(map(_split, beginning(lines)))
    following = next(lines, None)
    if not kept and following is None:
        yield BadRow(1, "expected a task a line, as `(A) 2026-01-31 Call the bank +home @phone`")
    rest = () if following is None else map(_split, chain((following,), lines))
    refs = _Refs(each.fingerprint for each in chain(kept, rest))
    tasks = _Tasks(words, refs)
    yield from map(tasks.row, kept)
    if following is not None:
        del kept
        stream.seek(start)
        again = (each for each in _lines(stream) if each[0] >= following[0])
        yield from map(tasks.row, map(_split, again))


class _Split(NamedTuple):
    """A line that is not blank, and what is the same in each state of its task."""

    number: int
    line: str
    parts: Line
    fingerprint: bytes


def _split(numbered: Numbered) -> _Split:
    number, line = numbered
    parts = todo_txt_line.split(line)
    return _Split(number, line, parts, parts.fingerprint)


class _Tasks:
    """What lines mean, in the order of the file."""

    def __init__(self, words: Words, refs: _Refs) -> None:
        self._words = words
        self._refs = refs
        self._days = Days()
        self._clock: str | None = None

    def row(self, told: _Split) -> ParsedRow:
        """Return the task of the next line. Raises `Usage`."""
        if fault := text.fault(told.line):
            return BadRow(told.number, f"the line {fault}")
        ref = self._refs.ref(told)
        try:
            task = _task(told.line, told.parts, self._words, self._days, ref, told.number)
        except ValueError as error:
            return BadRow(told.number, str(error))
        if task.recurrence:
            self._clock = self._clock or recurrence.zone()
            task = replace(task, recurrence_zone=self._clock)
        return task


class _Refs:
    """What lines are called.

    Repeats are numbered without remembering every line. A first reading counts, up to two, how
    many lines fall on each of a fixed number of places; only those on a place with two can be
    repeats, and they alone are remembered.
    """

    def __init__(self, fingerprints: Iterable[bytes]) -> None:
        self._lines_on = bytearray(_PLACES)
        self._seen: Counter[bytes] = Counter()
        for fingerprint in fingerprints:
            place = _place(fingerprint)
            self._lines_on[place] = min(2, self._lines_on[place] + 1)

    def ref(self, told: _Split) -> str:
        """Return what the next line is called."""
        name, fingerprint = told.parts.name, told.fingerprint
        if name is not None:
            return name
        if self._lines_on[_place(fingerprint)] < 2:
            return fingerprint.hex()
        self._seen[fingerprint] += 1
        count = self._seen[fingerprint]
        return fingerprint.hex() if count == 1 else f"{fingerprint.hex()}-{count}"


def _place(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint[:4], "big") % _PLACES


def _lines(stream: BinaryIO) -> Iterator[Numbered]:
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


def _task(line: str, parts: Line, words: Words, days: Days, ref: str, number: int) -> ImportedTask:
    """Return the task that a line tells. Raises ValueError."""
    task = todo_txt_line.read(parts, words, days, ref=ref, number=number)
    dated = parts.created_on and (parts.done_on or not parts.done)
    if dated and " ".join(todo_txt_dump.write(task, days)) == line:
        return task
    extra: dict[str, Any] = {"line": line}
    if words.ruled:
        plain = todo_txt_line.read(parts, Words(), days, ref=ref, number=number)
        told = {name: getattr(task, name) for name in todo_txt_dump.MEANT}
        if meant := {name: value for name, value in told.items() if value != getattr(plain, name)}:
            extra["meant"] = meant
    return replace(task, extra=extra)
