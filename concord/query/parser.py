"""Reading queries: a grammar for their shape, `values` for what fields are compared with.

The lexer goes by what the grammar expects, so that a value may look like a term: in `due:-2w` the
dash negates nothing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from concord.query.faults import fault, near
from concord.query.fields import NAMED, Field, field_of
from concord.query.syntax import (
    LONGEST_TEXT,
    Comparison,
    Not,
    Operator,
    Query,
    Text,
    all_of,
    any_of,
)
from concord.query.values import Unreadable, read_value

if TYPE_CHECKING:
    from datetime import datetime

    from concord.errors import Usage
    from concord.query.syntax import Value

LONGEST = 10_000
"""The most characters of a query."""

MOST_TERMS = 200
"""The most comparisons and texts in a query: each is a condition that the server plans."""

DEEPEST = 100
"""The most levels of negations and alternatives within each other."""

# `and`, `or` and `not` are words of the language where they stand alone. A dash negates what
# follows it at once. A negation binds tightest, then `and`, said or not, then `or`.
GRAMMAR = r"""
?disjunction: conjunction (_OR conjunction)*
?conjunction: _term (_AND? _term)*
_term: negation | group | comparison | QUOTED_PREFIX | QUOTED | WORD
negation: _NOT _term
?group: "(" disjunction ")"
comparison: FIELD _value (_COMMA _value)*
_value: QUOTED | VALUE

_OR.3: /or(?![^\s"()])/i
_AND.3: /and(?![^\s"()])/i
_NOT.3: /not(?![^\s"()])|-(?=[^\s)])/i
FIELD.2: /[^\W\d][\w-]*\s*(?:<=|>=|!=|[:<>=])/
QUOTED_PREFIX.2: /"(?:[^"\\]|\\.)*"\*/s
QUOTED.1: /"(?:[^"\\]|\\.)*"/s
WORD: /(?!(?:and|or)(?![^\s"()]))[^\s"()-][^\s"()]*/i
VALUE: /[^\s",()]+/
_COMMA.1: ","
%ignore /\s+/
"""

_SHOWN = 40
"""How many characters of what was not expected are told."""

_TERMS = frozenset({"WORD", "FIELD", "QUOTED"})
_QUOTE = 'To search for it as a word, quote it: "…"'


def read(text: str, *, now: datetime) -> Query:
    """Return the query that a text stands for. Raises `Usage` (see `concord.query.parse`)."""
    if (odd := re.search("[\0\ud800-\udfff]", text)) is not None:
        raise fault(text, odd.start(), "a character that no text has")
    if len(text) > LONGEST:
        raise fault(text, LONGEST, f"a query has at most {LONGEST} characters")
    if not text.strip():
        raise fault(
            text, 0, "the query is empty", 'Ask for something: status:todo, tag:bug, "words"'
        )
    parser: Any = _parser()  # its types are not told in full
    try:
        tree = parser.parse(text)
    except UnexpectedInput as error:
        raise fault(text, *_refusal(text, error)) from None
    return _Reader(text, now).query(tree)


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, start="disjunction", parser="lalr", propagate_positions=True)


class _Reader:
    """Makes the query of one text out of the tree of its grammar."""

    def __init__(self, text: str, now: datetime) -> None:
        self._text = text
        self._now = now
        self._terms = 0

    def query(self, node: Tree[Token] | Token, depth: int = 1) -> Query:
        """Return what a node of the tree stands for."""
        if isinstance(node, Token):
            return self._words(node)
        if depth > DEEPEST:
            raise self._fault(node.meta.start_pos, f"deeper than {DEEPEST} levels")
        if node.data == "comparison":
            return self._comparison([child for child in node.children if isinstance(child, Token)])
        parts = [self.query(child, depth + 1) for child in node.children]
        if node.data == "negation":
            return Not(parts[0])
        return _joined(any_of(parts) if node.data == "disjunction" else all_of(parts))

    def _words(self, token: Token) -> Text:
        start = token.start_pos or 0
        self._count(start)
        match token.type:
            case "WORD":
                prefix = len(token) > 1 and token.endswith("*")
                found = Text(token[:-1] if prefix else str(token), prefix=prefix)
            case "QUOTED":
                found = Text(_unquoted(token), exact=True)
            case _:
                found = Text(_unquoted(token[:-1]), prefix=True)
        self._check_words(found.words, start)
        return found

    def _check_words(self, words: str, start: int) -> None:
        if not words.strip():
            raise self._fault(start, "no words between the quotes")
        if len(words) > LONGEST_TEXT:
            raise self._fault(start, f"a text of more than {LONGEST_TEXT} characters")

    def _comparison(self, tokens: list[Token]) -> Query:
        first, *rest = tokens
        start = first.start_pos or 0
        self._count(start)
        field, operator = self._field(first, start)
        values = [self._value(field, operator, token) for token in rest]
        if field.kind == "words":
            return _joined(any_of(Text(cast("str", value)) for value in values))
        if operator == ":":
            return Comparison(field.name, ":", tuple(values))
        if len(values) > 1:
            raise self._fault(rest[1].start_pos or 0, f"{operator} takes one value")
        return Comparison(field.name, operator, tuple(values))

    def _field(self, token: Token, start: int) -> tuple[Field, Operator]:
        """Return the field and the operator that a token like `due <=` names."""
        name = re.match(r"[\w-]+", token)
        assert name is not None
        said = token[name.end() :].strip()
        field = field_of(name[0])
        if field is None:
            hint = f"There are {', '.join(NAMED)}. {_QUOTE}"
            raise self._fault(start, f"no field {name[0]!r}{near(name[0].lower(), NAMED)}", hint)
        operator = ":" if said == "=" else said
        if operator not in field.operators:
            at = start + len(token) - len(said)
            if said == "!=":
                raise self._fault(at, f"there is no !=: write -{field.name}:VALUE")
            raise self._fault(at, f"{field.name} has no order: write {field.name}:VALUE")
        return field, operator

    def _value(self, field: Field, operator: Operator, token: Token) -> Value:
        start = token.start_pos or 0
        quoted = token.type == "QUOTED"
        word = _unquoted(token) if quoted else str(token)
        if field.kind == "words":
            self._check_words(word, start)
            return word
        if not word:
            raise self._fault(start, f"an empty value of {field.name}")
        try:
            return read_value(field, operator, word, quoted=quoted, now=self._now)
        except Unreadable as error:
            raise self._fault(start, error.message, error.hint) from None

    def _count(self, start: int) -> None:
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise self._fault(start, f"a query has at most {MOST_TERMS} terms")

    def _fault(self, start: int, message: str, hint: str | None = None) -> Usage:
        return fault(self._text, start, message, hint)


def _joined(query: Query | None) -> Query:
    assert query is not None, "the grammar has no rule without a part"
    return query


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


def _refusal(text: str, error: Any) -> tuple[int, str, str | None]:
    """Return where the grammar could not go on, what to say of it, and a hint."""
    token = getattr(error, "token", None)
    if token is None:  # nothing begins like this
        start, expected = error.pos_in_stream, error.allowed
        found = text[start]
    elif token.type == "$END":
        start, expected, found = len(text), error.expected, "the end"
    else:
        start, expected, found = token.start_pos, error.expected, str(token)
    return start, *_told(found, frozenset(expected))


def _told(found: str, expected: frozenset[str]) -> tuple[str, str | None]:
    if found == '"':
        return "a quote that nothing closes", None
    if found == ")" and not _TERMS & expected and "VALUE" not in expected:
        return "nothing is open that ) could close", None
    if "VALUE" in expected:
        return f"expected a value, found {found}", 'Quote a value with spaces or signs: "…"'
    if found == "-":
        return "a dash negates what follows it at once", _QUOTE
    if found == "the end" and "RPAR" in expected:
        return "expected ), found the end", None
    hint = None if found in ("the end", ")") else _QUOTE
    found = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"
    return f'expected a word, a "phrase", field:value or a group in (), found {found}', hint
