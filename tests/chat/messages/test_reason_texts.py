"""Every reason for a refusal, with every code that it can have, has words that fit a message."""

import ast
import importlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import bot.chat.messages
from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.markdown import discord_length
from bot.chat.messages.reason_texts import Said, text_of
from bot.chat.messages.refusal_texts import OutsideServers
from bot.domain.approvals import AlreadyDecided, ApprovalProblem, Decision, Verdict
from bot.domain.errors import Problem, Reason, Remedy
from bot.domain.extensions import ClipTooLong, ExtensionProblem
from bot.domain.guilds import BLOCKED_PROMPTS, Ban
from bot.domain.jobs import FailureCause, FailureDetail, Resolution
from bot.domain.models import PictureLimits
from bot.domain.orders import DurationNotMade, ModelNotOffered, ResolutionNotMade, TextTooLong
from bot.domain.policy import (
    ChannelNotAllowed,
    Consequence,
    MemberBanned,
    ModelNotAllowed,
    PolicyViolation,
    PromptBlocked,
    ResolutionNotAllowed,
    RoleNotAllowed,
    RuleName,
)
from bot.domain.quotas import (
    BudgetReached,
    CooldownActive,
    FewerFit,
    LimitName,
    LimitReached,
    TotalBudgetReached,
    VideoLimitReached,
)
from bot.domain.terms import TermProblem, UnusableTerm
from bot.media.picture_problems import PictureProblem, UnusablePicture
from tests.test_architecture import modules

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOON = f"<t:{int(NOW.timestamp())}:R>"
THEN = f"<t:{int(NOW.timestamp())}:f>"
DAY = timedelta(days=1)
USD = Decimal
MANY = tuple(range(10**18, 10**18 + 50))
PAUSED = Ban(10, 1, BLOCKED_PROMPTS, NOW, NOW)

VIDEO_LIMITS = (
    LimitName.MAX_ACTIVE,
    LimitName.VIDEOS_PER_WINDOW,
    LimitName.UNDELIVERED,
    LimitName.GUILD_VIDEOS_PER_DAY,
    LimitName.GUILD_QUEUE,
)
SERVER_BUDGETS = (
    LimitName.GUILD_USD_PER_DAY,
    LimitName.GUILD_USD_PER_MONTH,
    LimitName.GRANTED_USD_PER_DAY,
    LimitName.GRANTED_USD_PER_MONTH,
)

LIMITS: list[LimitReached] = [
    *(VideoLimitReached(name, NOW, 5, most, DAY) for name in VIDEO_LIMITS for most in (0, 1, 5)),
    *(BudgetReached(name, NOW, USD(1), USD(1), USD("0.2")) for name in SERVER_BUDGETS),
    CooldownActive(LimitName.COOLDOWN, NOW, DAY),
    TotalBudgetReached(LimitName.TOTAL_USD_PER_DAY, None, 90),
    TotalBudgetReached(LimitName.TOTAL_USD_PER_MONTH, NOW, 90),
    LimitReached(LimitName.PROVIDER_USD, None),
    LimitReached(LimitName.QUEUE, None),
]
LIMITS += [
    FewerFit(one.limit, one.available_at, 4, fits, fits - 1, one)
    for one in LIMITS
    for fits in (1, 2, 3)
    if one.limit not in {LimitName.COOLDOWN, LimitName.UNDELIVERED, LimitName.PROVIDER_USD}
]
POLICY: list[PolicyViolation] = [
    *(
        PolicyViolation(rule)
        for rule in (
            RuleName.ACCESS,
            RuleName.DIRECT_ORDERS,
            RuleName.DRAINING,
            RuleName.PAUSED,
            RuleName.AGE_RESTRICTED,
        )
    ),
    *(MemberBanned(RuleName.BANNED, Ban(10, 1, "*" * 2000, NOW, until, 9)) for until in (None, NOW)),
    MemberBanned(RuleName.MEMBER_PAUSED, PAUSED),
    RoleNotAllowed(RuleName.ROLE, 201, ()),
    RoleNotAllowed(RuleName.ROLE, None, MANY),
    ChannelNotAllowed(RuleName.CHANNEL, ()),
    ChannelNotAllowed(RuleName.CHANNEL, MANY),
    ResolutionNotAllowed(RuleName.RESOLUTION, (Resolution.P480,)),
    ModelNotAllowed(RuleName.MODEL, ("Wan 2.5 Preview",)),
    ModelNotAllowed(RuleName.MODEL, ()),
    *(
        PromptBlocked(RuleName.BLOCKED_TERM, "🔥" * 100, follows)
        for follows in (Consequence(), Consequence(remaining=1), Consequence(remaining=2), Consequence(ban=PAUSED))
    ),
]
OTHERS: list[Reason] = [
    *(UnusablePicture(problem, (20_000, 20_000), (180, 200), 25_100_000) for problem in PictureProblem),
    *(UnusablePicture(problem) for problem in PictureProblem),
    *ApprovalProblem,
    *(AlreadyDecided(Decision(verdict, 9, NOW)) for verdict in Verdict),
    *(UnusableTerm(problem, "*" * 5000, "*" * 5000) for problem in TermProblem),
    *Problem,
    *ExtensionProblem,
    ClipTooLong(30, 30),
    TextTooLong("negative_prompt", 501, 500),
    ModelNotOffered("x" * 300, ("Wan 2.2 Flash", "Wan 2.5 Preview")),
    ResolutionNotMade("Wan 2.2 Flash", tuple(Resolution)),
    DurationNotMade("Wan 2.5 Preview", (5, 10)),
    UnusablePicture(PictureProblem.TOO_SMALL, (9, 9), limits=PictureLimits(side_min_px=500)),
    Said("It's closed."),
]
OUTSIDE = [OutsideServers(reason) for reason in (*LIMITS, PolicyViolation(RuleName.ACCESS))]
EVERY_REASON = [*LIMITS, *POLICY, *OTHERS, *OUTSIDE]
FAILURES = [FailureDetail(cause, quote, minutes=20) for cause in FailureCause for quote in (None, "*" * 5000)]

WORDED_ELSEWHERE = frozenset({"bot.services.admin", "bot.services.operator"})
"""Packages whose reasons are worded and tested with the texts for admins and the operator."""


def kinds_of_reasons() -> set[str]:
    """The names of all classes that derive from `Reason`, on the members' side."""
    classes = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for module in modules("bot", "cogs")
        if not module.is_in(WORDED_ELSEWHERE)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"Reason"}
    while more := {name for name, bases in classes.items() if bases & found} - found:
        found |= more
    return found - {"Reason"}


def test_the_examples_cover_every_kind_of_reason() -> None:
    assert kinds_of_reasons() == {type(reason).__name__ for reason in EVERY_REASON}


def test_the_messages_package_imports_every_module_that_registers_reason_texts() -> None:
    wording = {module.name for module in modules("bot/chat") if "@text_of.register" in module.text}
    imported = {f"bot.chat.messages.{name}" for name in bot.chat.messages.__all__}
    assert wording - {"bot.chat.messages.reason_texts"} == imported


def test_every_kind_of_reason_has_a_text() -> None:
    found = [importlib.import_module(module.name) for module in modules("bot") if "(Reason)" in module.text]
    kinds = {kind for module in found for kind in vars(module).values() if isinstance(kind, type)}
    reasons = {kind for kind in kinds if issubclass(kind, Reason) and kind not in {Reason, LimitReached}}
    assert {kind for kind in reasons if text_of.dispatch(kind) is text_of.dispatch(Reason)} == set()


def test_the_examples_cover_every_limit_and_every_rule() -> None:
    assert {reached.limit for reached in LIMITS} == set(LimitName)
    assert {violation.rule for violation in POLICY} == set(RuleName)


@pytest.mark.parametrize(
    "reason",
    [
        *(reached for reached in LIMITS if isinstance(reached, BudgetReached)),
        *(VideoLimitReached(name, NOW, 5, most, DAY) for name in VIDEO_LIMITS[:3] for most in (0, 5)),
        CooldownActive(LimitName.COOLDOWN, NOW, DAY),
        VideoLimitReached(LimitName.GUILD_QUEUE, NOW, 5, 5),
        *(reached for reached in LIMITS if isinstance(reached, FewerFit)),
        PolicyViolation(RuleName.ACCESS),
        PolicyViolation(RuleName.DIRECT_ORDERS),
    ],
)
def test_in_direct_messages_nobody_is_sent_to_admins_of_a_server(reason: Reason) -> None:
    text = text_of(OutsideServers(reason))

    assert "admin" not in text.lower()
    assert "this server" not in text.lower()


def text_about(it: Reason | FailureDetail) -> str:
    return failure_detail(it) if isinstance(it, FailureDetail) else text_of(it)


@pytest.mark.parametrize("reason", [*EVERY_REASON, *FAILURES], ids=lambda reason: type(reason).__name__)
def test_every_reason_has_a_text_that_fits_a_message(reason: Reason | FailureDetail) -> None:
    text = text_about(reason)
    assert text.strip()
    assert discord_length(text) < 1900
    assert "None" not in text
    assert "  " not in text
    assert text.endswith((".", "…"))


@pytest.mark.parametrize("reason", [*LIMITS, *POLICY], ids=lambda reason: type(reason).__name__)
def test_every_refusal_says_who_can_change_it(reason: LimitReached | PolicyViolation) -> None:
    who = "operator" if reason.remedy is Remedy.ASK_OPERATOR else "admin"
    assert who in text_of(reason)


def video_limit(name: LimitName, used: int = 5, most: int = 5, *, frees: bool = True) -> VideoLimitReached:
    return VideoLimitReached(name, NOW if frees else None, used, most, DAY)


def fewer(reached: LimitReached, fits: int, by_credits: int = 0) -> FewerFit:
    return FewerFit(reached.limit, reached.available_at, 4, fits, by_credits, reached)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            video_limit(LimitName.MAX_ACTIVE, 2, 2, frees=False),
            (
                "You have 2 of 2 videos in progress, including queued ones. "
                "You can ask for another when one is done; "
                "`/videos list` shows them. Server admins can change this."
            ),
        ),
        (
            video_limit(LimitName.VIDEOS_PER_WINDOW),
            (
                "You've used 5 of 5 videos in the last 24 hours, and you have no credits left. "
                "Your next video unlocks "
                f"{SOON}. Server admins can raise your limit or give you credits."
            ),
        ),
        (
            video_limit(LimitName.VIDEOS_PER_WINDOW, 0, 0, frees=False),
            (
                "You can't make videos here right now: your limit is 0, and you have no credits. "
                "Server admins can raise your limit or give you credits."
            ),
        ),
        (
            video_limit(LimitName.GUILD_VIDEOS_PER_DAY, 3, 3),
            (
                f"This server has used 3 of its 3 videos for today. The next one unlocks {SOON}. "
                "Server admins can change this."
            ),
        ),
        (
            CooldownActive(LimitName.COOLDOWN, NOW, timedelta(minutes=1)),
            (
                f"You need to wait 1 minute between videos here. You can ask again {SOON}. "
                "Server admins can change this."
            ),
        ),
        (
            BudgetReached(LimitName.GUILD_USD_PER_DAY, NOW, USD("0.90"), USD(1), USD("0.20")),
            (
                "This video doesn't fit this server's daily budget: $0.90 of $1.00 is used, "
                "and the video would "
                f"cost about $0.20. The budget resets {SOON}. Server admins can change this."
            ),
        ),
        (
            TotalBudgetReached(LimitName.TOTAL_USD_PER_MONTH, None, 99),
            (
                "This video doesn't fit the bot's monthly budget, which all servers share: 99% is used. "
                "Waiting won't help. Only the bot's operator can change this."
            ),
        ),
        (
            fewer(video_limit(LimitName.VIDEOS_PER_WINDOW, 5, 5), fits=2),
            (
                "You have 2 of 5 videos left in 24 hours, and you asked for 4. Ask for `variations: 2`. "
                "Server admins can change this."
            ),
        ),
        (
            fewer(video_limit(LimitName.VIDEOS_PER_WINDOW, 5, 5), fits=3, by_credits=2),
            (
                "You have 3 videos left, credits included, and you asked for 4. "
                "Ask for `variations: 3`. Server admins can change this."
            ),
        ),
        (
            fewer(video_limit(LimitName.MAX_ACTIVE, 2, 2), fits=2),
            (
                "You can have 2 videos in progress at a time, and each of the 4 variations counts. "
                "Ask for `variations: 2`. Server admins can change this."
            ),
        ),
        (
            fewer(video_limit(LimitName.MAX_ACTIVE, 2, 2), fits=1),
            (
                "You can have 2 videos in progress at a time, and each of the 4 variations counts; "
                "1 is in progress now. Leave `variations` out to make one video. "
                "Server admins can change this."
            ),
        ),
        (
            fewer(BudgetReached(LimitName.GRANTED_USD_PER_DAY, NOW, USD(1), USD(1), USD("0.2")), fits=3),
            (
                "The operator's daily budget for this server has room for 3 more, and you asked for 4. "
                "Ask for `variations: 3`. Only the bot's operator can change this."
            ),
        ),
        (
            MemberBanned(RuleName.BANNED, Ban(10, 1, "Spam *and* <@5>", NOW, NOW, 9)),
            (
                rf"You can't make videos in this server until {THEN}. Reason: Spam \*and\* \<\@5\>. "
                "Server admins can change this."
            ),
        ),
        (
            MemberBanned(RuleName.MEMBER_PAUSED, PAUSED),
            (f"You're paused until {THEN}: too many of your prompts were blocked. Server admins can change this."),
        ),
        (
            RoleNotAllowed(RuleName.ROLE, None, (1, 2, 3)),
            (
                "Only members with <@&1>, <@&2> or <@&3> can make videos in this server. "
                "Server admins can change this."
            ),
        ),
        (
            ChannelNotAllowed(RuleName.CHANNEL, ()),
            "You can't make videos in this channel. Please use another channel. Server admins can change this.",
        ),
        (
            PromptBlocked(RuleName.BLOCKED_TERM, "MY * WORD", Consequence(remaining=2)),
            (
                r"Your prompt contains something this server blocks: “MY \* WORD”. Please leave it out. "
                "Server admins can change this.\n2 more blocked prompts and you'll be paused."
            ),
        ),
        (
            PromptBlocked(RuleName.BLOCKED_TERM, "x", Consequence(ban=PAUSED)),
            (
                "Your prompt contains something this server blocks: “x”. Please leave it out. "
                f"Server admins can change this.\nThat was one too many: you're paused until {THEN} ({SOON})."
            ),
        ),
        (
            UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=25_000_001),
            "This file is 25.1 MB, and I can take up to 25 MB. Please send a smaller copy. Nothing was charged.",
        ),
        (
            UnusablePicture(PictureProblem.TOO_THIN, (4000, 100)),
            (
                "This picture (4000×100) is too long and thin. "
                "It can be at most about 5½ times as long as it's wide, "
                "such as 2000×360. Please crop it and send it again. Nothing was charged."
            ),
        ),
        (
            UnusablePicture(PictureProblem.TOO_SMALL, (100, 120), (180, 216)),
            (
                "This picture (100×120) is too small. "
                "It needs to be at least 180×216, and looks sharp from 360 pixels "
                "on its shorter side. Please send a larger one. Nothing was charged."
            ),
        ),
        (
            AlreadyDecided(Decision(Verdict.DECLINED, 9, NOW)),
            f"<@9> already declined that video {SOON}.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Reason) else "",
)
def test_reasons_have_these_texts(reason: Reason, text: str) -> None:
    assert text_of(reason) == text


@pytest.mark.parametrize(
    "reason",
    [
        PromptBlocked(RuleName.BLOCKED_TERM, "<@1>"),
        MemberBanned(RuleName.BANNED, Ban(10, 1, "<@1>", NOW, None, 9)),
        FailureDetail(FailureCause.TASK_FAILED, "<@1>"),
        FailureDetail(FailureCause.TASK_FAILED, code="<@1>"),
        FailureDetail(FailureCause.IN_WORDS, "<@1>"),
        UnusableTerm(TermProblem.WORD_TOO_LONG, "<@1>"),
        UnusableTerm(TermProblem.PATTERN_INVALID, "x", "<@1>"),
    ],
    ids=lambda reason: type(reason).__name__,
)
def test_hostile_text_in_a_reason_is_inert(reason: Reason | FailureDetail) -> None:
    assert "<@1>" not in text_about(reason)


def test_a_limit_of_zero_names_no_time() -> None:
    for name in VIDEO_LIMITS:
        if name not in {LimitName.UNDELIVERED, LimitName.GUILD_QUEUE}:
            assert "<t:" not in text_of(video_limit(name, 0, 0, frees=False))
