"""What to type: command lines made up from the command tree, with stdin and surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

import click
from hostile import SEQUENCES, TEXTS

from concord.cli import root
from concord.cli.options import common_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEFT_OUT: Final = {
    "watch": "waits for changes until it is interrupted",
    "agent run": "runs a command of the user's own and waits for tasks",
    "db": "starts, stops and replaces servers",
    "demo": "starts races and sessions, and writes as many rows as it is told",
}
"""Command, or group of them → why it has tests of its own and no part in this one."""

KEPT: Final = frozenset({"db explain", "demo check"})
"""Commands of such groups of which that is not so."""

OPTIONS_LEFT_OUT: Final = {"--wait": "waits for a task as long as it is told"}

FORMATS: Final = ("jsonl", "spec-kit", "taskwarrior", "todo-txt", "github", "csv")
"""Formats of which there are files to begin with."""

_MOSTLY: Final = 0.6
"""How many values are of the kind that is asked for."""

_IDS = (*map(str, range(1, 20)), "#3", "99999", "-")
_USERS = ("ana", "bo", "BO", "me", "none", "nobody", "\u202ebidi")
_TAGS = ("bug", "BUG", "ui", "\u202ebidi")
_WORDS: Final[dict[str, Sequence[str]]] = {
    "id": _IDS,
    "ids": _IDS,
    "ids_and_names": (*_IDS, *_IDS, *_USERS, *_TAGS),
    "key": ("API", "api", "WEB", "none", "NEW"),
    "count": ("0", "1", "3", "100000"),
    "date": ("none", "today", "fri", "+3d", "2030-01-02", "2030-01-02 12:00", "eow"),
    "time": ("90s", "15m", "2h", "1ms"),
    "query": ("status:todo", "tag:bug or due<fri", "not (blocked:yes)", "Task", "priority>=high"),
    "words": ("Task", "said", "task*", '"Task 1"'),
    "user": _USERS,
    "tag": _TAGS,
    "integer": ("0", "1", "2", "52"),
    "fields": ("id", "id,title", "title,title", "comments", "name"),
    "text": ("Task", "hello", "API", "ana", "bug", "mine", "1", "every 2w"),
}
"""Kind of value → some of them."""

_FILES = (
    *(f"{name}.txt" for name in FORMATS),
    *("-", "missing.txt", "missing/x.txt", ".", "out", "random.bin", "link", "con", "../x"),
    *("x" * 300, "\u202etxt.md", "-x", "/dev/null", "/dev/full", "a b.txt", "*"),
)
_ABROAD = frozenset({"/dev/null", "/dev/full"})
"""Paths that are not below the working directory, and take what they are given."""

_HINTS: Final = {
    "user": ("user", "owner", "assignee", "actor", "person", "as_user", "to", "names"),
    "tag": ("tag", "tags"),
    "fields": ("fields",),
    "ids": ("ids", "tasks", "by", "parent"),
    "ids_and_names": ("ids_and_names",),
    "key": ("project", "key"),
    "words": ("search", "words"),
    "query": ("query", "query_words", "where"),
}
"""Kind of value → names of parameters that have it, where their type does not tell."""

_CHARACTERS = (
    "abcABC019 ",
    "'\"\\`$;|&<>(){}[]*?~#!%=+-@,.:/^_",
    "\t\n\r\x01\x07\x08\x0b\x1b\x7f\x80\x85\x9b\x9f",
    "\u00e9\u00df\u0130\u0131\u017f\u1e9e\ufb01\u2028\u202e\u2066\u200d\ufeff\ufffd\u0300",
    "\U0001f469\U0010ffff\u05d0\u0663\u65e5",
    "\udc80\udcff",
)

_SETTINGS: Final[dict[str, Sequence[str]]] = {
    "CONCORD_OUTPUT": ("json", "csv", "quiet", "auto", "yaml"),
    "CONCORD_USER": _USERS,
    "CONCORD_PROJECT": ("API", "nowhere"),
    "CONCORD_VIEW": ("mine", "nothing"),
    "CONCORD_LOCK_TIMEOUT": ("0", "1ms", "soon"),
    "CONCORD_STATEMENT_TIMEOUT": ("1ms", "5s"),
    "CONCORD_RETRIES": ("0", "1000"),
    "CONCORD_LOG_LEVEL": ("debug", "loud"),
    "CONCORD_URGENCY_DUE": ("0", "9999", "-1"),
    "COLUMNS": ("1", "7", "20", "500"),
    "NO_COLOR": ("1",),
    "TERM": ("dumb", "xterm-256color"),
    "TZ": ("Asia/Tokyo", "UTC", "nowhere"),
}


@dataclass(frozen=True)
class Case:
    """A command line, what it finds on stdin and in the environment, and whether at a terminal."""

    number: int
    command: str
    arguments: tuple[str, ...]
    stdin: bytes = b""
    terminal: bool = False
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def as_it_is(self) -> bool:
        """Whether a pipe gets texts exactly as they are: as CSV, or in a format of others."""
        return (
            self.command in ("export", "completion")
            or "--csv" in self.arguments
            or self.environment.get("CONCORD_OUTPUT") == "csv"
            or "_CONCORD_COMPLETE" in self.environment
        )

    @property
    def as_json(self) -> bool:
        """Whether the last word on the output is JSON."""
        flags = [word for word in self.arguments if word in _OUTPUTS]
        return (
            flags == ["--json"]
            and self.command not in ("export", "completion", "help")
            and not {"--version", "--"} & {*self.arguments}
            and not self.terminal
            and "_CONCORD_COMPLETE" not in self.environment
        )

    def __str__(self) -> str:
        words = " ".join(ascii(word)[:200] for word in self.arguments)
        return (
            f"case {self.number}: concord {words} < {self.stdin[:80]!r}"
            f" {dict(self.environment)}{' on a terminal' if self.terminal else ''}"
        )


_OUTPUTS = ("--json", "--jsonl", "--csv", "-q", "--quiet")


class Maker:
    """Makes the cases of a seed. `exports` are files of formats, which are damaged for stdin."""

    def __init__(self, seed: int, exports: Mapping[str, bytes]) -> None:
        self._seed = seed
        self._exports = list(exports.values())
        self._commands = list(commands())

    def case(self, number: int) -> Case:
        """Return a case: of every command in turn, so that none is missed."""
        random = Random(f"{self._seed}/{number}")
        path, command = self._commands[number % len(self._commands)]
        arguments = self._arguments(random, path, command)
        for _ in range(random.choice((0, 0, 0, 1, 2))):
            _damage(random, arguments)
        environment = {
            name: random.choice(values)
            for name, values in _SETTINGS.items()
            if random.random() < 0.04
        }
        terminal = random.random() < 0.5
        if random.random() < 0.03:
            # A shell reads what it is told, which is no terminal.
            environment |= _completing(random, arguments)
            arguments, terminal = [], False
        words = tuple(map(_tame, arguments))
        return Case(number, path, words, self._stdin(random), terminal, environment)

    def _arguments(self, random: Random, path: str, command: click.Command) -> list[str]:
        words: list[str] = []
        positional: list[str] = []
        for param in command.params:
            if isinstance(param, click.Argument):
                most = random.choice((0, 1, 1, 2, 3)) if param.nargs == -1 else 1
                positional += [_value(random, param) for _ in range(most)]
            elif isinstance(param, click.Option) and not OPTIONS_LEFT_OUT.keys() & {*param.opts}:
                often = 0.8 if param.required else 0.04 if param.name in _COMMON else 0.15
                while random.random() < often:
                    words += _option(random, param)
                    often = 0.3 if param.multiple else 0
        if random.random() < 0.2:
            words = [*words, "--", *positional]
        elif random.random() < 0.5:
            words = [*positional, *words]
        else:
            words = [*words, *positional]
        flag = ["--json"] if random.random() < 0.2 else []
        return [*flag, *path.split(), *words]

    def _stdin(self, random: Random) -> bytes:
        match random.randrange(8):
            case 0 | 1 | 2:
                return b""
            case 3:
                return "\n".join(random.choices(_IDS[:-1], k=3)).encode()
            case 4:
                return _text(random).encode("utf-8", "surrogateescape")
            case 5:
                return random.choice(
                    (b"[" * 50_000, b'{"a":' * 20_000, b"\0\xff\xfe", b"- " * 9999)
                )
            case _:
                data = bytearray(random.choice(self._exports))
                for _ in range(random.randrange(6)):
                    at = random.randrange(len(data) + 1)
                    data[at : at + random.randrange(9)] = random.choice(_BYTES)
                return bytes(data)


_BYTES = (b"", b"\0", b"\xff", b"\\ud800", b"\\u0000", b'"', b"{", b"9" * 400, b"\n", b"\x1b[2J")
_COMMON = frozenset(str(param.name) for param in common_options())


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield the commands that cases are made of, groups by themselves too, with their paths."""
    pending: list[tuple[str, click.Command]] = [("", root)]
    while pending:
        path, command = pending.pop()
        out = {path, path.partition(" ")[0]} & LEFT_OUT.keys()
        if not out or path in KEPT:
            yield path, command
        if isinstance(command, click.Group):
            ctx = click.Context(command, info_name=path)
            for name in command.list_commands(ctx):
                found = command.get_command(ctx, name)
                assert found is not None
                pending.append((f"{path} {name}".strip(), found))


def _option(random: Random, param: click.Option) -> list[str]:
    name = random.choice(param.opts)
    if param.is_flag or param.count:
        return [name]
    value = _value(random, param)
    return [f"{name}={value}"] if name.startswith("--") and random.random() < 0.4 else [name, value]


def _value(random: Random, param: click.Parameter) -> str:
    if isinstance(param.type, click.Path) or param.name in ("file", "directory"):
        return random.choice(_FILES)
    if random.random() > _MOSTLY:
        return _text(random)
    if isinstance(param.type, click.Choice):
        return random.choice([str(choice) for choice in param.type.choices])
    by_name = (kind for kind, names in _HINTS.items() if param.name in names)
    kind = next(by_name, param.type.name.partition(" ")[0])
    return random.choice(_WORDS.get(kind, _WORDS["text"]))


def _text(random: Random) -> str:
    match random.randrange(4):
        case 0:
            return random.choice(tuple(SEQUENCES.values()))
        case 1 | 2:
            return random.choice(TEXTS)
        case _:
            pools = random.choices(_CHARACTERS, k=random.choice((1, 1, 2, 4)))
            return "".join(random.choices("".join(pools), k=random.choice((1, 2, 5, 12, 60))))


def _damage(random: Random, arguments: list[str]) -> None:
    at = random.randrange(len(arguments) + 1)
    match random.randrange(5):
        case 0:
            del arguments[at : at + 1]
        case 1:
            arguments.insert(at, _text(random))
        case 2:
            arguments[at:at] = arguments[at : at + 2]
        case 3 if at < len(arguments):
            word = arguments[at]
            arguments[at] = word[: random.randrange(len(word) + 1)]
        case _:
            arguments.insert(at, random.choice(("--", "-", "-h", "--json", "--fields", "-v", "=")))


def _completing(random: Random, arguments: Sequence[str]) -> dict[str, str]:
    shell = random.choice(("bash", "zsh", "fish"))
    words = " ".join(["concord", *arguments])[:10_000]
    return {
        "_CONCORD_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(random.choice((0, 1, 2, 3, len(arguments), 999))),
        "COMP_LINE": words if random.random() < 0.5 else "",
    }


def _tame(word: str) -> str:
    """Return a word that, as a path, stays below the parent of the working directory."""
    head, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if value not in _ABROAD:
        value = value.lstrip("/~")
        value = value if value.count("..") < 2 else value.replace("..", ".")
    return head + equals + value
