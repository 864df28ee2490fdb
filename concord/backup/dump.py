"""Dumps in the custom format of `pg_dump`: how one is written, and how its rows are read."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO

from concord import libpq
from concord.errors import DatabaseUnavailable, Usage
from concord.settings import hide_password
from concord.sql import contents, refill

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from concord.backup.manifest import Manifest
    from concord.connections import Connection
    from concord.models import Contents

_COPY = re.compile(rb"COPY [^(]+\((.*)\) FROM stdin;\n")
_END = b"\\.\n"


def write(
    file: BinaryIO,
    connection: Connection,
    program: Path,
    environment: Mapping[str, str],
    lock_timeout: int,
) -> None:
    """Dump to a file what a transaction sees: all of Concord, and nothing else of the database.

    Owners and rights are left out, because they are those of one server. `lock_timeout` is in
    milliseconds. Raises `DatabaseUnavailable`.
    """
    place = contents.place(connection)
    others = contents.strangers(connection)
    command = [
        *(program, "--format=custom", "--no-owner", "--no-privileges", "--encoding=UTF8"),
        # Nobody gets here from whom rows are hidden.
        *("--enable-row-security", "--no-password", f"--lock-wait-timeout={lock_timeout}"),
        f"--snapshot={contents.export_snapshot(connection)}",
        f"--schema={_pattern(place)}",
        *(f"--exclude-table={_pattern(place)}.{_pattern(name)}" for name in others),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise _failure(program, done.stderr)


@dataclass(frozen=True, slots=True)
class Dump:
    """A backup that is whole: its file, and what its manifest says."""

    file: BinaryIO
    manifest: Manifest
    program: Path
    """The `pg_restore` that reads it."""

    @property
    def contents(self) -> Contents:
        """What it holds."""
        return self.manifest.contents

    def check(self) -> None:
        """Look into its table of contents.

        Raises `Usage` unless it has the rows of each table that the manifest tells of.
        """
        done = subprocess.run(
            [self.program, "--list"],
            stdin=self._from_start(),
            capture_output=True,
            env=_environment(),
            check=False,
        )
        if done.returncode:
            raise _failure(self.program, done.stderr)
        told, place = done.stdout.decode(errors="replace"), self.manifest.place
        for name in self.contents.tables:
            if f" TABLE DATA {place} {name} " not in told:
                raise _without(name)

    def load(self, connection: Connection, table: str, columns: Sequence[str]) -> None:
        """Copy the rows of a table to the table of that name. No other part of it is run."""
        command = [
            *(self.program, "--data-only", "--file=-", f"--table={table}"),
            f"--schema={self.manifest.place}",
        ]
        with subprocess.Popen(
            command,
            stdin=self._from_start(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                refill.fill(connection, table, columns, _rows(process.stdout, table, columns))
                complaint = process.stderr.read()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise _failure(self.program, complaint)

    def _from_start(self) -> BinaryIO:
        """Return the file for another process to read, which knows nothing of a buffer here."""
        os.lseek(self.file.fileno(), 0, os.SEEK_SET)
        return self.file


def _rows(script: IO[bytes], table: str, columns: Sequence[str]) -> Generator[bytes]:
    """Yield the rows of the one COPY in a script."""
    for line in script:
        if match := _COPY.fullmatch(line):
            break
    else:
        raise _without(table)
    named = [name.strip('"') for name in match[1].decode().split(", ")]
    if named != list(columns):
        raise Usage(f"the backup has other columns of {table}", hint="Use another backup.")
    for line in script:
        if line == _END:
            break
        yield line
    for _ in script:  # to its end, or the program would fail
        pass


def _without(table: str) -> Usage:
    return Usage(f"the backup has no rows of {table}", hint="Use another backup.")


def _pattern(name: str) -> str:
    """Return a name as a pattern of `pg_dump` that it alone matches."""
    return '"' + name.replace('"', '""') + '"'


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _failure(program: Path, told: bytes) -> DatabaseUnavailable:
    lines = hide_password(told.decode(errors="replace")).splitlines()
    complaints = [line.partition("error: ")[2] for line in lines if "error: " in line]
    said = (complaints or lines or ["it said nothing"])[0]
    return DatabaseUnavailable(
        f"{program.name} failed: {said}",
        hint="Nothing was changed; concord doctor looks into the database.",
        program=str(program),
    )


def writer(server: int) -> tuple[Path, int]:
    """Return the `pg_dump` for a server of a major version, and its own major version."""
    program = libpq.program("pg_dump", at_least=server)
    return program, libpq.major(program)


def reader(writer: int) -> Path:
    """Return a `pg_restore` that can read what a `pg_dump` of a major version wrote."""
    return libpq.program("pg_restore", at_least=writer)
