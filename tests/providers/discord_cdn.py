"""Discord's file servers on loopback: the same names, and another address."""

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp.abc import ResolveResult

from bot.media.prepared_frame import MAX_INPUT_BYTES
from bot.providers.discord_files import DiscordFiles
from bot.providers.ssrf_guard import Network
from tests.providers.servers import ScriptedServer, StaticResolver, anonymous_tls, scripted_server

HOSTS = ("cdn.discordapp.com", "media.discordapp.net", "images-ext-1.discordapp.net")


class PortResolver(StaticResolver):
    """Resolves Discord's names to one server on loopback."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del port, family
        if host not in HOSTS:
            raise OSError(None, f"{host} is not known")
        flags = socket.AI_NUMERICHOST
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=flags
            )
        ]


@asynccontextmanager
async def discord_cdn(
    max_bytes: int = MAX_INPUT_BYTES, pauses_s: Sequence[float] = (0.0,)
) -> AsyncIterator[tuple[ScriptedServer, DiscordFiles]]:
    """A server under Discord's names, and what reads from it."""
    async with scripted_server(anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as server:
        network = Network(PortResolver(server.port), ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT))
        async with DiscordFiles(max_bytes, network=network, pauses_s=pauses_s) as files:
            yield server, files
