"""A task as a file for an editor: what is written is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concord.errors import Usage
from concord.formats.front_matter import dump, load

KNOWN = frozenset({"title", "due", "owner"})

values = st.text(st.characters(exclude_characters="\n\r")).map(str.strip)
bodies = st.text(st.characters(exclude_characters="\r")).map(lambda text: text.strip("\n"))


def test_the_form() -> None:
    text = dump({"title": "Write: the report", "due": "none", "owner": ""}, "# Plan\n\ntext")
    assert text == "---\ntitle: Write: the report\ndue: none\nowner:\n---\n\n# Plan\n\ntext\n"
    assert load(text, KNOWN) == (
        {"title": "Write: the report", "due": "none", "owner": ""},
        "# Plan\n\ntext",
    )


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), values), bodies)
def test_any_text_comes_back(fields: dict[str, str], body: str) -> None:
    assert load(dump(fields, body), KNOWN) == (fields, body)


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), values), bodies)
def test_it_survives_an_editor_of_another_system(fields: dict[str, str], body: str) -> None:
    text = "\ufeff" + dump(fields, body).replace("\n", "\r\n")
    assert load(text, KNOWN) == (fields, body)


@pytest.mark.parametrize("value", ["a\u2028b", "a\x0bb", "a\x85b", "---", "- x", "{a: b}", "&x *y"])
def test_no_character_means_more_than_itself(value: str) -> None:
    assert load(dump({"title": value}, value), KNOWN) == ({"title": value}, value)


def test_an_editor_may_move_space_about() -> None:
    assert load("--- \n\n  due :  fri  \n---\t\nbody\n\n\n", KNOWN) == ({"due": "fri"}, "body")
    assert load("---\ndue: fri\n---", KNOWN) == ({"due": "fri"}, "")


@given(st.text() | st.text("-:\n dueowntil"))
def test_any_file_is_read_or_refused_with_a_line(text: str) -> None:
    def outcome() -> int:
        try:
            load(text, KNOWN)
        except Usage as error:
            return error.details["line"]
        return 1

    assert 1 <= outcome() <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "expected ---"),
        ("title: a\n", 1, "expected ---"),
        ("---\ncolour: red\n---\n", 2, "expected one of due, owner, title and a colon"),
        ("---\ntitle: a\njust words\n---\n", 3, "expected one of"),
        ("---\ntitle: a\ntitle: b\n---\n", 3, "title stands there twice"),
        ("---\ntitle: a\n\nno end", 4, "expected one of"),
        ("---\ntitle: a\n", 3, "the front matter does not end with ---"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(Usage) as caught:
        load(text, KNOWN)
    assert caught.value.message.startswith(f"line {line}: ")
    assert reason in caught.value.message
