"""Decides in which form, and at which address, a create is sent. Pure.

Each create may cost money, so it is sent again only after the gateway has certainly refused it, for a reason that
another form or address may not have. The form that was accepted once is the only one from then on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from yarl import URL

from bot.domain.errors import ContentRefused, UpstreamClosed, UpstreamRefused
from bot.providers.vtrix.addresses import Addresses
from bot.providers.vtrix.requests import BodyForm

_NO_SUCH_ADDRESS = frozenset({404, 405})
_OF_ANOTHER_FORM = frozenset({400, 404, 405, 422})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to send a create. number: of the address, among those of the form."""

    form: BodyForm
    number: int
    url: URL


class FormChoice:
    """What is known about the forms that the gateway accepts.

    form: AUTO, or the only form to use. accepted: in which form a task was created, and at which of its addresses.
    has_queue: whether the queue is or was in use.
    """

    def __init__(self, form: BodyForm, addresses: Addresses) -> None:
        self._form = form
        self._addresses = addresses
        self.accepted: tuple[BodyForm, int] | None = None
        self.has_queue = form is BodyForm.QUEUE

    def accept(self, attempt: Attempt) -> None:
        """A create that was sent in this form, to this address, made a task."""
        self.accepted = attempt.form, attempt.number
        self.has_queue = self.has_queue or attempt.form is BodyForm.QUEUE

    def documented_queue(self, model: str) -> Attempt:
        """Where the queue of this model is, as the vendor documents it."""
        return Attempt(BodyForm.QUEUE, 0, self._addresses.creates(BodyForm.QUEUE, model)[0])

    def attempts(self, model: str) -> "Attempts":
        """The ways to send one create, the most likely first. model: as the gateway calls it."""
        return Attempts(
            self,
            [
                Attempt(form, number, url)
                for form in self._form.tried
                for number, url in enumerate(self._addresses.creates(form, model))
            ],
        )


class Attempts:
    """The ways to send one create: an iterator, which is told of each refusal."""

    def __init__(self, choice: FormChoice, attempts: list[Attempt]) -> None:
        self._choice = choice
        self._attempts = attempts
        self._refusals: list[UpstreamRefused] = []
        self._latest: tuple[BodyForm, int | None] | None = None

    def __iter__(self) -> Iterator[Attempt]:
        # What is accepted is looked up each time, since another create may find it out meanwhile.
        for attempt in self._attempts:
            if self._choice.accepted in {None, (attempt.form, attempt.number)} and self._is_worth_sending(attempt):
                yield attempt

    def accepted(self, attempt: Attempt) -> None:
        """The create made a task."""
        self._choice.accept(attempt)

    def refused(self, attempt: Attempt, exc: UpstreamRefused | UpstreamClosed) -> None:
        """Nothing was made. Raises: `exc`, if another form or address would not help."""
        if isinstance(exc, UpstreamRefused):
            if isinstance(exc, ContentRefused) or exc.status not in _OF_ANOTHER_FORM:
                raise exc
            self._refusals.append(exc)
            self._latest = attempt.form, exc.status
        elif (
            attempt.form is BodyForm.QUEUE and self._refusals and self._refusals[0].status not in _NO_SUCH_ADDRESS
        ):
            # The gateway has read this order elsewhere, and refused it. Then a closed door here says nothing.
            self._latest = attempt.form, None
        else:
            raise exc

    def first_refusal(self) -> UpstreamRefused:
        """What to report if the create was refused in each form."""
        return self._refusals[0]

    def _is_worth_sending(self, attempt: Attempt) -> bool:
        """The same form is sent to another address only if there was none."""
        return self._latest is None or self._latest[0] is not attempt.form or self._latest[1] in _NO_SUCH_ADDRESS
