"""Colors that a file describes without an ICC profile: as browsers show them, HDR between them and BT.2408.

Expected values of SDR were read off screenshots of Chromium 150.
"""

import math
import struct
from collections.abc import Callable, Sequence
from io import BytesIO

import pillow_heif
import pytest
from PIL import Image, ImageCms

from bot.media import hevc
from bot.media.color_encoding import ColorEncoding, Transfer, from_cicp, to_srgb
from tests.media.samples import (
    QUARTERS,
    Color,
    centers,
    chunk,
    distance,
    encoded,
    grays,
    jpeg_xl_header,
    pixel,
    png,
    quarters,
    swapped_profile,
)

PQ, HLG = 16, 18
BT2020, P3 = 9, 12
GRAYS = (1, 20, 100, 200)
LINEAR_GRAYS = [(gray,) * 3 for gray in (13, 79, 168, 229)]
SAME_GRAYS = [(gray,) * 3 for gray in GRAYS]
P3_QUARTERS = [(227, 0, 8), (0, 163, 0), (18, 65, 216), (246, 207, 0)]
P3_CHROMATICITIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, 1)))


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chromaticities(values: Sequence[int]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *values))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([gamma(1.0)], LINEAR_GRAYS),
        ([gamma(0.5)], [(gray,) * 3 for gray in (0, 18, 109, 206)]),
        ([gamma(0.22727)], [(gray,) * 3 for gray in (0, 0, 34, 158)]),
        ([gamma(5.0)], [(gray,) * 3 for gray in (156, 204, 235, 250)]),
        ([gamma(0.45455)], SAME_GRAYS),
        ([gamma(0.45)], SAME_GRAYS),
        ([gamma(0.45455), chromaticities(SRGB_CHROMATICITIES)], [(gray,) * 3 for gray in (0, 12, 100, 201)]),
        ([gamma(0)], SAME_GRAYS),
        ([gamma(1.0), chromaticities((0,) * 8)], SAME_GRAYS),
        ([gamma(1.0), chromaticities((30_000,) * 8)], SAME_GRAYS),
        ([chunk(b"sRGB", b"\0"), gamma(1.0)], SAME_GRAYS),
        ([cicp(1, 8)], LINEAR_GRAYS),
        ([cicp(1, 1)], [(gray,) * 3 for gray in (0, 7, 91, 197)]),
        ([cicp(1, 4)], [(gray,) * 3 for gray in (0, 12, 100, 201)]),
        ([cicp(5, 5)], [(gray,) * 3 for gray in (0, 3, 76, 189)]),
        ([cicp(7, 7)], [(gray,) * 3 for gray in (3, 38, 115, 206)]),
        ([cicp(1, 17)], [(gray,) * 3 for gray in (0, 5, 87, 200)]),
        ([cicp(2, 2)], SAME_GRAYS),
        ([cicp(2, 8)], SAME_GRAYS),
        ([cicp(77, 99)], SAME_GRAYS),
        ([chunk(b"cICP", bytes((BT2020, PQ, 0, 0)))], SAME_GRAYS),
    ],
)
def test_a_png_has_the_brightness_that_browsers_give_it(chunks: list[bytes], expected: list[Color]) -> None:
    assert distance(centers(png(grays(*GRAYS), *chunks)), expected) <= 1


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([cicp(P3, 13)], P3_QUARTERS),
        ([cicp(P3, 2)], QUARTERS),
        (
            [gamma(0.45455), chromaticities(P3_CHROMATICITIES)],
            [(229, 0, 0), (0, 164, 0), (7, 63, 218), (247, 208, 0)],
        ),
        ([chromaticities(P3_CHROMATICITIES)], QUARTERS),
        (
            [gamma(0.45455), chromaticities(SRGB_CHROMATICITIES)],
            [(209, 26, 26), (26, 161, 26), (26, 62, 209), (240, 209, 26)],
        ),
        ([chunk(b"sRGB", b"\0"), gamma(0.45455), chromaticities(P3_CHROMATICITIES)], QUARTERS),
        ([cicp(BT2020, 14)], [(255, 0, 0), (0, 164, 0), (0, 53, 215), (255, 201, 0)]),
    ],
)
def test_a_png_has_the_colors_that_browsers_give_it(chunks: list[bytes], expected: list[Color]) -> None:
    assert distance(centers(png(quarters(), *chunks)), expected) <= 2


def test_a_png_follows_its_most_exact_description() -> None:
    profile = swapped_profile()
    by_profile = centers(encoded(quarters(), "PNG", icc_profile=profile))
    assert distance(by_profile, QUARTERS) > 100
    with_profile = png(quarters(), gamma(1.0), _iccp(profile))
    assert centers(with_profile) == by_profile
    assert distance(centers(png(quarters(), cicp(1, 13), _iccp(profile))), QUARTERS) == 0
    assert centers(png(quarters(), cicp(2, 2), _iccp(profile))) == by_profile


def _iccp(profile: bytes) -> bytes:
    data = encoded(quarters(), "PNG", icc_profile=profile)
    start = data.index(b"iCCP") - 4
    return data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]


def avif(image: Image.Image, primaries: int, transfer: int) -> bytes:
    data = encoded(image, "AVIF", quality=100, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    return data[:at] + bytes((0, primaries, 0, transfer)) + data[at + 4 :]


def heic(image: Image.Image, primaries: int, transfer: int) -> bytes:
    options: dict[str, object] = {"matrix_coefficients": 6, "full_range_flag": 1}
    options |= {"color_primaries": primaries, "transfer_characteristics": transfer}
    return encoded(image, "HEIF", quality=-1, chroma=444, **options)


def heic_by_stream(image: Image.Image, primaries: int, transfer: int) -> bytes:
    """A HEIC in which only the HEVC stream describes colors."""
    data = heic(image, primaries, transfer)
    assert hevc.color_description(data) == (primaries, transfer)
    return data.replace(b"colrnclx", b"freenclx")


def png_with_cicp(image: Image.Image, primaries: int, transfer: int) -> bytes:
    return png(image, cicp(primaries, transfer))


def tiff_with_cicp_in_profile(image: Image.Image, primaries: int, transfer: int) -> bytes:
    """The profile is sRGB's, as far as readers see that don't know its `cicp` tag."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"cprt")
    profile[at : at + 12] = struct.pack(">4sII", b"cicp", len(profile), 12)
    profile += b"cicp" + bytes((0, 0, 0, 0, primaries, transfer, 0, 1))
    return encoded(image, "TIFF", icc_profile=bytes(profile))


def jxl(image: Image.Image, primaries: int, transfer: int) -> bytes:
    return jpeg_xl_header(encoded(image, "JXL", lossless=True, effort=1), colors=(primaries, transfer))


WRITERS = [png_with_cicp, avif, heic, heic_by_stream, tiff_with_cicp_in_profile, jxl]
STILL_WRITERS = [avif, heic, heic_by_stream]


@pytest.mark.parametrize("write", STILL_WRITERS)
def test_a_still_labelled_like_a_video_is_srgb(write: Callable[[Image.Image, int, int], bytes]) -> None:
    assert distance(centers(write(grays(*GRAYS), 1, 1)), SAME_GRAYS) <= 2


@pytest.mark.parametrize("write", STILL_WRITERS)
def test_primaries_are_used_without_a_profile(write: Callable[[Image.Image, int, int], bytes]) -> None:
    assert distance(centers(write(quarters(), P3, 13)), P3_QUARTERS) <= 6


def test_a_broken_profile_or_tag_is_ignored() -> None:
    data = tiff_with_cicp_in_profile(quarters(), BT2020, PQ)
    assert centers(data) != list(QUARTERS)
    assert centers(data.replace(b"cicp\0\0\0\0", b"none\0\0\0\0")) == list(QUARTERS)


def srgb_to_linear(code: float) -> float:
    return code / 12.92 if code <= 0.04045 else math.pow((code + 0.055) / 1.055, 2.4)


def hdr_code(transfer: int, linear_2020: Sequence[float], white_cd_m2: float = 203) -> tuple[int, ...]:
    """8-bit codes of linear BT.2020 light of which 1 is white."""
    light = [max(0.0, value) * white_cd_m2 for value in linear_2020]
    if transfer == PQ:
        powers = [math.pow(value / 10_000, 0.1593017578125) for value in light]
        codes = [math.pow((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p), 78.84375) for p in powers]
    else:
        luminance = sum(share * value for share, value in zip((0.2627, 0.678, 0.0593), light, strict=True)) / 1000
        scene = [value / 1000 * math.pow(luminance, 1 / 1.2 - 1) for value in light]
        codes = [
            math.sqrt(3 * e) if e <= 1 / 12 else 0.17883277 * math.log(12 * e - 0.28466892) + 0.55991073
            for e in scene
        ]
    return tuple(round(code * 255) for code in codes)


def to_2020(color: Color) -> list[float]:
    """Linear BT.2020 of an sRGB color. Source: ITU-R BT.2087."""
    red, green, blue = (srgb_to_linear(channel / 255) for channel in color)
    rows = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
    return [row[0] * red + row[1] * green + row[2] * blue for row in rows]


SCENE = [*QUARTERS[:3], (128, 128, 128)]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_an_hdr_picture_has_the_colors_of_its_scene_under_one_exposure(
    write: Callable[[Image.Image, int, int], bytes], transfer: int
) -> None:
    data = write(quarters([hdr_code(transfer, to_2020(color)) for color in SCENE]), BT2020, transfer)
    found = centers(data)

    def off(exposure: float) -> int:
        return distance(found, [_exposed(color, exposure) for color in SCENE])

    best = min((step / 100 for step in range(50, 101)), key=off)
    assert 0.7 <= best <= 0.9
    assert off(best) <= 12  # 8 bits of HLG are coarse next to black


def without_labels(heic_file: bytes) -> bytes:
    """A HEIC whose stream was labelled as BT.2020 and PQ, and says of both that they are unspecified."""
    start = heic_file.index(b"hvcC")
    end = start + int.from_bytes(heic_file[start - 4 : start], "big") - 4
    bits = "".join(f"{byte:08b}" for byte in heic_file[start:end])
    labels, unspecified = f"{BT2020:08b}{PQ:08b}", f"{2:08b}" * 2
    assert bits.count(labels) == 1
    bits = bits.replace(labels, unspecified)
    data = heic_file[:start] + int(bits, 2).to_bytes(end - start, "big") + heic_file[end:]
    assert hevc.color_description(data) == (2, 2)
    return data.replace(b"colrnclx", b"freenclx")


def heic_of_10_bits(image: Image.Image) -> bytes:
    """Labelled as BT.2020 and PQ."""
    deep = b"".join(struct.pack("<H", code * 257) for code in image.tobytes())
    heif = pillow_heif.from_bytes(mode="RGB;16", size=image.size, data=deep)
    file = BytesIO()
    heif.save(file, quality=95, chroma=444, color_primaries=BT2020, transfer_characteristics=PQ)
    return file.getvalue()


PQ_SCENE = [*SCENE[:3], (255, 255, 255)]


def test_a_heic_of_10_bits_that_looks_like_pq_and_has_no_labels_is_pq() -> None:
    labelled = heic_of_10_bits(quarters([hdr_code(PQ, to_2020(color)) for color in PQ_SCENE]))
    assert distance(centers(without_labels(labelled)), centers(labelled)) == 0
    assert distance(centers(labelled), [_exposed(color, 0.8) for color in PQ_SCENE]) <= 12


@pytest.mark.parametrize(
    "colors",
    [
        QUARTERS,
        [(gray,) * 3 for gray in (0, 20, 60, 120)],
        [(gray,) * 3 for gray in (150, 155, 160, 160)],
        [(gray,) * 3 for gray in (12, 30, 90, 170)],
    ],
)
def test_another_of_10_bits_without_labels_is_srgb(colors: list[Color]) -> None:
    assert distance(centers(without_labels(heic_of_10_bits(quarters(colors)))), colors) <= 3


def test_one_of_8_bits_without_labels_is_srgb() -> None:
    codes = quarters([hdr_code(PQ, to_2020(color)) for color in PQ_SCENE])
    assert distance(centers(without_labels(heic(codes, BT2020, PQ))), centers(encoded(codes, "PNG"))) <= 3


def _exposed(color: Color, exposure: float) -> Color:
    light = [srgb_to_linear(channel / 255) * exposure for channel in color]
    return tuple(
        round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * math.pow(value, 1 / 2.4) - 0.055))
        for value in light
    )


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_are_rolled_off_and_keep_their_order(transfer: int) -> None:
    encoding = from_cicp(BT2020, transfer)
    assert encoding is not None
    ramp = Image.linear_gradient("L").rotate(90)
    shown = to_srgb(ramp, encoding)
    grays_shown = [pixel(shown, (x, 0))[0] for x in range(256)]
    assert grays_shown == sorted(grays_shown)
    white, bright, brighter = (
        pixel(to_srgb(Image.new("RGB", (1, 1), hdr_code(transfer, [level] * 3)), encoding), (0, 0))[0]
        for level in (1, 2, 4)
    )
    assert 187 <= white < bright < brighter <= 255


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("brightness", [0.2, 1, 4])
@pytest.mark.parametrize("color", [(255, 128, 0), (0, 200, 255), (255, 0, 128), *QUARTERS])
def test_no_hue_is_turned(color: Color, brightness: float, transfer: int) -> None:
    encoding = from_cicp(BT2020, transfer)
    assert encoding is not None
    codes = hdr_code(transfer, [value * brightness for value in to_2020(color)])
    shown = pixel(to_srgb(Image.new("RGB", (1, 1), codes), encoding), (0, 0))
    assert abs((_hue(shown) - _hue(color) + 180) % 360 - 180) <= 6


def _hue(color: Color) -> float:
    """In degrees, of linear light."""
    red, green, blue = (srgb_to_linear(channel / 255) for channel in color)
    return math.degrees(math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue))


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)])
def test_the_most_extreme_codes_give_a_color(color: Color) -> None:
    for transfer in (Transfer.PQ, Transfer.HLG):
        encoding = ColorEncoding((0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046), transfer)
        shown = pixel(to_srgb(Image.new("RGB", (1, 1), color), encoding), (0, 0))
        assert (max(shown) > 150) == any(color)


def test_a_gray_picture_can_be_hdr() -> None:
    assert distance(centers(png(grays(0, 50, 100, 148).convert("L"), cicp(BT2020, PQ)))[:1], [(0, 0, 0)]) == 0
    assert centers(png(grays(0, 50, 100, 148).convert("L"), cicp(BT2020, PQ)))[3][0] > 200


def test_transparency_of_an_hdr_picture_becomes_white() -> None:
    image = quarters([hdr_code(PQ, to_2020(color)) for color in SCENE])
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 0, 0), (0, 0, 240, 180))
    assert centers(png(image, cicp(BT2020, PQ)))[0] == (255, 255, 255)
