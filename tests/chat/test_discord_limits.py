"""Nothing that members see is over Discord's limits, whatever the longest allowed input is made of."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import discord
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bot.chat.messages import alt_texts, member_texts, result_texts
from bot.chat.messages.help_texts import Command, Help, HelpLine, help_text
from bot.chat.pictures import Picture
from bot.chat.transport.delivery import video_file
from bot.chat.views.admin_buttons import CancelPaidButton, PauseResumeButton
from bot.chat.views.approval_cards import answered, approval_view, asked
from bot.chat.views.extend_button import extend_form
from bot.chat.views.member_buttons import ButtonKind, EraseButton, view
from bot.chat.views.operator_buttons import announcement
from bot.chat.views.persistent_button import row_of
from bot.chat.views.persistent_form import with_note
from bot.chat.views.picture_choice import picture_choice, picture_form
from bot.chat.views.result_buttons import edit_form, note_row, result_row
from bot.chat.views.settings_panel import panel
from bot.chat.views.status_card import card_view, failure_view, thumbnail_file
from bot.chat.views.variation_buttons import CancelAllButton
from bot.chat.views.variations_button import NumberButton
from bot.chat.views.video_list import details_view, page_view
from bot.domain.approvals import Decision, Verdict
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    Order,
    PictureLabels,
    Resolution,
)
from bot.domain.limits import Allowance, Credit, Limit, Limits, Origin, Usage
from bot.domain.member_settings import MemberSettings
from bot.domain.models import DECLARED, WAN25_PREVIEW, Catalog
from bot.domain.orders import (
    ALT_TEXT_MAX,
    PICTURE_NAME_MAX,
    SEED_MAX,
    picture_labels,
)
from bot.domain.status_cards import StatusCard, VariationsCard
from bot.domain.video_list import PAGE_SIZE, VideoFilter, VideoPage
from bot.domain.waiting import Wait
from bot.media.prepared_frame import PictureChanges
from bot.services.video_reader import VideoDetails
from bot.services.videos import AcceptedOrder
from tests.chat.messages.jobs import JOB, LARGEST, NOW
from tests.discord_limits import check_content, check_embed, check_file, check_form, check_view

PIECES = [
    "*",
    "_",
    "`",
    "|",
    "\\",
    "> ",
    "# ",
    "-# ",
    "@everyone ",
    "<@1>",
    "https://a.b/",
    "[a](b)",
    "\n",
    "a",
    "狐",
]
PIECES += [
    "🦊",
    "👨\u200d👩\u200d👧",
    "🏴\U000e0067\U000e0062\U000e007f",
    "e\u0301",
    "אב",
    "\u202eab",
    "\u2067אב\u2069",
]
KEY = "k" * 20
QUOTE = "🛑" * 1000
WAIT = Wait(10**9, NOW + timedelta(days=300), NOW + timedelta(days=999), share=0.5)


def longest(maximum: int) -> st.SearchStrategy[str]:
    """Texts of just that length: a few hostile pieces, again and again."""
    return st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(
        lambda pieces: ("".join(pieces) * maximum)[:maximum]
    )


def a_job(prompt: str, unwanted: str, words: str) -> Job:
    """The largest job there can be. words: what it is called, described as and answered with."""
    labels = picture_labels(words[:PICTURE_NAME_MAX], words[: ALT_TEXT_MAX // 2], spoiler=True)
    order = Order(
        prompt,
        unwanted,
        Resolution.P1080,
        SEED_MAX,
        prompt_extend=False,
        watermark=True,
        model=WAN25_PREVIEW.name,
        duration_s=10,
    )
    return replace(
        JOB,
        id="_" * 20,
        order=order,
        submitted_at=NOW,
        progress=0.999,
        result_url="https://example.com/" + "x" * 1600,
        cost_usd=Decimal("123456.123456789"),
        estimated_cost_usd=Decimal("123456.123456789"),
        credit_grant_id=1,
        failure_detail=FailureDetail(FailureCause.TASK_FAILED, words * 2, words, 10**6),
        status_message_id=LARGEST,
        result_message_id=LARGEST,
        result_channel_id=LARGEST,
        picture_name=labels.name,
        picture_alt_text=labels.alt_text,
    )


EVERYTHING = Catalog(DECLARED)
jobs = st.builds(
    a_job, longest(EVERYTHING.prompt_max), longest(EVERYTHING.negative_prompt_max), longest(ALT_TEXT_MAX)
)
states = st.sampled_from(JobState)
booleans = st.booleans()
# Without shrinking: an example is as long as it has to be, and making it simpler takes minutes.
PHASES = (Phase.explicit, Phase.generate)
quickly = settings(max_examples=15, deadline=None, phases=PHASES)


def a_card(state: JobState, *, closed: bool, cancelled: bool) -> StatusCard:
    return StatusCard(state, WAIT, closed, is_cancelled=cancelled, has_thumbnail=True)


IN_PROGRESS = (JobState.AWAITING, JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)


@quickly
@given(jobs, st.sampled_from(IN_PROGRESS), booleans, booleans)
def test_a_status_card_fits(job: Job, state: JobState, closed: bool, cancelled: bool) -> None:  # noqa: FBT001
    check_view(card_view(job, a_card(state, closed=closed, cancelled=cancelled)))
    check_file(thumbnail_file(job, b"jpeg"))


@quickly
@given(jobs, st.lists(states, min_size=4, max_size=4), booleans)
def test_the_card_of_variations_fits(job: Job, ends: list[JobState], closed: bool) -> None:  # noqa: FBT001
    four = tuple(
        replace(job, id=f"{number}{'_' * 19}", state=state, failure_reason=FailureReason.OUTCOME_UNKNOWN)
        for number, state in enumerate(ends)
    )
    shown = tuple(a_card(state, closed=closed, cancelled=False) for state in ends)
    check_view(card_view(job, VariationsCard(four, shown)))


@quickly
@given(jobs, states, st.sampled_from(VideoFilter), booleans)
def test_a_page_of_the_list_fits(job: Job, state: JobState, shows: VideoFilter, linked: bool) -> None:  # noqa: FBT001
    ids = [f"{number}{'_' * 19}" for number in range(PAGE_SIZE)]
    page = tuple(replace(job, id=id_, state=state) for id_ in ids)
    downloads = dict.fromkeys(ids, NOW) if linked else {}
    whole = VideoPage(shows, page, 10**8, 10**8 + 2, dict.fromkeys(ids, b"jpeg"), downloads, service_closed=True)
    check_view(page_view(whole, LARGEST))


@quickly
@given(jobs, states)
def test_the_details_of_a_video_fit(job: Job, state: JobState) -> None:
    shown = replace(job, state=state)
    check_view(details_view(VideoDetails(shown, b"jpeg", NOW)))
    check_embed(result_texts.details(shown, is_own=True, with_cost=True))


@quickly
@given(jobs)
def test_the_forms_to_edit_and_to_extend_a_video_fit(job: Job) -> None:
    check_form(with_note(edit_form(job, LARGEST), QUOTE))
    check_form(edit_form(replace(job, order=Order("a")), LARGEST))
    check_form(with_note(extend_form(job.id, job.order.prompt, LARGEST), QUOTE))
    check_form(with_note(edit_form(job, LARGEST, WAN25_PREVIEW), QUOTE))
    check_form(with_note(extend_form(job.id, job.order.prompt, LARGEST, WAN25_PREVIEW, 10), QUOTE))


@quickly
@given(longest(PICTURE_NAME_MAX), longest(ALT_TEXT_MAX))
def test_the_choice_of_a_picture_and_its_form_fit(name: str, alt_text: str) -> None:
    async def read() -> bytes:
        return b""

    labels = picture_labels(name, alt_text, spoiler=True)
    picture = Picture(PictureLabels(labels.name, labels.alt_text), "https://example.com/" + "x" * 1000, read)
    check_view(picture_choice(KEY, [picture] * 10))
    check_form(with_note(picture_form(KEY, 99, picture), QUOTE))
    check_form(with_note(picture_form(KEY, 99, picture, EVERYTHING), QUOTE))


@quickly
@given(jobs)
def test_the_message_with_a_video_fits(job: Job) -> None:
    done = replace(job, state=JobState.DELIVERED)
    for text in (
        member_texts.video(done),
        member_texts.sent_video(done),
        member_texts.sent_video(done, chosen=True),
    ):
        check_content(text)
    check_content(member_texts.linked_video(done, NOW) or "")
    check_view(result_row(done.id))
    check_view(result_row(done.id, in_server=False))
    file = video_file(done, Path(__file__))
    check_file(file)
    file.close()
    assert len(alt_texts.of_picture(done)) <= ALT_TEXT_MAX


@pytest.mark.parametrize("cause", FailureCause)
@settings(max_examples=2, deadline=None, phases=PHASES)
@given(jobs, st.sampled_from(FailureReason), booleans)
def test_the_message_about_a_failure_fits(
    cause: FailureCause,
    job: Job,
    reason: FailureReason,
    charged: bool,  # noqa: FBT001
) -> None:
    assert job.failure_detail is not None
    detail = replace(job.failure_detail, cause=cause, violations_left=10**6, paused_until=10**10)
    failed = replace(job, state=JobState.FAILED, failure_reason=reason, failure_detail=detail, charged=charged)
    check_content(member_texts.failure(failed))
    check_content(member_texts.failure(replace(failed, state=JobState.CANCELLED)))
    check_view(failure_view(failed))
    check_view(note_row(failed, 2**31 - 1))


@quickly
@given(jobs)
def test_what_moderators_are_asked_fits(job: Job) -> None:
    for count in (1, 4):
        check_content(asked(job, count))
        for verdict in Verdict:
            check_content(answered(job, Decision(verdict, LARGEST, NOW), count))
    check_view(approval_view(job.id))


LIMITS = Limits(
    Limit(10_000, Origin.ROLE, LARGEST), Limit(1000, Origin.ROLE, LARGEST), Limit(86_400, Origin.ROLE, LARGEST),
    timedelta(hours=720),
)  # fmt: skip
ALLOWANCES = [
    Allowance(
        replace(LIMITS, exempt=exempt),
        Usage((NOW,) * 10_000, 1000, NOW, tuple(Credit(number, 10**6, NOW) for number in range(100))),
        NOW,
    )
    for exempt in (False, True)
]


@pytest.mark.parametrize("allowance", ALLOWANCES, ids=["limited", "exempt"])
def test_private_answers_fit(allowance: Allowance) -> None:
    check_content(member_texts.quota(allowance))
    changes = PictureChanges((10**5, 10**5), (2000, 2000), *(True,) * 5)
    for settled in (MemberSettings(), MemberSettings(direct=True, spoilers=True)):
        for others in ((), (JOB,) * 3):
            accepted = AcceptedOrder(
                JOB, changes, service_closed=True, allowance=allowance, settings=settled, others=others
            )
            check_content(member_texts.accepted(accepted))
            check_content(member_texts.accepted(accepted, here=False))


@pytest.mark.parametrize("allowance", ALLOWANCES, ids=["limited", "exempt"])
def test_help_fits(allowance: Allowance) -> None:
    command = Command("w" * 98, LARGEST)
    shown = Help(
        command, allowance, None, service_closed=True, for_members=[HelpLine((command,) * 3, "d" * 100)] * 50
    )
    layout = discord.ui.LayoutView(timeout=None)
    layout.add_item(discord.ui.Container(discord.ui.TextDisplay(help_text(shown))))
    check_view(layout)


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("resolution", [None, *Resolution])
def test_the_settings_fit(on: bool, resolution: Resolution | None) -> None:  # noqa: FBT001 - a test's parameter
    chosen = MemberSettings(
        pings=on, direct=on, spoilers=on, resolution=resolution, prompt_extend=on, watermark=on
    )
    check_view(panel(chosen, LARGEST))
    check_view(panel(chosen, LARGEST, EVERYTHING.resolutions))


BUTTONS: list[Callable[[], discord.ui.View]] = [
    *(lambda kind=kind: view(kind, "_" * 20) for kind in ButtonKind),
    lambda: row_of(*(NumberButton(f"vary{number}", "_" * 20, str(LARGEST)) for number in (2, 3, 4))),
    lambda: row_of(CancelAllButton("spendall", "_" * 20)),
    lambda: row_of(EraseButton(LARGEST)),
    lambda: row_of(CancelPaidButton("_" * 20)),
    lambda: row_of(PauseResumeButton("pause"), PauseResumeButton("resume")),
    lambda: announcement("*" * 2000)[1],
]


@pytest.mark.parametrize("build", BUTTONS)
async def test_other_buttons_fit(build: Callable[[], discord.ui.View]) -> None:
    check_view(build())


def a_view(*items: discord.ui.Item[discord.ui.LayoutView]) -> discord.ui.LayoutView:
    shown = discord.ui.LayoutView(timeout=None)
    for item in items:
        shown.add_item(item)
    return shown


def a_form(**field: Any) -> discord.ui.Modal:
    form = discord.ui.Modal(title="t", custom_id="f")
    form.add_item(
        discord.ui.Label(text="l", component=discord.ui.TextInput(custom_id="i", max_length=10, **field))
    )
    return form


def a_button(**changes: Any) -> discord.ui.LayoutView:
    return a_view(discord.ui.ActionRow(discord.ui.Button(**changes)))


TOO_MUCH: list[Callable[[], None]] = [
    lambda: check_content("🦊" * 1001),
    lambda: check_content(""),
    lambda: check_view(a_view(*(discord.ui.TextDisplay("🦊" * 1001) for _ in range(2)))),
    lambda: check_view(a_view(*(discord.ui.TextDisplay("a") for _ in range(41)))),
    lambda: check_view(a_button(label="🦊" * 41, custom_id="c")),
    lambda: check_view(a_button(label="a", custom_id="🦊" * 51)),
    lambda: check_form(a_form(default="🦊" * 6)),
    lambda: check_form(a_form(placeholder="🦊" * 51)),
    lambda: check_form(discord.ui.Modal(title="🦊" * 23, custom_id="f")),
    lambda: check_embed(discord.Embed(description="a" * 4097)),
    lambda: check_file(discord.File(io.BytesIO(), "a b.mp4")),
    lambda: check_file(discord.File(io.BytesIO(), "a.mp4", description="🦊" * 513)),
]


@pytest.mark.parametrize("check", TOO_MUCH)
async def test_what_is_over_a_limit_is_noticed(check: Callable[[], None]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check()
