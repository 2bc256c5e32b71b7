"""What a cancellation says: the question before, the answer, and what became of the task."""

import itertools
from dataclasses import replace

import pytest

from bot.chat.messages import cancellation_texts as texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.domain.cancelling import Cancelled, CancelledTogether
from bot.domain.jobs import CancelResult, Job, JobState, StopResult
from tests.chat.messages.jobs import LONG_PROMPTS, MENTION, job

STOPPABLE = job(JobState.RUNNING, can_be_stopped=True)
ANY_RESULT = (None, *StopResult)


def cancelled(result: StopResult | None, *, state: JobState = JobState.CANCELLED, **changes: object) -> Job:
    given = job(state, cancel_requested=True, can_be_stopped=True, stop_result=result)
    return replace(given, **changes)  # type: ignore[arg-type]  # mypy: a dict is any field


def test_the_question_says_what_happens_if_the_service_can_stop_it() -> None:
    text = texts.of_member(Cancelled(STOPPABLE, CancelResult.PAID))
    assert text == (
        "It's already with the video service. I'll ask it to stop: if it hasn't begun, it costs nothing and you "
        "get it back; if it has, it counts. It won't be posted."
    )


@pytest.mark.parametrize(
    "given",
    [
        job(JobState.RUNNING),
        job(JobState.SUBMITTING),
        job(JobState.DELIVERING, can_be_stopped=True),
        cancelled(StopResult.RUNNING, state=JobState.RUNNING),
    ],
    ids=["a provider that can't", "not known yet", "finished", "refused"],
)
def test_the_question_promises_nothing_where_nothing_can_be_stopped(given: Job) -> None:
    assert "it can't be stopped" in texts.of_member(Cancelled(given, CancelResult.PAID))
    assert "it can't be stopped" in texts.of_admin(Cancelled(given, CancelResult.PAID))
    assert "so it counts" in texts.of_member(Cancelled(given, CancelResult.FLAGGED))
    assert "asking" not in texts.of_admin(Cancelled(given, CancelResult.FLAGGED))


def test_the_answer_says_that_the_service_is_asked_and_where_to_look() -> None:
    text = texts.of_member(Cancelled(STOPPABLE, CancelResult.FLAGGED))
    assert text.startswith("Cancelled. It won't be posted. I'm asking the video service to stop it")
    assert "`/videos show`" in text


def test_a_video_that_had_not_started_is_free() -> None:
    assert texts.of_member(Cancelled(job(), CancelResult.CANCELLED)) == texts.FREE


def test_an_admin_is_told_what_it_costs_the_server() -> None:
    for result in (CancelResult.PAID, CancelResult.FLAGGED):
        text = texts.of_admin(Cancelled(STOPPABLE, result))
        assert "if it hasn't begun, it costs nothing; if it has, its cost" in text
        assert "count against" in text
        assert f"{MENTION}'s video" in text


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
@pytest.mark.parametrize("result", [CancelResult.PAID, CancelResult.CANCELLED, CancelResult.FLAGGED])
@pytest.mark.parametrize("can_be_stopped", [False, True])
def test_every_answer_to_an_admin_fits_a_message(
    prompt: str, result: CancelResult, *, can_be_stopped: bool
) -> None:
    given = job(JobState.RUNNING, prompt=prompt, can_be_stopped=can_be_stopped)
    text = texts.of_admin(Cancelled(given, result))
    assert discord_length(text) <= CONTENT_MAX
    assert ("\n> " in text) == (result is CancelResult.PAID)


ONE_PAID = "is already being made and paid for, so it can't be stopped. If you cancel it, it still counts"
TWO_PAID = "are already being made and paid for, so they can't be stopped. If you cancel them, they still count"
ONE_OPEN = "if it hasn't begun, it costs nothing and you get it back; if it has, it counts."
TWO_OPEN = "what hasn't begun costs nothing, and you get it back; what has begun counts."
MADE = "that was already being made. It won't be posted, but it was paid for, so it counts."
THEY_ARE_THERE = "are already with the video service. I'll ask it to stop them:"
ASKING = "which won't be posted. I'm asking the video service to stop"
LOOK = "`/videos list` tells you which."


@pytest.mark.parametrize(
    ("done", "answer"),
    [
        (CancelledTogether(1), ["Cancelled 1 video. It hadn't started, so it's free and doesn't count."]),
        (CancelledTogether(3), ["Cancelled 3 videos. They hadn't started, so they're free and don't count."]),
        (
            CancelledTogether(flagged=1),
            [f"Cancelled 1 video {MADE}"],
        ),
        (
            CancelledTogether(1, paid=2),
            [
                "Cancelled 1 video. It hadn't started, so it's free and doesn't count.",
                f"2 videos {TWO_PAID}, and they won't be posted.",
            ],
        ),
        (
            CancelledTogether(paid=1, stoppable=1),
            [f"1 video is already with the video service. I'll ask it to stop: {ONE_OPEN} It won't be posted."],
        ),
        (
            CancelledTogether(paid=3, stoppable=2),
            [
                f"1 video {ONE_PAID}, and it won't be posted.",
                f"2 videos {THEY_ARE_THERE} {TWO_OPEN} They won't be posted.",
            ],
        ),
        (
            CancelledTogether(flagged=1, stoppable=1),
            [
                f"Cancelled 1 video, {ASKING} it: {ONE_OPEN} {LOOK}",
            ],
        ),
        (
            CancelledTogether(flagged=2, stoppable=2),
            [
                f"Cancelled 2 videos, {ASKING} them: {TWO_OPEN} {LOOK}",
            ],
        ),
    ],
)
def test_the_answer_to_who_cancels_all(done: CancelledTogether, answer: list[str]) -> None:
    assert texts.of_variations(done).splitlines() == answer


def test_what_became_of_a_cancelled_video_reads_differently_for_each_result() -> None:
    said = [texts.what_became(cancelled(result)) for result in ANY_RESULT]
    said += [
        texts.what_became(cancelled(StopResult.ASKED, state=JobState.RUNNING)),
        texts.what_became(cancelled(StopResult.ASKED, result_url="https://cdn.example/x.mp4")),
    ]
    assert said[0] == ""
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        (cancelled(StopResult.STOPPED, charged=False), "stopped in time, doesn't count"),
        (cancelled(StopResult.ASKED, charged=False), "doesn't count"),
        (cancelled(None, charged=False), "doesn't count"),
        (cancelled(StopResult.RUNNING), "it was already paid for, so it counts"),
        (cancelled(None), "it was already paid for, so it counts"),
        (cancelled(None, state=JobState.RUNNING), "being stopped, counts if it has begun"),
        (cancelled(StopResult.ASKED, state=JobState.RUNNING), "being stopped, counts if it has begun"),
        (cancelled(StopResult.RUNNING, state=JobState.RUNNING), "it was already paid for, so it counts"),
    ],
)
def test_a_list_says_whether_a_cancelled_video_counts(given: Job, counts: str) -> None:
    assert texts.counts_in_short(given) == counts


@pytest.mark.parametrize(("result", "charged"), [*itertools.product(ANY_RESULT, (True, False))])
def test_a_card_says_whether_a_cancelled_video_counts(result: StopResult | None, *, charged: bool) -> None:
    text = texts.on_card(cancelled(result, state=JobState.RUNNING, charged=charged))
    assert "won't be posted" in text
    if not charged:
        assert "doesn't count" in text
    elif result in {None, StopResult.ASKED}:
        assert "asking the video service to stop it" in text
    else:
        assert "already paid for, so it counts" in text


def test_the_operator_reads_what_the_provider_answered() -> None:
    said = [texts.stop_for_operator(cancelled(result)) for result in ANY_RESULT]
    assert said[0] == ""
    assert len(set(said)) == len(said)
