r"""spec-kit's `tasks.md`: a Markdown file with a checkbox item for each task.

    ## Phase 3: User Story 1
    - [ ] T012 [P] [US1] Create the model in src/models/user.py
      - with a unique email

`T012` is the task's `ref`, `[P]` its tag `parallel`, `[US1]` its tag `us1`, the phase heading
its tag `phase-3`; what is indented below an item is its description. A checkbox item whose own
id is a `T` number is a task wherever it is nested. One whose text begins with `T1`, `t001`,
`TXXX` and the like is a task that somebody mistyped, and a `BadRow`; any other checkbox is prose,
like everything in code blocks and HTML comments.

A phase that has tasks is a task as well, of which they are parts: its `ref` is `Phase 3`, its title
the heading, its description the paragraphs `**Goal**`, `**Purpose**`, `**Independent Test**` and
`**Checkpoint**`. It is completed when all of them are. What waits for what follows from the phases,
from `[P]` and from `(depends on T012)`: see `spec_kit_order`.

Three things of Concord's own, which other readers of Markdown take as nothing: a title that begins
with what would be a marker is written `\[P] …`; a description that such lines cannot hold exactly
is written as a JSON string inside an HTML comment; and so are the dependencies that neither the
order nor the text tells.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from concord.formats import spec_kit_order, text
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from concord.formats.words import Words
    from concord.models import ParsedRow

_TAB = 4

_CHECKBOX = re.compile(
    r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])\s*\[\s*+(?P<box>[^\]\s]?)\s*+\]\s*(?P<text>.*)", re.DOTALL
)
MARKER = r"(?:\*\*)?\[(?i:P|US[0-9]{1,6}[a-z]?)\](?:\*\*)?:?(?=\s|\[|\*\*\[|$)"
_MARKER_NAME = re.compile(r"\[(P|US[0-9]+[a-z]?)\]", re.IGNORECASE)
_TASK = re.compile(
    rf"(?P<before>(?:{MARKER}\s*)*)"
    r"(?P<bold>\*\*|__)?(?P<ref>T[0-9]{3,18}[A-Za-z]?)[:.]?(?P<end>(?P=bold))?[:.]?(?=\s|\[|$)"
    rf"(?P<after>(?:\s*{MARKER})*)\s*(?P<title>.*)",
    re.DOTALL,
)
_MISTYPED_TASK = re.compile(
    rf"(?:{MARKER}\s*)*(?P<id>[*_~`(\[]{{0,4}}[Tt][-_]?(?:[0-9]|[Xx#?]{{2}})\S{{0,30}})"
)
_ESCAPED_MARKER = re.compile(rf"\\+{MARKER}")

_HEADING = re.compile(r" {0,3}(?P<level>#{1,6})\s+(?P<text>.*)", re.DOTALL)
PHASE = re.compile(
    r"\W*(?i:phase)[\s-]+(?P<label>[0-9]{1,6}(?:\.[0-9]{1,6})*[A-Za-z]?(?!\.?\w)"
    r"|(?:[A-Z]|[IVX]{2,6})(?=\s*(?:[^\w\s]|$)))"
)
_FENCE = re.compile(r"[ \t]*(?P<fence>`{3,}+(?!.*`)|~{3,})")
_COMMENT = re.compile(r"[ \t]*<!--(?!.*-->)")
_EXACT_DESCRIPTION = re.compile(r'<!-- concord:description ("(?:[^"\\]|\\.)*") -->')
_DEPENDS = re.compile(r"<!-- concord:depends on (?P<refs>[A-Za-z0-9., ]*) -->")
_TOLD = re.compile(r"\*\*(?i:goal|purpose|independent test|checkpoint)\b")
_BOLD = re.compile(r"(\*\*|__)(.+)\1")
_NUMBER = re.compile(r"[0-9]+")


def parse(stream: BinaryIO, _words: Words) -> Iterator[ParsedRow]:
    """Yield what `read` does. People write these files, so they are small, and read whole."""
    return read(stream.read())


def read(data: bytes) -> Iterator[ParsedRow]:
    """Yield the phases and tasks of a `tasks.md` in the order of their lines.

    Nothing in a file raises: a task that cannot be taken (no title, a box that holds neither `x`
    nor a space, an id that is mistyped or occurred before, a NUL character) is a `BadRow`, and so
    is a code block or comment that is never closed and hides tasks. Titles beyond `TITLE_LIMIT`
    are cut and end in `…`, with the full text as the first paragraph of the description.
    """
    return iter(_Reader().read(text.prose(data)))


def phase_ref(label: str) -> str:
    """Return the ref of the phase that its heading calls `label`."""
    return f"Phase {label.lower() if label[0].isdigit() else label.upper()}"


@dataclass(slots=True)
class _Item:
    """A task whose description is still growing; `bad` tells why it will not become one."""

    line: int
    indent: int
    ref: str = ""
    title: str = ""
    completed: bool = False
    tags: set[str] = field(default_factory=set[str])
    body: list[str] = field(default_factory=list[str])
    bad: BadRow | None = None

    def add(self, number: int, line: str, fault: str | None) -> None:
        self.body.append(line)
        if fault and not self.bad:
            self.bad = BadRow(number, f"{self.ref} {fault}")

    def row(self) -> ImportedTask | BadRow:
        """Return the task by itself. Raises `ValueError` for a text that cannot be stored."""
        if self.bad:
            return self.bad
        description, _ = _description(_undented(self.body))
        return replace(
            _task(self.line, self.ref, self.title, description, completed=self.completed),
            tags=tuple(sorted(self.tags)),
        )

    def step(self, numbers: Mapping[str, int]) -> spec_kit_order.Step:
        """Return what its order depends on. `numbers` are those of all refs of the file."""
        description, told = _description(_undented(self.body))
        words = f"{self.title}\n{description or ''}"
        return spec_kit_order.Step(
            self.ref,
            "parallel" in self.tags,
            any(tag.startswith("us") for tag in self.tags),
            tuple(dict.fromkeys([*spec_kit_order.depends(words, numbers), *told])),
        )


@dataclass(slots=True)
class _Phase:
    """A phase, its tasks, and the paragraphs that describe it."""

    line: int
    level: int
    ref: str
    title: str
    heading: str
    paragraphs: list[list[str]] = field(default_factory=list[list[str]])
    depends: tuple[str, ...] = ()
    items: list[tuple[_Item, ImportedTask]] = field(
        default_factory=list[tuple[_Item, ImportedTask]]
    )

    def row(self) -> ImportedTask:
        """Return the phase as a task. Raises `ValueError` for a text that cannot be stored."""
        text = "\n\n".join("\n".join(paragraph) for paragraph in self.paragraphs)
        description, _ = _description(text)
        completed = all(item.completed for item, _ in self.items)
        row = _task(self.line, self.ref, self.title, description, completed=completed)
        return replace(row, auto_close=True)


@dataclass(slots=True)
class _Block:
    """A code block or comment that is open: no line in it is a task."""

    line: int
    what: str
    closes: Callable[[str], object]
    owner: _Item | None
    hidden: int = 0


class _Reader:
    """Reads one file, line by line."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._phase: _Phase | None = None
        self._paragraph: list[str] | None = None
        self._seen: dict[str, int] = {}
        self._items: list[tuple[_Item, _Phase | None]] = []
        self._open: list[_Item] = []
        self._block: _Block | None = None

    def read(self, lines: Iterable[str]) -> list[ImportedTask | BadRow]:
        for number, raw in enumerate(lines, start=1):
            # Without its NULs a line tells what it was meant to be: UTF-16 that lost its byte
            # order mark must not pass for a file without tasks.
            line, fault = raw.replace("\0", ""), text.fault(raw)
            if not line.strip(" \t"):
                self._paragraph = None
                if self._open:
                    self._open[-1].add(number, "", fault)
                continue
            indent = _indent(line)
            if self._in_block(number, line, indent, fault):
                continue
            while self._open and self._open[-1].indent >= indent:
                self._open.pop()
            self._take(number, line, indent, fault)
        rows = self._rows()
        if self._block and self._block.hidden and not self._block.owner:
            reason = (
                f"the {self._block.what} that opens here is never closed, "
                f"and hides {self._block.hidden} task(s)"
            )
            rows.append(BadRow(self._block.line, reason))
        return sorted(rows, key=lambda row: row.line)

    def _rows(self) -> list[ImportedTask | BadRow]:
        """Return the phases and tasks, each with what it waits for, and what is neither."""
        rows: list[ImportedTask | BadRow] = []
        loose: list[tuple[_Item, ImportedTask]] = []
        for item, phase in self._items:
            try:
                made = item.row()
            except ValueError as error:
                made = BadRow(item.line, str(error))
            if isinstance(made, BadRow):
                rows.append(made)
            else:
                (phase.items if phase else loose).append((item, made))
        phases = [phase for phase in self._phases.values() if phase.items]
        items = [*loose, *(pair for phase in phases for pair in phase.items)]
        numbers = {item.ref: int(_NUMBER.findall(item.ref)[0]) for item, _ in items}
        waits = spec_kit_order.blockers(
            [
                spec_kit_order.Phase(
                    phase.ref,
                    phase.heading,
                    tuple(item.step(numbers) for item, _ in phase.items),
                    phase.depends,
                )
                for phase in phases
            ],
            [item.step(numbers) for item, _ in loose],
        )
        for phase in phases:
            try:
                made = phase.row()
            except ValueError as error:
                rows.append(BadRow(phase.line, str(error)))
                continue
            rows.append(replace(made, blocked_by=waits.get(phase.ref, ())))
        parents = {item.ref: phase.ref for phase in phases for item, _ in phase.items}
        rows += [
            replace(made, parent=parents.get(made.ref), blocked_by=waits.get(made.ref, ()))
            for _, made in items
        ]
        return rows

    def _in_block(self, number: int, line: str, indent: int, fault: str | None) -> bool:
        """Read a line of an open block; False where the line is not, or no longer, in one."""
        block = self._block
        if not block:
            return False
        if block.owner and indent <= block.owner.indent:
            self._block = None  # as in Markdown, the end of an item closes what it holds
            return False
        if block.closes(line):
            self._block = None
        elif (checkbox := _CHECKBOX.match(line)) and _TASK.match(checkbox["text"]):
            block.hidden += 1
        if block.owner:
            block.owner.add(number, line, fault)
        return True

    def _take(self, number: int, line: str, indent: int, fault: str | None) -> None:
        """Read a line outside of blocks: a task, a part of the innermost open one, or prose."""
        if item := self._item(number, line, indent):
            if fault and not item.bad:
                item.bad = BadRow(number, f"{item.ref} {fault}")
            self._items.append((item, self._phase))
            self._open.append(item)
            self._paragraph = None
            return
        owner = self._open[-1] if self._open else None
        self._block = _opened_block(number, line, owner)
        if owner:
            owner.add(number, line, fault)
        elif heading := _HEADING.match(line):
            self._paragraph = None
            self._enter(number, len(heading["level"]), heading["text"].strip())
        elif self._phase:
            self._describe(self._phase, line.strip())

    def _enter(self, number: int, level: int, words: str) -> None:
        """Read a heading: of a phase, or of something else that may end one."""
        if label := PHASE.match(words):
            ref = phase_ref(label["label"])
            bold = _BOLD.fullmatch(words)
            found = _Phase(number, level, ref, bold[2] if bold else words, words[label.end() :])
            self._phase = self._phases.setdefault(ref, found)
            self._phase.level = level
        elif self._phase and level <= self._phase.level:
            self._phase = None

    def _describe(self, phase: _Phase, line: str) -> None:
        """Read a line of prose in a phase."""
        if self._block:
            self._paragraph = None
        elif depends := _DEPENDS.fullmatch(line):
            phase.depends = _listed(depends)
        elif _TOLD.match(line) or _EXACT_DESCRIPTION.fullmatch(line):
            self._paragraph = [line]
            phase.paragraphs.append(self._paragraph)
        elif self._paragraph:
            self._paragraph.append(line)

    def _item(self, number: int, line: str, indent: int) -> _Item | None:
        checkbox = _CHECKBOX.match(line)
        if not checkbox or checkbox["box"] in ("P", "p"):  # `- [P] marks …` explains the marker
            return None
        words, box = checkbox["text"].strip(), checkbox["box"]
        task = _TASK.match(words)
        if not task:
            mistyped = _MISTYPED_TASK.match(words)
            if not mistyped:
                return None
            bad = f"{mistyped['id']} is no task id: write T and three digits or more, like T001"
            return _Item(number, indent, bad=BadRow(number, bad))
        item = _Item(number, indent, task["ref"], _title(task), box in ("x", "X"))
        markers = _MARKER_NAME.findall(task["before"] + task["after"])
        item.tags.update("parallel" if name in "Pp" else name.lower() for name in markers)
        if self._phase:
            item.tags.add(self._phase.ref.lower().replace(" ", "-"))
        if box not in ("", "x", "X"):
            item.bad = BadRow(number, f"{item.ref} has {box} in its box: write [ ] or [x]")
        elif not item.title:
            item.bad = BadRow(number, f"{item.ref} has no title")
        elif (first := self._seen.setdefault(item.ref, number)) != number:
            item.bad = BadRow(number, f"{item.ref} was already on line {first}")
        return item


def _title(task: re.Match[str]) -> str:
    title = task["title"]
    if task["bold"] and not task["end"]:  # bold goes on into the title, or over all of it
        title = title.replace(task["bold"], "", 1)
    title = title.strip()
    return title[1:] if _ESCAPED_MARKER.match(title) else title


def _opened_block(number: int, line: str, owner: _Item | None) -> _Block | None:
    if fence := _FENCE.match(line):
        mark = fence["fence"]
        closing = re.compile(rf"[ \t]*{mark[0]}{{{len(mark)},}}[ \t]*")
        return _Block(number, "code block", closing.fullmatch, owner)
    if _COMMENT.match(line):
        return _Block(number, "comment", re.compile("-->").search, owner)
    return None


def _indent(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(_TAB))


def _undent(line: str, margin: int) -> str:
    """Take `margin` columns of indentation off `line`; what is left of a tab becomes spaces."""
    column = index = 0
    while column < margin:
        column += _TAB - column % _TAB if line[index] == "\t" else 1
        index += 1
    return " " * (column - margin) + line[index:]


def _undented(body: list[str]) -> str:
    """Return lines without the indentation that all of them have."""
    margin = min((_indent(line) for line in body if line), default=0)
    return "\n".join(_undent(line, margin) if line else "" for line in body).strip("\n")


def _description(words: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the description that a text is, and the refs in the comment before it."""
    depends: tuple[str, ...] = ()
    if told := _DEPENDS.match(words):
        depends = _listed(told)
        words = words[told.end() :].strip("\n")
    if exact := _EXACT_DESCRIPTION.fullmatch(words):
        try:
            return json.loads(exact[1]), depends
        except ValueError:
            pass
    return words or None, depends


def _listed(depends: re.Match[str]) -> tuple[str, ...]:
    return tuple(ref.strip() for ref in depends["refs"].split(",") if ref.strip())


def _task(
    line: int, ref: str, words: str, description: str | None, *, completed: bool
) -> ImportedTask:
    """Return a task. Raises `ValueError` saying why its text cannot be stored."""
    title, full_title = text.fit_title(words)
    if full_title:
        description = f"{full_title}\n\n{description}" if description else full_title
    if fault := text.fault(description or ""):
        raise ValueError(f"{ref} {fault}")
    status = "completed" if completed else "todo"
    return ImportedTask(ref=ref, title=title, line=line, description=description, status=status)
