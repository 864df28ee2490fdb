"""`doctor`: what it looks at, and what it says of each thing that can be wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from commands import Here, on_terminal, plain, screen
from psycopg import sql
from psycopg.conninfo import make_conninfo
from workers import psql

from concord import embedded
from concord.cli import doctor as module
from concord.cli import run
from concord.database import SCHEMA_HEAD
from concord.settings import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine, Result

CHECKS = [
    "server (by URL)", "latency", "server version", "database", "accepts writes", "pooler",
    "schema", "typo tolerance", "row security", "clock difference", "oldest transaction",
]  # fmt: skip


def bad(result: Result) -> dict[str, Any]:
    """Return the only check that failed, of a result with --json."""
    assert result.code == 7, result
    told = result.json
    assert told["healthy"] is False
    (check,) = [check for check in told["checks"] if not check["ok"]]
    assert check["hint"]
    assert result.error["code"] == "database"
    assert result.error["message"] == f"{check['check']}: {check['value']}"
    assert result.error["hint"] == check["hint"]
    assert result.error["details"] == {"checks": [check["check"]]}
    return check


def test_all_is_well(here: Here) -> None:
    told = here.ok("doctor")
    assert list(told) == ["healthy", "checks", "settings"]
    assert told["healthy"] is True
    assert [check["check"] for check in told["checks"]] == CHECKS
    assert all(list(check) == ["check", "ok", "value", "hint"] for check in told["checks"])
    values = {check["check"]: check["value"] for check in told["checks"]}
    assert values["schema"] == f"{SCHEMA_HEAD} (this Concord: {SCHEMA_HEAD})"
    assert values["accepts writes"] == "yes"
    assert values["typo tolerance"] == values["row security"] == "on"
    assert values["server version"][0].isdigit()
    assert values["database"].startswith("concord_")
    assert [row["name"] for row in told["settings"]] == list(SETTINGS)


def test_on_a_pipe_checks_come_before_settings(here: Here) -> None:
    checks, _, settings = here("doctor").out.partition("\n\n")
    assert [line.split("\t")[0] for line in checks.splitlines()] == CHECKS
    assert [line.split("\t")[0] for line in settings.splitlines()] == list(SETTINGS)
    assert here("doctor", "--fields", "check,ok").out == "".join(f"{c}\ttrue\n" for c in CHECKS)
    assert here("doctor", "--quiet").out == "".join(f"{check}\n" for check in CHECKS)


def test_on_a_terminal_it_is_two_tables(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch, columns=120) as seen:
        assert run(["doctor"]) == 0
    checks, settings = plain(seen[0]).split("\n\n")
    assert checks.startswith("check               ok    value\n")
    assert settings.startswith("name ")
    assert len(settings.splitlines()) > len(SETTINGS)


def test_a_failure_stands_out_on_a_terminal(concord: CommandLine) -> None:
    told = on_terminal(
        concord, "doctor", columns=60, CONCORD_DATABASE_URL="postgresql://ana@127.0.0.1:1/x"
    )
    assert told.code == 7
    assert "\x1b[1;31mfalse" in told.out
    assert "Connection refused" in " ".join(plain(told.out).split())


def test_nobody_answers(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", "postgresql://ana:sesame@127.0.0.1:1/x")
    result = here("doctor", "--json")
    assert bad(result)["check"] == "server (by URL)"
    assert "cannot connect" in result.json["checks"][0]["value"]
    assert len(result.json["settings"]) == len(SETTINGS), "they may tell why"
    assert "sesame" not in result.out + result.err
    text = here("doctor")
    assert (text.code, text.out.startswith("server (by URL)\tfalse\tcannot")) == (7, True)


def test_the_url_is_nonsense(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", "host=example.org colour=red")
    assert "cannot be understood" in bad(here("doctor", "--json"))["value"]


def test_a_bad_setting_is_a_usage_error(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_RETRIES", "many")
    assert "retries = 'many'" in here.refused("doctor", code=2)


def test_no_schema(here: Here, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    check = bad(here("doctor", "--json"))
    assert (check["check"], check["value"]) == ("schema", f"none (this Concord: {SCHEMA_HEAD})")
    assert check["hint"] == "Run: concord init"
    here.ok("init")
    assert here.ok("doctor")["healthy"]


def test_without_trigrams_it_says_what_to_do_and_init_does_it(here: Here, url: str) -> None:
    def tolerance() -> str:
        told = here.ok("doctor")
        assert told["healthy"], "it is no failure"
        return {check["check"]: check["value"] for check in told["checks"]}["typo tolerance"]

    psql(url, "DROP INDEX tasks_title_trigrams_idx")
    assert tolerance() == "off: titles are not indexed by trigrams; run: concord init"
    psql(url, "DROP EXTENSION pg_trgm CASCADE")
    assert tolerance() == (
        "off: pg_trgm is not installed; once an administrator has created it"
        " (CREATE EXTENSION pg_trgm), run: concord init"
    )
    here.ok("init")
    assert tolerance() == "on"


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_another_schema(here: Here, url: str, revision: str) -> None:
    psql(url, "UPDATE alembic_version SET version_num = %s", revision)
    assert bad(here("doctor", "--json"))["value"] == f"{revision} (this Concord: {SCHEMA_HEAD})"


def test_a_schema_that_is_not_for_us(here: Here, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "stranger_" + url.partition("dbname=")[2].split()[0]
    role = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {}").format(role))
        try:
            as_stranger = make_conninfo(url, options=f"-c role={name}")
            monkeypatch.setenv("CONCORD_DATABASE_URL", as_stranger)
            assert "permission denied" in bad(here("doctor", "--json"))["value"]
        finally:
            owner.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_transaction_that_never_ends(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRANSACTION_LIMIT", -1.0)
    assert here.ok("doctor")["healthy"], "there is none"
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1")
        check = bad(here("doctor", "--json"))
    assert check["check"] == "oldest transaction"
    assert check["value"] == "0 s"
    assert "pg_stat_activity" in check["hint"]


def test_clocks_that_disagree(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    check = bad(here("doctor", "--json"))
    assert check["check"] == "clock difference"
    assert check["value"].startswith("+3600.")
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert bad(here("doctor", "--json"))["value"].startswith("-3600.")


def test_the_server_goes_away_while_it_is_asked(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concord.sql import server

    ask = server.facts

    def cut(connection: psycopg.Connection) -> server.Facts:
        facts = ask(connection)
        with psycopg.connect(connection.info.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        return facts

    monkeypatch.setattr(server, "facts", cut)
    check = bad(here("doctor", "--json"))
    assert check["check"] == "server (by URL)"
    assert "the database failed" in check["value"]


def test_the_embedded_server_is_brought_up_to_date(
    here: Here, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONCORD_DATABASE_URL")

    def conninfo(_: Path, *, owner: bool = False) -> str:
        return empty_url

    monkeypatch.setattr(embedded, "conninfo", conninfo)
    told = here.ok("doctor")
    assert told["checks"][0]["check"] == "server (embedded)"
    assert told["healthy"]
    psql(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    assert bad(here("doctor", "--json"))["value"] == f"9999 (this Concord: {SCHEMA_HEAD})"
