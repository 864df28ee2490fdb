"""Many agents at one queue, some of them killed: each task is done once, by its last holder."""

from __future__ import annotations

import random
import signal
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, LiteralString

from audit import check_history
from fleet import Agent, until
from workers import psql

if TYPE_CHECKING:
    from conftest import CommandLine

TASKS, AGENTS, KILLS = 120, 8, 20

SEED: LiteralString = """
INSERT INTO tasks (title, owner_id) SELECT 'task ' || n, 1 FROM generate_series(1, %s) AS n
"""

HOLDERS: LiteralString = """
SELECT task_id, (new -> 'claim' ->> 'epoch')::integer
FROM history WHERE new -> 'claim' ? 'epoch' ORDER BY id
"""

COMPLETIONS: LiteralString = """
SELECT done.task_id, (ended.old -> 'claim' ->> 'epoch')::integer
FROM history AS done
LEFT JOIN history AS ended
    ON ended.xid = done.xid AND ended.task_id = done.task_id AND ended.new -> 'claim' = 'null'
WHERE done.new ->> 'status' = 'completed' ORDER BY done.id
"""

# One write, to the end of the file: lines of many at once do not mix.
COMMAND = ("sh", "-c", 'echo "$CONCORD_TASK_ID $CONCORD_CLAIM_EPOCH" >> runs')


def test_a_queue_is_emptied_though_agents_are_killed(concord: CommandLine, url: str) -> None:
    psql(url, SEED, TASKS)
    dice = random.Random(1)
    options = ("--lease", "2s", "--wait", "1h", "--quiet")
    with ExitStack() as stack:

        def start() -> Agent:
            return stack.enter_context(Agent(concord, *options, *COMMAND))

        def completed() -> int:
            (row,) = psql(url, "SELECT count(*) FROM tasks WHERE status = 'completed'")
            return row[0]

        agents = [start() for _ in range(AGENTS)]
        for kill in range(KILLS):
            until(lambda kill=kill: completed() > TASKS * kill // (KILLS + 1))
            victim = dice.randrange(AGENTS)
            agents[victim].end(signal.SIGKILL)
            agents[victim] = start()
        until(lambda: completed() == TASKS)
        for agent in agents:
            agent.process.send_signal(signal.SIGTERM)
        # One that was just started may not have got as far as to heed it.
        assert {agent.end().code for agent in agents} <= {0, -signal.SIGTERM}
    tasks = range(1, TASKS + 1)
    holders = psql(url, HOLDERS)
    epochs = {task: [epoch for of, epoch in holders if of == task] for task in tasks}
    assert all(made == list(range(1, len(made) + 1)) for made in epochs.values())
    assert sorted(psql(url, COMPLETIONS)) == [(task, epochs[task][-1]) for task in tasks]
    lines = (concord.home / "runs").read_text().splitlines()
    runs = Counter((int(task), int(epoch)) for task, epoch in (line.split() for line in lines))
    assert max(runs.values()) == 1, "one run a claim"
    assert (
        {(task, made[-1]) for task, made in epochs.items()}
        <= runs.keys()
        <= {(task, epoch) for task, made in epochs.items() for epoch in made}
    )
    assert sum(map(len, epochs.values())) > TASKS, "nobody was killed with a task in hand"
    check_history(url)
