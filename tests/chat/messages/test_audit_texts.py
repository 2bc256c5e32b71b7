"""Every action in the audit log has a phrase, in which hostile text is inert."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.chat.messages import audit_texts as texts
from bot.chat.messages.markdown import discord_length
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
UNTIL = 1_769_864_400
HOSTILE = "@everyone\n# x **y** <@5>"
JOB, MEMBER, SERVER = TargetKind.JOB, TargetKind.MEMBER, TargetKind.SERVER
QUEUED = {"state": "queued", "user_id": 9}


def change(
    action: Action, before: Any, after: Any, kind: TargetKind | None = None, id_: str | None = None
) -> AuditedChange:
    return AuditedChange(action, kind, id_, before, after)


PHRASES: dict[str, AuditedChange] = {
    "paused new videos": change(Action.PAUSED_SET, {"paused": False}, {"paused": True}),
    "resumed new videos": change(Action.PAUSED_SET, {"paused": True}, {"paused": False}),
    "set the log channel to <#5>": change(Action.LOG_CHANNEL_SET, {"channel_id": None}, {"channel_id": 5}),
    "moved the log from <#5> to <#6>": change(Action.LOG_CHANNEL_SET, {"channel_id": 5}, {"channel_id": 6}),
    "turned the log off (it was in <#6>)": change(Action.LOG_CHANNEL_SET, {"channel_id": 6}, {"channel_id": None}),
    "changed the allowed resolutions: 480P and 720P → 480P": change(
        Action.RESOLUTIONS_SET, {"resolutions": ["480P", "720P"]}, {"resolutions": ["480P"]}
    ),
    "limited videos to age-restricted channels": change(
        Action.AGE_RESTRICTED_ONLY_SET, {"only": False}, {"only": True}
    ),
    "allowed videos outside age-restricted channels": change(
        Action.AGE_RESTRICTED_ONLY_SET, {"only": True}, {"only": False}
    ),
    "changed the allowed models: all → Wan 2.2 Flash and retired": change(
        Action.MODELS_SET, {"models": None}, {"models": ["wan22_i2v_flash", "retired"]}
    ),
    "turned approval on": change(Action.APPROVAL_SET, {"needed": False}, {"needed": True}),
    "changed the pause for blocked prompts: after 3 in 24 hours, for 24 hours → never": change(
        Action.VIOLATION_LIMIT_SET, {"strikes": 3, "pause_hours": 24}, {"strikes": 0, "pause_hours": 24}
    ),
    (
        "changed the pause for blocked prompts: after 3 in 24 hours, for 24 hours → after 3 in 24 hours, for 24 "
        "hours, counting what the video service's moderation refuses"
    ): change(
        Action.VIOLATION_LIMIT_SET,
        {"strikes": 3, "pause_hours": 24, "refused_content": False},
        {"strikes": 3, "pause_hours": 24, "refused_content": True},
    ),
    "changed this server's limits: videos at once 2 (default) → 7, USD per day (whole server) no limit → $2.50": (
        change(
            Action.LIMITS_SET,
            {"running": {"value": 2, "default": True}, "usd_per_day": {"value": None}, "pause": {"value": 2}},
            {"running": {"value": 7}, "usd_per_day": {"value": "2.5"}, "pause": {"value": 2}},
        )
    ),
    "changed the limits of <@&5>: pause between orders 10 minutes → none": change(
        Action.LIMITS_SET, {"pause": {"value": 600}}, {"pause": {"value": 0}}, TargetKind.ROLE, "5"
    ),
    "allowed videos in <#5>": change(Action.POLICY_SET, None, {"allowed": True}, TargetKind.CHANNEL, "5"),
    "denied videos for <@&5> (before: allowed)": change(
        Action.POLICY_SET, {"allowed": True}, {"allowed": False}, TargetKind.ROLE, "5"
    ),
    "removed the rule for <#5> (it was denied)": change(
        Action.POLICY_SET, {"allowed": False}, None, TargetKind.CHANNEL, "5"
    ),
    r"blocked in prompts: gore, pattern a\*b": change(
        Action.TERMS_BLOCKED,
        {"count": 0},
        {"count": 2, "added": [{"text": "gore", "is_pattern": False}, {"text": "a*b", "is_pattern": True}]},
    ),
    "unblocked in prompts: gore": change(
        Action.TERM_UNBLOCKED, {"count": 1}, {"count": 0, "removed": {"text": "gore", "is_pattern": False}}
    ),
    f"banned <@9> until <t:{UNTIL}:f>: spam": change(
        Action.MEMBER_BANNED, None, {"until": UNTIL, "reason": "spam"}, MEMBER, "9"
    ),
    "banned <@9> permanently: spam (before: permanently: too many blocked prompts)": change(
        Action.MEMBER_BANNED,
        {"until": None, "reason": "blocked_prompts"},
        {"until": None, "reason": "spam"},
        MEMBER,
        "9",
    ),
    "unbanned <@9> (was banned permanently: spam)": change(
        Action.MEMBER_UNBANNED, {"until": None, "reason": "spam"}, None, MEMBER, "9"
    ),
    f"gave <@9> 3 credits (2 → 5, expiring <t:{UNTIL}:f>): won": change(
        Action.CREDITS_GRANTED,
        {"credits": 2},
        {"credits": 5, "expires_at": UNTIL, "reason": "won"},
        MEMBER,
        "9",
    ),
    "took 1 credit from <@9> (5 → 4)": change(
        Action.CREDITS_REVOKED,
        {"credits": 5},
        {"credits": 4, "expires_at": None, "reason": None},
        MEMBER,
        "9",
    ),
    "cancelled a video for <@9> (`job`)": change(Action.JOB_CANCELLED, QUEUED, {"state": "cancelled"}, JOB, "job"),
    "retried a video for <@9> (`job`)": change(Action.JOB_RESUMED, QUEUED, {"state": "running"}, JOB, "job"),
    "retried a video for a member (`job`)": change(Action.JOB_RETRIED, {}, {"state": "running"}, JOB, "job"),
    "approved a video for <@9> (`job`)": change(Action.JOB_APPROVED, QUEUED, {"state": "queued"}, JOB, "job"),
    "declined a video for <@9> (`job`)": change(Action.JOB_DECLINED, QUEUED, {"state": "failed"}, JOB, "job"),
    "changed the budget for all servers: no limit (default) → $5.00 per day": change(
        Action.BUDGET_SET,
        {"usd_per_day": {"value": None, "default": True}, "usd_per_month": {"value": "9"}},
        {"usd_per_day": {"value": "5"}, "usd_per_month": {"value": "9"}},
    ),
    "changed how many videos may wait in the queue: 1,000 (default) → 50": change(
        Action.QUEUE_MAX_SET, {"videos": {"value": 1000, "default": True}}, {"videos": {"value": 50}}
    ),
    "resumed submissions": change(Action.GATE_OPENED, {"open": False, "reason": "HTTP 429"}, {"open": True}),
    "turned price quotes off": change(Action.QUOTES_SHOWN_SET, {"shown": True}, {"shown": False}),
    "turned draining on": change(Action.DRAINING_SET, {"draining": False}, {"draining": True}),
    r"found the task of job `job`: task\-7": change(
        Action.TASK_FOUND, None, {"upstream_id": "task-7"}, JOB, "job"
    ),
    "closed job `job`: no task, or one that cost nothing": change(Action.TASK_LOST, None, {}, JOB, "job"),
    "announced to 3 servers: hello": change(Action.ANNOUNCED, None, {"servers": 3, "text": "hello"}),
    "blocked this server from making videos": change(
        Action.ACCESS_SET, {"access": "open"}, {"access": "blocked"}, SERVER, "10"
    ),
    "allowed this server to make videos": change(
        Action.ACCESS_SET, {"access": "open"}, {"access": "allowed"}, SERVER, "10"
    ),
    "set access for this server back to the default": change(
        Action.ACCESS_SET, {"access": "allowed"}, {"access": "open"}, SERVER, "10"
    ),
    r"changed **ban of <@6>**: nothing → for good\: \*\*3\*\* \@everyone": AuditedChange(
        Action.LEGACY, after="for good: **3** @everyone", legacy_what="ban of <@6>"
    ),
}


def entry(changed: AuditedChange, by: int | None = 7, guild_id: int = 10) -> AuditEntry:
    return AuditEntry(guild_id, NOW, by, changed)


@pytest.mark.parametrize("says", PHRASES)
def test_each_action_reads_as_a_phrase(says: str) -> None:
    assert texts.phrase(entry(PHRASES[says])) == says


def test_every_action_has_a_phrase() -> None:
    assert {it.action for it in PHRASES.values()} == set(Action)


@pytest.mark.parametrize("says", PHRASES)
def test_a_reply_begins_with_a_capital_letter(says: str) -> None:
    assert texts.answer(entry(PHRASES[says])) == f"✅ {says[0].upper()}{says[1:]}"


@pytest.mark.parametrize("it", PHRASES.values(), ids=[it.action for it in PHRASES.values()])
def test_the_reply_to_a_command_that_changed_nothing_says_so(it: AuditedChange) -> None:
    same = AuditedChange(it.action, it.target_kind, it.target_id, it.after, it.after)
    assert not texts.answer(entry(same)).startswith("✅")


def test_the_operators_audit_log_names_the_server() -> None:
    it = PHRASES["blocked this server from making videos"]
    assert texts.phrase(entry(it, guild_id=0)) == "blocked server `10` from making videos"


def test_a_servers_audit_log_does_not_name_the_operators_user() -> None:
    it = PHRASES["blocked this server from making videos"]
    assert texts.logged(10, None, it) == "⚙️ The bot's operator blocked this server from making videos"
    assert (
        texts.audit_log_lines([entry(it, None)])
        == f"<t:{int(NOW.timestamp())}:f> the bot's operator {texts.phrase(entry(it))}"
    )


def test_legacy_entries_distinguish_the_bots_actions_from_the_operators() -> None:
    bots = AuditedChange(Action.LEGACY, after="x", legacy_what="ban of <@6>")
    operators = AuditedChange(Action.LEGACY, after="x", legacy_what="operator's access")
    assert " the bot changed" in texts.audit_log_lines([entry(bots, None)])
    assert " the bot's operator changed" in texts.audit_log_lines([entry(operators, None)])


@pytest.mark.parametrize("action", sorted(set(Action) - {Action.LIMITS_SET, Action.BUDGET_SET}))
def test_hostile_text_is_inert_in_every_phrase_and_no_phrase_is_too_long(action: Action) -> None:
    long = HOSTILE * 100
    terms = [{"text": long, "is_pattern": False}] * 500
    values = {"reason": long, "until": None, "text": long, "servers": 1, "upstream_id": long, "added": terms}
    known = next(it for it in PHRASES.values() if it.action is action)
    kept = {} if known.after is None or isinstance(known.after, str) else dict(known.after)
    after = long if action is Action.LEGACY else {**kept, **values, "removed": terms[0]}
    before = known.before if isinstance(known.before, str | None) else {**known.before, "reason": long}
    hostile = AuditedChange(action, known.target_kind, known.target_id, before, after, known.legacy_what)

    text = texts.logged(10, 7, hostile)

    assert "@everyone" not in text.replace(r"\@everyone", "")
    assert "\n" not in text
    assert discord_length(text) < 1500


def test_no_value_adds_a_line_or_column_to_the_file() -> None:
    forged = "for good: x\n2026-01-31 12:00:00 UTC\t7\tban of <@1>\tnothing\tfor good\u2028\r\x0b."
    old = AuditedChange(Action.LEGACY, None, None, f"b{forged}", f"c{forged}", f"a{forged}")
    new = change(Action.MEMBER_BANNED, None, {"until": None, "reason": forged}, MEMBER, "9")

    file = texts.audit_log_file([entry(old), entry(new)])

    assert len(file.splitlines()) == 2
    assert [line.count("\t") for line in file.splitlines()] == [5, 5]
    assert file.splitlines()[1].startswith("2026-01-31 12:00:00 UTC\t7\tmember_banned\tmember 9\t\t{")


def test_an_empty_log_says_so() -> None:
    assert texts.audit_log_lines([]) == "Nothing has been changed here yet."
