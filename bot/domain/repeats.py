"""Making a video again from the picture of an earlier one. Pure."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from bot.domain.jobs import FailureCause, Job, JobState, Order
from bot.domain.models import Catalog
from bot.domain.orders import SEED_MAX, check_order, model_of

_MAY_PASS = frozenset(
    {
        FailureCause.TASK_FAILED,
        FailureCause.TASK_CANCELLED,
        FailureCause.TASK_UNKNOWN,
        FailureCause.SERVICE_UNREACHABLE,
        FailureCause.NOT_FINISHED,
        FailureCause.NO_VIDEO,
        FailureCause.VIDEO_UNUSABLE,
        FailureCause.FAILED_REPEATEDLY,
        FailureCause.EXPIRED,
    }
)
"""What may go well another time. Not where a video may still come, and not where somebody refused this one."""


def is_worth_another_try(job: Job) -> bool:
    """Whether a job failed in a way that the same order may not."""
    detail = job.failure_detail
    return job.state is JobState.FAILED and detail is not None and detail.cause in _MAY_PASS


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """The first frame of an earlier job, for as long as it is kept; see `bot.store.jobs.pictures`."""

    job_id: str


class OrderChanges(TypedDict, total=False):
    """What is different from the earlier order; the rest is the same, but for the seed."""

    prompt: str
    negative_prompt: str | None
    resolution: str
    seed: int


def repeated_order(earlier: Order, changes: OrderChanges, draw: Callable[[int], int], catalog: Catalog) -> Order:
    """The order with changes, and with another seed unless one was chosen: the same one would give the same video.

    draw: a random number below its argument. Raises: OrderRefused, also if its model isn't offered any more.
    """
    return check_order(
        prompt=changes.get("prompt", earlier.prompt),
        negative_prompt=changes.get("negative_prompt", earlier.negative_prompt),
        resolution=changes.get("resolution", earlier.resolution),
        seed=changes.get("seed", draw(SEED_MAX + 1)),
        prompt_extend=earlier.prompt_extend,
        watermark=earlier.watermark,
        model=model_of(catalog, earlier.model),
        duration_s=earlier.duration_s,
    )


def repeated_job_id(earlier: Job, user_id: int, interaction_id: int, number: int = 0) -> str:
    """The id of the job that an interaction orders: one interaction orders once, even if it arrives twice.

    As long as other ids, and not guessable without the earlier one's. number: of which variation.
    """
    variation = f"/{number}" if number else ""
    digest = hashlib.sha256(f"{earlier.id}/{user_id}/{interaction_id}{variation}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()
