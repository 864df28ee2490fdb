"""A task as a Markdown file with a front matter, for an editor.

The front matter is one `name: value` a line between two lines of `---`, each value taken
literally to the end of the line; the description follows. No YAML: a title may hold any
character, and nothing in it can be a reference, a number or a date.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

FENCE = "---"


def dump(fields: Mapping[str, str], body: str) -> str:
    """Return the text of a file with these fields and this body."""
    head = "".join(f"{name}: {value}".rstrip() + "\n" for name, value in fields.items())
    return f"{FENCE}\n{head}{FENCE}\n\n{body}\n"


def load(text: str, known: frozenset[str]) -> tuple[dict[str, str], str]:
    """Return the fields and the body of a file.

    Raises `Usage` naming the line that cannot be read.
    """
    # Only what an editor calls a line: a title may hold other characters that separate lines.
    lines = re.split(r"\r?\n", text.removeprefix("\ufeff"))
    if lines[0].strip() != FENCE:
        raise _bad(1, f"expected {FENCE}")
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.strip() == FENCE:
            return fields, "\n".join(lines[number:]).strip("\n")
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or name.strip() not in known:
            raise _bad(number, f"expected one of {', '.join(sorted(known))} and a colon")
        if name.strip() in fields:
            raise _bad(number, f"{name.strip()} stands there twice")
        fields[name.strip()] = value.strip()
    raise _bad(len(lines), f"the front matter does not end with {FENCE}")


def _bad(line: int, reason: str) -> Usage:
    return Usage(f"line {line}: {reason}", line=line)
