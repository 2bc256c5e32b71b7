"""The pictures that members are choosing from, between the click on a message and the form that orders a video.

Kept in memory, as Discord's links to them expire. After a restart, or an hour, a member is asked to start again:
nothing was ordered yet.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.chat.messages.picture_choice_texts import START_AGAIN
from bot.chat.messages.reason_texts import Said
from bot.chat.pictures import Picture
from bot.domain.errors import NotPossible

LIFETIME_S = 3600.0
OFFERS_MAX = 5_000
"""How many choices are kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class _Offer:
    user_id: int
    pictures: tuple[Picture, ...]
    expires_at_s: float


class OfferedPictures:
    """The choices by key. clock: monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offers: OrderedDict[str, _Offer] = OrderedDict()

    def offer(self, user_id: int, pictures: Sequence[Picture]) -> str:
        """Keeps the pictures for this member; returns the key to find them with."""
        now_s = self._clock()
        while self._offers:
            oldest = next(iter(self._offers.values()))
            if len(self._offers) < OFFERS_MAX and oldest.expires_at_s > now_s:
                break
            self._offers.popitem(last=False)
        key = secrets.token_urlsafe(9)
        self._offers[key] = _Offer(user_id, tuple(pictures), now_s + LIFETIME_S)
        return key

    def find(self, key: str, place: int, user_id: int) -> Picture:
        """The picture at this place in what was offered to this member. Raises: NotPossible."""
        offer = self._offers.get(key)
        is_valid = offer is not None and offer.user_id == user_id and offer.expires_at_s > self._clock()
        if offer is None or not is_valid or not 0 <= place < len(offer.pictures):
            raise NotPossible(Said(START_AGAIN))
        return offer.pictures[place]
