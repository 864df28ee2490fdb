"""The scheduler: who waits, who goes on, in which order, and what ends a run."""

from __future__ import annotations

from select import select
from typing import TYPE_CHECKING

import psycopg
import pytest
from audit import tables
from conftest import TIMEOUT, settings_for
from test_sql_constants import name_of, sql_of
from workers import psql

from concord.errors import Contention, Refused, Usage
from concord.race.interleaving import laboratory as laboratories
from concord.race.interleaving import mvcc, pages, scheduler
from concord.race.interleaving.laboratory import Laboratory, laboratory
from concord.race.interleaving.spec import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

    from concord.race.interleaving.events import StepEvent
    from concord.race.interleaving.session import Session
    from concord.settings import Settings

TABLE = """
setup { CREATE TABLE foo (id int PRIMARY KEY, n int); INSERT INTO foo VALUES (1, 0), (2, 0); }
teardown { DROP TABLE foo; }
"""
TWO = """
session A setup { BEGIN; }
step a1 { UPDATE foo SET n = n + 1 WHERE id = 1; }
step a2 { UPDATE foo SET n = n + 1 WHERE id = 2; }
step ac { COMMIT; }
session B setup { BEGIN; }
step b1 { UPDATE foo SET n = n + 10 WHERE id = 1; }
step b2 { UPDATE foo SET n = n + 10 WHERE id = 2; }
step bc { COMMIT; }
"""


@pytest.fixture(scope="module")
def settings(server: Server) -> Iterator[Settings]:
    """A database for the tests of this file: what they make is gone after each."""
    with server.janitor("interleaving") as janitor:
        yield settings_for(server.url(janitor.dbname))


@pytest.fixture(scope="module")
def lab(settings: Settings) -> Iterator[Laboratory]:
    with laboratory(settings, "test") as made:
        yield made


def play(
    lab: Laboratory, text: str, isolation: str = "read committed", *, view: bool = False
) -> list[list[StepEvent]]:
    """Run the permutations of a spec and return the events of each."""
    spec = parse(text, "f.spec")
    found: list[list[StepEvent]] = []
    for permutation in spec.permutations:
        with lab.stage(spec, isolation) as stage:
            viewer = stage.viewer()
            events: list[StepEvent] = []
            for group in stage.play(permutation):
                events += group
                if view:
                    viewer.look()
            found.append(events)
    return found


def brief(events: list[StepEvent]) -> list[str]:
    return [
        " ".join([e.step, e.event, *e.waits_for, *([e.sqlstate] if e.sqlstate else [])])
        for e in events
    ]


def test_a_step_waits_and_is_completed_by_the_one_that_lets_it_go_on(lab: Laboratory) -> None:
    (events,) = play(lab, TABLE + TWO + "permutation a1 b1 a2 ac b2 bc")
    assert brief(events) == [
        "a1 done", "b1 waiting A", "a2 done", "ac done", "b1 completed", "b2 done", "bc done",
    ]  # fmt: skip
    assert [result.tag for result in events[4].results] == ["UPDATE 1"]


def test_the_isolation_level_is_that_of_a_plain_begin(lab: Laboratory) -> None:
    (events,) = play(lab, TABLE + TWO + "permutation a1 b1 ac b2 bc", "repeatable read")
    assert brief(events)[3:] == ["b1 completed 40001", "b2 done 25P02", "bc done"]
    assert [result.tag for result in events[-1].results] == ["ROLLBACK"]
    spec = "session A step level { BEGIN; SHOW transaction_isolation; ROLLBACK; }"
    for level in ("read committed", "repeatable read", "serializable"):
        ((event,),) = play(lab, spec, level)
        assert event.results[1].rows == ((level,),)
    ((event,),) = play(lab, spec.replace("BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE"))
    assert event.results[1].rows == (("serializable",),)


def test_waiters_go_on_in_the_order_in_which_they_began_to_wait(lab: Laboratory) -> None:
    text = "".join(
        f"session {name} step {name}1 {{ BEGIN; SELECT pg_advisory_xact_lock(4712); }}"
        f" step {name}2 {{ COMMIT; }} "
        for name in "ABCD"
    )
    (events,) = play(lab, f"{text} permutation A1 D1 B1 C1 A2 D2 B2 C2")
    assert brief(events) == [
        "A1 done", "D1 waiting A", "B1 waiting A D", "C1 waiting A B D",
        "A2 done", "D1 completed", "D2 done", "B1 completed", "B2 done", "C1 completed", "C2 done",
    ]  # fmt: skip


def test_of_a_deadlock_the_one_that_failed_comes_first(lab: Laboratory) -> None:
    for _ in range(3):
        (events,) = play(lab, TABLE + TWO + "permutation a1 b2 a2 b1 ac bc")
        assert brief(events) == [
            "a1 done", "b2 done", "a2 waiting B", "b1 waiting A",
            "b1 completed 40P01", "a2 completed", "ac done", "bc done",
        ]  # fmt: skip


def test_a_deadlock_that_ends_before_it_was_seen_was_a_wait_all_the_same(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scheduler.Scheduler.blockers

    def too_late(self: scheduler.Scheduler, session: Session) -> list[int]:
        if session.name == "B":  # look only when the server has looked for deadlocks
            select([session.connection.pgconn.socket], [], [], TIMEOUT)
        return seen(self, session)

    monkeypatch.setattr(scheduler.Scheduler, "blockers", too_late)
    (events,) = play(lab, TABLE + TWO + "permutation a1 b2 a2 b1 ac bc")
    assert brief(events)[2:6] == [
        "a2 waiting B", "b1 waiting A", "b1 completed 40P01", "a2 completed",
    ]  # fmt: skip


def test_a_permutation_that_cannot_go_on_ends_at_once(lab: Laboratory) -> None:
    before, after = play(lab, TABLE + TWO + "permutation a1 b1 b2 ac permutation a1 b1 a2 ac b2 bc")
    assert brief(before) == ["a1 done", "b1 waiting A", "b2 stuck A"]
    assert brief(after)[-1] == "bc done", "and nothing of it is left to the next"
    (events,) = play(lab, TABLE + TWO + "permutation a1 b1")
    assert brief(events) == ["a1 done", "b1 waiting A", "b1 stuck A"]


def test_all_interleavings_end_and_those_that_can_are_serial(lab: Laboratory) -> None:
    text = (
        TABLE
        + """
        session A setup { BEGIN; } step a1 { UPDATE foo SET n = n + 1 WHERE id = 1; }
        step ac { COMMIT; } step ar { SELECT n FROM foo WHERE id = 1; }
        session B setup { BEGIN; } step b1 { UPDATE foo SET n = n + 10 WHERE id = 1; }
        step bc { COMMIT; }
    """
    )
    runs = play(lab, text)
    assert len(runs) == 10
    whole = [events for events in runs if events[-1].event != "stuck"]
    # Not those in which one is to commit while it waits for the other to commit.
    assert [[e.step for e in events if e.event == "stuck"] for events in runs].count([]) == 7
    for events in whole:
        (read,) = (event.results[0].rows[0][0] for event in events if event.step == "ar")
        b_before = [e.step for e in events].index("ar") > [e.step for e in events].index("bc")
        assert read == ("11" if b_before else "1")


def test_an_error_of_a_step_is_part_of_the_run(lab: Laboratory) -> None:
    (events,) = play(
        lab, "session A step a { SELECT 1; SELECT 1/0; SELECT 2; } step b { SELECT 3 }"
    )
    assert brief(events) == ["a done 22012", "b done"]
    assert events[0].message == "division by zero"
    assert [result.rows for result in events[0].results] == [(("1",),)]


def test_results_notices_and_copies(lab: Laboratory) -> None:
    text = """
        session A
        step rows { SELECT 1 AS one, NULL AS nothing, 'é' AS text UNION ALL SELECT 2, '', 'x'; }
        step none { }
        step notice { DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'beware'; END $$; }
        step out { COPY (SELECT 1) TO STDOUT; SELECT 1; }
        step in { COPY tasks FROM STDIN; }
        permutation rows none notice out in
    """
    ((rows, none, notice, out, into),) = play(lab, text)
    assert rows.results[0].columns == ("one", "nothing", "text")
    assert rows.results[0].rows == (("1", None, "é"), ("2", "", "x"))
    assert (none.results, none.sqlstate) == ((), None)
    assert notice.notices == ("NOTICE: hello", "WARNING: beware")
    assert [result.tag for result in out.results] == ["COPY 1", "SELECT 1"]
    assert into.sqlstate == "57014"


def test_a_star_reports_a_step_before_it_is_looked_at(lab: Laboratory) -> None:
    (events,) = play(lab, TABLE + TWO + "permutation a1 (*) b2 (*) ac bc")
    assert brief(events) == [
        "a1 waiting", "b2 waiting", "a1 completed", "ac done", "b2 completed", "bc done",
    ]  # fmt: skip


def test_a_marker_holds_a_step_back_until_another_is_done(lab: Laboratory) -> None:
    text = TABLE + TWO + "session C step c1 { SELECT 1; } "
    (events,) = play(lab, text + "permutation a1 b1 c1 (b1) a2 ac bc")
    assert brief(events) == [
        "a1 done", "b1 waiting A", "c1 waiting", "a2 done", "ac done", "b1 completed",
        "c1 completed", "bc done",
    ]  # fmt: skip
    notify = "session D step d1 { DO $$ BEGIN RAISE NOTICE 'x'; END $$; } "
    (events,) = play(lab, text + notify + "permutation c1 (d1 notices 2) d1 a1 d1 ac")
    assert brief(events) == [
        "c1 waiting", "d1 done", "a1 done", "d1 done", "c1 completed", "ac done",
    ]  # fmt: skip
    (events,) = play(lab, text + notify + "permutation c1 (d1 notices 2) d1")
    assert brief(events) == ["c1 waiting", "d1 done", "c1 completed"], "in the end all is told"


def test_a_wait_may_end_by_a_time_out_of_the_spec(lab: Laboratory) -> None:
    text = TABLE + TWO.replace("session B setup { BEGIN; }", "session B setup { BEGIN;"
        " SET LOCAL lock_timeout = '500ms'; }")  # fmt: skip
    (events,) = play(lab, text + "permutation a1 b1 bc ac")
    assert brief(events) == ["a1 done", "b1 waiting A", "b1 completed 55P03", "bc done", "ac done"]


def test_a_wait_for_a_stranger_is_an_error_that_names_them(
    lab: Laboratory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 0.1)
    spec = "session A step a1 { SELECT pg_advisory_lock(4711); }"
    with psycopg.connect(settings.database_url or "") as stranger:
        stranger.execute("SELECT pg_advisory_lock(4711)")
        with pytest.raises(Contention, match="step a1 of session A is neither done nor") as caught:
            play(lab, spec)
        assert caught.value.details["blocked_by"] == [stranger.info.backend_pid]
    assert brief(play(lab, spec)[0]) == ["a1 done"], "the session was released, and goes on"


def test_a_session_that_was_terminated_takes_no_step(lab: Laboratory) -> None:
    spec = (
        "session A step end { SELECT pg_terminate_backend(pg_backend_pid()); } step b { SELECT 1 }"
    )
    (events,) = play(lab, spec + "permutation end")
    assert brief(events) == ["end done 57P01"]
    with pytest.raises(Refused, match="step b: session A has lost its connection"):
        play(lab, spec)
    assert brief(play(lab, spec + "permutation b")[0]) == ["b done"], "the next run has a new one"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("setup { CREATE TABLE foo (a int);\n  INSERT INTO bar VALUES (1); } ",
         "f.spec:2:15: setup failed: relation \"bar\" does not exist (42P01)"),
        ("setup {}\nsetup { SELECT 1/0; } ", "f.spec:2:9: setup failed: division by zero (22012)"),
        ("teardown { SELECT x; } ",
         "f.spec:1:19: teardown failed: column \"x\" does not exist (42703)"),
    ],
)  # fmt: skip
def test_a_failure_round_the_steps_names_its_place(lab: Laboratory, text: str, told: str) -> None:
    with pytest.raises(Usage) as caught:
        play(lab, text + "session A step a { SELECT 1; }")
    assert caught.value.message == told
    assert lab.tables() == []


def test_a_failure_in_a_sessions_setup_names_session_and_place(lab: Laboratory) -> None:
    with pytest.raises(Usage) as caught:
        play(lab, "session A step a {}\nsession B setup { BEGIN; SELCT 1; } step b {}")
    assert caught.value.message.startswith("f.spec:2:26: setup of session B failed: syntax error")
    with pytest.raises(Usage, match="1:43: teardown of session A failed: division by zero"):
        play(lab, "session A step a { SELECT 1; } teardown { SELECT 1/0; }")
    (events,) = play(lab, "session A setup { BEGIN; } step a { SELECT 1/0; } teardown { COMMIT; }")
    assert brief(events) == ["a done 22012"]


def test_what_a_run_sets_does_not_reach_the_next(lab: Laboratory) -> None:
    first = """session A step a { SET search_path = pg_catalog; PREPARE p AS SELECT 1;
        SELECT pg_advisory_lock(1); CREATE TEMP TABLE t (); BEGIN; }"""
    again = """session A step a { SHOW search_path; SHOW transaction_isolation; }
        session B step b { SELECT pg_try_advisory_lock(1); }
        permutation a b"""
    play(lab, first, "serializable")
    ((a, b),) = play(lab, again)
    assert [result.rows[0][0] for result in a.results] == [lab.schema, "read committed"]
    assert b.results[0].rows == (("t",),)


def test_the_users_own_tables_are_out_of_reach_and_untouched(settings: Settings) -> None:
    url = settings.database_url or ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.tasks (id int); INSERT INTO public.tasks VALUES (7)"
        )
        before = tables(url)
        with laboratory(settings, "test") as made:
            ((event,),) = play(made, "session A step a { SELECT count(*) FROM tasks; }")
            assert event.results[0].rows == (("0",),), "Concord's table in the scratch schema"
        assert tables(url) == before
        connection.execute("DROP TABLE public.tasks")


def test_the_schema_is_gone_even_if_a_run_is_broken_off_while_a_session_waits(
    settings: Settings,
) -> None:
    class BrokenOff(BaseException):
        pass

    spec = parse(TABLE + TWO + "permutation a1 b1 ac", "f")

    def break_off() -> None:
        with laboratory(settings, "test") as made, made.stage(spec, "serializable") as stage:
            schemas.append(made.schema)
            for event, *_ in stage.play(spec.permutations[0]):
                if event.event == "waiting":
                    raise BrokenOff

    schemas: list[str] = []
    with pytest.raises(BrokenOff):
        break_off()
    url = settings.database_url or ""
    assert psql(url, "SELECT nspname FROM pg_namespace WHERE nspname = %s", *schemas) == []


def test_every_statement_names_itself() -> None:
    modules = (laboratories, scheduler, pages, mvcc)
    texts = [text.strip() for module in modules for _, text in sql_of(module)]
    assert len(texts) > 10
    assert all(text.startswith("-- ") for text in texts)
    assert len({name_of(text) for text in texts}) == len(texts)
