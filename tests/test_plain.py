"""Values as text: nothing is lost, and nothing in it is obeyed by a terminal."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
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


DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def unsafe(text: str) -> bool:
    """Whether a terminal would obey something in a text, or show it other than it is."""
    return any(
        unicodedata.category(char) in {"Cc", "Cs"} or unicodedata.bidirectional(char) in DIRECTIONS
        for char in text
        if char not in "\t\n"
    )


HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x07\x9b\x7f\u202e\u2066\udcff\r\t\n"))
)


@given(HOSTILE)
def test_what_is_visible_is_safe(text: str) -> None:
    assert not unsafe(visible(text))
    if not unsafe(text):
        assert visible(text) == text


@given(HOSTILE)
def test_json_is_safe_and_loses_nothing(text: str) -> None:
    told = dumps({"text": text})
    assert not unsafe(told)
    assert "\n" not in told
    assert json.loads(told) == {"text": text}


@given(st.lists(HOSTILE, min_size=1))
def test_a_line_of_cells_can_be_read_back(cells: list[str]) -> None:
    line = "\t".join(map(tsv, cells))
    assert not set(line) & set("\r\n")
    assert not unsafe(line)
    escapes = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}

    def unescaped(text: str) -> str:
        return re.sub(
            r"\\u([0-9a-f]{4})|\\.",
            lambda match: chr(int(match[1], 16)) if match[1] else escapes[match[0]],
            text,
        )

    assert [unescaped(text) for text in line.split("\t")] == cells


def test_control_characters_are_told_by_their_number() -> None:
    assert visible("\x1b[31m \x9b \u202e") == "\\x1b[31m \\x9b \\u202e"


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
