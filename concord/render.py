"""Results on their way out: a table for a terminal, TSV for a pipe, JSON, JSON Lines, CSV, ids.

The only importer of rich, and only for a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from concord.errors import Usage
from concord.plain import cell, dumps, tsv, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from rich.console import Console

TABLE = {
    "Task": ("id", "status", "priority", "project", "title", "due", "assignees", "tags"),
    "User": ("username", "email", "created_at"),
    "Project": ("key", "name", "owner", "archived_at", "description"),
    "Tag": ("name", "tasks"),
    "Change": ("id", "at", "actor", "operation", "entity", "entity_id", "version", "old", "new"),
    "SettingRow": ("name", "value", "source"),
    "Check": ("check", "ok", "value"),
}
"""Model → the columns that a list shows unless told otherwise."""

HANDLE = {"User": "username", "Project": "key", "Tag": "name", "SettingRow": "name"}
"""Model → the field that names it on the command line; `id` otherwise."""

_STYLES = {
    "urgent": "bold red",
    "high": "yellow",
    "in_progress": "cyan",
    "completed": "green",
    "canceled": "dim",
    "none": "dim",
}


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

    def items(self, items: Sequence[Any], *, many: bool) -> None:
        """Print model instances: one, or with `many` a list of any length.

        Raises `Usage` for a field that the model does not have.
        """
        if not items and not many:
            return
        match self.output:
            case "json":
                shaped = [self._shaped(item) for item in items]
                self._write(dumps(shaped if many else shaped[0], indent=self._indent()))
            case "jsonl":
                for item in items:
                    self._write(dumps(self._shaped(item)))
            case "csv":
                self._csv(items)
            case "quiet":
                for item in items:
                    handle = HANDLE.get(type(item).__name__, "id")
                    self._write(tsv(getattr(item, handle, "")))
            case "table":
                self._table(items)
            case _:
                for item in items:
                    names = self._columns(item)
                    self._write("\t".join(tsv(getattr(item, name)) for name in names))

    def details(self, item: Any) -> None:
        """Print everything about one thing; a terminal gets it as a page to read."""
        if self.output == "tsv":
            for name in self._columns(item, everything=True):
                self._write(f"{name}\t{tsv(getattr(item, name))}")
        elif self.output == "table":
            self._card(item)
        else:
            self.items([item], many=False)

    def value(self, value: Any, text: str) -> None:
        """Print a result that is no model: `value` as JSON, `text` for readers."""
        if self.output in ("json", "jsonl"):
            self._write(dumps(value, indent=self._indent() if self.output == "json" else None))
        elif self.output != "quiet":
            self._write(text if self.output != "table" else visible(text))

    def notice(self, code: str, message: str, hint: str | None = None, **details: Any) -> None:
        """Print a remark on stderr that no result depends on."""
        if self.output in ("json", "jsonl"):
            told = {"code": code, "message": message, "hint": hint, "details": details}
            text = dumps({"notice": told})
        elif self.output == "quiet" and code != "cut":
            return
        else:
            text = visible(f"{message}; {hint}" if hint else message)
        print(text, file=sys.stderr)

    @contextmanager
    def progress(self, what: str) -> Generator[Callable[[Sequence[Any]], Iterable[Any]]]:
        """Yield a wrapper for an iterable that shows a bar on a terminal after a second."""
        if self.output == "quiet" or not sys.stderr.isatty():
            yield lambda rows: rows
            return
        import time

        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True), transient=True)
        started = time.monotonic()

        def watch(rows: Sequence[Any]) -> Iterator[Any]:
            task = bar.add_task(what, total=len(rows))
            for row in rows:
                if not bar.live.is_started and time.monotonic() - started > 1:
                    bar.start()
                yield row
                bar.advance(task)

        try:
            yield watch
        finally:
            bar.stop()

    def _columns(self, item: Any, *, everything: bool = False) -> Sequence[str]:
        known = [field.name for field in fields(item)]
        if self._fields is None:
            return known if everything else TABLE.get(type(item).__name__, known)
        for name in self._fields:
            if name not in known:
                raise Usage(f"no such field: {name}", hint=f"Fields: {', '.join(known)}")
        return self._fields

    def _shaped(self, item: Any) -> Any:
        if not is_dataclass(item):
            return item
        return {name: getattr(item, name) for name in self._columns(item, everything=True)}

    def _csv(self, items: Sequence[Any]) -> None:
        from concord.formats.table import record

        for number, item in enumerate(items):
            names = self._columns(item, everything=True)
            if number == 0:
                self._write(record(names))
            self._write(record([getattr(item, name) for name in names]))

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")

    def _indent(self) -> int | None:
        return 2 if self._terminal else None

    # From here on there is a terminal.

    def _console(self) -> Console:
        from rich.console import Console

        # rich looks at NO_COLOR and TERM itself.
        return Console(
            highlight=False,
            no_color=self._no_color or None,
            width=shutil.get_terminal_size().columns if self._terminal else 100,
            force_terminal=True if os.environ.get("CLICOLOR_FORCE", "0") != "0" else None,
        )

    def _table(self, items: Sequence[Any]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        if not items:
            print("nothing to show", file=sys.stderr)
            return
        names = self._columns(items[0])
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in names:
            narrow = name in ("id", "version", "tasks", "entity_id")
            table.add_column(
                name.removesuffix("_at").replace("_", " "),
                justify="right" if narrow else "left",
                no_wrap=name not in ("title", "description", "old", "new", "value"),
                overflow="fold",
            )
        for item in items:
            cells = [self._readable(name, getattr(item, name)) for name in names]
            table.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in cells))
        self._console().print(table)

    def _card(self, item: Any) -> None:
        from rich.markdown import Markdown
        from rich.table import Table
        from rich.text import Text

        console = self._console()
        grid = Table.grid(padding=(0, 2))
        for name in self._columns(item, everything=True):
            value = getattr(item, name)
            if name != "description" and value not in (None, ()):
                text = self._readable(name, value)
                grid.add_row(Text(name, style="dim"), Text(text, style=_STYLES.get(text, "")))
        console.print(grid)
        description = getattr(item, "description", None)
        if description and (self._fields is None or "description" in self._fields):
            console.print()
            console.print(Markdown(visible(description)))

    def _readable(self, name: str, value: Any) -> str:
        from concord import dates

        if isinstance(value, datetime):
            if name == "due":
                return dates.format_local(value, now=dates.local_now())
            return f"{value.astimezone():%Y-%m-%d %H:%M}"
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return visible("\n".join(f"{key}: {cell(item)}" for key, item in pairs))
        if isinstance(value, tuple):
            return visible(", ".join(cast("tuple[str, ...]", value)))
        return visible(cell(value))
