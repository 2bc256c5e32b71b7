"""How long a form may take to be shown: Discord takes it only as the first answer, within three seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FormTimes:
    """In seconds. lookup_s: for what it needs to know of its video. quote_s: for the line about what it takes."""

    lookup_s: float = 1.5
    quote_s: float = 1.0
