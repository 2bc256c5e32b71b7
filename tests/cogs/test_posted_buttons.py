"""Buttons posted by earlier versions keep working: their custom ids, as they were then."""

import re
from typing import Any

import pytest

from bot.chat.transport.client import EXTENSIONS, ZoetropeBot
from tests.chat.some_services import some_services

POSTED = [
    "zoetrope:cancel:s3cq1bXw-9_ZkQ0A",
    "zoetrope:spend:s3cq1bXw-9_ZkQ0A",
    "zoetrope:cancelall:s3cq1bXw-9_ZkQ0A",
    "zoetrope:spendall:s3cq1bXw-9_ZkQ0A",
    "zoetrope:vary:s3cq1bXw-9_ZkQ0A",
    "zoetrope:vary2:s3cq1bXw-9_ZkQ0A:1234567890123456789",
    "zoetrope:vary4:s3cq1bXw-9_ZkQ0A:1234567890123456789",
    "zoetrope:status:s3cq1bXw-9_ZkQ0A",
    "zoetrope:video:s3cq1bXw-9_ZkQ0A",
    "zoetrope:note:s3cq1bXw-9_ZkQ0A",
    "zoetrope:again:s3cq1bXw-9_ZkQ0A",
    "zoetrope:edit:s3cq1bXw-9_ZkQ0A",
    "zoetrope:info:s3cq1bXw-9_ZkQ0A",
    "zoetrope:approve:s3cq1bXw-9_ZkQ0A",
    "zoetrope:decline:s3cq1bXw-9_ZkQ0A",
    "zoetrope:erase:1234567890123456789",
    "zoetrope:list:next:all:1:1234567890123456789",
    "zoetrope:list:previous:failed:0:42",
    "zoetrope:list:filter:1234567890123456789",
    "zoetrope:set:pings:off:1234567890123456789",
    "zoetrope:set:prompt_extend:on:42",
    "zoetrope:set:resolution:1234567890123456789",
    "zoetrope:extend:s3cq1bXw-9_ZkQ0A",
    "zoetrope-admin:pause",
    "zoetrope-admin:resume",
    "zoetrope-admin:give-up:s3cq1bXw-9_ZkQ0A",
    "zoetrope-operator:announce",
    "zoetrope:video:a",
    "zoetrope:video:abcdefghijklmnopqrst",
    "zoetrope:erase:42",
    "zoetrope:pick:s3cq1bXw-9_Z",
]


@pytest.fixture
async def registered() -> dict[re.Pattern[str], Any]:
    """The buttons that the bot knows without having posted any, by the pattern of their custom ids."""
    bot = ZoetropeBot()
    bot.services = some_services()
    for extension in EXTENSIONS:
        await bot.load_extension(extension)
    return bot._connection._view_store._dynamic_items


@pytest.mark.parametrize("custom_id", POSTED)
async def test_a_button_posted_by_an_earlier_version_is_rebuilt_by_exactly_one_class(
    registered: dict[re.Pattern[str], Any], custom_id: str
) -> None:
    [(button, match)] = [
        (button, match) for pattern, button in registered.items() if (match := pattern.fullmatch(custom_id))
    ]

    rebuilt = await button.from_custom_id(None, None, match)

    assert rebuilt.custom_id == rebuilt.item.custom_id == custom_id


async def test_no_other_buttons_are_registered(registered: dict[re.Pattern[str], Any]) -> None:
    used = {pattern for pattern in registered if any(pattern.fullmatch(custom_id) for custom_id in POSTED)}

    assert registered.keys() == used
