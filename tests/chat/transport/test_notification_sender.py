from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import DiscordNotificationSender
from bot.domain.errors import DeliveryDelayed, DeliveryError, DeliveryForbidden, Undeliverable
from tests.discord_server import Answer, DiscordServer, FaultPhase, Reset, logged_in, refused, server_error

MESSAGES = "/channels/*/messages"
NOW = datetime.now(UTC)


@pytest.fixture
async def sender(server: DiscordServer) -> AsyncIterator[DiscordNotificationSender]:
    async with logged_in(RestClient(), server) as client:
        yield DiscordNotificationSender(client)


async def test_a_notification_pings_nobody(server: DiscordServer, sender: DiscordNotificationSender) -> None:
    await sender.send(server.channel.id, f"<@{server.member.id}> @everyone", nonce="n1")
    [message] = server.messages()
    assert message.pinged == []
    assert not message.pings_everyone


async def test_the_same_nonce_makes_no_second_message(
    server: DiscordServer, sender: DiscordNotificationSender
) -> None:
    for _ in range(2):
        await sender.send(server.channel.id, "a change", nonce="n1")
    assert len(server.messages()) == 1


async def test_a_sent_notification_is_found(server: DiscordServer, sender: DiscordNotificationSender) -> None:
    channel = server.channel.id
    await sender.send(channel, "  a change\n> of *words* ", nonce="n1")
    assert await sender.already_sent(channel, "a change\n> of *words*", since=NOW)
    assert not await sender.already_sent(channel, "another", since=NOW)


async def test_a_members_message_is_not_taken_for_a_notification(
    server: DiscordServer, sender: DiscordNotificationSender
) -> None:
    server.state.send(server.channel, server.member, {"content": "a change"}, {})
    assert not await sender.already_sent(server.channel.id, "a change", since=NOW)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refused(403, 50001, "Missing Access"), DeliveryForbidden),
        (refused(403, 50007, "Cannot send messages to this user"), DeliveryForbidden),
        (refused(404, 10003, "Unknown Channel"), Undeliverable),
        (server_error(503, phase=FaultPhase.AFTER), DeliveryDelayed),
        (Reset(), DeliveryDelayed),
    ],
)
async def test_each_failure_raises_the_matching_delivery_error(
    server: DiscordServer, sender: DiscordNotificationSender, fault: Answer, error: type[DeliveryError]
) -> None:
    server.fail_next("POST", MESSAGES, fault, times=10)
    with pytest.raises(error):
        await sender.send(server.channel.id, "a change", nonce="n1")


async def test_a_deleted_channel_is_undeliverable(
    server: DiscordServer, sender: DiscordNotificationSender
) -> None:
    server.remove_channel(server.channel)
    with pytest.raises(Undeliverable):
        await sender.send(server.channel.id, "a change", nonce="n1")
