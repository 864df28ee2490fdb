"""A race as a history for Elle, the checker of the Jepsen project, in its list-append model.

Each attempt is a transaction that read a task's list and appended a value of its own. Appended
values are unique; after an attempt whose outcome is unknown the worker goes on as a new process.
Format: https://github.com/ligurio/elle-cli and https://github.com/jepsen-io/elle.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from concord.race.values import entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

MODELS = {
    "read committed": "read-committed",
    "repeatable read": "snapshot-isolation",
    "serializable": "serializable",
}
"""Isolation level → the consistency model that Elle should hold the history against."""


def history(attempts: Sequence[Mapping[str, Any]], workers: int) -> Iterator[dict[str, Any]]:
    """Yield the operations of a history in the order of their times, which are nanoseconds.

    `attempts` come in the order in which they began.
    """
    start = min((attempt["begin"] for attempt in attempts), default=0.0)
    process = dict(enumerate(range(workers)))
    spoken: list[tuple[float, dict[str, Any]]] = []
    for attempt in attempts:
        worker = attempt["worker"]
        key, value = attempt["task"], entry(attempt["op_id"], attempt["retry"])
        outcome = attempt["outcome"]
        asked = [["r", key, None], ["append", key, value]]
        # What an attempt read is known even if it failed, but only a commit vouches for it.
        told = asked if outcome != "ok" else [["r", key, attempt["entries"]], asked[1]]
        ended = attempt["end"] or attempt["begin"]
        for moment, kind, micro in ((attempt["begin"], "invoke", asked), (ended, outcome, told)):
            event = {
                "process": process[worker],
                "type": kind,
                "f": "txn",
                "time": round((moment - start) * 1e9),
                "value": micro,
            }
            spoken.append((moment, event))
        if outcome == "info":
            process[worker] += workers
    # A process says one thing after the other, though its clock may have stood still between them.
    spoken.sort(key=lambda one: one[0])
    for index, (_, event) in enumerate(spoken):
        yield {"index": index, **event}


def write(attempts: Sequence[Mapping[str, Any]], workers: int, file: TextIO) -> None:
    """Write a history as a JSON array, an operation a line."""
    file.write("[\n")
    file.writelines(
        (",\n" if number else "") + json.dumps(event)
        for number, event in enumerate(history(attempts, workers))
    )
    file.write("\n]\n")
