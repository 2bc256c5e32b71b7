from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.domain.guilds import (
    BLOCKED_PROMPTS,
    OUTSIDE_SERVERS,
    Access,
    Ban,
    BlockedTerm,
    DirectOrders,
    Guild,
    GuildSettings,
    OperatorDefaults,
    OperatorState,
    PolicyEntry,
    PolicyEntryKind,
)
from bot.domain.jobs import Order, Resolution
from bot.domain.models import WAN22_FLASH, WAN25_PREVIEW, Catalog
from bot.domain.policy import (
    AccessPolicy,
    ChannelNotAllowed,
    MemberBanned,
    ModelNotAllowed,
    PolicyViolation,
    PromptBlocked,
    Requester,
    ResolutionNotAllowed,
    RoleNotAllowed,
    RuleName,
    blocks_all_orders,
    evaluate_policy,
    find_violation,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
THREAD, CHANNEL, CATEGORY, ELSEWHERE = 100, 101, 102, 103
ARTISTS, MUTED = 200, 201
ADMIN = 9
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
    return _entries(PolicyEntryKind.CHANNEL, allowed, denied)


def roles(allowed: tuple[int, ...] = (), denied: tuple[int, ...] = ()) -> tuple[PolicyEntry, ...]:
    return _entries(PolicyEntryKind.ROLE, allowed, denied)


def _entries(kind: PolicyEntryKind, allowed: tuple[int, ...], denied: tuple[int, ...]) -> tuple[PolicyEntry, ...]:
    return (
        *(PolicyEntry(kind, target, allowed=True) for target in allowed),
        *(PolicyEntry(kind, target, allowed=False) for target in denied),
    )


def test_without_settings_every_order_is_allowed() -> None:
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
def test_a_server_needs_to_be_allowed_only_if_the_bot_is_not_open_to_all(
    *, access: Access, open_to_all: bool, refused: bool
) -> None:
    rules = policy(access=access, operator_defaults=OperatorDefaults(open_to_all=open_to_all))

    assert rule(rules) == (RuleName.ACCESS if refused else None)


def test_while_draining_every_order_is_refused() -> None:
    rules = policy(operator_state=OperatorState(draining=True))

    assert violation(rules) == PolicyViolation(RuleName.DRAINING)


def test_a_paused_server_refuses_every_order() -> None:
    assert rule(policy(GuildSettings(paused=True))) is RuleName.PAUSED


@pytest.mark.parametrize(
    ("until", "refused"),
    [(None, True), (NOW + HOUR, True), (NOW, False), (NOW - HOUR, False)],
)
def test_a_ban_applies_until_it_ends(*, until: datetime | None, refused: bool) -> None:
    rules = policy(ban=Ban(10, 1, "Spam", NOW - HOUR, until, ADMIN))

    assert rule(rules) == (RuleName.BANNED if refused else None)


def test_the_refusal_of_a_banned_member_includes_the_ban() -> None:
    ban = Ban(10, 1, "Spam", NOW, NOW + HOUR, ADMIN)

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
def test_channel_rules_apply_to_threads_and_categories(*, entries: tuple[PolicyEntry, ...], refused: bool) -> None:
    who = requester(roles=frozenset({ARTISTS}))

    assert rule(policy(entries=entries), who) == (RuleName.CHANNEL if refused else None)


@pytest.mark.parametrize(
    ("entries", "allowed"), [(channels(allowed=(300, 301)), (300, 301)), (channels(denied=(CHANNEL,)), ())]
)
def test_a_refused_channel_comes_with_the_allowed_ones(
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
def test_role_rules_apply_to_the_members_roles(
    *, entries: tuple[PolicyEntry, ...], theirs: tuple[int, ...], refused: bool
) -> None:
    who = requester(roles=frozenset(theirs))

    assert rule(policy(entries=entries), who) == (RuleName.ROLE if refused else None)


@pytest.mark.parametrize(
    ("entries", "theirs", "denied", "allowed"),
    [(roles(allowed=(ARTISTS,)), (), None, (ARTISTS,)), (roles(denied=(MUTED,)), (MUTED,), MUTED, ())],
)
def test_a_refused_role_comes_with_the_denied_or_the_allowed_roles(
    entries: tuple[PolicyEntry, ...], theirs: tuple[int, ...], denied: int | None, allowed: tuple[int, ...]
) -> None:
    expected = RoleNotAllowed(RuleName.ROLE, denied, allowed)

    assert violation(policy(entries=entries), requester(roles=frozenset(theirs))) == expected


def test_role_ids_and_channel_ids_are_not_confused() -> None:
    assert rule(policy(entries=roles(denied=(CHANNEL,)))) is None
    assert rule(policy(entries=channels(denied=(ARTISTS,))), requester(roles=frozenset({ARTISTS}))) is None


@pytest.mark.parametrize(
    ("only", "marked", "refused"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_age_restricted_only_refuses_all_other_channels(*, only: bool, marked: bool, refused: bool) -> None:
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
def test_only_allowed_resolutions_are_accepted(
    *, allowed: set[Resolution], wanted: Resolution, refused: bool
) -> None:
    rules = policy(GuildSettings(allowed_resolutions=frozenset(allowed)))
    order = Order("a fox", resolution=wanted)

    assert rule(rules, order=order) == (RuleName.RESOLUTION if refused else None)


def test_a_refused_resolution_comes_with_the_allowed_ones() -> None:
    said = violation(policy(GuildSettings(allowed_resolutions=frozenset({Resolution.P480}))))

    assert said == ResolutionNotAllowed(RuleName.RESOLUTION, (Resolution.P480,))


ONLY_25 = GuildSettings(allowed_models=frozenset({WAN25_PREVIEW.name, "retired"}))
OFFERED = OperatorDefaults(catalog=Catalog((WAN22_FLASH, WAN25_PREVIEW)))


def test_a_model_that_the_server_does_not_allow_is_refused_with_those_that_it_allows_and_that_are_offered() -> (
    None
):
    said = violation(policy(ONLY_25, operator_defaults=OFFERED))

    assert said == ModelNotAllowed(RuleName.MODEL, ("Wan 2.5 Preview",))
    assert violation(policy(ONLY_25)) == ModelNotAllowed(RuleName.MODEL, ())


def test_an_allowed_model_is_accepted_and_where_the_server_has_no_choice_made_all_are() -> None:
    order = Order("a fox", model=WAN25_PREVIEW.name)

    assert violation(policy(ONLY_25, operator_defaults=OFFERED), order=order) is None
    assert violation(policy(operator_defaults=OFFERED), order=order) is None


def test_1080p_is_used_only_where_a_server_allows_it() -> None:
    order = Order("a fox", resolution=Resolution.P1080, model=WAN25_PREVIEW.name)

    assert rule(policy(), order=order) is RuleName.RESOLUTION
    assert rule(policy(GuildSettings(allowed_resolutions=frozenset(Resolution))), order=order) is None


def test_a_blocked_word_is_quoted_as_written_in_the_prompt() -> None:
    said = find_violation("oh MY * WORD", [BlockedTerm("my word")])

    assert said == PromptBlocked(RuleName.BLOCKED_TERM, "MY * WORD")
    assert find_violation("my other word", [BlockedTerm("my word")]) is None


def test_a_ban_by_the_bot_is_a_pause() -> None:
    assert rule(policy(ban=Ban(10, 1, BLOCKED_PROMPTS, NOW, NOW + HOUR))) is RuleName.MEMBER_PAUSED


def test_the_first_violated_rule_is_reported() -> None:
    """The order of the rules: server, member, channel, order."""
    hits: dict[RuleName, dict[str, Any]] = {
        RuleName.ACCESS: {"access": Access.BLOCKED},
        RuleName.DRAINING: {"operator_state": OperatorState(draining=True)},
        RuleName.PAUSED: {"paused": True},
        RuleName.BANNED: {"ban": Ban(10, 1, "Spam", NOW, None, ADMIN)},
        RuleName.ROLE: {"entries": roles(allowed=(ARTISTS,))},
        RuleName.CHANNEL: {"entries": channels(denied=(CHANNEL,))},
        RuleName.AGE_RESTRICTED: {"age_restricted_only": True},
        RuleName.MODEL: {"allowed_models": frozenset({WAN25_PREVIEW.name})},
        RuleName.RESOLUTION: {"allowed_resolutions": frozenset({Resolution.P480})},
    }
    of_no_server = {RuleName.DIRECT_ORDERS, RuleName.MEMBER_PAUSED}  # the latter is a kind of ban
    names = [name for name in RuleName if name not in of_no_server]
    assert [*hits, RuleName.BLOCKED_TERM] == names
    while hits:
        said = {key: value for hit in hits.values() for key, value in hit.items() if key != "entries"}
        names_of_settings = ("paused", "age_restricted_only", "allowed_models", "allowed_resolutions")
        settings = {key: said.pop(key) for key in names_of_settings if key in said}
        entries = tuple(entry for hit in hits.values() for entry in hit.get("entries", ()))
        first = next(iter(hits))
        assert rule(policy(GuildSettings(**settings), entries=entries, **said)) is first
        del hits[first]
    assert rule(policy()) is None


@pytest.mark.parametrize(
    ("access", "enabled", "expected"),
    [
        (Access.OPEN, True, None),
        (Access.OPEN, False, RuleName.DIRECT_ORDERS),
        (Access.ALLOWED, False, None),
        (Access.BLOCKED, True, RuleName.ACCESS),
        (Access.BLOCKED, False, RuleName.ACCESS),
    ],
)
def test_direct_messages_are_open_if_the_operator_says_so_and_until_they_are_blocked(
    access: Access, *, enabled: bool, expected: RuleName | None
) -> None:
    defaults = OperatorDefaults(open_to_all=True, direct=DirectOrders(enabled=enabled)).within(OUTSIDE_SERVERS)
    outside = AccessPolicy(Guild(OUTSIDE_SERVERS, access=access), OperatorState(), defaults)

    violation = blocks_all_orders(outside, NOW)

    assert (violation.rule if violation else None) is expected


def test_servers_keep_their_own_limits_whatever_direct_messages_have() -> None:
    defaults = OperatorDefaults(direct=DirectOrders(enabled=True, videos_per_window=9))

    assert defaults.within(10**18) is defaults
