#!/usr/bin/env bash
# Import Linter never breaks a contract that forbids a package from importing one of its own modules.
#
# Versions: import-linter 2.17, grimp 3.20; Python 3.11.
# Guess:    "source_modules = shop, forbidden_modules = shop.secrets" breaks when shop.orders imports shop.secrets, or
#           is refused as impossible to check.
# Happens:  it is KEPT although the import is there. With "shop.*" or "shop.orders" as the source it is BROKEN.
# Matters:  "nothing in the bot imports this module directly" is just such a rule; written in the obvious way it
#           stays green whatever is imported. Break each contract once to see it fail.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    import-linter==2.17 grimp==3.20

cat > "$work/recorded" <<'RECORDED'
source shop: ['Only KEPT'] exit code 0
source shop.*: ['Only BROKEN'] exit code 1
source shop.orders: ['Only BROKEN'] exit code 1
RECORDED

cat > "$work/run.py" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

for name, text in {
    "shop/__init__.py": "",
    "shop/secrets.py": "",
    "shop/orders.py": "from shop import secrets\n",
}.items():
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
for source in ("shop", "shop.*", "shop.orders"):
    Path(".importlinter").write_text(
        "[importlinter]\nroot_package = shop\n"
        f"[importlinter:contract:one]\nname = Only\ntype = forbidden\nsource_modules = {source}\n"
        "forbidden_modules = shop.secrets\n",
        encoding="utf-8",
    )
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    verdict = [line.strip() for line in run.stdout.splitlines() if line.startswith("Only ")]
    print(f"source {source}: {verdict} exit code {run.returncode}")
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
