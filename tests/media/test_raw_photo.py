"""A raw photo is taken for the picture that its camera made, never for its thumbnail."""

import struct

import pytest
from PIL import Image

from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem
from bot.media.prepared_frame import PictureChanges
from tests.media.samples import QUARTERS, SIZE, Color, centers, distance, encoded, frame, problem, quarters

SENSOR, COLORS = 32803, 6
DNG_VERSION = (50706, 1, 4, 0x00000701)
JPEG, LOSSLESS_JPEG, NONE = 7, 7, 1

Entry = tuple[int, int, int, int]


def jpeg(size: tuple[int, int], colors: tuple[Color, ...] = QUARTERS) -> bytes:
    return encoded(quarters(colors).resize(size, Image.Resampling.NEAREST), "JPEG", quality=95)


def raw_photo(
    *pictures: tuple[bytes, tuple[int, int], int],
    orientation: int = 1,
    first: Entry = DNG_VERSION,
    are_inner: bool = True,
    are_nested: bool = False,
) -> bytes:
    """A TIFF with a thumbnail, and pictures: bytes, size, PhotometricInterpretation, each in its own directory.

    are_inner: the directories are listed in the first one, else each follows the one before, from the last picture
    to the first. are_nested: each is listed in the one before, in the same order.
    """
    thumbnail = Image.new("RGB", (256, 192), "teal").tobytes()
    body, offsets = bytearray(8), list[int]()

    def put(data: bytes) -> int:
        body.extend(data + bytes(len(data) % 2))
        return len(body) - len(data) - len(data) % 2

    def directory(entries: list[Entry], following: int = 0) -> int:
        packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
        return put(struct.pack("<H", len(entries)) + packed + struct.pack("<I", following))

    for data, size, photometric in pictures:
        strip = [(256, 4, 1, size[0]), (257, 4, 1, size[1]), (259, 3, 1, JPEG), (262, 3, 1, photometric)]
        strip += [(273, 4, 1, put(data)), (279, 4, 1, len(data))]
        if are_nested and offsets:
            strip.append((330, 4, 1, offsets[-1]))
        offsets.append(directory(strip, following=offsets[-1] if offsets and not are_inner else 0))
    entries: list[Entry] = [(254, 4, 1, 1), (256, 4, 1, 256), (257, 4, 1, 192), (258, 3, 1, 8), (259, 3, 1, NONE)]
    entries += [(262, 3, 1, 2), (273, 4, 1, put(thumbnail)), (274, 3, 1, orientation), (277, 3, 1, 3)]
    entries += [(278, 4, 1, 192), (279, 4, 1, len(thumbnail)), first]
    if are_inner and offsets:
        listed = offsets[-1:] if are_nested else offsets
        where = put(struct.pack(f"<{len(listed)}I", *listed)) if len(listed) > 1 else listed[0]
        entries.append((330, 4, len(listed), where))
    start = directory(entries, following=offsets[-1] if offsets and not are_inner else 0)
    body[:8] = b"II*\0" + struct.pack("<I", start)
    return bytes(body)


SENSOR_PIXELS = (jpeg((640, 480), ((9, 9, 9),) * 4), (640, 480), SENSOR)
PREVIEW = (jpeg((960, 720)), (960, 720), COLORS)
SMALL_PREVIEW = (jpeg((480, 360), ((9, 99, 9),) * 4), (480, 360), COLORS)
TINY_PREVIEW = (jpeg((160, 120)), (160, 120), COLORS)
BROKEN_PREVIEW = (jpeg((1200, 900))[:3000], (1200, 900), COLORS)


@pytest.mark.parametrize("are_inner", [True, False])
def test_the_largest_preview_is_used(are_inner: bool) -> None:  # noqa: FBT001
    data = raw_photo(SENSOR_PIXELS, SMALL_PREVIEW, PREVIEW, TINY_PREVIEW, are_inner=are_inner)
    prepared = prepare_first_frame(data)
    assert (prepared.width, prepared.height) == (960, 720)
    assert prepared.changes == PictureChanges(is_preview_of_raw=True)
    assert distance(centers(data), QUARTERS) <= 6


def test_the_photos_orientation_turns_the_preview() -> None:
    data = raw_photo(SENSOR_PIXELS, PREVIEW, orientation=6)
    above_left, above_right, below_left, below_right = QUARTERS
    assert frame(prepare_first_frame(data)).size == (720, 960)
    assert distance(centers(data), (below_left, above_left, below_right, above_right)) <= 6


def test_a_preview_that_is_turned_by_itself_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(quarters().resize((960, 720), Image.Resampling.NEAREST), "JPEG", quality=95, exif=exif)
    data = raw_photo((turned, (960, 720), COLORS), orientation=6)
    assert frame(prepare_first_frame(data)).size == (720, 960)


def test_a_smaller_preview_is_used_instead_of_a_broken_one() -> None:
    assert frame(prepare_first_frame(raw_photo(BROKEN_PREVIEW, PREVIEW))).size == (960, 720)


@pytest.mark.parametrize("pictures", [(), (SENSOR_PIXELS,), (TINY_PREVIEW,), (BROKEN_PREVIEW,)])
def test_without_a_preview_it_is_refused_as_a_raw_photo(pictures: tuple[tuple[bytes, Color, int], ...]) -> None:
    assert problem(raw_photo(*pictures)) is PictureProblem.RAW_PHOTO  # type: ignore[arg-type]


def test_a_raw_photo_of_another_vendor_is_known_by_its_sensors_pixels() -> None:
    assert problem(raw_photo(SENSOR_PIXELS, first=(305, 2, 1, 0))) is PictureProblem.RAW_PHOTO


def test_canons_is_known_by_its_header() -> None:
    assert problem(b"II*\0\x10\0\0\0CR\2\0\0\0\0\0" + bytes(100)) is PictureProblem.RAW_PHOTO
    assert problem(b"II*\0\xff\xff\0\0CR\2\0\0\0\0\0") is PictureProblem.RAW_PHOTO


@pytest.mark.parametrize(
    "start",
    [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0", b"FOVb", b"\0\0\0\x18ftypcrx \0\0\0\1"],
)
def test_other_raw_photos_are_refused_as_such(start: bytes) -> None:
    assert problem(start + bytes(1000)) is PictureProblem.RAW_PHOTO


@pytest.mark.parametrize("cut", [10, 200, 0.5, 0.9])
def test_a_truncated_raw_photo_is_refused(cut: float) -> None:
    data = raw_photo(SENSOR_PIXELS, TINY_PREVIEW)
    end = cut if isinstance(cut, int) else int(len(data) * cut)
    assert problem(data[:end]) in {PictureProblem.RAW_PHOTO, PictureProblem.DAMAGED}


def test_directories_that_lead_to_each_other_end() -> None:
    data = raw_photo(PREVIEW, first=(305, 2, 1, 0))
    inner = data.index(struct.pack("<HHI", 330, 4, 1)) + 8
    assert problem(data[:inner] + data[4:8] + data[inner + 4 :]) is None


@pytest.mark.parametrize("are_nested", [False, True])
def test_no_more_than_a_few_directories_are_read(are_nested: bool) -> None:  # noqa: FBT001
    def lists_tiny_ones_before_the_preview(count: int) -> bytes:
        return raw_photo(PREVIEW, *[TINY_PREVIEW] * count, are_inner=are_nested, are_nested=are_nested)

    assert problem(lists_tiny_ones_before_the_preview(20)) is None
    assert problem(lists_tiny_ones_before_the_preview(60)) is PictureProblem.RAW_PHOTO


def test_no_more_than_a_few_entries_of_a_list_of_directories_are_read() -> None:
    data = raw_photo(*[TINY_PREVIEW] * 60, PREVIEW)
    [at] = struct.unpack_from("<I", data, data.index(struct.pack("<HHI", 330, 4, 61)) + 8)
    same = data[at : at + 4] * 60  # which counts as one directory
    assert problem(data[:at] + same + data[at + len(same) :]) is PictureProblem.RAW_PHOTO


def test_a_tiff_that_begins_with_a_thumbnail_is_taken_for_the_page_after_it() -> None:
    reduced = Image.new("RGB", (200, 150), "teal")
    data = encoded(reduced, "TIFF", save_all=True, append_images=[quarters()], tiffinfo={254: 1})
    assert data.count(struct.pack("<HHII", 254, 4, 1, 1)) == 2
    second = data.rindex(struct.pack("<HHII", 254, 4, 1, 1))
    data = data[:second] + struct.pack("<HHII", 254, 4, 1, 0) + data[second + 12 :]
    assert centers(data) == list(QUARTERS)
    assert problem(encoded(reduced, "TIFF", tiffinfo={254: 1})) is PictureProblem.TOO_SMALL


def test_an_ordinary_tiff_is_no_raw_photo() -> None:
    assert prepare_first_frame(encoded(quarters(), "TIFF")).changes == PictureChanges()
    assert frame(prepare_first_frame(encoded(quarters(), "TIFF", compression="jpeg"))).size == SIZE
