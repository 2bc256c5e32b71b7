"""What a status and a code mean, whichever gateway says them."""

import pytest

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamRefused,
)
from bot.providers.http_errors import error_for
from bot.providers.json_responses import ErrorDetails


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, UpstreamRefused),
        (400, "Arrearage", UpstreamClosed),
        (400, "Throttling.RateQuota", UpstreamBusy),
        (400, "DataInspectionFailed", ContentRefused),
        (401, None, UpstreamClosed),
        (402, None, UpstreamClosed),
        (403, None, UpstreamClosed),
        (403, "DataInspectionFailed", ContentRefused),
        (403, "Throttling", UpstreamBusy),
        (404, None, UpstreamRefused),
        (408, None, OutcomeUnknown),
        (429, None, UpstreamBusy),
        (429, "Throttling.AllocationQuota", UpstreamBusy),
        (302, "Arrearage", OutcomeUnknown),
        (500, "Arrearage", OutcomeUnknown),
        (503, "Throttling", OutcomeUnknown),
    ],
)
def test_a_code_can_change_what_a_4xx_means_and_nothing_else(
    status: int, code: str | None, kind: type[UpstreamError]
) -> None:
    error = error_for(status, ErrorDetails(code), "text", ambiguous=OutcomeUnknown, retry_after_s=7.0)
    assert type(error) is kind
    if isinstance(error, UpstreamBusy):
        assert error.retry_after_s == 7.0
