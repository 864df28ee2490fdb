"""Which transaction sees which version of a row, and why: PostgreSQL's rules, in its own terms.

Transaction ids are full ones (`xid8`), which never wrap round. Nothing here asks a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

XMIN_FROZEN = 0x0300
"""`HEAP_XMIN_COMMITTED | HEAP_XMIN_INVALID`: inserted so long ago that everybody sees it."""

_KEYSHR_LOCK = 0x0010
_EXCL_LOCK = 0x0040
_SHR_LOCK = _KEYSHR_LOCK | _EXCL_LOCK
_LOCK_ONLY = 0x0080
_XMAX_INVALID = 0x0800
_XMAX_IS_MULTI = 0x1000
_KEYS_UPDATED = 0x2000  # of the second mask

IN_PROGRESS, COMMITTED, ABORTED = "in progress", "committed", "aborted"

FROZEN_XID = 2

_LOCKS = {
    "keysh": "FOR KEY SHARE",
    "sh": "FOR SHARE",
    "fornokeyupd": "FOR NO KEY UPDATE",
    "forupd": "FOR UPDATE",
}
"""Modes of a member of a MultiXact that only locks; the others, `nokeyupd` and `upd`, change."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a statement takes for the present: `xmin:xmax:xip,…`, as `pg_current_snapshot` has it.

    Every transaction below `xmin` is over, none from `xmax` on had begun, and those in `xip`
    were in progress.
    """

    xmin: int
    xmax: int
    xip: frozenset[int]

    @staticmethod
    def parse(text: str) -> Snapshot:
        """Return the snapshot that a `pg_snapshot` says."""
        xmin, xmax, xip = text.split(":")
        return Snapshot(int(xmin), int(xmax), frozenset(int(xid) for xid in xip.split(",") if xid))

    def knows(self, xid: int) -> bool:
        """Whether a transaction was over when the snapshot was taken."""
        return xid < self.xmax and xid not in self.xip

    def without(self, xids: AbstractSet[int]) -> Snapshot:
        """Return the same snapshot as the owner of these transactions would take it."""
        return Snapshot(self.xmin, self.xmax, self.xip - xids)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(str(xid) for xid in sorted(self.xip))}"


@dataclass(frozen=True, slots=True)
class Ender:
    """What the `xmax` of a row version stands for.

    `xid` is who has updated or deleted it, `None` if nobody did. `locks` are (xid, mode) of
    those who only lock it. `multi` is the MultiXact that stands for several of them.
    """

    xid: int | None
    locks: tuple[tuple[int, str], ...] = ()
    multi: int | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether somebody sees a row version, and why."""

    visible: bool
    why: str


def is_multi(infomask: int) -> bool:
    """Whether `xmax` is a MultiXact id and no transaction id."""
    return bool(infomask & _XMAX_IS_MULTI) and not infomask & _XMAX_INVALID


def ender(
    xmax: int, infomask: int, infomask2: int, members: Mapping[int, str] | None = None
) -> Ender:
    """Return what an `xmax` stands for. `members` are those of a MultiXact: xid → mode."""
    if xmax == 0 or infomask & _XMAX_INVALID:
        return Ender(None)
    if members is not None:
        changing = [xid for xid, mode in members.items() if mode not in _LOCKS]
        locks = tuple((xid, _LOCKS[mode]) for xid, mode in members.items() if mode in _LOCKS)
        return Ender(changing[0] if changing else None, locks, multi=xmax)
    if infomask & _LOCK_ONLY:
        return Ender(None, ((xmax, _lock_mode(infomask, infomask2)),))
    return Ender(xmax)


def full_xid(xid: int, near: int) -> int:
    """Return the full id of a transaction of which a row has the lower 32 bits.

    `near` is the full id of a recent one: no row has an id further from it than 2^31.
    """
    if xid <= FROZEN_XID:
        return xid
    distance = (xid - near + 2**31) % 2**32 - 2**31
    return near + distance


def sight(
    xmin: int,
    ended_by: int | None,
    snapshot: Snapshot,
    own: AbstractSet[int],
    states: Mapping[int, str],
    whose: str,
) -> Sight:
    """Return whether a row version is visible to a snapshot, and why.

    `ended_by` is who has updated or deleted it, `own` the transaction of whoever looks, `states`
    what became of each transaction, and `whose` names the snapshot: `B's snapshot`.
    """
    if xmin not in own:
        state = states.get(xmin, COMMITTED)
        if state == ABORTED:
            return Sight(False, f"xmin {xmin} aborted")
        if state == IN_PROGRESS:
            return Sight(False, f"xmin {xmin} is in progress")
        if xmin != FROZEN_XID and not snapshot.knows(xmin):
            return Sight(False, f"xmin {xmin} committed after {whose}")
    seen = "its own" if xmin in own else f"xmin {xmin} committed before {whose}"
    if ended_by is None:
        return Sight(True, seen)
    if ended_by in own:
        return Sight(False, f"xmax {ended_by} is its own")
    state = states.get(ended_by, COMMITTED)
    if state == IN_PROGRESS:
        return Sight(True, f"xmax {ended_by} is in progress")
    if state == ABORTED:
        return Sight(True, f"xmax {ended_by} aborted")
    if snapshot.knows(ended_by):
        return Sight(False, f"xmax {ended_by} committed before {whose}")
    return Sight(True, f"xmax {ended_by} committed after {whose}")


def _lock_mode(infomask: int, infomask2: int) -> str:
    match infomask & _SHR_LOCK:
        case 0x0010:
            return _LOCKS["keysh"]
        case 0x0050:
            return _LOCKS["sh"]
        case _:
            return _LOCKS["forupd" if infomask2 & _KEYS_UPDATED else "fornokeyupd"]
