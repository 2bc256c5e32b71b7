import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.messages import member_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length, escaped
from bot.chat.messages.status_texts import card_text
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    Order,
    RejectedPart,
    Resolution,
    StopResult,
)
from bot.domain.status_cards import StatusCard
from bot.media.prepared_frame import PictureChanges
from bot.services.videos import AcceptedOrder
from tests.chat.messages.jobs import JOB, LARGEST, LONG_PROMPTS, MENTION, NOW, job


def in_progress(given: Job) -> str:
    return card_text(replace(given, state=JobState.RUNNING), StatusCard(JobState.RUNNING))


MARKUP = set(r"\*_~`|>#-+[]()<:@/")


def quoting(words: str, cause: FailureCause = FailureCause.CHANNEL_CLOSED) -> FailureDetail:
    """A failure's detail, with text from outside in it."""
    return FailureDetail(cause, quote=words, code="*" * 100)


def active_markup(text: str) -> list[str]:
    """The markup characters that are not escaped, reading from left to right as Discord does."""
    return [char for char in re.sub(r"\\[^0-9A-Za-z\s]", "", text) if char in MARKUP]


def shown(text: str) -> str:
    """What Discord shows of an escaped text."""
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", text)


HOSTILE_TEXTS = [
    "@everyone look",
    "@here",
    "<@123456789012345678>",
    "<@!123456789012345678>",
    "<@&123456789012345678>",
    "<#123456789012345678>",
    "</animate:123456789012345678>",
    "<id:guide>",
    "**bold** *it* __under__ _it_ ~~gone~~",
    "`code` ``more``",
    "```py\nprint(1)\n```",
    "||spoiler||",
    "# heading",
    "### heading",
    "-# small print",
    "> quote",
    ">>> quote to the end",
    "- item",
    "+ item",
    "* item",
    "[masked](https://evil.example)",
    "[masked](<https://evil.example>)",
    "https://evil.example/x?y=1",
    "<https://evil.example>",
    "discord.gg/abcdef",
    "mailto:me@evil.example",
    "<t:1700000000:R>",
    "<:name:123456789012345678>",
    "<a:name:123456789012345678>",
    ":smile:",
    "\\*not escaped\\*",
    "\\",
    "ends with \\",
    "\\\\<@123456789012345678>",
]


@pytest.mark.parametrize("hostile", HOSTILE_TEXTS)
def test_markup_in_a_prompt_is_inert_and_shown_in_full(hostile: str) -> None:
    text = escaped(hostile)
    assert active_markup(text) == []
    assert shown(text) == " ".join(hostile.split())


@pytest.mark.parametrize("hostile", HOSTILE_TEXTS)
@pytest.mark.parametrize("render", [member_texts.video, member_texts.failure, in_progress])
def test_a_public_message_quotes_the_prompt_on_one_line(hostile: str, render: Callable[[Job], str]) -> None:
    text = render(job(JobState.FAILED, prompt=hostile))
    (quote,) = [line for line in text.splitlines() if line.startswith("> ")]
    assert active_markup(quote.removeprefix("> ")) == []


@pytest.mark.parametrize("hostile", HOSTILE_TEXTS)
def test_markup_in_an_upstreams_reason_is_inert(hostile: str) -> None:
    failed = job(JobState.FAILED, failure_detail=FailureDetail(FailureCause.IN_WORDS, hostile))
    first_line, *others = member_texts.failure(failed).splitlines()
    next_step = "You can ask for it again."
    assert first_line.endswith(next_step)
    assert active_markup(first_line.replace(MENTION, "", 1)) == []
    assert others == ["> a fox runs", f"-# Job `{JOB.id}`"]


@given(st.text(alphabet=st.one_of(st.characters(codec=None), st.sampled_from(sorted(MARKUP)))))
def test_any_text_is_escaped_to_one_inert_line(text: str) -> None:
    line = escaped(text)
    assert active_markup(line) == []
    assert len(line.splitlines()) <= 1


@given(st.text(alphabet=st.sampled_from("a *\\🦊"), max_size=60), st.integers(2, 50))
def test_truncated_text_fits_its_length_and_is_inert(text: str, most: int) -> None:
    cut = escaped(text, most)
    assert discord_length(cut) <= most
    assert active_markup(cut) == []


def test_text_that_fits_is_not_truncated() -> None:
    assert escaped("a fox runs", 10) == "a fox runs"
    assert escaped("a fox runs", 9) == "a fox ru…"


def test_a_huge_text_is_truncated() -> None:
    assert discord_length(escaped("*" * 2_000_000, 100)) <= 100


@pytest.mark.parametrize(
    "hidden",
    ["\u200b", "\u2060", "\ufeff", "\u00ad", "\u202e", "\u202a", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c"],
)
def test_invisible_and_bidirectional_control_characters_are_dropped(hidden: str) -> None:
    assert escaped(f"a{hidden}b") == "ab"


@pytest.mark.parametrize("seen", ["👨\u200d👩\u200d👧", "می\u200cخواهم", "❤\ufe0f", "👍🏽", "狐狸", "café"])
def test_emoji_and_scripts_with_joiners_are_kept_intact(seen: str) -> None:
    assert escaped(seen) == seen


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1c"])
def test_no_line_separator_breaks_out_of_the_quote(end: str) -> None:
    assert escaped(f"a{end}# b") == "a \\# b"


def test_control_characters_and_lone_surrogates_are_dropped() -> None:
    assert escaped("a\x00\x1b\ud83eb") == "ab"


STATES = [
    job(JobState.AWAITING),
    job(
        JobState.FAILED,
        failure_detail=quoting("*" * 5000),
        failure_reason=FailureReason.EXPIRED,
        credit_grant_id=1,
    ),
    job(
        JobState.FAILED,
        failure_detail=quoting("*" * 5000),
        failure_reason=FailureReason.OUTCOME_UNKNOWN,
        credit_grant_id=1,
    ),
    job(JobState.QUEUED),
    job(JobState.SUBMITTING),
    job(JobState.RUNNING, submitted_at=NOW),
    job(JobState.DELIVERING, submitted_at=NOW),
    job(JobState.DELIVERED, result_message_id=LARGEST),
    job(JobState.CANCELLED, submitted_at=NOW),
    job(JobState.CANCELLED, submitted_at=NOW, charged=False),
    job(JobState.FAILED, failure_detail=quoting("*" * 5000), failure_reason=FailureReason.OUTCOME_UNKNOWN),
    job(JobState.FAILED, failure_detail=quoting("🦊" * 5000), failure_reason=FailureReason.OUTCOME_UNKNOWN),
    job(JobState.CANCELLED, submitted_at=NOW, failure_detail=quoting("*" * 5000)),
]
UNAPPROVED = [
    job(JobState.AWAITING),
    job(
        JobState.FAILED,
        failure_detail=quoting("*" * 5000),
        failure_reason=FailureReason.EXPIRED,
        credit_grant_id=1,
    ),
    job(JobState.FAILED, failure_reason=FailureReason.DECLINED),
    job(JobState.FAILED, failure_reason=FailureReason.UNDELIVERABLE),
    job(JobState.FAILED, failure_reason=FailureReason.ABANDONED),
    job(JobState.CANCELLED),
]
"""Jobs that no moderator has approved, if approval was required."""


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
@pytest.mark.parametrize("given_job", STATES)
def test_the_longest_prompt_fits_every_message(given_job: Job, prompt: str) -> None:
    order = Order(prompt, seed=2_147_483_647, prompt_extend=False, watermark=True)
    long = replace(given_job, order=order, id="-" * 20)
    for text in (member_texts.video(long), member_texts.failure(long)):
        assert discord_length(text) <= CONTENT_MAX
        assert given_job in UNAPPROVED or prompt.strip() in shown(text)


@pytest.mark.parametrize("given_job", UNAPPROVED)
def test_an_unapproved_prompt_is_not_shown(given_job: Job) -> None:
    text = member_texts.failure(given_job)
    assert "fox" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    "given_job",
    [
        job(JobState.FAILED, failure_reason=FailureReason.UNDELIVERABLE, submitted_at=NOW, approval_message_id=5),
        job(JobState.CANCELLED, submitted_at=NOW, approval_message_id=5),
        job(JobState.FAILED, failure_reason=FailureReason.REFUSED),
        job(JobState.QUEUED, approval_message_id=5),
    ],
)
def test_a_prompt_that_was_approved_or_needed_no_approval_is_shown(given_job: Job) -> None:
    assert "> a fox runs" in member_texts.failure(given_job).splitlines()


def test_a_member_whose_video_an_admin_cancelled_is_told_why() -> None:
    cancelled = job(
        JobState.CANCELLED, charged=False, failure_detail=FailureDetail(FailureCause.CANCELLED_BY_ADMIN)
    )
    says = "was cancelled. A server admin cancelled it. It doesn't count."
    assert member_texts.failure(cancelled).startswith(f"{MENTION}, your video {says}")


def test_an_emoji_counts_as_two_characters() -> None:
    assert discord_length("a🦊") == 3


@pytest.mark.parametrize(("charged", "says"), [(True, "already paid for, so it counts"), (False, "doesn't count")])
def test_a_cancelled_job_says_whether_it_counts(charged: bool, says: str) -> None:  # noqa: FBT001
    assert says in member_texts.failure(job(JobState.CANCELLED, charged=charged))


@pytest.mark.parametrize(
    ("detail", "reads"),
    [
        (quoting("It was too much.", FailureCause.IN_WORDS), "It was too much."),
        (quoting("it gave up", FailureCause.IN_WORDS), "it gave up."),
        (
            FailureDetail(FailureCause.TASK_FAILED, "too *odd*"),
            r"The video service couldn't make it: “too \*odd\*”.",
        ),
        (
            FailureDetail(FailureCause.REFUSED_BY_SERVICE, code="E_7"),
            r"The video service refused it and gave no reason (code E\_7).",
        ),
        (FailureDetail(FailureCause.NOT_FINISHED, minutes=20), "It wasn't finished after 20 minutes."),
        (None, "I don't know why."),
    ],
)
def test_a_failure_gives_its_detail_and_says_that_it_does_not_count(
    detail: FailureDetail | None, reads: str
) -> None:
    failed = job(JobState.FAILED, failure_detail=detail)
    assert member_texts.failure(failed).startswith(f"{MENTION}, your video didn't work. {reads} It doesn't count")


@pytest.mark.parametrize(
    ("reason", "failure_text"),
    [
        (
            FailureReason.DECLINED,
            "a moderator declined your video. It doesn't",
        ),
        (
            FailureReason.EXPIRED,
            "your video expired: no moderator answered within a day. It doesn't",
        ),
        (
            FailureReason.REFUSED,
            "your video didn't work. The video service refused it. I don't know why. It doesn't",
        ),
    ],
)
def test_a_declined_or_expired_job_does_not_read_as_a_failure(reason: FailureReason, failure_text: str) -> None:
    failed = job(JobState.FAILED, failure_reason=reason)
    assert member_texts.failure(failed).startswith(f"{MENTION}, {failure_text}")


def test_a_failure_mentions_the_returned_credit_if_one_was_used() -> None:
    assert "credit" not in member_texts.failure(job(JobState.FAILED))
    assert "The credit is back." in member_texts.failure(job(JobState.FAILED, credit_grant_id=3))


def test_only_where_a_paid_task_may_exist_can_the_operator_look_it_up() -> None:
    unknown = job(JobState.FAILED, failure_reason=FailureReason.OUTCOME_UNKNOWN)
    refused = job(JobState.FAILED, failure_reason=FailureReason.REFUSED)
    assert "the operator can look this one up by its job id" in member_texts.failure(unknown)
    assert "operator" not in member_texts.failure(refused)


@pytest.mark.parametrize(
    ("part", "rejected", "next_step"),
    [
        (RejectedPart.PICTURE, "its picture", "Use another picture, then try again."),
        (RejectedPart.PROMPT, "its prompt", "Change the prompt, then try again."),
        (
            RejectedPart.VIDEO,
            "the finished video",
            "Change the prompt or use another picture, so that another video comes of it.",
        ),
        (None, "its picture or prompt", "Change the prompt or use another picture, then try again."),
    ],
)
def test_a_rejection_names_the_part_and_what_to_change(
    part: RejectedPart | None, rejected: str, next_step: str
) -> None:
    detail = FailureDetail(FailureCause.CONTENT_REFUSED, part=part)
    given = job(JobState.FAILED, failure_reason=FailureReason.REJECTED, failure_detail=detail)
    assert member_texts.failure(given).splitlines()[0] == (
        f"{MENTION}, your video can't be made. The video service's moderation rejected {rejected}. It doesn't "
        f"count against the quota. {next_step}"
    )


@pytest.mark.parametrize("charged", [True, False])
def test_who_cancelled_reads_what_became_of_the_task(*, charged: bool) -> None:
    detail = FailureDetail(FailureCause.CANCELLED_BY_ADMIN)
    result = StopResult.RUNNING if charged else StopResult.STOPPED
    given = job(JobState.CANCELLED, charged=charged, failure_detail=detail, stop_result=result)
    text = member_texts.failure(given)
    assert ("stopped it before it began. It doesn't count." in text) is not charged
    assert ("couldn't stop it any more. It was already paid for, so it counts." in text) is charged


def test_refused_content_is_blamed_on_the_picture_or_the_prompt_and_says_what_follows() -> None:
    detail = FailureDetail(FailureCause.CONTENT_REFUSED, "Input data may contain inappropriate content.", code="X")
    refused = job(JobState.FAILED, failure_reason=FailureReason.REJECTED, failure_detail=detail)
    text = member_texts.failure(refused)
    assert text.splitlines()[0] == (
        f"{MENTION}, your video can't be made. The video service's moderation rejected its picture or "
        "prompt: “Input data may contain inappropriate content”. It doesn't count against the quota. Change the "
        "prompt or use another picture, then try again."
    )
    for counted, follows in (
        (replace(detail, violations_left=2), "It counts like a blocked prompt here: 2 more and you'll be paused."),
        (
            replace(detail, violations_left=1),
            "It counts like a blocked prompt here: one more and you'll be paused.",
        ),
    ):
        assert member_texts.failure(replace(refused, failure_detail=counted)) == text.replace(
            "then try again.", f"then try again. {follows}"
        )
    paused = member_texts.failure(replace(refused, failure_detail=replace(detail, paused_until=7)))
    assert "so you're paused until <t:7:f>. After that, change the prompt" in paused
    assert "try again" not in paused


def test_a_video_message_shows_requester_prompt_and_settings() -> None:
    order = Order("a fox", resolution=Resolution.P480, seed=7, prompt_extend=False, watermark=True)
    assert member_texts.video(replace(JOB, order=order)).splitlines() == [
        f"{MENTION}, here's your video.",
        "> a fox",
        "-# 480P · seed 7 · prompt not extended · watermark",
    ]


def test_a_seed_of_zero_is_shown() -> None:
    assert member_texts.video(replace(JOB, order=Order("a fox", seed=0))).endswith("-# 720P · seed 0")


def test_a_video_with_default_settings_shows_only_its_resolution() -> None:
    assert member_texts.video(job()).splitlines()[-1] == "-# 720P"


def test_the_acceptance_reply_says_how_the_picture_was_changed() -> None:
    plain = member_texts.accepted(AcceptedOrder(job(), PictureChanges()))
    changed = member_texts.accepted(AcceptedOrder(job(), PictureChanges((4032, 3024), (2000, 1500))))
    assert "picture" not in plain
    assert changed.endswith("I adjusted your picture for the model: scaled down from 4032×3024 to 2000×1500.")


@pytest.mark.parametrize("state", [JobState.AWAITING, JobState.QUEUED])
def test_the_acceptance_reply_says_whether_a_moderator_has_to_approve(state: JobState) -> None:
    text = member_texts.accepted(AcceptedOrder(job(state), PictureChanges()))
    assert ("moderator" in text) == (state is JobState.AWAITING)
    assert "I'll ping you" in text


def test_the_acceptance_reply_says_that_a_credit_is_used() -> None:
    assert "credit" not in member_texts.accepted(AcceptedOrder(job(), PictureChanges()))
    assert member_texts.accepted(AcceptedOrder(job(credit_grant_id=3), PictureChanges())).endswith(
        "so this one takes a credit."
    )
