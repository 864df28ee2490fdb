"""`concord db start`, `stop`, `status`, `url`: the server of the database in use."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from commands import Here, on_terminal, plain
from conftest import TIMEOUT, CommandLine, open_directory, settings_for
from psycopg.conninfo import conninfo_to_dict

from concord import embedded, libpq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data directory for a server that does not exist yet; it is stopped at the end."""
    above = open_directory()
    made = above / "data"
    try:
        yield made
    finally:
        embedded.stop(made)
        shutil.rmtree(above)


@pytest.fixture
def own(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    """The command line on an embedded server."""
    here = Here(None, tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("CONCORD_DATA_DIR", str(data_dir))
    return here


@pytest.fixture
def by_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """The command line on a server that nobody can reach, with a password."""
    url = "postgresql://ana:s3cret@127.0.0.1:1/work?sslmode=disable"
    return Here(url, tmp_path, monkeypatch, capsys)


def test_start_and_stop_tell_what_they_found(own: Here, data_dir: Path) -> None:
    embedded.stop(data_dir)
    down = own.ok("db", "status")
    assert (down["embedded"], down["running"], down["pid"]) == (True, False, None)

    started = own.ok("db", "start")
    assert started["started"] is True
    assert own.ok("db", "start") == {**started, "started": False}
    assert f"runs already: process {started['pid']}" in own("db", "start").out

    up = own.ok("db", "status")
    assert (up["running"], up["pid"]) == (True, started["pid"])
    assert up["installed_version"].partition(".")[0] == up["data_version"]
    assert up["data"] == str(data_dir / f"postgresql-{up['data_version']}")
    assert up["socket_dir"] == up["host"] == started["socket_dir"]
    assert (up["database"], up["user"]) == ("concord", "concord_service")
    assert up["log"].startswith(str(data_dir))
    assert up["data_bytes"] > 1_000_000

    said = own("db", "stop").out
    assert said == f"stopped process {up['pid']}; the next command that needs it starts it again\n"
    assert own.ok("db", "stop") == {"stopped": False, "pid": None, "data_dir": str(data_dir)}
    assert "no server runs" in own("db", "stop").out
    changing = {"data_bytes": None, "log": None}
    made = {name: up[name] for name in ("data", "data_version")}
    assert own.ok("db", "status") | changing == down | made | changing


def test_status_and_stop_make_nothing(own: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = own.home / "nowhere"
    monkeypatch.setenv("CONCORD_DATA_DIR", str(nowhere))
    told = own.ok("db", "status")
    assert (told["running"], told["data"], told["data_bytes"]) == (False, None, None)
    assert own.ok("db", "stop")["stopped"] is False
    assert not nowhere.exists()


def test_status_is_a_page_on_a_terminal_and_lines_on_a_pipe(
    own: Here, data_dir: Path, tmp_path: Path
) -> None:
    concord = CommandLine(tmp_path, CONCORD_DATA_DIR=str(data_dir))
    shown = plain(on_terminal(concord, "db", "status", columns=200).out)
    assert f"data_dir           {data_dir}\n" in shown
    assert f"data_dir\t{data_dir}\n" in own("db", "status").out


def test_other_programs_get_in_by_the_url_of_a_server_that_was_down(
    own: Here, data_dir: Path
) -> None:
    embedded.stop(data_dir)
    result = own("db", "url")
    assert result.err == ""
    command = [libpq.program("psql"), result.out.strip(), "-XAtc", "SELECT current_user, 1"]
    told = subprocess.run(command, stdout=subprocess.PIPE, timeout=TIMEOUT, text=True, check=True)
    assert told.stdout == "concord_service|1\n"
    assert own.ok("db", "url") == {"url": result.out.strip(), "password": None}


def test_psql_starts_a_server_that_is_down(data_dir: Path, tmp_path: Path) -> None:
    embedded.stop(data_dir)
    concord = CommandLine(tmp_path, CONCORD_DATA_DIR=str(data_dir))
    assert concord("db", "psql", "-XAtc", "SELECT current_database()").out == "concord\n"


# A server by URL


def test_the_status_of_a_server_by_url_is_what_it_says_of_itself(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    told = here.ok("db", "status")
    assert (told["embedded"], told["running"], told["error"]) == (False, True, None)
    assert told["database"] == conninfo_to_dict(url)["dbname"]
    assert (told["host"], told["user"]) == (server.parameters["host"], "concord")
    assert told["server_version"][0].isdigit()
    assert told["pid"] is told["data_dir"] is told["data_bytes"] is None


def test_a_server_that_does_not_answer_is_told_and_not_started(by_url: Here) -> None:
    told = by_url.ok("db", "status")
    assert (told["running"], told["server_version"]) == (False, None)
    assert told["error"].startswith("cannot connect to the database: ")
    where = [told[name] for name in ("host", "port", "database", "user")]
    assert where == ["127.0.0.1", "1", "work", "ana"]
    assert not (by_url.home / "data").exists()


@pytest.mark.parametrize("verb", ["start", "stop", "upgrade"])
def test_somebody_elses_server_is_left_to_whoever_runs_it(by_url: Here, verb: str) -> None:
    told = by_url.refused("db", verb, code=2)
    assert f"not Concord's to {verb}" in told
    assert "environment CONCORD_DATABASE_URL" in told
    assert "postgresql://ana@127.0.0.1:1/work" in told
    assert "s3cret" not in told


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--quiet"], ["--fields", "url"]])
def test_a_password_is_left_out_of_the_url_and_found_by_its_source(
    by_url: Here, form: list[str]
) -> None:
    result = by_url("db", "url", *form)
    assert result.code == 0
    assert "postgresql://ana@127.0.0.1:1/work?sslmode=disable" in result.out
    assert "s3cret" not in result.out + result.err
    if form != ["--quiet"]:
        assert "database_url (environment CONCORD_DATABASE_URL)" in result.err


@pytest.mark.parametrize("given", ["postgresql://ana@h:x y", "host=h nonsense=1", "postgresql://%"])
def test_what_is_no_connection_string_is_said_to_be_none(
    by_url: Here, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", given)
    for command in ("url", "status", "stop"):
        assert "cannot be understood" in by_url.refused("db", command, code=2)


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("dbname=concord", "postgresql:///concord"),
        ("host=h user='a b' dbname=c/d", "postgresql://a%20b@h/c%2Fd"),
        ("host=::1 port=5433", "postgresql://[::1]:5433/"),
        ("host=a,b port=1,2 target_session_attrs=any", "postgresql://a:1,b:2/?{any}"),
        ("host=a,b port=7", "postgresql://a:7,b:7/?target_session_attrs=read-write"),
        ("host='/var/run/a b' port=5433", "postgresql:///?host=%2Fvar%2Frun%2Fa%20b&port=5433"),
        ("host=/run,h target_session_attrs=any", "postgresql:///?host=%2Frun%2Ch&{any}"),
        ("service=work user=ana", "postgresql://ana@/?service=work"),
        ("host=h password=s3cret sslpassword=s3cret", "postgresql://h/"),
        ("postgresql://ana:s3cret@h:1/d?sslmode=require", "postgresql://ana@h:1/d?sslmode=require"),
    ],
)
def test_a_connection_string_as_a_url(string: str, expected: str) -> None:
    told, secret = libpq.parts(settings_for(string))
    assert libpq.url(told) == expected.replace("{any}", "target_session_attrs=any")
    assert secret == ("s3cret" in string)
    # It says the same, but that each of several hosts has a port of its own.
    if "port=7" not in string:
        assert conninfo_to_dict(libpq.url(told)) == told
