"""What members chose for all their videos: stored, exported, erased, and kept no longer than their videos."""

from datetime import timedelta

import pytest

from bot.domain.jobs import Resolution
from bot.domain.member_data import export_document
from bot.domain.member_settings import UNCHANGED, MemberSettings
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.member_settings import MemberSettingsStore
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from tests.store.factories import NOW, add

ME, OTHER = 1, 2
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def settings(database: Database) -> MemberSettingsStore:
    return MemberSettingsStore(database)


@pytest.fixture
def privacy(database: Database) -> MemberDataStore:
    return MemberDataStore(database)


async def test_a_member_who_chose_nothing_has_the_defaults(settings: MemberSettingsStore) -> None:
    assert await settings.of(ME) == UNCHANGED


@pytest.mark.both_databases
async def test_a_change_leaves_other_settings_and_members_as_they_are(
    settings: MemberSettingsStore,
) -> None:
    await settings.change(ME, {"pings": False, "changed_at": NOW})
    changed = await settings.change(ME, {"resolution": Resolution.P480, "changed_at": LATER})

    assert changed == MemberSettings(pings=False, resolution=Resolution.P480, changed_at=LATER)
    assert await settings.of(ME) == changed
    assert await settings.of(OTHER) == UNCHANGED


async def test_an_export_holds_the_settings(settings: MemberSettingsStore, privacy: MemberDataStore) -> None:
    await settings.change(ME, {"direct": True, "changed_at": NOW})

    mine, others = await privacy.read(ME), await privacy.read(OTHER)

    assert export_document(mine, NOW)["settings"]["direct_messages"] is True
    assert export_document(others, NOW)["settings"] is None


@pytest.mark.both_databases
async def test_an_erasure_deletes_the_settings(settings: MemberSettingsStore, privacy: MemberDataStore) -> None:
    await settings.change(ME, {"direct": True, "changed_at": NOW})
    await settings.change(OTHER, {"direct": True, "changed_at": NOW})
    assert (await privacy.preview_erasure(ME)).has_settings

    result = await privacy.erase(await privacy.request_erasure(ME, LATER), LATER)

    assert result.done
    assert await settings.of(ME) == UNCHANGED
    assert (await settings.of(OTHER)).direct
    assert not (await privacy.preview_erasure(ME)).has_settings


async def test_what_is_chosen_after_an_erasure_was_asked_for_is_kept(
    settings: MemberSettingsStore, privacy: MemberDataStore
) -> None:
    erasure = await privacy.request_erasure(ME, NOW)
    await settings.change(ME, {"direct": True, "changed_at": LATER})

    assert (await privacy.erase(erasure, LATER)).done
    assert (await settings.of(ME)).direct


@pytest.mark.both_databases
async def test_settings_are_kept_as_long_as_a_video_of_their_member(
    settings: MemberSettingsStore, database: Database, store: JobStore
) -> None:
    await add(store, user_id=ME)
    for user_id in (ME, OTHER):
        await settings.change(user_id, {"direct": True, "changed_at": NOW})

    await RetentionStore(database).drop_old(NOW, LATER)

    assert (await settings.of(ME)).direct
    assert await settings.of(OTHER) == UNCHANGED


async def test_settings_that_were_changed_lately_are_kept_without_a_video(
    settings: MemberSettingsStore, database: Database
) -> None:
    await settings.change(ME, {"direct": True, "changed_at": LATER})

    await RetentionStore(database).drop_old(NOW, LATER)

    assert (await settings.of(ME)).direct
