"""PgBouncer between a test and its server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from conftest import TIMEOUT, open_directory
from fleet import until
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from concord.embedded.address import own_account
from concord.embedded.root import service_account

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import Any

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
"""Where it is, if it is installed; an ordinary user's path leaves it out."""


def _version() -> tuple[int, int]:
    if PROGRAM is None:
        return 0, 0
    told = subprocess.run([PROGRAM, "--version"], capture_output=True, check=True, text=True).stdout
    match = re.search(r"PgBouncer (\d+)\.(\d+)", told)
    assert match is not None, told
    return int(match[1]), int(match[2])


PREPARED = (0, 100) if _version() >= (1, 21) else (0,)
"""How many prepared statements it may be told to carry from one session to another."""

STATE: LiteralString = """
SELECT pg_backend_pid(),
       (SELECT json_object_agg(name, setting) FROM pg_settings
        WHERE name <> 'application_name' AND source NOT IN ('default', 'override')),
       coalesce(current_setting('concord.actor', true), ''),
       coalesce(current_setting('concord.operation', true), ''),
       (SELECT count(*) FROM pg_prepared_statements),
       (SELECT count(*) FROM pg_cursors),
       (SELECT count(*) FROM pg_listening_channels()),
       (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
       (SELECT count(*) FROM pg_class WHERE relpersistence = 't')
"""
"""All that one user's command could leave in a session for another user to find."""


@contextmanager
def pooler(
    url: str, *, size: int = 1, mode: str = "transaction", prepared: int = 0
) -> Generator[str]:
    """Yield the connection string of the same database by way of PgBouncer.

    `size` is how many sessions there are for all who use it. Skips the test where PgBouncer is
    absent.
    """
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed")
    server = conninfo_to_dict(url)
    # It refuses to run as root. The server knows this account, by the socket that it comes to.
    account = service_account() if os.geteuid() == 0 else own_account()
    directory = open_directory()
    try:
        told = {
            "pool_mode": mode,
            "default_pool_size": size,
            "auth_type": "any",
            "listen_port": 6432,
            "unix_socket_dir": directory,
            "query_wait_timeout": TIMEOUT // 2,
            "server_tls_sslmode": "disable",
            **({"max_prepared_statements": prepared} if prepared else {}),
        }
        behind = {"host": server["host"], "port": server.get("port", 5432), "user": server["user"]}
        config = directory / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{server['dbname']} = {' '.join(f'{k}={v}' for k, v in behind.items())}\n"
            "[pgbouncer]\n" + "".join(f"{name} = {value}\n" for name, value in told.items())
        )
        os.chown(directory, account.pw_uid, account.pw_gid)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [PROGRAM, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                user=account.pw_uid if os.geteuid() == 0 else None,
                group=account.pw_gid if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
            )
        try:
            until(lambda: _listens(directory) or process.poll() is not None)
            assert process.poll() is None, (directory / "log").read_text()
            yield make_conninfo(
                "",
                host=str(directory),
                port=6432,
                user=server["user"],
                dbname=server["dbname"],
                sslmode="disable",
                gssencmode="disable",
            )
        finally:
            process.terminate()
            process.wait(TIMEOUT)
    finally:
        shutil.rmtree(directory)


def _listens(directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(f"{directory}/.s.PGSQL.6432")
        return True
    return False


def state(url: str) -> tuple[Any, ...]:
    """Return what a session holds that comes by way of a pooler."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        row = connection.execute(STATE).fetchone()
    assert row is not None
    return row
