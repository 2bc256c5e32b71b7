"""What members, moderators and the operator do while processes die: orders that end in every way, and cancels.

Everybody acts as people do: they see what Discord shows, do one thing and wait for an answer. If none comes
because the bot is away, they check whether it was done, and if not do it again.
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
    ("sea", "refused", "held", "unanswered", "approved"),
    ("fails", "untaken", "declined", "waiting", "busy"),  # and "queued", with "busy"
)
"""What becomes of an order, as the first word of its prompt: see `ScriptedGateway` and `EXPECTED_ENDS`."""
KINDS = HALVES[0] + HALVES[1]

ORDERED = "Got it!"
ANSWER_S = 60.0
"""Nobody waits longer for a private answer: the process may have died before it was noticed."""

PICTURE = sample_picture((360, 360))


@dataclass
class Order:
    """What a member asked for, and what they were told."""

    prompt: str
    member: User
    channel: Channel
    told: list[str] = field(default_factory=list)

    @property
    def was_accepted(self) -> bool:
        return any(ORDERED in text for text in self.told)


class Scenario:
    """All of it. waves: how often each kind of order comes. kinds: the first word of their prompts."""

    def __init__(self, harness: Harness, *, waves: int = 1, kinds: Collection[str] = KINDS) -> None:
        self.harness = harness
        self.waves = waves
        self.kinds = kinds
        self.orders: list[Order] = []
        # So that status messages and notifications are looked for before they are posted again.
        for channel in (harness.open_channel, harness.open_log):
            harness.discord.fail_next("POST", f"/channels/{channel.id}/messages", server_error(503), times=2)

    async def run(self) -> None:
        """Until everybody has done their part and nothing is left to do."""
        acts: dict[str, Callable[[str], Awaitable[object]]] = {
            "sea": self._order,
            "refused": self._order,
            "fails": self._order,
            "held": self._cancelled_while_made,
            "unanswered": self._found,
            "untaken": self._written_off,
            "approved": self._approved,
            "declined": self._declined,
            "waiting": self._cancelled_while_waiting,
        }
        chosen = [
            act(f"{kind} {wave}") for wave in range(self.waves) for kind, act in acts.items() if kind in self.kinds
        ]
        if "busy" in self.kinds:
            chosen.append(self._busy())
        await asyncio.gather(*chosen)
        await self.settled()

    async def settled(self) -> None:
        """Returns once nothing is due any more."""
        await self.harness.until(self.harness.quiet, what="everything is over and told")

    # --- the kinds of orders ---

    async def _busy(self) -> None:
        """The provider takes nothing for a while, once in each wave; in that time another order is cancelled."""
        for wave in range(self.waves):
            order = await self._order(f"busy {wave}")
            await self.harness.until(lambda: self._answered_busy(order), what="the gateway is busy")  # noqa: B023
            await self._cancelled_in_the_queue(f"queued {wave}")
            await self._until(order, lambda job: job.state not in {JobState.QUEUED, JobState.SUBMITTING})

    async def _answered_busy(self, order: Order) -> bool:
        job = await self.harness.seen_job(order.prompt)
        return bool(self.harness.upstream.creates[order.prompt]) or (job is not None and job.state in ENDED)

    async def _cancelled_in_the_queue(self, prompt: str) -> None:
        """Cancelled while the gateway is busy; if that is over sooner, it is simply made."""
        order = await self._order(prompt)
        async with asyncio.timeout(TIMEOUT_S):
            while (job := await self._job(order)).state is JobState.QUEUED:
                await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")

    async def _cancelled_while_made(self, prompt: str) -> None:
        order = await self._order(prompt)
        await self._until(order, lambda job: job.state is JobState.RUNNING or job.state in ENDED)
        while True:
            job = await self._job(order)
            if job.cancel_requested or job.state in ENDED:
                break
            asked = await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")
            question = None if asked is None else asked.original
            if question is not None and f"zoetrope:spend:{job.id}" in question.custom_ids:
                await self._click(order, question, f"zoetrope:spend:{job.id}")
        self.harness.upstream.release(prompt)

    async def _found(self, prompt: str) -> None:
        """The answer to the create is lost; the operator finds the task."""
        order = await self._order(prompt)
        await self._until(order, lambda job: job.state in ENDED)
        while (job := await self._job(order)).failure_reason is FailureReason.OUTCOME_UNKNOWN:
            if not (tasks := self.harness.upstream.tasks_of(prompt)):
                await self._operate("operator reconcile lost", {"job": job.id})
            else:
                await self._operate("operator reconcile found", {"job": job.id, "upstream_id": tasks[0].id})

    async def _written_off(self, prompt: str) -> None:
        order = await self._order(prompt)
        await self._until(order, lambda job: job.state in ENDED)
        while (job := await self._job(order)).failure_reason is FailureReason.OUTCOME_UNKNOWN:
            await self._operate("operator reconcile lost", {"job": job.id})

    async def _approved(self, prompt: str) -> None:
        await self._decide(prompt, "approve")

    async def _declined(self, prompt: str) -> None:
        await self._decide(prompt, "decline")

    async def _cancelled_while_waiting(self, prompt: str) -> None:
        order = await self._order(prompt, self.harness.approval_channel)
        while (job := await self._job(order)).state is JobState.AWAITING:
            await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")

    async def _decide(self, prompt: str, kind: str) -> None:
        order = await self._order(prompt, self.harness.approval_channel)
        owner = self.harness.approval_channel.guild.owner
        while (job := await self._job(order)).state is JobState.AWAITING:
            marked = f"zoetrope:{kind}:{job.id}"

            async def card(marked: str = marked, order: Order = order) -> Message | bool | None:
                found = [held for held in self._log_of(order) if marked in held.custom_ids]
                if found:
                    return found[0]
                job = await self.harness.seen_job(order.prompt)
                return job is not None and job.state is not JobState.AWAITING

            shown = await self.harness.until(card, what=f"{prompt}: the question to the moderators")
            if isinstance(shown, Message):
                await self._click(order, shown, marked, by=owner)

    # --- how people act ---

    async def _order(self, prompt: str, channel: Channel | None = None) -> Order:
        """A member orders until there is a job of it."""
        channel = channel or self.harness.open_channel
        order = Order(prompt, new_member(self.harness.discord, channel.guild, prompt.replace(" ", "-")), channel)
        self.orders.append(order)
        while await self.harness.job(prompt) is None:
            asked = await self._ask(
                lambda: self.harness.discord.slash(
                    "animate", order.member, channel, {"prompt": prompt}, {"image": PICTURE}
                )
            )
            await self._answer(asked)
            if asked is not None and asked.original is not None and not asked.original.loading:
                order.told.append(asked.original.content)
                if not order.was_accepted:
                    raise ZoetropeError(f"{prompt}: refused with {order.told[-1]!r}")
        return order

    async def _operate(self, words: str, options: dict[str, str]) -> None:
        operator_channel = self.harness.operator_channel
        asked = await self._ask(
            lambda: self.harness.discord.slash(
                words, operator_channel.guild.owner, operator_channel, dict(options)
            )
        )
        await self._answer(asked)

    async def _click(
        self, order: Order, message: Message | None, custom_id: str, by: User | None = None
    ) -> Interaction | None:
        """Clicks, if the button is still there, and waits for the answer."""
        if message is None:
            await asyncio.sleep(0.05)
            return None
        before = message.content
        asked = await self._ask(lambda: self.harness.discord.click(message.id, custom_id, by or order.member))
        await self._answer(asked, before)
        return asked

    async def _ask(self, act: Callable[[], Awaitable[Interaction]]) -> Interaction | None:
        discord = self.harness.discord

        async def connected() -> bool:
            return bool(discord.gateway.live)

        await self.harness.until(connected, what="the bot is connected")
        try:
            return await act()
        except (InputRejected, TimeoutError):  # the button is gone; the bot is away again
            await asyncio.sleep(0.05)
            return None

    async def _answer(self, asked: Interaction | None, before: str = "") -> None:
        """Waits for the private answer, or until it can't come any more."""
        away = self.harness.away  # as many as when it was asked: nothing was awaited since then

        async def answered() -> bool:
            if asked is None or self.harness.away > away:
                return True
            shown = asked.original
            if asked.callback is Callback.DEFERRED_UPDATE:  # the message that was clicked says the answer
                return shown is None or shown.content != before
            return shown is not None and not shown.loading

        try:
            await self.harness.until(answered, what="an answer comes", timeout_s=ANSWER_S)
        except TimeoutError:
            return

    async def _job(self, order: Order) -> Job:
        job = await self.harness.job(order.prompt)
        if job is None:
            raise ZoetropeError(f"{order.prompt}: its job is gone")
        return job

    async def _until(self, order: Order, holds: Callable[[Job], bool]) -> None:
        async def look() -> bool:
            job = await self.harness.seen_job(order.prompt)
            return job is not None and holds(job)

        await self.harness.until(look, what=f"{order.prompt} moves on")

    async def _status_of(self, job: Job) -> Message | None:
        """The status message with its button, as the member sees it."""
        marked = f"zoetrope:cancel:{job.id}"
        shown = [held for held in self.harness.discord.messages(job.channel_id) if marked in held.custom_ids]
        return shown[0] if shown else None

    def _log_of(self, order: Order) -> list[Message]:
        log = self.harness.open_log if order.channel is self.harness.open_channel else self.harness.approval_log
        return self.harness.discord.messages(log.id)
