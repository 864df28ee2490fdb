"""The formats that Concord reads and writes, without the cost of their modules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from concord.formats.words import Words
    from concord.models import ExportedTask, ParsedRow


@dataclass(frozen=True, slots=True)
class Format:
    """A format by the name it has on the command line.

    `reads` and `writes` say what it holds, where Concord reads or writes it. A `directory` has a
    file for each task. `entry` is what rows are counted in, as messages name them. Where tasks
    have a project, or none on purpose, none `needs_project`. `line_end` is the one of what is
    written into a file.
    """

    name: str
    reads: str | None = None
    writes: str | None = None
    directory: bool = False
    entry: str = "line"
    needs_project: bool = True
    line_end: str = "\n"

    def parser(self) -> Callable[[Any, Words], Iterable[ParsedRow]]:
        """Return what reads a seekable binary stream, or a directory's path."""
        return cast("Any", self._module()).parse

    def dumper(
        self, title: str, *, spreadsheet: bool = False
    ) -> Callable[[Iterable[ExportedTask]], Iterable[Any]]:
        """Return what writes lines without their ends; for a directory (file name, content).

        `title` is what a document is about, for formats that are one; `spreadsheet` is for CSV.
        """
        dump = cast("Any", self._module("_dump")).dump
        if spreadsheet:
            return partial(dump, spreadsheet=True)
        return partial(dump, name=title) if self.name in _TITLED else dump

    def _module(self, suffix: str = "") -> ModuleType:
        module = {"csv": "table"}.get(self.name, self.name.replace("-", "_"))
        if suffix and module in _SPLIT:
            module += suffix
        return import_module(f"concord.formats.{module}")


_SPLIT = frozenset({"spec_kit"})
"""Modules that leave writing to another one."""

_TITLED = frozenset({"spec-kit"})
"""Formats whose documents have a title."""

FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        Format(
            "jsonl",
            reads="what `export jsonl` wrote",
            writes="all of a task: Concord's own format",
            needs_project=False,
        ),
        Format("beads", reads="the issues of a beads JSON Lines file"),
        Format(
            "spec-kit",
            reads="the T… items of a spec-kit tasks.md",
            writes="a tasks.md in spec-kit's order",
        ),
        Format(
            "taskwarrior",
            reads="what `task export` printed",
            writes="what `task import` takes",
            entry="entry",
        ),
        Format("todo-txt", reads="a todo.txt", writes="a todo.txt"),
        Format(
            "github",
            reads="what `gh issue list --json …` printed",
            writes="the like of `gh issue list --json …`",
            entry="entry",
        ),
        Format("linear", reads="Linear's CSV export", needs_project=False),
        Format("jira", reads="Jira's CSV export", needs_project=False),
        Format(
            "backlog-md",
            reads="the directory of a Backlog.md project",
            writes="a directory with a Markdown file a task",
            directory=True,
            entry="file",
        ),
        Format("task-master", reads="Task Master's tasks.json", entry="entry"),
        Format("csv", writes="a header, then a line a task"),
        Format("markdown", writes="a document for people to read"),
        Format("ics", writes="a calendar's to-dos (RFC 5545)", line_end="\r\n"),
    )
}
"""By name: those that are read first, in the order in which help shows them."""

READ = tuple(made.name for made in FORMATS.values() if made.reads)
WRITTEN = tuple(made.name for made in FORMATS.values() if made.writes)
