"""What `task list` and those that tell of it share: its options, and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from concord.cli import completing
from concord.cli.filtering import filtering
from concord.cli.options import paging
from concord.cli.querying import query_words, search
from concord.cli.viewing import with_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from concord.cli.app import App
    from concord.sql.listing import Filters

F = TypeVar("F", bound="Callable[..., Any]")

DEFAULT_LIMIT = 100

_trash = click.option("--trash", is_flag=True, help="What was deleted, and only that.")
_sort = click.option(
    "--sort",
    default="id",
    show_default=True,
    metavar="KEY",
    help="id, priority, due, created, updated, title or status; -KEY turns it round.",
)
_view = click.option(
    "--view",
    metavar="NAME",
    shell_complete=completing.views,
    help="With the options of this view of yours, but for those given here; none: of no view.",
)


class Asked(NamedTuple):
    """What a list is asked for. `page` holds `sort`, `limit`, `skip` and `after`."""

    filters: Filters
    page: dict[str, Any]


def list_options(command: F) -> F:
    """Add all options of `task list`, and a query as its arguments."""
    return query_words(filtering(search(_trash(_sort(paging(DEFAULT_LIMIT)(_view(command)))))))


def asked(app: App, view: str | None, given: Mapping[str, Any]) -> Asked:
    """Return what these options ask for, with those of a view. Raises `NotFound`, `Usage`."""
    from concord.sql import listing

    values = with_view(app, view, given)
    if (words := values.pop("search")) is not None:
        from concord.query import all_of

        values["query"] = all_of(query for query in (values["query"], words) if query)
    page = {name: values.pop(name) for name in ("sort", "limit", "skip", "after")}
    return Asked(listing.Filters(**values), page | {"limit": page["limit"] or None})
