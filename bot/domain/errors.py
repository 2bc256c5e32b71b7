"""The one tree of errors.

Three families matter to a caller: what a member did wrong (`UserError`, whose reason the Discord side words), what
the upstream said (`UpstreamError`, whose class says what to do next), and what Discord said while something
was posted (`DeliveryError`). Everything else is a fault of the program or of its host.
"""

from enum import StrEnum


class ZoetropeError(Exception):
    """Anything this project raises on purpose."""


class SettingsError(ZoetropeError):
    """Settings are missing or malformed. `problems`: one readable line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreError(ZoetropeError):
    """The database cannot be used as it is; the text says what to do about it."""


class CommitUnknown(StoreError):
    """The database was lost while it was told to keep what was written: it may have kept it, or not."""


class Reason:
    """Why something a person asked for can't be done: a code and its values, never a sentence.

    Subclasses are frozen dataclasses beside the decision they explain; `bot.chat.messages.reason_texts` words
    each of them.
    """

    __slots__ = ()


class Remedy(StrEnum):
    """What the person may do about a refusal, beside asking again later where the reason names a time."""

    ASK_ADMINS = "ask_admins"
    ASK_OPERATOR = "ask_operator"


class UserError(ZoetropeError):
    """A person asked for something that can't be done. `reason` says why; the Discord side says it in words."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class PictureRefused(UserError):
    """The attachment can't become a first frame."""


class OrderRefused(UserError):
    """The prompt or an option is outside of what the model takes."""


class QuotaRefused(UserError):
    """A limit is reached.

    limit: its name, as `bot.domain.quotas.LimitName` has it.
    """

    def __init__(self, reason: Reason, *, limit: str) -> None:
        super().__init__(reason)
        self.limit = limit


class RuleRefused(UserError):
    """The server or the operator does not allow it: the place, the member, the words, or anything at present.

    rule: its name, as `bot.domain.policy.RuleName` has it.
    """

    def __init__(self, reason: Reason, *, rule: str) -> None:
        super().__init__(reason)
        self.rule = rule


class NotPossible(UserError):
    """The thing is gone, belongs to somebody else, or is past the point where this could be done."""


class UpstreamError(ZoetropeError):
    """Base of everything a `Provider` raises."""


class UpstreamRefused(UpstreamError):
    """The request itself is wrong, or the task is unknown (400, 404, 413, 422, or an error instead of an id).

    This job fails and nobody pays. `code`: the upstream's own code or the HTTP status, as text. `said`: its own
    words; None where it gave no reason.
    """

    def __init__(self, message: str, *, code: str | None = None, said: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.said = said


class UpstreamClosed(UpstreamError):
    """401 or 403: the key, the balance or a permission. No job is to blame: stop submitting, keep them all."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class UpstreamBusy(UpstreamError):
    """429. `retry_after_s`: seconds to wait as `Retry-After` said, None where it said nothing usable."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UpstreamUnreached(UpstreamError):
    """It is certain that no request reached the gateway (refused connection, DNS, TLS): safe to send again."""


class UpstreamIll(UpstreamError):
    """5xx, a time-out, a reset or a broken answer to a look or a download: look again later."""


class OutcomeUnknown(UpstreamError):
    """A create was sent and its answer was lost or unreadable: a paid task may exist. Never send it again."""


class ResultUnusable(UpstreamError):
    """The result can't be fetched and never will be: missing, too large, no video, or a forbidden address."""


class LoginRefused(ZoetropeError):
    """Discord does not take the token, or not what the bot asks for with it."""


class DeliveryError(ZoetropeError):
    """Base of what goes wrong when a message is posted, edited or looked for. Its text: what Discord said."""


class Undeliverable(DeliveryError):
    """There is nowhere to post: the channel or the server is gone."""


class DeliveryForbidden(DeliveryError):
    """The bot lacks a permission in the channel; an admin may give it back."""


class DeliveryDelayed(DeliveryError):
    """Discord is ill, slow or limits the rate: try again later."""


class TooLargeToPost(DeliveryError):
    """The file is over what the channel takes. `limit_bytes`: what surely fits."""

    def __init__(self, message: str, *, limit_bytes: int) -> None:
        super().__init__(message)
        self.limit_bytes = limit_bytes
