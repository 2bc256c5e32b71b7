"""Text that is made to break something, in every place where somebody can write: through the whole bot."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.chat.messages.markdown import room
from bot.demo.faults import Fault, Route
from bot.demo.gateway import LocalGateway
from bot.domain.jobs import Job
from bot.services.admin.audited import Admin
from tests.cogs.conftest import a_picture
from tests.discord_server import Channel, DiscordServer, Message, Upload, User
from tests.discord_server.interactions import Kind
from tests.forged.orders import Resolved, data, declared, filled
from tests.forged.stage import EVERYTHING, KEY, WITHIN_S, Stage, a_stage, errors_logged, operated_from, people
from tests.store import postgres_server

MARKUP = (
    "# big\n## less\n-# small\n> quoted\n>>> all of it\n- one\n1. two\n```js\ncode\n``` `x` ~~no~~ ||secret|| "
    "__under__ *it* **bold** [look](https://example.org/a) <https://example.org> https://example.org \\* \\"
)
MENTIONS = (
    "@everyone @here <@{victim}> <@!{victim}> <@&{role}> <#{channel}> </videos list:1> <id:guide> <id:customize> "
    "<a:party:1> <:party:1> :party: <t:1700000000:R>"
)
HOSTILE = {
    "mentions": MENTIONS,
    "mentions cut by what is dropped": (
        "@\u200beveryone <\u202e@{victim}> <@\x00{victim}> @\ud83eeveryone <@\u2060&{role}>"
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
"""What PostgreSQL refuses; the rest is all one to databases."""

PICTURE = a_picture()


def hostile(name: str, victim: User, channel: Channel) -> str:
    text = HOSTILE[name].format(victim=victim.id, role=channel.guild.id, channel=channel.id)
    return text[:800]


REASONS = ("mentions", "markup", "lone surrogates")

UNSEEN = {"Cc", "Cs", "Zl", "Zp"}


def working_markup(text: str) -> Counter[str]:
    """The characters of a message that can mark something up, without those that are escaped, and its lines."""
    return Counter(re.findall(r"[*_~`|>#\[\]()<:@\n]", re.sub(r"\\[^\n]", "", text)))


def dangers(message: Message, *may_ping: User) -> list[str]:
    """What about a message must never be, however hostile its parts are."""
    found = []
    allowed = message.allowed_mentions
    if allowed is None or allowed.get("parse") or allowed.get("roles"):
        found.append(f"pings at will: {allowed}")
    elif not {int(user) for user in allowed.get("users", [])} <= {user.id for user in may_ping}:
        found.append(f"pings somebody else: {allowed}")
    if message.pings_everyone or not set(message.pinged) <= set(may_ping):
        found.append("pings")
    if room(message.content) > 2000:
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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'texts.db'}"
    return str(request.getfixturevalue("postgres"))


@asynccontextmanager
async def a_house(folder: Path, place: DiscordServer, **changes: Any) -> AsyncIterator[Stage]:
    async with (
        LocalGateway(folder=folder / "upstream", api_key=KEY, render=False) as upstream,
        a_stage(folder, place, upstream, **{"quota_videos_per_day": 100, "quota_running": 20} | changes) as stage,
    ):
        yield stage


async def ordered(stage: Stage, mia: User, prompt: str, **options: str) -> tuple[Job, str]:
    """An order of what no client would let a member type; the job and what they were told."""
    upload = Upload("@everyone \u202e`gnp' OR 1=1.png", PICTURE)
    asked = await stage.discord.slash(
        "animate", mia, options={"prompt": prompt, **options}, attachments={"image": upload}, enforce=False
    )
    said = await stage.said(asked)
    assert "Got it!" in said, said
    [newest, *_] = await stage.bot.services.jobs.recent(stage.discord.guild.id, mia.id)
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


def about(stage: Stage, job: Job) -> list[Message]:
    return [
        m for m in stage.discord.messages(stage.discord.channel.id) if m.content and str(job.user_id) in m.content
    ]


async def test_a_prompt_arrives_as_it_was_accepted_and_nothing_in_it_works(
    tmp_path: Path, database_url: str
) -> None:
    """Each by a member of its own, so that what is said of it can be told from the rest."""
    async with DiscordServer() as place, a_house(tmp_path, place, database_url=database_url) as stage:
        victim = place.member
        plain = place.world.add_member(place.guild, "plain")
        names = NAMES if database_url.startswith("sqlite") else UNSTORABLE
        authors = {name: place.world.add_member(place.guild, f"author {i}") for i, name in enumerate(names)}
        jobs: dict[str, Job] = {}
        with errors_logged() as errors:
            async with stage.working():
                skeleton, _ = await ordered(stage, plain, "plain", negative_prompt="plain")
                for name, mia in authors.items():
                    text = hostile(name, victim, place.channel)
                    jobs[name], said = await ordered(stage, mia, text, negative_prompt=text[:500])
                    assert len(said) <= 2000
                everybody = [plain, *authors.values()]
                await place.world.until(
                    lambda: all(any(m.attachments and u in m.pinged for m in place.messages()) for u in everybody),
                    timeout_s=WITHIN_S,
                )

        assert errors == []
        [model] = [m for m in about(stage, skeleton) if m.attachments]
        upstream = {text for received in stage.upstream.received for text in texts_in(received.body)}
        for name, job in jobs.items():
            mia = authors[name]
            assert not [char for char in job.order.prompt if unicodedata.category(char) in UNSEEN], name
            assert job.order.prompt.encode(), name
            assert {job.order.prompt, job.order.negative_prompt} <= upstream, name
            [video] = [m for m in about(stage, job) if m.attachments]
            assert dangers(video, mia) == [], name
            assert video.pinged == [mia], name
            assert working_markup(video.content) == working_markup(model.content), video.content
            for message in about(stage, job):
                assert dangers(message, mia) == [], name


async def test_what_the_upstream_says_went_wrong_works_no_more_than_a_prompt_does(tmp_path: Path) -> None:
    async with DiscordServer() as place, a_house(tmp_path, place) as stage:
        victim = place.member
        authors = {name: place.world.add_member(place.guild, f"author {i}") for i, name in enumerate(REASONS)}
        plain = place.world.add_member(place.guild, "plain")
        with errors_logged() as errors:
            async with stage.working():
                for name, author in {"plain": plain, **authors}.items():
                    reason = "plain" if name == "plain" else hostile(name, victim, place.channel) * 3
                    error = {"error": {"message": reason, "code": reason}, "message": reason}
                    stage.upstream.fault(Route.CREATE, Fault(status=422, body=error))
                    await ordered(stage, author, "plain")
                    await stage.saying(author.mention, "didn't work", channel=place.channel)

        assert errors == []
        model = failure_of(stage, plain)
        assert model is not None
        for name, author in authors.items():
            told = failure_of(stage, author)
            assert told is not None
            assert dangers(told, author) == [], name
            assert working_markup(told.content) == working_markup(model.content), (name, told.content)


def failure_of(stage: Stage, author: User) -> Message | None:
    """What the channel was told of the author's video that came to nothing."""
    found = [m for m in stage.discord.messages(stage.discord.channel.id) if "didn't work" in m.content]
    return next((m for m in found if author.mention in m.content), None)


async def test_every_text_option_of_every_command_takes_hostile_text_or_says_why_not(
    tmp_path: Path, database_url: str
) -> None:
    """Walked from what Discord was told of the commands, so that a new one is in it by itself."""
    async with DiscordServer() as place:
        who = people(place)
        boss, office, here = who["boss"], who["office"], place.channel
        log = place.world.add_channel(place.guild, "log")
        settings = operated_from(office.guild) | {"database_url": database_url}
        async with a_house(tmp_path, place, **settings) as stage:
            await stage.bot.services.admins.settings.log_to(Admin(place.guild.id, boss.id), log.id)
            others = itertools.cycle([name for name in NAMES if name not in UNSTORABLE])
            here_too = 3 if database_url.startswith("sqlite") else 0
            tried = Counter[str]()
            with errors_logged() as errors:
                async with stage.working():
                    for command in declared(place, office.guild.id):
                        by, where = (
                            (who["operator"], office) if command.words.startswith("operator") else (boss, here)
                        )
                        resolved = Resolved(place, where, by)
                        texts = [it for it in command.options if it["type"] == 3 and not it.get("choices")]
                        for option in texts if command.words != "animate" else ():
                            asked, names = [], [*UNSTORABLE, *itertools.islice(others, here_too)]
                            for name in names:
                                text = hostile(name, place.member, here)[: option.get("max_length", 6000)]
                                options = filled(command, resolved, **{option["name"]: text})
                                asked.append(stage.send(Kind.COMMAND, by, where, data(command, options, resolved)))
                            for name, interaction in zip(names, asked, strict=True):
                                said = await stage.said(interaction)
                                assert said, (command.words, name)
                                assert "Something broke" not in said, (command.words, name)
                                tried[name] += 1
                    await stage.settled()

        assert errors == []
        assert all(tried[name] > 10 for name in UNSTORABLE)
        assert here_too == 0 or all(tried[name] > 3 for name in NAMES)
        for message in place.messages():
            author = next((u for u in [boss, place.member, who["operator"]] if u.mention in message.content), boss)
            assert dangers(message, author) == [], message.content
        bodies = [call.payload for call in place.requests if isinstance(call.payload, dict)]
        spoken = [part for body in bodies for part in (body, body.get("data")) if isinstance(part, dict)]
        for payload in spoken:
            assert room(payload.get("content") or "") <= 2000
            assert not (payload.get("allowed_mentions") or {}).get("parse")


async def test_names_that_are_hostile_break_nothing_that_names_them(tmp_path: Path) -> None:
    """Of members, servers, channels and roles; a client of Discord's lets through most of this."""
    async with DiscordServer() as place:
        who = people(place)
        boss, office, here = who["boss"], who["office"], place.channel
        victim = place.world.add_member(place.guild, "victim")
        for number, name in enumerate(NAMES):
            text = hostile(name, victim, here)
            guild = place.world.add_guild(text[:100])
            place.world.add_channel(guild, text[:100])
            place.world.add_member(place.guild, text[:32], may=EVERYTHING if number % 2 else None)
        place.guild.name = here.name = hostile("mentions", victim, here)[:100]
        for user in (boss, place.member, who["operator"]):
            user.name = hostile("mentions", victim, here)[:32]
        async with a_house(tmp_path, place, **operated_from(office.guild)) as stage:
            with errors_logged() as errors:
                async with stage.working():
                    await ordered(stage, place.member, "plain")
                    for command in declared(place, office.guild.id):
                        if command.words == "animate":
                            continue
                        by, where = (
                            (who["operator"], office) if command.words.startswith("operator") else (boss, here)
                        )
                        resolved = Resolved(place, where, place.member if where is here else by)
                        asked = stage.send(
                            Kind.COMMAND, by, where, data(command, filled(command, resolved), resolved)
                        )
                        assert "Something broke" not in await stage.said(asked), command.words
                        for option in (it for it in command.options if it.get("autocomplete")):
                            typed = [{"name": option["name"], "type": 3, "value": "", "focused": True}]
                            asked = stage.send(Kind.AUTOCOMPLETE, by, where, data(command, typed, {}))
                            await asked.acknowledged(timeout_s=WITHIN_S)
                            for choice in asked.choices or ():
                                assert 1 <= room(choice["name"]) <= 100, choice
                                assert not [c for c in choice["name"] if unicodedata.category(c) in UNSEEN], choice
                    await stage.settled()

        assert errors == []
        for message in place.messages():
            assert dangers(message, place.member) == [], message.content
