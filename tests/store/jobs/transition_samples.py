"""What the tests of transitions and of cancelling share."""

from bot.domain.outcomes import JobUpdate
from tests.store.factories import NOW, SECOND

SOON = NOW + 10 * SECOND
A_TASK = JobUpdate(upstream_id="task-1", submitted_at=NOW)
