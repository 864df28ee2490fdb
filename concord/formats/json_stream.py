"""JSON files of any size, read value by value as they come.

A value is built from the parser's bare events. ijson's own objects would do, but it gives each
event the whole path to it, so that a few hundred kilobytes of `[[[[…` take all memory there is.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from concord.formats import text

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = 100
"""How deep a value may be nested. What people write ends at five or six."""

_CHUNK = 1 << 18
"""Bytes read at once: for each, a long text is gone through again; but events take memory."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_STARTS = ("start_map", "start_array")
_ENDS = ("end_map", "end_array")

Event = tuple[str, Any]


class BrokenError(Exception):
    """The file cannot be read any further; the message says why."""


class Reader:
    """The events of a JSON file (UTF-8, or UTF-16 where a byte order mark says so).

    Several values may follow one another, as in a file of one object a line. Reading raises
    `BrokenError` where the file ends early, is no JSON, or holds a number beyond 64 bits.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read from where the stream stands."""
        self._events = _events(stream)

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def value(self, first: Event) -> Any:
        """Return the value that begins with an event, in JSON's types, and read up to its end.

        Of an object's keys that occur twice the last one counts. Raises ValueError for what is
        nested too deeply; it has been read over then.
        """
        event, value = first
        if event not in _STARTS:
            return value
        root = _container(event)
        # Containers that are open; those beyond the limit are counted only.
        stack, depth, key, too_deep = [root], 1, "", False
        for event, value in self._events:
            if event in _ENDS:
                if depth == len(stack):
                    stack.pop()
                depth -= 1
                if not depth:
                    break
            elif event == "map_key":
                key = value
            elif depth >= DEPTH and (event in _STARTS or depth > DEPTH):
                depth += event in _STARTS
                too_deep = True
            else:
                item = _container(event) if event in _STARTS else value
                _add(stack[-1], key, item)
                if event in _STARTS:
                    stack.append(item)
                    depth += 1
        if too_deep:
            raise ValueError("nested too deeply")
        return root


def _events(stream: BinaryIO) -> Iterator[Event]:
    import ijson

    start = stream.tell()
    mark = stream.read(3)
    stream.seek(start + 3 if mark == codecs.BOM_UTF8 else start)
    source = _Utf8(stream) if mark.startswith(_UTF_16) else stream
    # Without `use_float` an integer of thousands of digits ends the process, not the parsing.
    parsed = ijson.basic_parse(source, multiple_values=True, use_float=True, buf_size=_CHUNK)
    events = cast("Iterator[Event]", parsed)
    try:
        yield from events
    except ijson.JSONError as error:
        raise BrokenError(_reason(error)) from None
    except UnicodeError:
        raise BrokenError("holds bytes that are no text") from None


class _Utf8:
    """UTF-16 as UTF-8."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-16")()

    def read(self, size: int) -> bytes:
        while size:
            data = self._stream.read(size)
            text = self._decoder.decode(data, final=not data)
            if text or not data:
                return text.encode()
        return b""


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    message = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    first = message.partition("\n")[0].strip().removeprefix("parse error: ")
    if "premature EOF" in first or "ncomplete" in first:
        return "the JSON ends too early; is the file cut off?"
    if "overflow" in first:
        return "holds a number that is out of range"
    return f"not valid JSON ({first.removeprefix('lexical error: ').rstrip('.')})"


def _container(event: str) -> Any:
    return {} if event == "start_map" else []


def _add(container: Any, key: str, item: Any) -> None:
    if isinstance(container, dict):
        container[key] = item
    else:
        container.append(item)


def fault(value: object) -> str | None:
    """Return why PostgreSQL cannot store a JSON value (a predicate), None where it can."""
    if isinstance(value, str):
        return text.fault(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        parts: list[object] = [*fields, *fields.values()]
    elif isinstance(value, Sequence):
        parts = list(cast("Sequence[object]", value))
    else:
        return None
    return next(filter(None, map(fault, parts)), None)


def text_at(record: Mapping[str, Any], key: str) -> str | None:
    """Return the text at `key`; None where it is missing, null or blank.

    Raises ValueError for anything else, and for a text that cannot be stored.
    """
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{key} is not a text")
    if why := text.fault(value):
        raise ValueError(f"{key} {why}")
    return value if value.strip() else None


def line_at(record: Mapping[str, Any], key: str) -> str:
    """Return the text at `key` as one line. Raises ValueError where there is none."""
    lines = map(str.strip, (text_at(record, key) or "").splitlines())
    if line := " ".join(filter(None, lines)):
        return line
    raise ValueError(f"no {key}")


def time_at(record: Mapping[str, Any], key: str) -> datetime | None:
    """Return the time at `key`, in UTC. Raises ValueError for what is no RFC 3339 time."""
    value = text_at(record, key)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{key} is not an RFC 3339 time: {value!r}")


def objects_at(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects of the list at `key`. Raises ValueError for anything else."""
    values = list_at(record, key)
    if not all(isinstance(value, dict) for value in values):
        raise ValueError(f"{key} holds something that is not an object")
    return values


def list_at(record: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list at `key`, empty where it is missing. Raises ValueError for anything else."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{key} is not a list")
    return cast("list[Any]", value)


def dict_at(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object at `key`, empty where it is missing. Raises ValueError otherwise."""
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not an object")
    return cast("dict[str, Any]", value)
