"""`doctor --engine`: what Concord relies on is tried out, and what is not there is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from workers import psql

from concord.sql import engine, engine_scripts
from concord.sql.engine import OTHERWISE, Fault, Finding
from concord.sql.engine_scripts import Script
from concord.sql.engine_steps import READ_COMMITTED, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Here

    from concord.connections import Connection

EVERYTHING: LiteralString = """
SELECT 'schema', nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
UNION ALL SELECT 'relation', oid::regclass::text FROM pg_class
          WHERE relnamespace::regnamespace::text !~ '^pg_'
UNION ALL SELECT 'type', oid::regtype::text FROM pg_type
          WHERE typnamespace::regnamespace::text !~ '^pg_'
UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc
          WHERE pronamespace::regnamespace::text !~ '^pg_'
UNION ALL SELECT 'extension', extname FROM pg_extension
ORDER BY 1, 2
"""


def examined(url: str) -> dict[str, Finding]:
    """Return what each probe finds, each on connections of its own kind."""

    def connect() -> Connection:
        return psycopg.connect(url, autocommit=True)

    return {found.name: found for found in engine.examine(connect)}


def everything(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute(EVERYTHING).fetchall()


@pytest.fixture
def guest(empty_url: str) -> Iterator[str]:
    """The connection string of a role that may make schemas in a database, and little else."""
    name = sql.Identifier(str(conninfo_to_dict(empty_url)["dbname"]))
    with psycopg.connect(empty_url) as owner:
        owner.execute("CREATE ROLE engine_guest")
        owner.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO engine_guest").format(name))
    yield make_conninfo(empty_url, options="-c role=engine_guest")
    psql(empty_url, "DROP OWNED BY engine_guest; DROP ROLE engine_guest")


def test_a_postgresql_has_it_all_and_nothing_is_left_behind(url: str) -> None:
    before = everything(url)
    found = examined(url)
    assert {name: one.fault for name, one in found.items() if one.fault is not None} == {}
    assert len(found) > 35
    assert all(one.needed_by for one in found.values())
    assert everything(url) == before


def test_every_script_is_tried() -> None:
    scripts = {name for name in vars(engine_scripts) if name.isupper()} - {
        "SCRIPTS",
        "TYPE_CHECKING",
    }
    assert len(engine_scripts.SCRIPTS) == len(scripts)
    assert len({script.text for script in engine_scripts.SCRIPTS}) == len(scripts)


def test_a_role_without_special_rights_finds_the_same(guest: str) -> None:
    assert [one for one in examined(guest).values() if one.fault is not None] == []


def test_what_is_missing_is_told_and_spoils_nothing_else(guest: str, empty_url: str) -> None:
    psql(empty_url, "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
    before = everything(empty_url)
    missing = {name: one for name, one in examined(guest).items() if one.fault is not None}
    assert set(missing) == {"PL/pgSQL", "row triggers", "transition tables"}
    for one in missing.values():
        assert one.fault == Fault("permission denied for language plpgsql (42501)", denied=True)
        assert not one.optional
    assert everything(empty_url) == before


def test_without_a_place_of_its_own_the_rest_is_not_looked_at(guest: str, empty_url: str) -> None:
    psql(empty_url, "DROP OWNED BY engine_guest")
    found = examined(guest)
    name = conninfo_to_dict(empty_url)["dbname"]
    denied = Fault(f"permission denied for database {name} (42501)", denied=True)
    assert found["scratch schema"].fault == denied
    tried = {name for name, one in found.items() if one.fault != denied}
    assert tried == {script.name for script in engine_scripts.SCRIPTS if script.bare}
    assert {found[name].fault for name in tried} == {None}


def test_a_probe_that_breaks_the_connection_spoils_nothing_else(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Script("break", "nothing", "SELECT pg_terminate_backend(pg_backend_pid())")
    false = Script("false", "nothing", "SELECT 1; SELECT false")
    first = engine_scripts.SCRIPTS[0]
    monkeypatch.setattr(engine, "SCRIPTS", (broken, false, first))
    before = everything(url)
    found = examined(url)
    assert found["break"].fault is not None
    assert "57P01" in found["break"].fault.reason
    assert found["false"].fault == OTHERWISE
    assert {one.fault for name, one in found.items() if name not in ("break", "false")} == {None}
    assert everything(url) == before


@pytest.mark.parametrize(
    ("name", "undone"),
    [
        ("SKIP LOCKED", "SELECT id FROM probe_shared WHERE id = 2"),
        ("NOWAIT", "SELECT id FROM probe_shared WHERE id = 2 FOR UPDATE"),
        ("lock_timeout", "SELECT id FROM probe_shared WHERE id = 2 FOR UPDATE"),
        ("advisory locks", "SELECT 1"),
        ("table locks", "SELECT 1"),
    ],
)
def test_steps_fail_where_the_first_session_has_no_effect(
    url: str, monkeypatch: pytest.MonkeyPatch, name: str, undone: LiteralString
) -> None:
    """As on a server that takes a lock and holds none."""
    (steps,) = (steps for steps in engine.STEPS if steps.name == name)

    def run(one: Session, other: Session) -> bool:
        def idle(statement: LiteralString, *given: object) -> object:
            return Session.run(one, "SELECT pg_backend_pid()" if "pid" in statement else undone)

        monkeypatch.setattr(one, "run", idle)
        return steps.run(one, other)

    monkeypatch.setattr(engine, "SCRIPTS", ())
    monkeypatch.setattr(engine, "STEPS", (steps._replace(run=run),))
    assert examined(url)[name].fault == OTHERWISE


@pytest.mark.parametrize("name", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_weaker_level_is_noticed(url: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As on a server that takes the name of a level and runs at another one."""
    (steps,) = (steps for steps in engine.STEPS if steps.name == name)
    monkeypatch.setattr(engine, "SCRIPTS", ())
    monkeypatch.setattr(engine, "STEPS", (steps._replace(begin=READ_COMMITTED),))
    assert examined(url)[name].fault == OTHERWISE


# The command


def test_the_command_shows_what_was_tried(here: Here) -> None:
    told = here.ok("doctor", "--engine")
    assert list(told) == ["suitable", "server", "checks"]
    assert told["suitable"] is True
    assert told["server"].startswith("PostgreSQL 18")
    assert told["checks"][0] == {
        "check": "scratch schema",
        "ok": True,
        "value": "yes",
        "needed_by": "demo; most of what is looked into here",
        "hint": None,
    }
    checks = "".join(f"{each['check']}\n" for each in told["checks"])
    assert here("doctor", "--engine", "--quiet").out == checks


def test_the_command_fails_with_what_is_needed_and_not_with_the_rest(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent: LiteralString = "SELECT probe_absent()"
    monkeypatch.setattr(engine, "STEPS", ())
    monkeypatch.setattr(engine, "SCRIPTS", (Script("extra", "a nicety", absent, optional=True),))
    told = here.ok("doctor", "--engine")
    assert told["suitable"] is True
    assert told["checks"][1]["ok"] is True
    assert told["checks"][1]["value"].startswith("no, and not needed: function probe_absent()")
    monkeypatch.setattr(engine, "SCRIPTS", (Script("a must", "all", absent),))
    result = here("doctor", "--engine", "--json")
    assert result.code == 7
    assert result.json["suitable"] is False
    assert result.json["checks"][1]["ok"] is False
    assert result.error["details"] == {"checks": ["a must"]}
    assert result.error["message"].endswith("): a must")


def test_the_command_asks_for_a_role_with_rights(
    here: Here, guest: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    psql(empty_url, "DROP OWNED BY engine_guest")
    monkeypatch.setenv("CONCORD_DATABASE_URL", guest)
    result = here("doctor", "--engine", "--json")
    assert result.code == 7
    checks = {check["check"]: check for check in result.json["checks"]}
    assert checks["xmin"]["value"].startswith("not tried: permission denied for database")
    assert "a role that may create schemas" in result.error["hint"]
    assert checks["time zones"]["ok"] is True


def test_the_command_says_that_nobody_answers(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", "postgresql://ana@127.0.0.1:1/x")
    assert "cannot connect" in here.refused("doctor", "--engine", code=7)
