"""Reads the colors that an HEVC stream declares in itself: of a HEIC without a profile that is all there is.

libheif, which decodes these, reports only the container's color boxes. Pure. Source: ITU-T H.265, 7.3 and annex E.
"""

_SPS_UNIT = 33  # the type of a sequence parameter set
_EXTENDED_SAR = 255
_CHROMA_444 = 3
_MAX_BITS = 96  # of one number, or of fields that are skipped as one
_MAX_ZEROS = 32  # before a number; more can't be meant
_MAX_SPS_BYTES = 4096  # real ones have some 50


class _Bits:
    """Reads numbers bit by bit. Raises: IndexError past the end, ValueError if a number is impossible."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, bits: int) -> int:
        if bits > _MAX_BITS:
            raise ValueError("no such field")
        value = 0
        for at in range(self._at, self._at + bits):
            value = value << 1 | self._data[at >> 3] >> (7 - (at & 7)) & 1
        self._at += bits
        return value

    def golomb(self) -> int:
        """An Exp-Golomb code."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > _MAX_ZEROS:
                raise ValueError("no Exp-Golomb code")
        return (1 << zeros) - 1 + self.number(zeros)

    def skip_golombs(self, count: int) -> None:
        for _ in range(count):
            self.golomb()


def color_description(heic: bytes) -> tuple[int, int] | None:
    """CICP's primaries and transfer of the first stream in a HEIC; None if it declares none, or can't be read."""
    start = heic.find(b"hvcC")
    if start < 0:
        return None
    try:
        unit = _first_sps(heic[start + 4 : start + int.from_bytes(heic[start - 4 : start], "big") - 4])
        return None if unit is None else _read_sps(_Bits(unit.replace(b"\0\0\3", b"\0\0")))
    except (IndexError, ValueError):
        return None


def _first_sps(configuration: bytes) -> bytes | None:
    """The payload of the first sequence parameter set. Source: ISO/IEC 14496-15, 8.3.3.1."""
    at = 23
    for _ in range(configuration[22]):
        unit_type, count = configuration[at] & 63, int.from_bytes(configuration[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            length = int.from_bytes(configuration[at : at + 2], "big")
            if unit_type == _SPS_UNIT:
                return configuration[
                    at + 4 : at + 2 + min(length, _MAX_SPS_BYTES)
                ]  # without the unit's own header of two bytes
            at += 2 + length
    return None


def _read_sps(bits: _Bits) -> tuple[int, int] | None:
    bits.number(4)
    sub_layers = bits.number(3)
    bits.number(1)
    _skip_profile(bits, sub_layers)
    bits.golomb()
    if bits.golomb() == _CHROMA_444:
        bits.number(1)
    bits.skip_golombs(2)  # the size
    if bits.number(1):
        bits.skip_golombs(4)  # the cropping
    bits.skip_golombs(2)
    count_bits = bits.golomb() + 4
    for _ in range(sub_layers + 1 if bits.number(1) else 1):
        bits.skip_golombs(3)
    bits.skip_golombs(6)
    if bits.number(1) and bits.number(1):
        _skip_scaling_lists(bits)
    bits.number(2)
    if bits.number(1):
        bits.number(8)
        bits.skip_golombs(2)
        bits.number(1)
    _skip_reference_sets(bits)
    if bits.number(1):
        for _ in range(bits.golomb()):
            bits.number(count_bits + 1)
    bits.number(2)
    return _read_vui(bits) if bits.number(1) else None


def _skip_profile(bits: _Bits, sub_layers: int) -> None:
    bits.number(96)
    present = [(bits.number(1), bits.number(1)) for _ in range(8 if sub_layers else 0)][:sub_layers]
    for has_profile, has_level in present:
        bits.number(88 * has_profile + 8 * has_level)


def _skip_scaling_lists(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):  # noqa: PLR2004  # the largest size has two lists
            if not bits.number(1):
                bits.golomb()
            else:
                bits.skip_golombs(min(64, 1 << (4 + 2 * size)) + (size > 1))


def _skip_reference_sets(bits: _Bits) -> None:
    previous = 0
    for index in range(bits.golomb()):
        if index and bits.number(1):
            bits.number(1)
            bits.golomb()
            kept = 0
            for _ in range(previous + 1):
                is_used = bits.number(1)
                kept += is_used or bits.number(1)
            previous = kept
        else:
            previous = bits.golomb() + bits.golomb()
            for _ in range(previous):
                bits.golomb()
                bits.number(1)


def _read_vui(bits: _Bits) -> tuple[int, int] | None:
    if bits.number(1) and bits.number(8) == _EXTENDED_SAR:
        bits.number(32)
    if bits.number(1):
        bits.number(1)
    if not bits.number(1):
        return None
    bits.number(4)
    return (bits.number(8), bits.number(8)) if bits.number(1) else None
