"""The settings: what an operator can set through the environment or a `.env` file.

Importing this module reads nothing; `Settings.load` is called once, at the start. Operators read a field's
description when its value is invalid, and in docs/operating.md.
"""

import os
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Literal, Self
from urllib.request import getproxies

from dotenv import dotenv_values
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.domain.database_url import possible_passwords
from bot.domain.errors import SettingsError
from bot.domain.jobs import DEFAULT_MODEL, ProviderName
from bot.domain.models import KNOWN_NAMES, not_offered
from bot.setting_types import (
    DatabaseUrl,
    DiscordApiUrl,
    GatewayUrl,
    Host,
    HttpUrl,
    Id,
    Ids,
    Key,
    LogFormat,
    LogLevel,
    Models,
    Providers,
    Usd,
    UsdOrNone,
    UsdPerCny,
    cny_price,
    number,
    provider_budget,
    usd,
)

_WEEK_S, _MONTH_S = 604_800, 2_592_000
_NAME_SIMILARITY = 0.88
"""How similar an unknown name must be to a setting's (0 to 1, see `difflib`) to count as a typing error."""


class _Group(BaseSettings):
    """Settings that some command needs."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    @classmethod
    def load(cls, env_file: str | None = ".env") -> Self:
        """Reads the environment and `env_file`; None: only the environment.

        Raises: SettingsError, with one line for each problem.
        """
        try:
            return cls(_env_file=env_file)
        except ValidationError as error:
            problems = [_problem(cls, detail) for detail in error.errors()]
            raise SettingsError(list(dict.fromkeys(problems))) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = "it isn't UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise SettingsError(
                [f"The file `.env` can't be read: {reason}. Save it as UTF-8 text that this user can read."]
            ) from None


class MetricsSettings(_Group):
    """The settings of metrics and health, which the demo takes as well."""

    metrics_host: Host = Field(
        "127.0.0.1", description="the address at which METRICS_PORT listens, such as `0.0.0.0` for all"
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="the port for metrics and health, 0 to 65535 (0: any that is free)"
    )


class DatabaseSettings(_Group):
    """The settings that `zoetrope db` needs: no token, no key."""

    database_url: DatabaseUrl = Field(
        "sqlite:///data/zoetrope.db",
        repr=False,
        description="`sqlite:///path/to/file.db` or `postgresql://user:password@host/name`",
    )
    log_level: LogLevel = Field("INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`")
    log_format: LogFormat = Field("text", description="`text`, or `json`: one JSON object a line")

    def secrets(self) -> tuple[str, ...]:
        """The values that must never appear in a log or an error text."""
        keys = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        secrets = [*keys, *possible_passwords(self.database_url), *_environment_passwords()]
        return tuple(dict.fromkeys(filter(None, secrets)))

    def secret_names(self) -> frozenset[str]:
        """The settings that hold a secret, in upper case; nothing else reads them from the environment."""
        keys = [name for name, value in self if isinstance(value, SecretStr)]
        return frozenset(name.upper() for name in [*keys, "database_url"])


PUBLISHED_MAX_RUNNING = 2
PUBLISHED_SUBMITS_PER_SECOND = 2.0
"""What the model's maker allows one account (Alibaba Model Studio, rate limits of `wan2.2-i2v-flash`, read
2026-11-28). It charges 0.50 and 1.00 CNY for a video of 480P and 720P, hence the default prices."""


class Settings(DatabaseSettings, MetricsSettings):
    """All settings."""

    discord_token: Key = Field(description="the bot's token from the Discord developer portal")
    providers: Providers = Field(
        (ProviderName.VTRIX,),
        description="`vtrix`, `dashscope` or both, comma-separated, in the order in which they are asked",
    )
    vtrix_api_key: Key | None = Field(
        None, validate_default=True, description="your API key for the Vtrix gateway, or PROVIDERS without `vtrix`"
    )
    vtrix_base_url: HttpUrl = Field("https://cloud.vtrix.ai", description="the Vtrix gateway's http(s) URL")
    upstream_body: Literal["auto", "envelope", "flat", "queue"] = Field(
        "auto", description="`auto`, `envelope`, `flat` or `queue`: the form of a create request"
    )
    upstream_max_running: int = number(PUBLISHED_MAX_RUNNING, 1, 20_000, "how many tasks may run at once")
    upstream_submits_per_second: float = number(
        PUBLISHED_SUBMITS_PER_SECOND, 0.001, 100, "how many tasks may be created per second"
    )
    upstream_task_lifetime_seconds: float = number(
        86_400, 60, _MONTH_S, "how long a provider keeps a task and its video", "seconds"
    )
    upstream_max_pause_seconds: float = number(
        900, 60, 3600, "the longest that a provider's `Retry-After` stops submissions", "seconds"
    )
    upstream_result_max_bytes: int = Field(
        200_000_000, ge=1_000_000, description="the largest video to download, at least 1000000 bytes"
    )
    dashscope_api_key: Key | None = Field(
        None, validate_default=True, description="your API key for Alibaba Model Studio (DashScope)"
    )
    dashscope_base_url: HttpUrl = Field(
        "https://dashscope.aliyuncs.com/api/v1", description="the http(s) URL of your key's region, with `/api/v1`"
    )
    dashscope_max_running: int = number(
        PUBLISHED_MAX_RUNNING, 1, 20_000, "how many tasks may run at once at DashScope"
    )
    dashscope_submits_per_second: float = number(
        PUBLISHED_SUBMITS_PER_SECOND, 0.001, 100, "how many tasks may be created per second at DashScope"
    )
    dashscope_usd_per_cny: UsdPerCny = Field(Decimal("0.14"), description="how many USD one CNY is, 0.001 to 100")
    dashscope_price_cny_480p: Usd = cny_price("0.50", "480P")
    dashscope_price_cny_720p: Usd = cny_price("1.00", "720P")
    models: Models = Field((DEFAULT_MODEL,), description=f"{KNOWN_NAMES}, comma-separated, the default first")
    discord_api_url: DiscordApiUrl | None = Field(
        None, description="the http(s) URL of a REST proxy, such as `http://127.0.0.1:8080/api/v10`"
    )
    discord_gateway_url: GatewayUrl | None = Field(
        None, description="the ws(s) URL of a gateway proxy, such as `ws://127.0.0.1:8081`"
    )
    poll_min_seconds: float = number(3.0, 0.1, 900, "the shortest pause between two polls of a task", "seconds")
    poll_max_seconds: float = number(15.0, 0.1, 900, "the longest pause between two polls of a task", "seconds")
    job_timeout_seconds: float = number(
        1800.0, 10, _WEEK_S, "how long a task may run before its job fails", "seconds"
    )
    quota_videos_per_day: int = number(5, 0, 10_000, "videos per member and server in the rolling window")
    quota_running: int = number(2, 1, 1000, "videos in progress per member and server")
    quota_window_hours: int = number(24, 1, 720, "the rolling window of QUOTA_VIDEOS_PER_DAY", "hours")
    quota_pause_seconds: int = number(0, 0, 86_400, "the pause between two orders by the same member", "seconds")
    price_usd_480p: Usd = usd("0.07", "the estimated cost of a 480P video")
    price_usd_720p: Usd = usd("0.14", "the estimated cost of a 720P video")
    budget_usd_per_day: UsdOrNone = usd("10", "what all videos together may cost per day", or_none=True)
    budget_usd_per_month: UsdOrNone = usd("100", "what all videos together may cost per month", or_none=True)
    vtrix_budget_usd_per_day: UsdOrNone = provider_budget("Vtrix", "day")
    vtrix_budget_usd_per_month: UsdOrNone = provider_budget("Vtrix", "month")
    dashscope_budget_usd_per_day: UsdOrNone = provider_budget("DashScope", "day")
    dashscope_budget_usd_per_month: UsdOrNone = provider_budget("DashScope", "month")
    server_budget_usd_per_day: UsdOrNone = usd("2", "what one server's videos may cost per day", or_none=True)
    server_budget_usd_per_month: UsdOrNone = usd("20", "what one server's videos may cost per month", or_none=True)
    extend_max_seconds: int = number(30, 5, 60, "the longest clip that members may extend a video to", "seconds")
    direct_orders: bool = Field(
        default=False, description="`true`, or `false`: videos can be ordered in servers only"
    )
    direct_videos_per_day: int = number(3, 0, 10_000, "videos per member outside servers in the rolling window")
    direct_budget_usd_per_day: UsdOrNone = usd(
        "1", "what all videos ordered outside servers may cost per day", or_none=True
    )
    direct_budget_usd_per_month: UsdOrNone = usd(
        "10", "what all videos ordered outside servers may cost per month", or_none=True
    )
    queue_max: int = number(1000, 1, 100_000, "how many videos may be queued")
    open_to_all_servers: bool = Field(
        default=True, description="`true`, or `false`: only servers that the operator allows may use the bot"
    )
    operator_guild_id: Id | None = Field(None, description="the id of the server where `/operator` works")
    operator_user_ids: Ids = Field((), description="the ids of the users who may use `/operator`, comma-separated")
    operator_log_channel_id: Id | None = Field(None, description="the id of the channel for operator alerts")
    retention_days: int = number(90, 1, 3650, "days until a finished job is anonymised")
    pictures_kept_days: int = number(30, 0, 3650, "days from a video's end during which its picture is kept")
    erase_after_leaving_days: int = number(
        30, 0, 3650, "days from the bot leaving a server until its data is erased"
    )
    shutdown_grace_seconds: float = number(75.0, 0, 600, "how long a stop waits for steps in progress", "seconds")

    @field_validator("vtrix_api_key", "dashscope_api_key")
    @classmethod
    def _needed_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """A provider that makes videos needs its key; without one, nobody can ask about its tasks either."""
        provider = str(info.field_name).removesuffix("_api_key")
        if key is None and provider in info.data.get("providers", ()):
            raise PydanticCustomError("missing", "the key of a provider is missing")
        return key

    @classmethod
    def load(cls, env_file: str | None = ".env") -> Self:
        """Reads the settings, and checks that they go together. Raises: SettingsError."""
        settings = super().load(env_file)
        if problems := _misspelled_names() or _contradictions(settings):
            raise SettingsError(problems)
        return settings


class GivenSettings(Settings):
    """Settings passed as arguments, for the demo and for tests: neither the environment nor `.env` is read."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the arguments."""
        del settings_cls
        return (init_settings,)


def _contradictions(settings: Settings) -> list[str]:
    """One line for each problem between settings that are valid on their own."""
    guild_id, user_ids = settings.operator_guild_id, settings.operator_user_ids
    problems = {
        "POLL_MAX_SECONDS is smaller than POLL_MIN_SECONDS. Swap or change them.": (
            settings.poll_max_seconds < settings.poll_min_seconds
        ),
        "OPERATOR_GUILD_ID and OPERATOR_USER_IDS only work together. Set both, or neither.": (
            (guild_id is None) == bool(user_ids)
        ),
        "OPEN_TO_ALL_SERVERS=false needs `/operator allow`. Set OPERATOR_GUILD_ID and OPERATOR_USER_IDS.": (
            not settings.open_to_all_servers and guild_id is None
        ),
    }
    for name in not_offered(settings.models, settings.providers):
        problems[f"MODELS names {name}, but no provider in PROVIDERS offers it. Change one of them."] = True
    return [problem for problem, exists in problems.items() if exists]


def _misspelled_names() -> list[str]:
    """One line for each name in `.env` that is almost a setting's; it would silently have no effect."""
    known = {name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in dotenv_values(".env", encoding="utf-8") if name.upper() not in known)
    matches = {name: get_close_matches(name.upper(), known, n=1, cutoff=_NAME_SIMILARITY) for name in unknown}
    return [
        f"{name} in `.env` is not a setting. Did you mean {match[0]}?" for name, match in matches.items() if match
    ]


def _environment_passwords() -> list[str]:
    """The passwords that libraries read from the environment themselves: libpq's and the proxies'."""
    passwords = [os.environ.get("PGPASSWORD", "")]
    for scheme, url in getproxies().items():
        if scheme != "no" and "@" in url:
            passwords += possible_passwords(url if "://" in url else f"http://{url}")
    return passwords


def _problem(settings: type[_Group], detail: ErrorDetails) -> str:
    """One line for an operator: the setting's name, what is wrong with it, and what it takes."""
    name = str(detail["loc"][0])
    problem = "is missing" if detail["type"] == "missing" else f"is invalid: {_reason(detail)}"
    return f"{name.upper()} {problem}. Expected: {settings.model_fields[name].description}."


_REASONS = {
    "int_parsing": "it is not a whole number",
    "int_from_float": "it is not a whole number",
    "int_parsing_size": "it is far too large",
    "float_parsing": "it is not a number",
    "decimal_parsing": "it is not a number",
    "decimal_max_places": "it has more than {decimal_places} decimal places",
    "finite_number": "it is not a finite number",
    "bool_parsing": "it is neither `true` nor `false`",
    "literal_error": "it is not one of the values that are allowed",
    "enum": "it is not one of the values that are allowed",
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "value_error": "{error}",
}
"""By pydantic's type of error; its own texts aren't written for operators."""


def _reason(detail: ErrorDetails) -> str:
    """What is wrong with a value, as the end of a sentence."""
    return _REASONS.get(detail["type"], "it can't be read").format(**detail.get("ctx", {}))
