"""A password of the database is told to the server, and to nobody and nothing else."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString
from urllib.parse import quote

import psycopg
import pytest
from commands import Here, on_terminal
from conftest import CommandLine, Server, finish
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from test_cli_parse import PATHS
from workers import psql

from concord.logs import log_bug
from concord.settings import load

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

RIGHT = "open sesame@/?#%'\\ü"
WRONG = "wrong barbar@/?#%'\\ü"
SECRETS = ("sesame", "barbar")
"""What is in a password however it is written, and in nothing else."""

KEEPER: LiteralString = "CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}"


@pytest.fixture(scope="module")
def keeper(server: Server) -> Iterator[str]:
    """A role that the server lets in with a password only."""
    name = "keeper"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        path = Path(row[0])
        before = path.read_text()
        connection.execute(sql.SQL(KEEPER).format(sql.Identifier(name), sql.Literal(RIGHT)))
        path.write_text(f"local all {name} scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        yield name
        path.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def forms(url: str, keeper: str, password: str) -> dict[str, dict[str, str]]:
    """Return how a database can be named to somebody: form → environment."""
    known = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    where, name = quote(known["host"], safe=""), known["dbname"]
    encoded = quote(password, safe="")
    dsn = make_conninfo("", host=known["host"], dbname=name, user=keeper)
    return {
        "url": {"CONCORD_DATABASE_URL": f"postgresql://{keeper}:{encoded}@{where}/{name}"},
        "query": {
            "CONCORD_DATABASE_URL": f"postgresql:///{name}?host={where}&user={keeper}"
            f"&password={encoded}"
        },
        "dsn": {"CONCORD_DATABASE_URL": make_conninfo(dsn, password=password)},
        "variable": {"CONCORD_DATABASE_URL": dsn, "PGPASSWORD": password},
    }


def assert_untold(told: str, what: object) -> None:
    assert not any(secret in told for secret in SECRETS), (what, told)


COMMANDS = {
    "task add": "hello --project API", "task comment": "1 hello", "task edit": "1 --title y",
    "task move": "1 --project API", "task tag": "1 bug", "task untag": "1 bug",
    "task block": "2 --by 1", "task unblock": "2 --by 1", "task renew": "1 --epoch 1",
    "task purge": "404 --yes", "assign": "1", "search": "hello", "project add": "WEB",
    "project show": "API", "project edit": "API --name x", "project archive": "WEB",
    "project member add": "API bo", "project member remove": "API bo",
    "project member list": "API", "project delete": "WEB --yes",
    "tag add": "new", "tag rename": "new newer",
    "tag delete": "newer --yes", "view save": "mine --status todo", "view show": "mine",
    "view delete": "mine", "user add": "bo", "user show": "bo", "user edit": "bo --name cy",
    "user delete": "cy --yes", "watch": "--since 0 --count 1 --for 1s", "completion": "bash",
    "agent run": "--once -- true", "export": "csv", "import jsonl": "tasks.jsonl",
    "demo seed": "--tasks 3 --project-prefix S- --yes", "demo anomalies": "--scenario g2-item",
    "demo step": "g2-item", "demo check": "tasks.jsonl", "import backlog-md": ". --project API",
    "demo race": "--workers 2 --ops 4 --tasks 1 --strategy none --log race.jsonl"
    " --report race.html --elle elle",
}  # fmt: skip
"""Command → arguments that it works with; others get the id of a task, or a file to import."""

PROCESSES = {"demo race", "agent run", "watch"}
"""Commands that start processes, or end as one."""


def line_of(path: list[str]) -> list[str]:
    name = " ".join(path)
    if name in COMMANDS:
        return [*path, *COMMANDS[name].split()]
    if path[0] == "import":
        return [*path, "tasks.jsonl", "--project", "API"]
    needs_task = path[0] == "task" and path[1:] not in (["list"], ["claim"], ["tree"])
    return [*path, "1"] if needs_task else path


def leaves() -> list[list[str]]:
    """Return the commands in an order in which most work; those that handle servers are apart."""
    names = {" ".join(path) for path in PATHS}
    found = [
        path
        for path in PATHS
        if path and not any(n.startswith(" ".join(path) + " ") for n in names)
    ]
    return [path for path in found if path[0] != "db" or path[1:] == ["explain"]]


@pytest.fixture
def secretive(here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    here.ok("project", "add", "API")
    here.ok("task", "add", "one")
    here.ok("task", "add", "two")
    (here.home / "tasks.jsonl").write_text("{}\n")
    monkeypatch.setenv("CONCORD_LOG_LEVEL", "debug")
    monkeypatch.setenv("CONCORD_LOG_FILE", str(here.home / "log"))
    return here


def files(home: Path) -> str:
    """Return all that is in any file below a directory."""
    found = (path for path in home.rglob("*") if path.is_file())
    return "".join(path.read_bytes().decode(errors="replace") for path in found)


@pytest.mark.parametrize("form", ["url", "query", "dsn", "variable"])
def test_no_command_tells_a_password_that_is_right(
    secretive: Here, url: str, keeper: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in forms(url, keeper, RIGHT)[form].items():
        monkeypatch.setenv(name, value)
    codes: dict[str, int] = {}
    for path in leaves():
        if " ".join(path) not in PROCESSES and path[0] != "demo":
            for flags in ([], ["--json"]) if form == "url" else ([],):
                result = secretive("-v", *flags, *line_of(path))
                assert result.code != 70, (path, result)
                codes[" ".join(path)] = result.code
                assert_untold(result.out + result.err, path)
    assert sum(code == 0 for code in codes.values()) > len(codes) * 2 / 3, codes
    assert_untold(files(secretive.home), "a file")


@pytest.mark.parametrize("form", ["url", "query", "dsn", "variable"])
def test_no_command_tells_a_password_that_is_wrong(
    secretive: Here, url: str, keeper: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in forms(url, keeper, WRONG)[form].items():
        monkeypatch.setenv(name, value)
    refused = 0
    for path in leaves():
        if " ".join(path) not in PROCESSES:
            result = secretive("-v", *line_of(path))
            assert result.code != 70, (path, result)
            assert_untold(result.out + result.err, path)
            refused += result.code == 7
    assert refused > len(leaves()) / 2
    assert "password authentication failed" in secretive("task", "list").err
    assert_untold(files(secretive.home), "a file")


def command_lines(process: subprocess.Popen[str], read: Path) -> set[str]:
    """Return the command lines of a process and of all that it starts, until it ends.

    A `cat` of the FIFO `read` is let go once it was seen.
    """
    told: set[str] = set()
    seen = {process.pid}
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(folder.name) in seen or int(fields[1]) in seen:
                    seen.add(int(folder.name))
                    told.add((folder / "cmdline").read_text(errors="replace").replace("\0", " "))
            except OSError:  # it has ended
                continue
        if f"cat {read} " in told:
            with suppress(OSError):  # nobody reads it any more
                os.close(os.open(read, os.O_WRONLY | os.O_NONBLOCK))
    return told


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")
@pytest.mark.parametrize("command", ["demo race", "agent run"])
def test_no_process_has_a_password_in_its_command_line(
    secretive: Here, concord: CommandLine, url: str, keeper: str, command: str, tmp_path: Path
) -> None:
    environment = forms(url, keeper, RIGHT)["url"]
    os.mkfifo(read := tmp_path / "fifo")
    agent = ["agent", "run", "--once", "--", "cat", str(read)]
    process = concord.start(
        "-v",
        *(agent if command == "agent run" else line_of(command.split())),
        env={**concord.environment, **environment},
    )
    told = command_lines(process, read)
    result = finish(process)
    assert result.code == 0, result
    assert len(told) > 1, "it starts others"
    assert_untold("".join(told), command)
    assert_untold(result.out + result.err, command)
    # Logs, the report and the history for Elle, as well as what was said of the task.
    assert_untold(files(concord.home), command)
    assert_untold(concord("history", "--limit", "0", "--json").out, command)


def test_a_command_of_an_agent_is_told_no_more_than_its_environment_had(
    here: Here, url: str, keeper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.ok("task", "add", "one")
    monkeypatch.delenv("CONCORD_DATABASE_URL")
    config = here.home / "config" / "concord" / "config.toml"
    config.parent.mkdir(parents=True)
    (told,) = forms(url, keeper, RIGHT)["url"].values()
    config.write_text(f"database_url = {json.dumps(told)}\n")
    assert here("agent", "run", "--once", "sh", "-c", "env > environment").code == 0
    environment = (here.home / "environment").read_text()
    assert "CONCORD_TASK_ID=1\n" in environment
    assert_untold(environment, "environment")


def test_a_bug_report_has_no_password(
    secretive: Here, url: str, keeper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in forms(url, keeper, RIGHT)["url"].items():
        monkeypatch.setenv(name, value)
    psql(
        url,
        "CREATE OR REPLACE FUNCTION tasks_record() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION USING MESSAGE = ''broken by hand''; END'",
    )
    result = secretive("task", "done", "1")
    assert result.code == 70
    assert_untold(result.out + result.err, "error")
    assert "broken by hand" in files(secretive.home)
    assert_untold(files(secretive.home), "log")


def test_a_bug_report_hides_what_a_library_says(tmp_path: Path) -> None:
    settings = load({"log_file": str(tmp_path / "log"), "user": "ana"}, {}, tmp_path)
    cause = ValueError(f"no such option in postgresql://ana:sesame@{tmp_path}/x")
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("dsn: host=x password='open sesame'") from cause
    log_bug(settings, "task list", caught.value)
    (line,) = (tmp_path / "log").read_text().splitlines()
    told = json.loads(line)["exception"]
    assert "Traceback" in told
    assert f"postgresql://ana:***@{tmp_path}/x" in told
    assert_untold(told, "log")


def test_a_terminal_shows_none_either(concord: CommandLine, url: str, keeper: str) -> None:
    environment = forms(url, keeper, RIGHT)["url"]
    for command in ("config", "doctor"):
        told = on_terminal(concord, command, columns=300, **environment)
        assert told.code == 0
        assert "***" in told.out or command == "doctor"
        assert_untold(told.out, command)
    assert os.environ.get("CONCORD_DATABASE_URL") is None
