"""Files made to harm a decoder, by name."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parents[1] / "pictures"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PAYLOAD = b"<script>alert('zoetrope')</script>"


def sample(name: str) -> bytes:
    """One of the test pictures."""
    return (PICTURES / name).read_bytes()


def encoded(format_: str, size: tuple[int, int] = (500, 400), **options: object) -> bytes:
    """A picture of one color, in a format of Pillow."""
    file = BytesIO()
    Image.new("RGB", size, "teal").save(file, format_, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_header(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """The IHDR chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def png_with(*chunks: bytes) -> bytes:
    """A valid PNG with more chunks after its header."""
    valid = encoded("PNG")
    return valid[:33] + b"".join(chunks) + valid[33:]


def zeros(megabytes: int) -> bytes:
    """That many megabytes of zeros, compressed with deflate to a thousandth."""
    compressor, million = zlib.compressobj(), bytes(1 << 20)
    return b"".join(compressor.compress(million) for _ in range(megabytes)) + compressor.flush()


def tiff(*entries: tuple[int, int, int, int], following: int = 0, data: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory. entries: tag, type, count, value. following: the next offset."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + data


def gray_tiff(**changes: int) -> list[tuple[int, int, int, int]]:
    """The entries of a gray TIFF of 500×400 in one strip after its directory, some of them changed."""
    fields = {
        "width": (256, 4, 1, 500), "height": (257, 4, 1, 400), "bits": (258, 3, 1, 8),
        "compression": (259, 3, 1, 1), "photometric": (262, 3, 1, 1),
        "offset": (273, 4, 1, 200), "samples": (277, 3, 1, 1),
        "rows": (278, 4, 1, 400), "bytes": (279, 4, 1, 200_000),
    }  # fmt: skip
    return [(*entry[:3], changes.get(name, entry[3])) for name, entry in fields.items()]


def tiff_chain(length: int) -> bytes:
    """A TIFF of many directories, each pointing to the next."""
    entries = b"".join(struct.pack("<HHII", *entry) for entry in gray_tiff())
    size = 2 + len(entries) + 4
    directory = struct.pack("<H", len(gray_tiff())) + entries
    return b"II*\0\x08\0\0\0" + b"".join(directory + struct.pack("<I", 8 + size * n) for n in range(1, length + 1))


def exif(*entries: tuple[int, int, int, int]) -> bytes:
    """An EXIF block."""
    return b"Exif\0\0" + tiff(*entries)


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """A valid JPEG with more segments after its start."""
    valid = encoded("JPEG")
    more = b"".join(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments)
    return valid[:2] + more + valid[2:]


def jpeg_sized(width: int, height: int) -> bytes:
    """A valid JPEG whose header declares another size."""
    valid = bytearray(encoded("JPEG"))
    at = valid.index(b"\xff\xc0") + 5
    valid[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(valid)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    valid = encoded("JPEG", (2000, 1500), progressive=True)
    last = valid.rindex(b"\xff\xda")
    return valid[:-2] + valid[last:-2] * count + valid[-2:]


def iso_media_sized(name: str, width: int, height: int) -> bytes:
    """A HEIC or AVIF that declares another size."""
    valid = bytearray(sample(name))
    at = valid.index(b"ispe") + 8
    valid[at : at + 8] = struct.pack(">II", width, height)
    return bytes(valid)


def gif(canvas: tuple[int, int], image: tuple[int, int], pictures: int = 1) -> bytes:
    """A GIF with these sizes instead of its own, its picture repeated."""
    valid = bytearray(encoded("GIF"))
    at = valid.index(b"\x2c" + struct.pack("<HHHH", 0, 0, 500, 400))
    valid[6:10], valid[at + 5 : at + 9] = struct.pack("<HH", *canvas), struct.pack("<HH", *image)
    return bytes(valid[:at] + valid[at:-1] * pictures + valid[-1:])


def apng(pictures: int, declared: int) -> bytes:
    """An animated PNG with `pictures` small frames, which declares `declared`."""
    control = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 0, 1, 0, 0)
    valid = encoded("PNG")
    first = chunk(b"acTL", struct.pack(">II", declared, 0))
    many = (chunk(b"fcTL", control) + chunk(b"fdAT", bytes(4) + zlib.compress(bytes(4)))) * pictures
    return valid[:33] + first + valid[33:-12] + many + valid[-12:]


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WEBP of these chunks."""
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def vp8x(width: int, height: int) -> bytes:
    """The content of a VP8X chunk: the canvas size of a WEBP, each side as 24 bits less one."""
    return b"\x12\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def icc(content: bytes) -> bytes:
    """A color profile with a valid header."""
    start = struct.pack(">I4sI4s4s4s", 128 + len(content), b"none", 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    return (start + bytes(12) + b"acsp").ljust(128, b"\0") + content


def bmp(width: int, height: int, *, bits: int = 24, compression: int = 0, data: bytes = b"") -> bytes:
    """A BMP that declares these sides."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data


# Most are a few KB, none is more than a few MB.
BOMBS: dict[str, Callable[[], bytes]] = {
    "a PNG of 60,000×60,000": lambda: PNG_MAGIC + png_header(60_000, 60_000, 1, 0) + chunk(b"IDAT", zeros(1)),
    "a PNG with sides of 2^31 pixels": lambda: PNG_MAGIC + png_header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b""),
    "a small PNG with 200 MB of pixels": lambda: PNG_MAGIC + png_header(500, 400) + chunk(b"IDAT", zeros(200)),
    "100 MB of text in a PNG": lambda: png_with(chunk(b"zTXt", b"Comment\0\0" + zeros(100))),
    "100 MB of international text": lambda: png_with(chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros(100))),
    "50,000 texts in a PNG": lambda: png_with(chunk(b"tEXt", b"Comment\0x") * 50_000),
    "60 texts of a megabyte each": lambda: png_with(chunk(b"zTXt", b"Comment\0\0" + zeros(1)) * 60),
    "a text of 10 MB": lambda: png_with(chunk(b"tEXt", b"Comment\0" + bytes(10_000_000))),
    "a profile of 100 MB in a PNG": lambda: png_with(chunk(b"iCCP", b"profile\0\0" + zeros(100))),
    "10,000 empty IDAT chunks in a PNG": lambda: png_with(chunk(b"IDAT", b"") * 10_000),
    "a PNG that declares a million frames": lambda: apng(0, 1_000_000),
    "20,000 frames in a PNG": lambda: apng(20_000, 20_000),
    "a GIF of 65,535×65,535": lambda: gif((65_535, 65_535), (65_535, 65_535)),
    "a small GIF with a large frame": lambda: gif((500, 400), (65_535, 65_535)),
    "5,000 frames in a GIF": lambda: gif((500, 400), (500, 400), 5_000),
    "a GIF whose blocks never end": lambda: gif((500, 400), (500, 400))[:-2] + b"\xff" * 100_000,
    "a WEBP that declares sides of 16 million pixels": lambda: webp((b"VP8X", vp8x(1 << 24, 1 << 24))),
    "a WEBP whose canvas is larger than its picture": lambda: webp(
        (b"VP8X", vp8x(9_000, 9_000)), (b"VP8L", sample("lossless.webp")[20:])
    ),
    "a strip of 4 GB in a TIFF": lambda: tiff(*gray_tiff(bytes=0xFFFFFFFF), data=bytes(1000)),
    "4 billion rows in a strip": lambda: tiff(*gray_tiff(rows=0xFFFFFFFF), data=bytes(300_000)),
    "4 billion rows, compressed": lambda: tiff(*gray_tiff(rows=0xFFFFFFFF, compression=8), data=zeros(1)),
    "a compressed strip of 200 MB": lambda: tiff(*gray_tiff(compression=8, offset=122), data=zeros(200)),
    "a TIFF of 4 billion columns": lambda: tiff(*gray_tiff(width=0xFFFFFFFF), data=bytes(1000)),
    "65,535 samples per pixel": lambda: tiff(*gray_tiff(samples=65_535), data=bytes(1000)),
    "65,535 bits per sample": lambda: tiff(*gray_tiff(bits=65_535), data=bytes(1000)),
    "a list of 4 billion strips": lambda: tiff(*gray_tiff(), (700, 4, 0xFFFFFFFF, 8), data=bytes(300_000)),
    "a loop of TIFF directories": lambda: tiff(*gray_tiff(), following=8, data=bytes(300_000)),
    "a recursive directory": lambda: tiff(*gray_tiff(), (330, 4, 1, 8), (34665, 4, 1, 8), data=bytes(300_000)),
    "20,000 TIFF directories": lambda: tiff_chain(20_000),
    "a HEIC of 60,000×60,000": lambda: iso_media_sized("photo.heic", 60_000, 60_000),
    "a HEIC that declares 100 megapixels": lambda: iso_media_sized("photo.heic", 12_000, 8_000),
    "an AVIF of 60,000×60,000": lambda: iso_media_sized("ten_bit.avif", 60_000, 60_000),
    "an AVIF that declares 100 megapixels": lambda: iso_media_sized("ten_bit.avif", 12_000, 8_000),
    "a HEIC box of 2^63 bytes": lambda: sample("photo.heic")[:24] + b"\0\0\0\1meta\x7f" + b"\xff" * 7 + bytes(999),
    "a JPEG of 65,500×65,500": lambda: jpeg_sized(65_500, 65_500),
    "a JPEG that is smaller than declared": lambda: jpeg_sized(9_000, 9_000),
    "5,000 scans in a JPEG": lambda: jpeg_of_scans(5_000),
    "500 scans in a JPEG": lambda: jpeg_of_scans(500),
    "100,000 comments in a JPEG": lambda: jpeg_with(*[(0xFE, b"x")] * 100_000),
    "200 full application segments in a JPEG": lambda: jpeg_with(*[(0xE5, bytes(65_533))] * 200),
    "recursive EXIF": lambda: jpeg_with((0xE1, exif((34665, 4, 1, 8), (34853, 4, 1, 8), (274, 3, 1, 6)))),
    "EXIF with 4 billion values": lambda: jpeg_with((0xE1, exif((270, 2, 0xFFFFFFFF, 8), (274, 3, 1, 6)))),
    "a loop of EXIF directories": lambda: jpeg_with((0xE1, b"Exif\0\0" + tiff((274, 3, 1, 6), following=8))),
    "EXIF with 5,000 orientations": lambda: jpeg_with((0xE1, exif(*[(274, 3, 1, 6)] * 5_000))),
    "EXIF of zeros": lambda: jpeg_with((0xE1, b"Exif\0\0" + bytes(60_000))),
    "recursive EXIF in a PNG": lambda: png_with(chunk(b"eXIf", exif((34665, 4, 1, 8))[6:])),
    "a recursive MPF index": lambda: jpeg_with((0xE2, b"MPF\0" + tiff((45057, 4, 1, 0xFFFFFFF), following=8))),
    "a color profile of zeros": lambda: encoded("JPEG", icc_profile=bytes(5_000)),
    "a color profile with 4 billion tags": lambda: encoded("PNG", icc_profile=icc(b"\xff" * 5_000)),
    "a color profile with a table of 255^4 entries": lambda: encoded(
        "PNG",
        icc_profile=icc(struct.pack(">I4sII", 1, b"A2B0", 144, 2412) + b"mft2" + bytes(4) + b"\x04\x03\xff" * 800),
    ),
    "one of 255 parts of a color profile": lambda: jpeg_with((0xE2, b"ICC_PROFILE\0\x01\xff" + icc(b""))),
    "a BMP with sides of -2^31": lambda: bmp(-(2**31), -(2**31), data=bytes(1000)),
    "a BMP with sides of 2^31": lambda: bmp(2**31 - 1, 2**31 - 1, data=bytes(1000)),
    "a BMP of 90 megapixels without pixel data": lambda: bmp(9_500, 9_500, bits=8, compression=1, data=b"\0\1"),
    "a truncated BMP with a negative height": lambda: bmp(9_000, -9_000, data=bytes(1000)),
}  # fmt: skip

NOT_PICTURES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "an SVG": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
    "an XML bomb": lambda: b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>',
    "HTML": lambda: b"<!doctype html><html>" + PAYLOAD,
    "a PDF": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 500 500\nsystemdict /getenv get",
    "a ZIP": lambda: b"PK\x03\x04" + bytes(100),
    "an EXE": lambda: b"MZ\x90\0" + bytes(1000),
    "an ELF": lambda: b"\x7fELF\x02\x01\x01" + bytes(1000),
    "a playlist": lambda: b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n",
    "a shell script": lambda: b"#!/bin/sh\nid\n",
    "an ImageMagick script": lambda: b"push graphic-context\nfill 'url(https://127.0.0.1/)'\n",
    "a font": lambda: b"\0\1\0\0" + bytes(200),
    "a Flash file": lambda: b"CWS\x0a" + bytes(100),
}

POLYGLOTS: dict[str, Callable[[], bytes]] = {
    "a GIF that is also a script": lambda: gif((0x2A2F, 4096), (500, 400))[:-1] + b"*/=1;" + PAYLOAD,
    "a JPEG followed by a ZIP": lambda: encoded("JPEG") + b"PK\x03\x04" + PAYLOAD + b"PK\x05\x06" + bytes(18),
    "a PNG followed by HTML": lambda: encoded("PNG") + b"<html>" + PAYLOAD,
    "a PNG with a script as its text": lambda: png_with(chunk(b"tEXt", b"Comment\0" + PAYLOAD)),
    "a JPEG with a script as its comment": lambda: jpeg_with((0xFE, PAYLOAD)),
    "a WEBP followed by a script": lambda: encoded("WEBP") + PAYLOAD,
    "a BMP followed by a script": lambda: encoded("BMP") + PAYLOAD,
    "a TIFF that contains a script": lambda: tiff(*gray_tiff(), data=bytes(300_000) + PAYLOAD),
}
