"""CSV as other trackers write it and spreadsheets save it again: records by their columns' names.

Files are read record by record, never as a whole. The delimiter is `,` or `;`, whichever makes more
cells of the header; headers are compared without regard to case, and may repeat. The encoding is
UTF-8, or UTF-16 where a byte order mark says so; a line that is not UTF-8 is read as cp1252
(Latin-1 where even that fails).
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from concord.formats import text
from concord.models import BadRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from concord.models import ParsedRow

CELL_LIMIT = 2**26
"""The most characters of a cell. In a longer one, a quote was never closed."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Record:
    """A line of the table, or several: the cells below each header that hold more than space.

    What is taken is told by a task's own fields; what is not, or is kept as well, is the `rest`.
    """

    __slots__ = ("_cells", "_header", "_told", "line")

    def __init__(self, line: int, header: _Header, cells: Sequence[str]) -> None:
        """Pair cells with the names above them. `line` is where the record starts, from 1."""
        self.line = line
        self._header = header
        self._cells: dict[str, list[str]] = {}
        self._told: set[str] = set()
        for column, cell in zip(header.columns, cells, strict=False):
            if cell and not cell.isspace():
                self._cells.setdefault(column, []).append(_joined(cell))

    def has(self, *names: str) -> bool:
        """Return whether the table has one of these columns."""
        return any(name.casefold() in self._header.names for name in names)

    def peek(self, name: str) -> str | None:
        """Return a column's first text, without the space around it; it stays in the `rest`."""
        values = self._cells.get(name.casefold())
        return values[0].strip() if values else None

    def take(self, name: str) -> str | None:
        """Return a column's text, without the space around it."""
        if len(self._cells.get(name.casefold(), ())) == 1:
            self._told.add(name.casefold())
        return self.peek(name)

    def take_body(self, name: str) -> str | None:
        """Return a column's text with its indentation, but no blank lines around it."""
        self.take(name)
        values = self._cells.get(name.casefold())
        return re.sub(r"\A(?:[^\S\n]*\n)+", "", values[0].rstrip()) if values else None

    def take_all(self, name: str) -> list[str]:
        """Return the texts of all columns of a name."""
        self._told.add(name.casefold())
        return list(self._cells.get(name.casefold(), ()))

    def require(self, name: str) -> str:
        """Return a column's text. Raises ValueError where there is none."""
        value = self.take(name)
        if value is None:
            raise ValueError(f"no {name}")
        return value

    def keep(self, name: str) -> None:
        """Leave a column in the `rest`, because the field it went to does not give it back."""
        self._told.discard(name.casefold())

    def rest(self) -> dict[str, str | list[str]]:
        """Return what no field has taken: name → text, or texts where the column repeats."""
        return {
            self._header.names[column]: values[0] if len(values) == 1 else values
            for column, values in self._cells.items()
            if column not in self._told
        }


def rows(
    stream: BinaryIO, what: str, required: Sequence[str], make: Callable[[Record], ParsedRow]
) -> Iterator[ParsedRow]:
    """Yield what `make` makes of each record, and a `BadRow` where it raises ValueError."""
    for record in records(stream, what, required):
        if isinstance(record, BadRow):
            yield record
            continue
        try:
            yield make(record)
        except ValueError as error:
            yield BadRow(record.line, str(error))


def records(stream: BinaryIO, what: str, required: Sequence[str]) -> Iterator[Record | BadRow]:
    """Yield the records below the header, from the start of a seekable stream.

    Rows without any text mean nothing. Cells may be missing at the end of a row, as spreadsheets
    leave them out, but not in a last line that has no end: then the file is cut off. A file without
    the `required` columns is one `BadRow`, which tells that it is not `what` it should be.
    """
    lines = _Lines(stream)
    try:
        yield from _records(lines, what, required)
    finally:
        lines.release()


class _Lines:
    """The lines of a stream with their ends as they are; how many there were; how they ended."""

    def __init__(self, stream: BinaryIO) -> None:
        stream.seek(0)
        utf_16 = stream.read(2) in _UTF_16
        stream.seek(0)
        encoding, errors = ("utf-16", "replace") if utf_16 else ("utf-8-sig", "surrogateescape")
        self._text = io.TextIOWrapper(stream, encoding, errors, newline="")
        self.number = 0
        self.ended = False
        self.finished = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline()
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        self.finished = line.endswith(("\n", "\r"))
        return _legacy(line) if _SURROGATE.search(line) else line

    def release(self) -> None:
        """Leave the stream open for whoever gave it."""
        with suppress(ValueError):  # whoever gave it may have closed it
            self._text.detach()


@dataclass(frozen=True, slots=True)
class _Header:
    """The names of the columns, and what tells them apart: the names in lower case."""

    columns: tuple[str, ...]
    names: Mapping[str, str]


def _records(lines: _Lines, what: str, required: Sequence[str]) -> Iterator[Record | BadRow]:
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        yield BadRow(1, f"empty, not {what}, which begins with a header")
        return
    try:
        delimiter = max(
            ",;", key=lambda each: len(_next(csv.reader([first], delimiter=each)) or ())
        )
        reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter)
        header = _header(_next(reader) or ())
    except (csv.Error, ValueError) as error:
        yield BadRow(1, f"not {what}: {error}")
        return
    missing = [name for name in required if name.casefold() not in header.names]
    if missing:
        yield BadRow(1, f"not {what}: its header has no column {', '.join(missing)}")
        return
    while True:
        line = lines.number + 1
        try:
            cells = _next(reader)
        except csv.Error:
            yield BadRow(line, f"a cell of more than {CELL_LIMIT} characters; the rest is not read")
            return
        if cells is None:
            return
        if any(map(str.strip, cells)):
            yield _record(line, header, cells, lines)


def _header(cells: Sequence[str]) -> _Header:
    """Return the header. Raises ValueError where a name in it cannot be stored."""
    told = [
        " ".join(cell.split()) or f"column {place}" for place, cell in enumerate(cells, start=1)
    ]
    columns = tuple(name.casefold() for name in told)
    names: dict[str, str] = {}
    for column, name in zip(columns, told, strict=True):
        if fault := text.fault(name):
            raise ValueError(f"its header {fault}")
        names.setdefault(column, name)
    return _Header(columns, names)


def _record(line: int, header: _Header, cells: Sequence[str], lines: _Lines) -> Record | BadRow:
    wanted = len(header.columns)
    if lines.ended:  # a record that ends by itself never asks for another line
        return BadRow(line, "a quote is opened and never closed; is the file cut off?")
    if len(cells) < wanted and not lines.finished:
        return BadRow(line, f"ends after {len(cells)} of {wanted} cells; is the file cut off?")
    if any(map(str.strip, cells[wanted:])):
        return BadRow(line, f"has {len(cells)} cells, but the header {wanted}")
    for column, cell in zip(header.columns, cells, strict=False):
        if fault := text.fault(cell):
            return BadRow(line, f"{header.names[column]} {fault}")
    return Record(line, header, cells)


def _legacy(line: str) -> str:
    raw = line.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _joined(cell: str) -> str:
    return cell.replace("\r\n", "\n").replace("\r", "\n") if "\r" in cell else cell


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    # The limit is the whole process's: it is set aside for no longer than one record takes.
    limit = csv.field_size_limit(CELL_LIMIT)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(limit)
