#!/usr/bin/env bash
# An MP4 with B-frames and uneven frame times reports a duration far shorter than the video is.
#
# Versions: PyAV (av) 16.1.0 with its FFmpeg libraries and libx264, Pillow 13.0.0; Python 3.11.
# Guess:    `duration` is where the last frame ends, and a frame's `duration` reaches to the next frame.
# Happens:  frames at 0, 0.1, 0.2, 0.3 and 4.0 s make a "0.5 s" MP4, and the frame at 0.3 s "lasts" 0.1 s. (An MP4 keeps
#           times in decoding order, where B-frames come after the later frame that they need.) Without B-frames the
#           MP4 says 4.1 s, and so does Matroska with them.
# Matters:  a bot that checks that a video is five seconds long, or derives a bit rate from an upload limit and the
#           duration, gets the right answer only from the frames' times.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    av==16.1.0 pillow==13.0.0

cat > "$work/recorded" <<'RECORDED'
mp4 {} container: 0.5 s
  frames at [0.0, 0.1, 0.2, 0.3, 4.0]
  each lasts [0.1, 0.1, 0.1, 0.1, 0.1]
mp4 {'bf': '0'} container: 4.1 s
  frames at [0.0, 0.1, 0.2, 0.3, 4.0]
  each lasts [0.1, 0.1, 0.1, 3.7, 0.1]
matroska {} container: 4.1 s
  frames at [0.0, 0.1, 0.2, 0.3, 4.0]
  each lasts [0.1, 0.1, 0.1, 0.1, 0.1]
RECORDED

cat > "$work/run.py" <<'PYTHON'
import io
from fractions import Fraction

import av
from PIL import Image


def show(container, options):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as video:
        stream = video.add_stream("libx264", rate=10, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number, tenths in enumerate((0, 1, 2, 3, 40)):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 64), (number * 40, 40, 90)))
            frame.pts, frame.time_base = tenths, Fraction(1, 10)
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    with av.open(io.BytesIO(file.getvalue())) as video:
        frames = list(video.decode(video=0))
        print(container, options, "container:", video.duration / av.time_base, "s")
        print("  frames at", [round(frame.time, 2) for frame in frames])
        print("  each lasts", [round(float(frame.duration * frame.time_base), 2) for frame in frames])


show("mp4", {})
show("mp4", {"bf": "0"})
show("matroska", {})
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
