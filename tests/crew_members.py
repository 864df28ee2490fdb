"""What processes of a crew do in tests. They import nothing else: each one begins with that."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def greet(job: int, pipe: Connection) -> None:
    """Reach the start, do `job` operations once told to go, and say so."""
    pipe.send(("ready", os.getpid()))
    assert pipe.recv() == "go"
    pipe.send(("progress", job - 1))
    pipe.send(("done", job))


def fall(job: str, pipe: Connection) -> None:
    """Die before the start, in the way that `job` says."""
    match job:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "status":
            os._exit(3)
        case "words":
            pipe.send(("died", "no room"))
        case _:
            pipe.send(("ready", os.getpid()))
            pipe.recv()


def stay(_: None, pipe: Connection) -> None:
    """Never be ready; end when nobody listens any more."""
    pipe.recv()


def vanish(job: bool, pipe: Connection) -> None:
    """Reach the start and, if told so by the job, die when it is given."""
    pipe.send(("ready", os.getpid()))
    pipe.recv()
    if job:
        os.kill(os.getpid(), signal.SIGKILL)
    pipe.send(("done", 2))


def hold_out(job: bool, pipe: Connection) -> None:
    """Die at the start, if the job says so; else go on until told to stop."""
    pipe.send(("ready", os.getpid()))
    assert pipe.recv() == "go"
    if job:
        os.kill(os.getpid(), signal.SIGKILL)
    assert pipe.recv() == "stop"
    pipe.send(("done", 1))
