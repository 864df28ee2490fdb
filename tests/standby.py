"""A primary with a synchronous standby, of which either can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psutil
import psycopg
from conftest import TIMEOUT, Server, open_directory, settings_for
from fleet import until
from psycopg import sql
from psycopg.conninfo import make_conninfo
from workers import psql

from concord import migrate
from concord.embedded.address import own_account
from concord.embedded.root import run, service_account

if TYPE_CHECKING:
    import pwd
    from collections.abc import Generator

NAME = "concord"
"""Of the role, and of the database that others are cloned from."""

PORT = 5432

CONFIGURATION = """
listen_addresses = ''
unix_socket_permissions = 0700
# Processes are killed here, and never the machine: what they wrote is there.
fsync = off
shared_buffers = 32MB
max_connections = 100
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
autovacuum = off
"""

BINARIES: LiteralString = "SELECT setting FROM pg_config WHERE name = 'BINDIR'"

FOLLOWED: LiteralString = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"

FOLLOWED_CLOSELY: LiteralString = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"

AWAITING_STANDBY: LiteralString = """
SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE %s
"""

REPLAYED: LiteralString = """
SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_flush_lsn()
"""


class Node:
    """A server of its own: its cluster and its socket lie in one directory."""

    def __init__(self, directory: Path, binaries: Path, account: pwd.struct_passwd) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._binaries = binaries
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        os.chown(directory, account.pw_uid, account.pw_gid)

    @property
    def runs(self) -> bool:
        """Whether it was started, and neither stopped nor killed."""
        return self._process is not None

    def url(self, name: str = NAME) -> str:
        """Return the connection string of a database of this server, whatever it is now."""
        return make_conninfo("", host=str(self.directory), port=PORT, user=NAME, dbname=name)

    def initialise(self) -> None:
        """Make an empty cluster."""
        self._run(
            *("initdb", f"--pgdata={self.data}", f"--username={NAME}", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION)

    def copy(self, primary: Node) -> None:
        """Make the cluster one that follows another server's, from a copy of that."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            *("pg_basebackup", f"--pgdata={self.data}", f"--dbname={primary.url()}"),
            *("--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"),
            *("--no-manifest", "--no-verify-checksums"),
        )

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        root = os.geteuid() == 0
        with (self.directory / "log").open("ab") as log:
            self._process = process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, "-k", self.directory],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._account.pw_uid if root else None,
                group=self._account.pw_gid if root else None,
                extra_groups=[] if root else None,
                start_new_session=True,
            )

        def answers() -> bool:
            assert process.poll() is None, (self.directory / "log").read_text()
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres")).close()
                return True
            return False

        until(answers)

    def kill(self) -> None:
        """End all processes of the server at once, as a power failure would."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            server = psutil.Process(self._process.pid)
            everybody = [server, *server.children(recursive=True)]
            for process in everybody:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait(TIMEOUT)
        self._process = None

    def stop(self) -> None:
        """End the server in good order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(TIMEOUT)
        self._process = None

    def process(self, title: str) -> psutil.Process:
        """Return the process of the server whose title begins so."""
        assert self._process is not None
        (found,) = (
            child
            for child in psutil.Process(self._process.pid).children()
            if " ".join(child.cmdline()).startswith(f"postgres: {title}")
        )
        return found

    def _run(self, program: str, *arguments: str) -> None:
        result = run([str(self._binaries / program), *arguments], self._account, seconds=TIMEOUT)
        assert result.returncode == 0, result.stderr


class Pair:
    """Two servers, of which one follows the other and acknowledges what it has on disk."""

    def __init__(self, primary: Node, standby: Node) -> None:
        self.primary = primary
        self.standby = standby
        self._nodes = (primary, standby)
        self._numbers = count(1)

    def url(self, name: str, *, standby_first: bool = False, **parameters: str) -> str:
        """Return a connection string that names both servers, whoever is what by now."""
        nodes = [self.primary, self.standby][:: -1 if standby_first else 1]
        hosts = ",".join(str(node.directory) for node in nodes)
        return make_conninfo("", host=hosts, port=PORT, user=NAME, dbname=name, **parameters)

    def database(self) -> str:
        """Return the name of a new database with the schema and the user `ana`."""
        name = f"test_{next(self._numbers)}"
        # Otherwise the copy of a sequence gives out numbers for a while that nobody else hears of.
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        with psycopg.connect(self.primary.url("postgres"), autocommit=True) as connection:
            connection.execute(copy.format(sql.Identifier(name), sql.Identifier(NAME)))
        return name

    def follow(self) -> None:
        """Let the standby follow the primary from here on, and the primary wait for it."""
        self.standby.copy(self.primary)
        self.standby.start()
        primary = self.primary.url("postgres")
        until(lambda: psql(primary, FOLLOWED))
        psql(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        psql(primary, "SELECT pg_reload_conf()")
        until(lambda: psql(primary, FOLLOWED_CLOSELY))

    def caught_up(self) -> None:
        """Return once the standby shows all that the primary has."""
        until(lambda: psql(self.primary.url("postgres"), REPLAYED))

    def fail_over(self) -> None:
        """Kill the primary, and let the standby take its place."""
        self.primary.kill()
        self.promote()

    def promote(self) -> None:
        """Make the standby the primary."""
        assert psql(self.standby.url("postgres"), "SELECT pg_promote(true, 60)") == [(True,)]
        self.primary, self.standby = self.standby, self.primary

    def make_whole(self) -> None:
        """Make it a pair again, if one of them was killed."""
        if not self.standby.runs:
            self.follow()

    def kill(self) -> None:
        """End both."""
        for node in self._nodes:
            node.kill()


@contextmanager
def pair(server: Server) -> Generator[Pair]:
    """Yield two servers, made of the programs that another one runs with."""
    account = service_account() if os.geteuid() == 0 else own_account()
    ((binaries,),) = psql(server.url("postgres"), BINARIES)
    first, second = (Node(open_directory(), Path(binaries), account) for _ in "12")
    made = Pair(first, second)
    try:
        first.initialise()
        first.start()
        psql(first.url("postgres"), "CREATE DATABASE concord")
        migrate.upgrade(settings_for(first.url()))
        psql(first.url(), "INSERT INTO users (username) VALUES ('ana'), ('bo')")
        made.follow()
        yield made
    finally:
        made.kill()
        for node in (first, second):
            shutil.rmtree(node.directory, ignore_errors=True)
