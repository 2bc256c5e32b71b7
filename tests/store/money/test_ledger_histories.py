"""Random histories of jobs, credits and limits over months: every balance equals the sum of its ledger entries."""

import asyncio
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.ledger import EntryKind
from tests.store.conftest import delete_all_rows
from tests.store.money.ledger_history import run_history

pytestmark = pytest.mark.full


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_balances_equal_the_ledger_entries_in_any_history(migrated_file: Path, seed: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "zoetrope.db"
        shutil.copy(migrated_file, path)
        asyncio.run(run_history(f"sqlite:///{path}", seed, 60))


@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
def test_balances_equal_the_ledger_entries_in_any_history_on_postgresql(postgres_url: str, seed: int) -> None:
    asyncio.run(delete_all_rows(postgres_url))
    asyncio.run(run_history(postgres_url, seed, 60))


@pytest.mark.timeout(300)
def test_the_histories_reach_every_entry_kind_and_most_refusals(migrated_file: Path, tmp_path: Path) -> None:
    """Histories without refusals, or without some kind of entry, would prove too little."""
    refused: set[str] = set()
    kinds: set[str] = set()
    for seed in range(12):
        path = tmp_path / f"{seed}.db"
        shutil.copy(migrated_file, path)
        history = asyncio.run(run_history(f"sqlite:///{path}", seed, 150))
        refused |= history.refused
        kinds |= {row.kind for row in history.written}
        if kinds == set(EntryKind) and len(refused) >= 5:
            break
    assert kinds == set(EntryKind)
    assert len(refused) >= 5, refused
