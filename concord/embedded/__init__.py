"""The embedded PostgreSQL server: how to reach it, start it, stop it and ask after it.

A data directory holds one server:

    postgresql-18/      the database cluster, by the major version of PostgreSQL; `upgrade` keeps
                        that of the older version beside it
    run/                its socket, unless the path is unfit for one: see `embedded.address`
    lock                held by the command that starts or stops the server
    server.lock         held by each process of the server as long as it lives
    server.log          what the server said while starting; later it logs into the cluster
    pg_hba.conf, pg_ident.conf
                        who may connect: the owner
    binaries-18.6.3/    for root only: PostgreSQL, where the server's account can read it

Most commands find the server running and read this module for `conninfo` alone: whatever starts
one is imported by whoever has to.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, LiteralString

from concord.embedded.address import (
    NAME,
    PORT,
    SERVICE,
    real,
    server_account_name,
    socket_directory,
)
from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from concord.embedded.cluster import Cluster, Status
    from concord.embedded.upgrade import Upgraded

# The migrations make them on other servers, where nobody need connect as one of them. What is
# there is left alone: after a crash, any change would take the id of a transaction that was lost,
# and whoever asks what became of that one would hear that it was committed.
ROLES: LiteralString = """
-- make_roles: those that are missing
DO $$
BEGIN
    IF to_regrole('concord_user') IS NULL THEN
        CREATE ROLE concord_user NOLOGIN;
    END IF;
    IF to_regrole('concord_service') IS NULL THEN
        CREATE ROLE concord_service IN ROLE concord_user;
    END IF;
    IF NOT (SELECT rolcanlogin FROM pg_roles WHERE rolname = 'concord_service') THEN
        ALTER ROLE concord_service LOGIN;
    END IF;
    -- For demonstrations, each in a schema of its own.
    IF NOT has_database_privilege('concord_service', 'concord', 'CREATE') THEN
        GRANT CREATE ON DATABASE concord TO concord_service;
    END IF;
END $$
"""

START_SECONDS = 60
"""Longest wait for a server to take connections, or to end."""

LOCK_SECONDS = 240
"""Longest wait for another command to make a cluster and start its server."""

POLL_SECONDS = 0.05

# Whatever the string leaves out, libpq takes from PG* variables and the service file, which
# belong to other programs: PGHOSTADDR alone would lead to another server.
_PARAMETERS = {
    "dbname": NAME,
    "port": str(PORT),
    "hostaddr": "",
    "options": "",
    "client_encoding": "UTF8",
    "target_session_attrs": "any",
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
}


def conninfo(data_dir: Path, *, owner: bool = False) -> str:
    """Return the libpq connection string of the server of a data directory.

    It leads in as the role of all commands, or as the one that owns the tables. It is the same in
    every process of a user, whether the server runs or not. Raises `DatabaseUnavailable` if the
    user has no name, without which PostgreSQL does not run.
    """
    from psycopg.conninfo import make_conninfo

    return make_conninfo(
        "",
        **_PARAMETERS,
        user=NAME if owner else SERVICE,
        host=str(socket_directory(data_dir)),
        # A stranger who sits at the socket's path is not our server.
        requirepeer=server_account_name(),
    )


def start(data_dir: Path) -> None:
    """Make sure that the server of a data directory runs and has Concord's database.

    Makes the data directory, the cluster and the database where they are missing. Many
    processes may call it at once; the server outlives them. Raises `DatabaseUnavailable`.
    """
    import psycopg

    from concord.embedded.launch import prepare_home

    dsn, own = conninfo(data_dir), conninfo(data_dir, owner=True)

    def answers() -> bool:
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    cluster = _cluster(data_dir)
    with cluster.errors():
        prepare_home(cluster)
        _exclusively(cluster, lambda: _bring_up(cluster, own), unless=answers)


def stop(data_dir: Path) -> None:
    """End the server of a data directory, if one runs; open transactions are rolled back.

    Raises `DatabaseUnavailable` if it does not end.
    """
    cluster = _cluster(data_dir)
    with cluster.errors():
        if cluster.home.is_dir():
            _exclusively(cluster, lambda: _bring_down(cluster), unless=lambda: False)


def upgrade_data(
    data_dir: Path, programs: Path | None, tell: Callable[[str], None]
) -> Upgraded | None:
    """Carry the data over to the installed PostgreSQL, whose major version is newer than its own.

    `programs` is where the user says that the older ones are, `None` for the usual places, and
    `tell` is told what is being done. The server is ended if it runs. Returns `None` if there is
    nothing to do. Raises `DatabaseUnavailable` and `Usage`; then the data is as it was.
    """
    from concord.embedded import upgrade
    from concord.embedded.launch import prepare_home

    cluster = _cluster(data_dir)
    done: Upgraded | None = None

    def act() -> None:
        nonlocal done
        older = upgrade.find_programs(cluster, programs)
        if older is None:
            return
        _bring_down(cluster)
        with cluster.locked("server.lock") as lock:
            if lock is None:
                raise cluster.failure("the embedded server has not ended")
            done = upgrade.carry_over(cluster, lock, older, tell)

    with cluster.errors():
        if cluster.version() is not None:
            prepare_home(cluster)
            _exclusively(cluster, act, unless=lambda: False)
    return done


def status(data_dir: Path) -> Status:
    """Return what there is of a server, without starting or changing anything."""
    return _cluster(data_dir).status()


def _cluster(data_dir: Path) -> Cluster:
    from concord.embedded.cluster import Cluster

    return Cluster(real(data_dir), socket_directory(data_dir))


def _exclusively(cluster: Cluster, act: Callable[[], None], *, unless: Callable[[], bool]) -> None:
    """Act while no other command starts or stops the server, unless that becomes needless."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        with cluster.locked("lock") as held:
            if held is not None:
                act()
                return
        # Asked each time, because the command that holds the lock may be suspended after it
        # has started the server.
        if unless():
            return
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"another command has been starting the server for {LOCK_SECONDS} s",
                hint="Let it go on, if it is suspended; then run this again.",
            )
        time.sleep(POLL_SECONDS)


def _bring_up(cluster: Cluster, dsn: str) -> None:
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import PGconn, Ping

    from concord.embedded.launch import launch

    always_there = make_conninfo(dsn, dbname="postgres", connect_timeout=5)
    launched = False
    deadline = time.monotonic() + START_SECONDS
    while PGconn.ping(always_there.encode()) in {Ping.REJECT, Ping.NO_RESPONSE}:
        # The lock is not to be had while a server starts or ends, and while one that was killed
        # has children left, with whom a second server must not share the data.
        with cluster.locked("server.lock") as lock:
            postmaster = cluster.postmaster()
            if lock is not None and postmaster is None:
                if launched:
                    raise cluster.failure("the embedded server did not start")
                launch(cluster, lock)
                launched = True
                deadline = time.monotonic() + START_SECONDS
        if postmaster is not None and cluster.is_cut_off(postmaster):
            _bring_down(cluster)
        elif time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"the embedded server takes no connections after {START_SECONDS} s",
                hint=f"It may be busy recovering: try again later. Its log: {cluster.log()}",
            )
        time.sleep(POLL_SECONDS)
    _ensure_database(cluster, always_there)


def _ensure_database(cluster: Cluster, dsn: str) -> None:
    """Make sure that there are the database and the roles that commands work as, and let them in.

    Those are missing in what an older Concord has made, whose server may still run.
    """
    import psycopg
    from psycopg import sql

    from concord.embedded.launch import admit

    with psycopg.connect(dsn, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,))
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
        connection.execute(ROLES)
        admit(cluster)
        connection.execute("SELECT pg_reload_conf()")


def _bring_down(cluster: Cluster) -> None:
    cluster.interrupt()
    deadline = time.monotonic() + START_SECONDS
    while True:
        with cluster.locked("server.lock") as lock:
            if lock is not None and cluster.postmaster() is None:
                return
        if time.monotonic() > deadline:
            raise cluster.failure(f"the embedded server has not ended after {START_SECONDS} s")
        time.sleep(POLL_SECONDS)
