"""Copies of a whole database, and putting one back.

There are two kinds. A backup is a dump of `pg_dump`, which PostgreSQL's own tools can read, with a
manifest at its end; an archive is JSON Lines, which any server can take. Both are put back in the
same way, in one transaction, and compared with what they say of themselves before it is committed.

Like `init` and `doctor` this is beside the runner: a copy can be made of an older schema, and is
put back by way of the schema that it is of.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import psycopg

from concord import libpq
from concord.backup import dump, manifest
from concord.backup.files import private
from concord.connections import connect
from concord.database import SCHEMA_HEAD, schema_mismatch
from concord.errors import Usage
from concord.formats import archive as lines
from concord.sql import contents as reading
from concord.sql import refill, server
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from concord.connections import Connection
    from concord.models import Contents
    from concord.settings import Settings


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is whole: a stream, and what was found in it."""

    stream: BinaryIO
    found: lines.Archive

    @property
    def contents(self) -> Contents:
        """What it holds."""
        return self.found.contents

    def load(self, connection: Connection, table: str, columns: Sequence[str]) -> None:
        """Add its rows of a table to the table of that name."""
        try:
            refill.unpack(connection, table, columns, lines.lines(self.stream, self.found, table))
        except UnicodeDecodeError:
            raise Usage("the archive is not UTF-8", hint="Use another copy.") from None


def back_up(settings: Settings, command: str, path: Path, *, replace: bool) -> Contents:
    """Write a backup of the database, as it stands at one moment, and return what it holds.

    The file has its name only when it is complete and on disk, and is its owner's to read. Raises
    `Refused` if it is there already, unless it is to be replaced, and other `ConcordError`.
    """
    with private(path, replace=replace) as file:
        environment = libpq.environment(settings, owner=True)
        with _snapshot(settings, command) as (connection, contents):
            program, version = dump.writer(connection.info.server_version // 10000)
            told = manifest.Manifest(contents, reading.place(connection), version)
            dump.write(file, connection, program, environment, settings.lock_timeout)
        manifest.write(file, told)
        file.flush()
        dump.Dump(file, told, dump.reader(version)).check()
    return contents


@contextmanager
def opened(path: Path) -> Generator[dump.Dump]:
    """Yield a backup that is whole and can be read.

    Raises `Usage` for a file that is none, was cut off or changed, and `DatabaseUnavailable`
    without a `pg_restore` that is new enough.
    """
    try:
        with path.open("rb") as file:
            try:
                told = manifest.read(file)
            except ValueError as error:
                raise _unfit(path, error) from None
            found = dump.Dump(file, told, dump.reader(told.program))
            found.check()
            yield found
    except OSError as error:
        raise Usage(
            f"cannot read {path}: {error.strerror}", hint="Name the file of a backup."
        ) from error


def export(settings: Settings, command: str, use: Callable[[Iterable[str]], object]) -> Contents:
    """Hand the lines of an archive to `use`, and return what it holds.

    They are of one moment, and made as `use` goes through them. Raises `ConcordError`.
    """
    with _snapshot(settings, command) as (connection, contents):
        told = lines.dump(
            contents,
            lambda table: reading.rows(connection, table, contents.tables[table].columns),
        )
        # Whoever has enough of it leaves a COPY behind, in whose midst no transaction can end.
        with closing(told):
            use(told)
    return contents


def checked(stream: BinaryIO, name: str) -> Archive:
    """Return the archive in a seekable stream. Raises `Usage` for what is none, cut or changed."""
    try:
        return Archive(stream, lines.check(stream))
    except ValueError as error:
        raise _unfit(name, error) from None


def _unfit(name: Path | str, why: ValueError) -> Usage:
    return Usage(f"{name} cannot be used: {why}; nothing was changed", hint="Use another copy.")


@contextmanager
def _snapshot(settings: Settings, command: str) -> Generator[tuple[Connection, Contents]]:
    """Yield a connection to which all is as at one moment, and what there is then."""
    try:
        with connect(settings, command, owner=True) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                reading.settle(connection, settings.lock_timeout)
                revision = server.revision(connection)
                # Of a newer one nobody here can say which tables there are.
                if revision is None or revision > SCHEMA_HEAD:
                    raise schema_mismatch(revision)
                tables = reading.present(connection, reading.TABLES)
                yield connection, reading.describe(connection, revision, tables)
    except psycopg.Error as error:
        raise translate(error) from error
