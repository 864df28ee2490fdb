"""Sends steps in a given order, and waits until each is done or blocked by a known session.

Nothing sleeps for luck. A step that was sent is polled on its socket; as long as it is not done,
an observer asks the server whom it waits for. Once it waits for another session of the spec, it
can only go on when that one does, and the next step is sent. After each step, those that waited
before are looked at again in the order in which they began to wait, until none moves any more:
so what is reported, and in which order, does not depend on how fast anything is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, LiteralString

from concord.errors import Contention, Refused
from concord.race.interleaving.events import StepEvent
from concord.race.interleaving.session import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.connections import Connection
    from concord.race.interleaving.session import Answer, Session
    from concord.race.interleaving.spec import Marker, Slot

POLL_SECONDS = 0.005
"""How long a step may take before the server is asked whom it waits for, and asked again."""

DEADLOCK = "40P01"

BLOCKERS: LiteralString = """
-- blockers: whom a backend waits for, for a lock or for a safe snapshot
SELECT pg_blocking_pids(%(pid)s) || pg_safe_snapshot_blocking_pids(%(pid)s)
"""


@dataclass(slots=True)
class _Pending:
    """A step that was sent and not reported as done."""

    slot: Slot
    session: Session
    notices: Mapping[str, int]
    """How many notices each session had when the step was sent."""
    waits_for: tuple[str, ...] = ()
    answer: Answer | None = None

    @property
    def launched_only(self) -> bool:
        """Whether a marker says not to look at the step before another one was sent."""
        return any(marker.step is None for marker in self.slot.markers)


@dataclass
class Scheduler:
    """Runs permutations of steps on sessions, by name. `observer` is a connection of its own.

    With `patient`, a wait that no step will end may still end by a time-out.
    """

    sessions: Mapping[str, Session]
    observer: Connection
    patient: bool = False
    _pending: list[_Pending] = field(default_factory=list[_Pending])

    def run(self, permutation: Sequence[Slot]) -> Iterator[tuple[StepEvent, ...]]:
        """Send the steps in order and yield, for each, what became of it and of others thereby.

        What still waits in the end, or keeps a step of its own session from being sent, is
        reported as `stuck`, and left to the caller to cancel. Raises `Contention` for a step
        that is neither done nor blocked, `Refused` for one whose session is gone.
        """
        for slot in permutation:
            session = self.sessions[slot.step.session]
            if self._of(session) is not None and (outwaited := tuple(self._outwait(session))):
                yield outwaited
            if (earlier := self._of(session)) is not None:
                yield (_event("stuck", slot, waits_for=earlier.waits_for),)
                return
            if session.lost:
                raise Refused(
                    f"step {slot.step.name}: session {session.name} has lost its connection",
                    hint="A session that was terminated has no further steps.",
                )
            sent = _Pending(slot, session, self._counts())
            session.send(slot.step.sql)
            only_sent = sent if sent.launched_only else None
            yield self._first_report(sent), *self._collect(but=only_sent)
        outwaited = tuple(self._outwait(*self.sessions.values()))
        # Done, but held back by a marker that nothing can satisfy any more: reported all the same.
        left = tuple(
            self._report("stuck" if pending.answer is None else "completed", pending)
            for pending in self._pending
        )
        if outwaited or left:
            yield outwaited + left

    def _first_report(self, sent: _Pending) -> StepEvent:
        if not sent.launched_only:
            self._settle(sent)
            if sent.answer is not None and sent.answer.sqlstate == DEADLOCK and not sent.waits_for:
                # The server was quicker to end the wait than the observer to see it.
                sent.waits_for = self._those_waiting_for(sent.session.name)
            elif sent.answer is not None and not self._held(sent):
                return self._report("done", sent)
        self._pending.append(sent)
        return self._report("waiting", sent)

    def _collect(self, *, but: _Pending | None = None) -> Iterator[StepEvent]:
        """Yield the completion of steps that waited, until those left can only wait."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        before: list[tuple[str, ...]] | None = None
        while waiting := [pending for pending in self._pending if pending is not but]:
            seen = [self._settle(pending) for pending in waiting]
            free = [one for one in waiting if one.answer is not None and not self._held(one)]
            # Whoever failed has let the others go on, not the other way round.
            for pending in sorted(free, key=_succeeded):
                self._pending.remove(pending)
                yield self._report("completed", pending)
            if not free and seen == before and not self._in_a_circle():
                return
            if not free and time.monotonic() > deadline:
                names = " and ".join(pending.session.name for pending in waiting)
                raise Contention(
                    f"no end of the deadlock between {names} after {PATIENCE_SECONDS:.0f} s",
                    hint="The server looks for deadlocks after its deadlock_timeout.",
                )
            before = None if free else seen

    def _outwait(self, *sessions: Session) -> Iterator[StepEvent]:
        """Yield completions until these sessions have none under way that may end by itself."""
        yield from self._collect()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.patient and any(self._of(session) for session in sessions):
            if time.monotonic() > deadline:
                return
            yield from self._collect()

    def _settle(self, pending: _Pending) -> tuple[str, ...]:
        """Wait until a step is done or blocked; return the sessions that it waits for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        session = pending.session
        while pending.answer is None:
            pending.answer = session.answer(POLL_SECONDS)
            if pending.answer is not None:
                break
            pids = self.blockers(session)
            pending.waits_for = tuple(
                name for name, other in self.sessions.items() if other.pid in pids
            )
            if pending.waits_for:
                return pending.waits_for
            if time.monotonic() > deadline:
                others = f"; it waits for {_processes(pids)}" if pids else ""
                raise Contention(
                    f"step {pending.slot.step.name} of session {session.name} is neither done nor"
                    f" blocked by another session after {PATIENCE_SECONDS:.0f} s{others}",
                    hint="A step may wait for nobody but the sessions of its spec.",
                    step=pending.slot.step.name,
                    blocked_by=pids,
                )
        return ()

    def blockers(self, session: Session) -> list[int]:
        """Return the processes that a session waits for."""
        row = self.observer.execute(BLOCKERS, {"pid": session.pid}).fetchone()
        assert row is not None
        return row[0]

    def _held(self, pending: _Pending) -> bool:
        """Whether a marker keeps a step that is done from being reported."""
        return any(self._unmet(marker, pending) for marker in pending.slot.markers)

    def _unmet(self, marker: Marker, pending: _Pending) -> bool:
        if marker.step is None:
            return False
        if marker.notices is None:
            return any(other.slot.step == marker.step for other in self._pending)
        name = marker.step.session
        return len(self.sessions[name].notices) - pending.notices[name] < marker.notices

    def _in_a_circle(self) -> bool:
        """Whether sessions wait for each other, which the server will not let last."""
        return any(
            pending.session.name in self._those_waiting_for(pending.session.name)
            for pending in self._pending
        )

    def _those_waiting_for(self, name: str) -> tuple[str, ...]:
        """Return the sessions that wait for this one, or for one that does."""
        found: set[str] = set()
        todo = {name}
        while todo:
            new = {
                one.session.name
                for one in self._pending
                if one.answer is None and not todo.isdisjoint(one.waits_for)
            }
            todo = new - found
            found |= new
        return tuple(other for other in self.sessions if other in found)

    def _of(self, session: Session) -> _Pending | None:
        return next((one for one in self._pending if one.session is session), None)

    def _report(
        self, kind: Literal["done", "waiting", "completed", "stuck"], pending: _Pending
    ) -> StepEvent:
        waits_for = () if kind in ("done", "completed") else pending.waits_for
        if kind == "waiting" or pending.answer is None:
            return _event(kind, pending.slot, waits_for=waits_for)
        answer = pending.answer
        return StepEvent(
            kind,
            pending.session.name,
            pending.slot.step.name,
            pending.slot.step.sql,
            results=answer.results,
            sqlstate=answer.sqlstate,
            message=answer.message,
            notices=tuple(pending.session.notices[pending.notices[pending.session.name] :]),
        )

    def _counts(self) -> dict[str, int]:
        return {name: len(session.notices) for name, session in self.sessions.items()}


def _event(
    kind: Literal["done", "waiting", "completed", "stuck"],
    slot: Slot,
    *,
    waits_for: tuple[str, ...],
) -> StepEvent:
    return StepEvent(kind, slot.step.session, slot.step.name, slot.step.sql, waits_for)


def _succeeded(pending: _Pending) -> bool:
    return pending.answer is None or pending.answer.sqlstate is None


def _processes(pids: Sequence[int]) -> str:
    return "process " + ", ".join(str(pid) for pid in pids)
