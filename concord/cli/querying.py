"""Queries on the command line: as an option's value, and as the words of a list.

In `task list status:todo -tag:wontfix`, the words that are neither options nor their values are
one query. They become the value of `--where` before anything is parsed, so that all that holds of
that option (repetition, views) holds of them.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from concord.cli import completing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from concord.query import Query
    from concord.query.fields import Field

WHERE = "--where"

_TERM = re.compile(r"([\w-]+)(<=|>=|[:<>=])(.*)", re.DOTALL)


class _QueryType(click.ParamType["Query"]):
    """A query of the query language."""

    name = "query"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the query. Raises `Usage` that shows the place where it is none."""
        if ctx is not None and ctx.resilient_parsing:
            return None  # to complete a word, nobody need read those before it
        from concord.dates import local_now
        from concord.query import parse

        return parse(str(value), now=local_now())

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return fields, or values of the field, for the last term of a query."""
        return offered(ctx, param, incomplete)


class _WordsType(click.ParamType["Query"]):
    """Words of a full text search, all of which are to be there."""

    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the query for the words."""
        from concord.query.syntax import LONGEST_TEXT, Text

        words = str(value)
        if not words.strip() or len(words) > LONGEST_TEXT or re.search("[\0\ud800-\udfff]", words):
            self.fail(f"{words!r} is no text to search for, of at most {LONGEST_TEXT} characters")
        return Text(words)


def _together(
    _: click.Context, __: click.Parameter, queries: Sequence[Query | None]
) -> Query | None:
    """Return the query that asks for all that an option asks for, however often it is given."""
    if not any(queries):
        return None
    from concord.query.syntax import all_of

    return all_of(query for query in queries if query)


QUERY = _QueryType()

where = click.option(
    WHERE,
    "query",
    type=QUERY,
    metavar="QUERY",
    multiple=True,
    callback=_together,
    help="That a query finds: status:todo -tag:wontfix due<fri (see the README).",
)

search = click.option(
    "--search",
    type=_WordsType(),
    metavar="WORDS",
    multiple=True,
    callback=_together,
    help="With all of these words in title, description or comments.",
)


class QueryWords(click.Argument):
    """The words of a query, as the last arguments of a command.

    What begins with a dash is one of them where it is a term, as `-tag:x` is, and no option's
    value. With `where`, they are passed on as the value of that option instead of by themselves.
    """

    def __init__(self, *args: Any, where: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, nargs=-1, shell_complete=offered, expose_value=not where, **kwargs)
        self._where = where

    def rewritten(
        self, command: click.Command, ctx: click.Context, words: Sequence[str]
    ) -> list[str]:
        """Return a command line in which no argument can be taken for an option."""
        options, arguments = _split(command, words)
        if self._where:
            before = sum(isinstance(param, click.Argument) for param in command.params) - 1
            arguments, query = arguments[:before], arguments[before:]
            if query and not ctx.resilient_parsing:
                options.append(f"{WHERE}={' '.join(query)}")
        return [*options, "--", *arguments] if arguments else options


query_words = click.argument("query_words", metavar="[QUERY]...", cls=QueryWords, where=True)


def offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for a query: fields, or values of the last term's field."""
    return list(_offers(ctx, param, incomplete))


def _split(command: click.Command, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options with their values, and the arguments, of a command line."""
    valued = {
        name
        for param in command.params
        if isinstance(param, click.Option) and not param.is_flag and not param.count
        for name in (*param.opts, *param.secondary_opts)
    }
    options: list[str] = []
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments += rest
        elif not word.startswith("-") or word == "-" or _negates(word):
            arguments.append(word)
        else:
            options.append(word)
            if word in valued:
                value = list(islice(rest, 1))
                if not value:
                    return options, []  # which is refused, whatever else there is
                options += value
    return options, arguments


def _negates(word: str) -> bool:
    """Return whether what begins with a dash is a term of a query: `-tag:x`, `-(`, `-"x`."""
    from concord.query.fields import field_of

    term = word.lstrip("-")
    if term[:1] in ("(", '"'):
        return True
    match = _TERM.fullmatch(term)
    # `--where=x` is no term, whatever fields are called.
    return (
        match is not None
        and not (match[2] == "=" and word.startswith("--"))
        and (field_of(match[1]) is not None)
    )


def _offers(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> Iterator[CompletionItem]:
    from concord.query.fields import FIELDS, field_of

    term = re.split(r"[\s(]", incomplete)[-1].lstrip("-")
    head = incomplete.removesuffix(term)
    match = _TERM.fullmatch(term)
    if match is None:
        for field in FIELDS.values():
            if field.name.startswith(term.lower()):
                yield CompletionItem(f"{head}{field.name}:", help=field.about)
        return
    field = field_of(match[1])
    if field is None:
        return
    listed, _, begun = match[3].rpartition(",")
    head += match[1] + match[2] + (f"{listed}," if listed else "")
    for item in _values(field, ctx, param, begun):
        if item.value not in listed.split(","):
            yield CompletionItem(head + item.value, help=item.help)


def _values(
    field: Field, ctx: click.Context, param: click.Parameter, begun: str
) -> Iterator[CompletionItem]:
    from concord.query.fields import DATES

    words = (*field.words, *(DATES if field.kind == "date" else ()))
    yield from (CompletionItem(word) for word in words if word.startswith(begun.lower()))
    if field.names is not None:
        offers = getattr(completing, field.names)(ctx, param, begun)
        yield from (item for item in offers if item.value not in words)
