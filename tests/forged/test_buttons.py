"""Every button with forged custom ids, clicked by unauthorised members. A new button needs a line here."""

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
from bot.chat.views.persistent_button import PersistentButton, PersistentSelect
from bot.domain.jobs import JobState
from bot.services.admin.audited import Admin
from tests.discord_server import Channel, DiscordServer, Interaction, User
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import (
    KEY,
    MIA_PROMPT,
    NOA_PROMPT,
    ForgeryHarness,
    Seed,
    add_members,
    errors_logged,
    open_harness,
    operator_settings,
)

pytestmark = pytest.mark.full

OWN, ADMINS, MODERATED, OPERATORS, VISIBLE = (
    "its member",
    "who manages the bot",
    "its member or a moderator",
    "the operator",
    "its member, and whoever sees its video",
)

BUTTONS = {
    "zoetrope:cancel:{job}": OWN,
    "zoetrope:spend:{job}": OWN,
    "zoetrope:cancelall:{job}": OWN,
    "zoetrope:spendall:{job}": OWN,
    "zoetrope:status:{job}": MODERATED,
    "zoetrope:video:{job}": MODERATED,
    "zoetrope:note:{job}": MODERATED,
    "zoetrope:again:{job}": VISIBLE,
    "zoetrope:edit:{job}": VISIBLE,
    "zoetrope:info:{job}": VISIBLE,
    "zoetrope:extend:{job}": VISIBLE,
    "zoetrope:vary:{job}": VISIBLE,
    "zoetrope:vary2:{job}:1": VISIBLE,
    "zoetrope:vary3:{job}:1": VISIBLE,
    "zoetrope:vary4:{job}:1": VISIBLE,
    "zoetrope:erase:{user}": OWN,
    "zoetrope:list:previous:{shows}:{number}:{user}": OWN,
    "zoetrope:list:next:{shows}:{number}:{user}": OWN,
    "zoetrope:list:filter:{user}": OWN,
    "zoetrope:set:pings:{value}:{user}": OWN,
    "zoetrope:set:direct:{value}:{user}": OWN,
    "zoetrope:set:spoilers:{value}:{user}": OWN,
    "zoetrope:set:prompt_extend:{value}:{user}": OWN,
    "zoetrope:set:watermark:{value}:{user}": OWN,
    "zoetrope:set:resolution:{user}": OWN,
    "zoetrope:approve:{job}": ADMINS,
    "zoetrope:decline:{job}": ADMINS,
    "zoetrope-admin:pause": ADMINS,
    "zoetrope-admin:resume": ADMINS,
    "zoetrope-admin:give-up:{job}": ADMINS,
    "zoetrope-operator:announce": OPERATORS,
}
"""Every custom id that the bot's buttons can have, and who may press it."""

VALUES = {"shows": "all", "number": "0", "value": "on"}
"""What stands in custom ids besides ids, as a button has it."""

MENUS = {"zoetrope:list:filter:{user}": "all", "zoetrope:set:resolution:{user}": "480P"}
"""The forms that are of menus, with one of their values."""

CHOICES = {"zoetrope:pick:{key}"}
"""Those of choices, which change nothing; tests/chat/test_pictures.py shows who gets an answer."""

ABOUT_JOBS = [form for form in BUTTONS if "{job}" in form]
TEMPLATES_LISTED = re.compile(r"\(\?P<\w+>([a-z0-9_-]+(?:\|[a-z0-9_-]+)+)\)")


def our_subclasses(base: type) -> set[type]:
    """All subclasses in the bot's own code."""
    for package in (bot.chat, cogs):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    children: list[type] = base.__subclasses__()
    found = {made for child in children for made in {child} | our_subclasses(child)}
    return {one for one in found if one.__module__.startswith(("bot.", "cogs.")) and ".demo" not in one.__module__}


def expand_template(template: str) -> set[str]:
    """The custom ids that a template matches, with placeholders for ids."""
    template = re.sub(r"\(\?P<(job|user|key|shows|number|value)>[^)]*\)", r"{\1}", template)
    template = re.sub(r"\(\?P<click>[^)]*\)", "1", template)
    listed = TEMPLATES_LISTED.search(template)
    if listed is None:
        return {template}
    return {template.replace(listed[0], kind) for kind in listed[1].split("|")}


def test_the_table_lists_every_interactive_component() -> None:
    known = {
        form
        for item in our_subclasses(discord.ui.DynamicItem) - {PersistentButton, PersistentSelect}
        for form in expand_template(item.__discord_ui_compiled_template__.pattern)  # type: ignore[attr-defined]
    }

    assert known == BUTTONS.keys() | CHOICES
    assert (
        our_subclasses(discord.ui.Modal) | our_subclasses(discord.ui.View) | our_subclasses(discord.ui.Select)
        == set()
    )


def test_only_buttons_with_a_template_are_used() -> None:
    """A view's own item or a decorated method has no template, so the table would miss it."""
    used = set()
    for package in (bot.chat, cogs):
        for file in Path(package.__path__[0]).rglob("*.py"):
            source = file.read_text(encoding="utf-8")
            used |= set(re.findall(r"\bui\.(\w+)", source))
            assert not re.search(r"from discord\.ui|\.callback = ", source), file

    layout = {"ActionRow", "Container", "LayoutView", "MediaGallery", "Section", "Separator", "TextDisplay"}
    form = {"Label", "Modal", "TextInput"}
    assert used == {"Button", "DynamicItem", "Item", "Select"} | layout | form | {"Thumbnail", "View"}


@dataclass(frozen=True)
class Attempt:
    """A click that must change nothing. author: the author of the clicked message, if not the bot."""

    why: str
    custom_id: str
    user: User
    channel: Channel
    author: User | None = None
    outside: bool = False
    chosen: str | None = None

    def click(self, harness: ForgeryHarness) -> Interaction:
        return harness.click(
            self.custom_id,
            self.user,
            self.channel,
            author=self.author,
            outside=self.outside,
            chosen=self.chosen,
        )


def authorised_user(seed: Seed, form: str) -> User:
    return {OPERATORS: seed.operator, ADMINS: seed.admin}.get(BUTTONS[form], seed.mia)


def attempts(harness: ForgeryHarness, seed: Seed) -> Iterator[Attempt]:
    """Unauthorised clicks with well-formed custom ids."""
    here, other_app = harness.discord.channel, User("another app", bot=True)
    for form, whose in BUTTONS.items():
        mine = form.format(job=seed.running_job, user=seed.mia.id, **VALUES)
        chosen = MENUS.get(form)
        yield Attempt("another member", mine, seed.plain_member, here, chosen=chosen)
        yield Attempt("who lost the right", mine, seed.former_admin, here, chosen=chosen)
        yield Attempt("a member of another server", mine, seed.noa, seed.elsewhere, chosen=chosen)
        there = seed.operator_channel if whose == OPERATORS else here
        may = authorised_user(seed, form)
        # Their own video is made again from anywhere, and their own data deleted.
        works_anywhere = whose == VISIBLE or form == "zoetrope:erase:{user}"
        outside = seed.plain_member if works_anywhere else may
        yield Attempt("from direct messages", mine, outside, there, outside=True, chosen=chosen)
        yield Attempt("under another app's message", mine, may, there, author=other_app, chosen=chosen)
    for form in ABOUT_JOBS:
        if BUTTONS[form] != MODERATED:  # a moderator removes what stands in their own server, whatever it is about
            yield Attempt(
                "admin of another server", form.format(job=seed.running_job), seed.other_admin, seed.elsewhere
            )
            yield Attempt("another server's video", form.format(job=seed.other_job), seed.admin, here)
        for job_id in (seed.other_job, "nosuchvideo", "A" * 20):
            yield Attempt("a video that is not theirs", form.format(job=job_id), seed.mia, here)
    for form in ("zoetrope:cancel:{job}", "zoetrope:spend:{job}"):
        yield Attempt("a video that is over", form.format(job=seed.failed_job), seed.mia, here)
    yield Attempt("approving what did not wait", f"zoetrope:approve:{seed.failed_job}", seed.admin, here)
    for form in MENUS:
        own = form.format(user=seed.mia.id)
        yield Attempt("a choice that the menu doesn't have", own, seed.mia, here, chosen="everything")
    yield Attempt("the operator elsewhere", "zoetrope-operator:announce", seed.operator, here)
    yield Attempt("another member's data", f"zoetrope:erase:{seed.mia.id}", seed.admin, here)
    yield Attempt("their data by a twin id", f"zoetrope:erase:{seed.mia.id + 2**64}"[:33], seed.mia, here)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unauthorised_click_is_refused_privately_and_changes_nothing(
    shared: tuple[ForgeryHarness, Seed],
) -> None:
    harness, seed = shared
    harness.discord.state.add_member(seed.operator_channel.guild, "someone")
    harness.discord.guild.members.setdefault(
        seed.operator.id, type(harness.discord.guild.members[seed.mia.id])(seed.operator, [])
    )
    before = await harness.database_rows()
    calls = len(harness.discord.requests)

    with errors_logged() as errors:
        for attempt in attempts(harness, seed):
            said = await harness.private_reply(attempt.click(harness))
            assert said, attempt
            assert said != "forged", attempt
            hidden = {
                MIA_PROMPT,
                NOA_PROMPT,
                seed.other_job,
                "Something broke",
                "Removed",
                "Cancelled",
                "Traceback",
            }
            assert not [part for part in hidden if part in said], (attempt, said)
            assert await harness.database_rows() == before, attempt

    assert errors == []
    assert not [call for call in harness.discord.requests[calls:] if call.method == "DELETE"]


def malformed(seed: Seed) -> Iterator[str]:
    """Custom ids that no button ever had, derived from real ones."""
    job = seed.running_job
    for form in BUTTONS:
        whole = form.format(job=job, user=seed.mia.id, **VALUES)
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
        yield form.format(job=f"{job}\u200b", user=f"{seed.mia.id}\u200b")
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
async def test_a_malformed_custom_id_does_nothing(shared: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = shared
    before = await harness.database_rows()

    with errors_logged() as errors:
        clicks = [
            harness.click(custom_id, user, harness.discord.channel)
            for custom_id in malformed(seed)
            for user in (seed.mia, seed.admin)
        ]
        await harness.wait_until_handled(seed.mia)

    assert len(clicks) > 500
    assert [it.data["custom_id"] for it in clicks if it.callback is not None] == []
    assert await harness.database_rows() == before
    assert errors == []


async def test_a_moderator_removes_no_video_of_another_server(fresh: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = fresh

    click = harness.click(f"zoetrope:video:{seed.running_job}", seed.other_admin, seed.elsewhere)
    await harness.private_reply(click)

    assert (await harness.job(MIA_PROMPT)).result_message_id is None


async def test_concurrent_identical_clicks_take_effect_once(fresh: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = fresh
    here, there = harness.discord.channel, seed.elsewhere
    card = await harness.wait_for_message("🔍", channel=there)

    async def both(*custom_ids: str, by: User, where: Channel) -> list[str]:
        clicks = [harness.click(it, by, where, message=card if where is there else None) for it in custom_ids]
        card.flags = 0
        return list(await asyncio.gather(*(harness.private_reply(click) for click in clicks)))

    kinds = ("approve", "decline", "approve")
    decided = await both(
        *(f"zoetrope:{kind}:{seed.other_job}" for kind in kinds), by=seed.other_admin, where=there
    )
    assert sum(text.startswith(("You approved it.", "You declined it.")) for text in decided) == 1, decided
    job = await harness.job(NOA_PROMPT)
    assert job.state is (JobState.QUEUED if "You approved it." in "\n".join(decided) else JobState.FAILED)

    given_up = await both(*[f"zoetrope:spend:{seed.running_job}"] * 3, by=seed.mia, where=here)
    assert all("Cancelled" in text or "is already over" in text for text in given_up), given_up
    assert (await harness.job(MIA_PROMPT)).cancel_requested

    erased = await both(*[f"zoetrope:erase:{seed.mia.id}"] * 3, by=seed.mia, where=here)
    assert all(text.startswith("Done") for text in erased), erased


async def test_an_announcement_confirmed_twice_at_once_is_posted_once(tmp_path: Path) -> None:
    async with (
        DiscordServer() as server,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
    ):
        who = add_members(server)
        operator_channel, elsewhere = who["operator_channel"], who["elsewhere"]
        async with open_harness(
            tmp_path, server, upstream, **operator_settings(operator_channel.guild)
        ) as harness:
            admin = Admin(elsewhere.guild.id, who["other_admin"].id)
            await harness.bot.services.admins.settings.log_to(admin, elsewhere.id)
            asked = await server.slash(
                "operator announce", who["operator"], operator_channel, options={"text": "we move"}
            )
            question = await asked.answer()

            clicks = [
                await server.click(question.id, "zoetrope-operator:announce", who["operator"]) for _ in range(3)
            ]
            for click in clicks:
                await harness.private_reply(click)
            async with harness.worker_running():
                await harness.wait_for_message("we move", channel=elsewhere)
                await harness.wait_until_notified()

        told = [m for m in server.messages(elsewhere.id) if "we move" in m.content]
        assert len(told) == 1
