"""Who may use a command that is for everybody, by a server's integration settings."""

import discord
import pytest

from bot.chat.permissions.command_permissions import Override, decide_open

GUILD, CHANNEL, MEMBER, ROLE, OTHER_ROLE = 10, 100, 1, 20, 21
A_ROLE, A_USER, A_CHANNEL = 1, 2, 3
EVERYWHERE, EVERYONE = Override(A_CHANNEL, GUILD - 1, allowed=False), Override(A_ROLE, GUILD, allowed=False)

CASES: list[tuple[str, list[Override], list[Override], bool]] = [
    ("nothing is set", [], [], True),
    ("the member is denied", [Override(A_USER, MEMBER, allowed=False)], [], False),
    ("their role is denied", [Override(A_ROLE, ROLE, allowed=False)], [], False),
    ("another role is denied", [Override(A_ROLE, OTHER_ROLE, allowed=False)], [], True),
    ("everyone is denied but their role", [EVERYONE, Override(A_ROLE, ROLE, allowed=True)], [], True),
    ("everyone is denied in the application", [], [EVERYONE], False),
    ("so, but the command allows them", [Override(A_ROLE, ROLE, allowed=True)], [EVERYONE], True),
    ("the channel is denied", [Override(A_CHANNEL, CHANNEL, allowed=False)], [], False),
    ("all channels are denied but this one", [EVERYWHERE, Override(A_CHANNEL, CHANNEL, allowed=True)], [], True),
    ("all channels are denied", [EVERYWHERE], [], False),
    ("all are denied in the application", [], [EVERYWHERE], False),
    ("so, but the command allows this one", [Override(A_CHANNEL, CHANNEL, allowed=True)], [EVERYWHERE], True),
    (
        "the channel is allowed and they are denied",
        [Override(A_CHANNEL, CHANNEL, allowed=True), Override(A_USER, MEMBER, allowed=False)],
        [],
        False,
    ),
]


def decided(of_command: list[Override], of_app: list[Override], permissions: discord.Permissions) -> bool:
    return decide_open(
        permissions,
        guild_id=GUILD,
        channel_id=CHANNEL,
        user_id=MEMBER,
        roles={ROLE},
        of_command=tuple(of_command),
        of_app=tuple(of_app),
    )


@pytest.mark.parametrize(
    ("of_command", "of_app", "may"), [case[1:] for case in CASES], ids=[it[0] for it in CASES]
)
def test_a_member_may_order_where_the_settings_let_them(
    of_command: list[Override], of_app: list[Override], *, may: bool
) -> None:
    assert decided(of_command, of_app, discord.Permissions.none()) is may


def test_an_administrator_always_may() -> None:
    assert decided([EVERYWHERE, EVERYONE], [EVERYWHERE], discord.Permissions(administrator=True))
