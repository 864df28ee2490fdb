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
    "concord db psql --owner",
)

ABOUT = """\
Become psql on the database in use.

Starts the embedded server if it is down. All words are psql's own, but for a first --owner; a
password goes to it by the environment, and variables such as PGHOST do not lead it elsewhere. It is
the psql on PATH, else that of the embedded server.

The rules hold in psql too: it sees and changes what you do in Concord, and history tells of that as
the operation psql by your name. With --owner it connects as the owner of the tables, on a server by
URL as the user of the URL: who is let past the rules sees everything, and history has that name.
Behind a pooler it is always so.
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
            formatter.write_dl(
                [
                    ("--owner", "Before all others: as the owner of the tables, not as you."),
                    ("--help", "Those of psql; this text: concord help db psql"),
                ]
            )

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Become psql. Raises `DatabaseUnavailable` if there is no psql or no database."""
        from concord import libpq

        settings = App.of(ctx).settings
        owner = ctx.args[:1] == ["--owner"]
        program = libpq.program("psql")
        environment = libpq.environment(settings, owner=owner, acts=not owner)
        executables.become(program, ctx.args[owner:], environment)


psql = Psql()
