#!/usr/bin/env bash
# A gray TIFF in which 0 is white is inverted by Pillow if it has 8 bits, and stays a negative if it has 16.
#
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6; Python 3.11.
# Guess:    Pillow follows PhotometricInterpretation 0 (WhiteIsZero, which scanners and fax programs write): white is
#           white in every mode that it can open.
# Happens:  of the values of white, gray and black, an 8-bit file is inverted; a 16-bit file (mode I;16) comes as
#           it was stored, and nothing in `info` says so. Only the tag does.
# Matters:  a bot that opens whatever people send gets a negative, without an error; here a video of it would be paid for.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6

cat > "$work/recorded" <<'RECORDED'
uint8 stored [0, 64, 255] opened as L [255, 191, 0] info: compression resolution
uint16 stored [0, 16384, 65535] opened as I;16 [0, 16384, 65535] info: compression resolution
the tag says 0
RECORDED

cat > "$work/run.py" <<'PYTHON'
import io

import numpy
import tifffile
from PIL import Image

for kind, values in (("uint8", [0, 64, 255]), ("uint16", [0, 16384, 65535])):
    file = io.BytesIO()
    tifffile.imwrite(file, numpy.array([values], kind), photometric="miniswhite")
    image = Image.open(io.BytesIO(file.getvalue()))
    seen = [image.getpixel((x, 0)) for x in range(3)]
    print(kind, "stored", values, "opened as", image.mode, seen, "info:", *sorted(set(image.info) - {"dpi"}))
print("the tag says", image.tag_v2[262])
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
