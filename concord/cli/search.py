"""`concord search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.filtering import filtering
from concord.cli.lazy import Command
from concord.cli.options import COUNT
from concord.cli.querying import QueryWords

if TYPE_CHECKING:
    from concord.models import SearchResult


@click.command(
    "search",
    cls=Command,
    examples=(
        "concord search deploy",
        "concord search 'depl*' -tag:wontfix --status todo",
        """concord search '"exact words" or server'""",
        "concord search stale --quiet | concord task cancel -",
    ),
)
@click.argument("words", metavar="WORDS...", cls=QueryWords, required=True)
@filtering
@click.option(
    "--limit",
    type=COUNT,
    metavar="N",
    default=20,
    show_default=True,
    help="Show the best N; 0 shows all that were ranked.",
)
@pass_app
def search(app: App, words: tuple[str, ...], limit: int, **filters: Any) -> None:
    """Find tasks by the words of title, description and comments, the best first.

    Forms of an English word are one: deploy finds deployed. WORDS are a query, as for lists.
    """
    from concord import dates
    from concord.query import parse
    from concord.sql import listing
    from concord.sql import search as operations

    query = parse(" ".join(words), now=dates.local_now())
    result = app.run(operations.find, query, listing.Filters(**filters), limit=limit or None)
    if app.render.draws and app.fields is None and result.items:
        from concord.render import findings

        findings.draw(app.render, result.items)
    else:
        app.show(result.items, many=True)
    if result.unknown:
        _suggest(app, result)
    elif result.more:
        _say_what_was_ranked(app, result)
    else:
        app.cut(len(result.items), result.matching)


def _suggest(app: App, result: SearchResult) -> None:
    """Say which words no task has, and what is similar: never on stdout, where ids are piped."""
    hint = None
    if not result.tolerant:
        hint = "typing errors are not forgiven: see concord doctor"
    elif result.similar:
        titles = (f"  {task.id}  {task.title}" for task in result.similar)
        hint = "similar titles:\n" + "\n".join(titles)
    app.render.notice(
        "similar",
        f"nothing has {', '.join(result.unknown)}",
        hint,
        words=result.unknown,
        similar=result.similar,
    )


def _say_what_was_ranked(app: App, result: SearchResult) -> None:
    shown = len(result.items)
    app.render.notice(
        "cut",
        f"the list is cut at {shown}: of what matches, only the newest {result.matching} were"
        " ranked",
        "narrow it with more words or filters"
        + ("" if shown == result.matching else "; all of these: --limit 0"),
        shown=shown,
    )
