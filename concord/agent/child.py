"""The command that an agent runs for a task: a process group of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from concord import plain
from concord.settings import TASK_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from concord.models import Task

LONGEST_VARIABLE = 128 * 1024
"""Bytes of an environment variable that Linux allows, with its name and the byte at its end."""

TAIL_LINES, TAIL_BYTES = 20, 4000
"""How much of what a command said last on stderr is kept."""

_STDERR = 2

# Colours and cursor movements, and what PostgreSQL's text or a reader's terminal does not take.
_CONTROL = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class Child:
    """A running command. Its output goes to our stderr; `tail` is what it said there last.

    It reads the task as one line of JSON from stdin. On Linux the kernel kills it when we die;
    elsewhere, and for what it has started itself, nobody does.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], told: str) -> None:
        self._command = command
        self._tail = b""
        self._began = time.monotonic()
        # A file never makes us wait for a command that does not read.
        with tempfile.TemporaryFile() as file:
            file.write(told.encode() + b"\n")
            file.seek(0)
            self._process = subprocess.Popen(
                command,
                stdin=file,
                stdout=_STDERR,
                stderr=subprocess.PIPE,
                env=environment,
                process_group=0,
                preexec_fn=_follow_parent(),
            )
        assert self._process.stderr is not None
        self.stderr = self._process.stderr
        os.set_blocking(self.stderr.fileno(), False)
        self.speaks = True
        """Whether there may be more on its stderr."""
        self.seconds = 0.0
        """How long it ran, once it was reaped."""

    @property
    def ended(self) -> bool:
        """Whether it has ended. Until it is reaped, its process group is no one else's."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def signal(self, number: int) -> None:
        """Send a signal to it and to what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def pass_on(self) -> None:
        """Pass on what there is on its stderr."""
        with suppress(BlockingIOError):
            while said := os.read(self.stderr.fileno(), 65536):
                self._tail = (self._tail + said)[-TAIL_BYTES:]
                with suppress(OSError):  # nobody is left to tell
                    _write(said)
            self.speaks = False

    def reap(self) -> None:
        """Take note of its end."""
        self.seconds = time.monotonic() - self._began
        self._process.wait()
        self.pass_on()

    @property
    def exit(self) -> int | None:
        """Its exit status; `None` if a signal ended it."""
        code = self._process.returncode
        return code if code >= 0 else None

    @property
    def signal_name(self) -> str | None:
        """The signal that ended it, if one did."""
        code = self._process.returncode
        if code >= 0:
            return None
        with suppress(ValueError):
            return signal.Signals(-code).name
        return str(-code)  # a real-time signal

    def account(self, why: str) -> str:
        """Return what became of it, in Markdown: why it ended, and what it said last."""
        command = " ".join(shlex.join(self._command).split())[:200]
        command = command.encode(errors="replace").decode()  # an argument may be no UTF-8
        heading = f"{why} after {self.seconds:.1f} s: {command}"
        text = _CONTROL.sub("", self._tail.decode(errors="replace").replace("\r\n", "\n"))
        lines = [f"    {line}" for line in text.strip().splitlines()[-TAIL_LINES:]]
        return "\n".join([heading, "", *lines] if lines else [heading])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stderr.close()
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
            self._process.wait()


def environment_of(task: Task, user: str) -> dict[str, str]:
    """Return the environment of the command for a claimed task.

    The whole task is not in it where it is larger than a variable may be.
    """
    assert task.claim is not None
    whole = plain.dumps(task)
    told = {
        "CONCORD_TASK": whole,
        "CONCORD_TASK_ID": str(task.id),
        "CONCORD_TASK_UID": str(task.uid),
        "CONCORD_TASK_TITLE": task.title,
        "CONCORD_TASK_PROJECT": task.project or "",
        "CONCORD_CLAIM_EPOCH": str(task.claim.epoch),
        "CONCORD_CLAIM_EXPIRES_AT": plain.moment(task.claim.expires_at),
        # What the command does with Concord is done in the same name.
        "CONCORD_USER": user,
    }
    # As execve counts it: with the name and the byte at its end.
    if len(f"CONCORD_TASK={whole}\0".encode()) > LONGEST_VARIABLE:
        del told["CONCORD_TASK"]
    # Nothing is left of another task, in case an agent is run by an agent.
    inherited = {name: os.environ[name] for name in os.environ if name not in TASK_VARIABLES}
    return inherited | told


def _follow_parent() -> Callable[[], None] | None:
    """Return what makes a new process die with us, where there is such a thing."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    ourselves = os.getpid()
    set_death_signal = 1

    def follow() -> None:
        prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != ourselves:  # we died before it could know
            os.kill(os.getpid(), signal.SIGKILL)

    return follow


def _write(said: bytes) -> None:
    while said:
        said = said[os.write(_STDERR, said) :]
