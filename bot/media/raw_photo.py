"""Finds the pictures that a camera put into a raw photo. Pure.

A raw photo holds what the sensor saw, which only a raw developer can turn into a picture, and one or more JPEGs of
what the camera made of it. Most are TIFF files in which the first picture is a thumbnail.
Sources: DNG 1.7, TIFF/EP.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import ExifTags, JpegImagePlugin, TiffImagePlugin

_DNG_VERSION = 50706
_JPEG_COMPRESSIONS = frozenset({6, 7})
_SENSOR_PIXELS = frozenset({32803, 34892})  # PhotometricInterpretation: color filter array, linear raw
_MAX_DIRECTORIES = 32

_OTHER_STARTS = (
    (0, b"FUJIFILMCCD-RAW"),
    (0, b"IIRO"),  # Olympus
    (0, b"IIRS"),
    (0, b"IIU\0"),  # Panasonic
    (0, b"FOVb"),  # Sigma
    (4, b"ftypcrx "),  # Canon's CR3
)
_CANON_CR2 = (8, b"CR")


@dataclass(frozen=True, slots=True)
class RawPhoto:
    """previews: the JPEGs inside, largest first. orientation: of the photo, as EXIF counts."""

    previews: tuple[bytes, ...] = ()
    orientation: int = 1


def read_raw_photo(data: bytes) -> RawPhoto | None:
    """What can be shown of a raw photo; None if the file isn't one."""
    if any(data.startswith(start, at) for at, start in _OTHER_STARTS):
        return RawPhoto()
    if not data.startswith((b"II*\0", b"MM\0*")):
        return None
    directories = list(_directories(data))
    if not (
        data.startswith(_CANON_CR2[1], _CANON_CR2[0])
        or any(
            _DNG_VERSION in tags or tags.get(ExifTags.Base.PhotometricInterpretation) in _SENSOR_PIXELS
            for tags in directories
        )
    ):
        return None
    previews = sorted(filter(None, (_preview(data, tags) for tags in directories)), key=_pixel_count, reverse=True)
    orientation = directories[0].get(ExifTags.Base.Orientation) if directories else None
    return RawPhoto(tuple(previews), orientation if isinstance(orientation, int) else 1)


def _directories(data: bytes) -> Iterator[TiffImagePlugin.ImageFileDirectory_v2]:
    """The directories of a TIFF, also those within others; ends at one that can't be read."""
    file, seen = BytesIO(data), set[int]()
    pending = [int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big")]
    while pending and len(seen) < _MAX_DIRECTORIES:
        offset = pending.pop(0)
        is_new = offset not in seen
        seen.add(offset)
        if not is_new or not 0 < offset < len(data):
            continue
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file.seek(offset)
        try:
            tags.load(file)
            inner = tags.get(ExifTags.Base.SubIFDs, ())
        except Exception:  # noqa: BLE001, S112  # broken tags raise nearly anything; other directories may do
            continue
        yield tags
        pending += [*(inner[:_MAX_DIRECTORIES] if isinstance(inner, tuple) else (inner,)), tags.next or 0]


def _preview(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> bytes | None:
    """The JPEG of a directory; None if it has none, or the sensor's."""
    if tags.get(ExifTags.Base.PhotometricInterpretation) in _SENSOR_PIXELS:
        return None
    offset, size = tags.get(ExifTags.Base.JpegIFOffset), tags.get(ExifTags.Base.JpegIFByteCount)
    if offset is None and tags.get(ExifTags.Base.Compression) in _JPEG_COMPRESSIONS:
        offsets, sizes = tags.get(ExifTags.Base.StripOffsets, ()), tags.get(ExifTags.Base.StripByteCounts, ())
        if len(offsets) == len(sizes) == 1:
            (offset,), (size,) = offsets, sizes
    if not isinstance(offset, int) or not isinstance(size, int):
        return None
    preview = data[offset : offset + size]
    return preview if _pixel_count(preview) else None


def _pixel_count(jpeg: bytes) -> int:
    """0 if it is no JPEG, or one of more than 8 bits: the sensor's again, with its tag left out."""
    try:
        width, height = JpegImagePlugin.JpegImageFile(BytesIO(jpeg)).size
    except Exception:  # noqa: BLE001  # several types, all meaning that it can't be read
        return 0
    return width * height
