"""The doctor's checks of the operator's settings; tests/e2e tests the rest of it as a process."""

from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from discord import Permissions
from pydantic import SecretStr

from bot.doctor import CheckResult, CheckStatus, run_checks
from bot.domain.jobs import DEFAULT_DURATION_S, DEFAULT_MODEL, ProviderName, Resolution
from bot.domain.models import TaskKind
from bot.media.sandbox import Protection
from bot.settings import GivenSettings
from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from bot.store.money import ledger
from bot.store.money.ledger import PRICE_FROM
from tests.dashscope_gateway import DashScopeGateway
from tests.discord_server import Answer, DiscordServer, server_error
from tests.discord_server.models import Overwrite


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as discord:
        yield discord


async def checks(
    discord: DiscordServer,
    folder: Path,
    subject: str = "operator",
    missing: Iterable[Protection] = (),
    **settings: Any,
) -> list[CheckResult]:
    given: dict[str, Any] = {
        "discord_token": SecretStr(discord.token),
        "vtrix_api_key": SecretStr("key-of-the-tests"),
        "vtrix_base_url": "http://127.0.0.1:9",  # nobody listens there
        "database_url": f"sqlite:///{folder / 'none.db'}",
        "discord_api_url": discord.api_url,
        **settings,
    }
    results = [result async for result in run_checks(GivenSettings(**given), missing=lambda: missing)]
    return [result for result in results if result.subject.startswith(subject)]


async def test_without_an_operator_nothing_is_checked(discord: DiscordServer, tmp_path: Path) -> None:
    assert await checks(discord, tmp_path) == []


async def test_an_operator_in_a_server_with_the_bot_and_a_usable_log_channel_is_ok(
    discord: DiscordServer, tmp_path: Path
) -> None:
    results = await checks(
        discord,
        tmp_path,
        operator_guild_id=discord.guild.id,
        operator_user_ids=(discord.member.id,),
        operator_log_channel_id=discord.channel.id,
    )

    assert [(result.subject, result.status) for result in results] == [
        ("operator", CheckStatus.OK),
        ("operator's log", CheckStatus.OK),
    ]


async def test_the_number_of_servers_and_of_shards_is_shown(discord: DiscordServer, tmp_path: Path) -> None:
    discord.gateway.shards = 3
    [result] = [it for it in await checks(discord, tmp_path, "shards") if it.subject == "shards"]

    assert "in about 1 servers, for which Discord recommends 3 shards" in result.text


async def test_a_server_without_the_bot_is_reported(discord: DiscordServer, tmp_path: Path) -> None:
    [result] = await checks(discord, tmp_path, operator_guild_id=5, operator_user_ids=(1,))

    assert result.status is CheckStatus.FAILED
    assert "not in server 5 (OPERATOR_GUILD_ID). Invite it there." in result.text


async def test_a_user_who_is_not_in_the_server_is_reported(discord: DiscordServer, tmp_path: Path) -> None:
    users = (discord.member.id, 77)
    [result] = await checks(discord, tmp_path, operator_guild_id=discord.guild.id, operator_user_ids=users)

    assert result.status is CheckStatus.FAILED
    assert "user 77 (OPERATOR_USER_IDS) is not a member of Moving Pictures." in result.text


async def test_a_log_channel_that_does_not_exist_is_reported(discord: DiscordServer, tmp_path: Path) -> None:
    [result] = await checks(discord, tmp_path, operator_log_channel_id=77)

    assert result.status is CheckStatus.FAILED
    assert "can't see channel 77 (OPERATOR_LOG_CHANNEL_ID)" in result.text


async def test_a_log_channel_where_the_bot_may_not_post_is_reported_with_the_missing_permission(
    discord: DiscordServer, tmp_path: Path
) -> None:
    discord.channel.overwrites[discord.guild.id] = Overwrite(deny=Permissions(send_messages=True))
    managed = next(role for role in discord.guild.roles.values() if role.bot_id)
    managed.permissions &= ~Permissions(administrator=True)

    [result] = await checks(discord, tmp_path, operator_log_channel_id=discord.channel.id)

    assert result.status is CheckStatus.FAILED
    assert "lacks Send Messages in #general" in result.text


@pytest.mark.parametrize(
    "path", ["/users/@me", "/users/@me/guilds", "/guilds/*", "/guilds/*/members/*", "/channels/*"]
)
async def test_a_proxys_page_is_neither_believed_nor_shown(
    discord: DiscordServer, tmp_path: Path, path: str
) -> None:
    discord.fail_next("GET", path, Answer(404, "<html><title>Attention Required!</title></html>"), times=9)

    results = await checks(
        discord,
        tmp_path,
        "",
        operator_guild_id=discord.guild.id,
        operator_user_ids=(discord.member.id,),
        operator_log_channel_id=discord.channel.id,
    )

    text = " ".join(result.text for result in results)
    assert "HTTP 404 without one of Discord's error codes" in text
    for untrue in ("<html>", "Attention", "not in server", "not a member", "can't see"):
        assert untrue not in text


async def test_an_unreachable_discord_comes_with_what_to_check(discord: DiscordServer, tmp_path: Path) -> None:
    [result] = await checks(discord, tmp_path, "discord", discord_api_url="http://127.0.0.1:9/api/v10")

    assert result.status is CheckStatus.FAILED
    assert "Check this machine's network, and DISCORD_API_URL" in result.text


async def test_settings_beyond_what_the_models_maker_allows_are_warnings(
    discord: DiscordServer, tmp_path: Path
) -> None:
    found = await checks(discord, tmp_path, "upstream", upstream_max_running=5, upstream_submits_per_second=3)

    warnings = [result.text for result in found if result.status is CheckStatus.WARNING]
    assert [text.split(",")[0] for text in warnings] == [
        "UPSTREAM_MAX_RUNNING is 5",
        "UPSTREAM_SUBMITS_PER_SECOND is 3",
    ]
    usual = await checks(discord, tmp_path, "upstream")
    assert [result for result in usual if result.status is CheckStatus.WARNING] == []


@pytest.mark.parametrize(("cost", "differs"), [("0.14", False), ("0.17", False), ("0.21", True), ("0.07", True)])
async def test_a_price_far_from_what_videos_cost_is_a_warning(
    discord: DiscordServer, tmp_path: Path, cost: str, *, differs: bool
) -> None:
    kind = TaskKind(ProviderName.VTRIX, DEFAULT_MODEL, Resolution.P720, DEFAULT_DURATION_S)
    url = f"sqlite:///{tmp_path / 'prices.db'}"
    async with Database.open(url) as database:
        await migrate(database)
        async with database.write() as connection:
            for _ in range(PRICE_FROM):
                await ledger.learn_price(connection, kind, Decimal(cost))

    found = await checks(discord, tmp_path, "prices", database_url=url)

    assert len(found) == differs
    assert all(result.text.startswith("PRICE_USD_720P is $0.14, but the last 3 videos cost") for result in found)


@pytest.fixture
async def dashscope() -> AsyncIterator[DashScopeGateway]:
    async with DashScopeGateway("key-of-dashscope") as gateway:
        yield gateway


async def test_each_provider_that_has_a_key_is_checked(
    discord: DiscordServer, dashscope: DashScopeGateway, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "dashscope_base_url": dashscope.url,
        "dashscope_api_key": SecretStr("key-of-dashscope"),
    }
    found = await checks(discord, tmp_path, "", **given)
    statuses = {result.subject: result.status for result in found if result.subject in {"upstream", "dashscope"}}
    assert statuses == {"upstream": CheckStatus.FAILED, "dashscope": CheckStatus.OK}
    assert dashscope.tasks == {}

    alone = await checks(discord, tmp_path, "", **given, vtrix_api_key=None, providers=(ProviderName.DASHSCOPE,))
    assert "upstream" not in {result.subject for result in alone}


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"dashscope_api_key": SecretStr("a-wrong-key")}, "Check DASHSCOPE_API_KEY and the account's balance."),
        ({"dashscope_base_url": "http://127.0.0.1:9/api/v1"}, "Check DASHSCOPE_BASE_URL and this machine's"),
    ],
)
async def test_a_dashscope_that_can_not_be_used_comes_with_what_to_check(
    discord: DiscordServer, dashscope: DashScopeGateway, tmp_path: Path, given: dict[str, Any], advice: str
) -> None:
    key = SecretStr("key-of-dashscope")
    usual: dict[str, Any] = {"dashscope_base_url": dashscope.url, "dashscope_api_key": key}
    [result] = await checks(discord, tmp_path, "dashscope", **(usual | given))
    assert result.status is CheckStatus.FAILED
    assert advice in result.text


async def test_settings_of_dashscope_beyond_what_it_allows_are_warnings_if_it_has_a_key(
    discord: DiscordServer, dashscope: DashScopeGateway, tmp_path: Path
) -> None:
    beyond: dict[str, Any] = {
        "dashscope_base_url": dashscope.url,
        "dashscope_max_running": 5,
        "dashscope_submits_per_second": 3,
    }
    found = await checks(discord, tmp_path, "dashscope", **beyond, dashscope_api_key=SecretStr("key-of-dashscope"))
    warnings = [result.text for result in found if result.status is CheckStatus.WARNING]
    assert [text.split(",")[0] for text in warnings] == [
        "DASHSCOPE_MAX_RUNNING is 5",
        "DASHSCOPE_SUBMITS_PER_SECOND is 3",
    ]
    assert await checks(discord, tmp_path, "dashscope", **beyond) == []


async def test_a_failing_discord_causes_no_traceback(discord: DiscordServer, tmp_path: Path) -> None:
    discord.fail_next("GET", "/channels/*", server_error(503), times=9)

    [result] = await checks(discord, tmp_path, operator_log_channel_id=discord.channel.id)

    assert result.status is CheckStatus.FAILED
    assert "can't be looked up" in result.text


async def test_a_readable_database_file_is_a_warning_not_a_failure(discord: DiscordServer, tmp_path: Path) -> None:
    file = tmp_path / "zoetrope.db"
    file.touch()
    file.chmod(0o644)
    results = await checks(discord, tmp_path, "host", database_url=f"sqlite:///{file}")
    assert [result.status for result in results if str(file) in result.text] == [CheckStatus.WARNING]


@pytest.mark.parametrize(
    ("protection", "words"),
    [
        (Protection.CONFINEMENT, "should run on Linux"),
        (Protection.LANDLOCK, "no Landlock"),
        (Protection.SECCOMP, "(seccomp)"),
    ],
)
async def test_a_missing_protection_is_a_warning_with_the_fix(
    discord: DiscordServer, tmp_path: Path, protection: Protection, words: str
) -> None:
    before = await checks(discord, tmp_path, "host")
    [warning] = [
        result for result in await checks(discord, tmp_path, "host", missing=[protection]) if result not in before
    ]
    assert warning.status is CheckStatus.WARNING
    assert words in warning.text
