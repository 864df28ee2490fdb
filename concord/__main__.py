"""The `concord` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit."""
    from concord.cli import run

    raise SystemExit(run())


if __name__ == "__main__":
    main()
