#!/usr/bin/env bash
# asyncpg's error for "none of the hosts is what target_session_attrs asks for" is no PostgresError and no InterfaceError.
#
# Versions: asyncpg 0.32.0; Python 3.11.
# Guess:    everything that asyncpg.connect raises by itself is a PostgresError or an InterfaceError, the two classes
#           that its documentation describes; this one, which concerns the choice of a server, among them.
# Happens:  asyncpg.exceptions.TargetServerAttributeNotMatched is an InternalClientError only. So is
#           ProtocolError, while the error of wrong arguments to connect is an InterfaceError.
# Matters:  a program that waits for a new primary after a failover catches the two, and takes this one, which is all it
#           gets while only standbys answer, for a bug of its own.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    asyncpg==0.32.0

cat > "$work/recorded" <<'RECORDED'
TargetServerAttributeNotMatched PostgresError=False InterfaceError=False InternalClientError=True
ProtocolError PostgresError=False InterfaceError=False InternalClientError=True
ClientConfigurationError PostgresError=False InterfaceError=True InternalClientError=False
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncpg

for name in ("TargetServerAttributeNotMatched", "ProtocolError", "ClientConfigurationError"):
    kind = getattr(asyncpg.exceptions, name)
    known = ("PostgresError", "InterfaceError", "InternalClientError")
    print(name, *(f"{one}={issubclass(kind, getattr(asyncpg, one, None) or getattr(asyncpg.exceptions, one))}" for one in known))
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
