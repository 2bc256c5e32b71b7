from collections.abc import Callable, Iterator

import pytest

from bot import seams
from bot.domain.jobs import TRANSITIONS
from bot.seams import MOVES, Moment, Seam, around, reached
from tests.test_architecture import PROGRAM


@pytest.fixture
def noted() -> Iterator[list[tuple[Seam, Moment]]]:
    """Everything that was reached."""
    hits: list[tuple[Seam, Moment]] = []
    seams.install(lambda seam, moment: hits.append((seam, moment)))
    yield hits
    seams.install(None)


@around(Seam.LOOK)
async def ask(answer: Callable[[], int]) -> int:
    return answer()


async def test_nothing_happens_at_a_seam_in_production() -> None:
    reached(Seam.ADD, Moment.BEFORE)
    assert await ask(lambda: 1) == 1


async def test_a_request_is_reached_before_it_leaves_and_after_its_answer(
    noted: list[tuple[Seam, Moment]],
) -> None:
    assert await ask(lambda: len(noted)) == 1
    assert noted == [(Seam.LOOK, Moment.BEFORE), (Seam.LOOK, Moment.AFTER)]


async def test_a_request_that_failed_was_not_answered(noted: list[tuple[Seam, Moment]]) -> None:
    with pytest.raises(ZeroDivisionError):
        await ask(lambda: 1 // 0)
    assert noted == [(Seam.LOOK, Moment.BEFORE)]


def test_what_has_no_name_reaches_nothing(noted: list[tuple[Seam, Moment]]) -> None:
    reached(None, Moment.AFTER)
    assert noted == []


def test_every_move_of_a_job_has_a_seam() -> None:
    assert MOVES.keys() == {to for states in TRANSITIONS.values() for to in states}


def test_every_seam_is_somewhere_in_the_program() -> None:
    text = "\n".join(module.text for module in PROGRAM if module.name != "bot.seams")
    assert [seam for seam in set(Seam) - set(MOVES.values()) if f"Seam.{seam.name}" not in text] == []


def test_nothing_in_the_program_arms_a_seam() -> None:
    assert [module.name for module in PROGRAM if "seams.install" in module.text] == []
