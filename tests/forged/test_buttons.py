"""Every button with custom ids that were made up, pressed by those who may not. A new one needs its line here."""

import asyncio
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import discord
import pytest

import bot.chat
import cogs
from bot.chat.views.persistent_button import PersistentButton
from bot.demo.gateway import LocalGateway
from bot.domain.jobs import JobState
from bot.services.admin.audited import Admin
from tests.discord_server import Channel, DiscordServer, Interaction, User
from tests.forged.stage import KEY, MIAS, NOAS, Cast, Stage, a_stage, errors_logged, operated_from, people

OWN, ADMINS, MODERATED, OPERATORS = (
    "its member",
    "who manages the bot",
    "its member or a moderator",
    "the operator",
)

BUTTONS = {
    "zoetrope:cancel:{job}": OWN,
    "zoetrope:spend:{job}": OWN,
    "zoetrope:status:{job}": MODERATED,
    "zoetrope:video:{job}": MODERATED,
    "zoetrope:note:{job}": MODERATED,
    "zoetrope:erase:{user}": OWN,
    "zoetrope:approve:{job}": ADMINS,
    "zoetrope:decline:{job}": ADMINS,
    "zoetrope-admin:pause": ADMINS,
    "zoetrope-admin:resume": ADMINS,
    "zoetrope-admin:give-up:{job}": ADMINS,
    "zoetrope-operator:announce": OPERATORS,
}
"""Every custom id that a button of the bot's can have, and who may press it."""

ABOUT_JOBS = [form for form in BUTTONS if "{job}" in form]
TEMPLATES_LISTED = re.compile(r"\(\?P<\w+>([a-z-]+(?:\|[a-z-]+)+)\)")


def of_ours(base: type) -> set[type]:
    """All classes of the program that are made of this one."""
    for package in (bot.chat, cogs):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    children: list[type] = base.__subclasses__()
    found = {made for child in children for made in {child} | of_ours(child)}
    return {one for one in found if one.__module__.startswith(("bot.", "cogs.")) and ".demo" not in one.__module__}


def spelled_out(template: str) -> set[str]:
    """The custom ids that a template takes, with names in the place of ids."""
    template = re.sub(r"\(\?P<(job|user)>[^)]*\)", r"{\1}", template)
    listed = TEMPLATES_LISTED.search(template)
    if listed is None:
        return {template}
    return {template.replace(listed[0], kind) for kind in listed[1].split("|")}


def test_the_table_lists_every_interactive_component() -> None:
    known = {
        form
        for item in of_ours(discord.ui.DynamicItem) - {PersistentButton}
        for form in spelled_out(item.__discord_ui_compiled_template__.pattern)  # type: ignore[attr-defined]
    }

    assert known == BUTTONS.keys()
    assert of_ours(discord.ui.Modal) | of_ours(discord.ui.View) | of_ours(discord.ui.Select) == set()


def test_only_buttons_with_a_template_are_used() -> None:
    """A view's own item or a decorated method would not stand in the table: it would have no template."""
    used = set()
    for package in (bot.chat, cogs):
        for file in Path(package.__path__[0]).rglob("*.py"):
            source = file.read_text(encoding="utf-8")
            used |= set(re.findall(r"discord\.ui\.(\w+)", source))
            assert not re.search(r"from discord(\.ui)? import .*\bui\b|from discord\.ui|\.callback = ", source), (
                file
            )

    assert used == {"Button", "DynamicItem", "Item", "View"}


@dataclass(frozen=True)
class Attempt:
    """A click that must change nothing. author: who wrote the message it stands under, if not the bot."""

    why: str
    custom_id: str
    user: User
    channel: Channel
    author: User | None = None
    outside: bool = False

    def made(self, stage: Stage) -> Interaction:
        return stage.click(self.custom_id, self.user, self.channel, author=self.author, outside=self.outside)


def entitled(cast: Cast, form: str) -> User:
    return {OPERATORS: cast.operator, ADMINS: cast.boss}.get(BUTTONS[form], cast.mia)


def attempts(stage: Stage, cast: Cast) -> Iterator[Attempt]:
    """What is tried with well-formed custom ids."""
    here, ghost = stage.discord.channel, User("another app", bot=True)
    for form, whose in BUTTONS.items():
        mine = form.format(job=cast.mias, user=cast.mia.id)
        yield Attempt("another member", mine, cast.stranger, here)
        yield Attempt("who lost the right", mine, cast.ousted, here)
        yield Attempt("a member of another server", mine, cast.noa, cast.elsewhere)
        there = cast.office if whose == OPERATORS else here
        may = entitled(cast, form)
        yield Attempt("from direct messages", mine, may, there, outside=True)
        yield Attempt("under another app's message", mine, may, there, author=ghost)
    for form in ABOUT_JOBS:
        if BUTTONS[form] != MODERATED:  # a moderator removes what stands in their own server, whatever it is about
            yield Attempt(
                "admin of another server", form.format(job=cast.mias), cast.boss_elsewhere, cast.elsewhere
            )
            yield Attempt("another server's video", form.format(job=cast.noas), cast.boss, here)
        for job_id in (cast.noas, "nosuchvideo", "A" * 20):
            yield Attempt("a video that is not theirs", form.format(job=job_id), cast.mia, here)
    for form in ("zoetrope:cancel:{job}", "zoetrope:spend:{job}"):
        yield Attempt("a video that is over", form.format(job=cast.ended), cast.mia, here)
    yield Attempt("approving what did not wait", f"zoetrope:approve:{cast.ended}", cast.boss, here)
    yield Attempt("the operator elsewhere", "zoetrope-operator:announce", cast.operator, here)
    yield Attempt("another member's data", f"zoetrope:erase:{cast.mia.id}", cast.boss, here)
    yield Attempt("their data by a twin id", f"zoetrope:erase:{cast.mia.id + 2**64}"[:33], cast.mia, here)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unauthorised_click_is_refused_privately_and_changes_nothing(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    stage.discord.world.add_member(cast.office.guild, "someone")
    stage.discord.guild.members.setdefault(
        cast.operator.id, type(stage.discord.guild.members[cast.mia.id])(cast.operator, [])
    )
    before = await stage.everything()
    calls = len(stage.discord.requests)

    with errors_logged() as errors:
        for attempt in attempts(stage, cast):
            said = await stage.said(attempt.made(stage))
            assert said, attempt
            assert said != "forged", attempt
            hidden = {MIAS, NOAS, cast.noas, "Something broke", "Removed", "Cancelled", "Traceback"}
            assert not [part for part in hidden if part in said], (attempt, said)
            assert await stage.everything() == before, attempt

    assert errors == []
    assert not [call for call in stage.discord.requests[calls:] if call.method == "DELETE"]


def malformed(cast: Cast) -> Iterator[str]:
    """Custom ids that no button of the bot's ever had, made of such as there are."""
    job = cast.mias
    for form in BUTTONS:
        whole = form.format(job=job, user=cast.mia.id)
        yield from (
            whole.upper(),
            f" {whole}",
            f"{whole} ",
            f"{whole}\n",
            f"{whole}:",
            f"{whole}:{job}",
            f"x{whole}",
        )
        yield from (whole.replace(":", "："), whole.replace("z", "Z", 1), f"{whole}\x00", f"{whole};--")
    for form in [*ABOUT_JOBS, "zoetrope:erase:{user}"]:
        for bent in (
            "", " ", "\n", "\x00", "A" * 21, "A" * 87, "１２３", "\u0661\u0662", "' OR 1=1 --", "../etc",
            "%00", f"{job}\n{job}", "\u202e", "\ud83e", "é", "{job}", ".*",
        ):  # fmt: skip
            yield form.format(job=bent, user=bent)
        yield form.format(job=f"{job}\u200b", user=f"{cast.mia.id}\u200b")
    yield from ("", ":", "zoetrope", "zoetrope:", "zoetrope::", f"zoetrope::{job}", f"zoetrope:CANCEL:{job}")
    yield from (
        f"zoetrope:approve|decline:{job}",
        f"zoetrope-admin:{job}",
        "zoetrope-admin:pause|resume",
        "x" * 101,
    )
    yield from (
        f"zoetrope-admin:cancel:{job}",
        f"zoetrope:give-up:{job}",
        f"zoetrope:pause:{job}",
        f"zoetrope:erase:{job}",
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_a_malformed_custom_id_does_nothing(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    before = await stage.everything()

    with errors_logged() as errors:
        clicks = [
            stage.click(custom_id, user, stage.discord.channel)
            for custom_id in malformed(cast)
            for user in (cast.mia, cast.boss)
        ]
        await stage.nothing_left(cast.mia)

    assert len(clicks) > 500
    assert [it.data["custom_id"] for it in clicks if it.callback is not None] == []
    assert await stage.everything() == before
    assert errors == []


async def test_concurrent_identical_clicks_take_effect_once(scene: tuple[Stage, Cast]) -> None:
    stage, cast = scene
    here, there = stage.discord.channel, cast.elsewhere
    card = await stage.saying("🔍", channel=there)

    async def both(*custom_ids: str, by: User, where: Channel) -> list[str]:
        clicks = [stage.click(it, by, where, message=card if where is there else None) for it in custom_ids]
        card.flags = 0
        return list(await asyncio.gather(*(stage.said(click) for click in clicks)))

    kinds = ("approve", "decline", "approve")
    decided = await both(*(f"zoetrope:{kind}:{cast.noas}" for kind in kinds), by=cast.boss_elsewhere, where=there)
    assert sum(text.startswith("You ") for text in decided) == 1, decided
    job = await stage.job(NOAS)
    assert job.state is (JobState.QUEUED if any("let it through" in text for text in decided) else JobState.FAILED)

    given_up = await both(*[f"zoetrope:spend:{cast.mias}"] * 3, by=cast.mia, where=here)
    assert all("Cancelled" in text or "is over" in text for text in given_up), given_up
    assert (await stage.job(MIAS)).cancel_requested

    erased = await both(*[f"zoetrope:erase:{cast.mia.id}"] * 3, by=cast.mia, where=here)
    assert all(text.startswith("Done") for text in erased), erased


async def test_an_announcement_confirmed_twice_at_once_is_posted_once(tmp_path: Path) -> None:
    async with (
        DiscordServer() as place,
        LocalGateway(folder=tmp_path / "upstream", api_key=KEY, render=False) as upstream,
    ):
        who = people(place)
        office, elsewhere = who["office"], who["elsewhere"]
        async with a_stage(tmp_path, place, upstream, **operated_from(office.guild)) as stage:
            chief = Admin(elsewhere.guild.id, who["boss_elsewhere"].id)
            await stage.bot.services.admins.settings.log_to(chief, elsewhere.id)
            asked = await place.slash("operator announce", who["operator"], office, options={"text": "we move"})
            question = await asked.answer()

            clicks = [
                await place.click(question.id, "zoetrope-operator:announce", who["operator"]) for _ in range(3)
            ]
            for click in clicks:
                await stage.said(click)
            async with stage.working():
                await stage.saying("we move", channel=elsewhere)
                await stage.settled()

        told = [m for m in place.messages(elsewhere.id) if "we move" in m.content]
        assert len(told) == 1
