#!/bin/sh
# Checks the files for Prometheus and Grafana with promtool, which Debian's package `prometheus` has.
#
#   deploy/check.sh           the rules, their tests, the configuration and the dashboard's queries
#   deploy/check.sh ADDRESS   the metrics of a running bot too, such as http://127.0.0.1:9464/metrics
set -eu
cd "$(dirname "$0")"
promtool=${PROMTOOL:-promtool}
command -v "$promtool" >/dev/null || { echo "promtool is not installed" >&2; exit 2; }

"$promtool" check config prometheus.yml
"$promtool" test rules prometheus-alerts-test.yml

# Each query of the dashboard as a rule, since promtool parses those. Grafana puts in the interval by itself.
rules=$(mktemp)
trap 'rm -f "$rules"' EXIT
python3 - "$rules" <<'PYTHON'
import json, pathlib, sys

panels = json.loads(pathlib.Path("grafana-dashboard.json").read_text())["panels"]
queries = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel.get("targets", ())]
rules = [{"record": f"dashboard:query:{number}", "expr": query} for number, query in enumerate(queries)]
pathlib.Path(sys.argv[1]).write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
"$promtool" check rules "$rules"

if [ $# -gt 0 ]; then
    python3 -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=10).read().decode())' "$1" |
        "$promtool" check metrics
fi
