"""What `/readyz` asks of each part: the database, Discord, and the providers' submission gates."""

from collections.abc import Callable

from bot.chat.transport.gateway_status import DiscordStatus
from bot.operations.clock import Clock
from bot.store.monitoring import MonitoringStore
from bot.web.health import Checks, PartHealth, PartStatus

_OK = PartHealth(PartStatus.OK)


def readiness_checks(
    store: MonitoringStore, discord: Callable[[], DiscordStatus], *, has_gateway: bool, clock: Clock
) -> Checks:
    """The checks by part. has_gateway: whether the process connects to Discord's gateway, to answer commands."""

    async def database() -> PartHealth:
        await store.ping()
        return _OK

    async def connection() -> PartHealth:
        return discord_health(discord(), has_gateway=has_gateway)

    async def providers() -> PartHealth:
        closed: list[str] = []
        now = clock()
        for name, gate in (await store.gates()).items():
            if gate.is_out_of_budget:
                closed.append(f"{name}: its budget is used up")
            elif gate.opens_at is not None and gate.is_closed(now):
                closed.append(f"{name}: closed until {gate.opens_at:%Y-%m-%dT%H:%M:%SZ}")
        return PartHealth(PartStatus.DEGRADED, "; ".join(closed)) if closed else _OK

    return {"database": database, "discord": connection, "providers": providers}


def discord_health(status: DiscordStatus, *, has_gateway: bool) -> PartHealth:
    """Whether the process can post and, with a gateway, is told of commands."""
    if not status.is_logged_in:
        return PartHealth(PartStatus.FAILED, "not logged in")
    if not has_gateway:
        return _OK
    gone = [shard.shard_id for shard in status.shards if not shard.is_connected]
    if not status.shards or len(gone) == len(status.shards):
        return PartHealth(PartStatus.FAILED, "not connected to the gateway")
    if not status.is_ready:
        return PartHealth(PartStatus.FAILED, "Discord has not named the bot's servers yet")
    if gone:
        return PartHealth(PartStatus.DEGRADED, f"shards not connected: {', '.join(map(str, gone))}")
    return _OK
