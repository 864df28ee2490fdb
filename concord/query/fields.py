"""What queries speak of: the fields, how they are compared, and with what.

Static words, so that a shell can be offered them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from concord.query.syntax import Operator

Kind = Literal["id", "key", "word", "name", "text", "date", "flag", "words"]
"""How a value is read: a task's id, a project's key, one of a few words, the name of a tag or a
user, text as it is, a date, `yes` or `no` (or a name, where the field has names), or words of a
full text search."""

COMPARED: tuple[Operator, ...] = (":", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the language.

    `words` are the values that have a name of their own, `none` among them where a task may lack
    the field; `names` says whose names are values besides.
    """

    name: str
    kind: Kind
    about: str
    words: tuple[str, ...] = ()
    names: Literal["projects", "tags", "users", "tasks"] | None = None
    aliases: tuple[str, ...] = ()
    operators: tuple[Operator, ...] = (":",)


def _date(name: str, about: str, words: tuple[str, ...] = ()) -> Field:
    return Field(name, "date", about, words, operators=COMPARED)


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("id", "id", "the task of this id", names="tasks"),
        Field("project", "key", "in this project", ("none",), names="projects"),
        Field("status", "word", "with this status", STATUSES),
        Field("priority", "word", "of this priority", PRIORITIES, operators=COMPARED),
        Field("tag", "name", "with this tag", ("none",), names="tags"),
        Field("assignee", "name", "assigned to this user", ("me", "none"), names="users"),
        Field("owner", "name", "owned by this user", ("me",), names="users"),
        _date("due", "due on this day, or before or after it", ("none",)),
        _date("created", "created then"),
        _date("updated", "changed then for the last time"),
        _date("started", "started then", ("none",)),
        _date("completed", "completed then", ("none",)),
        Field("title", "text", "with this text anywhere in the title"),
        Field("parent", "id", "part of this task", ("none",), names="tasks"),
        Field("blocked", "flag", "waits for another task", ("yes", "no")),
        Field("ready", "flag", "could be worked on now", ("yes", "no")),
        Field("claimed", "flag", "held by a claim, of this user", ("yes", "no", "me"), "users"),
        Field("recurring", "flag", "comes back when completed", ("yes", "no")),
        Field("external_ref", "text", "known elsewhere by this name", ("none",), aliases=("ref",)),
        Field("text", "words", "with all of these words in its texts"),
    )
}
"""Name → field, in the order in which they are documented."""

NAMED: dict[str, Field] = {
    name: field for field in FIELDS.values() for name in (field.name, *field.aliases)
}
"""Name or alias → field."""

DATES = ("today", "tomorrow", "yesterday", "monday", "friday", "eow", "eom", "+3d", "-1w")
"""Words that dates are offered with; `concord.dates` knows more."""


def field_of(word: str) -> Field | None:
    """Return the field that a word names, in any case and with `-` for `_`."""
    return NAMED.get(word.lower().replace("-", "_"))
