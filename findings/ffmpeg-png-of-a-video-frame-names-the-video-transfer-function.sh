#!/usr/bin/env bash
# A PNG that FFmpeg makes of a BT.709 video frame says that it has the video's transfer function, in three chunks.
#
# Versions: PyAV (av) 16.1.0 with its FFmpeg libraries; Python 3.11.
# Guess:    the PNG has no colour chunks, as those of screenshot tools and of Pillow; players show a BT.709 video
#           as if its values were sRGB, so such a PNG looks like the frame did.
# Happens:  it has cICP (primaries 1, transfer 1), cHRM and gAMA 0.50994, where sRGB would be 0.45455. Whoever
#           believes a chunk converts by the camera's curve: mid grey gets darker than the video showed it.
# Matters:  a still taken from a video as the next video's first frame darkens step by step, at every colour-managed
#           reader on the way. Tag the frame as unknown before it is encoded.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==16.1.0

cat > "$work/recorded" <<'RECORDED'
untagged: IHDR pHYs IDAT IEND
BT.709: IHDR pHYs cICP cHRM gAMA IDAT IEND
  cICP says [1, 1, 0, 1]
  gAMA says 0.50994
RECORDED

cat > "$work/run.py" <<'PYTHON'
import struct
from fractions import Fraction

import av


def gray(tag):
    """A gray frame, tagged by FFmpeg's own filter as a decoder would tag it."""
    frame = av.VideoFrame(32, 32, "rgb24")
    frame.planes[0].update(bytes([128]) * frame.planes[0].buffer_size)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=32, height=32, format="rgb24", time_base=Fraction(1, 25))
    tagged = graph.add("setparams", color_trc=tag, color_primaries=tag)
    graph.link_nodes(source, tagged, graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def chunks(png):
    at, found = 8, []
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8].decode(), png[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


for name, tag in {"untagged": "unknown", "BT.709": "bt709"}.items():
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 32, 32, "rgb24"
    encoder.time_base = Fraction(1, 25)
    packets = [*encoder.encode(gray(tag)), *encoder.encode(None)]
    found = chunks(b"".join(map(bytes, packets)))
    print(f"{name}:", *(kind for kind, _ in found))
    for kind, data in found:
        if kind == "cICP":
            print("  cICP says", list(data))
        if kind == "gAMA":
            print("  gAMA says", struct.unpack(">I", data)[0] / 100000)
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
