"""Reads the `Retry-After` header (RFC 9110, 10.2.3) of any provider."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = timedelta(days=1)


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait according to `Retry-After` (RFC 9110: seconds or a date); None if it is unusable.

    A date is compared with the gateway's own `Date` header if there is one, as our clock may be off. A past date
    means now. Anything beyond a day is taken for a mistake.
    """
    value_text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value_text):
        wait = timedelta(seconds=float(value_text))
    else:
        until = _http_date(value_text)
        if until is None:
            return None
        wait = max(until - (_http_date(headers.get("Date", "")) or now), timedelta(0))
    return wait.total_seconds() if wait <= _LONGEST_WAIT else None


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
