"""`search`: full text over titles, descriptions and comments; the best of the newest that match.

The words of a query that every task must have are looked up in `task_texts`. Of what matches, the
newest are ranked: a word in the title counts most, then one in the description, then one in a
comment. Words that no task has are compared with titles by their trigrams.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import Usage
from concord.models import MARKS, Found, Highlights, SearchResult, Similar
from concord.query import And, Or, Text, all_of, texts, without_texts
from concord.sql import listing, queries, task_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from concord.database import Transaction
    from concord.query import Query
    from concord.sql.listing import Filters

RANKED = 500
"""How many tasks are ranked at most, so that a word that half of all tasks have costs no more."""

SUGGESTED = 10
"""How many similar titles are suggested at most."""

ALIKE = "0.4"
"""How similar (0..1) a part of a title has to be to a word, to be suggested for it."""

_KEPT = "\x04"
"""What stands for a `<` while words are marked: a tag would be left out."""

MARKED = {
    "taken": f"{''.join(MARKS)}{_KEPT}<",
    "instead": f"\ufffd\ufffd\ufffd{_KEPT}",
    "marks": "StartSel={}, StopSel={}".format(*MARKS),
}
"""Parameters of `MARK`: which characters of a text are replaced, with which, and the marks."""

# By its statistics the planner takes the index of words where few tasks have them, and reads
# backwards from the newest task where many do. Both need the words as constants, not as a subquery.
FIND = sql.SQL("""
-- find_texts: the best of the newest that match, and how many match, up to one too many
WITH candidates AS MATERIALIZED (
    SELECT x.task_id, x.document FROM task_texts x JOIN tasks t ON t.id = x.task_id
    WHERE {matches} AND {conditions}
    ORDER BY x.task_id DESC
    LIMIT %(most)s + 1
)
SELECT task_id, round(ts_rank(document, {ranking})::numeric, 4)::float8 AS rank,
       (SELECT count(*) FROM candidates), numnode({ranking}) > 0
FROM (SELECT task_id, document FROM candidates ORDER BY task_id DESC LIMIT %(most)s) AS newest
ORDER BY rank DESC, task_id DESC
LIMIT %(limit)s
""")

MARK = sql.SQL("""
-- mark_words: in the titles, and in the best part of the description or of the comments
SELECT x.task_id,
       ts_headline('pg_catalog.english', translate(t.title, %(taken)s, %(instead)s), {words},
                   'HighlightAll=true, ' || %(marks)s),
       CASE WHEN part.description > 0 AND part.description >= part.comments THEN
           ts_headline('pg_catalog.english',
                       translate(left(t.description, 50000), %(taken)s, %(instead)s), {words},
                       'MaxWords=24, MinWords=12, ' || %(marks)s)
       WHEN part.comments > 0 THEN
           ts_headline('pg_catalog.english',
                       translate(left(task_comments(t.id), 50000), %(taken)s, %(instead)s), {words},
                       'MaxWords=24, MinWords=12, ' || %(marks)s)
       END
FROM task_texts x JOIN tasks t ON t.id = x.task_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN description @@ {words} THEN ts_rank(alike, description, {words}) ELSE 0 END,
           CASE WHEN comments @@ {words} THEN ts_rank(alike, comments, {words}) ELSE 0 END
    FROM (SELECT ts_filter(x.document, '{{b}}'), ts_filter(x.document, '{{c}}'),
                 '{{1, 1, 1, 1}}'::float4[]) AS of_document (description, comments, alike)
) AS part (description, comments)
WHERE x.task_id = ANY(%(ids)s)
""")

WEIGH = sql.SQL("""
-- weigh_words: which are more than stop words, which of them any task has, where trigrams are
SELECT ARRAY[{meant}], ARRAY[{written}], (
    SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_trgm' AND to_regclass('tasks_title_trigrams_idx') IS NOT NULL
)
""")

MEANT = sql.SQL("numnode({}) > 0")
WRITTEN = sql.SQL("EXISTS (SELECT FROM task_texts WHERE document @@ {})")

# The operator that the index knows goes by this setting, and by default misses two letters swapped.
LOOSEN: LiteralString = """
-- loosen_likeness: what is similar enough, until the end of the transaction
SELECT set_config('pg_trgm.word_similarity_threshold', %(alike)s, true)
"""

SIMILAR = sql.SQL("""
-- find_similar: titles with words like those that no task has
SELECT id, title, round(({likeness})::numeric, 4)::float8 AS likeness FROM (
    SELECT t.id, t.title FROM tasks t
    WHERE {conditions}
    ORDER BY t.id DESC
    LIMIT %(most)s
) AS newest
ORDER BY likeness DESC, id DESC
LIMIT %(limit)s
""")

HAS = sql.SQL("t.id IN (SELECT task_id FROM task_texts WHERE document @@ {})")
# The index cannot find a text without trigrams; the planner knows whether it is one.
IS_LIKE = sql.SQL("({1}.show_trgm({0}) <> '{{}}' AND {0} OPERATOR({1}.<%%) t.title)")
LIKENESS = sql.SQL("{}.word_similarity({}, title)")


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def find(
    tx: Transaction, query: Query, filters: Filters, *, limit: int | None = None
) -> SearchResult:
    """Return the best `limit` tasks (`None`: all that are ranked) that a query finds.

    Raises `Usage` for a query without words to look for, and `NotFound` if nothing matches and a
    filter or the query names what does not exist.
    """
    wanted = Wanted.by(query, filters, tx.actor)
    listing.look_up(tx, wanted.asked)
    ranked = tx.rows(wanted.ranked, wanted.params | {"most": RANKED, "limit": limit}, _Ranked)
    if not ranked:
        listing.check_names(tx, wanted.filters)
        return _suggest(tx, wanted)
    if not ranked[0].meant:
        raise _no_word(wanted)
    matching = ranked[0].matching
    ids = [row.id for row in ranked]
    marked = tx.later(wanted.marked, wanted.params | MARKED | {"ids": ids}, _highlighted)
    tasks = {task.id: task for task in task_rows.fetch(tx, ids)}
    highlights = dict(marked())
    return SearchResult(
        tuple(
            task_rows.told_more(Found, tasks[row.id], rank=row.rank, highlights=highlights[row.id])
            for row in ranked
            if row.id in tasks and row.id in highlights  # not purged meanwhile
        ),
        matching=min(matching, RANKED),
        more=matching > RANKED,
    )


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A row of `FIND`."""

    id: int
    rank: float
    matching: int
    meant: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A word, the beginning of one, or words in a row; and the tsquery that it stands for.

    `anywhere` is that for the words of a row in any order.
    """

    text: str
    tsquery: sql.Composed
    anywhere: sql.Composed | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search asks for: words every task must have, other words, and `filters`.

    `asked` is what the filters stand for; `params` are the parameters of it and of the words.
    """

    demanded: tuple[Word, ...]
    others: tuple[Word, ...]
    filters: Filters
    asked: listing.Asked
    params: dict[str, Any]

    @classmethod
    def by(cls, query: Query, filters: Filters, actor: str) -> Wanted:
        """Return what a query and filters ask for. Raises `Usage` if there are no words."""
        params: dict[str, Any] = {}
        if filters.query is not None:
            query = all_of((query, filters.query)) or query
        rest = without_texts(query)
        demanded = _words(texts(query), params)
        others = _words(_asked_for(rest), params) if rest is not None else ()
        if not params:
            raise Usage(
                "there are no words to search for",
                hint="A list needs none: concord task list, with the same options.",
            )
        narrowed = replace(filters, query=rest)
        asked = listing.asked(actor, narrowed)
        return cls(demanded, others, narrowed, asked, params | asked.params)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words."""
        return (*self.demanded, *self.others)

    @property
    def ranked(self) -> sql.Composed:
        """The query for the best; its parameters are `params`, `most` and `limit`."""
        parts = [_every(self.demanded)] if self.demanded else []
        return FIND.format(
            # Words that are in no index ask for nothing: the planner knows whether it is so.
            matches=sql.SQL("(x.document @@ {query} OR numnode({query}) = 0)").format(
                query=_every([*self.demanded, *self._in_a_row])
            )
            if self.demanded
            else sql.SQL("true"),
            conditions=_and(self.asked.conditions),
            ranking=_either([*parts, *(word.tsquery for word in self.others)]),
        )

    @property
    def _in_a_row(self) -> Iterator[Word]:
        """The words of those that are to stand in a row, again, and in any order.

        This asks for nothing more, but the planner takes words in a row to be as frequent as the
        same words anywhere in a text, and would read very many texts until it has enough.
        """
        for word in self.demanded:
            if word.anywhere is not None:
                yield Word(word.text, word.anywhere)

    @property
    def marked(self) -> sql.Composed:
        """The query for highlights; its parameters are `params`, `MARKED` and `ids`."""
        return MARK.format(words=_either([word.tsquery for word in self.words]))

    @property
    def weighed(self) -> sql.Composed:
        """The query for what is known of the words that are demanded; it has `params`."""
        return WEIGH.format(
            meant=sql.SQL(", ").join(MEANT.format(word.tsquery) for word in self.demanded),
            written=sql.SQL(", ").join(WRITTEN.format(word.tsquery) for word in self.demanded),
        )

    def similar(
        self, known: Sequence[Word], unknown: Sequence[Word], place: str
    ) -> tuple[sql.Composed, dict[str, Any]]:
        """Return the query for titles that are similar to each unknown word, and its parameters.

        They have the known words, too. `place` is the schema of pg_trgm. Two parameters are left
        out: `most` and `limit`.
        """
        schema = sql.Identifier(place)
        texts = {f"unknown_{number}": word.text for number, word in enumerate(unknown)}
        names = [sql.Placeholder(name) for name in texts]
        has = [HAS.format(_every(known))] if known else []
        query = SIMILAR.format(
            likeness=sql.SQL(" + ").join(LIKENESS.format(schema, name) for name in names),
            conditions=_and(
                [*self.asked.conditions, *has, *(IS_LIKE.format(name, schema) for name in names)]
            ),
        )
        return query, self.params | texts


def _suggest(tx: Transaction, wanted: Wanted) -> SearchResult:
    """Return a result without tasks, but with titles that are similar to words no task has.

    Raises `Usage` if no word means anything.
    """
    words = wanted.demanded
    if not words:
        return SearchResult(())
    meant, written, place = tx.rows(wanted.weighed, wanted.params, lambda *row: row)[0]
    if not any(meant) and not wanted.others:
        raise _no_word(wanted)
    known = [word for word, has in zip(words, written, strict=True) if has]
    unknown = [word for word, has in zip(words, meant, strict=True) if has and word not in known]
    told = tuple(word.text for word in unknown)
    if not unknown or place is None:
        return SearchResult((), unknown=told, tolerant=place is not None)
    query, given = wanted.similar(known, unknown, place)
    listing.look_up(tx, wanted.asked)
    tx.execute(LOOSEN, {"alike": ALIKE})
    similar = tx.rows(query, given | {"most": RANKED, "limit": SUGGESTED}, Similar)
    return SearchResult((), unknown=told, similar=similar)


def _no_word(wanted: Wanted) -> Usage:
    return Usage(
        f"no word to search for: {' '.join(word.text for word in wanted.words)}",
        hint="Words like `the`, and signs, are in no index. Parts of titles: --title TEXT",
    )


def _highlighted(task: int, title: str, text: str | None) -> tuple[int, Highlights]:
    shown = None if text is None else " ".join(text.replace(_KEPT, "<").split())
    return task, Highlights(title.replace(_KEPT, "<"), shown)


def _asked_for(query: Query) -> Iterator[Text]:
    """Yield the texts that a query asks for, and not those that it rules out."""
    match query:
        case Text():
            yield query
        case And() | Or():
            for part in query.parts:
                yield from _asked_for(part)
        case _:
            pass


def _words(asked: Iterable[Text], params: dict[str, Any]) -> tuple[Word, ...]:
    """Return texts word by word; the parameters of their tsqueries are added to `params`."""
    words: list[Word] = []
    for text in asked:
        for word in [text.words] if text.exact else text.words.split():
            name = f"word_{len(params)}"
            tsquery, params[name] = queries.tsquery(replace(text, words=word), name)
            anywhere = queries.tsquery(Text(word), name)[0] if text.exact and " " in word else None
            words.append(Word(word, tsquery, anywhere))
    return tuple(words)


def _every(words: Sequence[Word]) -> sql.Composed:
    """Return the tsquery for all of these words, at least one."""
    return sql.SQL("({})").format(sql.SQL(" && ").join(word.tsquery for word in words))


def _either(tsqueries: Sequence[sql.Composed]) -> sql.Composed:
    """Return the tsquery for any of these, at least one."""
    return sql.SQL("({})").format(sql.SQL(" || ").join(tsqueries))


def _and(conditions: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("\n      AND ").join(conditions)
