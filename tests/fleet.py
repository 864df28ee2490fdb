"""Agents that run, and commands that wait for a word of the test."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from conftest import TIMEOUT, CommandLine, Result, finish
from workers import psql

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS = (
    'echo "$CONCORD_TASK_ID $$" >> begun; n=0;'
    " until [ -e go ] || [ $n -gt 4000 ]; do sleep 0.02; n=$((n + 1)); done"
)
"""A command that goes on once the file `go` is there; `begun` tells of tasks and process ids.

Should its test fail, it does not wait for ever.
"""


def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition returns once it is true."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"it never came true: {condition}")
        time.sleep(0.005)
    return value


class Agent:
    """A `concord agent run` in a process of its own; its lines are JSON."""

    def __init__(self, concord: CommandLine, *arguments: str, **environment: str) -> None:
        self._home = concord.home
        self.process = concord.start(
            "agent",
            "run",
            "--jsonl",
            *arguments,
            stdin=subprocess.DEVNULL,
            env=concord.environment | environment,
        )

    def begun(self) -> tuple[int, int]:
        """Wait until a command that `WAITS` has begun; return its task and its process id."""
        path = self._home / "begun"
        line = until(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text())
        task, pid = line.splitlines()[-1].split()
        return int(task), int(pid)

    def go(self) -> Self:
        """Let commands that wait go on."""
        (self._home / "go").touch()
        return self

    def run(self) -> dict[str, Any]:
        """Return what became of the next task."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, finish(self.process)
        return json.loads(line)

    def end(self, number: int | None = None) -> Result:
        """Send a signal, if any, and return what the process did then."""
        if number is not None:
            self.process.send_signal(number)
        return finish(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=TIMEOUT)


def is_running(pid: int) -> bool:
    """Whether a process is there, and does not only wait to be reaped."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False, text=True
    )
    return found.stdout.strip()[:1] not in ("", "Z")


def completions(url: str, task: int) -> list[tuple[int | None]]:
    """Return the epoch of the claim with which each completion of a task came."""
    return psql(
        url,
        "SELECT (ended.old -> 'claim' ->> 'epoch')::integer FROM history AS done"
        " LEFT JOIN history AS ended ON ended.xid = done.xid AND ended.task_id = done.task_id"
        " AND ended.new -> 'claim' = 'null'"
        " WHERE done.task_id = %s AND done.new ->> 'status' = 'completed' ORDER BY done.id",
        task,
    )


def said(url: str, task: int) -> list[str]:
    """Return the comments on a task."""
    found = psql(url, "SELECT body FROM comments WHERE task_id = %s ORDER BY id", task)
    return [body for (body,) in found]
