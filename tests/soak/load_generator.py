"""Members that keep ordering, while the upstream and Discord fail now and then."""

import asyncio
import math
import random
import time
from dataclasses import dataclass

from tests.cogs.conftest import sample_picture
from tests.discord_server import DiscordServer, FaultPhase, Hang, Reset, rate_limited, server_error
from tests.discord_server.commands import InputRejected
from tests.faulty_gateway import Ending, Fault, FaultyGateway, Route

MEMBERS = 60
UPSTREAM_FAULTS = (
    (Route.CREATE, Fault(status=503, body="busy")),
    (Route.CREATE, Fault(status=429, headers={"Retry-After": "1"})),
    (Route.CREATE, Fault(ending=Ending.RESET)),
    (Route.CREATE, Fault(ending=Ending.RESET, takes_effect=True)),
    (Route.POLL, Fault(status=502, body="<html>")),
    (Route.POLL, Fault(ending=Ending.RESET)),
    (Route.POLL, Fault(ending=Ending.HANG)),
    (Route.RESULT, Fault(ending=Ending.HALF)),
    (Route.RESULT, Fault(status=500)),
)
DISCORD_FAULTS = (
    ("POST", "/channels/*/messages", server_error(502)),
    ("POST", "/channels/*/messages", server_error(502, phase=FaultPhase.AFTER)),
    ("POST", "/channels/*/messages", Reset(FaultPhase.AFTER)),
    ("POST", "/channels/*/messages", Reset()),
    ("POST", "/channels/*/messages", Hang(FaultPhase.AFTER)),
    ("POST", "/channels/*/messages", rate_limited(0.5)),
    ("PATCH", "/channels/*/messages/*", server_error(500)),
    ("PATCH", "/channels/*/messages/*", Reset()),
    ("GET", "/channels/*/messages", server_error(503)),
)


DROP_INTERVAL_S = 120.0
"""Between two lost connections to the gateway. After more, the bot spares its sessions and hardly connects."""


@dataclass
class LoadGenerator:
    """Orders every `pause_s`, with random faults; a seed for `rng` repeats what is drawn.

    A fault waits until the one before it has happened, one of the upstream until a task was created since as well.
    If every attempt to submit met another one, the bot would wait longer after each, and soon do nothing else.
    """

    discord: DiscordServer
    upstream: FaultyGateway
    rng: random.Random
    pause_s: float = 0.4
    orders: int = 0
    faults: int = 0
    not_sent: int = 0
    dropped_at_s: float = -math.inf
    tasks_at_fault: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        members = [self.discord.state.add_member(self.discord.guild, f"m{number}") for number in range(MEMBERS)]
        picture = sample_picture()
        while True:
            options = {"prompt": f"order {self.orders}"}
            member = self.rng.choice(members)
            try:
                await self.discord.slash("animate", member, options=options, attachments={"image": picture})
                self.orders += 1
                if self.rng.random() < 0.2:
                    await self.discord.slash("videos list", member)
            except (InputRejected, TimeoutError):
                self.not_sent += 1  # the bot is not connected to the gateway
            if self.rng.random() < 0.25:
                self.inject_fault()
            await asyncio.sleep(self.pause_s)

    def inject_fault(self) -> None:
        """Injects one fault into Discord or the upstream, unless it is too early for one."""
        drawn = self.rng.random()
        if drawn < 0.1:
            if time.monotonic() - self.dropped_at_s >= DROP_INTERVAL_S:
                self.dropped_at_s = time.monotonic()
                self.discord.gateway.drop()
                self.faults += 1
        elif drawn < 0.55:
            if not self.upstream.is_any_fault_left and len(self.upstream.tasks) > self.tasks_at_fault:
                self.tasks_at_fault = len(self.upstream.tasks)
                self.upstream.fault(*self.rng.choice(UPSTREAM_FAULTS))
                self.faults += 1
        elif not self.discord.faults.is_any_left:
            self.discord.fail_next(*self.rng.choice(DISCORD_FAULTS))
            self.faults += 1
