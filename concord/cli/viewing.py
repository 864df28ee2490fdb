"""The options of a list, kept as a view in the words in which they were typed, and read again."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from concord.cli.options import OUTPUT_SECTION
from concord.errors import NotFound, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from concord.cli.app import App
    from concord.models import View

NONE = "none"
"""In place of a view's name: no view."""

_NOT_KEPT = OUTPUT_SECTION | {"view", "skip", "after", "analyze"}
"""What is of one call only: how it prints, which view it begins with, which page it shows."""

_NO_FILTERS = frozenset({"sort", "limit"})
"""Options that choose no tasks: beside them, the default view still holds."""


def kept(command: click.Command) -> list[click.Option]:
    """Return the options of a list that a view may hold."""
    return [
        param
        for param in command.params
        if isinstance(param, click.Option) and param.name not in _NOT_KEPT
    ]


def as_typed(option: click.Option) -> click.Option:
    """Return an option like this one, which refuses the same and passes on what was typed."""
    made = copy(option)
    if not made.is_flag:
        made.type = _Typed(made.type)
        made.callback = None
    return made


def words(ctx: click.Context, options: Iterable[click.Option]) -> list[str]:
    """Return those options, made by `as_typed`, that the command line has, by their long names."""
    found: list[str] = []
    for option in options:
        name = option.name or ""
        if not _was_given(ctx, name):
            continue
        value = ctx.params[name]
        if option.is_flag:
            found.append((option.opts if value else option.secondary_opts)[-1])
        else:
            for each in value if option.multiple else (value,):
                found += [option.opts[-1], each]
    return found


def with_view(app: App, name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a list's options: those of a view where the command line has none.

    Without the name of a view it is the default one, if there is one and the command line chooses
    no tasks itself. Raises `NotFound`, and `Usage` for a view that cannot be read any more.
    """
    ctx = click.get_current_context()
    options = kept(ctx.command)
    own = {option.name for option in options if _was_given(ctx, option.name or "")}
    default = name is None and app.settings.view is not None and own <= _NO_FILTERS
    name = app.settings.view if default else name
    if name is None or name.lower() == NONE:
        return dict(given)
    view = _default(app, name) if default else _fetch(app, name)
    return {**given, **{name: value for name, value in _read(options, view) if name not in own}}


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _fetch(app: App, name: str) -> View:
    from concord.sql import views

    return app.run(views.show, name)


def _default(app: App, name: str) -> View:
    """Return the view that a setting names, and say so."""
    source = app.settings.provenance["view"]
    try:
        view = _fetch(app, name)
    except NotFound as error:
        raise NotFound(
            f"{error.message} ({source})",
            hint="For no view: --view none. See: concord view list",
            **error.details,
            source=source,
        ) from None
    app.render.notice(
        "view",
        f"by your view {view.name}: {view.command}",
        "all tasks: --view none",
        view=view.name,
    )
    return view


def _read(options: Sequence[click.Option], view: View) -> Iterable[tuple[str, Any]]:
    """Return (name, value) of the options that a view holds. Raises `Usage` naming the view."""
    # A command that takes these options and nothing else: a view runs nothing.
    reader = click.Command("view", params=list(options), add_help_option=False)
    try:
        ctx = reader.make_context("view", list(view.options))
    except (click.UsageError, Usage) as error:
        told = error.format_message() if isinstance(error, click.UsageError) else error.message
        raise Usage(
            f"the view {view.name} cannot be read: {told}",
            hint=f"It is {view.command}; save it anew: concord view save {view.name} --replace ...",
            view=view.name,
        ) from None
    return [(name, value) for name, value in ctx.params.items() if _was_given(ctx, name)]


class _Typed(click.ParamType[str]):
    """A type that takes what another one takes, and leaves it as it was typed."""

    def __init__(self, inner: click.ParamType[Any]) -> None:
        self.name = inner.name
        self._inner = inner

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, if the other type can read it."""
        self._inner.convert(value, param, ctx)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return what help shows for a value."""
        return self._inner.get_metavar(param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Return what a shell offers."""
        return self._inner.shell_complete(ctx, param, incomplete)
