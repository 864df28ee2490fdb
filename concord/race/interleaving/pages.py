"""Row versions as they lie in the pages of a table, read with the extension pageinspect."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import errors as pg
from psycopg import sql

from concord.race.interleaving.visibility import XMIN_FROZEN, Ender, ender, full_xid, is_multi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from concord.connections import Connection

MOST_PAGES = 8
"""Pages of a table that are looked into: a scenario has a handful of rows."""

PAGEINSPECT: LiteralString = """
-- find_pageinspect: the schema it was installed in
SELECT n.nspname
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pageinspect'
"""

INSTALL = sql.SQL(
    "-- install_pageinspect: it goes with the schema\nCREATE EXTENSION pageinspect SCHEMA {}"
)

# Its convenient `heap_page_item_attrs` finds the others by the search path, before PostgreSQL 18.
VERSIONS = sql.SQL("""
-- row_versions: of one table, dead ones too
SELECT format('(%%s,%%s)', page, i.lp), i.t_ctid::text, i.t_xmin::text::bigint,
       i.t_xmax::text::bigint, i.t_infomask, i.t_infomask2,
       {schema}.tuple_data_split(
           %(table)s::regclass, i.t_data, i.t_infomask, i.t_infomask2, i.t_bits
       )
FROM generate_series(
         0,
         least(pg_relation_size(%(table)s::regclass) / current_setting('block_size')::bigint,
               %(pages)s) - 1
     ) page,
     {schema}.heap_page_items({schema}.get_raw_page(%(table)s::text, page)) i
WHERE i.lp_flags = 1
ORDER BY page, i.lp
""")

COMMITTED_ROWS = sql.SQL("""
-- committed_rows: what an observer sees, where the pages are closed to this role
SELECT t.ctid::text, t.xmin::text::bigint, t.xmax::text::bigint, to_jsonb(t)
FROM {} t ORDER BY t.ctid
""")

COLUMNS: LiteralString = """
-- table_columns: in the order in which a row has them
SELECT attname, atttypid::regtype::text, attisdropped
FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 ORDER BY attnum
"""

MEMBERS: LiteralString = """
-- multixact_members: who shares a row
SELECT xid::text::bigint, mode FROM pg_get_multixact_members(%(multi)s::text::xid)
"""


@dataclass(frozen=True, slots=True)
class Tuple:
    """A row version as it lies in a page: `next` is the `t_ctid`, the place of its successor.

    `certain` says that `ended` was read from the page; where pages are closed, `xmax` alone does
    not tell a lock from a change.
    """

    table: str
    ctid: str
    next: str
    xmin: int
    xmax: int
    ended: Ender
    frozen: bool
    certain: bool
    values: Mapping[str, Any]


class Pages:
    """Reads tables of a schema. `note` says why only committed versions are shown, if so.

    Where the extension is missing, it is installed in that schema, and goes with it. Where this
    role may not do that, or not read pages, there is what a query sees.
    """

    def __init__(self, observer: Connection, schema: str) -> None:
        self._observer = observer
        self._schema = schema
        self.note: str | None = None
        self._inspect = self._find_pageinspect()

    def _find_pageinspect(self) -> str | None:
        found = self._observer.execute(PAGEINSPECT).fetchone()
        if found is None:
            # Somebody else may do the same at this moment; theirs will do.
            with suppress(pg.UniqueViolation, pg.DuplicateObject):
                try:
                    self._observer.execute(INSTALL.format(sql.Identifier(self._schema)))
                except (pg.InsufficientPrivilege, pg.UndefinedFile, pg.FeatureNotSupported) as why:
                    self._closed(why)
                    return None
            found = self._observer.execute(PAGEINSPECT).fetchone()
        return None if found is None else found[0]

    def _closed(self, why: pg.Error) -> None:
        self.note = (
            "only committed versions are shown, as the observer sees them, because the pages"
            f" cannot be read: {why.diag.message_primary}"
        )

    def tuples(self, table: str, near: int) -> list[Tuple]:
        """Return the row versions of a table. `near` is a full transaction id of these days."""
        if self._inspect is not None:
            query = VERSIONS.format(schema=sql.Identifier(self._inspect))
            name = sql.Identifier(self._schema, table).as_string()
            try:
                rows = self._observer.execute(query, {"table": name, "pages": MOST_PAGES})
            except (pg.InsufficientPrivilege, pg.UndefinedFunction, pg.InvalidSchemaName) as why:
                # The right to read pages is one of its own; and whoever installed it may be gone.
                self._closed(why)
                self._inspect = None
            else:
                columns = self._observer.execute(COLUMNS, {"table": name}).fetchall()
                return [self._tuple(table, row, columns, near) for row in rows.fetchall()]
        query = COMMITTED_ROWS.format(sql.Identifier(self._schema, table))
        return [
            Tuple(
                table,
                ctid,
                ctid,
                full_xid(xmin, near),
                xmax,
                Ender(full_xid(xmax, near) if xmax else None),
                frozen=False,
                certain=False,
                values=values,
            )
            for ctid, xmin, xmax, values in self._observer.execute(query).fetchall()
        ]

    def _tuple(
        self, table: str, row: Sequence[Any], columns: Sequence[Sequence[Any]], near: int
    ) -> Tuple:
        ctid, following, xmin, xmax, infomask, infomask2, attributes = row
        members: dict[int, str] | None = None
        if is_multi(infomask):
            found = self._observer.execute(MEMBERS, {"multi": xmax}).fetchall()
            members = {full_xid(xid, near): mode for xid, mode in found}
        shown = xmax if members is not None else full_xid(xmax, near)
        values = {
            name: decoded(kind, value)
            for (name, kind, dropped), value in zip(columns, attributes, strict=False)
            if not dropped
        }
        return Tuple(
            table,
            ctid,
            following,
            full_xid(xmin, near),
            xmax,
            ender(shown, infomask, infomask2, members),
            frozen=infomask & XMIN_FROZEN == XMIN_FROZEN,
            certain=True,
            values=values,
        )


def decoded(kind: str, value: bytes | None) -> Any:
    """Return a column's value from its bytes in a row version; `…` for what has no simple form."""
    if value is None:
        return None
    match kind:
        case "smallint" | "integer" | "bigint":
            return int.from_bytes(value, "little", signed=True)
        case "boolean":
            return value != b"\0"
        case "text" | "character varying" | "character":
            # A short header is one odd byte, a long one four; anything else is compressed or
            # lies elsewhere.
            if value and value[0] & 1 and value[0] != 1:
                return value[1:].decode(errors="replace")
            if len(value) >= 4 and value[0] & 3 == 0:
                return value[4:].decode(errors="replace")
            return "…"
        case _:
            return "…"
