"""Names from elsewhere, made into names that Concord takes.

A tag and a username alike hold 1 to 64 characters, no whitespace, no comma and no control
character; they do not begin with `-` (an option) and are not digits alone (an id).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

NAME_LIMIT = 64
"""The most characters a tag or a username holds."""


def tag_name(text: str) -> str:
    """Return the tag that stands for the label `text`; its case is kept.

    What a tag cannot hold becomes `-` (at the ends: nothing), a number `label-NUMBER`, and the
    rest beyond the limit is cut off. Raises ValueError where nothing is left.
    """
    return _name(text, "label-")


def user_name(text: str) -> str:
    """Return the username that stands for the person `text`, by the rules of `tag_name`.

    A number becomes `user-NUMBER`, and so do the words that stand for other people: `me` and
    `none`. Raises ValueError where nothing is left.
    """
    name = _name(text, "user-")
    return f"user-{name}" if name.lower() in ("me", "none") else name


@lru_cache(maxsize=1024)  # a file of many tasks has few names
def _name(text: str, prefix: str) -> str:
    words = "".join(" " if _separates(char) else char for char in text).split()
    name = "-".join(words).lstrip("-")[:NAME_LIMIT]
    if not name:
        raise ValueError(f"{text!r} holds nothing to make a name of")
    return (prefix + name)[:NAME_LIMIT] if name.isdigit() else name


def _separates(char: str) -> bool:
    # Invisible format characters as well: PostgreSQL counts them as control characters or not,
    # depending on its locale, and names that look alike should be alike.
    return char == "," or unicodedata.category(char) in {"Cc", "Cf"}
