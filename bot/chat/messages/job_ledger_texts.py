"""What the operator reads about one job: its ledger, its task, and what the provider said last. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bot.chat.messages.cancellation_texts import stop_for_operator
from bot.chat.messages.markdown import (
    CONTENT_MAX,
    before_web_page,
    escaped,
    exact,
    joined_within,
    several,
)
from bot.chat.messages.operator_texts import actor
from bot.chat.messages.server_names import name_of
from bot.domain.jobs import Job
from bot.domain.ledger import Entry, total
from bot.domain.money import show_usd
from bot.store.operator_reports import JobLedger

RESPONSE_MAX = 700
"""The most that is shown of a provider's response, in characters."""

_REASON_MAX, _TASK_MAX = 200, 200


def job_ledger(found: JobLedger, names: Mapping[int, str]) -> str:
    """The ledger entries of one job: when, how much, who and why. Then its task, and the last response about it."""
    job = found.job
    head = [f"`{job.id}` · {job.state} · {name_of(job.guild_id, names)} · member `{job.user_id}`"]
    head += _task(job)
    if found.response is not None:
        head.append(f"Last response: {_response(found.response)}")
    if not found.entries:
        return "\n".join([*head, "The ledger has no entries for it."])
    balance = total(found.entries)
    head.append(f"total: {several(balance.videos, 'video')}, **{show_usd(balance.usd)}**")
    return joined_within([*head, *map(_entry, found.entries)], CONTENT_MAX, rest="… and {left} more")


def _task(job: Job) -> Iterator[str]:
    said = []
    if job.provider is not None:
        said.append(f"at `{job.provider}`")
    if job.upstream_id is not None:
        said.append(f"task {escaped(job.upstream_id, _TASK_MAX)}")
    if stopped := stop_for_operator(job):
        said.append(stopped)
    if said:
        yield " · ".join(said)


def _response(response: Mapping[str, Any]) -> str:
    """As JSON on one line, cut; a web page in it is left out."""
    text = json.dumps(response, ensure_ascii=False, default=str)
    return escaped(before_web_page(text), RESPONSE_MAX)


def _entry(entry: Entry) -> str:
    amounts = entry.amounts
    credit = f", credits {amounts.credits:+} (grant {entry.credit_grant_id})" if amounts.credits else ""
    return (
        f"{exact(entry.created_at)} **{entry.kind}** videos {amounts.videos:+}, {show_usd(amounts.usd)}{credit} "
        f"· {actor(entry)} · {escaped(entry.reason, _REASON_MAX)}"
    )
