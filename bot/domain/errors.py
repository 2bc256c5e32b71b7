"""All errors.

`UserError`: a person asked for something that can't be done. `UpstreamError`: the video service; its class says
what to do next. `DeliveryError`: Discord, while posting. Everything else is a bug or the host's fault.
"""

from enum import Enum, StrEnum, auto


class ZoetropeError(Exception):
    """Anything this project raises on purpose."""


class SettingsError(ZoetropeError):
    """Settings are missing or malformed. `problems`: one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreError(ZoetropeError):
    """The database cannot be used as it is; the text says what to do about it."""


class DatabaseInUse(StoreError):
    """Another process uses the SQLite file."""


class DatabaseFileLost(StoreError):
    """The SQLite file was deleted, moved or replaced since it was opened: what is written now would be lost."""


class CommitUnknown(StoreError):
    """The connection was lost during a commit, which may or may not have happened."""


class Reason:
    """Why something can't be done: a type and its values, never a sentence.

    Subclasses are frozen dataclasses, each defined next to its decision, and enums such as `Problem`.
    `bot.chat.messages.reason_texts` turns them into text.
    """

    __slots__ = ()


class Problem(Reason, Enum):
    """The reasons that need no values."""

    PROMPT_EMPTY = auto()  # it has no visible character
    SEED_OUT_OF_RANGE = auto()
    VARIATIONS_OUT_OF_RANGE = auto()
    DURATION_UNREADABLE = auto()
    DURATION_TOO_LONG = auto()
    AMOUNT_UNREADABLE = auto()
    AMOUNT_TOO_LARGE = auto()
    ORDER_NOT_STORED = auto()  # the database is unavailable: nothing was accepted or charged
    NOT_YOUR_VIDEO = auto()  # it doesn't exist, or is another member's or server's: deliberately not distinguished
    VIDEO_ENDED = auto()
    VIDEO_NOT_KNOWN = auto()  # forgotten, or posted in another channel or server: deliberately not distinguished
    PICTURE_NOT_KEPT = auto()


class Remedy(StrEnum):
    """What the person can do about a refusal, besides asking again at the time that the reason names."""

    ASK_ADMINS = "ask_admins"
    ASK_OPERATOR = "ask_operator"


class UserError(ZoetropeError):
    """A person asked for something that can't be done, for this `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class PictureRefused(UserError):
    """The attachment can't become a first frame."""


class OrderRefused(UserError):
    """The prompt or an option is not valid for the model."""


class QuotaRefused(UserError):
    """A limit is reached. limit: a `bot.domain.quotas.LimitName`."""

    def __init__(self, reason: Reason, *, limit: str) -> None:
        super().__init__(reason)
        self.limit = limit


class RuleRefused(UserError):
    """The server's or the operator's policy does not allow it. rule: a `bot.domain.policy.RuleName`."""

    def __init__(self, reason: Reason, *, rule: str) -> None:
        super().__init__(reason)
        self.rule = rule


class NotPossible(UserError):
    """The thing is gone, belongs to somebody else, or is past the point where this is possible."""


class UpstreamError(ZoetropeError):
    """Base of everything a `Provider` raises."""


class UpstreamRefused(UpstreamError):
    """The request itself is wrong, or the task is unknown (400, 404, 413, 422, or an error instead of an id).

    This job fails and nobody pays. `code`: the upstream's code or the HTTP status, as text. `said`: its message,
    if any. `status`: the HTTP status, where there was a request.
    """

    def __init__(
        self, message: str, *, code: str | None = None, said: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.said = said
        self.status = status


class ContentRefused(UpstreamRefused):
    """The upstream's moderation rejected the picture or the prompt."""


class UpstreamClosed(UpstreamError):
    """401 or 403: the key, the balance or a permission. Not the job's fault: stop submitting and keep all jobs."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class UpstreamBusy(UpstreamError):
    """429. `retry_after_s`: from `Retry-After`, in seconds; None if it is missing or unusable."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UpstreamUnreached(UpstreamError):
    """No request reached the gateway (refused connection, DNS, TLS): safe to send again."""


class LeaseOver(UpstreamError):
    """A create was not sent, as its job may be another process's by now: this one was stopped for too long."""


class UpstreamIll(UpstreamError):
    """5xx, a time-out, a reset or a broken response to a poll or a download: try again later."""


class OutcomeUnknown(UpstreamError):
    """A create was sent and its response was lost or unreadable: a paid task may exist. Never send it again."""


class ResultRefused(UpstreamError):
    """The result's link is refused (401, 403, 404, 410): it may be too early or too old; ask for a fresh one."""


class ResultIncomplete(UpstreamError):
    """The result ends before its video does: try again for some minutes, and ask for a fresh link."""


class ResultUnusable(UpstreamError):
    """The result can never be fetched: missing, too large, not a video, or a forbidden address."""


class OutOfMemory(ZoetropeError):
    """The process ran out of memory again and again, and can't be relied on."""


class PortUnavailable(ZoetropeError):
    """The port of the server for the operator is taken, or not this user's to open; the text says what to do."""


class LoginRefused(ZoetropeError):
    """Discord rejects the token or the requested intents."""


class DeliveryError(ZoetropeError):
    """Base of all errors while a message is posted, edited or looked up. Its text: Discord's message."""


class Undeliverable(DeliveryError):
    """There is nowhere to post: the channel or the server is gone."""


class DeliveryForbidden(DeliveryError):
    """The bot lacks a permission in the channel; an admin can grant it."""


class DeliveryDelayed(DeliveryError):
    """Discord has an outage, is slow or limits the rate: try again later."""


class ThreadLocked(DeliveryDelayed):
    """The thread is archived and locked, which moderators do for a while or for good."""


class TooLargeToPost(DeliveryError):
    """The file exceeds the channel's limit. `limit_bytes`: a smaller size that may fit; 0 if none is known."""

    def __init__(self, message: str, *, limit_bytes: int) -> None:
        super().__init__(message)
        self.limit_bytes = limit_bytes


class FileUnreachable(ZoetropeError):
    """Discord's file servers can't be reached, or answer that they can't serve now."""


class FileGone(ZoetropeError):
    """Discord's file servers have no such file, or the link to it has expired."""


class FileTooLarge(ZoetropeError):
    """The file exceeds the limit. size_bytes: its size, where that is known."""

    def __init__(self, size_bytes: int | None) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes
