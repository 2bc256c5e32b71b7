"""Limits how often a user can act, before anything else is done with an interaction.

People don't reach these limits; scripts do, and then each action costs next to nothing: no query, no request to
Discord, no picture. Counted per user across all servers, in memory. Quotas for orders are in `bot.domain.quotas`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import discord
from discord.ext.commands import CooldownMapping

from bot.chat.autocomplete import offer_nothing
from bot.chat.messages.markdown import relative
from bot.chat.messages.reason_texts import Said
from bot.chat.replies import answer_error
from bot.domain.errors import NotPossible, PictureRefused

ACTIONS, ACTIONS_S = 20, 20.0
"""The most commands, clicks and forms of one user within this many seconds."""

AUTOCOMPLETES, AUTOCOMPLETES_S = 60, 20.0
"""The same for autocomplete requests, which Discord's client sends while somebody types."""

BAD_PICTURES, BAD_PICTURES_S = 10, 600.0
"""The same for unusable pictures: each was fetched and decoded, and none counts against a quota."""


class UserRateLimiter:
    """Counts what each user did recently. clock: monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._actions = _bound(ACTIONS, ACTIONS_S)
        self._notices = _bound(1, ACTIONS_S)
        self._autocompletes = _bound(AUTOCOMPLETES, AUTOCOMPLETES_S)
        self._bad_pictures = _bound(BAD_PICTURES, BAD_PICTURES_S)

    async def allows(self, interaction: discord.Interaction[Any]) -> bool:
        """Counts an interaction; False if there were too many, so the caller ignores it.

        Autocomplete then gets no suggestions. Each command is answered with the time to go on; of clicks and forms
        only the first, because Discord's client shows the rest as failed where they were made.
        """
        user_id = interaction.user.id
        if interaction.type is discord.InteractionType.autocomplete:
            if self._over(self._autocompletes, user_id) is None:
                return True
            await offer_nothing(interaction)
            return False
        left_s = self._over(self._actions, user_id)
        if left_s is None:
            return True
        is_command = interaction.type is discord.InteractionType.application_command
        if is_command or self._over(self._notices, user_id) is None:
            text = f"That was a lot at once, so I skipped this one and nothing was done. Try again {_in(left_s)}."
            await answer_error(interaction, NotPossible(Said(text)))
        return False

    @contextlib.contextmanager
    def picture(self, user_id: int) -> Iterator[None]:
        """Counts a picture if it turns out to be unusable. Raises: NotPossible if there were too many."""
        bucket = self._bad_pictures.get_bucket(user_id, self._clock())
        if bucket is not None and not bucket.get_tokens(self._clock()):
            text = (
                "Too many of your recent pictures couldn't be used, and each takes me a while to check. Try again "
                f"{_in(bucket.get_retry_after(self._clock()))}. A JPEG, PNG or WEBP straight from a camera or an "
                "editor works best."
            )
            raise NotPossible(Said(text))
        try:
            yield
        except PictureRefused:
            self._over(self._bad_pictures, user_id)
            raise

    def _over(self, bound: "CooldownMapping[int]", user_id: int) -> float | None:
        """Counts one more; None if it is within the limit, else the seconds until the next one will be."""
        return bound.update_rate_limit(user_id, self._clock())


def _bound(number: int, seconds: float) -> "CooldownMapping[int]":
    return CooldownMapping.from_cooldown(number, seconds, int)


def _in(seconds: float) -> str:
    return relative(discord.utils.utcnow() + timedelta(seconds=seconds + 1))
