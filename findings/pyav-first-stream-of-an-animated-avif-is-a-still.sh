#!/usr/bin/env bash
# PyAV's first video stream of an animated AVIF is a still picture; the animation is the second one.
#
# Versions: PyAV (av) 16.1.0 with its FFmpeg libraries, Pillow 13.0.0 (writes the file); Python 3.11.
# Guess:    one video stream with three frames, as for the same animation saved as GIF or APNG.
# Happens:  `decode(video=0)`, the usual call, gives one frame that lasts a second. The three frames are in
#           `decode(video=1)`, and `streams.best("video")` finds them.
# Matters:  a bot that reads animated pictures with PyAV takes an animated AVIF for a still of one second.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    av==16.1.0 pillow==13.0.0

cat > "$work/recorded" <<'RECORDED'
GIF streams: 1 best: 0
  stream 0 lasts [0.1, 0.2, 0.3]
PNG streams: 1 best: 0
  stream 0 lasts [0.1, 0.2, 0.3]
AVIF streams: 2 best: 1
  stream 0 lasts [1.0]
  stream 1 lasts [0.1, 0.2, 0.3]
RECORDED

cat > "$work/run.py" <<'PYTHON'
import io

import av
from PIL import Image

first, *others = (Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue"))
for kind in ("GIF", "PNG", "AVIF"):
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=others, duration=[100, 200, 300])
    with av.open(io.BytesIO(file.getvalue())) as video:
        streams = len(video.streams.video)
        print(kind, "streams:", streams, "best:", video.streams.best("video").index)
    for number in range(streams):
        with av.open(io.BytesIO(file.getvalue())) as video:
            frames = list(video.decode(video=number))
        print("  stream", number, "lasts", [float(frame.duration * frame.time_base) for frame in frames])
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
