import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bot.operations import logs
from tests.isolation import isolated_logging

ESCAPE, CSI, LINE_SEPARATOR = "\x1b", "\x9b", "\u2028"


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    with isolated_logging():
        yield


def log_to_stream(*secrets: str) -> io.StringIO:
    stream = io.StringIO()
    logs.set_up("DEBUG", secrets, log_format="json", stream=stream)
    return stream


def only_line(stream: io.StringIO) -> dict[str, str]:
    (line,) = stream.getvalue().splitlines()
    read: dict[str, str] = json.loads(line)
    return read


def test_an_event_is_one_object_with_time_level_logger_and_message() -> None:
    stream = log_to_stream()
    logging.getLogger("bot.worker.loop").warning("%d → late", 3)
    fields = only_line(stream)
    at = datetime.fromisoformat(fields.pop("timestamp"))
    assert at.utcoffset() == UTC.utcoffset(None)
    assert fields == {"level": "WARNING", "logger": "bot.worker.loop", "message": "3 → late"}


def test_a_traceback_is_a_field_of_the_same_line() -> None:
    stream = log_to_stream()
    try:
        int("x")
    except ValueError:
        logging.getLogger("x").exception("it broke")
    fields = only_line(stream)
    assert fields["message"] == "it broke"
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["exception"].endswith("ValueError: invalid literal for int() with base 10: 'x'")


@pytest.mark.parametrize("sent", [ESCAPE, CSI, LINE_SEPARATOR, "\r", "\n", "\x7f", "\x85"])
def test_no_control_character_reaches_the_stream_but_a_reader_gets_it_back(sent: str) -> None:
    stream = log_to_stream()
    logging.getLogger("x").info("server %s[2J is welcomed", sent)
    assert sent not in stream.getvalue()[:-1]
    assert only_line(stream)["message"] == f"server {sent}[2J is welcomed"


def test_secrets_are_redacted_in_messages_and_tracebacks() -> None:
    stream = log_to_stream('hunter"2')
    try:
        int('hunter"2')
    except ValueError:
        logging.getLogger("x").exception("the key is %s", 'hunter"2')
    assert "hunter" not in stream.getvalue()
    fields = only_line(stream)
    assert fields["message"] == "the key is [secret]"
    assert "base 10: '[secret]'" in fields["exception"]


@pytest.mark.parametrize("password", ["level", '": "', "{", ","])
def test_a_password_that_looks_like_the_format_breaks_no_line(
    password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up("DEBUG", [password], log_format="json")
    logging.getLogger("x").info("it is %s", password)
    fields = json.loads(capsys.readouterr().err)
    assert fields["level"] == "INFO"
    assert fields["message"] == "it is [secret]"


def test_what_is_printed_is_still_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("DEBUG", ["hunter2"], log_format="json")
    sys.stderr.write("it is hunter2\n")
    assert capsys.readouterr().err == "it is [secret]\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["backslashreplace", "strict"])
def test_a_stream_of_any_encoding_gets_lines_that_a_reader_gets_back(encoding: str, errors: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, errors, write_through=True)
    logs.set_up("DEBUG", log_format="json", stream=stream)
    said = "s\u00fc\u00df \U0001f3ac \u65e5\u672c \udcff"
    logging.getLogger("x").info("server %s is welcomed", said)
    (line,) = written.getvalue().decode(encoding).splitlines()
    assert json.loads(line)["message"] == f"server {said} is welcomed"
