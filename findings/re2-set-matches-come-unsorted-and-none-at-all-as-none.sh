#!/usr/bin/env bash
# google-re2's Set returns the matching patterns unsorted, and None instead of an empty list.
#
# Versions: google-re2 1.1.20251105; Python 3.11.
# Guess:    `Match` returns the indices in ascending order, and an empty list when nothing matches.
# Happens:  the same four patterns match the same four words, and the result follows the order in the text.
#           No match gives None, which a loop cannot take.
# Matters:  a bot that tells an admin which of their rules matched first has to sort, and one that loops over the result
#           without `or []` fails on every harmless prompt.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    google-re2==1.1.20251105

cat > "$work/recorded" <<'RECORDED'
'cat dog bird fish' [0, 1, 2, 3]
'fish bird dog cat' [3, 2, 1, 0]
'a dog' [1]
'nothing of it' None
'' None
RECORDED

cat > "$work/run.py" <<'PYTHON'
import re2

rules = re2.Set.SearchSet()
for word in ("cat", "dog", "bird", "fish"):
    rules.Add(word)
rules.Compile()
for text in ("cat dog bird fish", "fish bird dog cat", "a dog", "nothing of it", ""):
    print(repr(text), rules.Match(text))
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
