#!/usr/bin/env bash
# python-dotenv replaces ${NAME} inside single quotes too, and pydantic-settings inherits it.
#
# Versions: python-dotenv 1.2.4, pydantic-settings 2.16.3, pydantic 2.14.3; Python 3.11.
# Guess:    single quotes keep the text as it is, as in a shell, and a backslash or a second $ protects a ${.
# Happens:  ${word} is replaced with single, double and no quotes, by nothing when no such variable is set. Neither a
#           backslash nor $$ protects it. A plain $word stays.
# Matters:  a database password with "${...}" in it reaches the bot shortened, and the error is only "wrong password".
#           None of the ways tried here writes it in the file; the real environment takes it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-dotenv==1.2.4 pydantic-settings==2.16.3 pydantic==2.14.3

cat > "$work/recorded" <<'RECORDED'
'pass${word}1'     -> pass1
"pass${word}1"     -> pass1
pass${word}1       -> pass1
'pass\${word}1'    -> pass\1
'pass$${word}1'    -> pass$1
'pass$word1'       -> pass$word1
RECORDED

cat > "$work/run.py" <<'PYTHON'
import os
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

os.environ.pop("word", None)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file="settings.env")
    value: str


for line in ("'pass${word}1'", '"pass${word}1"', "pass${word}1", r"'pass\${word}1'", "'pass$${word}1'", "'pass$word1'"):
    Path("settings.env").write_text(f"VALUE={line}\n", encoding="utf-8")
    print(f"{line:18} -> {Settings().value}")
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
