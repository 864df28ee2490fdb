"""`concord user add --login`: people who connect to a shared server as themselves."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from commands import Here, Terminal
from conftest import TIMEOUT, CommandLine, open_directory, settings_for
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from workers import Workers, psql

from concord import embedded, libpq, migrate
from concord.errors import Conflict
from concord.sql import logins, users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "open sesame ü'\\"

ACCESS = """\
local all concord,concord_service peer map=concord
local all all scram-sha-256
"""

ROLE: LiteralString = """
SELECT rolcanlogin, rolsuper, rolcreaterole, rolbypassrls,
       pg_has_role(rolname, 'concord_user', 'MEMBER'),
       pg_has_role(rolname, 'concord_service', 'MEMBER')
FROM pg_roles WHERE rolname = %s
"""

CLEAN: LiteralString = """
SELECT rolname FROM pg_roles
WHERE rolname !~ '^(pg_|concord$|concord_user$|concord_service$)'
"""


@dataclass(frozen=True)
class Shared:
    """A server that people share: how its administrator gets in, and how others do."""

    url: str

    def of(self, user: str, password: str) -> str:
        """Return the connection string of somebody with a login."""
        return make_conninfo(self.url, user=user, password=password, requirepeer="")

    def roles(self, name: str) -> list[tuple[Any, ...]]:
        """Return what a role may do, if it is there."""
        return psql(self.url, ROLE, name)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """The data directory of a server of our own that takes passwords."""
    made = open_directory()
    try:
        embedded.start(made)
        (made / "pg_hba.conf").write_text(ACCESS)
        psql(embedded.conninfo(made, owner=True), "SELECT pg_reload_conf()")
        yield made
    finally:
        embedded.stop(made)
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def shared(directory: Path) -> Iterator[Shared]:
    """A database on it with the user `ana`, and afterwards no roles but Concord's own."""
    server = embedded.conninfo(directory, owner=True)
    psql(server, "CREATE DATABASE shared")
    url = make_conninfo(server, dbname="shared")
    migrate.upgrade(settings_for(url))
    psql(url, "INSERT INTO users (username) VALUES ('ana')")
    yield Shared(url)
    psql(server, "DROP DATABASE shared WITH (FORCE)")
    with psycopg.connect(server, autocommit=True) as connection:
        for (name,) in connection.execute(CLEAN).fetchall():
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def here(
    shared: Shared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    """The command line as the administrator, whose name in Concord is `ana`."""
    return Here(shared.url, tmp_path, monkeypatch, capsys)


def add(here: Here, name: str = "bo", *more: str, code: int = 0) -> str:
    """Add a user with a login; return what was said on stderr."""
    words = ("user", "add", name, "--login", "--password-file", "-", *more)
    result = here(*words, stdin=f"{PASSWORD}\nand more\n")
    assert result.code == code, result
    return result.err


def as_login(here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch, name: str = "bo") -> None:
    """Let the command line connect as somebody with a login, who does not say who they are."""
    monkeypatch.setenv("CONCORD_DATABASE_URL", shared.of(name, PASSWORD))
    monkeypatch.delenv("CONCORD_USER", raising=False)


# What it is


def test_a_login_may_do_what_users_may_and_no_more(here: Here, shared: Shared) -> None:
    add(here)
    assert shared.roles("bo") == [(True, False, False, False, True, False)]
    assert [user["username"] for user in here.ok("user", "list")] == ["ana", "bo"]
    add(here, "O'B\"x")
    assert shared.roles("O'B\"x") == [(True, False, False, False, True, False)]


def test_with_it_one_acts_as_oneself_and_as_nobody_else(
    here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(here)
    here.ok("task", "add", "Hers")
    here.ok("project", "add", "HR", "--visibility", "private")
    as_login(here, shared, monkeypatch)
    assert here.ok("task", "add", "His")["owner"] == "bo"
    assert [task["title"] for task in here.ok("task", "list")] == ["His"]
    assert here.ok("history", "--limit", "1")[0]["actor"] == "bo"
    assert here.ok("project", "list") == []
    told = here.refused("--as", "ana", "task", "list", code=6)
    assert "the database knows you as bo" in told
    here.ok("user", "edit", "bo", "--email", "bo@example.org")
    for words in (["edit", "ana", "--email", "x@example.org"], ["delete", "ana", "--yes"]):
        told = here.refused("user", *words, code=6)
        assert told.startswith("error: not yours to change: user ana\n")
    told = here.refused("user", "edit", "nobody", "--email", "x@example.org", code=3)
    assert "no such user: nobody" in told


def test_psql_shows_the_same_by_it(here: Here, shared: Shared, tmp_path: Path) -> None:
    add(here)
    here.ok("task", "add", "Hers")
    here.ok("--as", "bo", "task", "add", "His")
    url = shared.of("bo", PASSWORD)
    query = "SELECT title, current_actor(), current_user FROM tasks"
    assert psql(url, query) == [("His", "bo", "bo")]
    with psycopg.connect(url) as connection:
        connection.execute("SELECT set_config('concord.actor', 'ana', false)")
        assert connection.execute(query).fetchall() == [("His", "bo", "bo")]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET ROLE concord_service")
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=url, CONCORD_USER="ana")
    assert concord("db", "psql", "-XAtc", query).out == "His|bo|bo\n"


def test_a_missing_right_is_not_taken_for_somebody_elses_project(
    here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.ok("project", "add", "API")
    psql(shared.url, "CREATE ROLE bo LOGIN PASSWORD 'x'")
    monkeypatch.setenv("CONCORD_DATABASE_URL", shared.of("bo", "x"))
    told = here.refused("project", "edit", "API", "--name", "x", code=6)
    assert "not yours" not in told
    assert "permission denied" in told


# Its password


def test_a_password_is_typed_twice_unseen(here: Here, shared: Shared, tmp_path: Path) -> None:
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=shared.url, CONCORD_USER="ana")
    with Terminal(concord, "user", "add", "bo", "--login") as terminal:
        terminal.wait_for("Password for bo: ").type("one\n")
        terminal.wait_for("Repeat for confirmation: ").type("two\n")
        terminal.wait_for("Password for bo: ", times=2).type("sesame\n")
        terminal.wait_for("Repeat for confirmation: ", times=2).type("sesame\n")
        told = terminal.end()
    assert told.code == 0, told
    assert "one" not in told.out
    assert "sesame" not in told.out
    assert psql(shared.of("bo", "sesame"), "SELECT current_user") == [("bo",)]


def test_a_password_is_the_first_line_of_a_file(here: Here, shared: Shared) -> None:
    file = here.home / "password"
    file.write_bytes(PASSWORD.encode() + b"\r\nanother\n")
    here.ok("user", "add", "bo", "--login", "--password-file", str(file))
    assert psql(shared.of("bo", PASSWORD), "SELECT current_user") == [("bo",)]
    with pytest.raises(psycopg.OperationalError):
        psql(shared.of("bo", "another"), "SELECT 1")


@pytest.mark.parametrize(
    ("stdin", "told"),
    [
        ("", "the password is empty"),
        ("\nx\n", "the password is empty"),
        (b"\xff\n", "stdin is not valid Unicode"),
        (b"open\0sesame\n", "the password cannot be used"),
    ],
)
def test_what_is_no_password(here: Here, shared: Shared, stdin: str | bytes, told: str) -> None:
    words = ("user", "add", "bo", "--login", "--password-file", "-")
    said = here.refused(*words, code=2, stdin=stdin)
    assert told in said
    assert "sesame" not in said
    assert shared.roles("bo") == []


def test_without_a_terminal_or_a_file_there_is_no_password(here: Here) -> None:
    assert "--password-file" in here.refused("user", "add", "bo", "--login", code=2)
    told = here.refused("user", "add", "bo", "--password-file", "-", code=2, stdin="x\n")
    assert "say --login too" in told


def test_neither_the_password_nor_what_it_is_told_by_is_told(
    here: Here, shared: Shared, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_LOG_LEVEL", "debug")
    monkeypatch.setenv("CONCORD_LOG_FILE", str(here.home / "log"))
    said = add(here, "bo", "-v")
    assert "create_login" in said
    said += add(here, "bo", "-v", code=4)
    psql(shared.url, "CREATE ROLE cy")
    said += add(here, "cy", "-v", "--json", code=4)
    said += (here.home / "log").read_text()
    assert json.loads(said.splitlines()[-1])["event"] == "transaction"
    # The server has the one in its catalogue, and the other nowhere.
    query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'bo'"
    assert psql(shared.url, query)[0][0].startswith("SCRAM-SHA-256$")
    for secret in ("sesame", "SCRAM-SHA-256"):
        assert secret not in said
    logs = [path for path in directory.glob("postgresql-*/log/*") if path.is_file()]
    assert all("sesame" not in path.read_text(errors="replace") for path in logs)


# What it is refused for


@pytest.mark.parametrize("role", ["bo", "BO"])
def test_a_role_that_is_there_is_not_taken_over(here: Here, shared: Shared, role: str) -> None:
    with psycopg.connect(shared.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER").format(sql.Identifier(role)))
    before = shared.roles(role)
    assert f"a role of that name already: {role}" in add(here, "bo", code=4)
    assert shared.roles(role) == before
    assert [user["username"] for user in here.ok("user", "list")] == ["ana"]


def test_a_user_who_is_there_gets_no_login(here: Here, shared: Shared) -> None:
    here.ok("user", "add", "bo")
    assert "a user of that name exists already" in add(here, "bo", code=4)
    assert shared.roles("bo") == []


@pytest.mark.parametrize("name", ["b" * 64, "ü" * 32])
def test_a_name_that_the_server_would_cut_is_refused(here: Here, name: str) -> None:
    assert "at most 63 bytes" in add(here, name, code=2)
    add(here, name[:-1])


def test_a_name_that_the_server_keeps_is_refused(here: Here) -> None:
    assert "PostgreSQL keeps the name pg_bo for itself" in add(here, "pg_bo", code=2)
    assert [user["username"] for user in here.ok("user", "list")] == ["ana"]


def test_who_may_make_no_roles_makes_no_login(
    here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    psql(shared.url, "CREATE ROLE front LOGIN PASSWORD 'x' IN ROLE concord_service")
    monkeypatch.setenv("CONCORD_DATABASE_URL", shared.of("front", "x"))
    said = add(here, "bo", code=6)
    assert "may not make the login bo" in said
    assert "CREATEROLE" in said
    assert [user["username"] for user in here.ok("user", "list")] == ["ana"]


def test_a_server_without_concords_roles_has_no_logins(here: Here, shared: Shared) -> None:
    psql(shared.url, "ALTER ROLE concord_user RENAME TO other_user")
    try:
        assert "concord_user" in add(here, "bo", code=1)
    finally:
        psql(shared.url, "ALTER ROLE other_user RENAME TO concord_user")


def test_a_service_that_may_make_roles_makes_logins(
    here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    psql(
        shared.url,
        "CREATE ROLE front LOGIN CREATEROLE PASSWORD 'x' IN ROLE concord_service;"
        "GRANT concord_user TO front WITH ADMIN OPTION",
    )
    monkeypatch.setenv("CONCORD_DATABASE_URL", shared.of("front", "x"))
    add(here)
    assert psql(shared.of("bo", PASSWORD), "SELECT current_actor()") == [("bo",)]
    here.ok("user", "delete", "bo", "--yes")
    assert shared.roles("bo") == []


def test_the_embedded_server_lets_in_its_owner_alone(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONCORD_DATABASE_URL")
    assert "lets in nobody but its owner" in add(here, "bo", code=1)
    assert not (here.home / "data").exists()


# Its end


def test_it_goes_with_the_user(here: Here, shared: Shared) -> None:
    add(here)
    here.ok("user", "delete", "BO", "--yes")
    assert shared.roles("bo") == []
    add(here)


def test_a_user_who_stays_keeps_it(here: Here, shared: Shared) -> None:
    add(here)
    here.ok("--as", "bo", "task", "add", "One")
    here.refused("user", "delete", "bo", "--yes", code=1)
    assert shared.roles("bo") == [(True, False, False, False, True, False)]


def test_who_may_not_remove_it_removes_nothing(
    here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(here)
    psql(shared.url, "CREATE ROLE front LOGIN PASSWORD 'x' IN ROLE concord_service")
    monkeypatch.setenv("CONCORD_DATABASE_URL", shared.of("front", "x"))
    assert "which cannot be removed" in here.refused("user", "delete", "bo", "--yes", code=6)
    assert [user["username"] for user in here.ok("user", "list")] == ["ana", "bo"]


def test_a_role_that_may_more_than_a_user_is_left_alone(here: Here, shared: Shared) -> None:
    here.ok("user", "add", "bo")
    psql(shared.url, "CREATE ROLE bo LOGIN CREATEDB IN ROLE concord_user")
    here.ok("user", "delete", "bo", "--yes")
    assert len(shared.roles("bo")) == 1


def test_whoever_has_one_keeps_the_name(here: Here, shared: Shared) -> None:
    add(here)
    told = here.refused("user", "edit", "bo", "--name", "cy", code=1)
    assert "bo has a login, which keeps its name" in told
    assert here.ok("user", "edit", "bo", "--email", "bo@example.org")["username"] == "bo"
    assert here.ok("user", "edit", "ana", "--name", "anna", "--as", "bo")["username"] == "anna"


def test_of_two_who_make_one_login_one_does(shared: Shared) -> None:
    with Workers(shared.url) as workers:
        one, other, gate = workers.patient("ana"), workers.patient("ana"), workers.gate()
        secrets = [
            logins.verifier(worker.database.connection(), "bo", password)
            for worker, password in ((one, PASSWORD), (other, "another"))
        ]
        first = one.run(gate.before_commit(users.add), "bo", None, secrets[0])
        second = other.run(users.add, "bo", None, secrets[1])
        assert other.waits_for(one)
        gate.open()
        first.result()
        with pytest.raises(Conflict, match="a user of that name"):
            second.result()
    assert psql(shared.of("bo", PASSWORD), "SELECT current_user") == [("bo",)]


def test_its_url_is_for_other_programs(
    here: Here, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(here)
    as_login(here, shared, monkeypatch)
    told = here.ok("db", "url")
    assert "sesame" not in told["url"]
    command = [libpq.program("psql"), told["url"], "-XAtc", "SELECT current_actor()"]
    shown = subprocess.run(
        command,
        env={"PGPASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
        text=True,
        check=True,
    )
    assert shown.stdout == "bo\n"
    assert conninfo_to_dict(told["url"])["user"] == "bo"
