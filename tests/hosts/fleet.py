"""The processes of several hosts: started again whenever they end, and disturbed in every way that hosts know."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url

from tests.crash.bot_process import BotProcess
from tests.discord_server import DiscordServer
from tests.store.conftest import run_outside_transaction
from tests.store.postgres_server import Server

LONGEST_LEASE_S = 120.0
STOP_TIMEOUT_S = 120.0
AWAY_S = (0.2, 3.0)
"""How long the database is away or read-only: at least, at most."""
SHORT_PAUSE_S = (2.0, 60.0)
LONG_PAUSE_S = (LONGEST_LEASE_S + 5, LONGEST_LEASE_S + 15)
"""Long enough that others have taken over whatever the process did, and have mostly ended it."""
_END_ALL_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"
_ENDINGS = {0, -signal.SIGKILL, -signal.SIGTERM}
"""How a process may end: the last, one that was asked to stop right after its start."""


@dataclass
class Fleet:
    """All processes. counts: what was done to them. problems: what they did that none may do."""

    folder: Path
    environment: Mapping[str, str]
    server: Server
    discord: DiscordServer
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    running: dict[str, BotProcess] = field(default_factory=dict)
    _paused: set[str] = field(default_factory=set)
    _in_background: set[asyncio.Task[None]] = field(default_factory=set)
    _restarts: bool = True
    _database: asyncio.Lock = field(default_factory=asyncio.Lock)

    def start(self, name: str, arguments: Sequence[str] = ()) -> None:
        """Starts a process that is started again whenever it ends. name: begins with its command."""
        self._spawn(self._keep_running(name, arguments))

    async def stop(self) -> None:
        """Lets paused processes go on, and stops all of them as a host does."""
        self._restarts = False
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            for process in self.running.values():
                await process.wait()
        await asyncio.gather(*self._in_background)

    async def close(self) -> None:
        """Ends whatever is left."""
        self._restarts = False
        for process in self.running.values():
            process.kill()
            await process.wait()
        for task in self._in_background:
            task.cancel()
        await asyncio.gather(*self._in_background, return_exceptions=True)

    async def disturb(self) -> None:
        """One disturbance, chosen at random."""
        chosen = self.rng.choices(
            [
                self._kill,
                self._restart_one,
                self._restart_each,
                self._pause_shortly,
                self._pause_for_long,
                self._end_sessions,
                self._restart_database,
                self._make_read_only,
                self._drop_gateway,
            ],
            weights=[6, 3, 1, 4, 2, 4, 1, 1, 1],
        )[0]
        await chosen()

    async def calm(self) -> None:
        """Returns once no disturbance is under way: the database is back, and nobody is paused."""
        while self._paused:
            await asyncio.sleep(0.2)
        async with self._database:
            return

    # --- the processes ---

    def _choose(self) -> str | None:
        names = sorted(self.running.keys() - self._paused)
        return self.rng.choice(names) if names else None

    async def _kill(self) -> None:
        if (name := self._choose()) is not None:
            self.counts["killed"] += 1
            self.running[name].kill()

    async def _restart_one(self) -> None:
        if (name := self._choose()) is not None:
            await self._restart(name)

    async def _restart_each(self) -> None:
        """A rolling restart, as for an update: one after the other."""
        self.counts["rolling restarts"] += 1
        for name in sorted(self.running):
            if name not in self._paused:
                await self._restart(name)

    async def _restart(self, name: str) -> None:
        self.counts["restarted"] += 1
        process = self.running[name]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()

    async def _pause_shortly(self) -> None:
        self._pause("paused", self.rng.uniform(*SHORT_PAUSE_S))

    async def _pause_for_long(self) -> None:
        self._pause("paused for longer than any lease", self.rng.uniform(*LONG_PAUSE_S))

    def _pause(self, kind: str, pause_s: float) -> None:
        """Pauses a process, unless it were the last that runs."""
        name = self._choose()
        if name is not None and len(self._paused) + 2 < len(self.running):
            self.counts[kind] += 1
            self._paused.add(name)
            self._spawn(self._pause_one(name, pause_s))

    async def _pause_one(self, name: str, pause_s: float) -> None:
        process = self.running[name]
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(pause_s)
            if pause_s > LONGEST_LEASE_S:
                # Discord remembers nonces for minutes, and sessions for as long as they have a heartbeat.
                self.discord.state.forget_nonces()
                self.discord.gateway.sessions.clear()
                self.discord.gateway.drop()
        finally:
            process.send_signal(signal.SIGCONT)
            self._paused.discard(name)

    async def _drop_gateway(self) -> None:
        self.counts["gateway dropped"] += 1
        self.discord.gateway.drop()

    # --- the database ---

    async def _end_sessions(self) -> None:
        """Ends one of the sessions, or all."""
        self.counts["sessions ended"] += 1
        statement = self.rng.choice([_END_ALL_SESSIONS, f"{_END_ALL_SESSIONS} ORDER BY random() LIMIT 1"])
        async with self._database:
            await self._execute(statement)

    async def _restart_database(self) -> None:
        self.counts["database restarted"] += 1
        async with self._database:
            await asyncio.to_thread(self.server.stop, self.rng.choice([signal.SIGINT, signal.SIGQUIT]))
            await asyncio.sleep(self.rng.uniform(*AWAY_S))
            await asyncio.to_thread(self.server.start)

    async def _make_read_only(self) -> None:
        """As if the primary had become a standby, and another one its primary."""
        self.counts["database read-only"] += 1
        async with self._database:
            await self._execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
            await self._execute(_END_ALL_SESSIONS)
            await asyncio.sleep(self.rng.uniform(*AWAY_S))
            await self._execute("ALTER DATABASE postgres RESET default_transaction_read_only")

    async def _execute(self, statement: str) -> None:
        elsewhere = make_url(self.server.url).set(database="template1").render_as_string()
        await run_outside_transaction(elsewhere, statement)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._in_background.add(task)
        task.add_done_callback(self._in_background.discard)

    async def _keep_running(self, name: str, arguments: Sequence[str]) -> None:
        while self._restarts:
            process = BotProcess(name, self.folder, self.environment, arguments=arguments)
            self.running[name] = process
            code = await process.wait()
            if code in _ENDINGS:
                continue
            said = (self.folder / f"{name}.log").read_text(encoding="utf-8").splitlines()[-8:]
            if code == 1 and said[-1].startswith("zoetrope: The database"):
                self.counts["started while the database was away"] += 1  # as for a host, which starts it again
            else:
                self.problems.append(f"`{name}` ended by itself with {code}: {said}")
            await asyncio.sleep(1)
