from datetime import UTC, datetime, timedelta

import pytest

from bot.chat.messages import policy_texts
from bot.chat.messages.markdown import discord_length
from bot.chat.permissions.option_validation import id_in
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible
from bot.domain.guilds import BLOCKED_PROMPTS, Ban, BlockedTerm, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.terms import choice_value
from bot.services.admin.bans import Banned
from bot.services.admin.policy import POLICY_ENTRIES_MAX, TermsBlocked

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONGEST_ID = 2**63 - 1


def approval(*, before: bool, after: bool) -> str:
    change = AuditedChange(Action.APPROVAL_SET, before={"needed": before}, after={"needed": after})
    return policy_texts.approval(AuditEntry(10, NOW, 7, change), needed=after)


def known_name(target_id: int) -> str | None:
    return f"name-{target_id}"


def unknown_name(target_id: int) -> str | None:
    del target_id
    return None


@pytest.mark.parametrize("kind", PolicyEntryKind)
@pytest.mark.parametrize("name_of", [known_name, unknown_name])
def test_the_maximum_number_of_entries_fits_a_message(kind: PolicyEntryKind, name_of: policy_texts.Names) -> None:
    shown = [
        PolicyEntry(kind, LONGEST_ID - number, allowed=number % 2 == 0) for number in range(POLICY_ENTRIES_MAX)
    ]

    text = policy_texts.policy_entries(kind, shown, name_of)

    assert discord_length(text) <= 2000
    assert all(str(entry.target_id) in text for entry in shown)


def test_a_list_of_entries_says_whether_all_others_are_allowed() -> None:
    denied = PolicyEntry(PolicyEntryKind.ROLE, 5, allowed=False)
    allowed = PolicyEntry(PolicyEntryKind.ROLE, 6, allowed=True)

    assert "All other roles are allowed." in policy_texts.policy_entries(
        PolicyEntryKind.ROLE, [denied], known_name
    )
    assert "All other roles are denied." in policy_texts.policy_entries(
        PolicyEntryKind.ROLE, [denied, allowed], known_name
    )
    assert "everyone can make videos" in policy_texts.policy_entries(PolicyEntryKind.ROLE, [], known_name)
    assert "in every channel" in policy_texts.policy_entries(PolicyEntryKind.CHANNEL, [], known_name)


@pytest.mark.parametrize("kind", PolicyEntryKind)
def test_every_choice_fits_discords_limit(kind: PolicyEntryKind) -> None:
    entry = PolicyEntry(kind, LONGEST_ID, allowed=True)
    word = BlockedTerm("🔥" * 200, is_pattern=True)

    choices = [
        policy_texts.entry_choice(entry, lambda _: "🔥" * 100),
        policy_texts.entry_choice(entry, unknown_name),
        policy_texts.term_choice(word),
        choice_value(word),
    ]

    assert all(0 < discord_length(choice) <= 100 for choice in choices)


def test_a_choice_shows_a_deleted_channel_by_its_id() -> None:
    entry = PolicyEntry(PolicyEntryKind.CHANNEL, 55, allowed=False)

    assert policy_texts.entry_choice(entry, unknown_name) == "deleted channel 55 (denied)"
    assert policy_texts.entry_choice(entry, known_name) == "(denied) #name-55"


def test_any_number_of_added_terms_fits_a_message() -> None:
    words = tuple(BlockedTerm("*" * 50 + str(number)) for number in range(500))
    added = [{"text": word.text, "is_pattern": False} for word in words]
    change = AuditedChange(Action.TERMS_BLOCKED, before={"count": 0}, after={"count": 500, "added": added})

    text = policy_texts.terms_blocked(TermsBlocked(AuditEntry(10, NOW, 7, change), words))

    assert discord_length(text) <= 2000
    assert "more" in text


def test_words_and_patterns_are_distinguished_in_message_and_file() -> None:
    blocked = [BlockedTerm("a*b", is_pattern=True), BlockedTerm("gore"), BlockedTerm("x_y_z")]

    assert policy_texts.blocked_terms(blocked, GuildSettings()).splitlines()[2:] == [
        r"gore, x\_y\_z",
        r"pattern a\*b",
    ]
    assert policy_texts.terms_file(blocked) == "gore\nx_y_z\npattern a*b\n"


def test_bans_show_member_end_reason_and_admin() -> None:
    bans = [
        Ban(10, 1, "Spam\n<@5>", NOW, NOW + timedelta(hours=1), actor_id=7),
        Ban(10, 2, BLOCKED_PROMPTS, NOW),
    ]
    until = int((NOW + timedelta(hours=1)).timestamp())

    assert policy_texts.bans(bans).splitlines() == [
        "**2 members** can't make videos here:",
        rf"- <@1> until <t:{until}:f>, banned by <@7>: Spam \<\@5\>",
        "- <@2> permanently, paused by the bot: too many blocked prompts",
    ]
    assert policy_texts.bans_file(bans).splitlines() == [
        "1\tuntil 2026-01-31 13:00 UTC\tby 7, 2026-01-31 12:00 UTC\tSpam <@5>",
        "2\tpermanent\tby the bot, 2026-01-31 12:00 UTC\ttoo many blocked prompts",
    ]


def test_an_admins_reason_that_equals_the_bots_own_code_is_shown_as_it_is() -> None:
    bans = [Ban(10, 1, BLOCKED_PROMPTS, NOW, actor_id=7)]
    assert policy_texts.bans(bans).endswith(r"by <@7>: blocked\_prompts")
    assert policy_texts.bans_file(bans).endswith("\tblocked_prompts\n")


def test_a_ban_mentions_ordered_videos_only_if_there_are_any() -> None:
    ban = Ban(10, 1, "Spam", NOW)
    change = AuditedChange(Action.MEMBER_BANNED, TargetKind.MEMBER, "1", None, {"until": None, "reason": "Spam"})
    banned = AuditEntry(10, NOW, 7, change)

    assert "already ordered" not in policy_texts.banned(Banned(banned, ban, 0))
    assert "2 videos they already ordered will still be made" in policy_texts.banned(Banned(banned, ban, 2))


def test_turning_approval_off_says_that_waiting_videos_still_need_an_answer() -> None:
    assert "still need an answer" in approval(before=True, after=False)
    assert "still need an answer" not in approval(before=False, after=True)
    assert "still need an answer" not in approval(before=False, after=False)


@pytest.mark.parametrize("typed", ["55", " 55 ", "<@55>", "<@!55>", "<@&55>", "<#55>"])
def test_an_id_may_be_typed_as_a_number_or_a_mention(typed: str) -> None:
    assert id_in(typed) == 55


@pytest.mark.parametrize("typed", ["", "x", "5 5", "-5", "5.0", "٥٥", "9" * 19, "9" * 30, "@everyone"])
def test_anything_else_is_not_an_id(typed: str) -> None:
    with pytest.raises(NotPossible, match="Pick one from the list"):
        id_in(typed)
