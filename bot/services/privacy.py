"""Members' rights to their own data: see what is stored, export it, erase it.

An erasure starts at once, and the retention worker (`bot.worker.retention`) finishes it: a video in progress runs
to its end first, and a quota keeps counting what it already counted.
"""

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bot.domain.member_data import ErasurePreview, ErasureResult, MemberData, RetentionPolicy, export_document
from bot.operations.clock import Clock
from bot.store.privacy.member_data import MemberDataStore

_EXPORT_KEYS = {
    "jobs": "videos",
    "pictures": "pictures",
    "entries": "ledger",
    "grants": "credits",
    "violations": "blocked_prompts",
    "changes": "changes_made",
}
"""The fields that grow with use, and their keys in the export."""


@dataclass(frozen=True, slots=True)
class DataExport:
    """An export as a file. complete: nothing was left out because of its size."""

    filename: str
    data: bytes
    complete: bool


class PrivacyService:
    """What members may do with their own data. wake: tells the worker that jobs were cancelled."""

    def __init__(
        self, store: MemberDataStore, retention_policy: RetentionPolicy, *, wake: Callable[[], None], clock: Clock
    ) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self.retention_policy = retention_policy

    async def export(self, user_id: int, limit_bytes: int) -> DataExport:
        """The member's own data across all servers, as a file of at most `limit_bytes`."""
        data = await self._store.read(user_id)
        return await asyncio.to_thread(pack_export, data, self._clock(), limit_bytes)

    async def preview_erasure(self, user_id: int) -> ErasurePreview:
        """What an erasure would affect right now."""
        return await self._store.preview_erasure(user_id)

    async def erase(self, user_id: int) -> ErasureResult:
        """Requests the erasure of all data stored so far, and erases what it can at once."""
        now = self._clock()
        result = await self._store.erase(await self._store.request_erasure(user_id, now), now)
        self._wake()
        return result


def pack_export(data: MemberData, exported_at: datetime, limit_bytes: int) -> DataExport:
    """The export as a file that fits: plain JSON, else gzip, else gzip without the oldest rows."""
    name = f"zoetrope-data-{exported_at:%Y-%m-%d}.json"
    while True:
        text = json.dumps(export_document(data, exported_at), ensure_ascii=False, indent=1).encode(
            "utf-8", "replace"
        )
        complete = not data.left_out
        if len(text) <= limit_bytes:
            return DataExport(name, text, complete)
        compressed = gzip.compress(text, mtime=0)
        longest = max(_EXPORT_KEYS, key=lambda field: len(getattr(data, field)))
        if len(compressed) <= limit_bytes or not getattr(data, longest):  # when empty, nothing is left to drop
            return DataExport(f"{name}.gz", compressed, complete)
        data = _without_older_half(data, longest)


def _without_older_half(data: MemberData, field: str) -> MemberData:
    rows, key = getattr(data, field), _EXPORT_KEYS[field]
    kept = rows[: len(rows) // 2]
    left_out = dict(data.left_out or {})
    left_out[key] = left_out.get(key, 0) + len(rows) - len(kept)
    changes: dict[str, object] = {field: kept, "left_out": left_out}
    return replace(data, **changes)  # type: ignore[arg-type]  # one of the tuples, shortened
