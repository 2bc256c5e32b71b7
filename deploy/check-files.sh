#!/bin/sh
# Checks the files that put the bot on a host with their own linters, which it installs into a temporary folder:
# deploy/check-files.sh. Not a part of `make check`: it needs the internet, and systemd for the units.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --require-hashes --no-deps -r requirements/deploy.txt
PATH="$folder/venv/bin:$PATH"

echo "Dockerfile"
hadolint Dockerfile
echo "compose files"
yamllint --strict compose.yaml compose.postgres.yaml
check-jsonschema --builtin-schema vendor.compose-spec compose.yaml compose.postgres.yaml

# What a unit starts must exist for `verify`; a shell stands in for the bot.
if command -v systemd-analyze >/dev/null; then
  for unit in zoetrope.service zoetrope-worker@.service; do
    echo "$unit"
    sed 's#^ExecStart=[^ ]*#ExecStart=/bin/sh#' "deploy/$unit" >"$folder/$unit"
    systemd-analyze verify "$folder/$unit"
    # In tenths of the exposure level, which goes from 0 to 10.
    systemd-analyze security --offline=yes --threshold=15 "deploy/$unit" | tail -n 1
  done
fi
