"""What there is of an embedded server: its locks, its main process, its logs and complaints."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from concord.embedded.address import SOCKET
from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator

    import psutil

LITTLE_SPACE = 16 * 1024 * 1024
"""Bytes: one segment of the write-ahead log."""

LOG_TAIL = 64 * 1024
"""Bytes of a log in which its last complaint is looked for."""

_COMPLAINT = re.compile(r"\b(?:PANIC|FATAL|ERROR|error):\s.*")


@dataclass(frozen=True, slots=True)
class Status:
    """What can be told of an embedded server without connecting to it."""

    pid: int | None
    """Process id of its main process; `None`: no server runs that this user may know of."""
    socket_dir: Path
    version: str | None
    """Major version of PostgreSQL that the data is for; `None`: there is no data."""
    data: Path | None
    """The directory of the database cluster."""
    log: Path
    """The log that was written last; it need not exist."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The main process of a server that runs."""

    process: psutil.Process
    socket_dir: str
    ready: bool
    """Whether it has got as far as to take connections."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server of one data directory; `home` is that directory without symbolic links."""

    home: Path
    socket_dir: Path

    @contextmanager
    def errors(self) -> Generator[None]:
        """Turn what the system, PostgreSQL or the driver refuses into `DatabaseUnavailable`."""
        try:
            yield
        except shutil.Error as error:
            # A tree that could not be copied: a list of (from, to, why).
            raise self.failure("PostgreSQL cannot be copied", error.args[0][-1][-1]) from error
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise DatabaseUnavailable(
                f"the server in {self.home} cannot be used: {error.strerror or error}{where}",
                hint=self.advice(error.strerror or "", place=True),
            ) from error
        except subprocess.TimeoutExpired as error:
            raise self.failure(
                f"{error.cmd[0]} did not end within {error.timeout:.0f} s"
            ) from error
        except psycopg.Error as error:
            raise self.failure("the embedded server refuses", str(error)) from error

    @contextmanager
    def locked(self, name: str) -> Generator[int | None]:
        """Hold a lock file of the data directory and yield its descriptor; `None` if it is held.

        The lock is closed, never unlocked: a process that inherited the descriptor holds it on.
        """
        descriptor = os.open(self.home / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield descriptor
        finally:
            os.close(descriptor)

    def version(self) -> str | None:
        """Return the newest major version of PostgreSQL of which there is a cluster."""
        found = (
            path.parent.name.removeprefix("postgresql-")
            for path in self._found("postgresql-*/PG_VERSION")
        )
        return max(filter(str.isdecimal, found), key=int, default=None)

    def postmaster(self) -> Postmaster | None:
        """Return the main process of the server that runs here, of whichever version.

        An id in a file proves nothing: the server may be long gone, and the id be another's.
        """
        with suppress(ImportError):
            import psutil

            for file in self._found("postgresql-*/postmaster.pid"):
                with suppress(OSError, ValueError, OverflowError, psutil.Error):
                    pid, _, _, _, socket_dir, _, _, state, *_ = [
                        line.strip() for line in (file.read_text() + "\n" * 8).split("\n")
                    ]
                    # PostgreSQL in its single-user mode writes its id with a minus sign.
                    process = psutil.Process(abs(int(pid)))
                    if process.name() == "postgres" and Path(process.cwd()) == file.parent:
                        return Postmaster(process, socket_dir, state == "ready")
        return None

    def is_cut_off(self, postmaster: Postmaster) -> bool:
        """Whether a server's socket was removed, as tidiers of /tmp do: nobody can reach it."""
        return (
            postmaster.ready
            and postmaster.socket_dir == str(self.socket_dir)
            and not (self.socket_dir / SOCKET).exists()
        )

    def status(self) -> Status:
        """Return what there is of the server."""
        postmaster = self.postmaster()
        pid = None if postmaster is None else postmaster.process.pid
        version = self.version()
        data = None if version is None else self.home / f"postgresql-{version}"
        return Status(pid, self.socket_dir, version, data, self.log())

    def interrupt(self) -> None:
        """Ask the server, if one runs, for a fast shutdown."""
        postmaster = self.postmaster()
        if postmaster is not None:
            with suppress(ProcessLookupError):
                os.kill(postmaster.process.pid, signal.SIGINT)

    def log(self) -> Path:
        """Return the log that was written last; none need exist."""
        first = self.home / "server.log"
        return max((first, *self._found("postgresql-*/log/*.log")), key=_written)

    def failure(self, what: str, said: str | None = None) -> DatabaseUnavailable:
        """Return the error for something that failed, with the last complaint of what it said.

        By default that is the server's log.
        """
        log = self.log()
        lines = [line.strip() for line in (_tail(log) if said is None else said).splitlines()]
        complaints = [match[0] for line in lines if (match := _COMPLAINT.search(line))]
        cause = (complaints or [line for line in lines if line] or ["it said nothing"])[-1]
        return DatabaseUnavailable(
            f"{what}: {cause}",
            hint=f"{self.advice(cause)} The server's log: {log}",
            cause=cause,
            log=str(log),
        )

    def advice(self, cause: str, *, place: bool = False) -> str:
        """Return what to do about a failure, or about a data directory that is no good place."""
        # Programs name the system's errors in their output by the system's own words.
        full = any(os.strerror(number) in cause for number in (errno.ENOSPC, errno.EDQUOT))
        if full or self._is_full():
            return "The disk is full: free some space, then run it again."
        if place:
            return "Choose another directory with CONCORD_DATA_DIR."
        return "The data is left as it is."

    def _found(self, pattern: str) -> list[Path]:
        """Return the files of this name that the user may see."""
        try:
            return list(self.home.glob(pattern))
        except OSError:
            return []

    def _is_full(self) -> bool:
        for path in (self.home, *self.home.parents):
            with suppress(OSError):
                space = shutil.disk_usage(path)
                # Filesystems that hold no files, such as /proc, have no space at all.
                return space.free < LITTLE_SPACE <= space.total
        return False


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _tail(log: Path) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
        return file.read().decode(errors="replace")
    return ""
