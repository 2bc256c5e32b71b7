"""What admins look after: what may be asked for, where and by whom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.blocked_terms import (
    ALL_PATTERNS_STEPS,
    PATTERN_CHARS_MAX,
    PATTERNS_MAX,
    WORDS_MAX,
    checked_pattern,
    checked_word,
    find_term,
    match_key,
    pattern_steps,
    split_words,
)
from bot.domain.errors import NotPossible, Reason
from bot.domain.guilds import BlockedTerm, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.services.admin.audited import Acts, Admin
from bot.store.guilds import guild_settings, policy_entries

PLACES_MAX = 50
"""Channels, and likewise roles, that a server allows or denies: so many fit into one message."""

TYPED_MAX = PATTERN_CHARS_MAX
"""Characters of the longest entry among the blocked words."""

STRIKES_MAX = 20
PAUSE_HOURS_MAX = 720


class RuleProblem(StrEnum):
    """Why a rule can't be set as an admin wants it."""

    EVERYONE_IS_NO_ROLE = "everyone_is_no_role"
    TERM_NOT_BLOCKED = "term_not_blocked"
    NO_RESOLUTION_LEFT = "no_resolution_left"
    NO_LOG_CHANNEL = "no_log_channel"


@dataclass(frozen=True, slots=True)
class CannotSetRule(Reason):
    """A rule can't be set as an admin wants it."""

    problem: RuleProblem


@dataclass(frozen=True, slots=True)
class TooManyPlaces(Reason):
    """So many channels or roles are allowed or denied that one more is too many."""

    kind: PolicyEntryKind
    most: int


@dataclass(frozen=True, slots=True)
class PlaceNotSet(Reason):
    """The channel or role is neither allowed nor denied."""

    kind: PolicyEntryKind


@dataclass(frozen=True, slots=True)
class TooManyTerms(Reason):
    """The blocked words would be `count`, patterns included."""

    count: int
    most: int


@dataclass(frozen=True, slots=True)
class TooManyPatterns(Reason):
    """There would be more than `most` patterns."""

    most: int


@dataclass(frozen=True, slots=True)
class PatternsTooSlow(Reason):
    """All patterns together would take too many steps to search for."""

    steps: int
    most: int


@dataclass(frozen=True, slots=True)
class StrikesOutOfBounds(Reason):
    """The number of blocked prompts that pauses a member must be 0 to `most`."""

    most: int


@dataclass(frozen=True, slots=True)
class StrikePauseOutOfBounds(Reason):
    """A pause after blocked prompts must last 1 to `most_hours` hours."""

    most_hours: int


@dataclass(frozen=True, slots=True)
class WordsAdded:
    """What became of words to be blocked. known: those that something blocks already, as it was written."""

    entry: AuditEntry
    added: tuple[BlockedTerm, ...]
    known: tuple[BlockedTerm, ...]


class Rules(Acts):
    """Channels, roles, words, resolutions, age-restricted channels, the approval queue and strikes."""

    async def places(self, admin: Admin, kind: PolicyEntryKind) -> list[PolicyEntry]:
        """The channels or roles that are allowed or denied."""
        async with self._database.read() as connection:
            return [
                place for place in await policy_entries.entries(connection, admin.guild_id) if place.kind is kind
            ]

    async def set_place(self, admin: Admin, place: PolicyEntry) -> AuditEntry:
        """Allows or denies a channel or a role. Raises: NotPossible where there are too many."""
        if place.kind is PolicyEntryKind.ROLE and place.target_id == admin.guild_id:
            raise NotPossible(CannotSetRule(RuleProblem.EVERYONE_IS_NO_ROLE))
        async with self._act(admin) as act:
            kin = [
                said
                for said in await policy_entries.entries(act.connection, admin.guild_id)
                if said.kind is place.kind
            ]
            before = next((said for said in kin if said.target_id == place.target_id), None)
            if before is None and len(kin) >= PLACES_MAX:
                raise NotPossible(TooManyPlaces(place.kind, PLACES_MAX))
            await policy_entries.put_entry(act.connection, admin.guild_id, place)
            return await act.record(_place_change(place, before, place))

    async def forget_place(self, admin: Admin, kind: PolicyEntryKind, target_id: int) -> AuditEntry:
        """Says nothing about a channel or role any more. Raises: NotPossible where nothing was said."""
        async with self._act(admin) as act:
            for place in await policy_entries.entries(act.connection, admin.guild_id):
                if (place.kind, place.target_id) == (kind, target_id):
                    await policy_entries.remove_entry(act.connection, admin.guild_id, kind, target_id)
                    return await act.record(_place_change(place, place, None))
        raise NotPossible(PlaceNotSet(kind))

    async def words(self, admin: Admin) -> tuple[BlockedTerm, ...]:
        """What no prompt may hold."""
        async with self._database.read() as connection:
            return await policy_entries.terms(connection, admin.guild_id)

    async def blocked(self, admin: Admin) -> tuple[tuple[BlockedTerm, ...], GuildSettings]:
        """What no prompt may hold, and the settings that say what follows from it."""
        async with self._database.read() as connection:
            settings = (await guild_settings.get(connection, admin.guild_id)).settings
            return await policy_entries.terms(connection, admin.guild_id), settings

    async def add_words(self, admin: Admin, typed: str, *, pattern: bool = False) -> WordsAdded:
        """Blocks words, all or none of them, or one pattern.

        typed: words and phrases with commas or line ends between them, or the pattern.
        Raises: UserError where one can't be used, NotPossible where they are too many.
        """
        words = (
            [checked_pattern(typed)] if pattern else [checked_word(word) for word in split_words(typed) or [""]]
        )
        async with self._act(admin) as act:
            before = await policy_entries.terms(act.connection, admin.guild_id)
            known, keys = [], {match_key(word) for word in before}
            added: dict[str, BlockedTerm] = {}
            for word in words:
                if (key := match_key(word)) in keys or key in added:
                    known.append(word)
                else:
                    added[key] = word
            new = tuple(added.values())
            # One that is written as an entry of the other kind takes its place.
            after = {word.text: word for word in (*before, *new)}
            _refuse_too_many(list(after.values()))
            if any(word.is_pattern for word in new):
                _refuse_too_slow(list(after.values()))
            await policy_entries.add_terms(act.connection, admin.guild_id, new)
            values = {"count": len(after)} | ({"added": [_term(word) for word in new]} if new else {})
            change = AuditedChange(Action.TERMS_BLOCKED, before={"count": len(before)}, after=values)
            return WordsAdded(await act.record(change), new, tuple(known))

    async def remove_word(self, admin: Admin, typed: str) -> AuditEntry:
        """Lets a word or pattern in again. Raises: NotPossible where it is not blocked."""
        async with self._act(admin) as act:
            before = await policy_entries.terms(act.connection, admin.guild_id)
            word = find_term(typed, before)
            if word is None:
                raise NotPossible(CannotSetRule(RuleProblem.TERM_NOT_BLOCKED))
            await policy_entries.remove_term(act.connection, admin.guild_id, word.text)
            after = {"count": len(before) - 1, "removed": _term(word)}
            change = AuditedChange(Action.TERM_UNBLOCKED, before={"count": len(before)}, after=after)
            return await act.record(change)

    async def set_resolutions(self, admin: Admin, allowed: frozenset[Resolution]) -> AuditEntry:
        """Allows just these. Raises: NotPossible for none at all."""
        if not allowed:
            raise NotPossible(CannotSetRule(RuleProblem.NO_RESOLUTION_LEFT))
        return await self._set(
            admin,
            Action.RESOLUTIONS_SET,
            lambda settings: replace(settings, allowed_resolutions=allowed),
            lambda settings: {"resolutions": sorted(settings.allowed_resolutions)},
        )

    async def set_age_restricted_only(self, admin: Admin, *, only: bool) -> AuditEntry:
        """Whether videos are made in age-restricted channels only."""
        return await self._set(
            admin,
            Action.AGE_RESTRICTED_ONLY_SET,
            lambda settings: replace(settings, age_restricted_only=only),
            lambda settings: {"only": settings.age_restricted_only},
        )

    async def set_approval(self, admin: Admin, *, needed: bool) -> AuditEntry:
        """Whether a moderator has to approve each job. Raises: NotPossible where there is nowhere to ask one."""

        def change(settings: GuildSettings) -> GuildSettings:
            if needed and settings.log_channel_id is None:
                raise NotPossible(CannotSetRule(RuleProblem.NO_LOG_CHANNEL))
            return replace(settings, approval_required=needed)

        return await self._set(
            admin, Action.APPROVAL_SET, change, lambda settings: {"needed": settings.approval_required}
        )

    async def set_strikes(self, admin: Admin, strikes: int | None, pause_hours: int | None) -> AuditEntry:
        """How many blocked prompts within a day pause a member, and for how long; None leaves it as it is.

        Raises: NotPossible where that is out of bounds.
        """
        if strikes is not None and not 0 <= strikes <= STRIKES_MAX:
            raise NotPossible(StrikesOutOfBounds(STRIKES_MAX))
        if pause_hours is not None and not 1 <= pause_hours <= PAUSE_HOURS_MAX:
            raise NotPossible(StrikePauseOutOfBounds(PAUSE_HOURS_MAX))

        def change(settings: GuildSettings) -> GuildSettings:
            return replace(
                settings,
                violation_limit=settings.violation_limit if strikes is None else strikes,
                violation_pause_hours=settings.violation_pause_hours if pause_hours is None else pause_hours,
            )

        return await self._set(
            admin,
            Action.STRIKES_SET,
            change,
            lambda settings: {"strikes": settings.violation_limit, "pause_hours": settings.violation_pause_hours},
        )


def _refuse_too_many(words: Sequence[BlockedTerm]) -> None:
    if len(words) > WORDS_MAX:
        raise NotPossible(TooManyTerms(len(words), WORDS_MAX))
    if sum(word.is_pattern for word in words) > PATTERNS_MAX:
        raise NotPossible(TooManyPatterns(PATTERNS_MAX))


def _refuse_too_slow(words: Sequence[BlockedTerm]) -> None:
    steps = pattern_steps(words)
    if steps > ALL_PATTERNS_STEPS:
        raise NotPossible(PatternsTooSlow(steps, ALL_PATTERNS_STEPS))


def _place_change(place: PolicyEntry, before: PolicyEntry | None, after: PolicyEntry | None) -> AuditedChange:
    kind, target_id = TargetKind(place.kind), str(place.target_id)
    return AuditedChange(Action.POLICY_SET, kind, target_id, _place_values(before), _place_values(after))


def _place_values(place: PolicyEntry | None) -> dict[str, Any] | None:
    return None if place is None else {"allowed": place.allowed}


def _term(word: BlockedTerm) -> dict[str, Any]:
    return {"text": word.text, "is_pattern": word.is_pattern}
