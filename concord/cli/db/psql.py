"""`concord db psql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concord import executables
from concord.cli.app import App
from concord.cli.external import Takeover

if TYPE_CHECKING:
    from typing import NoReturn

    import click

EXAMPLES = (
    "concord db psql",
    "concord db psql -c 'SELECT status, count(*) FROM tasks GROUP BY status'",
    "concord db psql --csv -f report.sql > report.csv",
)

ABOUT = """\
Become psql on the database in use.

Starts the embedded server if it is down. All words are psql's own; a password goes to it by the
environment, and variables such as PGHOST do not lead it elsewhere. It is the psql on PATH, else
that of the embedded server.

The rules hold in psql too, and what is changed there goes into history: as the operation psql, by
the database's user (concord on the embedded server), not by the name that you have in Concord.
"""


class Psql(Takeover):
    """The interactive terminal of PostgreSQL, on the database in use."""

    def __init__(self) -> None:
        super().__init__("psql")
        self.help = ABOUT
        self.examples = EXAMPLES

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what follows the name in the usage line."""
        return ["[ARGS]..."]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it does, then examples."""
        super().format_help_text(ctx, formatter)
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write whom to ask for its options."""
        with formatter.section("Options"):
            formatter.write_dl([("--help", "Those of psql; this text: concord help db psql")])

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Become psql. Raises `DatabaseUnavailable` if there is no psql or no database."""
        from concord import libpq

        settings = App.of(ctx).settings
        program = libpq.program("psql")
        executables.become(program, ctx.args, libpq.environment(settings))


psql = Psql()
