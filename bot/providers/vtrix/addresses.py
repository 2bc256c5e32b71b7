"""Where the gateway is asked, by dialect. Pure.

The API key goes along with every request, so a URL that the gateway gives is not believed: whatever host it names,
only its path and query are used, at the origin of the base URL.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from urllib.parse import quote

from yarl import URL

from bot.providers.http_client import parse_link
from bot.providers.vtrix.dialects import URL_FIELDS
from bot.providers.vtrix.requests import BodyForm

_CREATE_PATH = "model/v1/generation"
_POLL_PATHS = ("model/v1/generation/task", "api/v1/multi-models-generate")

_QUEUE_PATHS = ("model/v1/queue", "v1/queue")
"""The vendor documents the first, with a base URL of which `/model` is a part; ours may have that as well."""

_QUEUE_ENDS = dict(zip(URL_FIELDS, ("status", "response", "cancel"), strict=True))


class PollAddress(IntEnum):
    """The number of the address that each dialect has, see `Addresses.poll`. Those of the queue begin at QUEUE."""

    BARE = 0
    WRAPPED = 1
    QUEUE = 2


class Addresses:
    """The addresses at one gateway. base: the base URL, whose path is kept."""

    def __init__(self, base: URL) -> None:
        self._base = base
        self._root = str(base).rstrip("/")

    def creates(self, form: BodyForm, model: str) -> tuple[URL, ...]:
        """Where a create in this form may go, the most likely first."""
        if form is not BodyForm.QUEUE:
            return (self._at(_CREATE_PATH),)
        return tuple(self._at(queue, model) for queue in _QUEUE_PATHS)

    def poll(self, task_id: str, number: int, queue_models: Sequence[str]) -> URL:
        """Where a task without URLs may be found. number: less than `count_polls`.

        queue_models: as the gateway calls them; none if the queue isn't in use.
        """
        if number < PollAddress.QUEUE:
            return self._at(_POLL_PATHS[number], task_id)
        queue, model = divmod(number - PollAddress.QUEUE, len(queue_models))
        return self._at(_QUEUE_PATHS[queue], queue_models[model], "requests", task_id, "status")

    @staticmethod
    def count_polls(queue_models: Sequence[str]) -> int:
        """At how many addresses a task without URLs may be found; see `poll`."""
        return len(_POLL_PATHS) + len(_QUEUE_PATHS) * len(queue_models)

    def queue_urls(self, create: URL, task_id: str, told: Mapping[str, str], *, secret: str) -> dict[str, str]:
        """Where to ask about a task of the queue: the URLs that the gateway gave, or else the documented ones.

        create: where the task was created. secret: a URL with this in it is not used, since URLs are stored.
        """
        urls = {}
        for name, end in _QUEUE_ENDS.items():
            url = self.own(told.get(name, ""))
            if url is None or secret in str(url) or secret in url.human_repr():
                url = URL(f"{create}/requests/{quote(task_id, safe='')}/{end}", encoded=True)
            urls[name] = str(url)
        return urls

    def result(self, status_url: URL, *told: str | None) -> URL | None:
        """Where the queue has the result of a task: at the first usable one of these, or beside its status."""
        for text in told:
            if text is not None and (url := self.own(text)) is not None:
                return url
        path, slash, end = status_url.raw_path.rpartition("/")
        if end != _QUEUE_ENDS["status_url"]:
            return None
        return self.own(f"{status_url.origin()}{path}{slash}{_QUEUE_ENDS['response_url']}")

    def own(self, text: str) -> URL | None:
        """A given URL at the base URL's origin, its path and query byte for byte; None if it is not usable."""
        link = parse_link(text, self._base) if text.strip() else None
        if link is None or link.scheme not in {"http", "https"} or link.host is None or len(link.raw_path) <= 1:
            return None
        return URL.build(
            scheme=self._base.scheme,
            authority=self._base.raw_authority,
            path=link.raw_path,
            query_string=link.raw_query_string,
            encoded=True,
        )

    def is_foreign(self, text: str) -> bool:
        """Whether a given URL names another origin than the base URL."""
        link = parse_link(text, self._base)
        return link is not None and link.host is not None and link.origin() != self._base.origin()

    def _at(self, place: str, *segments: str) -> URL:
        # Quoted by hand: a model and an id are one path segment each, whatever characters they contain.
        quoted = "".join(f"/{quote(segment, safe='')}" for segment in segments)
        return URL(f"{self._root}/{place}{quoted}", encoded=True)
