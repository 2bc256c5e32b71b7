"""What people know the providers as. Pure."""

from collections.abc import Mapping

from bot.domain.jobs import ProviderName

PROVIDERS: Mapping[ProviderName, str] = {
    ProviderName.VTRIX: "the Vtrix gateway",
    ProviderName.DASHSCOPE: "DashScope",
}
"""In the middle of a sentence."""


def provider_name(name: str) -> str:
    """A provider's name in the middle of a sentence. name: a `ProviderName`, or what another version wrote."""
    return PROVIDERS[ProviderName(name)] if name in set(ProviderName) else name


def provider_title(name: str) -> str:
    """A provider's name at the start of a sentence; see `provider_name`."""
    known = provider_name(name)
    return known[:1].upper() + known[1:]
