"""A `.env` in a directory that is not one's own: what it may do, and what is said of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from commands import Here, on_terminal
from conftest import CommandLine
from psycopg.conninfo import conninfo_to_dict

from concord import dotenv, redirection
from concord.errors import Usage
from concord.settings import load

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 4711
"""A user id that nobody has."""


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """The command line of somebody who has not said which database they use."""
    return Here(None, tmp_path, monkeypatch, capsys)


def written(here: Here, url: str, *more: str) -> Path:
    path = here.home / ".env"
    path.write_text("\n".join([f'CONCORD_DATABASE_URL="{url}"', *more, ""]))
    path.chmod(0o644)
    return path


def with_password(url: str) -> str:
    return f"{url} password=sesame"


def server_in(url: str) -> str:
    return f"{conninfo_to_dict(url)['host']}:5432"


def given_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file somebody else's."""
    if os.geteuid() == 0:
        os.lchown(path, STRANGER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


# Whose it is


@pytest.mark.parametrize("flags", [[], ["--quiet"], ["--json"]], ids=str)
def test_one_of_another_user_is_not_used_and_that_is_said(
    here: Here, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    path = written(here, "host=/nowhere password=sesame", "CONCORD_USER=eve")
    given_away(path, monkeypatch)
    monkeypatch.setenv("CONCORD_DATABASE_URL", "host=127.0.0.1 port=1")
    for _ in range(2):  # each time: it may be missed
        result = here("task", "list", *flags)
        assert result.code == 7
        assert "/nowhere" not in result.err
        assert "sesame" not in result.err
        told = result.err.splitlines()[0]
        if "--json" in flags:
            told = json.loads(told)["notice"]["message"]
        assert told.startswith(f"{path} is not used: it belongs to another user")


@pytest.mark.parametrize(
    ("mode", "used"), [(0o600, True), (0o644, True), (0o664, True), (0o646, False), (0o666, False)]
)
def test_one_that_others_may_write_to_is_not_used(tmp_path: Path, mode: int, used: bool) -> None:
    path = tmp_path / ".env"
    path.write_text("CONCORD_PROJECT=API\n")
    path.chmod(mode)
    found = load({}, {"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path)
    assert found.project == ("API" if used else None)
    assert found.dotenv is not None
    assert found.dotenv.distrust == (None if used else "others may write to it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize("what", ["group", "link", "target"])
def test_a_group_or_a_link_of_others(tmp_path: Path, what: str) -> None:
    path, target = tmp_path / ".env", tmp_path / "target"
    target.write_text("CONCORD_PROJECT=API\n")
    target.chmod(0o664)
    path.symlink_to(target)
    found = dotenv.read(tmp_path, "CONCORD_")
    assert found is not None
    assert found.distrust is None
    match what:
        case "group":
            os.chown(target, -1, STRANGER)
        case "link":
            os.lchown(path, STRANGER, -1)
        case _:
            os.chown(target, STRANGER, -1)
    found = dotenv.read(tmp_path, "CONCORD_")
    assert found is not None
    assert found.distrust is not None


def test_root_may_write_it_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root writes root's files")
    (tmp_path / ".env").write_text("CONCORD_PROJECT=API\n")
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    found = dotenv.read(tmp_path, "CONCORD_")
    assert found is not None
    assert found.distrust is None


def test_one_that_says_nothing_of_concord_is_nobodys_business(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = here.home / ".env"
    path.write_text("DATABASE_URL=postgresql://example.org/x\nCONCORD_USER=\n")
    path.chmod(0o666)
    given_away(path, monkeypatch)
    assert here("config").err == ""


def test_one_that_is_a_pipe_keeps_nobody_waiting(here: Here) -> None:
    os.mkfifo(here.home / ".env")
    assert here("config").code == 0


# What it may say


@pytest.mark.parametrize("name", ["CONCORD_DATA_DIR", "CONCORD_LOG_FILE"])
def test_it_does_not_say_where_files_are_written(here: Here, name: str) -> None:
    # A log with a name of one's choosing in it, appended to what a shell reads, would be run.
    (here.home / ".env").write_text(f"{name}=~/.bashrc\nCONCORD_USER='$(touch owned)'\n")
    told = here.refused("task", "list", code=2)
    assert f".env: {name} cannot be set here" in told
    assert name.removeprefix("CONCORD_").lower() in told
    assert sorted(path.name for path in here.home.iterdir()) == [".env"]
    with pytest.raises(Usage, match="cannot be set here"):
        load({}, {"XDG_CONFIG_HOME": "/nonexistent"}, here.home)


# Where it leads to


def test_another_server_is_told_once_for_each_directory(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(here, with_password(url))
    result = here("task", "list")
    assert result.code == 0
    assert result.err == (
        f"{path} leads to the database server {server_in(url)}, which is not your own; this is told"
        " once; take it out of the file if you do not want to go there\n"
    )
    assert here("task", "list").err == ""
    assert here("task", "add", "x").err == ""
    # Neither another password nor another line makes it another server.
    written(here, f"{url} password=barbar", "CONCORD_RETRIES=3")
    assert here("task", "list").err == ""
    below = here.home / "below"
    below.mkdir()
    (below / ".env").write_text(path.read_text())
    monkeypatch.chdir(below)
    assert f"{below}/.env leads to" in here("task", "list").err
    assert here("task", "list").err == ""
    remembered = here.home / "state" / "concord" / redirection.REMEMBERED
    assert remembered.stat().st_mode & 0o777 == 0o600
    assert len(remembered.read_text().splitlines()) == 2
    assert "sesame" not in remembered.read_text()


def test_a_server_that_has_changed_is_told_again(here: Here, url: str) -> None:
    written(here, url)
    assert "leads to" in here("config").err
    written(here, "postgresql://eve:sesame@127.0.0.1:1,127.0.0.1:2/x")
    told = here("task", "list", "--quiet").err
    assert "leads to the database server 127.0.0.1:1,127.0.0.1:2, which" in told
    assert "sesame" not in told
    written(here, url)
    assert here("config").err == ""


@pytest.mark.parametrize("what", ["environment", "own file", "other database", "no server"])
def test_where_it_leads_nowhere_else_nothing_is_told(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    written(here, url)
    own = here.home / "config" / "concord" / "config.toml"
    own.parent.mkdir(parents=True)
    match what:
        case "environment":
            monkeypatch.setenv("CONCORD_DATABASE_URL", f"{url} connect_timeout=3")
        case "own file":
            own.write_text(f"database_url = {json.dumps(with_password(url))}\n")
        case "other database":
            own.write_text(f"database_url = {json.dumps(url + ' dbname=postgres')}\n")
        case _:
            written(here, "host=x colour=red")
    assert "leads to" not in here("task", "list").err


def test_it_is_told_as_json_too(here: Here, url: str) -> None:
    path = written(here, with_password(url))
    notice = json.loads(here("task", "list", "--json").err)["notice"]
    assert notice["code"] == "dotenv"
    assert notice["details"] == {"file": str(path), "server": server_in(url)}


def test_it_is_told_each_time_where_nothing_can_be_remembered(here: Here, url: str) -> None:
    written(here, url)
    (here.home / "state").write_text("no directory")
    for _ in range(2):
        result = here("task", "list")
        assert result.code == 0
        assert result.err.count("leads to") == 1


def test_a_terminal_is_told_what_it_does_not_obey(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes("CONCORD_DATABASE_URL='host=\x1b[2Jevil\u202e port=1'\n".encode())
    told = on_terminal(CommandLine(tmp_path), "config").out
    assert r"leads to the database server \x1b[2Jevil\u202e:1, which" in told


def test_a_key_pressed_by_chance_calls_no_server_that_nobody_was_told_of(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(here, url)

    def offered() -> str:
        with monkeypatch.context() as patch:
            patch.setenv("_CONCORD_COMPLETE", "bash_complete")
            patch.setenv("COMP_WORDS", "concord user show a")
            patch.setenv("COMP_CWORD", "3")
            return here().out

    assert offered() == "\n"
    assert "leads to" in here("task", "list").err
    assert offered() == "plain,ana\n"
