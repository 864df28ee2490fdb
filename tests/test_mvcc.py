"""The view of row versions: what xmax means, who sees what, and that looking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import settings_for
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from concord.race.interleaving import catalogue
from concord.race.interleaving.events import LEVELS
from concord.race.interleaving.laboratory import Laboratory, laboratory
from concord.race.interleaving.pages import decoded
from concord.race.interleaving.spec import parse
from concord.race.interleaving.visibility import (
    ABORTED,
    COMMITTED,
    IN_PROGRESS,
    Snapshot,
    ender,
    full_xid,
    sight,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

    from concord.race.interleaving.mvcc import RowVersion, View
    from concord.settings import Settings

TABLE = """
setup { CREATE TABLE foo (id int PRIMARY KEY, n text); INSERT INTO foo VALUES (1, 'x'); }
teardown { DROP TABLE foo; }
session A setup { BEGIN; }
step share { SELECT id FROM foo WHERE id = 1 FOR KEY SHARE; }
step lock { SELECT id FROM foo WHERE id = 1 FOR UPDATE; }
step ac { COMMIT; }
session B setup { BEGIN; }
step look { SELECT n FROM foo; }
step change { UPDATE foo SET n = 'y' WHERE id = 1; }
step part { SAVEPOINT s; UPDATE foo SET n = 'z' WHERE id = 1; }
step drop { DELETE FROM foo WHERE id = 1; }
step bc { COMMIT; }
step br { ROLLBACK; }
"""


@pytest.fixture(scope="module")
def settings(server: Server) -> Iterator[Settings]:
    with server.janitor("mvcc") as janitor:
        yield settings_for(server.url(janitor.dbname))


@pytest.fixture(scope="module")
def lab(settings: Settings) -> Iterator[Laboratory]:
    with laboratory(settings, "test") as made:
        yield made


def views(lab: Laboratory, order: str, isolation: str = "read committed") -> list[View]:
    """Return the views before the first and after each step of the table above."""
    spec = parse(f"{TABLE} permutation {order}", "f")
    with lab.stage(spec, isolation) as stage:
        viewer = stage.viewer()
        return [viewer.look(), *(viewer.look() for _ in stage.play(spec.permutations[0]))]


def means(view: View) -> list[str]:
    return [version.xmax_means for version in view.versions]


def seen(version: RowVersion) -> dict[str, str]:
    """Return who sees a version and why, its transactions without their numbers."""
    numbers = {str(version.xmin): "OLD", str(version.xmax): "NEW"}
    return {
        name: ("sees: " if one.visible else "does not: ")
        + " ".join(numbers.get(word, word) for word in one.why.split())
        for name, one in version.seen.items()
    }


def test_what_xmax_means(lab: Laboratory) -> None:
    assert means(views(lab, "look")[-1]) == ["nobody has changed it"]
    assert means(views(lab, "share")[-1]) == ["A locks it FOR KEY SHARE"]
    assert means(views(lab, "lock")[-1]) == ["A locks it FOR UPDATE"]
    assert means(views(lab, "lock ac")[-1]) == ["A had locked it FOR UPDATE"]
    assert means(views(lab, "drop")[-1]) == ["B deletes it, in progress"]
    assert means(views(lab, "drop br")[-1]) == ["B deletes it, aborted"]
    assert means(views(lab, "drop bc")[-1]) == ["B deletes it, committed"]
    old, new = views(lab, "change")[-1].versions
    assert (old.xmax_means, new.ctid) == ("B updates it to (0,2), in progress", "(0,2)")
    assert (old.values, new.values) == ({"id": 1, "n": "x"}, {"id": 1, "n": "y"})
    assert new.xmin == old.xmax


def test_a_multixact_is_told_apart_with_all_its_members(lab: Laboratory) -> None:
    view = views(lab, "share part")[-1]
    (a, b), (old, new) = view.sessions, view.versions
    # Within a savepoint B has another id, and the row has that one.
    assert b.xid is not None
    assert new.xmin > b.xid
    assert old.xmax_means == (
        f"MultiXact: A ({a.xid}) locks it FOR KEY SHARE,"
        f" B ({new.xmin}) updates it to (0,2), in progress"
    )
    assert seen(new) == {"A": "does not: xmin OLD is in progress", "B": "sees: its own"}


def test_who_sees_which_version_and_why_at_read_committed(lab: Laboratory) -> None:
    _, during, after = views(lab, "change bc")
    old, new = during.versions
    assert seen(old) == {"A": "sees: xmax NEW is in progress", "B": "does not: xmax NEW is its own"}
    old, new = after.versions
    assert seen(old) == {"A": "does not: xmax NEW committed before A's snapshot"}
    assert seen(new) == {"A": "sees: xmin OLD committed before A's snapshot"}
    assert [one.scope for one in after.sessions] == ["next statement", None]


def test_who_sees_which_version_and_why_with_a_snapshot_kept(lab: Laboratory) -> None:
    begun, took, *_, after = views(lab, "share change bc", "repeatable read")
    assert begun.sessions[0].snapshot is None
    assert (took.sessions[0].scope, took.sessions[0].state) == ("transaction", "in transaction")
    old, new = after.versions
    assert seen(old)["A"].startswith("sees: xmax ")
    assert seen(old)["A"].endswith(" committed after A's snapshot")
    assert seen(new) == {"A": "does not: xmin OLD committed after A's snapshot"}


def test_a_version_of_an_aborted_transaction_is_seen_by_nobody(lab: Laboratory) -> None:
    old, new = views(lab, "change br")[-1].versions
    assert seen(old) == {"A": "sees: xmax NEW aborted"}
    assert seen(new) == {"A": "does not: xmin OLD aborted"}
    assert new.xmin_state == "aborted"


def test_a_waiting_session_goes_by_the_snapshot_of_its_statement(lab: Laboratory) -> None:
    view = views(lab, "lock change")[-1]
    assert [(one.state, one.scope) for one in view.sessions] == [
        ("in transaction", "next statement"),
        ("waiting", "statement"),
    ]


def test_looking_does_not_take_a_sessions_snapshot(lab: Laboratory, settings: Settings) -> None:
    spec = parse(
        """setup { CREATE TABLE foo (n int); } teardown { DROP TABLE foo; }
        session A setup { BEGIN; } step level { SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; }
        step read { SELECT count(*) FROM foo; }
        session B step write { INSERT INTO foo VALUES (1); }
        permutation level write read""",
        "f",
    )
    for level in LEVELS:
        with lab.stage(spec, level) as stage:
            viewer = stage.viewer()
            viewer.look()
            events = [(event, viewer.look())[0] for event, *_ in stage.play(spec.permutations[0])]
        assert [event.sqlstate for event in events] == [None, None, None]
        assert events[-1].results[0].rows == (("1",),)


@pytest.mark.parametrize("isolation", LEVELS)
def test_looking_changes_no_scenario(lab: Laboratory, isolation: str) -> None:
    for scenario in catalogue.SCENARIOS:
        spec = scenario.spec()
        runs: list[list[object]] = []
        for look in (False, True):
            with lab.stage(spec, isolation) as stage:
                viewer = stage.viewer()
                events: list[object] = []
                for group in stage.play(spec.permutations[0]):
                    events += group
                    if look:
                        viewer.look()
                runs.append(events)
        assert runs[0] == runs[1], scenario.name


@pytest.mark.parametrize("isolation", LEVELS[:2])
def test_what_is_said_to_be_visible_is_what_the_session_selects(
    lab: Laboratory, isolation: str
) -> None:
    compared = 0
    for scenario in catalogue.SCENARIOS:
        spec = scenario.spec()
        with lab.stage(spec, isolation) as stage:
            viewer = stage.viewer()
            viewer.look()
            for _ in stage.play(spec.permutations[0]):
                view = viewer.look()
                for standing in view.sessions:
                    session = stage.sessions[standing.session]
                    if standing.snapshot is None or not session.in_transaction:
                        continue
                    answer = session.run("SELECT ctid FROM lab_tasks ORDER BY ctid")
                    assert [row[0] for row in answer.results[0].rows] == [
                        version.ctid
                        for version in view.versions
                        if version.table == "lab_tasks"
                        if version.seen[standing.session].visible
                    ], (scenario.name, standing, view)
                    compared += 1
    assert compared > 100


def test_a_role_that_may_not_read_pages_is_told_so_and_sees_committed_versions(
    settings: Settings,
) -> None:
    url = settings.database_url or ""
    with psycopg.connect(url, autocommit=True) as owner:
        as_lowly = settings_for(make_conninfo(url, options="-c role=lowly"))
        owner.execute("CREATE ROLE lowly")
        owner.execute("GRANT CREATE ON DATABASE mvcc TO lowly")
        try:
            with laboratory(as_lowly, "test") as made:
                first, changed = views(made, "change")
                assert "permission denied" in (first.note or "")
                (version,) = changed.versions
                assert version.values == {"id": 1, "n": "x"}
                assert version.xmax_means == "B updates, deletes or only locks it, in progress"
                deadlock = catalogue.find("deadlock")
                spec = deadlock.spec()
                with made.stage(spec, "read committed") as stage:
                    events = [e for group in stage.play(spec.permutations[0]) for e in group]
                assert [event.sqlstate for event in events].count("40P01") == 1
        finally:
            owner.execute("DROP OWNED BY lowly")
            owner.execute("DROP ROLE lowly")


def test_the_extension_is_used_where_it_is_and_left_there(settings: Settings) -> None:
    url = settings.database_url or ""
    where = (
        "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pageinspect'"
    )
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP EXTENSION IF EXISTS pageinspect")
        with laboratory(settings, "test") as made:
            assert len(views(made, "change")[-1].versions) == 2
            assert owner.execute(where).fetchall() == [(made.schema,)]
        assert owner.execute(where).fetchall() == []
        owner.execute("CREATE EXTENSION pageinspect")
        with laboratory(settings, "test") as made:
            assert len(views(made, "change")[-1].versions) == 2
        assert owner.execute(where).fetchall() == [("public",)]
        owner.execute("DROP EXTENSION pageinspect")


def test_values_are_read_from_their_bytes(lab: Laboratory) -> None:
    spec = parse(
        """setup { CREATE TABLE foo (a smallint, b bigint, c bool, d text, e varchar, f text,
                      g timestamptz, h text);
                  ALTER TABLE foo DROP COLUMN e;
                  INSERT INTO foo VALUES (-2, 9876543210, true, 'é', NULL, now(), repeat('x', 200));
                  INSERT INTO foo (h) VALUES (repeat('y', 9000)); }
        teardown { DROP TABLE foo; }
        session A step a {}""",
        "f",
    )
    with lab.stage(spec, "read committed") as stage:
        first, second = stage.viewer().look().versions
    assert first.values == {
        "a": -2, "b": 9876543210, "c": True, "d": "é", "f": None, "g": "…", "h": "x" * 200,
    }  # fmt: skip
    assert (second.values["a"], second.values["h"]) == (None, "…")


def test_bytes_that_have_no_simple_form() -> None:
    assert decoded("text", b"") == "…"
    assert decoded("text", b"\x01\x12") == "…", "elsewhere"
    assert decoded("text", b"\x02\0\0\0abc") == "…", "compressed"
    assert decoded("boolean", b"\0") is False


# The rules, without a server


@given(st.integers(3, 2**40), st.integers(-(2**31), 2**31 - 1))
def test_an_id_is_made_whole_by_a_recent_one(near: int, distance: int) -> None:
    xid = near + distance
    if xid > 2 and xid % 2**32 > 2:
        assert full_xid(xid % 2**32, near) == xid


def test_ids_that_stand_for_all_times_stay_as_they_are() -> None:
    assert [full_xid(xid, 5 * 2**32 + 7) for xid in (0, 1, 2)] == [0, 1, 2]
    assert full_xid(6, 5 * 2**32 + 7) == 5 * 2**32 + 6
    assert full_xid(9, 5 * 2**32 + 7) == 5 * 2**32 + 9, "begun since"
    assert full_xid(2**32 - 1, 5 * 2**32 + 7) == 5 * 2**32 - 1


def test_a_snapshot_knows_what_was_over() -> None:
    snapshot = Snapshot.parse("10:20:10,15")
    assert [xid for xid in range(5, 25) if snapshot.knows(xid)] == [
        *range(5, 10), *range(11, 15), *range(16, 20),
    ]  # fmt: skip
    assert str(snapshot) == "10:20:10,15"
    assert snapshot.without({15}).knows(15)
    assert str(Snapshot.parse("7:7:")) == "7:7:"


@pytest.mark.parametrize(
    ("xmin", "xmax", "visible"),
    [
        (5, None, True), (10, None, False), (20, None, False), (30, None, True),
        (5, 6, False), (5, 10, True), (5, 20, True), (5, 30, False), (30, 30, False),
        (11, None, False), (12, None, False), (5, 11, True), (5, 12, True), (2, None, True),
    ],
)  # fmt: skip
def test_the_rules_of_visibility(xmin: int, xmax: int | None, visible: bool) -> None:
    states = {5: COMMITTED, 6: COMMITTED, 10: COMMITTED, 20: COMMITTED} | {
        11: IN_PROGRESS, 12: ABORTED, 30: IN_PROGRESS,
    }  # fmt: skip
    found = sight(xmin, xmax, Snapshot.parse("10:20:10,11"), {30}, states, "A's snapshot")
    assert found.visible is visible, found


def test_what_the_masks_say_of_xmax() -> None:
    assert ender(0, 0, 0).xid is None
    assert ender(7, 0x0800, 0).xid is None
    assert ender(7, 0, 0).xid == 7
    assert ender(7, 0x0090, 0).locks == ((7, "FOR KEY SHARE"),)
    assert ender(7, 0x00D0, 0).locks == ((7, "FOR SHARE"),)
    assert ender(7, 0x00C0, 0).locks == ((7, "FOR NO KEY UPDATE"),)
    assert ender(7, 0x00C0, 0x2000).locks == ((7, "FOR UPDATE"),)
    shared = ender(3, 0x1000, 0, {7: "sh", 8: "nokeyupd"})
    assert (shared.xid, shared.locks, shared.multi) == (8, ((7, "FOR SHARE"),), 3)
