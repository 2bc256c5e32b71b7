"""Exports what is read off this process at each scrape: its version, its connections to Discord, its disks."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from bot.chat.transport.gateway_status import DiscordStatus


class ProcessStateCollector(Collector):
    """discord: its present status. folders: those whose disks may fill, by what they are for."""

    def __init__(self, discord: Callable[[], DiscordStatus], folders: Mapping[str, Path]) -> None:
        self._discord = discord
        self._folders = folders

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield InfoMetricFamily("zoetrope_build", "The version that runs.", {"version": version("zoetrope")})
        yield from self._of_discord()
        free = GaugeMetricFamily(
            "zoetrope_disk_free_bytes",
            "Free space on the disk of a folder, by what the folder is for.",
            labels=["folder"],
        )
        size = GaugeMetricFamily(
            "zoetrope_disk_size_bytes", "The size of that disk, by what the folder is for.", labels=["folder"]
        )
        for name, folder in self._folders.items():
            try:
                disk = shutil.disk_usage(folder)
            except OSError:  # missing from the scrape
                continue
            free.add_metric([name], disk.free)
            size.add_metric([name], disk.total)
        yield free
        yield size

    def _of_discord(self) -> Iterator[Metric]:
        status = self._discord()
        yield GaugeMetricFamily(
            "zoetrope_discord_logged_in", "Whether Discord accepted the token.", status.is_logged_in
        )
        connected = GaugeMetricFamily(
            "zoetrope_discord_gateway_connected",
            "Whether the connection to Discord's gateway is up, by shard.",
            labels=["shard"],
        )
        latency = GaugeMetricFamily(
            "zoetrope_discord_gateway_latency_seconds",
            "How long Discord's gateway took to answer the last heartbeat, by shard.",
            labels=["shard"],
        )
        for shard in status.shards:
            connected.add_metric([str(shard.shard_id)], shard.is_connected)
            if shard.latency_s is not None:
                latency.add_metric([str(shard.shard_id)], shard.latency_s)
        yield connected
        yield latency
        servers = GaugeMetricFamily("zoetrope_discord_servers", "Servers that this process's bot is in.")
        if status.servers is not None:
            servers.add_metric([], status.servers)
        yield servers
