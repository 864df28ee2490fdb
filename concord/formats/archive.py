"""An archive: all rows of all tables as JSON Lines, for whatever server they go to.

    {"concord_archive":1,"schema":"0003","tables":{"users":{"columns":["id",…],"rows":2,…},…}}
    {"table":"users","row":{"id":1,"username":"ana",…}}
    …
    {"checksums":{"users":"…",…},"last_change":17,"untold":0,"sha256":"…"}

The first line says what comes, the last one what it came to: the checksum of each table, as the
database tells it, and one of all bytes before it, so that an archive that was cut off or changed
is known for it without any database.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from concord.models import Contents, TableContents
from concord.plain import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

VERSION = 1

LONGEST_HEADER = 1024 * 1024
"""Bytes: a file whose first line is longer is something else."""

_ROW = re.compile(rb'\{"table":"([a-z_]+)","row":\{')


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is whole: what it holds, and where in it the rows of each table begin."""

    contents: Contents
    places: Mapping[str, int]


def dump(contents: Contents, rows: Callable[[str], Iterable[str]]) -> Generator[str]:
    """Yield the lines of an archive without their ends; `rows` gives those of a table as JSON."""
    digest = hashlib.sha256()

    def counted(line: str) -> str:
        digest.update(line.encode() + b"\n")
        return line

    tables = {
        name: {"columns": table.columns, "rows": table.rows, "next_id": table.next_id}
        for name, table in contents.tables.items()
    }
    yield counted(dumps({"concord_archive": VERSION, "schema": contents.schema, "tables": tables}))
    for name in contents.tables:
        for row in rows(name):
            yield counted(f'{{"table":"{name}","row":{row}}}')
    end = {
        "checksums": {name: table.checksum for name, table in contents.tables.items()},
        "last_change": contents.last_change,
        "untold": contents.untold,
        "sha256": digest.hexdigest(),
    }
    yield dumps(end)


def check(stream: BinaryIO) -> Archive:
    """Go through an archive, of whatever size, and return what is in it.

    Raises `ValueError` saying what is wrong with it.
    """
    first = stream.readline(LONGEST_HEADER)
    header = _object(first)
    version = header.get("concord_archive")
    if version is None:
        raise ValueError("it is not an archive of Concord")
    if version != VERSION:
        raise ValueError(f"it is of version {version}, which this Concord does not know")
    digest, place = hashlib.sha256(first), len(first)
    places: dict[str, int] = {}
    counts: dict[str, int] = {}
    last = b""
    for line in stream:
        if last:
            raise ValueError("it goes on after its end")
        if found := _ROW.match(line):
            name = found[1].decode()
            places.setdefault(name, place)
            counts[name] = counts.get(name, 0) + 1
            digest.update(line)
            place += len(line)
        else:
            last = line
    end = _object(last)
    if not last.endswith(b"\n") or "sha256" not in end:
        raise ValueError("it is cut off: its last line is missing")
    if end["sha256"] != digest.hexdigest():
        raise ValueError("it was changed since it was written")
    contents = _contents(header, end)
    if counts != {name: table.rows for name, table in contents.tables.items() if table.rows}:
        raise ValueError("it has not as many rows as it says")
    return Archive(contents, places)


def lines(stream: BinaryIO, archive: Archive, table: str) -> Iterator[str]:
    """Yield the lines of a table. Raises `ValueError` for one that is not UTF-8."""
    stream.seek(archive.places.get(table, 0))
    for _ in range(archive.contents.rows(table)):
        yield stream.readline().decode().rstrip("\n")


def contents_of(document: Any) -> Contents:
    """Return contents as `plain.jsonable` has told them. Raises `ValueError`."""
    try:
        return Contents(
            schema=_text(document["schema"]),
            tables={
                _text(name): TableContents(
                    columns=tuple(map(_text, table["columns"])),
                    rows=_count(table["rows"]),
                    checksum=_text(table["checksum"]),
                    next_id=None if table["next_id"] is None else _count(table["next_id"]),
                )
                for name, table in document["tables"].items()
            },
            last_change=None
            if document["last_change"] is None
            else _count(document["last_change"]),
            untold=_count(document["untold"]),
        )
    except (KeyError, TypeError, AttributeError):
        raise ValueError("what it says of its contents makes no sense") from None


def _contents(header: dict[str, Any], end: dict[str, Any]) -> Contents:
    try:
        tables = {
            name: {**table, "checksum": end["checksums"][name]}
            for name, table in header["tables"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise ValueError("what it says of its contents makes no sense") from None
    return contents_of({**end, "schema": header.get("schema"), "tables": tables})


def _object(line: bytes) -> dict[str, Any]:
    """Return a line's JSON object, an empty one for whatever else it is."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError
    return value
