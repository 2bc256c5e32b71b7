"""What members choose for all their videos, in every server. Pure.

No choice lifts a limit or a rule of a server.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from bot.domain.jobs import SPOILER, PictureLabels, Resolution
from bot.domain.orders import PICTURE_NAME_MAX


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """A member's choices.

    pings: whether messages about their videos ping them. direct: whether their videos are sent to them as direct
    messages. spoilers: whether their videos are spoilers, whatever the picture is. resolution, prompt_extend,
    watermark: for orders that don't name them; None for the best resolution of the server. changed_at: when they
    last chose; None if they never did.
    """

    pings: bool = True
    direct: bool = False
    spoilers: bool = False
    resolution: Resolution | None = None
    prompt_extend: bool = True
    watermark: bool = False
    changed_at: datetime | None = None

    def was_changed_since(self, moment: datetime) -> bool:
        """Whether other choices may have applied at that moment."""
        return self.changed_at is not None and self.changed_at >= moment

    def labels(self, picture: PictureLabels) -> PictureLabels:
        """What a video is called: like its picture, and a spoiler if the member wants all of theirs to be."""
        name = picture.name or ""
        if not self.spoilers or name.startswith(SPOILER):
            return picture
        return PictureLabels(f"{SPOILER}{name}"[:PICTURE_NAME_MAX], picture.alt_text)


UNCHANGED = MemberSettings()
"""The settings of a member who never chose any."""

SettingsOf = Callable[[int], Awaitable[MemberSettings]]
"""Reads the settings of the member with this id."""


async def settings_of_nobody(user_id: int) -> MemberSettings:
    """Reads settings where nobody ever chose any."""
    del user_id
    return UNCHANGED
