"""Options and arguments that several commands share, and the types that read their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

from concord.cli import completing
from concord.cli.app import App
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

F = TypeVar("F", bound="Callable[..., Any]")

LARGEST_ID = 2**63 - 1
OUTPUT_SECTION = frozenset(
    {"json", "jsonl", "csv", "quiet", "fields", "no_color", "verbose", "as_user", "replica"}
)
"""Names of the options that every command has, shown apart in help."""


def common_options() -> list[click.Parameter]:
    """Return new instances of the options that stand before or after any command's name."""
    return [
        _output("--json", "one JSON document"),
        _output("--jsonl", "one JSON object a line"),
        _output("--csv", "CSV with a header"),
        _output("--quiet", "ids only", "-q"),
        click.Option(
            ["--fields"],
            metavar="A,B,C",
            expose_value=False,
            callback=_remember_fields,
            help="Only these fields, in this order.",
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            expose_value=False,
            callback=_remember("no_color"),
            help="No colour, as with NO_COLOR.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_remember("verbose"),
            help="One line on stderr for every transaction.",
        ),
        click.Option(
            ["--as", "as_user"],
            metavar="NAME",
            expose_value=False,
            callback=_remember_flag("user"),
            shell_complete=completing.users,
            help="Act as this user.",
        ),
        click.Option(
            ["--replica"],
            is_flag=True,
            expose_value=False,
            callback=_remember("replica"),
            help="Only read, and from a standby: replica_url.",
        ),
    ]


def _output(name: str, about: str, *short: str) -> click.Option:
    kind = name.removeprefix("--")

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            App.of(ctx).output = kind

    return click.Option(
        [*short, name],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help=f"Print {about}.",
    )


def _remember(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(App.of(ctx), attribute, True)

    return callback


def _remember_flag(setting: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            App.of(ctx).flags[setting] = value

    return callback


def _remember_fields(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        App.of(ctx).fields = tuple(field.strip() for field in value.split(",") if field.strip())


class _Choice(click.Choice[str]):
    """A choice that forgives case and the dash for the underscore."""

    def __init__(self, choices: Sequence[str]) -> None:
        super().__init__(choices, case_sensitive=False)

    def normalize_choice(self, choice: Any, ctx: click.Context | None) -> str:
        """Return the form in which choices are compared."""
        return super().normalize_choice(str(choice).replace("-", "_"), ctx)


STATUS = _Choice(STATUSES)
PRIORITY = _Choice(PRIORITIES)


class _Key(click.ParamType[str]):
    """A project's key, in any case; `none` stands for the inbox where that makes sense."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the key in capitals."""
        text = str(value)
        if not text.strip():
            # Left out by a script, as a rule, that meant to name one.
            self.fail("a project's key cannot be empty")
        return text if text == "none" else text.upper()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Return keys of projects."""
        return completing.projects(ctx, param, incomplete)


KEY = _Key()


class _TaskId(click.ParamType[int]):
    """A task's id, with or without a `#`."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the id as a number."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"#?([0-9]{1,19})", str(value))
        if match is None or not 0 < int(match[1]) <= LARGEST_ID:
            self.fail(f"{value!r} is not a task id: a number such as 12, from `task list`")
        return int(match[1])

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Return ids of tasks with their titles."""
        return completing.tasks(ctx, param, incomplete)


TASK_ID = _TaskId()


class _Count(click.ParamType[int]):
    """A whole number from 0 on that PostgreSQL can count to."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the count as a number."""
        text = str(value)
        if re.fullmatch(r"[0-9]{1,19}", text) is None or int(text) >= LARGEST_ID:
            self.fail(f"{text!r} is not a whole number from 0 to {LARGEST_ID - 1}")
        return int(text)


COUNT = _Count()


class _Moment(click.ParamType["datetime | str"]):
    """A date in the user's own words; `kind` is the reader's name in `concord.dates`."""

    def __init__(self, kind: str) -> None:
        self.name = "date"
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | str:
        """Return the moment in UTC, or `none` for no date."""
        from concord import dates

        moment = getattr(dates, self._kind)(str(value), now=dates.local_now())
        return "none" if moment is None else moment


DUE = _Moment("parse_due")
BEFORE = _Moment("parse_before")
AFTER = _Moment("parse_after")


class _Duration(click.ParamType["timedelta"]):
    """A length of time: 90s, 15m, 2h or 3d."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return it as a timedelta."""
        from datetime import timedelta

        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|min|h|d)", str(value).strip().lower())
        if match is None or not 0 < (amount := int(match[1]) * _MILLISECONDS[match[2]]) <= _YEAR:
            self.fail(f"{value!r} is not a time such as 90s, 15m, 2h or 3d (at most a year)")
        return timedelta(milliseconds=amount)


_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_YEAR = 366 * 86_400_000

DURATION = _Duration()


class Ids(tuple[int, ...]):  # noqa: SLOT001 - a tuple takes no slots beside its items
    """Task ids in the order they were given, each once; `many` if a list was asked for."""

    many: bool = True


def task_ids(command: F) -> F:
    """Add the argument of one or more task ids, `-` for ids on stdin."""
    return click.argument(
        "ids",
        metavar="TASK...",
        nargs=-1,
        required=True,
        callback=_expand,
        shell_complete=completing.tasks,
    )(command)


def ids_and_names(what: str) -> Callable[[F], F]:
    """Add the argument TASK… NAME…: numbers (and `-`) are tasks, the rest are names."""
    complete = completing.users if what == "USER" else completing.tags

    def split(
        ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
    ) -> tuple[Ids, tuple[str, ...]]:
        ids = [value for value in values if value == "-" or re.fullmatch(r"#?[0-9]+", value)]
        names = tuple(dict.fromkeys(value for value in values if value not in ids))
        if not ids:
            raise click.UsageError(f"name a task: TASK... {what}", ctx)
        return _expand(ctx, param, tuple(ids)), names

    def complete_both(ctx: click.Context, param: click.Parameter, text: str) -> list[Any]:
        return completing.tasks(ctx, param, text) + complete(ctx, param, text)

    return click.argument(
        "ids_and_names",
        metavar=f"TASK... [{what}]...",
        nargs=-1,
        required=True,
        callback=split,
        shell_complete=complete_both,
    )


def waiting(command: F) -> F:
    """Add `--nowait` and `--lock-timeout`, for commands that lock tasks."""
    command = click.option(
        "--lock-timeout",
        metavar="TIME",
        expose_value=False,
        callback=_remember_flag("lock_timeout"),
        help="How long to wait for somebody else's lock, such as 500ms or 5s.",
    )(command)
    return click.option(
        "--nowait", is_flag=True, help="Fail at once if somebody else holds a task."
    )(command)


def paging(default: int) -> Callable[[F], F]:
    """Add `--limit`, `--skip` and `--after`."""

    def add(command: F) -> F:
        command = click.option(
            "--after", metavar="CURSOR", help="Go on behind the page that printed this cursor."
        )(command)
        command = click.option(
            "--skip", type=COUNT, metavar="N", default=0, help="Leave out the first N."
        )(command)
        return click.option(
            "--limit",
            type=COUNT,
            metavar="N",
            default=default,
            show_default=True,
            help="Show at most N; 0 shows all.",
        )(command)

    return add


def add_all(command: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add options to a command, which its help shows in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def _expand(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> Ids:
    if ctx.resilient_parsing:
        return Ids()
    found: list[int] = []
    for value in values:
        if value == "-":
            # The first word of each line, so that the lines of `task list` do as they are.
            lines = App.of(ctx).read_stdin().splitlines()
            found += [TASK_ID.convert(line.split()[0], None, ctx) for line in lines if line.strip()]
        else:
            found.append(TASK_ID.convert(value, None, ctx))
    ids = Ids(dict.fromkeys(found))
    ids.many = len(values) > 1 or "-" in values
    return ids
