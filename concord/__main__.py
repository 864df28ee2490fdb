"""The `concord` command."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line and exit."""
    try:
        settle_streams()
        from concord.cli import run

        status = run()
    except KeyboardInterrupt:  # before the command began, or after it ended
        status = 130
    raise SystemExit(status)


def settle_streams() -> None:
    """Make the standard streams fit to work with, whatever we were started with.

    One that is closed becomes empty. Output that is data is UTF-8 wherever we are; a terminal
    shows what its character set lacks as an escape sequence instead of failing.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # the lowest descriptor that is free is the one missing
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    out = sys.stdout
    if isinstance(out, TextIOWrapper):
        out.reconfigure(encoding=None if out.isatty() else "utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
