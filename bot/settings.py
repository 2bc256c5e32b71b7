"""The settings: what an operator can say through the environment or a `.env` file.

Nothing is read when this module is imported; `Settings.load` is called once, at the start. The descriptions
below are what an operator reads when a value is wrong.
"""

import os
import re
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, unquote
from urllib.request import getproxies

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from bot.domain.errors import SettingsError


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _address(*schemes: str) -> AfterValidator:
    """Takes the address of a service, without a slash at its end."""

    def check(value: str) -> str:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        try:
            url = URL(value)
        except ValueError:  # its text may quote a password
            url = URL()
        if url.scheme not in schemes or not url.host:
            raise ValueError(f"not an address that starts with {wanted} and names a host")
        if url.raw_user is not None or url.raw_password is not None or "?" in value or "#" in value:
            raise ValueError("an address without user name, password, `?` and `#` is wanted")
        return value.rstrip("/")

    return AfterValidator(check)


def _discord_version(value: str) -> str:
    version = re.search(r"/v(\d+)$", value)
    if version is not None and int(version[1]) != _DISCORD_VERSION:
        raise ValueError(f"it must end with /v{_DISCORD_VERSION}, the version the bot speaks, or with none")
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


def _none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


_SECRET_MIN = 8
_DISCORD_VERSION = 10
_ID_MAX = 2**63 - 1
_SQLITE_DEFAULT = "sqlite:///data/zoetrope.db"
_ALIKE = 0.88
_WEEK_S, _MONTH_S = 604_800, 2_592_000

_HttpUrl = Annotated[str, _address("http", "https")]
_DiscordApiUrl = Annotated[_HttpUrl, AfterValidator(_discord_version)]
_GatewayUrl = Annotated[str, _address("ws", "wss")]
_Secret = Annotated[SecretStr, AfterValidator(_secret)]
_DatabaseUrl = Annotated[
    str,
    AfterValidator(_database_url),
    Field(repr=False, description="`sqlite:///path/to/file.db` or `postgresql://user:password@host/name`"),
]
_Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]
_UsdOrNone = Annotated[_Usd | None, BeforeValidator(_none)]
_Ids = Annotated[tuple[Annotated[int, Field(ge=1, le=_ID_MAX)], ...], NoDecode, BeforeValidator(_listed)]
_LogLevel = Annotated[
    LogLevel, BeforeValidator(_upper), Field(description="`DEBUG`, `INFO`, `WARNING` or `ERROR`")
]


class _Read(BaseSettings):
    """Settings as they are read, from the environment and from `.env`."""

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
    def load(cls) -> Self:
        """The settings of the environment and of `.env`.

        Raises: SettingsError, with one line for each problem.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(list(dict.fromkeys(map(_readable, error.errors())))) from None
        except (OSError, UnicodeDecodeError) as error:
            what = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise SettingsError(
                [f"The file `.env` can't be read: {what}. Save it anew, for this user to read."]
            ) from None


class DatabaseSettings(_Read):
    """What is enough to look after the database's schema: no token, no key."""

    database_url: _DatabaseUrl = _SQLITE_DEFAULT
    log_level: _LogLevel = LogLevel.INFO

    def secrets(self) -> tuple[str, ...]:
        """What must never be seen."""
        return _unique([*_passwords(self.database_url), *_of_the_environment()])


class Settings(_Read):
    """Every setting, with its default and what it takes."""

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
    database_url: _DatabaseUrl = _SQLITE_DEFAULT
    discord_api_url: _DiscordApiUrl | None = Field(
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
        5, ge=0, le=10_000, description="videos per member and server in the rolling window, 0 to 10000"
    )
    quota_running: int = Field(
        2, ge=1, le=1000, description="videos in the making at once per member and server, 1 to 1000"
    )
    quota_window_hours: int = Field(
        24, ge=1, le=720, description="the rolling window of QUOTA_VIDEOS_PER_DAY, 1 to 720 hours"
    )
    quota_pause_seconds: int = Field(
        0, ge=0, le=86_400, description="the pause between two requests of a member, 0 to 86400 seconds"
    )
    price_usd_480p: _Usd = Field(
        Decimal("0.10"), description="the estimated cost of a 480P video in USD, such as `0.10`"
    )
    price_usd_720p: _Usd = Field(
        Decimal("0.20"), description="the estimated cost of a 720P video in USD, such as `0.20`"
    )
    budget_usd_per_day: _UsdOrNone = Field(
        Decimal(10), description="the most that all videos of a day may cost in USD, such as `10`, or `none`"
    )
    budget_usd_per_month: _UsdOrNone = Field(
        Decimal(100), description="the most that all videos of a month may cost in USD, such as `100`, or `none`"
    )
    server_budget_usd_per_day: _UsdOrNone = Field(
        Decimal(2),
        description="the most that one server's videos of a day may cost in USD, such as `2`, or `none`",
    )
    server_budget_usd_per_month: _UsdOrNone = Field(
        Decimal(20),
        description="the most that one server's videos of a month may cost in USD, such as `20`, or `none`",
    )
    queue_max: int = Field(1000, ge=1, le=100_000, description="how many videos may wait in all, 1 to 100000")
    open_to_all_servers: bool = Field(
        default=True, description="`true`, or `false`: only servers that the operator allows may use the bot"
    )
    operator_guild_id: int | None = Field(
        None, ge=1, le=_ID_MAX, description="the id of the server where `/operator` works"
    )
    operator_user_ids: _Ids = Field((), description="the ids of the users who may use `/operator`, between commas")
    operator_log_channel_id: int | None = Field(
        None, ge=1, le=_ID_MAX, description="the id of the channel where the operator is told what needs them"
    )
    retention_days: int = Field(
        90, ge=1, le=3650, description="after how many days an ended job is anonymised, 1 to 3650"
    )
    erase_after_leaving_days: int = Field(
        30, ge=0, le=3650, description="how many days after the bot left a server its data is erased, 0 to 3650"
    )
    shutdown_grace_seconds: float = Field(
        75.0, ge=0, le=600, description="how long a stop waits for steps under way, 0 to 600 seconds"
    )
    log_level: _LogLevel = LogLevel.INFO

    @classmethod
    def load(cls) -> Self:
        """As above, and looks whether the settings go together."""
        settings = super().load()
        if mistyped := _mistyped():
            raise SettingsError(mistyped)
        if contradictions := _contradictions(settings):
            raise SettingsError(contradictions)
        return settings

    def secrets(self) -> tuple[str, ...]:
        """What must never be seen: the values that logs and errors have to be cleaned of."""
        keys = self.discord_token.get_secret_value(), self.vtrix_api_key.get_secret_value()
        return _unique([*keys, *_passwords(self.database_url), *_of_the_environment()])


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


def _contradictions(settings: Settings) -> list[str]:
    """A line for each of the settings that make no sense beside the others."""
    place, people = settings.operator_guild_id, settings.operator_user_ids
    lines = {
        "POLL_MAX_SECONDS is smaller than POLL_MIN_SECONDS; swap them or raise it.": (
            settings.poll_max_seconds < settings.poll_min_seconds
        ),
        "OPERATOR_USER_IDS says who may use `/operator`, OPERATOR_GUILD_ID does not say where: set both.": (
            people and place is None
        ),
        "OPERATOR_GUILD_ID says where `/operator` works, OPERATOR_USER_IDS does not say for whom: set both.": (
            place is not None and not people
        ),
        "OPEN_TO_ALL_SERVERS is false, and servers are allowed with `/operator allow`: set OPERATOR_GUILD_ID "
        "and OPERATOR_USER_IDS, too.": not settings.open_to_all_servers and place is None,
    }
    return [line for line, holds in lines.items() if holds]


def _mistyped() -> list[str]:
    """A line for each name in `.env` that is no setting, but nearly one: its default would go unnoticed."""
    known = {name.upper() for name in Settings.model_fields}
    names = sorted(name for name in dotenv_values(".env", encoding="utf-8") if name.upper() not in known)
    close = {name: get_close_matches(name.upper(), known, n=1, cutoff=_ALIKE) for name in names}
    return [f"{name} in `.env` is no setting. Did you mean {meant[0]}?" for name, meant in close.items() if meant]


def sqlite_file(database_url: str) -> Path | None:
    """The file that a SQLite database's address names; None where it names no plain file, and for PostgreSQL."""
    scheme, _, path = database_url.partition(":///")
    return Path(path) if scheme == "sqlite" and path != ":memory:" and "?" not in path else None


def _unique(secrets: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(secret for secret in secrets if secret))


def _of_the_environment() -> list[str]:
    """The passwords that libraries take from the environment by themselves: libpq's, and those of the proxies."""
    found = [os.environ.get("PGPASSWORD", "")]
    for scheme, address in getproxies().items():
        if scheme != "no" and "@" in address:
            found += _passwords(address if "://" in address else f"http://{address}")
    return found


def _passwords(database_url: str) -> list[str]:
    """The passwords in a database's address, as they stand and as they are meant.

    Cut by hand: the drivers take addresses that URL parsers refuse, such as those of several hosts. Where an
    `@` stands in the password or behind it, readers differ about its end, so both readings count, and so does
    what the one takes for a host's name that is the other's password.
    """
    scheme, _, place = database_url.partition("://")
    if scheme == "sqlite":
        return []
    found = parse_qs(place.partition("?")[2]).get("password", [])
    for end in {place.find("@"), place.rfind("@")} - {-1}:
        password = place[:end].partition(":")[2]
        found += [password, unquote(password)]
        if password:
            found.append(place[end + 1 :].rpartition("@")[0])
    return found


def _readable(detail: ErrorDetails) -> str:
    """One line an operator can act on: the setting's name, what is wrong, what it takes."""
    name = str(detail["loc"][0])
    takes = Settings.model_fields[name].description
    said = detail["msg"].removeprefix("Value error, ")
    wrong = "is missing" if detail["type"] == "missing" else f"is not usable ({said[:1].lower()}{said[1:]})"
    return f"{name.upper()} {wrong}. It takes {takes}."
