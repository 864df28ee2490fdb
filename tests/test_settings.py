"""Settings: every layer, which one wins, and what is never shown."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest
from commands import Here
from hypothesis import given
from hypothesis import strategies as st

from concord import settings as module
from concord.errors import Usage
from concord.settings import SETTINGS, Settings, hide_password, load, unknown_variables, variable

SECRET = "sesame"


def load_in(
    home: Path,
    flags: dict[str, str] | None = None,
    folder: str = ".",
    *,
    environment: dict[str, str] | None = None,
) -> Settings:
    """Return the settings of somebody at home, in a folder below it."""
    (home / folder).mkdir(parents=True, exist_ok=True)
    known = {"XDG_CONFIG_HOME": str(home / "config")} | (environment or {})
    return load(flags, known, home / folder)


def user_file(home: Path, text: str) -> Path:
    path = home / "config" / "concord" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_defaults(tmp_path: Path) -> None:
    found = load_in(tmp_path)
    assert (found.lock_timeout, found.statement_timeout, found.connect_timeout) == (
        10_000,
        30_000,
        10_000,
    )
    assert found.idle_in_transaction_session_timeout == 15_000
    assert (found.output, found.log_level, found.retries) == ("auto", "warning", 10)
    assert (found.database_url, found.project) == (None, None)
    assert found.embedded
    assert set(found.provenance.values()) == {"default"}
    assert set(found.provenance) == set(SETTINGS)


def test_the_layers_from_the_weakest_to_the_strongest(tmp_path: Path) -> None:
    def lock_timeout(
        environment: dict[str, str] | None = None, flags: dict[str, str] | None = None
    ) -> tuple[int, str]:
        found = load_in(tmp_path, flags, environment=environment)
        return found.lock_timeout, found.provenance["lock_timeout"]

    assert lock_timeout() == (10_000, "default")
    path = user_file(tmp_path, "lock_timeout = '1s'\n")
    assert lock_timeout() == (1_000, str(path))
    (tmp_path / ".env").write_text("CONCORD_LOCK_TIMEOUT=2s\n")
    assert lock_timeout() == (2_000, f"{tmp_path / '.env'} CONCORD_LOCK_TIMEOUT")
    environment = {"CONCORD_LOCK_TIMEOUT": "3s"}
    assert lock_timeout(environment) == (3_000, "environment CONCORD_LOCK_TIMEOUT")
    assert lock_timeout(environment, {"lock_timeout": "4s"}) == (4_000, "command line")


def test_a_project_file_is_between_the_user_s_own_and_env(tmp_path: Path) -> None:
    user_file(tmp_path, "project = 'MINE'\noutput = 'csv'\n")
    assert load_in(tmp_path).project == "MINE"
    path = tmp_path / ".concord.toml"
    path.write_text("project = 'API'\n")
    for folder in (".", "a", "a/b"):
        found = load_in(tmp_path, folder=folder)
        assert (found.project, found.provenance["project"]) == ("API", str(path))
    assert found.output == "csv", "what it does not set comes from below"
    (tmp_path / "a" / ".concord.toml").write_text("project = 'WEB'\n")
    assert load_in(tmp_path, folder="a/b").project == "WEB", "the nearest counts"
    assert load_in(tmp_path).project == "API"
    (tmp_path / ".env").write_text("CONCORD_PROJECT=ENV\n")
    assert load_in(tmp_path).project == "ENV"
    assert load_in(tmp_path, folder="a").project == "WEB", "`.env` counts where you are only"


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"project", "view", "output"}))
def test_a_foreign_checkout_redirects_nobody(tmp_path: Path, name: str) -> None:
    path = tmp_path / ".concord.toml"
    path.write_text(f"{name} = 'x'\n")
    with pytest.raises(Usage) as caught:
        load_in(tmp_path, folder="below")
    assert caught.value.message == f"{path}: '{name}' cannot be set here"
    assert caught.value.hint == "It may set output, project, view."


def test_env_gives_only_its_own_keys(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "DATABASE_URL=postgresql://other@example.org/app\nUSER=other\nPGHOST=example.org\n"
        "export CONCORD_USER='bo'  # a comment\nCONCORD_PROJECT=$HOME\n"
    )
    found = load_in(tmp_path, environment={"DATABASE_URL": "postgresql://other@example.org/app"})
    assert (found.database_url, found.user, found.project) == (None, "bo", "$HOME")
    assert "other" not in str(list(found.shown()))


def test_env_may_be_another_program_s(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"# caf\xe9\nDATABASE_URL=postgresql://other/app\n")
    assert load_in(tmp_path).database_url is None
    (tmp_path / "venv" / ".env").mkdir(parents=True)
    assert load_in(tmp_path, folder="venv").database_url is None, "a directory by that name"
    (tmp_path / ".env").write_bytes(b"CONCORD_USER=caf\xe9\n")
    with pytest.raises(Usage, match=r"cannot read .*\.env"):
        load_in(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    user_file(tmp_path, "").chmod(0)
    with pytest.raises(Usage, match="cannot read"):
        load_in(tmp_path)


def test_a_variable_that_is_empty_is_not_set(tmp_path: Path) -> None:
    assert (
        load_in(tmp_path, environment={"CONCORD_DATABASE_URL": "", "CONCORD_RETRIES": ""}).retries
        == 10
    )


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("lock_timeout", "soon", "a duration such as 500ms, 10s or 2min"),
        ("lock_timeout", "-1", "a duration"),
        ("lock_timeout", "1.5s", "a duration"),
        ("statement_timeout", "999h", "at most 24 days"),
        ("retries", "1000", "a whole number from 0 to 999"),
        ("retries", "ten", "a whole number"),
        ("output", "yaml", "one of auto, json, jsonl, csv, quiet"),
        ("log_level", "loud", "one of debug, info, warning, error"),
        ("user", "   ", "some text"),
        ("data_dir", " ", "some text"),
        ("database_url", "mysql://x/y", "a PostgreSQL URL such as"),
        ("database_url", "example.org", "a PostgreSQL URL such as"),
    ],
)
def test_a_bad_value_is_named_with_its_source(
    tmp_path: Path, name: str, value: str, wanted: str
) -> None:
    with pytest.raises(Usage) as caught:
        load_in(tmp_path, environment={variable(name): value})
    assert wanted in caught.value.message
    assert caught.value.message.startswith(f"{name} = ")
    assert f"(environment {variable(name)})" in caught.value.message
    assert caught.value.details == {"setting": name, "source": f"environment {variable(name)}"}
    assert caught.value.hint == f"{name}: {SETTINGS[name].about}."

    path = user_file(tmp_path, f"{name} = '{value}'\n")
    with pytest.raises(Usage) as caught:
        load_in(tmp_path)
    assert f"({path})" in caught.value.message


@pytest.mark.parametrize("text", ["user = 5", "retries = true", "output = []", "project = {}"])
def test_a_value_of_the_wrong_type(tmp_path: Path, text: str) -> None:
    user_file(tmp_path, text)
    with pytest.raises(Usage, match=f"^{text.split()[0]} = "):
        load_in(tmp_path)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0", 0), ("250", 250), ("250ms", 250), ("2 s", 2_000), ("3min", 180_000), ("1h", 3_600_000)],
)
def test_durations(tmp_path: Path, text: str, milliseconds: int) -> None:
    assert (
        load_in(tmp_path, environment={"CONCORD_LOCK_TIMEOUT": text}).lock_timeout == milliseconds
    )


def test_toml_that_is_none(tmp_path: Path) -> None:
    path = user_file(tmp_path, "output = \n")
    with pytest.raises(Usage, match="is not valid TOML") as caught:
        load_in(tmp_path)
    assert str(path) in caught.value.message
    path.write_text("colour = 'red'\n")
    with pytest.raises(Usage, match="'colour' cannot be set here"):
        load_in(tmp_path)
    path.write_bytes(b"user = '\xff'\n")
    with pytest.raises(Usage, match="cannot read"):
        load_in(tmp_path)


def test_paths_are_of_the_user_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = load_in(
        tmp_path, environment={"CONCORD_DATA_DIR": "~/data", "CONCORD_LOG_FILE": "log/concord.log"}
    )
    assert found.data_dir == tmp_path / "data"
    assert found.log_path == tmp_path / "log" / "concord.log"


def test_the_embedded_server_has_a_place_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load_in(tmp_path).data_dir == Path("/var/lib/concord")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert load_in(tmp_path).data_dir == tmp_path / "share" / "concord"


def test_the_config_file_is_where_the_platform_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module.config_file({}).is_relative_to(tmp_path)
    assert module.config_file({}).parts[-2:] == ("concord", "config.toml")


def test_somebody_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    with pytest.raises(Usage, match="cannot tell who you are") as caught:
        load_in(tmp_path)
    assert caught.value.hint == "Say it with --as NAME or CONCORD_USER=NAME."
    assert load_in(tmp_path, {"user": "bo"}).user == "bo"


def test_a_variable_that_means_nothing_is_a_likely_slip() -> None:
    environment = {"CONCORD_DATABSE_URL": "x", "CONCORD_USER": "y", "OTHER": "z"}
    assert unknown_variables(environment) == ["CONCORD_DATABSE_URL"]


def test_what_is_shown_has_every_setting_once(tmp_path: Path) -> None:
    rows = list(load_in(tmp_path, environment={"CONCORD_USER": "bo"}).shown())
    assert [row[0] for row in rows] == list(SETTINGS)
    assert [field.name for field in fields(Settings) if field.name in SETTINGS] == list(SETTINGS)
    assert ("user", "bo", "environment CONCORD_USER") in rows
    assert all(isinstance(row[1], str | int | float | None) for row in rows)


# Passwords

URLS = [
    f"postgresql://ana:{SECRET}@example.org:5432/x",
    f"postgres://ana:{SECRET}@/x?host=/run",
    f"postgresql://:{SECRET}@example.org/x",
    f"postgresql://ana:a/{SECRET}@example.org/x",
    f"postgresql://ana:a?{SECRET}@example.org/x",
    f"postgresql://ana:a#{SECRET}@example.org/x",
    f"postgresql://ana:a:{SECRET}@example.org/x",
    f"postgresql://ana:a@{SECRET}@example.org/x",
    f"postgresql://ana:{SECRET} {SECRET}@example.org/x",
    f"postgresql://example.org/x?user=ana&password={SECRET}&sslmode=require",
    f"postgresql://example.org/x?password={SECRET}",
    f"postgresql://example.org/x?sslpassword={SECRET}%20{SECRET}",
    f"host=example.org password={SECRET} dbname=x",
    f"host=example.org password = '{SECRET}' dbname=x",
    f"password='a {SECRET}' host=example.org",
    f"password='a\\' {SECRET}' host=example.org",
    f"password=a\\ {SECRET} host=example.org",
    f"password=a'{SECRET} host=example.org",
    f"password=a&{SECRET} host=example.org",
    f"password='{SECRET}",
    f"sslpassword={SECRET} host=example.org",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_hidden_wherever_it_stands(url: str) -> None:
    shown = hide_password(url)
    assert SECRET not in shown
    assert "***" in shown
    if not url.endswith(f"'{SECRET}"):
        assert "example.org" in shown or "/run" in shown
    assert SECRET not in hide_password(f"cannot connect to {url}: no such host")


@given(st.text(st.characters(codec="ascii", exclude_characters="@\x00"), min_size=1))
def test_any_password_in_a_url_is_hidden(password: str) -> None:
    shown = hide_password(f"postgresql://ana:{password}@example.org/x")
    assert shown == "postgresql://ana:***@example.org/x"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana@example.org:5432/x?sslmode=require",
        "postgresql:///x",
        "host=example.org dbname=x user=ana passfile=/home/ana/.pgpass",
        'connection to server at "example.org", port 5432 failed: role "a@b" does not exist',
    ],
)
def test_nothing_else_is_hidden(url: str) -> None:
    assert hide_password(url) == url


@pytest.mark.parametrize("url", URLS)
def test_no_command_prints_a_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
) -> None:
    here = Here(None, tmp_path, monkeypatch, capsys)
    # Nobody listens there, and no name needs to be looked up.
    local = url.replace("example.org:5432", "127.0.0.1:1").replace("example.org", "127.0.0.1:1")
    if "host=127" in local:
        local = local.replace("127.0.0.1:1", "127.0.0.1 port=1")
    monkeypatch.setenv("CONCORD_DATABASE_URL", local)
    monkeypatch.setenv("CONCORD_LOG_LEVEL", "debug")
    for command in ("config", "doctor", "task list", "init"):
        for form in ([], ["--json"], ["-v"]):
            result = here(*command.split(), *form)
            assert result.code in (0, 2, 7), (command, result)
            assert SECRET not in result.out + result.err, command
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert SECRET not in logs


@pytest.mark.parametrize(
    "url", [f"ana:{SECRET}@example.org/x", f"mysql://ana:{SECRET}@h/x", SECRET]
)
def test_a_url_that_is_none_is_not_shown_either(tmp_path: Path, url: str) -> None:
    with pytest.raises(Usage, match="database_url") as caught:
        load_in(tmp_path, environment={"CONCORD_DATABASE_URL": url})
    assert SECRET not in str(caught.value.as_json())


def test_config_shows_each_value_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Here(None, tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("CONCORD_DATABASE_URL", f"postgresql://ana:{SECRET}@example.org/x")
    monkeypatch.setenv("CONCORD_OTPUT", "json")
    (tmp_path / ".concord.toml").write_text("project = 'API'\n")
    result = here("config", "--as", "bo", "--json")
    rows = {row["name"]: (row["value"], row["source"]) for row in result.json}
    assert list(rows) == list(SETTINGS)
    assert rows["database_url"] == (
        "postgresql://ana:***@example.org/x",
        "environment CONCORD_DATABASE_URL",
    )
    assert rows["user"] == ("bo", "command line")
    assert rows["project"] == ("API", str(tmp_path / ".concord.toml"))
    assert rows["retries"] == (10, "default")
    assert json.loads(result.err)["notice"]["code"] == "unknown_setting"
    assert "CONCORD_OTPUT is set, but is no setting of Concord" in here("config").err
    assert "project\tAPI\t" in here("config").out


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana@example.org:5432/x?colour=red",
        "host=example.org colour=red",
        "postgresql://ana:%zz@example.org/x",
        "postgresql://example.org/\udcff",
    ],
)
def test_a_url_that_libpq_does_not_take_is_a_bad_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    here = Here(None, tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("CONCORD_DATABASE_URL", url)
    for command in ("task list", "task add x", "init", "demo workflow"):
        told = here.refused(*command.split(), code=2)
        assert "database_url (environment CONCORD_DATABASE_URL) cannot be understood" in told
