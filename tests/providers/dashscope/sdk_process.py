"""DashScope's own SDK in a process of its own, which can reach this machine only: `python sdk_process.py`.

Reads one call a line from standard input, as JSON, and answers each with a line. The SDK has a process of its own
because it brings settings, log handlers and connections of its own that outlive a test.
"""

import json
import sys
from typing import Any

LOOPBACK = frozenset({"127.0.0.1", "::1"})


def refuse_other_hosts(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook (see `sys.addaudithook`)."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in LOOPBACK:
        raise PermissionError(f"the SDK tried to reach {host}")


def answer(call: dict[str, Any]) -> dict[str, Any]:
    import dashscope  # noqa: PLC0415  after the hook is set

    dashscope.base_http_api_url = call["url"]
    dashscope.api_key = call["key"]
    method = getattr(dashscope.VideoSynthesis, call["method"])
    try:
        response = method(**call["arguments"])
    except Exception as error:  # noqa: BLE001  whatever it is, the test reads it
        return {"raised": type(error).__name__, "text": str(error)}
    return {
        "status_code": int(response.status_code),
        "code": response.code,
        "message": response.message,
        "output": None if response.output is None else dict(response.output),
        "usage": None if response.usage is None else dict(response.usage),
    }


def main() -> None:
    sys.addaudithook(refuse_other_hosts)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
