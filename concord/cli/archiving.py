"""`concord import archive`, and the archive of `concord export --all`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concord.backup.replacing import Replaced


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, of which schema it was, and the one that the database has now."""

    file: str
    tasks: int
    history: int
    schema: str
    now: str


@click.command(
    "archive",
    cls=Command,
    examples=("concord import archive concord.jsonl", "... | concord import archive -"),
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@pass_app
def import_archive(app: App, file: str) -> None:
    """Bring in everything that `export --all` wrote, into a database without tasks.

    Users, projects, tasks, history and all else come as they were, with their ids, versions and
    times, whatever the versions of PostgreSQL here and there; what the database had besides tasks
    is gone. The archive is checked before anything is touched, and what came in before the end of
    the one transaction in which all of it comes.
    """
    from concord import backup as copies
    from concord.backup import replacing
    from concord.formats.reading import seekable

    app.render.check(Restored)
    with seekable(file) as stream:
        copy = copies.checked(stream, file)
        done = replacing.replace(app.settings, app.command, copy, over=False)
    tell(app, file, done)


def export_everything(app: App, file: str) -> None:
    """Write an archive of all there is to a file, or to stdout."""
    from pathlib import Path

    from concord import backup as copies
    from concord.cli.exporting import written

    if file == "-":

        def show(lines: Iterable[str]) -> None:
            for line in lines:
                app.render.write(line, verbatim=True)

        copies.export(app.settings, app.command, show)
        return
    with written(Path(file)) as out:
        held = copies.export(
            app.settings,
            app.command,
            lambda lines: out.writelines(line + "\n" for line in lines),
        )
    tasks, history = held.rows("tasks"), held.rows("history")
    app.render.notice(
        "exported",
        f"{tasks} tasks and {history} rows of history written to {file}",
        tasks=tasks,
        history=history,
        schema=held.schema,
    )


def tell(app: App, file: str, done: Replaced) -> None:
    """Print what was put back, and what else there is to know of it."""
    from concord.database import SCHEMA_HEAD

    held = done.contents
    tasks, history = held.rows("tasks"), held.rows("history")
    moved = "" if held.schema == SCHEMA_HEAD else f"; schema {held.schema} is now {SCHEMA_HEAD}"
    app.render.report(
        Restored(file, tasks, history, held.schema, SCHEMA_HEAD),
        f"{tasks} tasks and {history} rows of history are as in {file}: counts, versions, history"
        f" and sequences agree{moved}",
    )
    if done.others:
        app.render.notice(
            "company",
            f"{done.others} other sessions are connected, and go on with what is there now",
            sessions=done.others,
        )
    if done.renumbered:
        app.render.notice(
            "renumbered",
            "the transactions of history have new ids: this server is far from having given out"
            " the ones that they had",
        )
