"""The export as a file, and an erasure step by step."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.guilds import Ban, LimitOverrides
from bot.domain.jobs import CancelResult, FailureReason, Job, JobState, Order
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.member_data import (
    Erasure,
    ErasureResult,
    MemberData,
    RetentionPolicy,
    StoredGrant,
    StoredJob,
    StoredPicture,
    export_document,
)
from bot.services.privacy import PrivacyService, pack_export
from bot.store.privacy.member_data import MemberDataStore

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ME, STRANGER = 123456789012345678, 876543210987654321
ROOMY = 10_000_000


def a_job(number: int = 1, prompt: str = "a fox 🦊") -> StoredJob:
    order = Order(prompt, negative_prompt="fog", seed=7)
    job = Job(f"job-{number}", JobState.DELIVERED, 10, 100, ME, order, created_at=NOW, state_changed_at=NOW)
    return StoredJob(replace(job, cost_usd=Decimal("0.0000001"), result_message_id=2**60), {"status": "done"})


def an_entry(why: str = "accepted") -> Entry:
    return Entry(
        EntryKind.RESERVE, 10, ME, NOW, NOW, Amounts(1, 0, Decimal("0.2")), why, job_id="job-1", actor_id=STRANGER
    )


FULL = MemberData(
    user_id=ME,
    jobs=(a_job(),),
    pictures=(StoredPicture("a", "image/png", 1_000, NOW),),
    entries=(an_entry(),),
    grants=(StoredGrant(3, 10, 2, None, NOW),),
    bans=(Ban(10, ME, f"insulted {STRANGER}, not {ME}", NOW, None, actor_id=STRANGER),),
    violations=((10, NOW),),
    limits=((10, LimitOverrides(videos_per_window=1)),),
    changes=(
        AuditEntry(
            10, NOW, ME, AuditedChange(Action.LEGACY, after="their secret", legacy_what=f"ban of <@{STRANGER}>")
        ),
        AuditEntry(
            10,
            NOW,
            ME,
            AuditedChange(
                Action.MEMBER_BANNED, TargetKind.MEMBER, str(STRANGER), None, {"reason": "their secret"}
            ),
        ),
    ),
    asked_at=NOW,
)


def test_the_export_has_these_keys() -> None:
    """They are documented, and the version goes up where one changes."""
    found = export_document(FULL, NOW)

    assert list(found) == [
        "format", "version", "exported_at", "user_id", "deletion_asked_at", "left_out", "videos", "pictures",
        "ledger", "credits", "bans", "blocked_prompts", "own_limits", "settings", "changes_made",
    ]  # fmt: skip
    assert found["version"] == 1
    assert list(found["videos"][0]) == [
        "id", "state", "server_id", "channel_id", "prompt", "negative_prompt", "model", "resolution",
        "seconds", "seed", "prompt_extend", "watermark", "variation_of", "variation", "variations",
        "picture_name", "picture_alt_text", "extends",
        "asked_at", "state_since", "submitted_at", "seen_running_at", "progress", "counted",
        "cancelled_by_request", "paid_with_credits", "estimate_usd", "cost_usd", "failure",
        "failure_cause", "failure_detail",
        "service", "service_id", "service_result", "service_answer", "status_message_id",
        "video_message_id", "video_channel_id", "review_message_id",
    ]  # fmt: skip
    assert list(found["ledger"][0]) == [
        "kind", "server_id", "video_id", "credits_id", "at", "counts_at", "videos", "credits", "usd", "why",
    ]  # fmt: skip


def test_ids_and_amounts_are_text_so_that_no_json_reader_rounds_them() -> None:
    [job] = export_document(FULL, NOW)["videos"]

    assert (job["video_message_id"], job["cost_usd"], job["server_id"]) == (str(2**60), "0.0000001", "10")


def test_the_export_identifies_nobody_else() -> None:
    text = json.dumps(export_document(FULL, NOW))

    assert str(STRANGER) not in text
    assert "their secret" not in text
    assert export_document(FULL, NOW)["bans"][0]["reason"] == f"insulted …, not {ME}"


def test_an_export_without_any_data_has_the_same_keys() -> None:
    empty = export_document(MemberData(ME), NOW)

    assert empty.keys() == export_document(FULL, NOW).keys()
    assert empty["videos"] == empty["ledger"] == empty["bans"] == []
    assert empty["deletion_asked_at"] is None


def test_a_failure_is_exported_by_its_code() -> None:
    held = a_job()
    failed = StoredJob(replace(held.job, state=JobState.FAILED, failure_reason=FailureReason.REFUSED), None)

    assert export_document(MemberData(ME, jobs=(failed,)), NOW)["videos"][0]["failure"] == "refused"


def test_an_export_that_fits_is_plain_text() -> None:
    export = pack_export(FULL, NOW, ROOMY)

    assert (export.filename, export.complete) == ("zoetrope-data-2026-01-31.json", True)
    assert json.loads(export.data) == export_document(FULL, NOW)
    assert "🦊".encode() in export.data


def test_a_larger_export_is_compressed() -> None:
    held = replace(FULL, jobs=tuple(a_job(n) for n in range(100)))

    export = pack_export(held, NOW, 20_000)

    assert (export.filename, export.complete) == ("zoetrope-data-2026-01-31.json.gz", True)
    assert len(json.loads(gzip.decompress(export.data))["videos"]) == 100


def test_an_export_too_large_even_compressed_omits_the_oldest_and_is_marked_incomplete() -> None:
    held = replace(FULL, jobs=tuple(a_job(n, prompt=f"{n * 7919 % 10007}" * 40) for n in range(400)))

    export = pack_export(held, NOW, 3_000)

    assert len(export.data) <= 3_000
    assert not export.complete
    found = json.loads(gzip.decompress(export.data))
    assert found["videos"][0]["id"] == "job-0"
    assert len(found["videos"]) + found["left_out"]["videos"] == 400
    assert len(found["bans"]) == 1


def test_rows_that_the_store_left_out_are_counted_as_well() -> None:
    held = replace(FULL, jobs=tuple(a_job(n) for n in range(64)), left_out={"videos": 1000})

    found = json.loads(gzip.decompress(pack_export(held, NOW, 1_500).data))

    assert len(found["videos"]) + found["left_out"]["videos"] == 1064


def test_packing_ends_even_if_nothing_fits_the_limit() -> None:
    export = pack_export(FULL, NOW, 1)

    assert json.loads(gzip.decompress(export.data))["videos"] == []


class FakeStore(MemberDataStore):
    """Records its calls. batches: how many rows the next calls of a name touch."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.jobs = ["a", "b"]
        self.batches = {
            "drop_pictures": [3],
            "anonymise_jobs": [5, 2],
            "anonymise_entries": [3, 1],
            "drop_records": [1],
        }

    def _next_batch(self, name: str) -> int:
        self.calls.append(name)
        batches = self.batches[name]
        return batches.pop(0) if batches else 0

    async def read(self, user_id: int, limit: int = 0) -> MemberData:
        del limit
        return MemberData(user_id)

    async def request_erasure(self, user_id: int, now: datetime) -> Erasure:
        self.calls.append("request_erasure")
        return Erasure(user_id, now)

    async def to_cancel(self, erasure: Erasure) -> list[str]:
        del erasure
        self.calls.append("to_cancel")
        return self.jobs

    async def cancel(self, job_id: str, now: datetime) -> CancelResult:
        del now
        self.calls.append(f"cancel {job_id}")
        return CancelResult.CANCELLED if job_id == "a" else CancelResult.FLAGGED

    async def give_up_credits(self, erasure: Erasure, now: datetime) -> int:
        del erasure, now
        self.calls.append("give_up_credits")
        return 4

    async def drop_pictures(self, erasure: Erasure) -> int:
        del erasure
        return self._next_batch("drop_pictures")

    async def anonymise_jobs(self, erasure: Erasure) -> int:
        del erasure
        return self._next_batch("anonymise_jobs")

    async def anonymise_entries(self, erasure: Erasure, now: datetime) -> int:
        del erasure, now
        return self._next_batch("anonymise_entries")

    async def drop_records(self, erasure: Erasure, now: datetime) -> int:
        del erasure, now
        return self._next_batch("drop_records")

    async def finish(self, erasure: Erasure) -> bool:
        del erasure
        self.calls.append("finish")
        return True


def privacy(store: FakeStore, woken: list[str]) -> PrivacyService:
    return PrivacyService(store, RetentionPolicy(90, 30), wake=lambda: woken.append("woken"), clock=lambda: NOW)


async def test_an_erasure_is_recorded_before_anything_is_erased_and_the_record_goes_last() -> None:
    store, woken = FakeStore(), list[str]()

    result = await privacy(store, woken).erase(ME)

    assert (store.calls[0], store.calls[-1]) == ("request_erasure", "finish")
    assert result == ErasureResult(jobs=7, cancelled=1, in_progress=1, credits=4, entries=4, done=True)
    assert woken == ["woken"]


async def test_an_erasure_that_is_stopped_starts_no_further_batch_and_is_not_done() -> None:
    store = FakeStore()
    answers: Any = iter([True, True, True, False])

    result = await store.erase(Erasure(ME, NOW), NOW, keep_going=lambda: next(answers, False))

    assert store.calls == ["to_cancel", "cancel a", "cancel b", "give_up_credits", "drop_pictures"]
    assert not result.done


async def test_an_export_has_the_time_of_the_request() -> None:
    export = await privacy(FakeStore(), []).export(ME, ROOMY)

    assert json.loads(export.data)["exported_at"] == NOW.isoformat()
