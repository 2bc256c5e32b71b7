#!/usr/bin/env bash
# DashScope's SDK creates a second task when the server took the first and the connection dropped before the answer.
#
# Versions: dashscope 2.0.2; Python 3.11.
# Guess:    the SDK says that it sends a request again only if an idle connection from its pool turns out to be
#           closed, because then nothing was processed. On a fresh connection a lost answer raises an error.
# Happens:  the very first request of a process, which no pool can have served, is sent again too, after the server
#           has read all of it. The caller gets the second task's id and never hears of the first.
# Matters:  each task is a paid video. A bot that promises to pay once has to send its own request, once, and treat a
#           lost answer as a task that may exist.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    dashscope==2.0.2

cat > "$work/recorded" <<'RECORDED'
the server has taken: 2 orders with 1 body, over 2 connections
the caller knows of: task 2
RECORDED

cat > "$work/run.py" <<'PYTHON'
import http.server
import json
import threading

import dashscope

LOST = 1  # the server takes so many orders and hangs up instead of answering
orders = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        orders.append((self.client_address, self.rfile.read(int(self.headers["Content-Length"]))))
        if len(orders) <= LOST:
            return
        answer = {"request_id": "r", "output": {"task_id": f"task {len(orders)}", "task_status": "PENDING"}}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
dashscope.api_key = "made-up"
dashscope.base_http_api_url = f"http://127.0.0.1:{server.server_port}/api/v1"
picture = "https://example.invalid/waves.png"
task = dashscope.VideoSynthesis.async_call(model="wan2.2-i2v-flash", prompt="waves", img_url=picture)
connections, bodies = ({order[part] for order in orders} for part in (0, 1))
print(f"the server has taken: {len(orders)} orders with {len(bodies)} body, over {len(connections)} connections")
print("the caller knows of:", task.output.task_id)
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
