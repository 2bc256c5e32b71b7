from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.domain.guilds import (
    Access,
    Ban,
    BlockedTerm,
    Guild,
    GuildSettings,
    OperatorDefaults,
    OperatorState,
    PolicyEntry,
    PolicyEntryKind,
)
from bot.domain.jobs import Order, Resolution
from bot.domain.policy import (
    AccessPolicy,
    ChannelNotAllowed,
    MemberBanned,
    PolicyViolation,
    PromptBlocked,
    Requester,
    ResolutionNotAllowed,
    RoleNotAllowed,
    RuleName,
    best_resolution,
    evaluate_policy,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
THREAD, CHANNEL, CATEGORY, ELSEWHERE = 100, 101, 102, 103
ARTISTS, MUTED = 200, 201
ORDER = Order("a fox runs through snow")


def policy(settings: GuildSettings | None = None, **more: Any) -> AccessPolicy:
    access = more.pop("access", Access.OPEN)
    guild = Guild(10, settings or GuildSettings(), access)
    return AccessPolicy(
        guild,
        more.pop("operator_state", OperatorState()),
        more.pop("operator_defaults", OperatorDefaults()),
        **more,
    )


def requester(**more: Any) -> Requester:
    return Requester(10, THREAD, 1, **({"channel_ids": frozenset({THREAD, CHANNEL, CATEGORY})} | more))


def violation(rules: AccessPolicy, who: Requester | None = None, order: Order = ORDER) -> PolicyViolation | None:
    return evaluate_policy(rules, who or requester(), order, NOW)


def rule(rules: AccessPolicy, who: Requester | None = None, order: Order = ORDER) -> RuleName | None:
    refusal = violation(rules, who, order)
    return None if refusal is None else refusal.rule


def channels(allowed: tuple[int, ...] = (), denied: tuple[int, ...] = ()) -> tuple[PolicyEntry, ...]:
    return _places(PolicyEntryKind.CHANNEL, allowed, denied)


def roles(allowed: tuple[int, ...] = (), denied: tuple[int, ...] = ()) -> tuple[PolicyEntry, ...]:
    return _places(PolicyEntryKind.ROLE, allowed, denied)


def _places(kind: PolicyEntryKind, allowed: tuple[int, ...], denied: tuple[int, ...]) -> tuple[PolicyEntry, ...]:
    return (
        *(PolicyEntry(kind, target, allowed=True) for target in allowed),
        *(PolicyEntry(kind, target, allowed=False) for target in denied),
    )


def test_where_nothing_is_set_everything_may_be_asked_for() -> None:
    assert rule(policy()) is None


@pytest.mark.parametrize(
    ("access", "open_to_all", "refused"),
    [
        (Access.OPEN, True, False),
        (Access.OPEN, False, True),
        (Access.ALLOWED, True, False),
        (Access.ALLOWED, False, False),
        (Access.BLOCKED, True, True),
        (Access.BLOCKED, False, True),
    ],
)
def test_a_server_needs_the_operators_leave_only_where_that_is_set(
    *, access: Access, open_to_all: bool, refused: bool
) -> None:
    rules = policy(access=access, operator_defaults=OperatorDefaults(open_to_all=open_to_all))

    assert rule(rules) == (RuleName.ACCESS if refused else None)


def test_a_draining_house_takes_nothing_and_says_that_it_is_the_operator() -> None:
    rules = policy(operator_state=OperatorState(draining=True))

    assert violation(rules) == PolicyViolation(RuleName.DRAINING)


def test_a_paused_server_takes_nothing() -> None:
    assert rule(policy(GuildSettings(paused=True))) is RuleName.PAUSED


@pytest.mark.parametrize(
    ("until", "refused"),
    [(None, True), (NOW + HOUR, True), (NOW, False), (NOW - HOUR, False)],
)
def test_a_ban_holds_until_it_ends(*, until: datetime | None, refused: bool) -> None:
    rules = policy(ban=Ban(10, 1, "Spam", NOW - HOUR, until))

    assert rule(rules) == (RuleName.BANNED if refused else None)


def test_a_banned_member_hears_of_the_ban_and_who_can_change_it() -> None:
    ban = Ban(10, 1, "Spam", NOW, NOW + HOUR)

    assert violation(policy(ban=ban)) == MemberBanned(RuleName.BANNED, ban)


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        (channels(), False),
        (channels(allowed=(THREAD,)), False),
        (channels(allowed=(CHANNEL,)), False),  # a thread follows its channel
        (channels(allowed=(CATEGORY,)), False),
        (channels(allowed=(ELSEWHERE,)), True),
        (channels(allowed=(ELSEWHERE, CHANNEL)), False),
        (channels(denied=(THREAD,)), True),
        (channels(denied=(CHANNEL,)), True),
        (channels(denied=(CATEGORY,)), True),
        (channels(denied=(ELSEWHERE,)), False),
        (channels(allowed=(CATEGORY,), denied=(CHANNEL,)), True),
        (channels(allowed=(THREAD,), denied=(CATEGORY,)), True),
        (channels(allowed=(CHANNEL,), denied=(ELSEWHERE,)), False),
        (roles(allowed=(ARTISTS,)), False),  # the member has it; roles say nothing of channels
    ],
)
def test_channels(*, entries: tuple[PolicyEntry, ...], refused: bool) -> None:
    who = requester(roles=frozenset({ARTISTS}))

    assert rule(policy(entries=entries), who) == (RuleName.CHANNEL if refused else None)


@pytest.mark.parametrize(
    ("entries", "allowed"), [(channels(allowed=(300, 301)), (300, 301)), (channels(denied=(CHANNEL,)), ())]
)
def test_a_wrong_channel_is_told_with_the_right_ones(
    entries: tuple[PolicyEntry, ...], allowed: tuple[int, ...]
) -> None:
    assert violation(policy(entries=entries)) == ChannelNotAllowed(RuleName.CHANNEL, allowed)


@pytest.mark.parametrize(
    ("entries", "theirs", "refused"),
    [
        (roles(), (), False),
        (roles(allowed=(ARTISTS,)), (ARTISTS,), False),
        (roles(allowed=(ARTISTS,)), (MUTED,), True),
        (roles(allowed=(ARTISTS,)), (), True),
        (roles(denied=(MUTED,)), (), False),
        (roles(denied=(MUTED,)), (MUTED,), True),
        (roles(denied=(MUTED,)), (ARTISTS, MUTED), True),
        (roles(allowed=(ARTISTS,), denied=(MUTED,)), (ARTISTS, MUTED), True),
        (roles(allowed=(ARTISTS,), denied=(MUTED,)), (ARTISTS,), False),
        (channels(allowed=(THREAD,)), (), False),
    ],
)
def test_roles(*, entries: tuple[PolicyEntry, ...], theirs: tuple[int, ...], refused: bool) -> None:
    who = requester(roles=frozenset(theirs))

    assert rule(policy(entries=entries), who) == (RuleName.ROLE if refused else None)


@pytest.mark.parametrize(
    ("entries", "theirs", "denied", "allowed"),
    [(roles(allowed=(ARTISTS,)), (), None, (ARTISTS,)), (roles(denied=(MUTED,)), (MUTED,), MUTED, ())],
)
def test_a_member_without_the_role_is_told_which_one_it_takes(
    entries: tuple[PolicyEntry, ...], theirs: tuple[int, ...], denied: int | None, allowed: tuple[int, ...]
) -> None:
    expected = RoleNotAllowed(RuleName.ROLE, denied, allowed)

    assert violation(policy(entries=entries), requester(roles=frozenset(theirs))) == expected


def test_the_id_of_a_role_means_nothing_as_a_channel() -> None:
    assert rule(policy(entries=roles(denied=(CHANNEL,)))) is None
    assert rule(policy(entries=channels(denied=(ARTISTS,))), requester(roles=frozenset({ARTISTS}))) is None


@pytest.mark.parametrize(
    ("only", "marked", "refused"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_age_restricted_channels(*, only: bool, marked: bool, refused: bool) -> None:
    rules = policy(GuildSettings(age_restricted_only=only))

    assert rule(rules, requester(age_restricted=marked)) == (RuleName.AGE_RESTRICTED if refused else None)


@pytest.mark.parametrize(
    ("allowed", "wanted", "refused"),
    [
        ({Resolution.P480}, Resolution.P720, True),
        ({Resolution.P480}, Resolution.P480, False),
        ({Resolution.P480, Resolution.P720}, Resolution.P720, False),
        (set(), Resolution.P720, False),  # never stored: it would forbid everything
    ],
)
def test_resolutions(*, allowed: set[Resolution], wanted: Resolution, refused: bool) -> None:
    rules = policy(GuildSettings(allowed_resolutions=frozenset(allowed)))
    order = Order("a fox", resolution=wanted)

    assert rule(rules, order=order) == (RuleName.RESOLUTION if refused else None)


def test_a_wrong_resolution_is_told_with_the_right_one() -> None:
    said = violation(policy(GuildSettings(allowed_resolutions=frozenset({Resolution.P480}))))

    assert said == ResolutionNotAllowed(RuleName.RESOLUTION, (Resolution.P480,))


@pytest.mark.parametrize(
    ("allowed", "best"),
    [({"480P", "720P"}, "720P"), ({"480P"}, "480P"), ({"720P"}, "720P"), (set(), "720P")],
)
def test_who_names_no_resolution_gets_the_best_that_is_allowed(allowed: set[str], best: str) -> None:
    assert best_resolution({Resolution(name) for name in allowed}) == best


def test_a_blocked_word_is_named_as_it_stands_in_the_prompt() -> None:
    rules = policy(blocked_terms=(BlockedTerm("my word"),))

    said = violation(rules, order=Order("oh MY * WORD"))

    assert said == PromptBlocked(RuleName.BLOCKED_TERM, "MY * WORD")


def test_blocked_words_are_welcome_in_the_negative_prompt() -> None:
    rules = policy(blocked_terms=(BlockedTerm("gore"),))

    assert rule(rules, order=Order("a fox", negative_prompt="gore")) is None


def test_the_first_of_all_rules_that_hit_is_told() -> None:
    """Nobody at all, not this member, not here, not this."""
    hits: dict[RuleName, dict[str, Any]] = {
        RuleName.ACCESS: {"access": Access.BLOCKED},
        RuleName.DRAINING: {"operator_state": OperatorState(draining=True)},
        RuleName.PAUSED: {"paused": True},
        RuleName.BANNED: {"ban": Ban(10, 1, "Spam", NOW)},
        RuleName.ROLE: {"entries": roles(allowed=(ARTISTS,))},
        RuleName.CHANNEL: {"entries": channels(denied=(CHANNEL,))},
        RuleName.AGE_RESTRICTED: {"age_restricted_only": True},
        RuleName.RESOLUTION: {"allowed_resolutions": frozenset({Resolution.P480})},
        RuleName.BLOCKED_TERM: {"blocked_terms": (BlockedTerm("fox"),)},
    }
    assert list(hits) == list(RuleName)
    while hits:
        said = {key: value for hit in hits.values() for key, value in hit.items() if key != "entries"}
        settings = {
            key: said.pop(key) for key in ("paused", "age_restricted_only", "allowed_resolutions") if key in said
        }
        entries = tuple(place for hit in hits.values() for place in hit.get("entries", ()))
        first = next(iter(hits))
        assert rule(policy(GuildSettings(**settings), entries=entries, **said)) is first
        del hits[first]
    assert rule(policy()) is None
