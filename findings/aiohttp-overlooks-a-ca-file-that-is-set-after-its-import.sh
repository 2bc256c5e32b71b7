#!/usr/bin/env bash
# aiohttp reads the trusted certificates when it is imported, not when a session or a connection is made.
#
# Versions: aiohttp 3.14.5, trustme 1.2.1 for the certificates; Python 3.11 with OpenSSL 3.
# Guess:    a client that needs TLS makes its SSL context for the first connection, or for the session; so it trusts
#           what SSL_CERT_FILE names by then, as `ssl.create_default_context()` does.
# Happens:  SSL_CERT_FILE set before `import aiohttp`: the request is answered. Set one line later, before there is a
#           session or an event loop: CERTIFICATE_VERIFY_FAILED. A context that is made at that very moment trusts the
#           file, and a request that is given it is answered.
# Matters:  a program that fills its environment from a file (python-dotenv) after its imports, as nearly all do, can't
#           reach a gateway behind a company's own certificate authority, though the setting is there to see in
#           `os.environ`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    aiohttp==3.14.5 trustme==1.2.1

cat > "$work/recorded" <<'RECORDED'
set before the import: answered 200
set after the import: CERTIFICATE_VERIFY_FAILED
set after the import, own context: answered 200
RECORDED

cat > "$work/client.py" <<'PYTHON'
import asyncio
import os
import ssl
import sys

when, authority, url = sys.argv[1:]
if when == "before":
    os.environ["SSL_CERT_FILE"] = authority
import aiohttp

os.environ["SSL_CERT_FILE"] = authority
options = {"ssl": ssl.create_default_context()} if when == "own-context" else {}


async def main():
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url, **options) as response:
                return f"answered {response.status}"
        except aiohttp.ClientConnectorCertificateError as error:
            return error.certificate_error.reason


print(asyncio.run(main()))
PYTHON

cat > "$work/run.py" <<'PYTHON'
import asyncio
import ssl
import sys

import trustme
from aiohttp import web


async def answer(request):
    return web.Response()


async def main():
    authority = trustme.CA()
    authority.cert_pem.write_to_path("authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    for when, name in (
        ("before", "set before the import"),
        ("after", "set after the import"),
        ("own-context", "set after the import, own context"),
    ):
        command = (sys.executable, "client.py", when, "authority.pem", f"https://127.0.0.1:{port}/")
        client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await client.communicate()
        print(f"{name}: {output.decode().strip()}")
    await runner.cleanup()


asyncio.run(main())
PYTHON
(cd "$work" && env -u SSL_CERT_FILE -u SSL_CERT_DIR venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
