"""Results on their way out: a table for a terminal, TSV for a pipe, JSON, JSON Lines, CSV, ids.

The only importer of rich, and only for a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from concord.errors import Usage
from concord.plain import cell, dumps, tsv, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from concord.models import Change, Undone

TABLE = {
    "Task": ("id", "status", "priority", "project", "title", "due", "assignees", "tags"),
    "TreeNode": ("id", "depth", "parent", "status", "priority", "title", "waits_for"),
    "Readiness": ("id", "ready", "status", "priority", "due", "title", "reasons"),
    "Card": (
        *("status", "id", "priority", "project", "title", "due", "assignees", "tags"),
        "blocked",
    ),
    "DueTask": (
        *("id", "status", "priority", "project", "title", "due", "assignees", "tags"),
        "overdue",
    ),
    "Found": ("id", "rank", "status", "title", "excerpt"),
    "Suggestion": ("id", "urgency", "title", "why", "terms"),
    "User": ("username", "email", "created_at"),
    "Project": ("key", "name", "owner", "archived_at", "description"),
    "Tag": ("name", "tasks"),
    "View": ("name", "command"),
    "Alias": ("name", "command"),
    "Change": ("id", "at", "actor", "operation", "entity", "entity_id", "version", "old", "new"),
    "Undone": ("xid", "at", "operation", "entity", "entity_id", "old", "new"),
    "WatchedChange": (
        *("id", "at", "actor", "operation", "entity", "entity_id", "version", "old", "new"),
        "cursor",
    ),
    "SettingRow": ("name", "value", "source"),
    "Check": ("check", "ok", "value"),
    "Probe": ("check", "ok", "value", "needed_by"),
    "Result": (
        *("scenario", "strategy", "isolation", "verdict", "ok", "failed", "retries", "unknown"),
        *("lost", "waits", "longest_wait_ms", "p50_ms", "p95_ms", "p99_ms", "ok_per_s"),
    ),
    "Finding": ("scenario", "isolation", "expected", "observed", "agrees", "sqlstate", "detail"),
}
"""Model → the columns that a list shows unless told otherwise."""

SCREEN = {
    "Task": ("id", "status", "priority", "project", "due", "title"),
    "TreeNode": ("id", "status", "priority", "title", "waits_for"),
    "Readiness": ("id", "ready", "priority", "due", "title", "reasons"),
    "Change": ("at", "actor", "operation", "entity", "version", "change"),
    "Undone": ("at", "operation", "entity", "change"),
    "Result": ("scenario", "strategy", "verdict", "ok", "retries", "lost", "p95_ms", "ok_per_s"),
}
"""Model → the columns of a terminal, which is narrow, where they are not those of `TABLE`."""

TABLE["TaskInFull"], SCREEN["TaskInFull"] = TABLE["Task"], SCREEN["Task"]
SCREEN["DueTask"] = SCREEN["Task"]

SCREEN["WatchedChange"] = SCREEN["Change"]

HANDLE = {
    "User": "username",
    "Project": "key",
    "Member": "user",
    "Tag": "name",
    "View": "name",
    "Alias": "name",
    "Undone": "entity_id",
    "SettingRow": "name",
    "Check": "check",
    "Probe": "check",
    "Step": "xid",
    "Result": "verdict",
    "Finding": "scenario",
    "Moment": "step",
    "Flow": "name",
    "TaskRun": "task",
    "Seeded": "tasks",
    "ListPlan": "cost",
    "ServerStatus": "running",
    "DatabaseUrl": "url",
}
"""Model → the field that names it on the command line; `id` otherwise."""

_STYLES = {
    "urgent": "bold red",
    "high": "yellow",
    "in_progress": "cyan",
    "completed": "green",
    "canceled": "dim",
    "released": "yellow",
    "lost": "bold red",
    "none": "dim",
    "false": "bold red",
    "PROVED": "green",
    "VIOLATED": "bold red",
    "INCONCLUSIVE": "yellow",
}

_NUMBERS = frozenset(
    {"created", "completed", "canceled", "open", "urgency", "rank"}
    | {"lead_p50_s", "lead_p90_s", "cycle_p50_s", "cycle_p90_s"}
    | {"id", "version", "tasks", "entity_id", "ok", "failed", "retries", "unknown", "lost", "waits"}
    | {"longest_wait_ms", "longest_ms", "p50_ms", "p95_ms", "p99_ms", "p50_p95_p99_ms", "ok_per_s"}
)
_PROSE = frozenset(
    {"title", "description", "name", "change", "old", "new", "value", "source", "hint", "email"}
    | {"tags", "assignees", "isolation", "reasons", "why", "terms", "excerpt", "highlights"}
)
"""Columns that wrap where room is short."""

_LONGEST_TEXT = 5_000
"""Characters of a cell on a terminal: to lay out many lines takes its time."""

_LONGEST_WORD = 16
"""Cells that no prose column is narrowed below for the sake of a word."""


class Renderer:
    """Prints results on stdout and notices on stderr, in the form the user asked for."""

    def __init__(
        self,
        *,
        output: str = "auto",
        fields: Sequence[str] | None = None,
        no_color: bool = False,
    ) -> None:
        self._terminal = sys.stdout.isatty()
        self.output = output if output != "auto" else ("table" if self._terminal else "tsv")
        self._fields = fields
        self._no_color = no_color

    def check(self, model: type[Any]) -> None:
        """Raise `Usage` if fields are asked for that a model does not have."""
        self._columns(model)

    def items(
        self, items: Sequence[object], *, many: bool, columns: Sequence[str] | None = None
    ) -> None:
        """Print model instances: one, or with `many` a list of any length.

        A terminal shows `columns`, unless fields were asked for. Raises `Usage` for a field that
        the model does not have.
        """
        if not items and not many:
            return
        match self.output:
            case "json":
                shaped = [self.shaped(item) for item in items]
                self.document(shaped if many else shaped[0])
            case "jsonl":
                for item in items:
                    self.write(dumps(self.shaped(item)))
            case "csv":
                self._csv(items)
            case "quiet":
                for item in items:
                    handle = HANDLE.get(type(item).__name__, "id")
                    self.write(tsv(getattr(item, handle)))
            case "table":
                self._table(items, columns)
            case _:
                for item in items:
                    names = self._columns(type(item))
                    self.write("\t".join(tsv(getattr(item, name)) for name in names))

    def stream(self) -> Callable[[Sequence[object]], None]:
        """Return what prints a list without an end, piece by piece: one line a thing, at once."""
        begun = False

        def show(items: Sequence[object]) -> None:
            nonlocal begun
            match self.output:
                case "json":
                    for item in items:
                        self.write(dumps(self.shaped(item)))
                case "csv":
                    self._csv(items, header=not begun)
                case "table":
                    self._lines(items)
                case _:
                    self.items(items, many=True)
            begun = begun or bool(items)
            sys.stdout.flush()

        return show

    def details(self, item: object) -> None:
        """Print everything about one thing; a terminal gets it as a page to read."""
        if self.output == "tsv":
            for name in self._columns(type(item), everything=True):
                self.write(f"{name}\t{tsv(getattr(item, name))}")
        elif self.output == "table":
            self._card(item)
        else:
            self.items([item], many=False)

    def document(self, value: object) -> None:
        """Print one JSON document."""
        self.write(dumps(value, indent=self._indent()))

    def report(self, report: object, text: str) -> None:
        """Print what a command has to say: a dataclass for programs, `text` for readers."""
        if self._fields is not None or self.output in ("json", "jsonl", "csv"):
            self.items([report], many=False)
        elif self.output != "quiet":
            self.write(text)

    def notice(self, code: str, message: str, hint: str | None = None, **details: Any) -> None:
        """Print a remark on stderr that no result depends on."""
        if self.output in ("json", "jsonl"):
            told = {"code": code, "message": message, "hint": hint, "details": details}
            text = dumps({"notice": told})
        elif self.output == "quiet" and code not in ("cut", "kept", "replica", "dotenv"):
            return
        else:
            text = visible(f"{message}; {hint}" if hint else message)
        print(text, file=sys.stderr)

    @contextmanager
    def progress(self, what: str) -> Generator[Callable[[Iterable[Any]], Iterable[Any]]]:
        """Yield a wrapper for rows, of whatever number, that shows a bar after a second."""
        if self.output == "quiet" or not sys.stderr.isatty():
            yield lambda rows: rows
            return
        import time

        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description} {task.completed}"), BarColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        started = time.monotonic()

        class Watched:
            """Rows that can be gone through again."""

            def __init__(self, rows: Iterable[Any]) -> None:
                self._rows = rows
                self._task = bar.add_task(what, total=None)

            def __iter__(self) -> Iterator[Any]:
                bar.reset(self._task)
                for row in self._rows:
                    if not bar.live.is_started and time.monotonic() - started > 1:
                        bar.start()
                    yield row
                    bar.advance(self._task)

        try:
            yield Watched
        finally:
            bar.stop()

    @contextmanager
    def meter(self) -> Generator[Callable[[str, int, int | None], None]]:
        """Yield what shows, on a terminal, how much of something is done: (what, done, of)."""
        if self.output == "quiet" or not sys.stderr.isatty():
            yield _unseen
            return
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True), transient=True)
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, of: int | None) -> None:
            if what not in tasks:
                for earlier in tasks.values():
                    bar.update(earlier, visible=False)
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=of)

        with bar:
            yield show

    @property
    def draws(self) -> bool:
        """Whether results are drawn for a reader at a terminal."""
        return self.output == "table"

    @property
    def selects(self) -> bool:
        """Whether the user asked for certain fields."""
        return self._fields is not None

    @property
    def width(self) -> int:
        """How many columns the terminal has."""
        return shutil.get_terminal_size().columns

    def write(self, text: str, *, end: str = "\n", verbatim: bool = False) -> None:
        """Print a line of which a terminal obeys nothing; in a pipe, `verbatim`, as it is."""
        if verbatim and not self._terminal:
            sys.stdout.write(text + end)
        else:
            sys.stdout.write(visible(text) + "\n")

    def _columns(self, model: type[Any], *, everything: bool = False) -> Sequence[str]:
        known = [field.name for field in fields(model)]
        if self._fields is None:
            return known if everything else TABLE.get(model.__name__, known)
        for name in self._fields:
            if name not in known:
                raise Usage(f"no such field: {name}", hint=f"Fields: {', '.join(known)}")
        return self._fields

    def shaped(self, item: object) -> dict[str, Any]:
        """Return what JSON has of a thing: all of it, or the fields that were asked for."""
        return {name: getattr(item, name) for name in self._columns(type(item), everything=True)}

    def _csv(self, items: Sequence[object], *, header: bool = True) -> None:
        from concord.formats.table import record

        for number, item in enumerate(items):
            names = self._columns(type(item), everything=True)
            if number == 0 and header:
                self.write(record(names), verbatim=True)
            self.write(record([getattr(item, name) for name in names]), verbatim=True)

    def _indent(self) -> int | None:
        return 2 if self._terminal else None

    # From here on there is a terminal.

    def console(self) -> Console:
        """Return what draws on this terminal."""
        from rich.console import Console

        # rich looks at NO_COLOR and TERM itself, but not at what overrules a TERM without colours.
        forced = os.environ.get("CLICOLOR_FORCE", "0") != "0" and not os.environ.get("NO_COLOR")
        return Console(
            highlight=False,
            no_color=self._no_color or None,
            color_system="standard" if forced else "auto",
            width=self.width,
        )

    def _table(self, items: Sequence[object], columns: Sequence[str] | None) -> None:
        from rich import box
        from rich.table import Table

        if not items:
            print("nothing to show", file=sys.stderr)
            return
        model = type(items[0])
        names = self._columns(model)
        if self._fields is None:
            names = columns or SCREEN.get(model.__name__, names)
        console = self.console()
        alone = self._fields is not None
        rows = [[_cell(item, name, alone=alone) for name in names] for item in items]
        heads = [name.removesuffix("_at").replace("_", " ") for name in names]
        lines = [heads, *([text.plain for text in row] for row in rows)]
        widths = _widths(names, list(zip(*lines, strict=True)), console.width)
        if widths is None:
            for row in rows:
                console.print(_grid(heads, row))
                console.print()
            return
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        for name, head, width in zip(names, heads, widths, strict=True):
            number = name in _NUMBERS and not isinstance(getattr(items[0], name), bool)
            justify = "right" if number else "left"
            table.add_column(head, justify=justify, width=width, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)

    def _lines(self, items: Sequence[object]) -> None:
        from rich.text import Text

        console = self.console()
        for item in items:
            names = self._columns(type(item))
            if self._fields is None:
                names = SCREEN.get(type(item).__name__, names)
            cells = [_cell(item, name, alone=self._fields is not None) for name in names]
            line = Text("  ").join(Text("; ").join(text.split()) for text in cells if text)
            console.print(line, soft_wrap=True)

    def _card(self, item: object) -> None:
        from rich.text import Text

        from concord.render.prose import Prose

        console = self.console()
        names = self._columns(type(item), everything=True)
        shown = [name for name in names if name not in ("description", "comments")]
        console.print(_grid(shown, [_cell(item, name, alone=True) for name in shown]))
        if "description" in names and (description := getattr(item, "description", None)):
            console.print()
            console.print(Prose(description))
        for comment in getattr(item, "comments", ()) if "comments" in names else ():
            said = _readable("created_at", comment.created_at)
            console.print()
            console.print(Text(f"{visible(comment.author)}, {said}", style="dim"))
            console.print(Prose(comment.body))


def _unseen(what: str, done: int, of: int | None) -> None:
    """Show nothing."""
    del what, done, of


def _grid(names: Sequence[str], cells: Sequence[Text]) -> Table:
    """Return what is there of one thing, a line for each name."""
    from rich.table import Column, Table
    from rich.text import Text

    grid = Table.grid("name", Column(overflow="fold"), padding=(0, 2))
    for name, text in zip(names, cells, strict=True):
        if text:
            grid.add_row(Text(name, style="dim"), text)
    return grid


def _widths(
    names: Sequence[str], columns: Sequence[Sequence[str]], room: int
) -> Sequence[int] | None:
    """Return how wide each column may be; `None` where they do not go side by side.

    Where they do not fit as they are, prose is wrapped: no column below its longest word, and
    what room is left goes to those that wrap the most.
    """
    from rich.cells import cell_len

    full = [
        max(cell_len(line) for text in column for line in text.split("\n")) for column in columns
    ]
    room -= 2 * (len(full) - 1)
    if sum(full) <= room:
        return full
    least = [
        min(width, _LONGEST_WORD, max(cell_len(word) for text in column for word in text.split()))
        if name in _PROSE
        else width
        for name, width, column in zip(names, full, columns, strict=True)
    ]
    spare = room - sum(least)
    if spare < 0:
        return None
    missing = sum(full) - sum(least)
    return [low + (high - low) * spare // missing for low, high in zip(least, full, strict=True)]


def _cell(item: object, name: str, *, alone: bool = False) -> Text:
    """Return a field as a reader wants it.

    In a table, unless it is `alone`, a title has the people and tags of its task with it, and
    some columns tell of several fields.
    """
    from rich.text import Text

    from concord.models import Change, DueTask, Task, TreeNode, Undone

    match item:
        case Task() if name == "title" and not alone:
            marks = [f"  @{user}" for user in item.assignees] + [f"  #{tag}" for tag in item.tags]
            return Text.assemble(visible(item.title), (visible("".join(marks)), "dim"))
        case TreeNode() if name == "title" and not alone:
            return Text(f"{'  ' * item.depth}{visible(item.title)}")
        case DueTask() if name == "due" and item.overdue and not alone:
            return Text(f"{_readable(name, item.due)}, overdue", style="bold red")
        case Task() if name == "auto_close" and not item.auto_close:
            return Text()
        case Task() if name == "claim" and item.claim is not None:
            until = _readable("expires_at", item.claim.expires_at)
            return Text(visible(f"{item.claim.by}, epoch {item.claim.epoch}, until {until}"))
        case Change() | Undone() if name == "entity" and not alone:
            return Text(visible(f"{item.entity} {item.entity_id}"))
        case Change() | Undone() if name == "change":
            return Text(_legible("\n".join(_changed(item))))
        case _:
            text = _readable(name, getattr(item, name))
            return Text(text, style=_STYLES.get(text, ""))


def _changed(change: Change | Undone) -> Iterator[str]:
    for name in sorted(change.old.keys() | change.new.keys()):
        before, after = cell(change.old.get(name)), cell(change.new.get(name))
        arrow = f"{before} → {after}" if before else after
        yield f"{name}: {arrow}".rstrip()


def _readable(name: str, value: Any) -> str:
    from concord import dates

    if isinstance(value, datetime):
        if name == "due":
            return dates.format_local(value, now=dates.local_now())
        try:
            return f"{value.astimezone():%Y-%m-%d %H:%M}"
        except (OverflowError, ValueError):
            return cell(value)  # within hours of the calendar's ends no local form exists
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return _legible("\n".join(f"{key}: {cell(item)}" for key, item in pairs))
    if isinstance(value, tuple):
        return _legible(", ".join(cell(item) for item in cast("tuple[Any, ...]", value)))
    return _legible(cell(value))


def _legible(text: str) -> str:
    """Return text as a terminal may show it; of one that nobody would read, the beginning."""
    more = len(text) - _LONGEST_TEXT
    return visible(text) if more <= 0 else f"{visible(text[:_LONGEST_TEXT])}… {left_out(more)}"


def left_out(number: int) -> str:
    """Return a note on characters that a terminal is not shown."""
    return f"{number:,} more characters; all of it: --json"
