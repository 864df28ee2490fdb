"""`concord db restore`."""

from __future__ import annotations

from pathlib import Path

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command


@click.command(
    "restore",
    cls=Command,
    examples=(
        "concord db restore tasks.dump",
        "CONCORD_DATA_DIR=/srv/concord-copy concord db restore tasks.dump",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Give up the tasks that are there now.")
@pass_app
def restore(app: App, file: Path, yes: bool) -> None:
    """Put the database back as it was when a file was written by db backup.

    The file is checked before anything is touched. All that is in the database is replaced in one
    transaction; before its end, counts, versions, history and sequences are compared with the
    file's manifest. Where there are tasks now, it wants --yes. A backup of an older Concord is
    brought up to date.
    """
    from concord import backup as copies
    from concord.backup import replacing
    from concord.cli.archiving import Restored, tell

    app.render.check(Restored)
    with copies.opened(file) as copy:
        done = replacing.replace(app.settings, app.command, copy, over=yes)
    tell(app, str(file), done)
