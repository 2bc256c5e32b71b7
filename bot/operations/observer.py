"""What the parts of the program report about their work, for whoever counts it.

This one ignores everything, so that a process without metrics loads nothing for them;
`bot.web.instruments` counts.
Every value of a label comes from a fixed, small set: never an id, an address or a text from outside.
"""

from decimal import Decimal


class Observer:
    """Is told of each thing that happens, in the event loop; must not wait, and must not raise."""

    def looked_for_jobs(self, kind: str) -> None:
        """The worker's loop asked the database what is due. kind: a `bot.store.jobs.due.DueFor`."""

    def stage_started(self, stage: str, late_s: float | None) -> None:
        """A stage begins. late_s: how long after its job was due; None if it was due at no certain time."""

    def stage_ended(self, stage: str, outcome: str, duration_s: float) -> None:
        """A stage is over. outcome: what it decided, see `bot.worker.stage_times`."""

    def job_ended(self, state: str, reason: str, duration_s: float) -> None:
        """A job ended. reason: why it failed; empty if it did not. duration_s: since it was ordered."""

    def job_cost(self, provider: str, model: str, source: str, usd: Decimal) -> None:
        """What a job cost that ended. source: `reported` by the provider, or `estimated`."""

    def provider_request(self, provider: str, operation: str, outcome: str, duration_s: float) -> None:
        """A request to a provider was answered or failed; see `bot.providers.request_times`."""

    def discord_request(self, method: str, route: str, status: str, duration_s: float) -> None:
        """A request to Discord was answered or failed; see `bot.chat.transport.request_times`."""

    def discord_rate_limited(self, scope: str) -> None:
        """Discord answered 429. scope: whose limit it was."""
