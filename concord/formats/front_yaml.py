"""The YAML of a front matter: what people write there, and nothing that could do harm.

No alias (a few lines of which are gigabytes), no tag, no second document, nothing of great depth.
A plain word is a text, but for whole numbers, decimals, true, false and null as they are usually
written: no date, no `yes`, no octal number that the file does not say is one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from concord.formats import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 1 << 16
"""The most characters of a front matter."""

_DEPTH = 8
_NULLS = ("", "~", "null", "Null", "NULL")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{0,5}[1-9])?")
_LINE = re.compile(r"^([A-Za-z_][\w-]*):[ \t]+(.*)$", re.MULTILINE)
_PERSON = re.compile(r"(?<=[\[, ])@[^,\]'\"\s]+")
# What YAML takes within quotes on one line.
_PRINTABLE = re.compile(
    "[ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*"
)
# What needs quotes, as the most common library of JavaScript writes it.
_SAFE = re.compile(
    r"""(?![\s\-?:,\[\]{}#&*!|>'"%@`])[^:#,\[\]{}\x00-\x1f\x7f-\x9f\u2028\u2029]*(?<!\s)"""
)
_AMBIGUOUS = re.compile(
    r"~|null|true|false|y|n|yes|no|on|off"
    r"|[-+]?(?:0x[\da-f_]+|0b[01_]+|[\d_]+(?:\.[\d_]*)?(?:e[-+]?\d+)?|\.[\d_]+(?:e[-+]?\d+)?)"
    r"|[-+]?\.inf|\.nan|=|<<|\d{4}-\d\d?-\d\d?(?:[t ].*)?",
    re.IGNORECASE,
)


class _SyntaxError(ValueError):
    """What stands there is no YAML."""


def load(source: str) -> dict[str, Any]:
    """Return the fields of a front matter, in JSON's types. Raises ValueError saying what is wrong.

    Where it is not valid YAML because of plain words in it, these are taken as they stand.
    """
    if len(source) > LIMIT:
        raise ValueError(f"the front matter is longer than {LIMIT} characters")
    if why := text.fault(source):
        raise ValueError(f"the front matter {why}")
    try:
        return _load(source)
    except _SyntaxError:
        quoted = _LINE.sub(_taken_plainly, source)
        if quoted == source:
            raise
        return _load(quoted)


def dump(fields: Mapping[str, Any]) -> str:
    """Return the lines of a front matter, each with its end."""
    return "".join(f"{_scalar(name)}:{_value(value, '')}\n" for name, value in fields.items())


def _taken_plainly(line: re.Match[str]) -> str:
    # A second colon, `@ana` or ` #1` would be something else to YAML.
    value = line[2].strip()
    if value.startswith("["):
        return f"{line[1]}: {_PERSON.sub(lambda found: _quoted(found[0]), value)}"
    if not value or value[0] in "'\"[{|>" or _word(value) != value:
        return line[0]
    return f"{line[1]}: {_quoted(value)}"


def _load(source: str) -> dict[str, Any]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events: Iterator[Any] = cast("Any", yaml).parse(source, Loader=loader)
        next(events)
        next(events)
        fields = _node(events, next(events), 0)
        next(events)
        if not isinstance(next(events), yaml.StreamEndEvent):
            raise ValueError("the front matter holds a second document")
    except yaml.MarkedYAMLError as error:
        line = f" on line {error.problem_mark.line + 2}" if error.problem_mark else ""
        raise _SyntaxError(f"the front matter is no YAML ({error.problem}{line})") from None
    except (yaml.YAMLError, StopIteration):
        raise _SyntaxError("the front matter is no YAML") from None
    if not isinstance(fields, dict):
        raise ValueError("the front matter has no fields")
    return cast("dict[str, Any]", fields)


def _node(events: Iterator[Any], event: Any, depth: int) -> Any:
    import yaml

    if isinstance(event, yaml.AliasEvent):
        raise ValueError("the front matter holds an alias (*…)")
    if event.tag is not None:
        raise ValueError(f"the front matter holds a tag ({event.tag})")
    if isinstance(event, yaml.ScalarEvent):
        return _word(event.value) if event.implicit[0] and not event.style else event.value
    if depth == _DEPTH:
        raise ValueError("the front matter is nested too deeply")
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_node(events, item, depth + 1))
        return items
    fields: dict[str, Any] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        if not isinstance(key, yaml.ScalarEvent) or key.value in fields:
            raise ValueError("the front matter names a field twice, or by no text")
        fields[key.value] = _node(events, next(events), depth + 1)
    return fields


def _word(word: str) -> Any:
    if word in _NULLS:
        return None
    if word in ("true", "false"):
        return word == "true"
    if _NUMBER.fullmatch(word):
        return float(word) if "." in word else int(word)
    return word


def _value(value: Any, indent: str) -> str:
    if isinstance(value, list | dict) and value:
        inner = indent + "  "
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return "".join(f"\n{inner}-{_value(item, inner)}" for item in items)
        members = cast("dict[str, Any]", value)
        return "".join(
            f"\n{inner}{_scalar(name)}:{_value(item, inner)}" for name, item in members.items()
        )
    return f" {_scalar(cast('object', value))}"


def _scalar(value: object) -> str:
    if isinstance(value, str):
        safe = _SAFE.fullmatch(value) and value and not _AMBIGUOUS.fullmatch(value)
        return value if safe else _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return (
        str(value) if isinstance(value, int | float) else "[]" if isinstance(value, list) else "{}"
    )


def _quoted(word: str) -> str:
    if _PRINTABLE.fullmatch(word):
        return "'" + word.replace("'", "''") + "'"
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in word) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escaped(char: str) -> str:
    if _PRINTABLE.fullmatch(char):
        return char
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )
