"""Hostile text in every place where somebody can write, through the whole bot."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.chat.messages.markdown import discord_length
from bot.domain.jobs import Job
from bot.services.admin.audited import Admin
from tests.cogs.conftest import sample_picture
from tests.discord_server import Channel, DiscordServer, Message, Upload, User
from tests.discord_server.interactions import Kind
from tests.faulty_gateway import Fault, FaultyGateway, Route
from tests.forged.command_data import ResolvedObjects, data, declared_commands, filled_options
from tests.forged.harness import (
    KEY,
    MANAGER_PERMISSIONS,
    WITHIN_S,
    ForgeryHarness,
    add_members,
    errors_logged,
    open_harness,
    operator_settings,
)
from tests.store import postgres_server

pytestmark = pytest.mark.full

MARKUP = (
    "# big\n## less\n-# small\n> quoted\n>>> all of it\n- one\n1. two\n```js\ncode\n``` `x` ~~no~~ ||secret|| "
    "__under__ *it* **bold** [look](https://example.org/a) <https://example.org> https://example.org \\* \\"
)
MENTIONS = (
    "@everyone @here <@{target}> <@!{target}> <@&{role}> <#{channel}> </videos list:1> <id:guide> <id:customize> "
    "<a:party:1> <:party:1> :party: <t:1700000000:R>"
)
HOSTILE = {
    "mentions": MENTIONS,
    "mentions cut by what is dropped": (
        "@\u200beveryone <\u202e@{target}> <@\x00{target}> @\ud83eeveryone <@\u2060&{role}>"
    ),
    "markup": MARKUP,
    "zalgo": "z" + "\u0336\u0489\u0301" * 260,
    "right to left": "\u202egnol \u2067x\u2069 \u200f\u061c שלום عليكم \u202d",
    "null bytes": "a\x00b\x00",
    "lone surrogates": "fox \ud83e and \udd8a and \ud83e\ud83e",
    "line ends of all kinds": "a\r\nb\rc\nd\u2028e\u2029f\x85g\x0bh\x0c> i\n\n\n# j",
    "nothing to be seen": "\u200b\u200d\ufeff\u2800\u3164\u00ad x",
    "as long as it gets": "*" * 800,
    "emoji that count twice": "🦊" * 400,
    "what templates are made of": "{{0}} %s %(x)s ${{x}} {{job.id}} '; DROP TABLE jobs; -- <script>",
}
NAMES = sorted(HOSTILE)
UNSTORABLE = ("null bytes", "lone surrogates")
"""What PostgreSQL refuses; databases store the rest unchanged."""

PICTURE = sample_picture()


def hostile(name: str, target: User, channel: Channel) -> str:
    text = HOSTILE[name].format(target=target.id, role=channel.guild.id, channel=channel.id)
    return text[:800]


REASONS = ("mentions", "markup", "lone surrogates")

UNSEEN = {"Cc", "Cs", "Zl", "Zp"}


def active_markup(text: str) -> Counter[str]:
    """Counts the unescaped markup characters and the line breaks of a message, job ids left out."""
    text = re.sub(r"`[A-Za-z0-9_-]{16}`", "``", text)
    return Counter(re.findall(r"[*_~`|>#\[\]()<:@\n]", re.sub(r"\\[^\n]", "", text)))


def unsafe_parts(message: Message, *allowed_pings: User) -> list[str]:
    """What is unsafe about a message; must be empty, however hostile its parts are."""
    found = []
    allowed = message.allowed_mentions
    if allowed is None or allowed.get("parse") or allowed.get("roles"):
        found.append(f"pings at will: {allowed}")
    elif not {int(user) for user in allowed.get("users", [])} <= {user.id for user in allowed_pings}:
        found.append(f"pings somebody else: {allowed}")
    if message.pings_everyone or not set(message.pinged) <= set(allowed_pings):
        found.append("pings")
    if discord_length(message.content) > 2000:
        found.append("too long")
    joiners = "\n\u200c\u200d"
    bad = [
        char for char in message.content if unicodedata.category(char) in {*UNSEEN, "Cf"} and char not in joiners
    ]
    return found + [f"holds {bad}"] * bool(bad)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server.running() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'texts.db'}"
    return str(request.getfixturevalue("postgres"))


@asynccontextmanager
async def generous_harness(folder: Path, server: DiscordServer, **changes: Any) -> AsyncIterator[ForgeryHarness]:
    async with (
        FaultyGateway(folder / "upstream", KEY) as upstream,
        open_harness(
            folder, server, upstream, **{"quota_videos_per_day": 100, "quota_running": 20} | changes
        ) as harness,
    ):
        yield harness


async def ordered(harness: ForgeryHarness, mia: User, prompt: str, **options: str) -> tuple[Job, str]:
    """Orders with text that no client would send; returns the job and the reply."""
    upload = Upload("@everyone \u202e`gnp' OR 1=1.png", PICTURE)
    asked = await harness.discord.slash(
        "animate", mia, options={"prompt": prompt, **options}, attachments={"image": upload}, enforce=False
    )
    said = await harness.private_reply(asked)
    assert "Got it!" in said, said
    [newest, *_] = await harness.bot.services.jobs.recent(harness.discord.guild.id, mia.id)
    return newest, said


def texts_in(value: object) -> Iterator[str]:
    """All text in a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from texts_in(inner)
        case list():
            for inner in value:
                yield from texts_in(inner)


def about(harness: ForgeryHarness, job: Job) -> list[Message]:
    return [
        m
        for m in harness.discord.messages(harness.discord.channel.id)
        if m.content and str(job.user_id) in m.content
    ]


async def test_a_hostile_prompt_is_sent_unchanged_and_shown_inert(tmp_path: Path, database_url: str) -> None:
    """Each prompt has its own member, so that messages about it can be told apart."""
    async with DiscordServer() as server, generous_harness(tmp_path, server, database_url=database_url) as harness:
        target = server.member
        plain = server.state.add_member(server.guild, "plain")
        names = NAMES if database_url.startswith("sqlite") else UNSTORABLE
        authors = {name: server.state.add_member(server.guild, f"author {i}") for i, name in enumerate(names)}
        jobs: dict[str, Job] = {}
        with errors_logged() as errors:
            async with harness.worker_running():
                skeleton, _ = await ordered(harness, plain, "plain", negative_prompt="plain")
                for name, mia in authors.items():
                    text = hostile(name, target, server.channel)
                    jobs[name], said = await ordered(harness, mia, text, negative_prompt=text[:500])
                    assert len(said) <= 2000
                everybody = [plain, *authors.values()]
                await server.state.until(
                    lambda: all(
                        any(m.attachments and u in m.pinged for m in server.messages()) for u in everybody
                    ),
                    timeout_s=WITHIN_S,
                )

        assert errors == []
        [model] = [m for m in about(harness, skeleton) if m.attachments]
        upstream = {text for received in harness.upstream.received for text in texts_in(received.body)}
        for name, job in jobs.items():
            mia = authors[name]
            assert not [char for char in job.order.prompt if unicodedata.category(char) in UNSEEN], name
            assert job.order.prompt.encode(), name
            assert {job.order.prompt, job.order.negative_prompt} <= upstream, name
            [video] = [m for m in about(harness, job) if m.attachments]
            assert unsafe_parts(video, mia) == [], name
            assert video.pinged == [mia], name
            assert active_markup(video.content) == active_markup(model.content), video.content
            for message in about(harness, job):
                assert unsafe_parts(message, mia) == [], name


async def test_a_hostile_upstream_error_is_shown_inert(tmp_path: Path) -> None:
    async with DiscordServer() as server, generous_harness(tmp_path, server) as harness:
        target = server.member
        authors = {name: server.state.add_member(server.guild, f"author {i}") for i, name in enumerate(REASONS)}
        plain = server.state.add_member(server.guild, "plain")
        with errors_logged() as errors:
            async with harness.worker_running():
                for name, author in {"plain": plain, **authors}.items():
                    reason = "plain" if name == "plain" else hostile(name, target, server.channel) * 3
                    error = {"error": {"message": reason, "code": reason}, "message": reason}
                    harness.upstream.fault(Route.CREATE, Fault(status=422, body=error))
                    await ordered(harness, author, "plain")
                    await harness.wait_for_message(author.mention, "didn't work", channel=server.channel)

        assert errors == []
        model = failure_of(harness, plain)
        assert model is not None
        for name, author in authors.items():
            told = failure_of(harness, author)
            assert told is not None
            assert unsafe_parts(told, author) == [], name
            assert active_markup(told.content) == active_markup(model.content), (name, told.content)


def failure_of(harness: ForgeryHarness, author: User) -> Message | None:
    """The message about the author's failed video."""
    found = [m for m in harness.discord.messages(harness.discord.channel.id) if "didn't work" in m.content]
    return next((m for m in found if author.mention in m.content), None)


async def test_every_text_option_accepts_hostile_text_or_refuses_it_with_a_reason(
    tmp_path: Path, database_url: str
) -> None:
    """Uses the registered commands, so that new ones are included."""
    async with DiscordServer() as server:
        who = add_members(server)
        admin, operator_channel, here = who["admin"], who["operator_channel"], server.channel
        log = server.state.add_channel(server.guild, "log")
        settings = operator_settings(operator_channel.guild) | {"database_url": database_url}
        async with generous_harness(tmp_path, server, **settings) as harness:
            await harness.bot.services.admins.settings.log_to(Admin(server.guild.id, admin.id), log.id)
            others = itertools.cycle([name for name in NAMES if name not in UNSTORABLE])
            extra_count = 3 if database_url.startswith("sqlite") else 0
            tried = Counter[str]()
            with errors_logged() as errors:
                async with harness.worker_running():
                    for command in declared_commands(server, operator_channel.guild.id):
                        by, where = (
                            (who["operator"], operator_channel)
                            if command.words.startswith("operator")
                            else (admin, here)
                        )
                        resolved = ResolvedObjects(server, where, by)
                        texts = [it for it in command.options if it["type"] == 3 and not it.get("choices")]
                        for option in texts if command.words != "animate" else ():
                            asked, names = [], [*UNSTORABLE, *itertools.islice(others, extra_count)]
                            for name in names:
                                text = hostile(name, server.member, here)[: option.get("max_length", 6000)]
                                options = filled_options(command, resolved, **{option["name"]: text})
                                asked.append(
                                    harness.send(Kind.COMMAND, by, where, data(command, options, resolved))
                                )
                            for name, interaction in zip(names, asked, strict=True):
                                said = await harness.private_reply(interaction)
                                assert said, (command.words, name)
                                assert "Something broke" not in said, (command.words, name)
                                tried[name] += 1
                    await harness.wait_until_notified()

        assert errors == []
        assert all(tried[name] > 10 for name in UNSTORABLE)
        assert extra_count == 0 or all(tried[name] > 3 for name in NAMES)
        for message in server.messages():
            author = next(
                (u for u in [admin, server.member, who["operator"]] if u.mention in message.content), admin
            )
            assert unsafe_parts(message, author) == [], message.content
        bodies = [call.payload for call in server.requests if isinstance(call.payload, dict)]
        spoken = [part for body in bodies for part in (body, body.get("data")) if isinstance(part, dict)]
        for payload in spoken:
            assert discord_length(payload.get("content") or "") <= 2000
            assert not (payload.get("allowed_mentions") or {}).get("parse")


async def test_hostile_names_break_no_command(tmp_path: Path) -> None:
    """Of members, servers, channels and roles; Discord's client allows most of these."""
    async with DiscordServer() as server:
        who = add_members(server)
        admin, operator_channel, here = who["admin"], who["operator_channel"], server.channel
        target = server.state.add_member(server.guild, "target")
        for number, name in enumerate(NAMES):
            text = hostile(name, target, here)
            guild = server.state.add_guild(text[:100])
            server.state.add_channel(guild, text[:100])
            server.state.add_member(
                server.guild, text[:32], permissions=MANAGER_PERMISSIONS if number % 2 else None
            )
        server.guild.name = here.name = hostile("mentions", target, here)[:100]
        for user in (admin, server.member, who["operator"]):
            user.name = hostile("mentions", target, here)[:32]
        async with generous_harness(tmp_path, server, **operator_settings(operator_channel.guild)) as harness:
            with errors_logged() as errors:
                async with harness.worker_running():
                    await ordered(harness, server.member, "plain")
                    for command in declared_commands(server, operator_channel.guild.id):
                        if command.words == "animate":
                            continue
                        by, where = (
                            (who["operator"], operator_channel)
                            if command.words.startswith("operator")
                            else (admin, here)
                        )
                        resolved = ResolvedObjects(server, where, server.member if where is here else by)
                        asked = harness.send(
                            Kind.COMMAND, by, where, data(command, filled_options(command, resolved), resolved)
                        )
                        assert "Something broke" not in await harness.private_reply(asked), command.words
                        for option in (it for it in command.options if it.get("autocomplete")):
                            typed = [{"name": option["name"], "type": 3, "value": "", "focused": True}]
                            asked = harness.send(Kind.AUTOCOMPLETE, by, where, data(command, typed, {}))
                            await asked.acknowledged(timeout_s=WITHIN_S)
                            for choice in asked.choices or ():
                                assert 1 <= discord_length(choice["name"]) <= 100, choice
                                assert not [c for c in choice["name"] if unicodedata.category(c) in UNSEEN], choice
                    await harness.wait_until_notified()

        assert errors == []
        for message in server.messages():
            assert unsafe_parts(message, server.member) == [], message.content
