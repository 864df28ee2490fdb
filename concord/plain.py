"""Values as plain text: JSON, TSV and messages, without any library of the terminal."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.errors import ConcordError

# C0 and C1 controls and DEL would be obeyed by the terminal; the marks that turn the direction of
# text round, and the deprecated ones beside them, would make a line read other than it is; lone
# surrogates (an argument that is no UTF-8) cannot be written at all. The tag characters repeat
# ASCII and show nothing, so that a whole text can hide in them from whoever reads the screen, and
# not from a program that is given the same line.
#
# Left as they are, because real scripts need them, and because each is a letter without width
# among others, which hides no text and can turn none round: LRM, RLM and ALM (a number or a comma
# between two directions), ZWJ and ZWNJ (Persian, the scripts of India, emoji), ZWSP (Thai, Khmer).
_OBEYED = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u206f\ud800-\udfff"
_TAGS = "\U000e0000-\U000e007f"
# One selects a variant of the character before it; any more hide a byte each.
_VARIANTS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
# A flag of England, Scotland, Wales: a black one, the region's code in tags, and their end.
_FLAG = "\U0001f3f4"
_REGION = "[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
# One class at the front: what has none of it, as nearly every text, is passed over quickly.
_CONTROL = re.compile(
    f"[{_OBEYED}{_TAGS}{_VARIANTS}{_FLAG}]"
    f"(?:(?<={_FLAG}){_REGION}|(?<=[{_VARIANTS}])[{_VARIANTS}]+)?"
)
_SELECTOR = re.compile(f"[{_VARIANTS}]")
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
    return _replaced(match[0], _number)


def _escaped(match: re.Match[str]) -> str:
    return _replaced(match[0], _escape)


def _replaced(found: str, replace: Callable[[str], str]) -> str:
    """Return what was found, but for what is harmless at its place."""
    if found[0] == _FLAG:
        return found
    if _SELECTOR.match(found):
        return found[0] + "".join(map(replace, found[1:]))
    return replace(found)


def _number(char: str) -> str:
    # JSON has numbers of 16 bits only.
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
