"""The manifest of a backup: what it holds, told behind the dump, in the same file.

    PGDMP…                  the dump, as pg_dump wrote it
    CONCORD BACKUP 1        a line of its own
    {"contents":{…},…}      the manifest
    9f86d081884c7d65…       the SHA-256 of all that comes before it

In the same file, so that nobody can lose, forget or mix them up. `pg_restore` finds its way by the
table of contents at the beginning, and does not look at what comes after the dump.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from concord.formats import archive
from concord.plain import dumps

if TYPE_CHECKING:
    from concord.models import Contents

_MARK = b"\nCONCORD BACKUP 1\n"

_LONGEST = 1024 * 1024
"""Bytes: what comes behind a dump is never longer."""

_SEAL = 65
"""Bytes of the last line, with its end."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself.

    `place` is the schema in which the tables were; `program`, the major version of the `pg_dump`
    that wrote it, below which no `pg_restore` can read it.
    """

    contents: Contents
    place: str
    program: int


def write(file: BinaryIO, manifest: Manifest) -> None:
    """Put the manifest behind a dump that is complete."""
    told = _MARK + dumps(manifest).encode() + b"\n"
    file.seek(0, os.SEEK_END)
    file.write(told)
    seal = _hash(file, file.tell())
    file.seek(0, os.SEEK_END)
    file.write(seal)


def read(file: BinaryIO) -> Manifest:
    """Return the manifest of a backup, all of whose bytes are as they were written.

    Raises `ValueError` saying what is wrong with it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST))
    tail = file.read(_LONGEST)
    mark = tail.rfind(_MARK)
    if mark < 0 or not re.fullmatch(rb"[0-9a-f]{64}\n", tail[-_SEAL:]):
        file.seek(0)
        raise ValueError(
            "it is cut off, or was not written by: concord db backup"
            if file.read(5) == b"PGDMP"
            else "it is no backup of Concord"
        )
    if _hash(file, size - _SEAL) != tail[-_SEAL:]:
        raise ValueError("it was changed since it was written")
    try:
        told: Any = json.loads(tail[mark + len(_MARK) : -_SEAL])
        return Manifest(
            archive.contents_of(told["contents"]), str(told["place"]), int(told["program"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError("its manifest makes no sense") from error


def _hash(file: BinaryIO, size: int) -> bytes:
    """Return the last line for so many bytes at the beginning of a file."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (part := file.read(min(size, _LONGEST))):
        digest.update(part)
        size -= len(part)
    return digest.hexdigest().encode() + b"\n"
