"""A foreign file, read row by row as often as need be, and what was in it besides tasks."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from concord.errors import Usage
from concord.formats import text
from concord.formats.words import Words
from concord.models import BadRow, FileTold, ImportedTask, SkippedRow, Unlinked

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from concord.formats.catalogue import Format
    from concord.models import MappedWord, ParsedRow

SHOWN_ROWS = 20
"""How many bad rows, or unknown words, a message names."""

KEPT_ROWS = 1000
"""How many bad rows are told apart: a file with more is not of the format."""


class Reading:
    """The tasks of a file. What else is in it is gathered while they are gone through.

    Nothing of it is kept from one time to the next: an import that starts again reads anew.
    """

    def __init__(
        self,
        source: BinaryIO | Path,
        name: str,
        kind: Format,
        *,
        rules: Sequence[str] = (),
        skip: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Take a seekable stream, or a directory, and what to call it.

        `rules` say what words mean; with `skip`, rows that cannot be read are left out; with
        `dry_run`, words that nobody has told the meaning of may be there. Raises `Usage` for what
        is no rule.
        """
        Words(rules)
        self._source = source
        self._name = name
        self._kind = kind
        self._rules = rules
        self._skip = skip
        self._dry_run = dry_run
        self._forget()

    def __iter__(self) -> Iterator[ImportedTask]:
        """Yield the tasks, from the beginning. Raises `Usage` when far too many are bad."""
        self._forget()
        if not isinstance(self._source, Path):
            self._source.seek(0)
        for row in self._kind.parser()(self._source, self._words):
            if not isinstance(row, ImportedTask):
                self._take(row)
            elif row.extra and (fault := _fault(row.extra)):
                self._take(BadRow(row.line, f"{row.ref} {fault}"))
            else:
                yield row

    @property
    def bad(self) -> tuple[BadRow, ...]:
        """The rows that could not be read, by line."""
        return tuple(sorted(self._bad, key=lambda row: row.line))

    def finish(self, repeated: Sequence[BadRow]) -> FileTold:
        """Return what was in the file besides tasks, when all have been gone through.

        `repeated` are rows that turned out to be about a task of an earlier one. Raises `Usage`
        for words that nobody has told the meaning of, and for bad rows unless they are skipped.
        """
        for row in repeated:
            self._bad.append(row)
        if self._bad and not self._skip:
            raise self._unreadable()
        if self._words.unknown and not self._dry_run:
            raise self._unknown(self._words.unknown)
        return FileTold(self._skipped + len(self._bad), tuple(self._unlinked), self._words.used)

    def _forget(self) -> None:
        self._words = Words(self._rules)
        self._bad: list[BadRow] = []
        self._unlinked: list[Unlinked] = []
        self._skipped = 0

    def _take(self, row: ParsedRow) -> None:
        match row:
            case BadRow():
                self._bad.append(row)
                if len(self._bad) > KEPT_ROWS:
                    raise self._unreadable()
            case Unlinked():
                self._unlinked.append(row)
            case SkippedRow():
                self._skipped += 1
            case _:
                raise AssertionError(row)

    def _unreadable(self) -> Usage:
        bad, entry = self.bad, self._kind.entry
        told = "; ".join(f"{entry} {row.line}: {row.reason}" for row in bad[:SHOWN_ROWS])
        more = f"; and {len(bad) - SHOWN_ROWS} more" if len(bad) > SHOWN_ROWS else ""
        return Usage(
            f"{self._name}: {told}{more}; nothing was imported",
            hint=f"Is it the right format, {self._kind.name}?"
            if len(bad) > KEPT_ROWS
            else "Mend the file, or leave such lines out with --skip-bad.",
            lines=[{"line": row.line, "reason": row.reason} for row in bad],
        )

    def _unknown(self, words: Sequence[MappedWord]) -> Usage:
        told = ", ".join(f"{word.kind} {word.word!r} ({word.tasks})" for word in words[:SHOWN_ROWS])
        more = f", and {len(words) - SHOWN_ROWS} more" if len(words) > SHOWN_ROWS else ""
        first = words[0]
        example = {"status": "in_progress", "priority": "high"}.get(first.kind, "NAME")
        rule = f"{first.kind}:{first.word}={example}"
        return Usage(
            f"{self._name}: nobody has said what these mean: {told}{more}; nothing was imported",
            hint=f"Say so for each, as in: --map '{rule}'. See them all: --dry-run",
            words=[{"kind": word.kind, "word": word.word, "tasks": word.tasks} for word in words],
        )


@contextmanager
def opened(file: str, kind: Format) -> Generator[BinaryIO | Path]:
    """Yield what a file holds: a directory's path, or a stream that can be read again.

    Standard input (`-`) is put into a temporary file. Raises `Usage`.
    """
    path = Path(file)
    try:
        if kind.directory:
            if not path.is_dir():
                raise Usage(f"{file} is no directory", hint="Name the directory of the project.")
            yield path
        else:
            with seekable(file) as stream:
                yield stream
    except OSError as error:
        raise _unreadable(file, error) from None


def _unending(file: str) -> Usage:
    """Return the error for the like of /dev/zero: memory would end before it does."""
    return Usage(f"cannot read {file}: it has no end", hint="Name a file, or -.")


@contextmanager
def seekable(file: str) -> Generator[BinaryIO]:
    """Yield a stream of what is in a file, or on standard input (`-`), that can be read again.

    What cannot is put into a temporary file. Raises `Usage`.
    """
    try:
        if file == "-":
            with tempfile.TemporaryFile() as spool:
                shutil.copyfileobj(sys.stdin.buffer, spool)
                spool.seek(0)
                yield spool
            return
        path = Path(file)
        with path.open("rb") as stream:
            if stream.seekable():
                if path.is_char_device() and stream.read(1):
                    raise _unending(file)
                yield stream
                return
            with tempfile.TemporaryFile() as spool:
                shutil.copyfileobj(stream, spool)
                spool.seek(0)
                yield spool
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: str, error: OSError) -> Usage:
    return Usage(f"cannot read {file}: {error.strerror}", hint="Name a file, or -.")


def _fault(value: Any) -> str | None:
    """Return why PostgreSQL cannot store a JSON value, None where it can."""
    pending = [value]
    while pending:
        told = pending.pop()
        if isinstance(told, str):
            if fault := text.fault(told):
                return fault
        elif isinstance(told, dict):
            fields = cast("dict[str, Any]", told)
            pending += [*fields.keys(), *fields.values()]
        elif isinstance(told, (list, tuple)):
            pending += cast("list[Any]", told)
    return None
