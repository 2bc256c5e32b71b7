"""The largest file that each channel takes, as far as is known. Kept in memory: a wrong guess costs one upload.

Discord gives the limit with each interaction only. A bot that posts by itself has to infer it from the server's
boosts, and Discord's default changes: it rose from 10 to 20 MiB in September 2026 (source: discord-api-docs,
pull request 8578), which discord.py's own numbers don't know. So what Discord said or refused comes first.
"""

from collections import OrderedDict
from dataclasses import dataclass

MIB = 2**20
DEFAULT_BYTES = 20 * MIB
"""For a server without boosts."""
STEPS_BYTES = tuple(number * MIB for number in (100, 50, 20, 10, 8, 4, 2))
"""What is tried after a refusal: the limits that servers have or had, then less."""


@dataclass(slots=True)
class _Known:
    """stated, highest: what Discord stated last, and the most. refused: the smallest file that was refused."""

    stated: int | None = None
    highest: int = 0
    refused: int | None = None


class UploadLimits:
    """What is known of each channel."""

    def __init__(self, channels_max: int = 10_000) -> None:
        """channels_max: how many channels are remembered, those used last."""
        self._channels_max = channels_max
        self._channels: OrderedDict[int, _Known] = OrderedDict()

    def state(self, channel_id: int, limit_bytes: int) -> None:
        """Discord states a channel's limit. If it never was as high, what was refused may be taken now."""
        known = self._of(channel_id)
        known.stated = limit_bytes
        if limit_bytes > known.highest:
            known.highest, known.refused = limit_bytes, None

    def refuse(self, channel_id: int, size_bytes: int) -> int:
        """The channel refused a file of this size; returns the next smaller size to try, 0 if there is none."""
        known = self._of(channel_id)
        known.refused = size_bytes if known.refused is None else min(known.refused, size_bytes)
        return _below(known.refused)

    def stated(self, channel_id: int) -> int | None:
        """What Discord stated last."""
        known = self._channels.get(channel_id)
        return None if known is None else known.stated

    def limit(self, channel_id: int, assumed_bytes: int) -> int:
        """The size to try first. assumed_bytes: the limit as it is without a refusal."""
        known = self._channels.get(channel_id)
        if known is None or known.refused is None or known.refused > assumed_bytes:
            return assumed_bytes
        return _below(known.refused) or STEPS_BYTES[-1]

    def _of(self, channel_id: int) -> _Known:
        known = self._channels.setdefault(channel_id, _Known())
        self._channels.move_to_end(channel_id)
        if len(self._channels) > self._channels_max:
            self._channels.popitem(last=False)
        return known


def _below(size_bytes: int) -> int:
    return next((step for step in STEPS_BYTES if step < size_bytes), 0)
