"""What a gateway's HTTP status and its error mean for the caller. Pure."""

from bot.domain.errors import ContentRefused, UpstreamBusy, UpstreamClosed, UpstreamError, UpstreamRefused
from bot.providers.content_refusals import is_content_refusal
from bot.providers.json_responses import ErrorDetails


def error_for(
    status: int, error: ErrorDetails, text: str, *, ambiguous: type[UpstreamError], retry_after_s: float | None
) -> UpstreamError:
    """What an HTTP status other than success means.

    Beyond the contract's table: 402 and 407 stand for money and access like 403; 408, 425 and 499 tell of a
    request that got lost on the way, so nothing is sure; any other 4xx is a refusal. A redirect is not followed,
    and whether the gateway acted before it is not known.

    Alibaba's own codes go before the status: it says 400 to an account in arrears, and throttles by name.

    text: for the log. ambiguous: what to return if the gateway may have acted.
    """
    is_refusal = 400 <= status < 500  # noqa: PLR2004  a status reads best as its number
    code = (error.code or "").casefold()
    if is_refusal and code == "arrearage":
        return UpstreamClosed(text, status=status)
    if is_refusal and code.startswith("throttling"):
        return UpstreamBusy(text, retry_after_s=retry_after_s)
    match status:
        # Some gateways answer 403 for content as well: that is about one order, and must not stop all others.
        case 403 if is_content_refusal(error.code, None):
            return refused(error, status=status)
        case 401 | 402 | 403 | 407:
            return UpstreamClosed(text, status=status)
        case 429:
            return UpstreamBusy(text, retry_after_s=retry_after_s)
        case 408 | 425 | 499:
            return ambiguous(text)
        case _ if is_refusal:
            return refused(error, status=status)
        case _ if 300 <= status < 400:  # noqa: PLR2004
            return ambiguous(f"{text}. It redirects elsewhere: is the base URL right?")
        case _:
            return ambiguous(text)


def refused(error: ErrorDetails, *, status: int) -> UpstreamRefused:
    """The refusal of one request, in the gateway's words."""
    message = error.message or f"The gateway refused without a reason (HTTP {status})."
    kind = ContentRefused if is_content_refusal(error.code, error.message) else UpstreamRefused
    return kind(message, code=error.code or str(status), said=error.message, status=status)
