"""All that is known about one race."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concord.race.judge import events
from concord.race.judge.events import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from concord.race.judge.events import Attempt, Header, Row, State, Worker


class Evidence:
    """The lines of one race, gathered in the order of the log."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.before: dict[tuple[int, str], State] = {}
        self.after: dict[tuple[int, str], State] = {}
        self.attempts: list[Attempt] = []
        self.rows: list[Row] = []
        self.workers: dict[int, Worker] = {}
        self.observed = False
        self.waits = 0
        self.longest_wait = 0.0
        self.ended = False

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in a line of this race. Raises `Malformed`."""
        if events.race_number(event) != self.header.number:
            raise Malformed(f"a line of race {event['race']} within race {self.header.number}")
        if self.ended:
            raise Malformed(f"race {self.header.number} has ended already")
        match events.kind(event):
            case "state":
                self._add_state(events.state(event))
            case "attempt":
                self._check_label(event)
                self.attempts.append(events.attempt(event))
            case "ledger":
                self.rows.append(events.row(event))
            case "wait":
                self._check_label(event)
                self.waits += 1
                self.longest_wait = max(self.longest_wait, events.waited(event))
            case "observer":
                if self.observed:
                    raise Malformed("a second line about the observer")
                self.observed = True
            case "worker":
                worker = events.worker(event)
                if worker.number in self.workers:
                    raise Malformed(f"a second line about worker {worker.number}")
                self.workers[worker.number] = worker
            case "end":
                self.ended = True
            case kind:
                raise Malformed(f"the type {kind!r} has no place in a race")

    def _add_state(self, state: State) -> None:
        states = self.before if state.when == "before" else self.after
        if (state.task, state.part) in states:
            raise Malformed(f"a second state {state.when} of task {state.task}, {state.part}")
        states[state.task, state.part] = state

    def _check_label(self, event: Mapping[str, Any]) -> None:
        told = event.get("scenario"), event.get("strategy")
        if told != (self.header.scenario, self.header.strategy):
            raise Malformed(
                f"a line of {told[0]}, {told[1]} in a race of"
                f" {self.header.scenario}, {self.header.strategy}"
            )
