"""The declarations of the commands, which Discord's client enforces before the bot sees anything."""

from typing import Any

import pytest

from bot.chat.transport.client import EXTENSIONS, ZoetropeBot, offer_in_direct_messages
from cogs.operator import group as operator_commands
from tests.chat.some_services import some_services

TEXT, WHOLE_NUMBER, YES_OR_NO, FILE = 3, 4, 5, 11  # Discord's types of options
GUILD_INSTALL, IN_A_SERVER = 0, 0  # its "Application Integration Types" and "Interaction Context Types"
CHECKED_KEYS = {"type", "required", "choices", "min_length", "max_length", "min_value", "max_value"}


@pytest.fixture
async def declared() -> dict[str, Any]:
    """Each command as it is sent to Discord, by its name."""
    bot = ZoetropeBot()
    bot.services = some_services()
    for extension in EXTENSIONS:
        await bot.load_extension(extension)
    return {command.name: command.to_dict(bot.tree) for command in bot.tree.get_commands()}


def choices(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "value": name} for name in names]


async def test_the_options_of_animate_have_the_models_limits(declared: dict[str, Any]) -> None:
    limits = {
        option["name"]: {key: option[key] for key in CHECKED_KEYS & option.keys()}
        for option in declared["animate"]["options"]
    }

    assert limits == {
        "prompt": {"type": TEXT, "required": True, "min_length": 1, "max_length": 800},
        "image": {"type": FILE, "required": False},
        "link": {"type": TEXT, "required": False, "min_length": 1, "max_length": 2000},
        "negative_prompt": {"type": TEXT, "required": False, "min_length": 1, "max_length": 500},
        "resolution": {"type": TEXT, "required": False, "choices": choices("480P", "720P")},
        "seed": {"type": WHOLE_NUMBER, "required": False, "min_value": 0, "max_value": 2_147_483_647},
        "prompt_extend": {"type": YES_OR_NO, "required": False},
        "watermark": {"type": YES_OR_NO, "required": False},
        "variations": {"type": WHOLE_NUMBER, "required": False, "min_value": 2, "max_value": 4},
    }


async def test_videos_has_these_commands_and_those_about_one_video_take_it(declared: dict[str, Any]) -> None:
    commands = {command["name"]: command["options"] for command in declared["videos"]["options"]}

    assert commands.keys() == {"quota", "list", "show", "cancel", "again", "extend", "settings", "privacy"}
    assert [command["name"] for command in commands["privacy"]] == ["show", "export", "delete"]
    assert commands["quota"] == commands["list"] == commands["settings"] == []
    for name, others in {"cancel": [], "again": [], "show": [], "extend": ["prompt"]}.items():
        video, *more = commands[name]
        described = (video["name"], video["type"], video["required"], video["autocomplete"])
        assert described == ("video", TEXT, True, True)
        assert [option["name"] for option in more] == others


async def test_commands_are_limited_to_servers_that_installed_the_bot(declared: dict[str, Any]) -> None:
    assert {name: (it["integration_types"], it["contexts"]) for name, it in declared.items()} == {
        name: ([GUILD_INSTALL], [IN_A_SERVER])
        for name in ("animate", "Animate this image", "videos", "help", "video-admin")
    }


async def test_the_operators_commands_are_limited_to_such_servers_too() -> None:
    bot = ZoetropeBot()

    sent = operator_commands.to_dict(bot.tree)

    assert (sent["integration_types"], sent["contexts"]) == ([GUILD_INSTALL], [IN_A_SERVER])


async def test_where_the_operator_wants_it_members_commands_work_outside_servers_and_as_their_own_app() -> None:
    bot = ZoetropeBot()
    bot.services = some_services()
    for extension in EXTENSIONS:
        await bot.load_extension(extension)

    offer_in_direct_messages(bot.tree)

    everywhere, in_servers = ([0, 1], [0, 1, 2]), ([GUILD_INSTALL], [IN_A_SERVER])
    sent = [command.to_dict(bot.tree) for command in bot.tree.get_commands()]
    assert {it["name"]: (it["integration_types"], it["contexts"]) for it in sent} == {
        "animate": everywhere,
        "Animate this image": everywhere,
        "videos": everywhere,
        "video-admin": in_servers,
        "help": everywhere,
    }
