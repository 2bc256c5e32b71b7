"""What the numbers of a picture mean as light, where a file says so without an ICC profile, and their way to sRGB.

CICP's code points (nclx boxes in HEIC and AVIF, cICP chunks in PNG) and a PNG's gAMA and cHRM both name the color
of each primary and a transfer function. Pure. Sources: ITU-T H.273 (code points), ITU-R BT.2100 (PQ and HLG).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, cast

from PIL import Image, ImageMath

Matrix = tuple[tuple[float, float, float], ...]
Color = tuple[float, float, float]

_D65 = (0.3127, 0.3290)
_BT709 = (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_CHROMATICITIES: dict[int, tuple[float, ...]] = {
    1: _BT709,
    2: _BT709,  # unspecified
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""White, red, green, blue as CIE x and y, by CICP's ColourPrimaries (H.273, table 2)."""

_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))

_DIFFUSE_WHITE_CD_M2 = 203  # of a sheet of white paper in an HDR picture (BT.2408)
_PQ_PEAK_CD_M2 = 10_000
_HLG_PEAK_CD_M2 = 1000  # of the display for which BT.2100 gives the system gamma of 1.2
_HLG_SYSTEM_GAMMA = 1.2

_EXPOSURE = 0.8
"""Linear light of diffuse white. BT.2408 puts it at 1, which leaves highlights no room; Chromium at 0.5."""

_PQ_WHITE_RANGE = (140, 196)  # codes of 160 and 1,150 cd/m², of 255
_MIN_PQ_RANGE = 64
PQ_SHADOWS = range(4, 40)  # codes up to 0.2 cd/m², without black itself and its noise
_MAX_PQ_SHADOWS = 0.02

_BAND_ROWS = 256
_MAX_TAGS = 100  # of an ICC profile; real ones have some 20
_GAMMA_TOLERANCE = 0.05  # a gAMA this near to 1/2.2, without cHRM, stands for sRGB


class Transfer(Enum):
    """CICP's TransferCharacteristics (H.273, table 3) that differ from each other."""

    BT709 = 1
    GAMMA_22 = 4
    GAMMA_28 = 5
    SMPTE_240M = 7
    LINEAR = 8
    SRGB = 13
    PQ = 16
    SMPTE_428 = 17
    HLG = 18


_TRANSFERS = {transfer.value: transfer for transfer in Transfer} | {
    2: Transfer.SRGB,  # unspecified
    6: Transfer.BT709,
    14: Transfer.BT709,
    15: Transfer.BT709,
}
_UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class ColorEncoding:
    """Primaries and transfer function of RGB.

    chromaticities: CIE x and y of white, red, green and blue. transfer: a float is a power: light is the
    code to it.
    """

    chromaticities: tuple[float, ...] = _BT709
    transfer: Transfer | float = Transfer.SRGB

    @property
    def is_hdr(self) -> bool:
        """Whether colors can be brighter than a white page."""
        return self.transfer in {Transfer.PQ, Transfer.HLG}


def from_cicp(primaries: int, transfer: int) -> ColorEncoding | None:
    """The encoding of two of CICP's code points; None if they are unknown or leave it open."""
    if primaries not in _CHROMATICITIES or transfer not in _TRANSFERS or primaries == transfer == _UNSPECIFIED:
        return None
    return ColorEncoding(_CHROMATICITIES[primaries], _TRANSFERS[transfer])


def from_unlabelled_10_bit(darkest: int, brightest: int, shadows: float) -> ColorEncoding | None:
    """A guess for a picture of 10 bits or more that says nothing about its colors: PQ, or None for sRGB.

    darkest, brightest: its extreme codes, of 255. shadows: the share of its pixels with a code of `PQ_SHADOWS`.
    Without labels, a HEIC is meant to be sRGB (ISO/IEC 23000-22, 7.3.6.4), but some programs write HDR screenshots
    and leave out what they are, which look washed out as sRGB. So all of what PQ looks like is required: it gives
    white paper 148 and the brightest common highlights 192, so that such a picture never comes near 255, and a
    thousandth of white 40, so that it hardly has codes below that. A picture in sRGB nearly always reaches 255;
    one that is too dark for it is full of low codes.
    """
    is_like_pq = brightest - darkest >= _MIN_PQ_RANGE and _PQ_WHITE_RANGE[0] <= brightest <= _PQ_WHITE_RANGE[1]
    return ColorEncoding(_CHROMATICITIES[9], Transfer.PQ) if is_like_pq and shadows < _MAX_PQ_SHADOWS else None


def from_icc_profile(profile: bytes) -> ColorEncoding | None:
    """The encoding that an HDR profile names beside its tables, which can't hold such light; None without one.

    Source: ICC.1:2022, 7.3 and 10.8.
    """
    tags = [profile[at : at + 12] for at in range(132, 132 + 12 * min(_MAX_TAGS, _number(profile[128:132])), 12)]
    for tag in tags:
        at = _number(tag[4:8])
        if tag[:4] == b"cicp" and profile[at : at + 4] == b"cicp" and len(profile) >= at + 10:
            encoding = from_cicp(profile[at + 8], profile[at + 9])
            return encoding if encoding is not None and encoding.is_hdr else None
    return None


def from_gamma(gamma: float, chromaticities: tuple[float, ...] | None) -> ColorEncoding | None:
    """The encoding of a PNG's gAMA and cHRM chunks; None if they are impossible.

    With cHRM, browsers take the gamma literally, also that of a picture in sRGB as ImageMagick writes it.
    """
    if gamma <= 0:
        return None
    stands_for_srgb = chromaticities is None and abs(gamma * 2.2 - 1) < _GAMMA_TOLERANCE
    transfer = Transfer.SRGB if stands_for_srgb else 1 / gamma
    known = next(
        (known for known in _CHROMATICITIES.values() if chromaticities and _are_close(known, chromaticities)), None
    )
    encoding = ColorEncoding(known or chromaticities or _BT709, transfer)
    try:
        _matrix_to_bt709(encoding.chromaticities)
    except ZeroDivisionError:
        return None
    return encoding


def to_srgb(image: Image.Image, encoding: ColorEncoding) -> Image.Image:
    """An L or RGB image of that encoding as sRGB.

    SDR colors outside of sRGB are clipped, as browsers do. HDR colors get one exposure; highlights are rolled off
    and colors desaturated only as far as they must be, both without a change of hue.
    """
    if encoding == ColorEncoding():
        return image.convert("RGB")
    converted = Image.new("RGB", image.size)
    matrix = _matrix_to_bt709(encoding.chromaticities)
    decode = [_decode(encoding.transfer, code / 255) for code in range(256)]
    encode = _srgb_codes()
    for top in range(0, image.height, _BAND_ROWS):  # floats of the whole picture would take much memory
        box = (0, top, image.width, min(top + _BAND_ROWS, image.height))
        codes = image.crop(box).convert("RGB").split()
        light = [channel.point(decode, "F") for channel in codes]
        if encoding.is_hdr:
            light = _tone_mapped(light, encoding)
        light = [_math(_weighted_sum(row), light) for row in matrix]
        if encoding.is_hdr:
            light = _into_gamut(light)
        in_65536 = (
            _math(lambda x: x["min"](x["max"](x["a"] * 65535 + 0.5, 0), 65535), [channel]) for channel in light
        )
        converted.paste(Image.merge("RGB", [channel.convert("I").point(encode, "L") for channel in in_65536]), box)
    return converted


@cache
def _srgb_codes() -> list[int]:
    """8-bit sRGB of light from 0 to 65,535."""
    return [round(255 * _encode_srgb(value / 65535)) for value in range(65536)]


def _math(formula: Callable[[dict[str, Any]], Any], images: Sequence[Image.Image]) -> Image.Image:
    """Calculates an image from others, which the formula gets as `a`, `b` and so on."""
    result = ImageMath.lambda_eval(formula, **dict(zip("abcd", images, strict=False)))
    return cast("Image.Image", result)


def _weighted_sum(weights: Sequence[float]) -> Callable[[dict[str, Any]], Any]:
    red, green, blue = weights
    return lambda x: x["a"] * red + x["b"] * green + x["c"] * blue


def _tone_mapped(light: list[Image.Image], encoding: ColorEncoding) -> list[Image.Image]:
    """Scales each pixel's light so that its brightest channel is below 1; diffuse white becomes `_EXPOSURE`."""
    if encoding.transfer is Transfer.HLG:
        # The light of the scene; a display shows more contrast (BT.2100, table 5).
        luminance = _math(_weighted_sum(_matrix_to_xyz(encoding.chromaticities)[1]), light)
        gain = _HLG_PEAK_CD_M2 / _DIFFUSE_WHITE_CD_M2 * _EXPOSURE
        light = [
            _math(lambda x: x["a"] * x["b"] ** (_HLG_SYSTEM_GAMMA - 1) * gain, [one, luminance]) for one in light
        ]
    else:
        gain = _PQ_PEAK_CD_M2 / _DIFFUSE_WHITE_CD_M2 * _EXPOSURE
        light = [_math(lambda x: x["a"] * gain, [one]) for one in light]
    brightest = _math(lambda x: x["max"](x["max"](x["a"], x["b"]), x["c"]), light)
    room = 1 - _EXPOSURE
    over = _math(lambda x: x["max"](x["a"] - _EXPOSURE, 0) / room, [brightest])
    rolled_off = _math(lambda x: x["min"](x["a"], _EXPOSURE) + x["b"] * room / (x["b"] + 1), [brightest, over])
    return [_math(lambda x: x["a"] * x["b"] / x["c"], [one, rolled_off, brightest]) for one in light]


def _into_gamut(light: list[Image.Image]) -> list[Image.Image]:
    """Mixes each color with the gray of its luminance, no more than it takes to be within 0 and 1."""
    gray = _math(lambda x: x["min"](x["a"] * 0.2126 + x["b"] * 0.7152 + x["c"] * 0.0722, 1), light)
    low = _math(lambda x: x["min"](x["min"](x["min"](x["a"], x["b"]), x["c"]), 0), light)
    high = _math(lambda x: x["max"](x["max"](x["max"](x["a"], x["b"]), x["c"]), 1), light)
    keep = _math(
        # Each quotient is 1 if nothing is out of range. A division by 0, which gives 0, is one of black or white.
        lambda x: x["min"](x["a"] / (x["a"] - x["b"]), (x["a"] * -1 + 1) / (x["c"] - x["a"])),
        [gray, low, high],
    )
    return [_math(lambda x: x["b"] + (x["a"] - x["b"]) * x["c"], [one, gray, keep]) for one in light]


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _are_close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) < 0.002 for a, b in zip(one, other, strict=True))  # noqa: PLR2004  # rounded by writers


def _decode(transfer: Transfer | float, code: float) -> float:
    """Light of a code between 0 and 1: a share of the brightest, for HLG of the scene's."""
    match transfer:
        case Transfer.SRGB:
            return _decode_srgb(code)
        case Transfer.PQ:
            return _decode_pq(code)
        case Transfer.HLG:
            return _decode_hlg(code)
        case Transfer.BT709:
            return math.pow(code, 2.4)  # as displays show it (BT.1886), not as cameras record it
        case Transfer.SMPTE_240M:
            return code / 4 if code < 0.0913 else math.pow((code + 0.1115) / 1.1115, 1 / 0.45)  # noqa: PLR2004
        case Transfer.SMPTE_428:
            return math.pow(code, 2.6) * 52.37 / 48
        case Transfer.LINEAR:
            return code
        case Transfer.GAMMA_22:
            return math.pow(code, 2.2)
        case Transfer.GAMMA_28:
            return math.pow(code, 2.8)
        case power:
            return math.pow(code, power)


def _decode_srgb(code: float) -> float:
    return code / 12.92 if code <= 0.04045 else math.pow((code + 0.055) / 1.055, 2.4)  # noqa: PLR2004  # IEC 61966-2-1


def _encode_srgb(light: float) -> float:
    """Clips to 0 and 1."""
    if light <= 0.0031308:  # noqa: PLR2004  # IEC 61966-2-1
        return max(0.0, light * 12.92)
    return min(1.0, 1.055 * math.pow(light, 1 / 2.4) - 0.055)


def _decode_pq(code: float) -> float:
    root = math.pow(code, 1 / 78.84375)
    return math.pow(max(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root), 1 / 0.1593017578125)


def _decode_hlg(code: float) -> float:
    if code <= 0.5:  # noqa: PLR2004  # BT.2100
        return code * code / 3
    return (math.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12


def _matrix_to_bt709(chromaticities: tuple[float, ...]) -> Matrix:
    """From linear RGB of these primaries to linear BT.709, white staying white. Raises: ZeroDivisionError."""
    return _product(
        _inverse(_matrix_to_xyz(_BT709)), _product(_adaptation(chromaticities), _matrix_to_xyz(chromaticities))
    )


def _matrix_to_xyz(chromaticities: tuple[float, ...]) -> Matrix:
    white, *primaries = (_xyz(*chromaticities[at : at + 2]) for at in range(0, 8, 2))
    columns = tuple(zip(*primaries, strict=True))
    scale = _apply(_inverse(columns), white)
    return tuple((row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]) for row in columns)


def _adaptation(chromaticities: tuple[float, ...]) -> Matrix:
    """Bradford's chromatic adaptation, from that white to D65."""
    source, target = _apply(_BRADFORD, _xyz(*chromaticities[:2])), _apply(_BRADFORD, _xyz(*_D65))
    scaled = tuple(
        (row[0] * to / of, row[1] * to / of, row[2] * to / of)
        for row, to, of in zip(_BRADFORD, target, source, strict=True)
    )
    return _product(_inverse(_BRADFORD), scaled)


def _xyz(x: float, y: float) -> Color:
    return x / y, 1.0, (1 - x - y) / y


def _apply(matrix: Matrix, vector: Color) -> Color:
    first, second, third = vector
    red, green, blue = (row[0] * first + row[1] * second + row[2] * third for row in matrix)
    return red, green, blue


def _product(one: Matrix, other: Matrix) -> Matrix:
    columns = [_apply(one, (column[0], column[1], column[2])) for column in zip(*other, strict=True)]
    return tuple(zip(*columns, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return tuple((row[0] / determinant, row[1] / determinant, row[2] / determinant) for row in cofactors)
