from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from discord.http import INTERNAL_API_VERSION

from bot.domain.errors import SettingsError
from bot.settings import DatabaseSettings, GivenSettings, MetricsSettings, Settings
from tests.settings.conftest import KEYS, problems


def test_two_keys_are_enough(load: Any) -> None:
    settings = load()
    assert settings.discord_token.get_secret_value() == "token-of-the-bot"
    assert settings.vtrix_base_url == "https://cloud.vtrix.ai"
    assert settings.database_url == "sqlite:///data/zoetrope.db"
    assert (settings.upstream_max_running, settings.upstream_submits_per_second) == (2, 2)
    assert settings.job_timeout_seconds == 1800
    assert (settings.quota_videos_per_day, settings.quota_running) == (5, 2)
    assert settings.discord_api_url is None
    assert settings.discord_gateway_url is None


def test_both_missing_keys_are_reported_on_a_line_each() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    token, key = caught.value.problems
    assert token == "DISCORD_TOKEN is missing. Expected: the bot's token from the Discord developer portal."
    assert (
        key
        == "VTRIX_API_KEY is missing. Expected: your API key for the Vtrix gateway, or PROVIDERS without `vtrix`."
    )


def test_settings_are_read_from_a_dotenv_file(empty_folder: Path) -> None:
    lines = ["# mine", *(f"{name}={value}" for name, value in KEYS.items()), 'QUOTA_RUNNING="3"', "OTHER=thing"]
    (empty_folder / ".env").write_text("\n".join(lines), encoding="utf-8")
    assert Settings.load().quota_running == 3


def test_a_dotenv_file_from_windows_notepad_is_read(empty_folder: Path) -> None:
    text = "\r\n".join(f"{name}={value}" for name, value in KEYS.items())
    (empty_folder / ".env").write_text(text, encoding="utf-8-sig", newline="")
    assert Settings.load().secrets() == tuple(KEYS.values())


def test_the_environment_overrides_the_dotenv_file(empty_folder: Path, load: Any) -> None:
    (empty_folder / ".env").write_text("QUOTA_RUNNING=3", encoding="utf-8")
    assert load(QUOTA_RUNNING="4").quota_running == 4


def test_a_dotenv_file_that_is_not_text_is_a_problem_without_a_traceback(empty_folder: Path, load: Any) -> None:
    (empty_folder / ".env").write_bytes(b"DISCORD_TOKEN=\xff\xfe")
    (problem,) = problems(load)
    assert problem.startswith("The file `.env` can't be read: it isn't UTF-8 text.")


def test_an_empty_setting_has_its_default(load: Any) -> None:
    assert load(QUOTA_RUNNING="", DISCORD_API_URL="").quota_running == 2


def test_an_empty_key_is_a_missing_key(load: Any) -> None:
    assert problems(load, DISCORD_TOKEN="")[0].startswith("DISCORD_TOKEN is missing.")


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("DISCORD_TOKEN", "short", "it is too short."),
        ("DISCORD_TOKEN", "a token with blanks", "a space"),
        ("VTRIX_API_KEY", "clé-avec-accent", "a character that doesn't belong"),
        ("PROVIDERS", "vtrix,runway", "not one of the values"),
        ("PROVIDERS", "vtrix dashscope", "not one of the values"),
        ("PROVIDERS", "vtrix,Vtrix", "it names a provider twice"),
        ("PROVIDERS", " , ", "it names no provider"),
        ("DASHSCOPE_API_KEY", "short", "it is too short."),
        ("DASHSCOPE_BASE_URL", "dashscope.aliyuncs.com/api/v1", "start with http:// or https://"),
        ("DASHSCOPE_MAX_RUNNING", "0", "at least 1"),
        ("DASHSCOPE_SUBMITS_PER_SECOND", "0", "at least 0.001"),
        ("DASHSCOPE_USD_PER_CNY", "0", "at least 0.001"),
        ("DASHSCOPE_USD_PER_CNY", "inf", "finite"),
        ("DASHSCOPE_PRICE_CNY_480P", "-1", "at least 0"),
        ("DASHSCOPE_PRICE_CNY_720P", "1,00", "not a number"),
        ("VTRIX_BUDGET_USD_PER_DAY", "-1", "at least 0"),
        ("DASHSCOPE_BUDGET_USD_PER_MONTH", "lots", "not a number"),
        ("VTRIX_BASE_URL", "cloud.vtrix.ai", "start with http:// or https://"),
        ("VTRIX_BASE_URL", "ftp://cloud.vtrix.ai", "start with http:// or https://"),
        ("VTRIX_BASE_URL", "https://me:hunter2@cloud.vtrix.ai", "must not contain a user name, a password"),
        ("VTRIX_BASE_URL", "https://cloud.vtrix.ai/?key=hunter2", "`?` or `#`"),
        ("VTRIX_BASE_URL", "https://cloud.vtrix.ai/?", "`?` or `#`"),
        ("VTRIX_BASE_URL", "https://cloud.vtrix.ai:99999", "name a host"),
        ("VTRIX_BASE_URL", "http://[::1", "name a host"),
        ("UPSTREAM_BODY", "ENVELOPE", "not one of the values"),
        ("UPSTREAM_MAX_RUNNING", "five", "not a whole number"),
        ("UPSTREAM_MAX_RUNNING", "0", "at least 1"),
        ("UPSTREAM_SUBMITS_PER_SECOND", "0", "at least 0.001"),
        ("UPSTREAM_SUBMITS_PER_SECOND", "1e-300", "at least 0.001"),
        ("UPSTREAM_TASK_LIFETIME_SECONDS", "1e300", "at most"),
        ("UPSTREAM_RESULT_MAX_BYTES", "1", "at least 1000000"),
        ("DATABASE_URL", "mysql://me:hunter2@host/name", "SQLite or PostgreSQL"),
        ("DATABASE_URL", "data/zoetrope.db", "SQLite or PostgreSQL"),
        ("DATABASE_URL", "sqlite:///", "SQLite or PostgreSQL"),
        ("DATABASE_URL", "sqlite://data/zoetrope.db", "SQLite or PostgreSQL"),
        ("DATABASE_URL", "sqlite:///:memory:", "just a file"),
        ("DATABASE_URL", "sqlite:///data/zoetrope.db?mode=ro", "just a file"),
        ("DATABASE_URL", "postgresql://me:hunter2@host:port/name", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://me:hunter2@host:0/name", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://me:hunter2@one:port,two:5432/name", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://me:hunter2@host:65536/name", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://me:hunter2@host:/name", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgres://host:5432x?sslmode=require", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql:///name?host=host:port", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://host/name?port=port", "a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://me:hunter2@one,,two/name", "hosts is missing"),
        ("DATABASE_URL", "postgresql://me:hunter2@[::1/name", "unmatched bracket"),
        ("DISCORD_API_URL", "127.0.0.1:8080", "start with http:// or https://"),
        ("DISCORD_API_URL", "http:///api", "name a host"),
        ("DISCORD_API_URL", "http://discord.example:port/api", "name a host"),
        ("DISCORD_API_URL", "http://:hunter2@127.0.0.1/api", "must not contain a user name, a password"),
        ("DISCORD_API_URL", "http://discord.example/api?v=10", "`?` or `#`"),
        ("DISCORD_API_URL", "http://discord.example/api#v10", "`?` or `#`"),
        ("DISCORD_API_URL", "http://discord.example/api/v9", "must end with /v10"),
        ("DISCORD_API_URL", "http://discord.example/api/v9/", "must end with /v10"),
        ("DISCORD_GATEWAY_URL", "http://127.0.0.1:8081", "start with ws:// or wss://"),
        ("DISCORD_GATEWAY_URL", "ws://", "name a host"),
        ("DISCORD_GATEWAY_URL", "ws://me:hunter2@127.0.0.1:8081", "must not contain a user name, a password"),
        ("DISCORD_GATEWAY_URL", "ws://127.0.0.1:8081/?v=10", "`?` or `#`"),
        ("POLL_MIN_SECONDS", "nan", "at most 900"),
        ("POLL_MAX_SECONDS", "901", "at most 900"),
        ("JOB_TIMEOUT_SECONDS", "inf", "at most"),
        ("JOB_TIMEOUT_SECONDS", "9", "at least 10"),
        ("QUOTA_VIDEOS_PER_DAY", "-1", "at least 0"),
        ("QUOTA_RUNNING", "0", "at least 1"),
        ("QUOTA_WINDOW_HOURS", "0", "at least 1"),
        ("QUOTA_WINDOW_HOURS", "721", "at most 720"),
        ("QUOTA_PAUSE_SECONDS", "-1", "at least 0"),
        ("PRICE_USD_480P", "-0.1", "at least 0"),
        ("PRICE_USD_480P", "none", "not a number"),
        ("PRICE_USD_720P", "0,20", "not a number"),
        ("PRICE_USD_720P", "0.1234567891", "more than 9 decimal places"),
        ("BUDGET_USD_PER_DAY", "-1", "at least 0"),
        ("BUDGET_USD_PER_DAY", "$10", "not a number"),
        ("BUDGET_USD_PER_MONTH", "nan", "finite"),
        ("BUDGET_USD_PER_MONTH", "1e300", "at most 1000000"),
        ("SERVER_BUDGET_USD_PER_DAY", "inf", "finite"),
        ("SERVER_BUDGET_USD_PER_MONTH", "1.000,50", "not a number"),
        ("QUEUE_MAX", "0", "at least 1"),
        ("OPEN_TO_ALL_SERVERS", "maybe", "neither `true` nor `false`"),
        ("OPERATOR_GUILD_ID", "my server", "not a whole number"),
        ("OPERATOR_GUILD_ID", str(2**63), "at most"),
        ("OPERATOR_USER_IDS", "123,me", "not a whole number"),
        ("OPERATOR_USER_IDS", "me,you", "not a whole number"),
        ("OPERATOR_USER_IDS", "-5", "at least 1"),
        ("OPERATOR_LOG_CHANNEL_ID", "#log", "not a whole number"),
        ("RETENTION_DAYS", "0", "at least 1"),
        ("ERASE_AFTER_LEAVING_DAYS", "-1", "at least 0"),
        ("SHUTDOWN_GRACE_SECONDS", "601", "at most 600"),
        ("LOG_LEVEL", "LOUD", "not one of the values"),
        ("LOG_FORMAT", "xml", "not one of the values"),
        ("METRICS_PORT", "65536", "at most 65535"),
        ("METRICS_PORT", "-1", "at least 0"),
        ("METRICS_PORT", "http", "not a whole number"),
        ("METRICS_HOST", "127.0.0.1:9464", "neither an IP address nor a host's name"),
        ("METRICS_HOST", "http://localhost", "neither an IP address nor a host's name"),
    ],
)
def test_a_malformed_setting_is_reported_with_the_problem_and_the_expected_value(
    load: Any, name: str, value: str, wrong: str
) -> None:
    (problem,) = problems(load, **{name: value})
    assert problem.startswith(f"{name} is invalid: it ") or "its port" in problem or "its hosts" in problem
    assert wrong in problem
    assert problem.endswith(f" Expected: {Settings.model_fields[name.lower()].description}.")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host/name",
        "postgresql://me:a:b/c?d@host:5432/name",
        "postgresql://me@[::1]/name",
        "postgresql://me:pw@one:5432,two/name",
        "postgresql://me@[::1]:5432/name?sslmode=require",
        "postgresql:///name?host=/run/postgresql",
        "postgres://me:p@h1/name?host=h1:5432&host=h2:5433",
    ],
)
def test_the_usual_forms_of_a_database_url_are_accepted(load: Any, url: str) -> None:
    assert load(DATABASE_URL=url).database_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://me@host:hunter2/name"),
        ("DISCORD_TOKEN", "hunter2 hunter2"),
        ("VTRIX_BASE_URL", "https://me:hunter2@cloud.vtrix.ai:port"),
        ("DATABASE_URL", "mysql://me:hunter2@host/name"),
        ("DISCORD_GATEWAY_URL", "ws://me:hunter2@127.0.0.1:port"),
        ("DISCORD_GATEWAY_URL", "ws://me:hunter2/2@127.0.0.1"),
    ],
)
def test_a_problem_never_repeats_the_value(load: Any, name: str, value: str) -> None:
    (problem,) = problems(load, **{name: value})
    assert "hunter2" not in problem


def test_all_problems_are_reported_at_once(load: Any) -> None:
    reported = problems(load, QUOTA_RUNNING="x", LOG_LEVEL="x", DATABASE_URL="x")
    assert {problem.split()[0] for problem in reported} == {"QUOTA_RUNNING", "LOG_LEVEL", "DATABASE_URL"}


def test_the_maximum_poll_pause_may_not_be_below_the_minimum(load: Any) -> None:
    assert problems(load, POLL_MIN_SECONDS="20", POLL_MAX_SECONDS="10") == [
        "POLL_MAX_SECONDS is smaller than POLL_MIN_SECONDS. Swap or change them."
    ]


def test_by_default_the_bot_spends_ten_usd_a_day_and_at_most_two_for_one_server(load: Any) -> None:
    settings = load()
    assert (settings.budget_usd_per_day, settings.budget_usd_per_month) == (Decimal(10), Decimal(100))
    assert (settings.server_budget_usd_per_day, settings.server_budget_usd_per_month) == (Decimal(2), Decimal(20))
    assert (settings.price_usd_480p, settings.price_usd_720p) == (Decimal("0.07"), Decimal("0.14"))


@pytest.mark.parametrize("none", ["none", "None", " NONE "])
def test_none_removes_a_budget(load: Any, none: str) -> None:
    settings = load(BUDGET_USD_PER_DAY=none, BUDGET_USD_PER_MONTH="12.50", SERVER_BUDGET_USD_PER_DAY="0")
    assert settings.budget_usd_per_day is None
    assert settings.budget_usd_per_month == Decimal("12.50")
    assert settings.server_budget_usd_per_day == 0


@pytest.mark.parametrize("ids", ["11,22", " 11 , 22, ", "11,22,11"])
def test_the_operators_ids_are_separated_by_commas(load: Any, ids: str) -> None:
    assert load(OPERATOR_USER_IDS=ids, OPERATOR_GUILD_ID="5").operator_user_ids == (11, 22)


def test_by_default_there_is_no_operator(load: Any) -> None:
    settings = load(OPERATOR_USER_IDS="", OPERATOR_GUILD_ID="")
    assert (settings.operator_user_ids, settings.operator_guild_id) == ((), None)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"OPERATOR_USER_IDS": "11"}, "OPERATOR_GUILD_ID and OPERATOR_USER_IDS only work together"),
        ({"OPERATOR_GUILD_ID": "5"}, "OPERATOR_GUILD_ID and OPERATOR_USER_IDS only work together"),
        (
            {"OPERATOR_GUILD_ID": "5", "OPERATOR_USER_IDS": " , "},
            "OPERATOR_GUILD_ID and OPERATOR_USER_IDS only work together",
        ),
        ({"OPEN_TO_ALL_SERVERS": "false"}, "OPEN_TO_ALL_SERVERS=false needs `/operator allow`"),
    ],
)
def test_incomplete_operator_settings_are_a_problem(load: Any, given: dict[str, str], named: str) -> None:
    (problem,) = problems(load, **given)
    assert named in problem


def test_a_bot_closed_to_other_servers_with_an_operator_is_valid(load: Any) -> None:
    settings = load(OPEN_TO_ALL_SERVERS="no", OPERATOR_GUILD_ID="5", OPERATOR_USER_IDS="11")
    assert settings.open_to_all_servers is False


def test_by_default_nothing_listens_and_only_on_this_machine(load: Any) -> None:
    settings = load()
    assert (settings.metrics_port, settings.metrics_host, settings.log_format) == (None, "127.0.0.1", "text")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "[::1]", "bot.internal"])  # noqa: S104 - only read
def test_metrics_may_be_served_at_any_address(load: Any, host: str) -> None:
    assert load(METRICS_HOST=host).metrics_host == host.strip("[]")


def test_the_demo_takes_the_port_of_metrics_from_the_environment_alone(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / ".env").write_text("METRICS_PORT=1", encoding="utf-8")
    assert MetricsSettings.load(env_file=None).metrics_port is None
    monkeypatch.setenv("METRICS_PORT", "9464")
    assert MetricsSettings.load(env_file=None).metrics_port == 9464


def test_a_log_level_may_be_lowercase(load: Any) -> None:
    assert load(LOG_LEVEL="debug").log_level == "DEBUG"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://[::1]:8080/api", " https://proxy.example/discord/api/v10/ \n"]
)
def test_a_rest_proxys_url_may_end_with_discord_pys_api_version(load: Any, url: str) -> None:
    assert load(DISCORD_API_URL=url).discord_api_url == url.strip().rstrip("/")
    assert load(DISCORD_API_URL=f"http://proxy/v{INTERNAL_API_VERSION}").discord_api_url


def test_a_trailing_slash_is_dropped(load: Any) -> None:
    assert load(VTRIX_BASE_URL="https://proxy.example/vtrix/").vtrix_base_url == "https://proxy.example/vtrix"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/zoetrope/zoetrope.db",
        "postgres://zoetrope@db/zoetrope",
        "postgresql:///zoetrope?host=/var/run/postgresql",
        "postgresql://me:pw@one:5432,two:5432/zoetrope",
        "postgresql://me:pw@host/zoetrope?options=-c%20search_path=a@b",
        "postgresql:///zoetrope?host=/run/a@b&password=s:c@t",
        "postgresql://host:5432?user=a:b@c:d",
    ],
)
def test_database_urls_are_accepted_as_their_drivers_accept_them(load: Any, url: str) -> None:
    assert load(DATABASE_URL=url).database_url == url


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://me:hunter2@host/name", "hunter2"),
        ("postgresql://me:hunter%402@host/name", "hunter%402"),
        ("postgresql://me:hunter%402@host/name", "hunter@2"),
        ("postgresql://me:hunter@2@host/name", "hunter@2"),
        # The part that a parser which stops at the first `@` takes for the host, and quotes.
        ("postgresql://me:hunter@too@host/name", "too"),
        ("postgresql://me:hunter2@one:5432,two:5432/name", "hunter2"),
        ("postgresql://me:hunter2@host/name?options=a@b", "hunter2"),
        ("postgresql://host/name?user=me&password=hunter2", "hunter2"),
        ("postgresql://host:5432/name?user=me@here&password=hunter%402", "hunter@2"),
        ("postgresql://host:5432/name?user=me@here&password=hunter%402", "hunter%402"),
        ("postgresql://me:a?b@host/name?sslpassword=hunter2&sslmode=require", "hunter2"),
        ("postgresql://me:hunter@too?b=c@host/name", "hunter@too?b=c"),
    ],
)
def test_the_databases_password_is_a_secret(load: Any, url: str, password: str) -> None:
    assert password in load(DATABASE_URL=url).secrets()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGPASSWORD", "hunter2"),
        ("https_proxy", "http://me:hunter2@proxy.example:3128"),
        ("HTTP_PROXY", "me:hunter2@proxy.example:3128"),
        ("all_proxy", "http://me:hunter%32@proxy.example"),
    ],
)
def test_passwords_that_libraries_read_from_the_environment_are_secrets(
    load: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "hunter2" in load().secrets()
    assert "hunter2" in DatabaseSettings.load().secrets()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///data/a:b@c.db",
        "postgresql://me@host:5432/name",
        "postgresql:///x",
        "postgresql://host:5432/name?options=a@b",
    ],
)
def test_without_a_password_the_two_keys_are_the_only_secrets(load: Any, url: str) -> None:
    assert load(DATABASE_URL=url).secrets() == ("token-of-the-bot", "key-of-the-gateway")


def test_the_database_settings_need_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@host/name")
    monkeypatch.setenv("POLL_MIN_SECONDS", "soon")
    settings = DatabaseSettings.load()
    assert settings.database_url == "postgresql://me:hunter2@host/name"
    assert settings.secrets() == ("hunter2",)
    assert "hunter2" not in repr(settings)


def test_the_settings_repr_shows_no_secret(load: Any) -> None:
    shown = repr(load(DATABASE_URL="postgresql://me:hunter2@host/name"))
    assert not any(secret in shown for secret in (*KEYS.values(), "hunter2"))


def test_given_settings_read_neither_environment_nor_dotenv(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / ".env").write_text("QUOTA_RUNNING=3", encoding="utf-8")
    monkeypatch.setenv("QUOTA_VIDEOS_PER_DAY", "9")
    settings = GivenSettings.model_validate({name.lower(): value for name, value in KEYS.items()})
    assert (settings.quota_running, settings.quota_videos_per_day) == (2, 5)


@pytest.mark.parametrize(
    ("misspelled", "meant"),
    [("QUOTA_VIDEO_PER_DAY", "QUOTA_VIDEOS_PER_DAY"), ("POLL_MIN_SECOND", "POLL_MIN_SECONDS")],
)
def test_a_misspelled_name_in_the_file_is_reported(load: Any, misspelled: str, meant: str) -> None:
    Path(".env").write_text(f"{misspelled}=3\n")
    assert problems(load) == [f"{misspelled} in `.env` is not a setting. Did you mean {meant}?"]


def test_unrelated_names_in_the_file_are_ignored(load: Any) -> None:
    Path(".env").write_text("TZ=UTC\nCOMPOSE_PROJECT_NAME=zoetrope\nquota_running=7\n")
    assert load().quota_running == 7
