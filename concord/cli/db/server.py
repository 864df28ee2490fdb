"""`concord db start`, `stop`, `status` and `url`: the server, and the way to it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.errors import ConcordError, Usage

PARTICIPLES = {"start": "started", "stop": "stopped", "upgrade": "upgraded"}
AGAIN = "the next command that needs it starts it again"


@dataclass(frozen=True, slots=True)
class Started:
    """The embedded server, which runs; `started` by this command, or before."""

    started: bool
    pid: int | None
    data_dir: str
    socket_dir: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The embedded server, which does not run; `stopped` by this command, or before."""

    stopped: bool
    pid: int | None
    """The process that was ended."""
    data_dir: str


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What there is of the server of the database in use; `None` is what cannot be told."""

    embedded: bool
    running: bool
    host: str | None
    """The directory of the socket, for an embedded server."""
    port: str | None
    database: str | None
    user: str | None
    server_version: str | None
    pid: int | None
    data_version: str | None
    """Major version of PostgreSQL that the embedded data is for."""
    installed_version: str | None
    """Version of the programs that the embedded server would be started with."""
    data_dir: str | None
    data: str | None
    """The directory of the database cluster."""
    data_bytes: int | None
    """Bytes that it takes on the disk."""
    socket_dir: str | None
    log: str | None
    error: str | None
    """Why a server by URL does not answer."""


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """How other programs get to the database in use."""

    url: str
    password: str | None
    """Where the password is, which the URL leaves out; `None`: there is none."""


@click.command("start", cls=Command, examples=("concord db start",))
@pass_app
def start(app: App) -> None:
    """Start the embedded server, if it does not run.

    There is seldom a need to: every command starts it. It goes on until it is stopped.
    """
    from concord import embedded

    app.render.check(Started)
    require_embedded(app, "start")
    before = embedded.status(app.settings.data_dir)
    embedded.start(app.settings.data_dir)
    now = embedded.status(app.settings.data_dir)
    began = now.pid != before.pid
    app.render.report(
        Started(began, now.pid, str(app.settings.data_dir), str(now.socket_dir)),
        f"{'started' if began else 'runs already'}: process {now.pid}, socket in {now.socket_dir}",
    )


@click.command("stop", cls=Command, examples=("concord db stop",))
@pass_app
def stop(app: App) -> None:
    """Stop the embedded server, if it runs.

    At once: open transactions are rolled back. The next command that needs it starts it again.
    """
    from concord import embedded

    app.render.check(Stopped)
    require_embedded(app, "stop")
    pid = embedded.status(app.settings.data_dir).pid
    embedded.stop(app.settings.data_dir)
    app.render.report(
        Stopped(pid is not None, pid, str(app.settings.data_dir)),
        f"no server runs; {AGAIN}" if pid is None else f"stopped process {pid}; {AGAIN}",
    )


@click.command(
    "status", cls=Command, examples=("concord db status", "concord db status --json | jq .running")
)
@pass_app
def status(app: App) -> None:
    """Tell whether the server runs, where it is and what it has.

    Starts nothing, and exits with 0 either way. Of a server by URL it tells what the server says of
    itself.
    """
    app.render.check(ServerStatus)
    found = _embedded_status(app) if app.settings.embedded else _status_by_url(app)
    app.render.details(found)


@click.command(
    "url",
    cls=Command,
    examples=("concord db url", 'psql "$(concord db url)"'),
)
@pass_app
def url(app: App) -> None:
    """Print the database's URL, for other programs.

    Starts the embedded server if it is down. A password is left out; where it is goes to stderr.

    On the embedded server it leads in as commands do, whom row-level security holds: nothing is
    seen before it is said for whom, by SET concord.actor = 'NAME'. To save everything there is
    concord db backup.
    """
    from concord import connections, libpq

    app.render.check(DatabaseUrl)
    told, has_password = libpq.parts(app.settings)
    if app.settings.embedded:
        connections.connect(app.settings, app.command).close()
    text = libpq.url(told)
    source = app.settings.provenance["database_url"] if has_password else None
    if app.render.output in ("table", "tsv") and not app.render.selects:
        app.render.write(text)
    else:
        app.show([DatabaseUrl(text, source)], many=False)
    if source is not None:
        app.render.notice(
            "password",
            f"the password is left out; it is in database_url ({source})",
            "other programs take it from PGPASSWORD or ~/.pgpass",
        )


def require_embedded(app: App, verb: str) -> None:
    """Raise `Usage` if the database in use is on a server by URL, which is not Concord's."""
    if app.settings.embedded:
        return
    from concord import libpq

    source = app.settings.provenance["database_url"]
    told, _ = libpq.parts(app.settings)
    raise Usage(
        f"not Concord's to {verb}: the database is on the server of database_url ({source}), "
        f"{libpq.url(told)}",
        hint=f"Have it {PARTICIPLES[verb]} where it runs. The embedded server is the one in use "
        "where database_url is unset.",
        setting="database_url",
        source=source,
    )


def _embedded_status(app: App) -> ServerStatus:
    from concord import embedded
    from concord.embedded.address import NAME, PORT, SERVICE
    from concord.embedded.programs import installed, version

    found = embedded.status(app.settings.data_dir)
    programs = installed()
    data = None if found.data is None else str(found.data)
    return ServerStatus(
        embedded=True,
        running=found.pid is not None,
        host=str(found.socket_dir),
        port=str(PORT),
        database=NAME,
        user=SERVICE,
        server_version=None,
        pid=found.pid,
        data_version=found.version,
        installed_version=None if programs is None else version(programs / "postgres"),
        data_dir=str(app.settings.data_dir),
        data=data,
        data_bytes=None if found.data is None else _bytes_of(found.data),
        socket_dir=str(found.socket_dir),
        log=str(found.log),
        error=None,
    )


def _status_by_url(app: App) -> ServerStatus:
    from concord import connections, libpq

    told, _ = libpq.parts(app.settings)
    host, port = told.get("host") or told.get("hostaddr"), told.get("port")
    database, user = told.get("dbname"), told.get("user")
    version, error = None, None
    try:
        with connections.connect(app.settings, app.command) as connection:
            # Of several servers, and of what the URL leaves open, it knows which.
            info = connection.info
            host, port, database, user = info.host, str(info.port), info.dbname, info.user
            version = info.parameter_status("server_version")
    except ConcordError as failure:
        error = failure.message
    return ServerStatus(
        embedded=False,
        running=error is None,
        host=host,
        port=port,
        database=database,
        user=user,
        server_version=version,
        pid=None,
        data_version=None,
        installed_version=None,
        data_dir=None,
        data=None,
        data_bytes=None,
        socket_dir=None,
        log=None,
        error=error,
    )


def _bytes_of(directory: Path) -> int | None:
    """Return how many bytes a directory takes on the disk; `None` if it may not be looked into."""
    if not os.access(directory, os.R_OK | os.X_OK):
        return None
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            # Others come and go while the server runs.
            with suppress(OSError):
                total += os.lstat(Path(folder, name)).st_blocks * 512
    return total
