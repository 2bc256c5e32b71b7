import csv
import io
from typing import Any

import pytest

from bot.domain.jobs import JobState, Resolution
from bot.domain.usage_stats import JobLine
from bot.services.admin.usage import COLUMNS, CSV_LINES_MAX, JobCsv

LIMIT = 100_000


def a_line(**changes: Any) -> JobLine:
    values: dict[str, Any] = {
        "id": "abc",
        "created_at": "2026-01-31T12:00:00Z",
        "user_id": 123456789012345678,
        "state": JobState.DELIVERED,
        "failure": None,
        "resolution": Resolution.P720,
        "in_queue_s": 2.54,
        "to_video_s": 61.0,
        "reserved_nano_usd": 200_000_000,
        "nano_usd": 1,
        "is_reserved": False,
        "provider": "dashscope",
    }
    return JobLine(**values | changes)


def read(export: JobCsv) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.data().decode())))


def test_a_line_has_a_cell_for_each_column() -> None:
    export = JobCsv(LIMIT)
    export.add([a_line()])

    assert read(export) == [
        {
            "id": "abc",
            "created_at": "2026-01-31T12:00:00Z",
            "member_id": "123456789012345678",
            "state": "delivered",
            "failure": "",
            "resolution": "720P",
            "queue_seconds": "2.5",
            "total_seconds": "61.0",
            "usd_reserved": "0.2",
            "usd": "0.000000001",
        }
    ]


def test_an_unknown_value_is_an_empty_cell() -> None:
    export = JobCsv(LIMIT)
    export.add([a_line(in_queue_s=None, to_video_s=None, reserved_nano_usd=None)])

    (row,) = read(export)
    assert (row["queue_seconds"], row["total_seconds"], row["usd_reserved"]) == ("", "", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
@pytest.mark.parametrize("column", ["id", "failure"])
def test_no_cell_is_a_formula(column: str, start: str) -> None:
    export = JobCsv(LIMIT)
    export.add([a_line(**{column: f"{start}1+1"})])

    (row,) = read(export)
    assert row[column] == f"'{start}1+1"


def test_an_empty_csv_has_its_header() -> None:
    assert JobCsv(LIMIT).data().decode() == ",".join(COLUMNS) + "\r\n"


def test_a_full_csv_stays_within_its_limit_and_reports_it() -> None:
    export = JobCsv(5000)

    assert not export.add([a_line()] * 1000)

    assert 0 < export.lines < 1000
    assert len(export.data()) <= 5000
    assert len(read(export)) == export.lines


def test_a_csv_has_no_more_lines_than_a_spreadsheet_opens_quickly() -> None:
    export = JobCsv(100_000_000)

    assert export.add([a_line()] * (CSV_LINES_MAX - 1))
    assert not export.add([a_line()] * 2)

    assert export.lines == CSV_LINES_MAX


def test_lines_are_added_chunk_by_chunk() -> None:
    export = JobCsv(LIMIT)

    assert export.add([a_line(id="a"), a_line(id="b")])
    assert export.add([a_line(id="c")])

    assert [row["id"] for row in read(export)] == ["a", "b", "c"]
    assert export.lines == 3


def test_where_there_are_several_providers_each_line_says_whose_it_is() -> None:
    export = JobCsv(LIMIT, with_provider=True)
    export.add([a_line(), a_line(provider=None)])

    assert [row["provider"] for row in read(export)] == ["dashscope", ""]
