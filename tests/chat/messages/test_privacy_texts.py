from datetime import UTC, datetime

import pytest

from bot.chat.messages import privacy_texts as texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.domain.member_data import ErasurePreview, ErasureResult, RetentionPolicy
from bot.services.privacy import DataExport

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONG = RetentionPolicy(3650, 3650, 3650)


def test_the_longest_texts_fit_a_message() -> None:
    many = 10**9

    assert discord_length(texts.terms(LONG)) <= CONTENT_MAX
    everything = ErasurePreview(many, many, many, many, NOW, pictures=many, has_settings=True)
    assert discord_length(texts.question(everything, LONG)) <= CONTENT_MAX


def test_the_terms_say_for_how_long_a_picture_is_kept() -> None:
    kept = texts.terms(RetentionPolicy(90, 30, days_of_pictures=7))

    assert "until 7 days after its video is over" in kept
    assert "until 90 days after its video" in texts.terms(RetentionPolicy(90, 30, days_of_pictures=365))
    assert "your picture once it's submitted" in texts.terms(RetentionPolicy(90, 30, days_of_pictures=0))


def test_a_single_day_is_singular() -> None:
    assert "1 day after a video is over" in texts.terms(RetentionPolicy(1, 1))


def test_the_confirmation_mentions_only_data_that_exists() -> None:
    text = texts.question(ErasurePreview(1, 0, 0, 0, None), LONG)

    assert "1 video of yours" in text
    unsaid = ("waiting to start", "being made", "credit", "settings", "already asked")
    assert all(word not in text for word in unsaid)


def test_the_confirmation_mentions_all_data_that_exists() -> None:
    text = texts.question(ErasurePreview(12, 2, 1, 5, NOW, pictures=3, has_settings=True), LONG)

    for part in (
        "Your settings: back",
        "12 videos of yours",
        "3 pictures that I still have",
        "2 videos waiting",
        "1 video being made",
        "5 credits: lost",
        "<t:",
    ):
        assert part in text


def test_unfinished_videos_are_mentioned() -> None:
    assert "3 unfinished videos" in texts.erased(ErasureResult(jobs=2, cancelled=1, in_progress=2))
    assert "unfinished" not in texts.erased(ErasureResult(jobs=2))


@pytest.mark.parametrize(
    ("export", "said", "unsaid"),
    [
        (DataExport("a.json", b"", complete=True), "everything I keep", "compressed"),
        (DataExport("a.json.gz", b"", complete=True), "compressed", "didn't fit"),
        (DataExport("a.json.gz", b"", complete=False), "didn't fit", "nothing"),
    ],
)
def test_the_export_message_says_if_the_file_is_compressed_or_incomplete(
    export: DataExport, said: str, unsaid: str
) -> None:
    text = texts.exported(export)

    assert said in text
    assert unsaid not in text
