"""Text as foreign files hold it: lines, encodings, and what a task can store of them."""

from __future__ import annotations

import codecs
import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from concord.vocabulary import TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

INTACT = "<!-- utf-8: ✓ -->"
"""A line that reads like this only where the encoding is right: what follows needs no repair."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SURROGATE = re.compile("[\ud800-\udfff]")
# UTF-8 that was read as a single-byte encoding shows two or more odd characters in a row, the
# last of which (a no-break space) an editor may have made a plain space; or it shows C1 controls.
_SUSPECT = re.compile("[^\x00-\x7f]{2}|[ÂÃ] |[\x80-\x9f]")


def lines(stream: BinaryIO) -> Iterator[str]:
    r"""Yield the lines of a stream one by one, without their ends: `\n`, `\r\n` or `\r`.

    The encoding is UTF-8, or UTF-16 where a byte order mark says so. A byte that is not UTF-8
    becomes a lone surrogate (PEP 383), which `fault` tells. The stream stays open.
    """
    start = stream.tell()
    utf_16 = stream.read(2) in _UTF_16
    stream.seek(start)
    encoding, errors = ("utf-16", "replace") if utf_16 else ("utf-8-sig", "surrogateescape")
    decoded = io.TextIOWrapper(stream, encoding, errors)
    try:
        for line in decoded:
            yield line.removesuffix("\n")
    finally:
        with suppress(ValueError):  # it is closed: whoever read it has given up
            decoded.detach()


def prose(data: bytes) -> Iterator[str]:
    """Yield the lines of a text that people wrote, whatever encoding it was saved in.

    Like `lines`, but a line that is not UTF-8 is read as cp1252 (Latin-1 where even that fails),
    and a line that as a whole is UTF-8 encoded twice is repaired. All other text stays as it is,
    and so does everything after a line `INTACT`.
    """
    intact = False
    for raw in lines(io.BytesIO(data)):
        line = _decode_legacy(raw) if _SURROGATE.search(raw) else raw
        intact = intact or line == INTACT
        if not intact and _SUSPECT.search(line):
            line = _repair(line)
        yield line.removeprefix("\ufeff")


def _decode_legacy(line: str) -> str:
    raw = line.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _repair(line: str) -> str:
    import ftfy  # 0.1 s, and few files need it

    # Sequences inside an otherwise sound line stay: there they are more likely meant than damage.
    return ftfy.fix_encoding(line, decode_inconsistent_utf8=False, replace_lossy_sequences=False)


def fault(text: str) -> str | None:
    """Return why PostgreSQL cannot store `text` (a predicate: "holds …"), None where it can."""
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL cannot store"
    if not text.isascii() and _SURROGATE.search(text):
        return "holds bytes or half a surrogate pair that are no character"
    return None


def fit_title(text: str) -> tuple[str, str | None]:
    """Return `text` as a title within `TITLE_LIMIT`, and the full text where it had to be cut."""
    if len(text) <= TITLE_LIMIT:
        return text, None
    return text[: TITLE_LIMIT - 1] + "…", text
