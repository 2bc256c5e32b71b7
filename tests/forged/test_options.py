"""Every option of every command with values that Discord's client would not send, by those who may use it."""

from collections.abc import Iterator

import pytest

from tests.discord_server import Channel, Interaction, User
from tests.discord_server.interactions import Kind
from tests.discord_server.state import Json
from tests.forged.orders import Declared, Resolved, data, declared, filled, impossible
from tests.forged.stage import MIAS, NOAS, WITHIN_S, Cast, Stage, errors_logged

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = "Discord sent me something else than this command takes, so nothing was done: "

TYPED_BY_HAND = {
    "operator allow": ("server",),
    "operator block": ("server",),
    "operator budgets": ("server",),
    "operator ledger": ("job",),
    "operator reconcile found": ("job",),
    "operator reconcile lost": ("job",),
    "operator unset": ("server",),
    "video-admin channels forget": ("channel",),
    "video-admin jobs cancel": ("video",),
    "video-admin jobs retry": ("video",),
    "video-admin roles forget": ("role",),
    "video-admin words remove": ("word",),
    "videos cancel": ("video",),
}
"""Every option that offers suggestions, which nobody is held to."""


def commands(stage: Stage, cast: Cast) -> list[Declared]:
    return declared(stage.discord, cast.office.guild.id)


def place_of(stage: Stage, cast: Cast, words: str) -> tuple[User, Channel]:
    """Who may use the command, and where."""
    if words.startswith("operator "):
        return cast.operator, cast.office
    return (cast.boss if words.startswith("video-admin ") else cast.mia), stage.discord.channel


async def test_an_invalid_option_is_refused_and_changes_nothing(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    before = await stage.everything()
    fetched = len(stage.discord.calls("GET", "/cdn/"))
    tried = 0

    with errors_logged() as errors:
        for command in commands(stage, cast):
            user, channel = place_of(stage, cast, command.words)
            resolved = Resolved(stage.discord, channel, user)
            sent = []
            for option in command.options:
                good = filled(command, resolved)
                sent += [filled(command, resolved, **{option["name"]: bad}) for bad in impossible(option)]
                sent.append([it | {"type": 3 if it["type"] == 4 else 4} for it in good])
                sent.append([*good, {"name": "no_such_option", "type": 3, "value": "x"}])
                if option.get("required"):
                    sent.append([it for it in good if it["name"] != option["name"]])
            asked = [stage.send(Kind.COMMAND, user, channel, data(command, it, resolved)) for it in sent]
            for options, interaction in zip(sent, asked, strict=True):
                said = await stage.said(interaction)
                assert said.startswith(REFUSED), (command.words, options, said)
            tried += len(sent)
        assert await stage.everything() == before

    assert tried > 500
    assert errors == []
    assert len(stage.discord.calls("GET", "/cdn/")) == fetched


async def test_an_unknown_command_is_refused(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    gone = [
        {"id": "1", "name": "vidoes", "type": 1},
        {"id": "1", "name": "animate", "type": 2, "target_id": "1"},
        {"id": "1", "name": "video-admin", "type": 1},
        {"id": "1", "name": "videos", "type": 1, "options": [{"name": "purge", "type": 1, "options": []}]},
    ]

    with errors_logged() as errors:
        for sent in gone:
            said = await stage.said(stage.send(Kind.COMMAND, cast.boss, stage.discord.channel, dict(sent)))
            assert said.startswith(f"{REFUSED}I don't have it any more"), sent

    assert errors == []


def made_up(cast: Cast, words: str) -> Iterator[str]:
    """What is typed instead of choosing: nothing of it names something of whoever types."""
    yield from (
        "",
        " ",
        "\n",
        "\x00",
        "\ud83e",
        "A" * 101,
        "１２３",
        "\u0661",
        "'; DROP TABLE jobs;--",
        "-1",
        "NaN",
        "0",
    )
    yield from (
        "\u202egnol",
        "x\ny",
        "a" * 6000,
        "9" * 19,
        "9" * 400,
        "<@!1>",
        "<#0>",
        "%s",
        "{job}",
        "../../etc/passwd",
    )
    yield from (
        f"zoetrope:cancel:{cast.mias}",
        f"{cast.mias}\x00",
        f"{cast.mias}\u200b",
        f"{cast.mias} extra",
        "everything",
    )
    if not words.startswith("operator "):
        yield from (cast.noas, "gore", "7", str(cast.noa.id), NOAS)


async def test_free_text_in_an_autocomplete_option_reaches_nobody_elses_data(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    offered = {
        command.words: tuple(option["name"] for option in command.options if option.get("autocomplete"))
        for command in commands(stage, cast)
    }
    assert {words: names for words, names in offered.items() if names} == TYPED_BY_HAND
    before = await stage.everything()

    with errors_logged() as errors:
        for command in commands(stage, cast):
            user, channel = place_of(stage, cast, command.words)
            resolved = Resolved(stage.discord, channel, user)
            for name in TYPED_BY_HAND.get(command.words, ()):
                for typed in made_up(cast, command.words):
                    options = filled(command, resolved, **{name: typed})
                    said = await stage.said(
                        stage.send(Kind.COMMAND, user, channel, data(command, options, resolved))
                    )
                    assert said, (command.words, typed)
                    assert not [part for part in (MIAS, NOAS, "Something broke") if part in said], (
                        command.words,
                        typed,
                    )
                assert await stage.everything() == before, command.words

    assert errors == []


async def offered_to(asked: Interaction) -> list[Json]:
    """The suggestions that the one who types is shown."""
    await asked.acknowledged(timeout_s=WITHIN_S)
    assert asked.choices is not None
    return asked.choices


async def test_suggestions_never_contain_anybody_elses_data(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    before = await stage.everything()
    secret = (NOAS, cast.noas, str(cast.noa.id), "kestrel")

    with errors_logged() as errors:
        for command in commands(stage, cast):
            for name in TYPED_BY_HAND.get(command.words, ()):
                for user, channel in {
                    place_of(stage, cast, command.words),
                    (cast.stranger, stage.discord.channel),
                    (cast.ousted, stage.discord.channel),
                }:
                    texts = ("", NOAS, "kestrel", "\x00", "\ud83e", "A" * 6000, "%", "١", *_WRONG)
                    sent = [{"name": name, "type": 3, "value": typed, "focused": True} for typed in texts]
                    typings = [
                        stage.send(Kind.AUTOCOMPLETE, user, channel, data(command, [one], {})) for one in sent
                    ]
                    for one, interaction in zip(sent, typings, strict=True):
                        choices = await offered_to(interaction)
                        if not command.words.startswith("operator ") or user is not cast.operator:
                            assert not [part for part in secret if part in repr(choices)], (command.words, one)
        for odd in (
            [],
            [{"name": "video", "type": 3, "value": "x"}],
            [{"name": "no", "type": 3, "value": "", "focused": True}],
        ):
            [cancel] = [it for it in commands(stage, cast) if it.words == "videos cancel"]
            typing = stage.send(Kind.AUTOCOMPLETE, cast.mia, stage.discord.channel, data(cancel, odd, {}))
            assert await offered_to(typing) == []

    assert await stage.everything() == before
    assert errors == []


_WRONG: tuple[object, ...] = (None, 5, True, [], {})


async def test_no_command_works_outside_a_server(still: tuple[Stage, Cast]) -> None:
    stage, cast = still
    before = await stage.everything()
    direct = stage.discord.world.direct(cast.mia)

    for command in commands(stage, cast):
        resolved = Resolved(stage.discord, stage.discord.channel, cast.mia)
        asked = stage.discord.interactions.begin(Kind.COMMAND, direct, cast.mia, {})
        asked.data = data(command, filled(command, resolved), resolved)
        asked.data.pop("guild_id", None)
        sent = asked.create_json()
        sent |= {"user": sent.pop("member")["user"], "context": 1}
        del sent["guild_id"], sent["guild"]
        stage.discord.gateway.dispatch("INTERACTION_CREATE", sent)
        assert await stage.said(asked) == "This works in a server's channel only.", command.words

    assert await stage.everything() == before
