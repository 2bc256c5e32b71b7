"""What a setting's value can be: its types, with their checks, and the fields that several settings share.

An operator reads each field's description when its value is invalid, after the error that a check raises.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode
from yarl import URL

from bot.domain.database_url import parse_database_url
from bot.domain.jobs import ProviderName
from bot.domain.models import checked_names

_KEY_LENGTH_MIN = 8
_DISCORD_API_VERSION = 10
_ID_MAX = 2**63 - 1


def _service_url(*schemes: str) -> AfterValidator:
    """Accepts a URL with one of the schemes, and drops a trailing slash."""

    def check(value: str) -> str:
        try:
            url = URL(value)
        except ValueError:  # its text may quote a password
            url = URL()
        if url.scheme not in schemes or not url.host:
            expected = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"it must start with {expected} and name a host")
        if url.raw_user is not None or url.raw_password is not None or "?" in value or "#" in value:
            raise ValueError("it must not contain a user name, a password, `?` or `#`")
        return value.rstrip("/")

    return AfterValidator(check)


def _discord_api_version(value: str) -> str:
    version = re.search(r"/v(\d+)$", value)
    if version is not None and int(version[1]) != _DISCORD_API_VERSION:
        raise ValueError(f"it must end with /v{_DISCORD_API_VERSION} or without a version")
    return value


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < _KEY_LENGTH_MIN:
        raise ValueError("it is too short")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it contains a space, or a character that doesn't belong in it")
    return value


def _database_url(value: str) -> str:
    parse_database_url(value)
    return value


def _host(value: str) -> str:
    """An address or a name without a port; in brackets or not, if it is of IPv6."""
    name = value.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[0-9A-Za-z.-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*", name):
        raise ValueError("it is neither an IP address nor a host's name")
    return name


def _uppercase(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _parse_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _lowercase(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _provider_order(names: tuple[ProviderName, ...]) -> tuple[ProviderName, ...]:
    if not names:
        raise ValueError("it names no provider")
    if len(set(names)) < len(names):
        raise ValueError("it names a provider twice")
    return names


def number(default: float, low: float, high: float, what: str, unit: str = "") -> Any:
    """A setting that is a number from `low` to `high`."""
    return Field(default, ge=low, le=high, description=f"{what}, {low} to {high}{unit and f' {unit}'}")


def usd(default: str, what: str, *, or_none: bool = False) -> Any:
    """A setting that is an amount in USD."""
    description = f"{what} in USD, such as `{default}`{', or `none`' if or_none else ''}"
    return Field(Decimal(default), description=description)


def provider_budget(provider: str, period: str) -> Any:
    """A setting that limits what one provider's videos may cost."""
    what = f"what the videos made by {provider} may cost per {period}"
    return Field(None, description=f"{what} in USD, such as `5`, or `none`")


def cny_price(default: str, resolution: str) -> Any:
    """A setting that is the price of a video at DashScope."""
    what = f"the price of a 5-second {resolution} video at DashScope"
    return Field(Decimal(default), description=f"{what} in CNY, such as `{default}`")


HttpUrl = Annotated[str, _service_url("http", "https")]
DiscordApiUrl = Annotated[HttpUrl, AfterValidator(_discord_api_version)]
GatewayUrl = Annotated[str, _service_url("ws", "wss")]
Host = Annotated[str, AfterValidator(_host)]
Key = Annotated[SecretStr, AfterValidator(_key)]
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]
UsdOrNone = Annotated[Usd | None, BeforeValidator(_parse_none)]
Id = Annotated[int, Field(ge=1, le=_ID_MAX)]
Ids = Annotated[
    tuple[Id, ...], NoDecode, AfterValidator(lambda ids: tuple(dict.fromkeys(ids))), BeforeValidator(_split)
]
Providers = Annotated[
    tuple[ProviderName, ...],
    NoDecode,
    AfterValidator(_provider_order),
    BeforeValidator(_split),
    BeforeValidator(_lowercase),
]
UsdPerCny = Annotated[Decimal, Field(ge=Decimal("0.001"), le=100, decimal_places=9)]
Models = Annotated[tuple[str, ...], NoDecode, AfterValidator(checked_names), BeforeValidator(_split)]
LogFormat = Annotated[Literal["text", "json"], BeforeValidator(_lowercase)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_uppercase)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
