#!/usr/bin/env bash
# fal_client sends an order again when the answer is lost, with nothing that marks it as the same order.
#
# Versions: fal-client 1.0.3, httpx 0.28.1, trustme 1.2.1 (makes the local server's certificate); Python 3.11.
# Guess:    `submit` starts paid work, so a lost answer raises an error and the caller decides.
# Happens:  after three lost answers the server has taken four orders with the same body and no header that ties
#           them together. The caller gets the last one's id and never hears of the other three.
# Matters:  a bot that pays for each video and promises to pay once cannot build on such a call; it has to send its own
#           request, once, and then look for what became of it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    fal-client==1.0.3 httpx==0.28.1 trustme==1.2.1

cat > "$work/recorded" <<'RECORDED'
the caller knows of: order 4
the server has taken: 4 orders with 1 body
headers: ['accept', 'accept-encoding', 'authorization', 'connection', 'content-length', 'content-type', 'host', 'user-agent']
RECORDED

cat > "$work/run.py" <<'PYTHON'
import http.server
import json
import os
import ssl
import threading

import trustme

LOST = 3  # the server takes so many orders and hangs up instead of answering
orders = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        orders.append((body, {name.lower() for name in self.headers}))
        if len(orders) <= LOST:
            return
        url = f"https://{os.environ['FAL_QUEUE_RUN_HOST']}/{len(orders)}"
        answer = {"request_id": f"order {len(orders)}", "response_url": url, "status_url": url, "cancel_url": url}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


authority = trustme.CA()
authority.cert_pem.write_to_path("ca.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost").configure_cert(context)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(SSL_CERT_FILE="ca.pem", FAL_KEY="made:up", FAL_QUEUE_RUN_HOST=f"localhost:{server.server_port}")

import fal_client  # noqa: E402  (it reads its address from the environment on import)

handle = fal_client.submit("owner/app", {"prompt": "waves"})
print("the caller knows of:", handle.request_id)
print("the server has taken:", len(orders), "orders with", len({body for body, _ in orders}), "body")
print("headers:", sorted(set.union(*(names for _, names in orders))))
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
