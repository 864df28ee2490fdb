"""Made-up logs of races: what workers would log if the server did one operation after the other.

Every operation takes effect at a moment of its own, a millisecond after the last; attempts reach
some milliseconds back from there, so they overlap as they do in a race.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any, cast

from concord.plain import jsonable
from concord.race import judge

SCENARIOS = ("counter", "assign", "edit", "claim", "limit", "transfer")
LIMIT = 2

Event = dict[str, Any]


@dataclass
class Race:
    """Simulates a race. With `stale`, operations read what was there before the last one."""

    scenario: str
    seed: int = 0
    workers: int = 3
    ops: int = 24
    tasks: int = 2
    strategy: str = "for-update"
    number: int = 1
    stale: bool = False
    dies: bool = False
    unknown: bool = True
    apart: bool = False
    values: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.attempts: list[Event] = []
        self.ledger: list[Event] = []
        self.sequence = self.random.randrange(5)
        self.xid = 700
        self.free = dict.fromkeys(range(self.workers), 0.0)
        self.done = dict.fromkeys(range(self.workers), 0)
        count = {"limit": self.workers, "claim": self.ops}.get(self.scenario, self.tasks)
        self.ids = list(range(11, 11 + max(count, 2)))
        parts = {
            "edit": ["title", "description"],
            "assign": [f"racer{worker + 1}" for worker in range(self.workers)],
            "claim": ["status"],
            "limit": ["status"],
        }.get(self.scenario, ["value"])
        start = 0 if self.scenario in ("assign", "claim", "limit") else 5
        self.values = {(task, part): start for task in self.ids for part in parts}
        self.versions = dict.fromkeys(self.ids, 1)
        self.read = dict(self.values)

    def events(self) -> list[Event]:
        """Return the lines of the race, without a verdict."""
        before = self.states("before")
        for index in range(self.ops):
            self.operate(index + 1, 1000.0 + index / 1000)
        dead = self.die() if self.dies else None
        self.attempts.sort(key=lambda attempt: attempt["begin"])
        head = {
            "isolation": "read committed",
            "control": self.strategy == "none",
            "workers": self.workers,
            "limit": LIMIT if self.scenario == "limit" else None,
            "started": 999.0,
        }
        named = {"scenario": self.scenario, "strategy": self.strategy}
        lines: list[Event] = [
            {"type": "race", **named, **head},
            *before,
            *({"type": "attempt", **named, **attempt} for attempt in self.attempts),
            {"type": "wait", **named, "pid": 90, "worker": 0, "ms": 3.25, "blocked_by": []},
            {"type": "observer", "samples": 9, "interval_ms": 10.0, "complete": True},
            *(
                {
                    "type": "worker",
                    "worker": worker,
                    "ended": "died" if worker == dead else "done",
                    "why": None,
                    "operations": done,
                }
                for worker, done in self.done.items()
            ),
            *({"type": "ledger", **row} for row in self.ledger),
            *self.states("after"),
            {"type": "end", "ended": 1001.0},
        ]
        return [{"type": line["type"], "race": self.number, **line} for line in lines]

    def states(self, when: str) -> list[Event]:
        return [
            {
                "type": "state",
                "when": when,
                "task": task,
                "part": part,
                "value": value,
                "version": self.versions[task],
            }
            for (task, part), value in self.values.items()
        ]

    def operate(self, op_id: int, at: float) -> None:
        """Do an operation that takes effect at a moment, if it does."""
        # The first two take turns, so that no race is one worker's alone.
        worker = (op_id if op_id < 3 else self.random.randrange(self.workers)) % self.workers
        begin = at - 0.0002 if self.apart else max(self.free[worker], at - 0.005)
        retry = 0
        while not self.apart and self.random.random() < 0.3:
            middle = begin + (at - begin) / 2
            failed = self.attempt(op_id, worker, retry, "fail", begin, middle)
            self.attempts.append({**failed, "sqlstate": "40001", "task": self.ids[0]})
            begin, retry = middle, retry + 1
        self.free[worker] = end = at + self.random.random() * 0.0005
        attempt = self.attempt(op_id, worker, retry, "ok", begin, end)
        self.attempts.append(attempt)
        self.sequence += 1 + (self.random.random() < 0.1)
        touches = self.touches(worker)
        lost = self.unknown and self.random.random() < 0.1
        if touches is None or (lost and self.random.random() < 0.5):
            attempt["outcome"] = "info" if lost else "fail"
            return
        self.enter(attempt, touches)
        if lost:
            attempt["outcome"] = "info"
        else:
            self.done[worker] += 1

    def die(self) -> int:
        """Kill a worker in the middle of its last operation, whose transaction was committed."""
        worker = self.random.choice([who for who in self.free if self.done[who]])
        attempt = self.attempt(self.ops + 1, worker, 0, "info", self.free[worker], 0.0)
        touches = self.touches(worker)
        self.sequence += 1
        if touches is not None:
            self.enter(dict(attempt), touches)
        self.attempts.append({**attempt, "end": None, "pid": None, "reason": "the worker died"})
        return worker

    def attempt(
        self, op_id: int, worker: int, retry: int, outcome: str, begin: float, end: float
    ) -> Event:
        return {
            "op_id": op_id,
            "worker": worker,
            "retry": retry,
            "outcome": outcome,
            **dict.fromkeys(("sqlstate", "reason", "task", "part", "before", "after")),
            **dict.fromkeys(("other", "xid", "version", "sequence", "snapshot")),
            "pid": 90 + worker,
            "begin": begin,
            "statements": [],
            "end": end,
        }

    def touches(self, worker: int) -> list[tuple[int, str, int]] | None:
        """Return what an operation changes: task, part, by how much; `None` if it cannot."""
        task = self.random.choice(self.ids)
        match self.scenario:
            case "counter":
                return [(task, "value", 1)]
            case "edit":
                return [(task, ("title", "description")[worker % 2], 1)]
            case "transfer":
                one, other = self.random.sample(self.ids, 2)
                return [(one, "value", -1), (other, "value", 1)]
            case "assign":
                part = f"racer{worker + 1}"
                return [(task, part, 1 - 2 * self.values[task, part])]
            case "claim":
                seen = self.read if self.stale else self.values
                free = [one for one in self.ids if not seen[one, "status"]]
                return [(free[0], "status", 1)] if free else None
            case _:
                own = self.ids[worker]
                if self.values[own, "status"]:
                    return [(own, "status", -1)]
                full = sum(self.values.values()) >= LIMIT and not self.stale
                return None if full else [(own, "status", 1)]

    def enter(self, attempt: Event, touches: list[tuple[int, str, int]]) -> None:
        """Let an operation take effect, and enter it into the ledger."""
        told: list[Event] = []
        for task, part, step in touches:
            stale = self.stale and self.scenario != "limit"
            before = (self.read if stale else self.values)[task, part]
            self.read[task, part] = self.values[task, part]
            # As in Concord, an update that changes nothing makes no version. A claim does: it
            # changes the owner.
            changed = self.scenario == "claim" or self.values[task, part] != before + step
            self.versions[task] += changed
            self.values[task, part] = before + step
            told.append(
                {
                    "task": task,
                    "before": before,
                    "after": before + step,
                    "version": self.versions[task],
                }
            )
        self.xid += self.random.randrange(1, 4)
        attempt.update(told[0])
        attempt["part"] = touches[0][1]
        attempt["other"] = told[1] if len(told) > 1 else None
        attempt["xid"], attempt["sequence"] = str(self.xid), self.sequence
        names = ("op_id", "worker", "task", "part", "before", "after", "version", "other")
        row = {name: attempt[name] for name in (*names, "sequence", "xid")}
        self.ledger.append(cast("Event", json.loads(json.dumps(row))))


def run_of(*races: Race) -> list[Event]:
    """Return the lines of a whole log, with the verdicts that are right, and its exit status."""
    lines: list[Event] = [
        {
            "type": "run",
            "format": 1,
            "concord": "0.1.0",
            "started": 998.0,
            "settings": {
                "scenarios": list(dict.fromkeys(race.scenario for race in races)),
                "strategies": list(dict.fromkeys(race.strategy for race in races)),
                "workers": races[0].workers,
            },
            "server": {},
        }
    ]
    results: list[judge.Result] = []
    for number, race in enumerate(races, start=1):
        race.number = number
        events = race.events()
        results.append(judge.judge_race(events))
        lines += [*events, {"type": "verdict", "race": number, **jsonable(results[-1])}]
    status = 0 if judge.all_is_well(results) else 1
    return [*lines, {"type": "finished", "ended": 1002.0, "exit": status}]


def text_of(lines: list[Event]) -> list[bytes]:
    """Return lines as a file has them."""
    return [json.dumps(line).encode() + b"\n" for line in lines]
