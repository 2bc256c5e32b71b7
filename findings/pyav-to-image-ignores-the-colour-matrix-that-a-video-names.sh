#!/usr/bin/env bash
# PyAV turns a frame tagged BT.709 into RGB as if it were BT.601, also when it is told the right source.
#
# Versions: PyAV (av) 16.1.0 with its FFmpeg libraries, Pillow 13.0.0; Python 3.11.
# Guess:    `to_image()` obeys the colour matrix that the file carries, and `src_colorspace` overrides it.
# Happens:  (200, 30, 60) comes back as (184, 9, 59). Naming the source helps only on a frame without the tag, and
#           `dst_colorspace="ITU601"` only on one with it.
# Matters:  HD videos are usually tagged BT.709. A thumbnail, or a next video that starts from the last frame of one,
#           has its colours shifted, a little more with each step.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    av==16.1.0 pillow==13.0.0

cat > "$work/recorded" <<'RECORDED'
colorspace 2 color_range 0
  to_image {} (184, 9, 59)
  to_image {'src_colorspace': 'ITU709'} (198, 29, 59)
  to_image {'dst_colorspace': 'ITU601'} (184, 9, 59)
colorspace 1 color_range 1
  to_image {} (184, 9, 59)
  to_image {'src_colorspace': 'ITU709'} (184, 9, 59)
  to_image {'dst_colorspace': 'ITU601'} (198, 29, 59)
RECORDED

cat > "$work/run.py" <<'PYTHON'
import io

import av
from PIL import Image

BT709, LIMITED = 1, 1
SIZE = (1280, 720)


def first_frame(*, tagged):
    """A real BT.709 video of one colour, with or without its tags."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        if tagged:
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = LIMITED
        picture = av.VideoFrame.from_image(Image.new("RGB", SIZE, (200, 30, 60)))
        frame = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        video.mux(stream.encode(frame))
        video.mux(stream.encode())
    return next(av.open(io.BytesIO(file.getvalue())).decode(video=0))


for tagged in (False, True):
    frame = first_frame(tagged=tagged)
    print("colorspace", frame.colorspace, "color_range", frame.color_range)
    for options in ({}, {"src_colorspace": "ITU709"}, {"dst_colorspace": "ITU601"}):
        print("  to_image", options, frame.to_image(**options).getpixel((9, 9)))
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
