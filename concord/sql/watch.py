"""Watching: every change that is committed from a moment on, each once, in commit order.

Ids do not tell what is new: they are drawn before the commit, so a slow transaction appears behind
the ids of faster ones. Snapshots do: what one shows and an earlier one did not was committed in
between. A cursor is the last snapshot that was looked at, so whoever has one can go on from there.

Why the order is one of commits. Each history row draws its id from a sequence when its change is
made. If a change of one transaction saw, overwrote or waited for another transaction, that one had
been committed by then, and all its ids drawn: so the last id of the later transaction is the
greater. Of transactions that had nothing to do with each other, either may come first. A snapshot
never shows a transaction without those that it had seen, so this holds across polls too.

Why nothing comes twice or is missed, even across a crash. After a crash the server gives out anew
the ids of transactions that left no trace on disk. A cursor therefore claims nothing above the
newest transaction that history shows: that one is on disk, and ids below it are never given again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import DatabaseUnavailable, NotFound, Usage
from concord.models import WatchedChange
from concord.sql import listing
from concord.sql.listing import NONE
from concord.sql.task_rows import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from concord.database import Transaction

PAGE = 2000
"""Changes that one poll reads, and what is left of the last transaction among them."""

MOMENT: LiteralString = """
-- watch_moment: what a snapshot of now shows, the newest transaction in history, and by whom
SELECT pg_current_snapshot()::text,
       (SELECT xid FROM history ORDER BY xid DESC LIMIT 1)::text::bigint,
       pg_is_in_recovery()
"""

# What a snapshot does not show: what had not begun, and what had not ended. Said in this way, and
# with values that the planner knows, both are found by the index on xid, however long history is
# and however long somebody has been at it.
# A transaction's rows come together, which is why a page has no fixed end: WITH TIES. That a row's
# transaction is visible is said once more, because after a restore from another server there may
# be rows whose ids this one has yet to reach.
CHANGES = sql.SQL("""
-- watch_changes: what a later snapshot shows and an earlier one did not
WITH moment AS MATERIALIZED (
    SELECT pg_current_snapshot() AS now,
           history_end() AS newest
), unseen AS (
    SELECT id, at, actor, operation, entity, entity_id, task_id, version, old, new, xid,
           max(id) OVER (PARTITION BY xid) AS ended
    FROM history
    WHERE (xid >= %(end)s::xid8 OR xid = ANY(%(running)s::xid8[]))
      AND pg_visible_in_snapshot(
          xid, coalesce(%(until)s::pg_snapshot, (SELECT now FROM moment))
      )
), page AS (
    SELECT id, at, actor, operation, entity, entity_id, task_id, version, old, new, xid, ended
    FROM unseen AS h
    WHERE ended > %(after)s AND {conditions}
    ORDER BY ended FETCH FIRST (%(limit)s) ROWS WITH TIES
)
SELECT moment.now::text, moment.newest::text::bigint, page.ended,
       page.id, page.at, page.actor, page.operation, page.entity, page.entity_id,
       page.task_id, page.version, page.old, page.new, page.xid::text
FROM moment LEFT JOIN page ON true
ORDER BY page.ended, page.id
""")

CONDITIONS: dict[str, LiteralString] = {
    "projects": """(
        h.task_id IN (SELECT t.id FROM tasks t LEFT JOIN projects p ON p.id = t.project_id
                      WHERE p.key = ANY(%(projects)s) OR p.id IS NULL AND %(inbox)s)
        OR h.old ->> 'project' = ANY(%(projects)s) OR h.new ->> 'project' = ANY(%(projects)s)
        OR h.entity IN ('project', 'member')
           AND h.entity_id IN (SELECT id FROM projects WHERE key = ANY(%(projects)s))
    )""",
    "tasks": "h.task_id = ANY(%(tasks)s)",
    "actors": "lower(h.actor) IN (SELECT lower(name) FROM unnest(%(actors)s::text[]) AS name)",
}

UNKNOWN: LiteralString = """
-- watch_unknown_tasks: which of these were never there
SELECT wanted.id FROM unnest(%(ids)s::bigint[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM history WHERE history.task_id = wanted.id) ORDER BY wanted.id
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which changes: of one field the values are alternatives, different fields add up.

    Of `projects` are the changes of a task that is in one of them now, or was before or after the
    change, and those of the project itself. `none` is the inbox.
    """

    projects: Sequence[str] = ()
    tasks: Sequence[int] = ()
    actors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a moment shows: every transaction below `end` but those that were still `running`.

    Its text is that of PostgreSQL's `pg_snapshot`.
    """

    end: int
    running: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the snapshot that a text of `pg_snapshot` means. Raises `ValueError`."""
        first, end, listed_running = text.split(":")
        made = cls(_number(end), tuple(map(_number, filter(None, listed_running.split(",")))))
        bounds = [_number(first), *made.running, made.end]
        if bounds[0] < 1 or bounds != sorted(bounds) or made.end in made.running:
            raise ValueError(text)
        return made

    def __str__(self) -> str:
        first = self.running[0] if self.running else self.end
        return f"{first}:{self.end}:{','.join(map(str, self.running))}"

    def up_to(self, newest: int) -> Snapshot:
        """Return what it shows of transactions up to this one, which it does show."""
        return Snapshot(newest + 1, tuple(xid for xid in self.running if xid <= newest))


BEGINNING = Snapshot(1)
"""Before any transaction."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far somebody has read: all that `seen` shows.

    With `until`, they are in the middle of what that later snapshot shows besides: they have those
    of its transactions whose last change has an id up to `after`.
    """

    seen: Snapshot
    until: Snapshot | None = None
    after: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the cursor that a text means; `0` and `beginning` come before all changes.

        Raises `Usage`.
        """
        if text in ("0", "beginning"):
            return cls(BEGINNING)
        try:
            first, *others = text.split("/")
            if not others:
                return cls(Snapshot.parse(first))
            until, after = others
            return cls(Snapshot.parse(first), Snapshot.parse(until), _number(after))
        except ValueError:
            raise Usage(
                f"{text!r} is not a cursor that watch printed",
                hint="Take the last one that it printed, or `beginning` for everything.",
                cursor=text,
            ) from None

    def __str__(self) -> str:
        return str(self.seen) if self.until is None else f"{self.seen}/{self.until}/{self.after}"


class Poll(NamedTuple):
    """What a poll found, where to go on, and whether there may be more already."""

    changes: tuple[WatchedChange, ...]
    cursor: Cursor
    more: bool


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def begin(tx: Transaction, filters: Filters, since: Cursor | None = None) -> Cursor:
    """Return where to begin: at `since`, or now.

    Raises `NotFound` for a project or task that never was, and `Usage` for a cursor that is ahead
    of this database.
    """
    listing.check_names(tx, listing.Filters(projects=filters.projects))
    unknown = tx.scalars(UNKNOWN, {"ids": list(filters.tasks)}) if filters.tasks else ()
    if unknown:
        raise NotFound(
            f"no such task, now or ever: {listed(unknown)}",
            hint="See what there is: concord task list",
            tasks=list(unknown),
        )
    moment = tx.row(MOMENT, None, _Moment)
    assert moment is not None
    now = moment.settled(since)
    return since or Cursor(now)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def poll(tx: Transaction, filters: Filters, cursor: Cursor, *, limit: int = PAGE) -> Poll:
    """Return what was committed since a cursor: whole transactions, about `limit` changes.

    The cursor of a transaction's last change comes behind it, that of its other changes before it:
    whoever goes on from any of them misses nothing, and gets a transaction again as a whole whose
    end they have not seen. Filters leave out changes, and have no part in the cursors.
    """
    params, conditions = _filtered(tx.actor, filters)
    params |= {
        "end": str(cursor.seen.end),
        "running": [str(xid) for xid in cursor.seen.running],
        "until": cursor.until and str(cursor.until),
        "after": cursor.after,
        "limit": limit,
    }
    found = tx.rows(CHANGES.format(conditions=conditions), params, _Row)
    now = found[0].moment.settled(cursor)
    until = cursor.until or now
    rows = [row for row in found if row.ended is not None]
    # A page that is not full is the last one up to its snapshot.
    full = len(rows) >= limit
    changes: list[WatchedChange] = []
    here = cursor
    for ended, group in groupby(rows, lambda row: row.ended or 0):
        *others, last = group
        changes += [row.change(here) for row in others]
        at_end = last is rows[-1] and not full
        here = Cursor(until) if at_end else Cursor(cursor.seen, until, ended)
        changes.append(last.change(here))
    behind = here if full else Cursor(until)
    return Poll(tuple(changes), behind, full or until != now)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a snapshot shows, as text, the newest transaction in history, and if by a standby."""

    now: str
    newest: int | None
    standby: bool = False

    def settled(self, since: Cursor | None) -> Snapshot:
        """Return what it shows, up to the newest transaction.

        Raises `DatabaseUnavailable` where the ids of transactions tell nothing, and `Usage` for a
        cursor that is ahead of the moment.
        """
        if self.standby:
            # Its snapshots leave out what was running on the primary.
            raise DatabaseUnavailable(
                "a standby cannot be watched: it does not know what is still to be committed",
                hint="Let CONCORD_DATABASE_URL lead to the primary.",
            )
        shown, newest = Snapshot.parse(self.now), self.newest or 0
        if newest >= shown.end:
            raise DatabaseUnavailable(
                f"history knows transactions up to {newest}, and this server is at {shown.end}",
                hint="It came from a server that was ahead. Until this one has caught up there is"
                " concord history.",
                newest=newest,
                next=shown.end,
            )
        ends = [cursor.end for cursor in (since.seen, since.until) if cursor] if since else []
        if any(end > newest + 1 for end in ends):
            raise Usage(
                f"the cursor {since} is ahead of this database",
                hint="It is another database's, or this one went back to an earlier state.",
                cursor=str(since),
            )
        return shown.up_to(newest)


class _Row:
    """A row of `CHANGES`. Without a change it has the moment alone, and `ended` is `None`."""

    def __init__(self, now: str, newest: int | None, ended: int | None, *columns: Any) -> None:
        self.moment = _Moment(now, newest)
        self.ended = ended
        self._columns = columns

    def change(self, cursor: Cursor) -> WatchedChange:
        """Return its change, with a cursor."""
        return WatchedChange(*self._columns, cursor=str(cursor))


def _number(text: str) -> int:
    """Return a number of ASCII digits that the server can count to. Raises `ValueError`."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _filtered(actor: str, filters: Filters) -> tuple[dict[str, Any], sql.Composed]:
    """Return the parameters of the filters in use, and the conditions that they stand for."""
    given: dict[str, Any] = {}
    if filters.projects:
        given["projects"] = [key for key in filters.projects if key != NONE]
    if filters.tasks:
        given["tasks"] = list(filters.tasks)
    if filters.actors:
        given["actors"] = [actor if name == "me" else name for name in filters.actors]
    named = [sql.SQL(CONDITIONS[name]) for name in given] or [sql.SQL("true")]
    return given | {"inbox": NONE in filters.projects}, sql.SQL(" AND ").join(named)
