"""What somebody types, or has typed long ago, who means no good or has no luck.

`SEQUENCES` are what a terminal obeys, or is fooled by; `TEXTS` everything else.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Final


def tagged(text: str) -> str:
    """Return an ASCII text in tag characters, of which a terminal shows nothing."""
    return "".join(chr(0xE0000 + ord(char)) for char in text)


SEQUENCES: Final[dict[str, str]] = {
    "a colour": "\x1b[31m",
    "a cleared screen": "\x1b[2J\x1b[H",
    "a window title": "\x1b]0;owned\x07",
    "a link": "\x1b]8;;https://example.org/evil\x1b\\here\x1b]8;;\x1b\\",
    "the clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "a question to the terminal": "\x1b[6n\x1bP$q q\x1b\\",
    "an escape at the end": "\x1b",
    "a bell": "\x07",
    "a backspace": "good\b\b\b\bevil",
    "a carriage return": "good\revil",
    "a vertical tab and a form feed": "\x0b\x0c",
    "another character set": "\x0elqk\x0f",
    "DEL": "\x7f",
    "a colour in C1": "\x9b31m",
    "a window title in C1": "\x9d0;owned\x9c",
    "a next line in C1": "\x85",
    "a text turned round": "\u202egpj.exe",
    "isolated text": "\u2066\u2067\u2068abc\u2069",
    "a text in tags, which show nothing": "\U000e0001" + tagged("evil") + "\U000e007f",
    "a text behind a flag": f"\U0001f3f4{tagged('gbsct')}\U000e007f{tagged('evil')}",
    "a text too long for a flag": f"\U0001f3f4{tagged('deleteall')}\U000e007f",
    "a text in variation selectors": "\u2764\ufe0f\U000e0155\U000e0166",
}
"""What it does → the text that does it."""

ENTITIES: Final = "&#27;[31m &#x9b;31m &#8238;evil &#x2066;x&#x2069; &#13;evil &#7; &#127;"
"""The same in Markdown, which has numbers for characters."""

TEXTS: Final = (
    "",
    " ",
    "-",
    "--",
    "---",
    "-x",
    "--help",
    "--=",
    "=",
    ":",
    ",",
    ",,,",
    "none",
    "me",
    "null",
    "'; DROP TABLE tasks; --",
    "\" OR ''='",
    "1; SELECT pg_sleep(60)",
    "%s %(x)s %% {} {0} $1 :x ?",
    "%' OR title LIKE '%_\\",
    "$(touch owned) `touch owned` ; touch owned | touch owned",
    "${HOME} ~root $((1/0))",
    "[red]text[/red] [link=https://example.org]x[/link] :smile:",
    ENTITIES,
    "=1+1",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1+1",
    "../x",
    "con",
    ".",
    "..",
    "x" * 300,
    "x" * 100_000,
    "(" * 20_000,
    "-(" * 3_000 + "x",
    "a or " * 5_000,
    '"' * 999,
    "[" * 9_000,
    "{" * 9_000,
    "0",
    "-1",
    "1e400",
    "NaN",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "9" * 5_000,
    "٣",
    "1_000",
    "0x10",
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "+999999999d",
    "-999999999w",
    "23:59:60",
    "24:00",
    "every 999999999w",
    "\ufeff",
    "\u200b",
    "\u2028\u2029",
    "e\u0301" * 200,
    "Z" + "\u0300\u0316" * 500,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "שלום עולם",
    "\U0010ffff",
    "\udcff\udc80",
    "bad \udced\udca0\udc80",
    "line\nbreak",
    "\n",
    "\t",
    "a\tb\\n\\x1b",
    "status:todo",
    "-tag:x",
    "status:todo,,",
    "due<",
    'title:"',
    "project:none or",
    "status:Doing=in_progress",
    "user:x=y",
    "WyIxIiwyXQ",
    "eyJhIjoxfQ==",
    '{"a":' * 2_000,
    "!!python/object/apply:os.system [id]",
)

STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
"""What sets colours and weight (SGR), which Concord itself may send to a terminal."""

FLAG: Final = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
"""A flag of a region, which is what tag characters are for."""

_DIRECTIONS: Final = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def obeyed(shown: str) -> set[str]:
    """Return what a terminal would obey in a text, or what would make it show another one."""
    return {
        char
        for before, char in pairwise("x" + FLAG.sub("", shown))
        if char not in "\t\n" and (_is_unsafe(char) or (_selects(before) and _selects(char)))
    }


def _is_unsafe(char: str) -> bool:
    return (
        unicodedata.category(char) in {"Cc", "Cs"}
        or unicodedata.bidirectional(char) in _DIRECTIONS
        or "\u206a" <= char <= "\u206f"
        or "\U000e0000" <= char <= "\U000e007f"
    )


def _selects(char: str) -> bool:
    """Whether a character selects a variant of the one before it, as any but the first cannot."""
    return unicodedata.name(char, "").startswith("VARIATION SELECTOR-")
