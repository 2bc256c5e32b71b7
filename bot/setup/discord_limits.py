"""Keeps the Discord client within limits that it shares with other processes."""

from functools import partial

from bot.chat.transport.client import Client, RestClient, ZoetropeBot
from bot.chat.transport.request_limiter import A_SECOND, AT_ONCE, RequestLimiter
from bot.chat.transport.shard_connections import IDENTIFY_INTERVAL_S
from bot.settings import Settings
from bot.store.engine import Database
from bot.store.shared_limits import SharedLimits


def share_discord_limits(client: Client, settings: Settings, database: Database) -> None:
    """Keeps the client's requests below Discord's limit, together with other processes where there may be some."""
    if not isinstance(client, ZoetropeBot | RestClient):
        return
    shared = SharedLimits(database) if database.file is None else None
    a_second = settings.discord_requests_per_second
    if a_second is None:
        a_second = A_SECOND if settings.discord_api_url is None else 0
    if a_second:
        every_s = 1 / a_second
        client.throttle.limiter = RequestLimiter(
            a_second,
            reserve=None
            if shared is None
            else partial(shared.reserve, "requests", interval_s=every_s, at_once=AT_ONCE),
        )
    if shared is not None and isinstance(client, ZoetropeBot):
        client.reserve_identify = lambda bucket: shared.reserve(f"identify {bucket}", 1, IDENTIFY_INTERVAL_S)
