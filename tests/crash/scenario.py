"""What members, moderators and the operator do while processes die: orders that end in every way, and cancels.

Everybody behaves as people do: they see what Discord shows, do one thing and wait for a reply. If none comes
because the bot is not running, they check whether it was done, and if not do it again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from bot.domain.errors import ZoetropeError
from bot.domain.jobs import ENDED, FailureReason, Job, JobState
from tests.cogs.conftest import sample_picture
from tests.crash.harness import TIMEOUT_S, Harness, new_member
from tests.discord_server import Callback, Channel, InputRejected, Message, User, server_error
from tests.discord_server.interactions import Interaction

HALVES = (
    ("plain", "refused", "held", "unanswered", "approved"),
    ("fails", "untaken", "declined", "waiting", "busy"),  # and "queued", with "busy"
)
"""What happens to an order, as the first word of its prompt: see `ScriptedGateway` and `EXPECTED_ENDS`."""
KINDS = HALVES[0] + HALVES[1]
TWO_PROVIDER_KINDS = ("plain", "closed", "moved", "crossed", "refused", "unanswered")
"""What happens to an order where there are two providers."""

ACCEPTED_TEXT = "Got it!"
REPLY_TIMEOUT_S = 60.0
"""How long anybody waits for a private reply: the process may have died before anybody noticed."""

PICTURE = sample_picture((360, 360))


@dataclass
class Order:
    """What a member ordered, and the replies they got."""

    prompt: str
    member: User
    channel: Channel
    replies: list[str] = field(default_factory=list)

    @property
    def was_accepted(self) -> bool:
        return any(ACCEPTED_TEXT in text for text in self.replies)


class Scenario:
    """What all people do. waves: how often each kind of order comes. kinds: the first words of the prompts.

    finished: set once everybody has done their part.
    """

    def __init__(self, harness: Harness, *, waves: int = 1, kinds: Collection[str] = KINDS) -> None:
        self.harness = harness
        self.waves = waves
        self.kinds = kinds
        self.orders: list[Order] = []
        self.finished = asyncio.Event()
        # So that the bot searches for status cards and notifications before it posts them again.
        for channel in (harness.open_channel, harness.open_log):
            harness.discord.fail_next("POST", f"/channels/{channel.id}/messages", server_error(503), times=2)

    async def run(self) -> None:
        """Returns once everybody has done their part and nothing is due any more."""
        actions: dict[str, Callable[[str], Awaitable[object]]] = {
            "plain": self._order,
            "refused": self._order,
            "fails": self._order,
            "closed": self._order,
            "moved": self._order,
            "crossed": self._reconcile_as_found,
            "held": self._cancel_while_running,
            "unanswered": self._reconcile_as_found,
            "untaken": self._reconcile_as_lost,
            "approved": self._approve,
            "declined": self._decline,
            "waiting": self._cancel_while_awaiting_approval,
        }
        chosen = [
            action(f"{kind} {wave}")
            for wave in range(self.waves)
            for kind, action in actions.items()
            if kind in self.kinds
        ]
        if "busy" in self.kinds:
            chosen.append(self._order_while_busy())
        await asyncio.gather(*chosen)
        await self.wait_until_idle()
        self.finished.set()

    async def wait_until_idle(self) -> None:
        """Returns once nothing is due any more."""
        await self.harness.until(self.harness.is_idle, what="everything has ended and is announced")

    # --- the kinds of orders ---

    async def _order_while_busy(self) -> None:
        """The provider accepts nothing for a while, once in each wave; meanwhile another order is cancelled."""
        for wave in range(self.waves):
            order = await self._order(f"busy {wave}")
            await self.harness.until(lambda: self._answered_busy(order), what="the gateway is busy")  # noqa: B023
            await self._cancel_in_the_queue(f"queued {wave}")
            await self._until(order, lambda job: job.state not in {JobState.QUEUED, JobState.SUBMITTING})

    async def _answered_busy(self, order: Order) -> bool:
        job = await self.harness.cached_job(order.prompt)
        return bool(self.harness.upstream.creates[order.prompt]) or (job is not None and job.state in ENDED)

    async def _cancel_in_the_queue(self, prompt: str) -> None:
        """Cancels an order while the gateway is busy; if that ends sooner, its video is made."""
        order = await self._order(prompt)
        async with asyncio.timeout(TIMEOUT_S):
            while (job := await self._job(order)).state is JobState.QUEUED:
                await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")

    async def _cancel_while_running(self, prompt: str) -> None:
        order = await self._order(prompt)
        await self._until(order, lambda job: job.state is JobState.RUNNING or job.state in ENDED)
        while True:
            job = await self._job(order)
            if job.cancel_requested or job.state in ENDED:
                break
            interaction = await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")
            question = None if interaction is None else interaction.original
            if question is not None and f"zoetrope:spend:{job.id}" in question.custom_ids:
                await self._click(order, question, f"zoetrope:spend:{job.id}")
        self.harness.upstream.release(prompt)

    async def _reconcile_as_found(self, prompt: str) -> None:
        """The response to the create is lost; the operator finds the task."""
        order = await self._order(prompt)
        await self._until(order, lambda job: job.state in ENDED)
        while (job := await self._job(order)).failure_reason is FailureReason.OUTCOME_UNKNOWN:
            if not (tasks := self.harness.tasks_of(prompt)):
                await self._run_operator_command("operator reconcile lost", {"job": job.id})
            else:
                await self._run_operator_command(
                    "operator reconcile found", {"job": job.id, "upstream_id": tasks[0].id}
                )

    async def _reconcile_as_lost(self, prompt: str) -> None:
        order = await self._order(prompt)
        await self._until(order, lambda job: job.state in ENDED)
        while (job := await self._job(order)).failure_reason is FailureReason.OUTCOME_UNKNOWN:
            await self._run_operator_command("operator reconcile lost", {"job": job.id})

    async def _approve(self, prompt: str) -> None:
        await self._decide(prompt, "approve")

    async def _decline(self, prompt: str) -> None:
        await self._decide(prompt, "decline")

    async def _cancel_while_awaiting_approval(self, prompt: str) -> None:
        order = await self._order(prompt, self.harness.approval_channel)
        while (job := await self._job(order)).state is JobState.AWAITING:
            await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")

    async def _decide(self, prompt: str, kind: str) -> None:
        order = await self._order(prompt, self.harness.approval_channel)
        owner = self.harness.approval_channel.guild.owner
        while (job := await self._job(order)).state is JobState.AWAITING:
            button_id = f"zoetrope:{kind}:{job.id}"

            async def card(button_id: str = button_id, order: Order = order) -> Message | bool | None:
                found = [held for held in self._log_of(order) if button_id in held.custom_ids]
                if found:
                    return found[0]
                job = await self.harness.cached_job(order.prompt)
                return job is not None and job.state is not JobState.AWAITING

            shown = await self.harness.until(card, what=f"{prompt}: the question to the moderators")
            if isinstance(shown, Message):
                await self._click(order, shown, button_id, by=owner)

    # --- what people do ---

    async def _order(self, prompt: str, channel: Channel | None = None) -> Order:
        """A member repeats the order until it has become a job."""
        channel = channel or self.harness.open_channel
        order = Order(prompt, new_member(self.harness.discord, channel.guild, prompt.replace(" ", "-")), channel)
        self.orders.append(order)
        while await self.harness.job(prompt) is None:
            interaction = await self._interact(
                lambda: self.harness.discord.slash(
                    "animate", order.member, channel, {"prompt": prompt}, {"image": PICTURE}
                )
            )
            await self._wait_for_reply(interaction)
            if interaction is not None and interaction.finished is not None:
                order.replies.append(interaction.finished.content)
                if not order.was_accepted and not self.harness.database_fails:
                    raise ZoetropeError(f"{prompt}: refused with {order.replies[-1]!r}")
        return order

    async def _run_operator_command(self, words: str, options: dict[str, str]) -> None:
        operator_channel = self.harness.operator_channel
        interaction = await self._interact(
            lambda: self.harness.discord.slash(
                words, operator_channel.guild.owner, operator_channel, dict(options)
            )
        )
        await self._wait_for_reply(interaction)

    async def _click(
        self, order: Order, message: Message | None, custom_id: str, by: User | None = None
    ) -> Interaction | None:
        """Clicks, if the button is still there, and waits for the reply."""
        if message is None:
            await asyncio.sleep(0.05)
            return None
        before = message.content
        interaction = await self._interact(
            lambda: self.harness.discord.click(message.id, custom_id, by or order.member)
        )
        await self._wait_for_reply(interaction, before)
        return interaction

    async def _interact(self, action: Callable[[], Awaitable[Interaction]]) -> Interaction | None:
        discord = self.harness.discord

        async def connected() -> bool:
            return bool(discord.gateway.live)

        await self.harness.until(connected, what="the bot is connected")
        try:
            return await action()
        except (InputRejected, TimeoutError):  # the button is gone; the bot is not running
            await asyncio.sleep(0.05)
            return None

    async def _wait_for_reply(self, interaction: Interaction | None, before: str = "") -> None:
        """Waits for the private reply, or until it can't come any more."""
        # The same as when the interaction was sent: nothing was awaited since then.
        run_exits = self.harness.run_exits

        async def replied() -> bool:
            if interaction is None or self.harness.run_exits > run_exits:
                return True
            shown = interaction.original
            if interaction.callback is Callback.DEFERRED_UPDATE:  # the reply edits the message that was clicked
                return shown is None or shown.content != before
            return interaction.finished is not None

        try:
            await self.harness.until(replied, what="a reply comes", timeout_s=REPLY_TIMEOUT_S)
        except TimeoutError:
            return

    async def _job(self, order: Order) -> Job:
        job = await self.harness.job(order.prompt)
        if job is None:
            raise ZoetropeError(f"{order.prompt}: its job is gone")
        return job

    async def _until(self, order: Order, holds: Callable[[Job], bool]) -> None:
        async def matches() -> bool:
            job = await self.harness.cached_job(order.prompt)
            return job is not None and holds(job)

        await self.harness.until(matches, what=f"{order.prompt} moves on")

    async def _status_of(self, job: Job) -> Message | None:
        """The status card with its button, as the member sees it."""
        button_id = f"zoetrope:cancel:{job.id}"
        shown = [held for held in self.harness.discord.messages(job.channel_id) if button_id in held.custom_ids]
        return shown[0] if shown else None

    def _log_of(self, order: Order) -> list[Message]:
        log = self.harness.open_log if order.channel is self.harness.open_channel else self.harness.approval_log
        return self.harness.discord.messages(log.id)
