#!/usr/bin/env bash
# pillow-heif's lossless quality changes pixels, also with the full colour resolution that its notes ask for.
#
# Versions: pillow-heif 1.8.1, Pillow 13.0.0; Python 3.11.
# Guess:    `quality=-1` with `chroma=444` gives back every pixel as it was.
# Happens:  `quality=-1` alone is off by 4 here. With `chroma=444`, which the notes on that option ask for, pixels are
#           still off by 1. Only `matrix_coefficients=0` (RGB kept as it is) in addition is exact.
# Matters:  a test that makes a "lossless" HEIC to compare its pixels with a bot's first frame fails by one here and
#           there, and the bot gets the blame for it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    pillow-heif==1.8.1 pillow==13.0.0

cat > "$work/recorded" <<'RECORDED'
{'quality': -1} furthest pixel is off by 4
{'quality': -1, 'chroma': 444} furthest pixel is off by 1
{'quality': -1, 'chroma': 444, 'matrix_coefficients': 0} furthest pixel is off by 0
RECORDED

cat > "$work/run.py" <<'PYTHON'
import io

import pillow_heif
from PIL import Image, ImageChops

pillow_heif.register_heif_opener()
ramp = Image.linear_gradient("L").resize((64, 64))
picture = Image.merge("RGB", [ramp, ramp.transpose(Image.Transpose.ROTATE_90), Image.new("L", (64, 64), 90)])
for options in (
    {"quality": -1},
    {"quality": -1, "chroma": 444},
    {"quality": -1, "chroma": 444, "matrix_coefficients": 0},
):
    file = io.BytesIO()
    picture.save(file, "HEIF", **options)
    back = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
    furthest = max(high for _, high in ImageChops.difference(picture, back).getextrema())
    print(options, "furthest pixel is off by", furthest)
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
