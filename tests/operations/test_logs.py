import io
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from bot.operations import logs
from tests.isolation import isolated_logging


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    with isolated_logging():
        yield


def log_to_stream(level: str = "DEBUG", *secrets: str) -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(level, secrets, stream=stream)
    return stream


def test_a_line_has_level_logger_and_message() -> None:
    stream = log_to_stream()
    logging.getLogger("bot.worker.loop").warning("job %s is late", "abc")
    assert stream.getvalue().endswith(" WARNING bot.worker.loop: job abc is late\n")


def test_a_secret_in_a_message_or_its_arguments_is_redacted() -> None:
    stream = log_to_stream("DEBUG", "hunter2")
    logging.getLogger("x").info("key hunter2, header %s", {"Authorization": "Bearer hunter2"})
    assert "hunter2" not in stream.getvalue()
    assert "Bearer [secret]" in stream.getvalue()


def test_a_secret_in_a_traceback_is_redacted() -> None:
    stream = log_to_stream("DEBUG", "hunter2")
    try:
        int("hunter2")
    except ValueError:
        logging.getLogger("x").exception("it broke")
    assert "ValueError: invalid literal for int() with base 10: '[secret]'" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_a_secret_that_contains_another_is_redacted_as_a_whole() -> None:
    stream = log_to_stream("DEBUG", "hunter", "hunter-and-more")
    logging.getLogger("x").info("it is hunter-and-more")
    assert stream.getvalue().endswith("it is [secret]\n")


def test_an_empty_secret_redacts_nothing() -> None:
    stream = log_to_stream("DEBUG", "")
    logging.getLogger("x").info("as it is")
    assert stream.getvalue().endswith("as it is\n")


def test_messages_below_the_level_are_left_out() -> None:
    stream = log_to_stream("WARNING")
    logging.getLogger("x").info("chatter")
    logging.getLogger("x").warning("news")
    assert "chatter" not in stream.getvalue()
    assert "news" in stream.getvalue()


@pytest.mark.parametrize("library", ["discord.http", "aiosqlite", "aiohttp.client"])
def test_libraries_do_not_log_requests_and_rows_even_at_debug(library: str) -> None:
    stream = log_to_stream("DEBUG")
    logging.getLogger(library).debug("body of a request")
    logging.getLogger(library).info("connected")
    assert "body of a request" not in stream.getvalue()
    assert "connected" in stream.getvalue()


@pytest.mark.parametrize("library", ["sqlalchemy.engine.Engine", "alembic.runtime.migration"])
@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_sql_statements_are_not_logged_but_database_warnings_are(library: str, level: str) -> None:
    stream = log_to_stream(level)
    logging.getLogger(library).info("SELECT 1")
    logging.getLogger(library).warning("no transaction")
    assert "SELECT 1" not in stream.getvalue()
    assert "no transaction" in stream.getvalue()


@pytest.mark.parametrize("library", ["discord.client", "discord.state"])
def test_warnings_of_discord_py_at_each_start_are_left_out_but_its_errors_are_not(library: str) -> None:
    stream = log_to_stream("DEBUG")
    logging.getLogger(library).warning("there is no voice")
    logging.getLogger(library).error("an event broke")
    assert "there is no voice" not in stream.getvalue()
    assert "an event broke" in stream.getvalue()


@pytest.mark.parametrize("library", ["discord.http", "discord.gateway", "discord.webhook.async_"])
def test_rate_limits_and_a_lost_connection_are_logged(library: str) -> None:
    stream = log_to_stream("INFO")
    logging.getLogger(library).warning("we are being rate limited")
    assert "we are being rate limited" in stream.getvalue()


def test_libraries_are_limited_to_the_level() -> None:
    stream = log_to_stream("ERROR")
    logging.getLogger("discord.gateway").warning("reconnecting")
    assert not stream.getvalue()


def test_warnings_go_to_the_log() -> None:
    stream = log_to_stream()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this goes away", UserWarning, stacklevel=1)
    assert "UserWarning: this goes away" in stream.getvalue()


def test_setting_up_again_replaces_the_previous_stream() -> None:
    first, second = log_to_stream(), log_to_stream()
    logging.getLogger("x").info("once")
    assert not first.getvalue()
    assert second.getvalue().count("once") == 1


def test_without_a_stream_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO")
    logging.getLogger("x").info("hello")
    shown = capsys.readouterr()
    assert "hello" in shown.err
    assert not shown.out


def test_an_uncaught_exception_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO", ["hunter2"])
    try:
        int("hunter2")
    except ValueError as error:
        sys.__excepthook__(type(error), error, error.__traceback__)
    assert "ValueError: invalid literal for int() with base 10: '[secret]'" in capsys.readouterr().err


def test_a_broken_log_call_is_shown_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    logs.set_up("INFO", ["hunter2"])
    logging.getLogger("x").info("a number: %d", "hunter2")
    shown = capsys.readouterr().err
    assert "Arguments: ('[secret]',)" in shown
    assert "hunter2" not in shown


def test_printed_secrets_are_redacted_and_the_rest_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO", ["hunter2"])
    assert sys.stdout.write("it is hunter2\n") == len("it is hunter2\n")
    sys.stdout.writelines(["hunter2\n", "done\n"])
    assert capsys.readouterr().out == "it is [secret]\n[secret]\ndone\n"


def test_standard_output_keeps_its_attributes() -> None:
    before = sys.stdout
    logs.set_up("INFO", ["hunter2"])
    assert (sys.stdout.isatty(), sys.stdout.encoding) == (before.isatty(), before.encoding)


def test_setting_up_again_with_other_secrets_forgets_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO", ["first"])
    logs.set_up("INFO", ["second"])
    sys.stdout.write("first second\n")
    assert capsys.readouterr().out == "first [secret]\n"


def test_a_base64_or_percent_encoded_secret_is_redacted() -> None:
    stream = log_to_stream("DEBUG", "hunter2/and+more")
    logging.getLogger("x").info("Basic bWU6aHVudGVyMi9hbmQrbW9yZQ== ?key=hunter2%2Fand%2Bmore")
    assert stream.getvalue().endswith("?key=[secret]\n")
    assert "aHVudGVyMi9hbmQr" not in stream.getvalue()


@pytest.mark.parametrize(
    ("sent", "shown"), [("\x1b[2J", r"\x1b[2J"), ("\r2026", r"\x0d2026"), ("\x9b1m", r"\x9b1m")]
)
def test_terminal_control_characters_are_escaped(sent: str, shown: str) -> None:
    stream = log_to_stream()
    logging.getLogger("x").info("server %s is welcomed", sent)
    assert stream.getvalue().endswith(f"server {shown} is welcomed\n")
