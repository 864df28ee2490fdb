"""A program that runs command lines, each as in a new process, and tells what they have loaded.

    python tests/loading.py [MODULE]... < RUNS

A process of Python costs a third of a second, most of it for what every command loads. So that is
loaded once, with the modules named here, and each run is a fork of the process at that moment. RUNS
and what is printed are JSON lists of `Run` and `Loaded`.
"""

from __future__ import annotations

import json
import os
import pty
import sys
from importlib import import_module
from traceback import print_exc
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_START = frozenset(sys.modules)


class Run(NamedTuple):
    """A command line, and whether it prints to a terminal or else to a pipe."""

    arguments: list[str]
    terminal: bool = False


class Loaded(NamedTuple):
    """What a run came to: its exit status, all it printed, and the packages it has loaded."""

    code: int
    shown: str
    packages: list[str]


def packages() -> set[str]:
    """Return what was loaded since the start that is neither Python's own nor Concord's."""
    found = {name.partition(".")[0] for name in sys.modules.keys() - AT_START}
    return {
        name
        for name in found - sys.stdlib_module_names - {"concord"}
        # Private ones come and go with their package, or are made up by compiled code.
        if not name.startswith("_") and getattr(sys.modules[name], "__file__", None)
    }


def perform(run: Run) -> Loaded:
    """Run a command line in a fork of this process."""
    ours, theirs = pty.openpty() if run.terminal else os.pipe()
    told, telling = os.pipe()
    child = os.fork()
    if not child:
        for end in (ours, told):
            os.close(end)
        for number in (1, 2):
            os.dup2(theirs, number)
        _be(run, telling)
    for end in (theirs, telling):
        os.close(end)
    shown = b"".join(_read(ours)).decode(errors="replace")
    names = b"".join(_read(told)).decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Loaded(code, shown, names.split())


def _be(run: Run, telling: int) -> NoReturn:
    from concord.__main__ import main

    code: Any = 70
    try:
        sys.argv[1:] = run.arguments
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - a child must never go on as its parent
        print_exc()
    os.write(telling, " ".join(sorted(packages())).encode())
    os._exit(code)


def _read(end: int) -> Iterator[bytes]:
    with os.fdopen(end, "rb", buffering=0) as file:
        try:
            while part := file.read(65536):
                yield part
        except OSError:  # so a terminal ends
            return


if __name__ == "__main__":
    for name in ("concord.__main__", "concord.cli", *sys.argv[1:]):
        import_module(name)
    runs = json.load(sys.stdin)  # which leaves nothing to read for those who look there
    print(json.dumps([perform(Run(*one)) for one in runs]))
