"""Settings: every value Concord can be told, where it came from, and what it may be.

The layers, strongest first: command-line flags, `CONCORD_*` in the environment, `.env` in the
working directory (only its `CONCORD_*` keys), `.concord.toml` in the working directory or above
it (only what a foreign checkout may decide: default project, view and output), `config.toml` in the
user's configuration directory, defaults.

These are plain dataclasses because they are read before every command: a validation framework
would cost more than half of what importing the database driver costs, and has no notion of
provenance.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from concord.dotenv import Dotenv

PREFIX = "CONCORD_"
PROJECT_FILE = ".concord.toml"
ALIASES = "alias"
"""The table of the user's own file that holds no setting, but aliases."""

OUTPUTS = ("auto", "json", "jsonl", "csv", "quiet")
LOG_LEVELS = ("debug", "info", "warning", "error")
TASK_VARIABLES = frozenset(
    {f"CONCORD_TASK{part}" for part in ("", "_ID", "_UID", "_TITLE", "_PROJECT")}
    | {"CONCORD_CLAIM_EPOCH", "CONCORD_CLAIM_EXPIRES_AT"}
)
"""What `agent run` tells the command that it runs: no settings, but nothing unknown either."""
# libpq hides nothing in its messages: take a password out before a URL or a DSN is shown. Where the
# end of a password is not certain, rather too much is hidden than too little.
_URL_PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*(?=@)", re.DOTALL)
_PASSWORD = re.compile(
    r"([?&]\w*password=)[^&]*|(password\s*=\s*)(?:'(?:[^'\\]|\\.)*(?:'|$)|(?!')(?:[^\s\\]|\\.)+)",
    re.DOTALL | re.IGNORECASE,
)
_DURATION = re.compile(r"(\d{1,9})\s*(ms|s|min|h)?")
_UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}


def hide_password(url: str) -> str:
    """Return a connection string that is safe to show."""
    return _PASSWORD.sub(r"\1\2***", _URL_PASSWORD.sub(r"\1:***", url))


def _milliseconds(value: object) -> int:
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a duration such as 500ms, 10s or 2min (a bare number: milliseconds)")
    total = int(match[1]) * _UNITS[match[2] or "ms"]
    if total > 2_147_483_647:
        raise ValueError("a duration of at most 24 days")
    return total


def _count(value: object) -> int:
    if not re.fullmatch(r"\d{1,3}", str(value).strip()):
        raise ValueError("a whole number from 0 to 999")
    return int(str(value))


def _weight(value: object) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", str(value).strip()):
        raise ValueError("a number from 0 to 9999, such as 6 or 2.5")
    return float(str(value))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("some text")
    return value.strip()


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser().absolute()


def _url(value: object) -> str:
    text = _text(value)
    if not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
        raise ValueError("a PostgreSQL URL such as postgresql://user@host/database")
    if re.split("[/?]", text.partition("://")[2])[0].count("@") > 1:
        # libpq would take the rest of the password for the host's name, and ask the network for it
        raise ValueError("a PostgreSQL URL with %40 for each @ in the password")
    return text


def _one_of(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if str(value).lower() not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value).lower()

    return parse


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how its text becomes a value, its default as text, and what it means."""

    parse: Callable[[object], Any]
    default: str | None
    about: str
    project_file: bool = False
    """Whether `.concord.toml` may set it."""
    dotenv: bool = True
    """Whether `.env` may set it: it may come with a checkout, and say where files are written."""


SETTINGS: dict[str, Setting] = {
    "database_url": Setting(_url, None, "PostgreSQL to use; unset: the embedded server"),
    "replica_url": Setting(_url, None, "standby of it to read from with `--replica`"),
    "user": Setting(_text, None, "who you are; unset: your login name"),
    "data_dir": Setting(_path, None, "directory of the embedded server", dotenv=False),
    "project": Setting(_text, None, "default project of `task add`", project_file=True),
    "view": Setting(_text, None, "default view of `task list`", project_file=True),
    "output": Setting(_one_of(*OUTPUTS), "auto", "auto, json, jsonl, csv, quiet", True),
    "log_level": Setting(_one_of(*LOG_LEVELS), "warning", "debug, info, warning, error"),
    "log_file": Setting(_path, None, "where the JSON log is written", dotenv=False),
    "connect_timeout": Setting(_milliseconds, "10s", "longest wait for a connection"),
    "lock_timeout": Setting(_milliseconds, "10s", "longest wait for a lock"),
    "statement_timeout": Setting(_milliseconds, "30s", "longest run of one statement"),
    "idle_in_transaction_session_timeout": Setting(
        _milliseconds, "15s", "longest silence inside a transaction"
    ),
    "retries": Setting(_count, "10", "how often a serialization failure or deadlock is retried"),
    "urgency_priority": Setting(_weight, "6", "urgency of a task of priority urgent"),
    "urgency_due": Setting(_weight, "12", "urgency of a task that is overdue by a week"),
    "urgency_age": Setting(_weight, "2", "urgency of a task without due date that is a year old"),
    "urgency_blocking": Setting(_weight, "8", "urgency of a task that very many wait for"),
    "urgency_in_progress": Setting(_weight, "4", "urgency of a task that you have in progress"),
}
"""Setting name → what it is. `CONCORD_` + the name in capitals is its environment variable."""


_URLS = tuple(name for name, setting in SETTINGS.items() if setting.parse is _url)
"""Settings that may hold a password."""


@dataclass(frozen=True)
class Settings:
    """The settings of one command, and for each the layer it came from."""

    database_url: str | None
    replica_url: str | None
    user: str
    data_dir: Path
    project: str | None
    view: str | None
    output: str
    log_level: str
    log_file: Path | None
    connect_timeout: int
    lock_timeout: int
    statement_timeout: int
    idle_in_transaction_session_timeout: int
    retries: int
    urgency_priority: float
    urgency_due: float
    urgency_age: float
    urgency_blocking: float
    urgency_in_progress: float
    provenance: Mapping[str, str]
    dotenv: Dotenv | None = None
    """The `.env` of the working directory, followed or not."""
    own_urls: tuple[str, ...] = ()
    """The databases that the user's own file names, whatever `.env` and the environment say."""

    @cached_property
    def foreign_urls(self) -> tuple[str, ...]:
        """The databases in use because `.env` names them."""
        if self.dotenv is None:
            return ()
        source = str(self.dotenv.path)
        decided = (name for name in _URLS if self.provenance[name] == _told_by(source, name))
        return tuple(getattr(self, name) for name in decided)

    @cached_property
    def embedded(self) -> bool:
        """Whether the embedded server is meant."""
        return self.database_url is None

    @cached_property
    def database_name(self) -> str:
        """Which database is meant, without a password: by this, a log tells it from others."""
        return str(self.data_dir) if self.database_url is None else hide_password(self.database_url)

    @cached_property
    def log_path(self) -> Path:
        """Where the log is written: `log_file`, else in the platform's directory for logs."""
        return self.log_file or _platform_directory("user_log_path") / "concord.log"

    def shown(self) -> Iterator[tuple[str, object, str]]:
        """Yield (name, value fit to be shown, where it came from)."""
        for field in fields(self):
            if field.name not in SETTINGS:
                continue
            value = getattr(self, field.name)
            if field.name in _URLS and value is not None:
                value = hide_password(value)
            elif field.name == "log_file":
                value = self.log_path
            yield (
                field.name,
                str(value) if isinstance(value, Path) else value,
                self.provenance[field.name],
            )


def load(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Return the settings of this command.

    Raises `Usage` naming the setting and where it came from if a value is no good, or a file
    cannot be read.
    """
    environment = os.environ if environment is None else environment
    directory = _working_directory() if directory is None else directory
    raw: dict[str, tuple[object, str]] = {}
    own = _from_user_file(environment)
    dotenv = _dotenv(directory)
    for layer in (
        own,
        _from_project_file(directory),
        _from_dotenv(dotenv),
        _from_environment(environment, "environment"),
        {name: (value, "command line") for name, value in (flags or {}).items()},
    ):
        raw |= layer
    values: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    for name, setting in SETTINGS.items():
        value, source = raw.get(name, (setting.default, "default"))
        provenance[name] = source
        values[name] = None if value is None else _checked(name, setting, value, source)
    if values["user"] is None:
        values["user"] = _login_name()
    if values["data_dir"] is None:
        values["data_dir"] = default_data_dir()
    own_urls = tuple(str(own[name][0]) for name in _URLS if name in own)
    return Settings(**values, provenance=provenance, dotenv=dotenv, own_urls=own_urls)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def config_file(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the user's own `config.toml`."""
    override = (os.environ if environment is None else environment).get("XDG_CONFIG_HOME")
    base = Path(override) / "concord" if override else _platform_directory("user_config_path")
    return base / "config.toml"


def aliases(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the aliases of the user's own file: name → command line.

    Raises `Usage` naming the file if it cannot be read.
    """
    return _user_file(os.environ if environment is None else environment)[1]


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the `CONCORD_*` variables that mean nothing to Concord: likely typing errors."""
    environment = os.environ if environment is None else environment
    known = {variable(name) for name in SETTINGS} | TASK_VARIABLES
    return sorted(key for key in environment if key.startswith(PREFIX) and key not in known)


def state_directory(environment: Mapping[str, str] | None = None) -> Path:
    """Return the directory for what Concord remembers of this user, which need not be there."""
    override = (os.environ if environment is None else environment).get("XDG_STATE_HOME")
    return Path(override) / "concord" if override else _platform_directory("user_state_path")


def default_data_dir() -> Path:
    """Return where the embedded server lives unless told otherwise.

    For root a directory below /var/lib, because the server then runs as a system user that
    cannot look into root's home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/concord")
    return _platform_directory("user_data_path")


def _platform_directory(kind: str) -> Path:
    import platformdirs

    return cast(Path, getattr(platformdirs, kind)("concord", appauthor=False))


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise Usage("the working directory is gone", hint="Go to one that exists: cd") from None


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A bare uid in a container has neither LOGNAME nor an entry in the password database.
        raise Usage(
            "cannot tell who you are: this system knows no login name",
            hint="Say it with --as NAME or CONCORD_USER=NAME.",
        ) from None


def _checked(name: str, setting: Setting, value: object, source: str) -> Any:
    try:
        return setting.parse(value)
    except ValueError as error:
        shown = repr(hide_password(str(value)))
        if name in _URLS and "://" not in str(value):
            shown = "what it says"  # it may be, or hold, a password, and nothing tells where
        raise Usage(
            f"{name} = {shown} ({source}) is not {error}",
            hint=f"{name}: {setting.about}.",
            setting=name,
            source=source,
        ) from None


def _from_environment(environment: Mapping[str, str], source: str) -> dict[str, tuple[object, str]]:
    return {
        name: (value, _told_by(source, name))
        for name in SETTINGS
        if (value := environment.get(variable(name)))
    }


def _dotenv(directory: Path) -> Dotenv | None:
    from concord import dotenv

    try:
        return dotenv.read(directory, PREFIX)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(directory / ".env", error) from None


def _from_dotenv(dotenv: Dotenv | None) -> dict[str, tuple[object, str]]:
    if dotenv is None or dotenv.distrust is not None:
        return {}
    for name, setting in SETTINGS.items():
        if not setting.dotenv and variable(name) in dotenv.values:
            raise Usage(
                f"{dotenv.path}: {variable(name)} cannot be set here, for a foreign .env"
                " could have files of yours written to",
                hint=f"Take it out; set it in the environment, or {name} in {config_file()}.",
                setting=name,
                source=str(dotenv.path),
            )
    return _from_environment(dotenv.values, str(dotenv.path))


def _told_by(source: str, name: str) -> str:
    return f"{source} {variable(name)}"


def _from_project_file(directory: Path) -> dict[str, tuple[object, str]]:
    for folder in (directory, *directory.parents):
        path = folder / PROJECT_FILE
        if path.is_file():
            return _from_toml(path, {n for n, s in SETTINGS.items() if s.project_file})
    return {}


def _from_user_file(environment: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    return _user_file(environment)[0]


def _user_file(
    environment: Mapping[str, str],
) -> tuple[dict[str, tuple[object, str]], dict[str, str]]:
    """Return the settings and the aliases of the user's own file."""
    path = config_file(environment)
    layer = _from_toml(path, {*SETTINGS, ALIASES})
    table, _ = layer.pop(ALIASES, ({}, ""))
    given = cast("dict[str, object]", table) if isinstance(table, dict) else {"": table}
    known = {name: command for name, command in given.items() if name and isinstance(command, str)}
    if known.keys() != given.keys():
        raise Usage(
            f"{path}: {ALIASES} is not a table of names and command lines",
            hint=f"Write below [{ALIASES}], for example: mine = 'task list --assignee me'",
            setting=ALIASES,
            source=str(path),
        )
    return layer, known


def _from_toml(path: Path, allowed: set[str]) -> dict[str, tuple[object, str]]:
    text = _read(path)
    if not text:
        return {}
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"{path} is not valid TOML: {error}", hint="Mend the file.") from None
    for name in table:
        if name not in allowed:
            raise Usage(
                f"{path}: {name!r} cannot be set here",
                hint=f"It may set {', '.join(sorted(allowed))}.",
                setting=name,
                source=str(path),
            )
    return {name: (value, str(path)) for name, value in table.items()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> Usage:
    return Usage(f"cannot read {path}: {error}", hint="Mend or remove the file.")
