#!/usr/bin/env bash
# A pydantic timedelta takes the number 90 and the text "1d", but not the texts "90", "90s" and "1:30".
#
# Versions: pydantic 2.14.3; Python 3.11.
# Guess:    "90" is ninety seconds, as the number 90 is; "90s" works if "1d" does; "1:30" is an hour and a half.
# Happens:  all three are refused, each as a wrong "day" identifier. "PT90S", "00:01:30" and "1d" are taken.
# Matters:  settings from the environment are always text. A timeout typed as `timedelta` passes every test that gives
#           it a number; the operator who writes TIMEOUT=90 gets an error about days. A float `timeout_s` takes it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    pydantic==2.14.3

cat > "$work/recorded" <<'RECORDED'
90 -> 0:01:30
'90' refused: Input should be a valid timedelta, "day" identifier in duration not correctly formatted
'90s' refused: Input should be a valid timedelta, "day" identifier in duration not correctly formatted
'1:30' refused: Input should be a valid timedelta, "day" identifier in duration not correctly formatted
'00:01:30' -> 0:01:30
'PT90S' -> 0:01:30
'1d' -> 1 day, 0:00:00
RECORDED

cat > "$work/run.py" <<'PYTHON'
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

adapter = TypeAdapter(timedelta)
for value in (90, "90", "90s", "1:30", "00:01:30", "PT90S", "1d"):
    try:
        print(repr(value), "->", adapter.validate_python(value))
    except ValidationError as refused:
        print(repr(value), "refused:", refused.errors()[0]["msg"])
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
