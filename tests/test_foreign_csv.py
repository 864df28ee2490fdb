"""Tables of other trackers, whatever program saved them last: records, names, encodings, ends."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest
from foreign_tables import Generated, peak_below, table
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import foreign_csv
from concord.formats.foreign_csv import Record
from concord.models import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED = ("Key", "Text")


def read(document: str | bytes) -> list[Record | BadRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(foreign_csv.records(io.BytesIO(data), "a sample", REQUIRED))


def good(document: str | bytes) -> list[Record]:
    rows = read(document)
    assert all(isinstance(row, Record) for row in rows), rows
    return [row for row in rows if isinstance(row, Record)]


def bad(document: str | bytes) -> tuple[int, str]:
    row = read(document)[-1]
    assert isinstance(row, BadRow)
    return row.line, row.reason


def told(document: str | bytes) -> list[dict[str, str | list[str]]]:
    return [record.rest() for record in good(document)]


def test_records_are_read_by_the_names_of_their_columns() -> None:
    (record,) = good("Text,Key,Labels,labels,Empty\n one ,1,a,b, \n")
    assert record.peek("KEY") == "1"
    assert record.take("text") == "one"
    assert record.take_all("Labels") == ["a", "b"]
    assert record.take("Empty") is None
    assert record.has("nothing", "EMPTY")
    assert not record.has("nothing")
    assert record.rest() == {"Key": "1"}
    record.keep("Labels")
    assert record.rest() == {"Key": "1", "Labels": ["a", "b"]}
    with pytest.raises(ValueError, match="no Empty"):
        record.require("Empty")


def test_one_of_several_cells_is_not_all_that_a_column_told() -> None:
    (record,) = good("Key,Text,Text\n1,a,b\n")
    assert record.take("Text") == "a"
    assert record.rest() == {"Key": "1", "Text": ["a", "b"]}


def test_a_body_keeps_its_indentation() -> None:
    (record,) = good('Key,Text\n1,"\n  \n    code\n\ntext \n\n"\n')
    assert record.take_body("Text") == "    code\n\ntext"


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_delimiter_is_told_by_the_header(delimiter: str) -> None:
    document = table(["Key", "Text", "a,b;c"], ["1", "x;y,z", ""], delimiter=delimiter)
    assert told(document) == [{"Key": "1", "Text": "x;y,z"}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_they_like(end: str) -> None:
    document = f'Key,Text{end}1,"a{end}b"{end}{end}2,c{end}'
    records = good(document)
    assert [record.rest() for record in records] == [
        {"Key": "1", "Text": "a\nb"},
        {"Key": "2", "Text": "c"},
    ]
    assert [record.line for record in records] == [2, 5]


def test_lines_are_counted_where_a_record_starts() -> None:
    document = '\nKey,Text\n,\n1,"a\n\nb"\n\n2,c\n3,d,e\n4,\0\n5,f'
    rows = read(document)
    assert [(row.line, isinstance(row, Record)) for row in rows] == [
        (4, True),
        (8, True),
        (9, False),
        (10, False),
        (11, True),
    ]
    assert rows[2] == BadRow(9, "has 3 cells, but the header 2")
    assert rows[3] == BadRow(10, "Text holds a NUL character, which PostgreSQL cannot store")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"]
)  # fmt: skip
def test_encodings(encoding: str) -> None:
    assert told("Key,Text,Zoë\n1,naïve – “x”,ß\n".encode(encoding)) == [
        {"Key": "1", "Text": "naïve – “x”", "Zoë": "ß"}
    ]


def test_a_line_in_another_encoding_leaves_the_others_alone() -> None:
    data = 'Key,Text\n1,"日本 🎉\n'.encode() + b'caf\xe9"\r\n2,\xd9\x85\xd8\xb1\n'
    assert [row["Text"] for row in told(data)] == ["日本 🎉\ncafé", "مر"]


def test_a_line_of_odd_bytes_does_not_end_the_file() -> None:
    document = b"Key,Text\n\xff\xfe\n1,\xff\xfea\x81\n"
    assert told(document) == [{"Key": "ÿþ"}, {"Key": "1", "Text": "ÿþa\x81"}]


def test_big_endian_utf_16() -> None:
    data = codecs.BOM_UTF16_BE + "Key;Text\n1;ü\n".encode("utf-16-be")
    assert told(data) == [{"Key": "1", "Text": "ü"}]


def test_missing_cells_at_the_end_of_a_row_are_empty() -> None:
    assert told("Key,Text,More\n1,a\n2\n3,b,c") == [
        {"Key": "1", "Text": "a"},
        {"Key": "2"},
        {"Key": "3", "Text": "b", "More": "c"},
    ]


def test_a_file_that_is_cut_off() -> None:
    assert bad("Key,Text,More\n1,a,b\n2,c") == (
        3,
        "ends after 2 of 3 cells; is the file cut off?",
    )
    reason = "a quote is opened and never closed; is the file cut off?"
    assert bad('Key,Text\n1,a\n2,"b\nc') == (3, reason)
    assert bad('Key,Text\n1,a\n2,"b\nc\n') == (3, reason)
    assert len(read('Key,Text\n1,a\n2,"b\nc')) == 2


def test_what_is_not_such_a_file() -> None:
    assert (
        read("")
        == read("\ufeff\n \n")
        == [BadRow(1, "empty, not a sample, which begins with a header")]
    )
    assert read('{"a": 1}\n{"a": 2}\n') == [
        BadRow(1, "not a sample: its header has no column Key, Text")
    ]
    assert bad("Key,T\0xt,Text\n1,a,b\n")[1].startswith("not a sample: its header holds a NUL")
    assert read("Key,Text\n") == []


def test_columns_without_a_name_are_counted() -> None:
    assert told("Key,,Text,\n1,a,b,c\n") == [
        {"Key": "1", "column 2": "a", "Text": "b", "column 4": "c"}
    ]


def test_a_cell_may_be_large_and_the_limit_of_others_stays() -> None:
    limit = csv.field_size_limit()
    rows = foreign_csv.records(
        io.BytesIO(f"Key,Text\n1,{'x' * 10_000_000}\n2,y\n".encode()), "a sample", REQUIRED
    )
    first = next(rows)
    assert isinstance(first, Record)
    assert len(str(first.peek("Text"))) == 10_000_000
    assert csv.field_size_limit() == limit
    assert len(list(rows)) == 1


def test_a_quote_that_swallows_the_file_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_csv, "CELL_LIMIT", 1000)
    assert read('Key,Text\n1,"' + "x\n" * 1000 + '2,b\n"') == [
        BadRow(2, "a cell of more than 1000 characters; the rest is not read")
    ]


def test_the_stream_stays_open_and_can_be_read_again() -> None:
    stream = io.BytesIO(b"Key,Text\n1,a\n2,b\n")
    for _ in range(2):
        assert isinstance(next(foreign_csv.records(stream, "a sample", REQUIRED)), Record)
    assert not stream.closed
    assert len(list(foreign_csv.records(stream, "a sample", REQUIRED))) == 2


def test_a_stream_may_be_closed_before_all_is_read() -> None:
    stream = io.BytesIO(b"Key,Text\n1,a\n2,b\n")
    rows = foreign_csv.records(stream, "a sample", REQUIRED)
    assert isinstance(next(rows), Record)
    stream.close()
    assert isinstance(rows, Generator)
    rows.close()


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"Key,Text,More\n"
        for number in range(4_000):
            yield b'%d,"%s\n\xc3\xa9",c\n' % (number, b"x" * 2000)

    with peak_below(2_000_000):
        rows = foreign_csv.records(io.BufferedReader(Generated(pieces)), "a sample", REQUIRED)
        assert sum(isinstance(row, Record) for row in rows) == 4_000


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"))


@settings(max_examples=100)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.sampled_from(",;"))
def test_what_was_written_is_read(rows: list[tuple[str, str]], delimiter: str) -> None:
    document = table(["Key", "Text"], *rows, delimiter=delimiter)
    cells = [{"Key": key, "Text": text} for key, text in rows]
    kept = [{name: cell for name, cell in row.items() if cell.strip()} for row in cells]
    assert told(document) == [row for row in kept if row]


@settings(max_examples=100)
@given(st.binary())
def test_no_file_raises(data: bytes) -> None:
    rows = read(b"Key,Text\n" + data)
    lines = [row.line for row in rows]
    assert len(lines) == len(set(lines))
    read(data)
