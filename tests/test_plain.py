"""Values as text: nothing is lost, and nothing in it is obeyed by a terminal."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hostile import obeyed, tagged
from hypothesis import given
from hypothesis import strategies as st

from concord.errors import Conflict, Usage
from concord.models import Tag
from concord.plain import cell, dumps, error_text, moment, tsv, visible

TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "2030-01-02T03:04:05Z"),
        (datetime(2030, 1, 2, 3, 4, 5, 600, tzinfo=UTC), "2030-01-02T03:04:05.000600Z"),
        (datetime(2030, 1, 2, 3, tzinfo=TOKYO), "2030-01-01T18:00:00Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59Z"),
    ],
)
def test_a_moment_is_utc_with_a_z(value: datetime, text: str) -> None:
    assert moment(value) == text
    assert cell(value) == text
    assert dumps(value) == f'"{text}"'
    assert datetime.fromisoformat(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        (0, "0"),
        (True, "true"),
        (False, "false"),
        (("a", "b"), "a,b"),
        ([], ""),
        ([1, None, True], "1,,true"),
        ({"a": None}, '{"a":null}'),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Tag(1, "bug", 2), '{"id":1,"name":"bug","tasks":2}'),
    ],
)
def test_a_cell(value: object, text: str) -> None:
    assert cell(value) == text


def test_json_of_everything_that_models_hold() -> None:
    value = {
        "when": datetime(2030, 1, 1, tzinfo=UTC),
        "who": UUID(int=1),
        "tags": (Tag(1, "büg", 2),),
        "nothing": None,
    }
    assert dumps(value) == (
        '{"when":"2030-01-01T00:00:00Z","who":"00000000-0000-0000-0000-000000000001",'
        '"tags":[{"id":1,"name":"büg","tasks":2}],"nothing":null}'
    )
    assert dumps({"a": [1]}, indent=2) == '{\n  "a": [\n    1\n  ]\n}'


SCOTLAND = f"\U0001f3f4{tagged('gbsct')}\U000e007f"

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x07\x9b\x7f\u202e\u2066\u206a\udcff\r\t\n"),
        st.sampled_from("\U0001f3f4\U000e0061\U000e0062\U000e0063\U000e007f\ufe0f\U000e0155"),
    )
)


@given(HOSTILE)
def test_what_is_visible_is_safe(text: str) -> None:
    assert not obeyed(visible(text))
    if not obeyed(text):
        assert visible(text) == text


@given(HOSTILE)
def test_json_is_safe_and_loses_nothing(text: str) -> None:
    told = dumps({"text": text})
    assert not obeyed(told)
    assert "\n" not in told
    assert json.loads(told) == {"text": text}


@given(st.lists(HOSTILE, min_size=1))
def test_a_line_of_cells_can_be_read_back(cells: list[str]) -> None:
    line = "\t".join(map(tsv, cells))
    assert not set(line) & set("\r\n")
    assert not obeyed(line)
    escapes = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}

    def unescaped(text: str) -> str:
        return re.sub(
            r"((?:\\u[0-9a-f]{4})+)|\\.",
            lambda match: json.loads(f'"{match[0]}"') if match[1] else escapes[match[0]],
            text,
        )

    assert [unescaped(text) for text in line.split("\t")] == cells


def test_control_characters_are_told_by_their_number() -> None:
    assert visible("\x1b[31m \x9b \u202e") == "\\x1b[31m \\x9b \\u202e"


@pytest.mark.parametrize(
    ("hidden", "shown", "numbered"),
    [
        ("a\U000e0041b", r"a\U000e0041b", r"a\udb40\udc41b"),
        ("\U000e0001", r"\U000e0001", r"\udb40\udc01"),
        # Behind a flag there is no second one, and none without an end.
        (f"{SCOTLAND}\U000e0062", rf"{SCOTLAND}\U000e0062", rf"{SCOTLAND}\udb40\udc62"),
        ("\U0001f3f4\U000e0067", "\U0001f3f4\\U000e0067", "\U0001f3f4\\udb40\\udc67"),
        ("\u2764\ufe0f\ufe00", "\u2764\ufe0f\\ufe00", "\u2764\ufe0f\\ufe00"),
        ("\u845b\U000e0100\U000e0101", "\u845b\U000e0100\\U000e0101",
         "\u845b\U000e0100\\udb40\\udd01"),
    ],
)  # fmt: skip
def test_characters_that_show_nothing_are_told_where_they_mean_nothing(
    hidden: str, shown: str, numbered: str
) -> None:
    assert visible(hidden) == shown
    assert tsv(hidden) == numbered
    assert dumps(hidden) == f'"{numbered}"'
    assert json.loads(dumps(hidden)) == hidden


@pytest.mark.parametrize(
    "text",
    [
        SCOTLAND,
        f"{SCOTLAND}{SCOTLAND} \U0001f3f4 \U0001f3f4\u200d\u2620\ufe0f",
        "\u2764\ufe0f \u845b\U000e0100",  # variants
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "\u05e9\u05dc\u05d5\u05dd (C++)\u200f 1\u061c, 2\u200e",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    ],
)
def test_what_scripts_and_emoji_need_is_left_alone(text: str) -> None:
    assert visible(text) == tsv(text) == text
    assert dumps(text) == f'"{text}"'


def test_an_error_in_words_and_as_json() -> None:
    error = Conflict("task 1:\n\x1b[2J", hint="look", task=1, at=datetime(2030, 1, 1, tzinfo=UTC))
    assert error_text(error, as_json=False) == "error: task 1:\n\\x1b[2J\nhint: look"
    assert json.loads(error_text(error, as_json=True)) == {
        "error": {
            "code": "conflict",
            "message": "task 1:\n\x1b[2J",
            "hint": "look",
            "details": {"task": 1, "at": "2030-01-01T00:00:00Z"},
        }
    }
    assert error_text(Usage("no"), as_json=False) == "error: no"
    assert json.loads(error_text(Usage("no"), as_json=True))["error"]["hint"] is None
