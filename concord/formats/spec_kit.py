r"""spec-kit's `tasks.md`: a Markdown file with a checkbox item for each task.

    ## Phase 3: User Story 1
    - [ ] T012 [P] [US1] Create the model in src/models/user.py
      - with a unique email

`T012` is the task's `ref`, `[P]` its tag `parallel`, `[US1]` its tag `us1`, the phase heading
its tag `phase-3`; what is indented below an item is its description. A checkbox item whose own
id is a `T` number is a task wherever it is nested. One whose text begins with `T1`, `t001`,
`TXXX` and the like is a task that somebody mistyped, and a `BadRow`; any other checkbox is prose,
like everything in code blocks and HTML comments.

Two things of Concord's own, which other readers of Markdown take as nothing: a title that begins
with what would be a marker is written `\[P] …`, and a description that indented lines cannot
hold exactly is written as a JSON string inside an HTML comment.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concord.formats import text
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from concord.models import ParsedRow, Task

_TAB = 4

_CHECKBOX = re.compile(
    r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])\s*\[\s*+(?P<box>[^\]\s]?)\s*+\]\s*(?P<text>.*)", re.DOTALL
)
_MARKER = r"(?:\*\*)?\[(?i:P|US[0-9]{1,6}[a-z]?)\](?:\*\*)?:?(?=\s|\[|\*\*\[|$)"
_MARKER_NAME = re.compile(r"\[(P|US[0-9]+[a-z]?)\]", re.IGNORECASE)
_TASK = re.compile(
    rf"(?P<before>(?:{_MARKER}\s*)*)"
    r"(?P<bold>\*\*|__)?(?P<ref>T[0-9]{3,18}[A-Za-z]?)[:.]?(?P<end>(?P=bold))?[:.]?(?=\s|\[|$)"
    rf"(?P<after>(?:\s*{_MARKER})*)\s*(?P<title>.*)",
    re.DOTALL,
)
_MISTYPED_TASK = re.compile(
    rf"(?:{_MARKER}\s*)*(?P<id>[*_~`(\[]{{0,4}}[Tt][-_]?(?:[0-9]|[Xx#?]{{2}})\S{{0,30}})"
)
_ESCAPED_MARKER = re.compile(rf"\\+{_MARKER}")
_MARKER_LIKE = re.compile(rf"\\*{_MARKER}")

_HEADING = re.compile(r" {0,3}(?P<level>#{1,6})\s+(?P<text>.*)", re.DOTALL)
_PHASE = re.compile(
    r"\W*(?i:phase)[\s-]+(?P<label>[0-9]{1,6}(?:\.[0-9]{1,6})*[A-Za-z]?(?!\.?\w)"
    r"|(?:[A-Z]|[IVX]{2,6})(?=\s*(?:[^\w\s]|$)))"
)
_FENCE = re.compile(r"[ \t]*(?P<fence>`{3,}+(?!.*`)|~{3,})")
_COMMENT = re.compile(r"[ \t]*<!--(?!.*-->)")
_EXACT_DESCRIPTION = re.compile(r'<!-- concord:description ("(?:[^"\\]|\\.)*") -->')

_STORY_TAG = re.compile(r"us([0-9]{1,6}[a-z]?)")
_PHASE_TAG = re.compile(r"phase-([0-9]{1,6}(?:\.[0-9]{1,6})*[a-z]?|[a-z]|[ivx]{2,6})")
# One digit less than `parse` reads: the number after the highest can be read as well.
_OWN_REF = re.compile(r"T([0-9]{3,17})[A-Za-z]?")


def parse(data: bytes) -> Iterator[ParsedRow]:
    """Yield the tasks of a `tasks.md` in the order of their lines.

    Nothing in a file raises: a task that cannot be taken (no title, a box that holds neither `x`
    nor a space, an id that is mistyped or occurred before, a NUL character) is a `BadRow`, and so
    is a code block or comment that is never closed and hides tasks. Titles beyond `TITLE_LIMIT`
    are cut and end in `…`, with the full text as the first paragraph of the description.
    """
    return _Reader().read(text.prose(data))


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
        if self.bad:
            return self.bad
        title, full_title = text.fit_title(self.title)
        description = _description(self.body)
        if full_title:
            description = f"{full_title}\n\n{description}" if description else full_title
        if fault := text.fault(description or ""):
            return BadRow(self.line, f"{self.ref} {fault}")
        return ImportedTask(
            ref=self.ref,
            title=title,
            line=self.line,
            description=description,
            status="completed" if self.completed else "todo",
            tags=tuple(sorted(self.tags)),
        )


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
        self._phase: tuple[int, str] | None = None
        self._seen: dict[str, int] = {}
        # Items nest. A family is handed out, in the order of its lines, as soon as a line stands
        # outside of all of them.
        self._family: list[_Item] = []
        self._open: list[_Item] = []
        self._block: _Block | None = None

    def read(self, lines: Iterable[str]) -> Iterator[ParsedRow]:
        for number, raw in enumerate(lines, start=1):
            # Without its NULs a line tells what it was meant to be: UTF-16 that lost its byte
            # order mark must not pass for a file without tasks.
            line, fault = raw.replace("\0", ""), text.fault(raw)
            if not line.strip(" \t"):
                if self._open:
                    self._open[-1].add(number, "", fault)
                continue
            indent = _indent(line)
            if self._in_block(number, line, indent, fault):
                continue
            while self._open and self._open[-1].indent >= indent:
                self._open.pop()
            if not self._open:
                yield from self._complete_family()
            self._take(number, line, indent, fault)
        yield from self._complete_family()
        if self._block and self._block.hidden and not self._block.owner:
            yield BadRow(
                self._block.line,
                f"the {self._block.what} that opens here is never closed, "
                f"and hides {self._block.hidden} task(s)",
            )

    def _complete_family(self) -> Iterator[ParsedRow]:
        yield from (item.row() for item in self._family)
        self._family.clear()

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
            self._family.append(item)
            self._open.append(item)
            return
        owner = self._open[-1] if self._open else None
        self._block = _opened_block(number, line, owner)
        if owner:
            owner.add(number, line, fault)
        elif heading := _HEADING.match(line):
            level = len(heading["level"])
            if phase := _PHASE.match(heading["text"]):
                self._phase = (level, f"phase-{phase['label'].lower()}")
            elif self._phase and level <= self._phase[0]:
                self._phase = None

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
            item.tags.add(self._phase[1])
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


def _description(body: list[str]) -> str | None:
    margin = min((_indent(line) for line in body if line), default=None)
    if margin is None:
        return None
    description = "\n".join(_undent(line, margin) if line else "" for line in body).strip("\n")
    if exact := _EXACT_DESCRIPTION.fullmatch(description):
        try:
            return json.loads(exact[1])
        except ValueError:
            pass
    return description


def dump(tasks: Iterable[Task], name: str) -> Iterator[str]:
    """Yield the lines (without line ends) of a `tasks.md` titled `name`, to be saved as UTF-8.

    `parse` reads the same refs, titles, descriptions and markers back. Tasks stand under their
    phase, in the order of the phases, and those without one in a section of their own at the
    end. A task whose `external_ref` is not a `T` number of its own gets the next free one.

    The format knows done and not done, one phase for a task (the first is taken), and no tags but
    `parallel`, `phase-N` and `usN`; the rest of a task has no place in it.
    """
    tasks = list(tasks)
    phases: dict[str | None, list[tuple[str, Task]]] = {}
    for ref, task in zip(_refs(tasks), tasks, strict=True):
        phase = next(iter(_labels(task, _PHASE_TAG)), None)
        phases.setdefault(phase, []).append((ref, task))
    yield f"# Tasks: {' '.join(name.split())}"
    if not all(f"{task.title}{task.description}".isascii() for task in tasks):
        yield text.INTACT
    for phase in sorted(phases, key=lambda label: (label is None, _natural(label or ""))):
        yield ""
        yield _heading(phase, [task for _, task in phases[phase]])
        yield ""
        for ref, task in phases[phase]:
            yield _item_line(ref, task)
            yield from _body(task.description)


def _refs(tasks: list[Task]) -> Iterator[str]:
    """Yield a ref for each task: its own `T` number, else the next after the highest of all."""
    own = [_OWN_REF.fullmatch(task.external_ref or "") for task in tasks]
    fresh = itertools.count(max((int(ref[1]) for ref in own if ref), default=0) + 1)
    used: set[str] = set()
    for match in own:
        ref = match[0] if match and match[0] not in used else f"T{next(fresh):03}"
        used.add(ref)
        yield ref


def _labels(task: Task, tag: re.Pattern[str]) -> list[str]:
    """Return what the tags of `task` that have the form `tag` tell, in natural order."""
    matches = (tag.fullmatch(name.lower()) for name in task.tags)
    return sorted((match[1] for match in matches if match), key=_natural)


def _natural(label: str) -> list[tuple[int, str]]:
    """Order labels as people count: 2 before 10, numbers before letters."""
    parts = re.findall(r"([0-9]+)|([a-z]+)", label)
    return [(int(number), "") if number else (10**6, letters) for number, letters in parts]


def _heading(phase: str | None, tasks: list[Task]) -> str:
    if phase is None:
        return "## Tasks without a phase"
    stories = {story for task in tasks for story in _labels(task, _STORY_TAG)}
    what = f"User Story {stories.pop()}" if len(stories) == 1 else "Shared work"
    return f"## Phase {phase if phase[0].isdigit() else phase.upper()}: {what}"


def _item_line(ref: str, task: Task) -> str:
    markers = ["[P]"] if "parallel" in map(str.lower, task.tags) else []
    markers += [f"[US{story}]" for story in _labels(task, _STORY_TAG)]
    title = "\\" + task.title if _MARKER_LIKE.match(task.title) else task.title
    return " ".join([f"- [{'x' if task.status == 'completed' else ' '}] {ref}", *markers, title])


def _body(description: str | None) -> list[str]:
    """Return `description` as indented lines where they read back the same, else as JSON."""
    if description is None:
        return []
    lines = [line and f"  {line}" for line in description.split("\n")]
    item = ImportedTask(ref="T001", title="-", line=1, description=description)
    document = "\n".join(["- [ ] T001 -", *lines]).encode()
    if list(_Reader().read(text.lines(document))) == [item]:
        return lines
    # The comment must not end inside the JSON.
    exact = json.dumps(description).replace(">", "\\u003e")
    return [f"  <!-- concord:description {exact} -->"]
