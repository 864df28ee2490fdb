"""`concord db backup`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was written, its size in bytes, and how much it holds."""

    file: str
    bytes: int
    tasks: int
    history: int
    schema: str


@click.command(
    "backup",
    cls=Command,
    examples=("concord db backup tasks.dump", "concord db backup tasks.dump --yes --json"),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Replace the file if it is there already.")
@pass_app
def backup(app: App, file: Path, yes: bool) -> None:
    """Write all of Concord, as it stands at one moment, to a file that only you can read.

    Everybody may go on working meanwhile. It is a dump in the custom format of pg_dump, with a
    manifest at its end by which db restore knows that it is whole; the file has its name only when
    it is complete and on disk. Of a database shared with other programs it holds what is Concord's.
    """
    from concord import backup as copies

    app.render.check(Backup)
    held = copies.back_up(app.settings, app.command, file, replace=yes)
    made = Backup(
        str(file), file.stat().st_size, held.rows("tasks"), held.rows("history"), held.schema
    )
    app.render.report(
        made,
        f"{file}: {made.bytes:,} bytes, {made.tasks} tasks, {made.history} rows of history,"
        f" schema {made.schema}",
    )
    if held.untold:
        app.render.notice(
            "untold",
            f"{held.untold} tasks have versions that history does not tell of",
            "somebody has changed them with the triggers switched off",
            tasks=held.untold,
        )
