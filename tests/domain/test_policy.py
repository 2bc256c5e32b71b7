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
from bot.domain.policy import AccessPolicy, Requester, RuleName, best_resolution, evaluate_policy, violation_note

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
THREAD, CHANNEL, CATEGORY, ELSEWHERE = 100, 101, 102, 103
ARTISTS, MUTED = 200, 201
ORDER = Order("a fox runs through snow")


def book(settings: GuildSettings | None = None, **more: Any) -> AccessPolicy:
    access = more.pop("access", Access.OPEN)
    guild = Guild(10, settings or GuildSettings(), access)
    return AccessPolicy(
        guild, more.pop("house", OperatorState()), more.pop("operator_defaults", OperatorDefaults()), **more
    )


def requester(**more: Any) -> Requester:
    return Requester(10, THREAD, 1, **({"places": frozenset({THREAD, CHANNEL, CATEGORY})} | more))


def rule(rules: AccessPolicy, who: Requester | None = None, order: Order = ORDER) -> RuleName | None:
    refusal = evaluate_policy(rules, who or requester(), order, NOW)
    return None if refusal is None else refusal.rule


def text(rules: AccessPolicy, who: Requester | None = None, order: Order = ORDER) -> str:
    refusal = evaluate_policy(rules, who or requester(), order, NOW)
    assert refusal is not None
    return refusal.text


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
    assert rule(book()) is None


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
    rules = book(access=access, operator_defaults=OperatorDefaults(open_to_all=open_to_all))

    assert rule(rules) == (RuleName.ACCESS if refused else None)


def test_a_draining_house_takes_nothing_and_says_that_it_is_the_operator() -> None:
    rules = book(house=OperatorState(draining=True))

    assert rule(rules) is RuleName.DRAINING
    assert "operator" in text(rules)


def test_a_paused_server_takes_nothing() -> None:
    assert rule(book(GuildSettings(paused=True))) is RuleName.PAUSED


@pytest.mark.parametrize(
    ("until", "refused"),
    [(None, True), (NOW + HOUR, True), (NOW, False), (NOW - HOUR, False)],
)
def test_a_ban_holds_until_it_ends(*, until: datetime | None, refused: bool) -> None:
    rules = book(ban=Ban(10, 1, "Spam", NOW - HOUR, until))

    assert rule(rules) == (RuleName.BANNED if refused else None)


def test_a_banned_member_is_told_why_until_when_and_who_can_change_it() -> None:
    said = text(book(ban=Ban(10, 1, "Spam *and* <@5>", NOW, NOW + HOUR)))

    assert f"<t:{int((NOW + HOUR).timestamp())}:f>" in said
    assert r"Spam \*and\* \<\@5\>." in said
    assert "admins" in said


@pytest.mark.parametrize(
    ("places", "refused"),
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
def test_channels(*, places: tuple[PolicyEntry, ...], refused: bool) -> None:
    who = requester(roles=frozenset({ARTISTS}))

    assert rule(book(places=places), who) == (RuleName.CHANNEL if refused else None)


def test_a_wrong_channel_is_told_with_the_right_ones() -> None:
    said = text(book(places=channels(allowed=tuple(range(300, 315)))))

    assert "<#300>" in said
    assert "and 5 more" in said


def test_a_denied_channel_names_no_other_one_where_none_is_allowed() -> None:
    assert "Use another channel." in text(book(places=channels(denied=(CHANNEL,))))


@pytest.mark.parametrize(
    ("places", "theirs", "refused"),
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
def test_roles(*, places: tuple[PolicyEntry, ...], theirs: tuple[int, ...], refused: bool) -> None:
    who = requester(roles=frozenset(theirs))

    assert rule(book(places=places), who) == (RuleName.ROLE if refused else None)


def test_a_member_without_the_role_is_told_which_one_it_takes() -> None:
    assert f"<@&{ARTISTS}>" in text(book(places=roles(allowed=(ARTISTS,))))
    denied = text(book(places=roles(denied=(MUTED,))), requester(roles=frozenset({MUTED})))
    assert f"<@&{MUTED}>" in denied


def test_the_id_of_a_role_means_nothing_as_a_channel() -> None:
    assert rule(book(places=roles(denied=(CHANNEL,)))) is None
    assert rule(book(places=channels(denied=(ARTISTS,))), requester(roles=frozenset({ARTISTS}))) is None


@pytest.mark.parametrize(
    ("only", "marked", "refused"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_age_restricted_channels(*, only: bool, marked: bool, refused: bool) -> None:
    rules = book(GuildSettings(age_restricted_only=only))

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
    rules = book(GuildSettings(allowed_resolutions=frozenset(allowed)))
    order = Order("a fox", resolution=wanted)

    assert rule(rules, order=order) == (RuleName.RESOLUTION if refused else None)


def test_a_wrong_resolution_is_told_with_the_right_one() -> None:
    said = text(book(GuildSettings(allowed_resolutions=frozenset({Resolution.P480}))))

    assert "480P only" in said


@pytest.mark.parametrize(
    ("allowed", "best"),
    [({"480P", "720P"}, "720P"), ({"480P"}, "480P"), ({"720P"}, "720P"), (set(), "720P")],
)
def test_who_names_no_resolution_gets_the_best_that_is_allowed(allowed: set[str], best: str) -> None:
    assert best_resolution({Resolution(name) for name in allowed}) == best


def test_a_blocked_word_is_quoted_as_it_stands_in_the_prompt_and_escaped() -> None:
    rules = book(words=(BlockedTerm("my word"),))
    refusal = evaluate_policy(rules, requester(), Order("oh MY * WORD"), NOW)

    assert refusal is not None
    assert (refusal.rule, refusal.word) == (RuleName.WORDS, "MY * WORD")
    assert r"“MY \* WORD”" in refusal.text


def test_blocked_words_are_welcome_in_the_negative_prompt() -> None:
    rules = book(words=(BlockedTerm("gore"),))

    assert rule(rules, order=Order("a fox", negative_prompt="gore")) is None


def test_the_first_of_all_rules_that_hit_is_told() -> None:
    """Nobody at all, not this member, not here, not this."""
    hits: dict[RuleName, dict[str, Any]] = {
        RuleName.ACCESS: {"access": Access.BLOCKED},
        RuleName.DRAINING: {"house": OperatorState(draining=True)},
        RuleName.PAUSED: {"paused": True},
        RuleName.BANNED: {"ban": Ban(10, 1, "Spam", NOW)},
        RuleName.ROLE: {"places": roles(allowed=(ARTISTS,))},
        RuleName.CHANNEL: {"places": channels(denied=(CHANNEL,))},
        RuleName.AGE_RESTRICTED: {"age_restricted_only": True},
        RuleName.RESOLUTION: {"allowed_resolutions": frozenset({Resolution.P480})},
        RuleName.WORDS: {"words": (BlockedTerm("fox"),)},
    }
    assert list(hits) == list(RuleName)
    while hits:
        said = {key: value for hit in hits.values() for key, value in hit.items() if key != "places"}
        settings = {
            key: said.pop(key) for key in ("paused", "age_restricted_only", "allowed_resolutions") if key in said
        }
        places = tuple(place for hit in hits.values() for place in hit.get("places", ()))
        first = next(iter(hits))
        assert rule(book(GuildSettings(**settings), places=places, **said)) is first
        del hits[first]
    assert rule(book()) is None


def test_every_refusal_fits_a_message() -> None:
    many = tuple(range(10**18, 10**18 + 50))
    for rules in (
        book(ban=Ban(10, 1, "*" * 2000, NOW)),
        book(places=channels(allowed=many)),
        book(places=roles(allowed=many)),
        book(words=(BlockedTerm("x" * 100), BlockedTerm("🔥+", is_pattern=True))),
    ):
        assert len(text(rules, order=Order("🔥" * 800)).encode("utf-16-le")) // 2 < 1900


@pytest.mark.parametrize(
    ("ban", "left", "said"),
    [
        (None, None, ""),
        (None, 2, "2 more blocked prompts pause you."),
        (None, 1, "The next blocked prompt pauses you."),
        (Ban(10, 1, "x", NOW, NOW + HOUR), None, f"until <t:{int((NOW + HOUR).timestamp())}:f>"),
        (Ban(10, 1, "x", NOW), 3, "for good"),
    ],
)
def test_a_member_is_told_what_follows_from_a_blocked_prompt(ban: Ban | None, left: int | None, said: str) -> None:
    assert said in violation_note(ban, left)
