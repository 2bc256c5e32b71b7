#!/usr/bin/env bash
# DashScope's SDK sends `extend_prompt: true` with every video request, even beside `prompt_extend: false`.
#
# Versions: dashscope 2.0.2; Python 3.11.
# Guess:    `prompt_extend=False` is all that the request says about it, and a call without it says nothing.
# Happens:  `input.extend_prompt` (from an argument marked as deprecated, True by default) is always sent, also beside
#           a false `parameters.prompt_extend`. Only with both arguments do the two fields agree.
# Matters:  a bot lets its members choose whether their prompt is rewritten. Which of the two fields wins is up to the
#           service, so check every field of a recorded request, not only the one you set.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    dashscope==2.0.2

cat > "$work/recorded" <<'RECORDED'
{} -> input.extend_prompt True parameters {}
{'prompt_extend': False} -> input.extend_prompt True parameters {'prompt_extend': False}
{'extend_prompt': False} -> input.extend_prompt False parameters {}
{'prompt_extend': False, 'extend_prompt': False} -> input.extend_prompt False parameters {'prompt_extend': False}
RECORDED

cat > "$work/run.py" <<'PYTHON'
import http.server
import json
import threading

import dashscope

orders = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        orders.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = {"request_id": "r", "output": {"task_id": "t", "task_status": "PENDING"}}
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
no = {"prompt_extend": False}
for options in ({}, no, {"extend_prompt": False}, no | {"extend_prompt": False}):
    picture = "https://example.invalid/waves.png"
    dashscope.VideoSynthesis.async_call(model="wan2.2-i2v-plus", prompt="waves", img_url=picture, **options)
    sent = orders[-1]
    print(options, "-> input.extend_prompt", sent["input"].get("extend_prompt"), "parameters", sent["parameters"])
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
