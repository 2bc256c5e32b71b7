"""How a first frame is scaled, and which sizes are refused."""

from io import BytesIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.domain.errors import PictureRefused
from bot.domain.models import PictureLimits
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, Size, UnusablePicture
from bot.media.prepared_frame import PictureChanges
from tests.media.first_frames import one_bit, refusal

LIMITS = PictureLimits()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1000, 1000), (1000, 1000)),
        ((2000, 360), (2000, 360)),
        ((360, 2000), (360, 2000)),
        ((4032, 3024), (2000, 1500)),
        ((3024, 4032), (1500, 2000)),
        ((2001, 360), (2000, 360)),
        ((180, 180), (360, 360)),
        ((359, 500), (360, 501)),
        ((1000, 180), (2000, 360)),
    ],
)
def test_sides_are_scaled_no_more_than_necessary_and_the_scaling_is_reported(before: Size, after: Size) -> None:
    prepared = prepare_first_frame(one_bit(*before))
    assert (prepared.width, prepared.height) == after
    assert prepared.changes == (PictureChanges() if before == after else PictureChanges(before, after))


@pytest.mark.parametrize(
    ("size", "enough"), [((179, 300), (180, 302)), ((240, 100), (432, 180)), ((1, 1), (180, 180))]
)
def test_a_picture_that_is_too_small_is_refused_with_the_minimum_size(size: Size, enough: Size) -> None:
    assert refusal(one_bit(*size)) == UnusablePicture(PictureProblem.TOO_SMALL, size, enough)


def test_a_picture_of_the_minimum_size_is_accepted() -> None:
    assert prepare_first_frame(one_bit(180, 302)).width == 360


@pytest.mark.parametrize("size", [(2010, 360), (360, 2010), (6000, 1000), (3000, 10)])
def test_a_picture_that_is_too_thin_is_refused_with_its_size(size: Size) -> None:
    assert refusal(one_bit(*size)) == UnusablePicture(PictureProblem.TOO_THIN, size)


def test_a_refusal_has_the_size_after_orientation() -> None:
    """Orientation 6: stored 300×100, shown 100×300."""
    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (300, 100)).save(file, "JPEG", exif=exif)
    assert refusal(file.getvalue()).size == (100, 300)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000))
@example(width=361, height=2006)
@example(width=2999, height=540)
@example(width=213, height=1184)
def test_any_size_keeps_its_aspect_ratio_or_is_refused(width: int, height: int) -> None:
    try:
        prepared = prepare_first_frame(one_bit(width, height))
    except PictureRefused:
        assert min(width, height) < 180 or max(width, height) * 9 > min(width, height) * 50
        return
    assert min(prepared.width, prepared.height) >= LIMITS.side_min_px
    assert max(prepared.width, prepared.height) <= LIMITS.side_max_px
    factor = max(prepared.width, prepared.height) / max(width, height)
    assert factor <= 2.01
    assert abs(prepared.width - width * factor) <= 1.5
    assert abs(prepared.height - height * factor) <= 1.5


def test_another_models_limits_apply_to_the_frame() -> None:
    limits = PictureLimits(side_min_px=240, side_max_px=1000, max_bytes=20_000)

    prepared = prepare_first_frame(one_bit(1600, 800), limits)

    assert (prepared.width, prepared.height) == (1000, 500)
    assert len(prepared.frame.data) <= limits.max_bytes
    assert prepare_first_frame(one_bit(480, 240), limits).changes.scaled_from is None


def test_a_picture_too_small_for_another_model_is_refused_with_its_limits() -> None:
    limits = PictureLimits(side_min_px=800)
    with pytest.raises(PictureRefused) as refused:
        prepare_first_frame(one_bit(399, 600), limits)

    assert refused.value.reason == UnusablePicture(PictureProblem.TOO_SMALL, (399, 600), (400, 602), limits=limits)
