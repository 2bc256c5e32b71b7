"""What members, moderators and the operator do while processes die: orders of every fate, and cancels.

Everybody acts as people do: they see what Discord shows, do one thing, wait for an answer, and where none came
because the bot was away, look whether it was done, and if not do it again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bot.domain.errors import ZoetropeError
from bot.domain.jobs import ENDED, FailureReason, Job, JobState
from tests.cogs.conftest import a_picture
from tests.crash.town import PATIENCE_S, Town, newcomer
from tests.discord_server import Callback, Channel, Message, NotTypable, User, ill
from tests.discord_server.interactions import Interaction

ORDERED = "Got it! Your video will appear"
ANSWER_S = 60.0
"""Nobody waits longer for a private answer: the process may have died before it was noticed."""

PICTURE = a_picture((360, 360))


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
    """All of it. waves: how often each fate comes."""

    def __init__(self, town: Town, *, waves: int = 2) -> None:
        self.town = town
        self.waves = waves
        self.orders: list[Order] = []

    def stumble(self) -> None:
        """Discord fails the first status messages and the first notices, so that both are looked for."""
        for channel in (self.town.here, self.town.here_log):
            self.town.discord.fail_next("POST", f"/channels/{channel.id}/messages", ill(503), times=2)

    async def run(self) -> None:
        """Until everybody has done their part and nothing is left to do."""
        acts: list[Awaitable[None]] = [self._busy_twice()]
        for wave in range(self.waves):
            acts += [
                self._ordered(f"sea {wave}"),
                self._ordered(f"refused {wave}"),
                self._ordered(f"fails {wave}"),
                self._cancelled_while_made(f"held {wave}"),
                self._found(f"unanswered {wave}"),
                self._written_off(f"untaken {wave}"),
                self._approved(f"approved {wave}"),
                self._declined(f"declined {wave}"),
                self._cancelled_while_waiting(f"waiting {wave}"),
            ]
        await asyncio.gather(*acts)
        await self.settled()

    async def settled(self) -> None:
        """Nothing is due any more, and stays so."""
        await self.town.until(self.town.quiet, what="everything is over and told")

    # --- the fates ---

    async def _ordered(self, prompt: str, channel: Channel | None = None) -> None:
        await self._order(prompt, channel or self.town.here)

    async def _busy_twice(self) -> None:
        for wave in range(self.waves):
            order = await self._order(f"busy {wave}", self.town.here)
            await self.town.until(lambda: self._turned_away(order), what="the upstream is busy")  # noqa: B023
            await self._cancelled_in_the_queue(f"queued {wave}")
            await self._until(order, lambda job: job.state not in {JobState.QUEUED, JobState.SUBMITTING})

    async def _turned_away(self, order: Order) -> bool:
        job = await self.town.job(order.prompt)
        return bool(self.town.upstream.creates[order.prompt]) or (job is not None and job.state in ENDED)

    async def _cancelled_in_the_queue(self, prompt: str) -> None:
        """Given up while the upstream takes nothing; where that is over sooner, it is simply made."""
        order = await self._order(prompt, self.town.here)
        async with asyncio.timeout(PATIENCE_S):
            while (job := await self._job(order)).state is JobState.QUEUED:
                await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")

    async def _cancelled_while_made(self, prompt: str) -> None:
        order = await self._order(prompt, self.town.here)
        await self._until(order, lambda job: job.state is JobState.RUNNING or job.state in ENDED)
        while True:
            job = await self._job(order)
            if job.cancel_requested or job.state in ENDED:
                break
            asked = await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")
            question = None if asked is None else asked.original
            if question is not None and f"zoetrope:spend:{job.id}" in question.custom_ids:
                await self._click(order, question, f"zoetrope:spend:{job.id}")
        self.town.upstream.let_go(prompt)

    async def _found(self, prompt: str) -> None:
        """The answer to the create is lost; the operator finds its task."""
        order = await self._order(prompt, self.town.here)
        await self._until(order, lambda job: job.state in ENDED)
        while (job := await self._job(order)).failure is FailureReason.OUTCOME_UNKNOWN:
            if not (tasks := self.town.upstream.tasks_of(prompt)):
                await self._operate("operator reconcile lost", {"job": job.id})
            else:
                await self._operate("operator reconcile found", {"job": job.id, "upstream_id": tasks[0].id})

    async def _written_off(self, prompt: str) -> None:
        order = await self._order(prompt, self.town.here)
        await self._until(order, lambda job: job.state in ENDED)
        while (job := await self._job(order)).failure is FailureReason.OUTCOME_UNKNOWN:
            await self._operate("operator reconcile lost", {"job": job.id})

    async def _approved(self, prompt: str) -> None:
        await self._decide(prompt, "approve")

    async def _declined(self, prompt: str) -> None:
        await self._decide(prompt, "decline")

    async def _cancelled_while_waiting(self, prompt: str) -> None:
        order = await self._order(prompt, self.town.there)
        while (job := await self._job(order)).state is JobState.AWAITING:
            await self._click(order, await self._status_of(job), f"zoetrope:cancel:{job.id}")

    async def _decide(self, prompt: str, kind: str) -> None:
        order = await self._order(prompt, self.town.there)
        owner = self.town.there.guild.owner
        while (job := await self._job(order)).state is JobState.AWAITING:
            marked = f"zoetrope:{kind}:{job.id}"

            async def card(marked: str = marked, order: Order = order) -> Message | bool | None:
                found = [held for held in self._log_of(order) if marked in held.custom_ids]
                return found[0] if found else (await self._job(order)).state is not JobState.AWAITING

            shown = await self.town.until(card, what=f"{prompt}: the question to the moderators")
            if isinstance(shown, Message):
                await self._click(order, shown, marked, by=owner)

    # --- how people act ---

    async def _order(self, prompt: str, channel: Channel) -> Order:
        """A member orders until there is a job of it."""
        order = Order(prompt, newcomer(self.town.discord, channel.guild, prompt.replace(" ", "-")), channel)
        self.orders.append(order)
        while await self.town.job(prompt) is None:
            asked = await self._ask(
                lambda: self.town.discord.slash(
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
        office = self.town.office
        asked = await self._ask(lambda: self.town.discord.slash(words, office.guild.owner, office, dict(options)))
        await self._answer(asked)

    async def _click(
        self, order: Order, message: Message | None, custom_id: str, by: User | None = None
    ) -> Interaction | None:
        """Clicks, if the button is still there, and waits for the answer."""
        if message is None:
            await asyncio.sleep(0.05)
            return None
        before = message.content
        asked = await self._ask(lambda: self.town.discord.click(message.id, custom_id, by or order.member))
        await self._answer(asked, before)
        return asked

    async def _ask(self, act: Callable[[], Awaitable[Interaction]]) -> Interaction | None:
        discord = self.town.discord

        async def there() -> bool:
            return bool(discord.gateway.live)

        await self.town.until(there, what="the bot is there")
        try:
            return await act()
        except (NotTypable, TimeoutError):  # the button is gone; the bot is away again
            await asyncio.sleep(0.05)
            return None

    async def _answer(self, asked: Interaction | None, before: str = "") -> None:
        """Waits for the private answer, or until it can't come any more."""
        away = self.town.away  # as many as when it was asked: nothing was awaited since then

        async def answered() -> bool:
            if asked is None or self.town.away > away:
                return True
            shown = asked.original
            if asked.callback is Callback.DEFERRED_UPDATE:  # the message that was clicked says the answer
                return shown is None or shown.content != before
            return shown is not None and not shown.loading

        try:
            await self.town.until(answered, what="an answer", timeout_s=ANSWER_S)
        except TimeoutError:
            return

    async def _job(self, order: Order) -> Job:
        job = await self.town.job(order.prompt)
        if job is None:
            raise ZoetropeError(f"{order.prompt}: its job is gone")
        return job

    async def _until(self, order: Order, holds: Callable[[Job], bool]) -> None:
        async def look() -> bool:
            return holds(await self._job(order))

        await self.town.until(look, what=f"{order.prompt} goes on")

    async def _status_of(self, job: Job) -> Message | None:
        """The status message with its button, as the member sees it."""
        marked = f"zoetrope:cancel:{job.id}"
        shown = [held for held in self.town.discord.messages(job.channel_id) if marked in held.custom_ids]
        return shown[0] if shown else None

    def _log_of(self, order: Order) -> list[Message]:
        log = self.town.here_log if order.channel is self.town.here else self.town.there_log
        return self.town.discord.messages(log.id)
