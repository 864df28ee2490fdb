"""The names that conditions speak of, as ids where the planner sees them.

The planner evaluates settings, and so knows by its statistics how many tasks a project or a tag
has. Of a subquery it knows nothing, and takes a project that a tenth of all tasks are in for an
average one. The settings are local to the transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT_IDS: LiteralString = """
-- look_up_projects: their ids, where the planner sees them; of those there are
SELECT set_config(%(place)s, (
    SELECT coalesce(array_agg(id), '{}')::text FROM projects WHERE key = ANY(%(names)s)
), true)
"""

TAG_IDS: LiteralString = """
-- look_up_tags: their ids, where the planner sees them; of those there are
SELECT set_config(%(place)s, (
    SELECT coalesce(array_agg(id), '{}')::text FROM tags
    WHERE lower(name) IN (SELECT lower(wanted) FROM unnest(%(names)s::text[]) AS wanted)
), true)
"""

USER_IDS: LiteralString = """
-- look_up_users: their ids, where the planner sees them; of those there are
SELECT set_config(%(place)s, (
    SELECT coalesce(array_agg(id), '{}')::text FROM users
    WHERE lower(username) IN (SELECT lower(wanted) FROM unnest(%(names)s::text[]) AS wanted)
), true)
"""

LOOKUPS: dict[str, LiteralString] = {
    "project": PROJECT_IDS,
    "projects": PROJECT_IDS,
    "tags": TAG_IDS,
    "assignees": USER_IDS,
    "owners": USER_IDS,
    "claimed_by": USER_IDS,
}
"""Name of a condition that speaks of names → what looks them up."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Names that a condition speaks of: `query` puts their ids into the setting `place`.

    It holds until the end of the transaction, in which the condition has to be used.
    """

    query: LiteralString
    place: str
    names: Sequence[str]

    @classmethod
    def of(cls, condition: str, parameter: str, value: Any) -> Lookup:
        """Return the lookup of a condition's value, one name or several, for its parameter."""
        names = [value] if isinstance(value, str) else list(value)
        return cls(LOOKUPS[condition], f"concord.ids_{parameter}", names)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the query."""
        return {"place": self.place, "names": self.names}
