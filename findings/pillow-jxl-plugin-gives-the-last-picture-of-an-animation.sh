#!/usr/bin/env bash
# Pillow's JPEG XL plugin gives the last picture of an animation, and says that it is the only one.
#
# Versions: pillow-jxl-plugin 1.3.8, Pillow 13.0.0, imagecodecs 2026.3.6 (writes the file); Python 3.11.
# Guess:    the first picture, as Pillow gives of every other animated format, and `n_frames` of 3 or an error.
# Happens:  the pixels of the last picture, with `n_frames` 1 and `is_animated` false; `seek(1)` fails.
# Matters:  a bot that takes an upload's first picture shows its member the end of the animation instead, and can't
#           tell it from a still.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    pillow-jxl-plugin==1.3.8 pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6

cat > "$work/recorded" <<'RECORDED'
PNG (255, 0, 0) is_animated True n_frames 3
WEBP (255, 0, 0) is_animated True n_frames 3
JPEG XL (0, 0, 255) is_animated False n_frames 1
JPEG XL has no second picture
RECORDED

cat > "$work/run.py" <<'PYTHON'
import io

import imagecodecs
import numpy
import pillow_jxl  # registers its plugin
from PIL import Image

pictures = [Image.new("RGB", (32, 32), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
files = {}
for kind in ("PNG", "WEBP"):
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    files[kind] = file.getvalue()
stack = numpy.stack([numpy.asarray(picture) for picture in pictures])
files["JPEG XL"] = imagecodecs.jpegxl_encode(stack, lossless=True, photometric="rgb")

for kind, data in files.items():
    with Image.open(io.BytesIO(data)) as opened:
        pixel = opened.convert("RGB").getpixel((16, 16))
        print(kind, pixel, "is_animated", opened.is_animated, "n_frames", opened.n_frames)
        try:
            opened.seek(1)
        except EOFError:
            print(kind, "has no second picture")
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
