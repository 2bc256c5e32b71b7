"""The settings: what an operator can say through the environment or a `.env` file.

Nothing is read when this module is imported; `Settings.load` is called once, at the start. The descriptions
below are what an operator reads when a value is wrong.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from bot.errors import SettingsError


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _http_url(value: str) -> str:
    url = URL(value)
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.password:
        raise ValueError("not an http(s) address without user and password")
    if url.query_string or url.fragment:
        raise ValueError("an address without `?` and `#` is wanted")
    return value.rstrip("/")


def _gateway_url(value: str) -> str:
    url = URL(value)
    if url.scheme not in {"ws", "wss"} or not url.host:
        raise ValueError("not a ws(s) address")
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < _SECRET_MIN:
        raise ValueError("shorter than any key")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has white space or characters that no key has")
    return value


def _database_url(value: str) -> str:
    scheme, separator, place = value.partition("://")
    match scheme:
        case "sqlite" if place.startswith("/") and place.strip("/"):
            return value
        case "postgresql" | "postgres" if separator and place:
            return value
        case _:
            raise ValueError("not the address of a SQLite or PostgreSQL database")


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


_SECRET_MIN = 8
_WEEK_S, _MONTH_S = 604_800, 2_592_000

_HttpUrl = Annotated[str, AfterValidator(_http_url)]
_GatewayUrl = Annotated[str, AfterValidator(_gateway_url)]
_Secret = Annotated[SecretStr, AfterValidator(_secret)]
_DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
_LogLevel = Annotated[LogLevel, BeforeValidator(_upper)]


class Settings(BaseSettings):
    """Every setting, with its default and what it takes."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    discord_token: _Secret = Field(description="the bot's token, from the Discord developer portal")
    vtrix_api_key: _Secret = Field(description="the key for the Vtrix gateway")
    vtrix_base_url: _HttpUrl = Field("https://cloud.vtrix.ai", description="the gateway's http(s) address")
    upstream_body: Literal["envelope", "flat"] = Field(
        "envelope", description="`envelope` or `flat`: the form of a create request's body"
    )
    upstream_max_running: int = Field(
        5, ge=1, le=1000, description="how many tasks may run upstream at once, 1 to 1000"
    )
    upstream_submits_per_second: float = Field(
        2.0, ge=0.001, le=100, description="how many tasks may be created a second, 0.001 to 100"
    )
    upstream_task_lifetime_seconds: float = Field(
        86_400,
        ge=60,
        le=_MONTH_S,
        description="how long the gateway can be asked about a task and keeps its video, 60 to 2592000 seconds",
    )
    upstream_result_max_bytes: int = Field(
        200_000_000, ge=1_000_000, description="the largest video that is fetched, 1000000 bytes or more"
    )
    database_url: _DatabaseUrl = Field(
        "sqlite:///data/zoetrope.db",
        repr=False,
        description="`sqlite:///path/to/file.db` or `postgresql://user:password@host/name`",
    )
    discord_api_url: _HttpUrl | None = Field(
        None, description="the http(s) address of a REST proxy, such as `http://127.0.0.1:8080/api/v10`"
    )
    discord_gateway_url: _GatewayUrl | None = Field(
        None, description="the ws(s) address of a gateway proxy, such as `ws://127.0.0.1:8081`"
    )
    poll_min_seconds: float = Field(
        3.0, ge=0.1, le=3600, description="the shortest pause between two looks at a task, 0.1 to 3600 seconds"
    )
    poll_max_seconds: float = Field(
        15.0, ge=0.1, le=3600, description="the longest pause between two looks at a task, 0.1 to 3600 seconds"
    )
    job_timeout_seconds: float = Field(
        1800.0, ge=10, le=_WEEK_S, description="how long a task may run before its job fails, 10 to 604800 seconds"
    )
    quota_videos_per_day: int = Field(
        5, ge=0, le=10_000, description="videos per member and server in any 24 hours, 0 to 10000"
    )
    quota_running: int = Field(
        2, ge=1, le=1000, description="videos in the making at once per member and server, 1 to 1000"
    )
    shutdown_grace_seconds: float = Field(
        75.0, ge=0, le=600, description="how long a stop waits for steps under way, 0 to 600 seconds"
    )
    log_level: _LogLevel = Field(LogLevel.INFO, description="`DEBUG`, `INFO`, `WARNING` or `ERROR`")

    @classmethod
    def load(cls) -> Self:
        """The settings of the environment and of `.env`.

        Raises: SettingsError, with one line for each problem.
        """
        try:
            settings = cls()
        except ValidationError as error:
            raise SettingsError([_readable(detail) for detail in error.errors()]) from None
        except (OSError, UnicodeDecodeError) as error:
            what = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise SettingsError(
                [f"The file `.env` can't be read: {what}. Save it anew, for this user to read."]
            ) from None
        if settings.poll_max_seconds < settings.poll_min_seconds:
            raise SettingsError(["POLL_MAX_SECONDS is smaller than POLL_MIN_SECONDS; swap them or raise it."])
        return settings

    def secrets(self) -> tuple[str, ...]:
        """What must never be seen: the values that logs and errors have to be cleaned of."""
        keys = self.discord_token.get_secret_value(), self.vtrix_api_key.get_secret_value()
        return tuple(dict.fromkeys(secret for secret in (*keys, *_passwords(self.database_url)) if secret))


class GivenSettings(Settings):
    """Settings that are handed in whole, for the demo and for tests: neither environment nor `.env` is read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def _passwords(database_url: str) -> list[str]:
    """The passwords in a database's address, as they stand and as they are meant.

    Cut by hand: the drivers take addresses that URL parsers refuse, such as those of several hosts. Where an
    `@` stands in the password or behind it, readers differ about its end, so both readings count.
    """
    scheme, _, place = database_url.partition("://")
    if scheme == "sqlite":
        return []
    found = parse_qs(place.partition("?")[2]).get("password", [])
    for end in {place.find("@"), place.rfind("@")} - {-1}:
        password = place[:end].partition(":")[2]
        found += [password, unquote(password)]
    return found


def _readable(detail: ErrorDetails) -> str:
    """One line an operator can act on: the setting's name, what is wrong, what it takes."""
    name = str(detail["loc"][0])
    takes = Settings.model_fields[name].description
    said = detail["msg"].removeprefix("Value error, ")
    wrong = "is missing" if detail["type"] == "missing" else f"is not usable ({said[:1].lower()}{said[1:]})"
    return f"{name.upper()} {wrong}. It takes {takes}."
