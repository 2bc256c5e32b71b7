"""Every option of every command with values that no Discord client would send, by members who may use it."""

from collections.abc import Iterator

import pytest

from tests.discord_server import Channel, Interaction, User
from tests.discord_server.interactions import Kind
from tests.discord_server.models import Json
from tests.forged.command_data import (
    DeclaredCommand,
    ResolvedObjects,
    data,
    declared_commands,
    filled_options,
    invalid_values,
)
from tests.forged.harness import MIA_PROMPT, NOA_PROMPT, WITHIN_S, ForgeryHarness, Seed, errors_logged

pytestmark = [pytest.mark.full, pytest.mark.asyncio(loop_scope="module")]

REFUSED = "Your Discord app sent me something that doesn't fit this command, so nothing was done: "

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
    "videos again": ("video",),
    "videos cancel": ("video",),
    "videos extend": ("video",),
    "videos show": ("video",),
}
"""Every option with autocomplete; members may type other values."""


def commands(harness: ForgeryHarness, seed: Seed) -> list[DeclaredCommand]:
    return declared_commands(harness.discord, seed.operator_channel.guild.id)


def user_and_channel(harness: ForgeryHarness, seed: Seed, words: str) -> tuple[User, Channel]:
    """Who may use the command, and where."""
    if words.startswith("operator "):
        return seed.operator, seed.operator_channel
    return (seed.admin if words.startswith("video-admin ") else seed.mia), harness.discord.channel


async def test_an_invalid_option_is_refused_and_changes_nothing(shared: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = shared
    before = await harness.database_rows()
    fetched = len(harness.discord.calls("GET", "/cdn/"))
    tried = 0

    with errors_logged() as errors:
        for command in commands(harness, seed):
            user, channel = user_and_channel(harness, seed, command.words)
            resolved = ResolvedObjects(harness.discord, channel, user)
            sent = []
            for option in command.options:
                good = filled_options(command, resolved)
                sent += [
                    filled_options(command, resolved, **{option["name"]: bad}) for bad in invalid_values(option)
                ]
                sent.append([it | {"type": 3 if it["type"] == 4 else 4} for it in good])
                sent.append([*good, {"name": "no_such_option", "type": 3, "value": "x"}])
                if option.get("required"):
                    sent.append([it for it in good if it["name"] != option["name"]])
            asked = [harness.send(Kind.COMMAND, user, channel, data(command, it, resolved)) for it in sent]
            for options, interaction in zip(sent, asked, strict=True):
                said = await harness.private_reply(interaction)
                assert said.startswith(REFUSED), (command.words, options, said)
            tried += len(sent)
        assert await harness.database_rows() == before

    assert tried > 500
    assert errors == []
    assert len(harness.discord.calls("GET", "/cdn/")) == fetched


async def test_an_unknown_command_is_refused(shared: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = shared
    gone = [
        {"id": "1", "name": "vidoes", "type": 1},
        {"id": "1", "name": "animate", "type": 2, "target_id": "1"},
        {"id": "1", "name": "video-admin", "type": 1},
        {"id": "1", "name": "videos", "type": 1, "options": [{"name": "purge", "type": 1, "options": []}]},
    ]

    with errors_logged() as errors:
        for sent in gone:
            said = await harness.private_reply(
                harness.send(Kind.COMMAND, seed.admin, harness.discord.channel, dict(sent))
            )
            assert said.startswith(f"{REFUSED}the command no longer exists"), sent

    assert errors == []


def made_up_values(seed: Seed, words: str) -> Iterator[str]:
    """Free text for an autocomplete option; none of it refers to the member's own data."""
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
        f"zoetrope:cancel:{seed.running_job}",
        f"{seed.running_job}\x00",
        f"{seed.running_job}\u200b",
        f"{seed.running_job} extra",
        "everything",
    )
    if not words.startswith("operator "):
        yield from (seed.other_job, "gore", "7", str(seed.noa.id), NOA_PROMPT)


async def test_free_text_in_an_autocomplete_option_reaches_nobody_elses_data(
    shared: tuple[ForgeryHarness, Seed],
) -> None:
    harness, seed = shared
    offered = {
        command.words: tuple(option["name"] for option in command.options if option.get("autocomplete"))
        for command in commands(harness, seed)
    }
    assert {words: names for words, names in offered.items() if names} == TYPED_BY_HAND
    before = await harness.database_rows()

    with errors_logged() as errors:
        for command in commands(harness, seed):
            user, channel = user_and_channel(harness, seed, command.words)
            resolved = ResolvedObjects(harness.discord, channel, user)
            for name in TYPED_BY_HAND.get(command.words, ()):
                for typed in made_up_values(seed, command.words):
                    options = filled_options(command, resolved, **{name: typed})
                    said = await harness.private_reply(
                        harness.send(Kind.COMMAND, user, channel, data(command, options, resolved))
                    )
                    assert said, (command.words, typed)
                    assert not [part for part in (MIA_PROMPT, NOA_PROMPT, "Something broke") if part in said], (
                        command.words,
                        typed,
                    )
                assert await harness.database_rows() == before, command.words

    assert errors == []


async def offered_to(asked: Interaction) -> list[Json]:
    """The suggestions shown to the member."""
    await asked.acknowledged(timeout_s=WITHIN_S)
    assert asked.choices is not None
    return asked.choices


async def test_suggestions_never_contain_anybody_elses_data(shared: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = shared
    before = await harness.database_rows()
    secret = (NOA_PROMPT, seed.other_job, str(seed.noa.id), "kestrel")

    with errors_logged() as errors:
        for command in commands(harness, seed):
            for name in TYPED_BY_HAND.get(command.words, ()):
                for user, channel in {
                    user_and_channel(harness, seed, command.words),
                    (seed.plain_member, harness.discord.channel),
                    (seed.former_admin, harness.discord.channel),
                }:
                    texts = ("", NOA_PROMPT, "kestrel", "\x00", "\ud83e", "A" * 6000, "%", "١", *_WRONG)
                    sent = [{"name": name, "type": 3, "value": typed, "focused": True} for typed in texts]
                    typings = [
                        harness.send(Kind.AUTOCOMPLETE, user, channel, data(command, [one], {})) for one in sent
                    ]
                    for one, interaction in zip(sent, typings, strict=True):
                        choices = await offered_to(interaction)
                        if not command.words.startswith("operator ") or user is not seed.operator:
                            assert not [part for part in secret if part in repr(choices)], (command.words, one)
        for odd in (
            [],
            [{"name": "video", "type": 3, "value": "x"}],
            [{"name": "no", "type": 3, "value": "", "focused": True}],
        ):
            [cancel] = [it for it in commands(harness, seed) if it.words == "videos cancel"]
            typing = harness.send(Kind.AUTOCOMPLETE, seed.mia, harness.discord.channel, data(cancel, odd, {}))
            assert await offered_to(typing) == []

    assert await harness.database_rows() == before
    assert errors == []


_WRONG: tuple[object, ...] = (None, 5, True, [], {})


async def test_no_command_works_outside_a_server(shared: tuple[ForgeryHarness, Seed]) -> None:
    harness, seed = shared
    before = await harness.database_rows()
    direct = harness.discord.state.direct(seed.mia)

    for command in commands(harness, seed):
        resolved = ResolvedObjects(harness.discord, harness.discord.channel, seed.mia)
        asked = harness.discord.interactions.begin(Kind.COMMAND, direct, seed.mia, {})
        asked.data = data(command, filled_options(command, resolved), resolved)
        asked.data.pop("guild_id", None)
        sent = asked.create_json()
        sent |= {"user": sent.pop("member")["user"], "context": 1}
        del sent["guild_id"], sent["guild"]
        harness.discord.gateway.dispatch("INTERACTION_CREATE", sent)
        assert await harness.private_reply(asked) == "This only works in a server's channel.", command.words

    assert await harness.database_rows() == before
