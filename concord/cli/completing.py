"""Values for the shell to offer: task ids with titles, keys, names, tags.

Completion never starts a server, never waits long, and says nothing when it fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    import click

_HARMLESS = r"[\w.@%+:,/=-]+"
"""A shell puts what it is offered into the command line as it is: it must mean nothing there."""


def tasks(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ids of tasks, with their titles as help."""
    return _items("TASKS", incomplete.removeprefix("#"))


def projects(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return keys of projects."""
    return _items("PROJECTS", incomplete)


def users(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return usernames, and `me`."""
    me = [CompletionItem("me", help="yourself")] if "me".startswith(incomplete) else []
    return me + _items("USERS", incomplete)


def tags(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of tags."""
    return _items("TAGS", incomplete)


def views(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of one's own views, with what they stand for as help."""
    return _items("VIEWS", incomplete)


def aliases(incomplete: str) -> list[CompletionItem]:
    """Return names of one's aliases, with what they stand for as help."""
    try:
        from concord import settings
        from concord.plain import visible

        return [
            CompletionItem(name, help=visible(command).replace("\n", " "))
            for name, command in sorted(settings.aliases().items())
            if name.startswith(incomplete) and re.fullmatch(_HARMLESS, name)
        ]
    except Exception:  # noqa: BLE001 - as below
        return []


def alias_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of one's aliases."""
    return aliases(incomplete)


def _items(what: str, incomplete: str) -> list[CompletionItem]:
    try:
        from dataclasses import replace

        from concord.connections import open_connection
        from concord.plain import visible
        from concord.redirection import untold
        from concord.settings import load
        from concord.sql import completion

        settings = replace(load(), connect_timeout=2000)
        if untold(settings):
            return []  # no key that is pressed by chance calls a server nobody was told of
        with open_connection(settings, "completion") as connection:
            query = getattr(completion, what)
            rows = completion.offers(connection, query, incomplete, settings.user)
    except Exception:  # noqa: BLE001 - a message here would end up in the user's command line
        return []
    return [
        CompletionItem(value, help=visible(about).replace("\n", " "))
        for value, about in rows
        if re.fullmatch(_HARMLESS, value)
    ]
