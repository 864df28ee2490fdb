"""The Markdown that an export is, read by a Markdown library: nothing gets out of its place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from foreign_tables import peak_below
from format_tasks import all_exported, exported
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from concord.formats import markdown
from concord.models import ImportedComment, ImportedTask
from concord.plain import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from concord.models import ExportedTask

MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 1000})
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def row(ref: str, title: str = "Do it", **fields: Any) -> ImportedTask:
    return replace(ImportedTask(ref=ref, title=title, line=1), **fields)


def document(*rows: ImportedTask) -> str:
    tasks = [replace(task, external_ref=None) for task in all_exported(rows, "sample")]
    return "\n".join(markdown.dump(tasks))


def html(*rows: ImportedTask) -> str:
    return MARKDOWN.render(document(*rows))


Tree = dict[int, "Tree"]


def found(node: SyntaxTreeNode) -> tuple[Tree, dict[int, str]]:
    """Return the tasks below a node, each with its parts, and the text after each one's number."""
    tree: Tree = {}
    texts: dict[int, str] = {}
    for child in node.children:
        inner, said = found(child)
        texts |= said
        number = None
        if child.type == "list_item" and child.children and child.children[0].children:
            inline = child.children[0].children[0].children
            if len(inline) > 2 and inline[1].type == "strong" and inline[0].content[:1] == "[":
                number = int(inline[1].children[0].content)
                texts[number] = "".join(each.content for each in inline[2:])
        if number is None:
            tree |= inner
        else:
            tree[number] = inner
    return tree, texts


def wanted(tasks: Sequence[ExportedTask], parent: int | None = None) -> Tree:
    return {task.id: wanted(tasks, task.id) for task in tasks if task.parent == parent}


def test_a_document() -> None:
    rows = [
        row(
            "a",
            "Rebuild *the* <b>pages</b>",
            project="API",
            description="Some *text*.\n\n- one\n- two\n",
            priority="high",
            due=AT,
            recurrence="every 2w",
            assignees=("ana", "bo"),
            tags=("bug", "front_end"),
            blocked_by=("c",),
            comments=(ImportedComment("Hm.\n\nWell.", "bo", AT),),
        ),
        row("b", "Part", project="API", parent="a", status="completed", completed_at=AT),
        row("c", "Alone", status="in_progress"),
        row("d", "Elsewhere", parent="a", status="canceled", canceled_at=AT),
        row("e", "Part of a part", project="API", parent="b"),
        row("f", "Another", project="ACME", deleted_at=AT),
    ]
    assert document(*rows) == (
        r"""# Tasks

## ACME

- [ ] **6** Another — in the trash

## API

- [ ] **1** Rebuild \*the\* \<b\>pages\</b\> — high · due 2026-01-02 03:04 UTC · every 2w · """
        r"""@ana @bo · #bug #front_end · blocked by 3

  Some *text*.

  - one
  - two

  > **bo**, 2026-01-02 03:04 UTC
  >
  > Hm.
  >
  > Well.

  * [x] **2** Part — completed 2026-01-02 03:04 UTC
    - [ ] **5** Part of a part

## Without a project

- [ ] **3** Alone — in progress
- [x] **4** Elsewhere — canceled 2026-01-02 03:04 UTC (part of 1)"""
    )


def test_nothing_to_tell() -> None:
    assert list(markdown.dump([])) == ["# Tasks"]


def test_what_a_task_is_known_as() -> None:
    (task,) = all_exported([row("a_b*")], "sample")
    assert list(markdown.dump([task]))[-1] == r"- [ ] **1** Do it — known as a_b\*"


def test_the_same_tasks_make_the_same_document() -> None:
    tasks = all_exported([row("a"), row("b", parent="a"), row("c", parent="a")], "sample")
    assert list(markdown.dump(tasks)) == list(markdown.dump(iter(tasks)))


def test_parts_may_come_before_what_they_are_part_of() -> None:
    assert document(row("a", parent="b"), row("b")) == (
        "# Tasks\n\n## Without a project\n\n- [ ] **2** Do it\n  - [ ] **1** Do it"
    )


def test_a_part_of_a_task_that_is_not_there() -> None:
    task = replace(exported(row("a"), 1, "sample"), parent=99, external_ref=None)
    assert list(markdown.dump([task]))[-1] == "- [ ] **1** Do it (part of 99)"


@pytest.mark.parametrize(
    "title",
    [
        "<script>alert(1)</script>",
        "</li></ul><h1>",
        "<!-- open",
        "[x](javascript:alert) ![y](z)",
        "`code *and* __more__ ~~x~~",
        "&lt;b&gt; &#42; & co",
        r"C:\New\*folder\\",
        "# not a head | - + 1.",
        "**12** [x] $x$ snake_case _emphasis_ (_a_)",
        "مرحبا 🎉 ‎\u202e turned",
        "bell \x07 and escape \x1b[31m",
        "http://example.org/a_b_c",
    ],
)
def test_titles_are_text_alone(title: str) -> None:
    tree, texts = found(SyntaxTreeNode(MARKDOWN.parse(document(row("a", title), row("b")))))
    assert tree == {1: {}, 2: {}}
    assert texts == {1: f" {visible(title)}", 2: " Do it"}
    shown = html(row("a", title))
    assert "<script" not in shown
    assert "<!--" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "description",
    [
        "<div>\n\nopen",
        "<!--",
        "</ul></li>",
        "a `<b>` in code",
        "[1]: http://example.org\n\n[1]",
        "```\nopen",
        "```\nx\n```\n\n~~~~ python\nopen\n~~~",
        "- x\n  ```\nafter\n```",
        "  ```\nopen",
        "- a\n\n* b\n\n+ c",
    ],
)
def test_a_description_that_could_reach_further_is_shown_as_code(description: str) -> None:
    shown = html(row("a", description=description), row("b", parent="a"), row("c"))
    escaped = description.replace("<", "&lt;").replace(">", "&gt;")
    assert f"<pre><code>{escaped}\n</code></pre>" in shown
    assert "<strong>2</strong>" in shown


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("a < b <https://example.org>", '<p>a &lt; b <a href="https://example.org">'),
        ("```\n<- x\n```", "<pre><code>&lt;- x\n</code></pre>"),
        ("    code", "<pre><code>code\n</code></pre>"),
        ("1. one\n2. two", "<ol>\n<li>one</li>"),
        ("line\r\nnext\rlast", "<p>line\nnext\nlast</p>"),
        ("\n \n# Head\n\n", "<h1>Head</h1>"),
    ],
)
def test_other_descriptions_are_markdown(description: str, shown: str) -> None:
    assert shown in html(row("a", description=description))


def test_a_comment_stays_in_its_quote() -> None:
    comments = [
        ImportedComment(body, "b_o_", AT) for body in ("```\nopen", "<div>", "> deep\n\nend")
    ]
    shown = html(row("a", comments=tuple(comments)), row("b", parent="a"))
    assert shown.count("<blockquote>") == shown.count("</blockquote>") == 4
    assert "<pre><code>&lt;div&gt;\n</code></pre>\n</blockquote>" in shown
    assert "<strong>b_o_</strong>, 2026-01-02 03:04 UTC" in shown


MARKS = st.sampled_from(
    ["", "  ", "```", "~~~", "````x", "   ```", "- a", "* b", "  + c", "1. x", "> q", "# h",
     "<div>", "</li>", "<!--", "-->", "[x]: /u", "    code", "\tcode", "---", "===", "***",
     "| a | b |", "|---|---|", "&amp;", "*", "_", "`", "\\", "- ```", "> ~~~", "<?x", "[ ] x",
     "\x0b", "\u2028"]
)  # fmt: skip
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0*"), max_size=8)
TEXTS = st.lists(MARKS | WORDS, max_size=6).map("\n".join)
TITLES = TEXTS.map(lambda text: " ".join(text.split()) or "-")


@st.composite
def tasks_with_parts(draw: st.DrawFn) -> list[ExportedTask]:
    count = draw(st.integers(1, 5))
    rows = [
        row(
            str(number),
            draw(TITLES),
            description=draw(TEXTS),
            comments=tuple(
                ImportedComment(body, "bo", AT) for body in draw(st.lists(TEXTS, max_size=2))
            ),
            parent=str(draw(st.integers(0, number - 1))) if number else None,
        )
        for number in range(count)
    ]
    return all_exported(rows, "sample")


@settings(max_examples=100)
@given(tasks_with_parts())
def test_whatever_people_write_each_task_stands_in_its_place(tasks: list[ExportedTask]) -> None:
    tokens = MARKDOWN.parse("\n".join(markdown.dump(tasks)))
    tree, texts = found(SyntaxTreeNode(tokens))
    assert tree == wanted(tasks)
    for task in tasks:
        assert texts[task.id].startswith(f" {visible(' '.join(task.title.split()))}")
    flat = [each for token in tokens for each in (token, *(token.children or ()))]
    assert not [token for token in flat if token.type in ("html_block", "html_inline")]


def test_long_texts_are_not_held_in_memory() -> None:
    def tasks() -> Iterator[ExportedTask]:
        for number in range(1, 1_201):
            yield exported(row(str(number), description="x" * 10_000), number, "sample")

    with peak_below(8_000_000):
        assert sum("**" in line for line in markdown.dump(tasks())) == 1_200
