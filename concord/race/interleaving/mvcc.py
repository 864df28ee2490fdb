"""The versions of rows as they lie in the table, and which session sees which of them.

Everything is read by an observer, from the pages themselves, so that looking changes nothing: a
session that is asked for its snapshot before it has taken one would take it then. Only a session
whose snapshot is held for the whole transaction is asked for it, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString

from concord.race.interleaving.pages import Pages
from concord.race.interleaving.visibility import (
    COMMITTED,
    FROZEN_XID,
    IN_PROGRESS,
    Sight,
    Snapshot,
    full_xid,
    sight,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from concord.connections import Connection
    from concord.race.interleaving.pages import Tuple
    from concord.race.interleaving.session import Session

STATES: LiteralString = """
-- xact_states: what became of transactions
SELECT xid::bigint, pg_xact_status(xid::xid8) FROM unnest(%(xids)s::text[]) AS xid
"""

SESSIONS: LiteralString = """
-- session_xids: what each session's transaction has, savepoints' ids too, and the present
SELECT a.pid, a.backend_xmin IS NOT NULL,
       ARRAY(SELECT l.transactionid::text::bigint FROM pg_locks l
             WHERE l.pid = a.pid AND l.locktype = 'transactionid'
               AND l.mode = 'ExclusiveLock' AND l.granted
             ORDER BY age(l.transactionid) DESC),
       pg_current_snapshot()::text
FROM pg_stat_activity a WHERE a.pid = ANY(%(pids)s)
"""

ISOLATION = "SHOW transaction_isolation"
SNAPSHOT = "SELECT pg_current_snapshot()::text"


@dataclass(frozen=True, slots=True)
class Standing:
    """A session's place in time: its own transaction id, and the snapshot it goes by.

    `state` is `idle`, `in transaction`, `waiting`, `failed` or `gone`. `scope` says whose the
    snapshot is: of the whole `transaction`, of the `statement` that waits, or of the `next
    statement`, which will take its own. Without a transaction there is none, nor before the first
    statement of one that keeps it.
    """

    session: str
    state: str
    xid: int | None
    snapshot: str | None
    scope: Literal["transaction", "statement", "next statement"] | None


@dataclass(frozen=True, slots=True)
class RowVersion:
    """One version of a row: where it lies, who made and who ended it, and who sees it.

    `xmax_means` says what `xmax` stands for here; `seen` has each session that has a snapshot.
    """

    table: str
    ctid: str
    xmin: int
    xmin_state: str
    xmax: int
    xmax_means: str
    values: Mapping[str, Any]
    seen: Mapping[str, Sight]


@dataclass(frozen=True, slots=True)
class View:
    """All row versions at one moment, and the sessions that look at them."""

    sessions: tuple[Standing, ...]
    versions: tuple[RowVersion, ...]
    note: str | None = None


class Viewer:
    """Looks at the row versions of some tables of a schema, on behalf of some sessions."""

    def __init__(
        self,
        observer: Connection,
        schema: str,
        tables: Sequence[str],
        sessions: Mapping[str, Session],
    ) -> None:
        self._observer = observer
        self._tables = tables
        self._sessions = sessions
        self._owners: dict[int, str] = {}
        self._held: dict[str, Snapshot] = {}
        self._present: Snapshot | None = None
        self._pages = Pages(observer, schema)

    def look(self) -> View:
        """Return the row versions as they are now. Call it when no session is on the move."""
        before = self._present
        standings, snapshots, own = self._look_at_sessions(before)
        present = self._present
        assert present is not None
        tuples = [one for table in self._tables for one in self._pages.tuples(table, present.xmax)]
        states = self._states(tuples)
        return View(
            standings,
            tuple(self._version(one, snapshots, own, states) for one in tuples),
            self._pages.note,
        )

    # Sessions

    def _look_at_sessions(
        self, before: Snapshot | None
    ) -> tuple[tuple[Standing, ...], dict[str, Snapshot], dict[str, frozenset[int]]]:
        pids = [session.pid for session in self._sessions.values()]
        rows = self._observer.execute(SESSIONS, {"pids": pids}).fetchall()
        facts = {pid: (holds, xids) for pid, holds, xids, _ in rows}
        self._present = present = Snapshot.parse(
            rows[0][3] if rows else self._ask(self._observer, SNAPSHOT)
        )
        standings: list[Standing] = []
        snapshots: dict[str, Snapshot] = {}
        own: dict[str, frozenset[int]] = {}
        for name, session in self._sessions.items():
            holds, short = facts.get(session.pid, (False, []))
            xids = [full_xid(xid, present.xmax) for xid in short]
            self._owners.update(dict.fromkeys(xids, name))
            own[name] = frozenset(xids)
            snapshot = self._snapshot(name, session, holds, before or present)
            if snapshot is not None:
                snapshots[name] = snapshot.without(own[name])
            standings.append(
                Standing(
                    name,
                    _state(session),
                    xids[0] if xids else None,
                    str(snapshots[name]) if name in snapshots else None,
                    self._scope(name, session) if name in snapshots else None,
                )
            )
        return tuple(standings), snapshots, own

    def _snapshot(
        self, name: str, session: Session, holds: bool, before: Snapshot
    ) -> Snapshot | None:
        """Return the snapshot that a session goes by, without making it take one."""
        if session.busy:
            # Its statement took one when it was sent, unless the transaction had one already.
            return self._held.get(name, before)
        if not session.in_transaction:
            self._held.pop(name, None)
            return None
        if name in self._held:
            return self._held[name]
        if session.run(ISOLATION).results[0].rows[0][0] == "read committed":
            # Each statement takes a new one, as anybody would now.
            return self._present
        if holds:
            taken = session.run(SNAPSHOT).results[0].rows[0][0]
            assert taken is not None
            self._held[name] = Snapshot.parse(taken)
        return self._held.get(name)

    def _scope(
        self, name: str, session: Session
    ) -> Literal["transaction", "statement", "next statement"]:
        if name in self._held:
            return "transaction"
        return "statement" if session.busy else "next statement"

    # Row versions

    def _states(self, tuples: Sequence[Tuple]) -> dict[int, str]:
        xids = {one.xmin for one in tuples} | {
            xid
            for one in tuples
            for xid in (one.ended.xid, *(locker for locker, _ in one.ended.locks))
            if xid is not None
        }
        given = {"xids": [str(xid) for xid in sorted(xids)]}
        rows = self._observer.execute(STATES, given).fetchall()
        # Of what is long over the server says nothing: it was committed, or the row would be gone.
        return {xid: state or COMMITTED for xid, state in rows}

    def _version(
        self,
        one: Tuple,
        snapshots: Mapping[str, Snapshot],
        own: Mapping[str, frozenset[int]],
        states: Mapping[int, str],
    ) -> RowVersion:
        xmin = FROZEN_XID if one.frozen else one.xmin
        return RowVersion(
            one.table,
            one.ctid,
            one.xmin,
            "frozen" if one.frozen else states.get(one.xmin, COMMITTED),
            one.xmax,
            self._means(one, states),
            one.values,
            {
                name: sight(xmin, one.ended.xid, snapshot, own[name], states, f"{name}'s snapshot")
                for name, snapshot in snapshots.items()
            },
        )

    def _means(self, one: Tuple, states: Mapping[int, str]) -> str:
        if one.xmax == 0:
            return "nobody has changed it"
        told: list[str] = []
        for xid, mode in one.ended.locks:
            verb = "locks" if states.get(xid) == IN_PROGRESS else "had locked"
            told.append(f"{self._who(xid, one)} {verb} it {mode}")
        if (xid := one.ended.xid) is not None:
            if not one.certain:
                what = "updates, deletes or only locks it"
            else:
                what = "deletes it" if one.next == one.ctid else f"updates it to {one.next}"
            told.append(f"{self._who(xid, one)} {what}, {states.get(xid, COMMITTED)}")
        if not told:
            return "void: whoever it was has aborted, or only locked it"
        return ("MultiXact: " if one.ended.multi is not None else "") + ", ".join(told)

    def _who(self, xid: int, one: Tuple) -> str:
        """Return the session behind a transaction; its id where `xmax` does not say it already."""
        shared = f" ({xid})" if one.ended.multi is not None else ""
        return f"{self._owners[xid]}{shared}" if xid in self._owners else f"transaction {xid}"

    @staticmethod
    def _ask(connection: Connection, query: LiteralString) -> str:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def _state(session: Session) -> str:
    if session.lost:
        return "gone"
    if session.busy:
        return "waiting"
    if session.in_transaction:
        return "in transaction"
    return "failed" if session.failed else "idle"
