"""Values as plain text: JSON, TSV and messages, without any library of the terminal."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.errors import ConcordError

# C0 and C1 controls and DEL would be obeyed by the terminal; the marks that turn the direction of
# text round would make a line read other than it is; lone surrogates (an argument that is no UTF-8)
# cannot be written at all.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_TSV = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def moment(value: datetime) -> str:
    """Return a time as JSON has it: UTC, ISO 8601, with a `Z`."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def jsonable(value: Any) -> Any:
    """Return a dataclass, collection or scalar as what `json` can write."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, UUID):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in cast("Sequence[Any]", value)]
    return value


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON text."""
    text = json.dumps(
        jsonable(value),
        ensure_ascii=False,
        indent=indent,
        separators=(",", ": " if indent else ":"),
    )
    # `json` escapes the C0 controls alone; the others are safe on no terminal either.
    return _CONTROL.sub(_numbered, text)


def cell(value: Any) -> str:
    """Return a value as one cell of text: lists joined by commas, nothing for `None`."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return moment(value)
        case list() | tuple():
            return ",".join(cell(item) for item in cast("Sequence[Any]", value))
        case dict():
            return dumps(value)
        case _:
            return dumps(value) if is_dataclass(value) else str(value)


def tsv(value: Any) -> str:
    r"""Return a cell of a tab-separated line.

    Backslash, tab and line ends are as `COPY` has them, other control characters `\u001b`: what
    was in the text can be told from it, and `| head` shows it to a terminal.
    """
    return _CONTROL.sub(_numbered, cell(value).translate(_TSV))


def visible(text: str) -> str:
    r"""Return text that a terminal shows and never obeys: control characters as `\x1b`."""
    return _CONTROL.sub(_escaped, text)


def error_text(error: ConcordError, *, as_json: bool) -> str:
    """Return an error as it is printed on stderr."""
    if as_json:
        return dumps(error.as_json())
    lines = [f"error: {error.message}"]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return visible("\n".join(lines))


def _numbered(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
