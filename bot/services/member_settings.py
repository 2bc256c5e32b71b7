"""Members' settings for all their videos."""

from typing import TypedDict, Unpack

from bot.domain.jobs import Resolution
from bot.domain.member_settings import MemberSettings
from bot.operations.clock import Clock
from bot.store.member_settings import MemberSettingsStore


class SettingChanges(TypedDict, total=False):
    """Settings by name; see `bot.domain.member_settings.MemberSettings`."""

    pings: bool
    direct: bool
    spoilers: bool
    resolution: Resolution | None
    prompt_extend: bool
    watermark: bool


class MemberSettingsService:
    """What members may do with their own settings."""

    def __init__(self, store: MemberSettingsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def of(self, user_id: int) -> MemberSettings:
        """The member's settings."""
        return await self._store.of(user_id)

    async def change(self, user_id: int, **changes: Unpack[SettingChanges]) -> MemberSettings:
        """Changes some of the member's settings; returns all."""
        return await self._store.change(user_id, {**changes, "changed_at": self._clock()})
