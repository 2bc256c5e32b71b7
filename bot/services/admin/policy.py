"""What admins look after: what may be asked for, where and by whom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.domain.blocked_terms import (
    ALL_PATTERNS_STEPS,
    PATTERN_CHARS_MAX,
    PATTERNS_MAX,
    WORDS_MAX,
    checked_pattern,
    checked_word,
    meant,
    pattern_steps,
    same,
    split_words,
)
from bot.domain.errors import NotPossible
from bot.domain.guilds import BlockedTerm, Change, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.services.admin.audited import Acts, Admin
from bot.store.guilds import guild_settings, policy_entries

PLACES_MAX = 50
"""Channels, and likewise roles, that a server allows or denies: so many fit into one message."""

TYPED_MAX = PATTERN_CHARS_MAX
"""Characters of the longest entry among the blocked words."""

STRIKES_MAX = 20
PAUSE_HOURS_MAX = 720

_MENTIONS = {PolicyEntryKind.CHANNEL: "<#{}>", PolicyEntryKind.ROLE: "<@&{}>"}


@dataclass(frozen=True, slots=True)
class WordsAdded:
    """What became of words to be blocked. known: those that something blocks already, as it was written."""

    change: Change
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

    async def set_place(self, admin: Admin, place: PolicyEntry) -> Change:
        """Allows or denies a channel or a role. Raises: NotPossible where there are too many."""
        if place.kind is PolicyEntryKind.ROLE and place.target_id == admin.guild_id:
            raise NotPossible(
                "@everyone is no role that can be allowed or denied. `/video-admin pause` stops everybody, and "
                "as soon as one role is allowed, members without it are out."
            )
        async with self._act(admin) as act:
            kin = [
                said
                for said in await policy_entries.entries(act.connection, admin.guild_id)
                if said.kind is place.kind
            ]
            before = next((said for said in kin if said.target_id == place.target_id), None)
            if before is None and len(kin) >= PLACES_MAX:
                raise NotPossible(
                    f"{PLACES_MAX} {place.kind.value}s are set already, and that is the most. "
                    f"`/video-admin {place.kind.value}s forget` makes room."
                )
            await policy_entries.put_entry(act.connection, admin.guild_id, place)
            return await act.record(_place_name(place), _place_state(before), _place_state(place))

    async def forget_place(self, admin: Admin, kind: PolicyEntryKind, target_id: int) -> Change:
        """Says nothing about a channel or role any more. Raises: NotPossible where nothing was said."""
        async with self._act(admin) as act:
            for place in await policy_entries.entries(act.connection, admin.guild_id):
                if (place.kind, place.target_id) == (kind, target_id):
                    await policy_entries.remove_entry(act.connection, admin.guild_id, kind, target_id)
                    return await act.record(_place_name(place), _place_state(place), None)
        raise NotPossible(
            f"Nothing is set for that {kind.value}. `/video-admin {kind.value}s show` lists those for which it is."
        )

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
            known, keys = [], {same(word) for word in before}
            added: dict[str, BlockedTerm] = {}
            for word in words:
                if (key := same(word)) in keys or key in added:
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
            listed = f" (added: {', '.join(map(shown_word, new))})" if new else ""
            change = await act.record("blocked words", str(len(before)), f"{len(after)}{listed}")
            return WordsAdded(change, new, tuple(known))

    async def remove_word(self, admin: Admin, typed: str) -> Change:
        """Lets a word or pattern in again. Raises: NotPossible where it is not blocked."""
        async with self._act(admin) as act:
            before = await policy_entries.terms(act.connection, admin.guild_id)
            word = meant(typed, before)
            if word is None:
                raise NotPossible("That is not blocked. `/video-admin words show` lists what is.")
            await policy_entries.remove_term(act.connection, admin.guild_id, word.text)
            after = f"{len(before) - 1} (removed: {shown_word(word)})"
            return await act.record("blocked words", str(len(before)), after)

    async def set_resolutions(self, admin: Admin, allowed: frozenset[Resolution]) -> Change:
        """Allows just these. Raises: NotPossible for none at all."""
        if not allowed:
            raise NotPossible("One resolution has to stay allowed. `/video-admin pause` stops all videos.")
        return await self._set(
            admin,
            "resolutions",
            lambda settings: replace(settings, allowed_resolutions=allowed),
            lambda settings: ", ".join(sorted(settings.allowed_resolutions)),
        )

    async def set_age_restricted_only(self, admin: Admin, *, only: bool) -> Change:
        """Whether videos are made in age-restricted channels only."""
        return await self._set(
            admin,
            "age-restricted channels only",
            lambda settings: replace(settings, age_restricted_only=only),
            lambda settings: _on(on=settings.age_restricted_only),
        )

    async def set_approval(self, admin: Admin, *, needed: bool) -> Change:
        """Whether a moderator lets each job through. Raises: NotPossible where there is nowhere to ask one."""

        def change(settings: GuildSettings) -> GuildSettings:
            if needed and settings.log_channel_id is None:
                raise NotPossible(
                    "Moderators are asked in the log channel, and none is set. "
                    "Set one with `/video-admin log channel`, then do this again."
                )
            return replace(settings, approval_required=needed)

        return await self._set(admin, "approval", change, lambda settings: _on(on=settings.approval_required))

    async def set_strikes(self, admin: Admin, strikes: int | None, pause_hours: int | None) -> Change:
        """How many blocked prompts within a day pause a member, and for how long; None leaves it as it is.

        Raises: NotPossible where that is out of bounds.
        """
        if strikes is not None and not 0 <= strikes <= STRIKES_MAX:
            raise NotPossible(f"Between 0 (never) and {STRIKES_MAX} blocked prompts can pause a member.")
        if pause_hours is not None and not 1 <= pause_hours <= PAUSE_HOURS_MAX:
            raise NotPossible(f"Such a pause lasts between 1 and {PAUSE_HOURS_MAX} hours.")

        def change(settings: GuildSettings) -> GuildSettings:
            return replace(
                settings,
                violation_limit=settings.violation_limit if strikes is None else strikes,
                violation_pause_hours=settings.violation_pause_hours if pause_hours is None else pause_hours,
            )

        return await self._set(admin, "pause after blocked prompts", change, strikes_state)


def strikes_state(settings: GuildSettings) -> str:
    """When blocked prompts pause a member, in words."""
    if not settings.violation_limit:
        return "never"
    hours = settings.violation_pause_hours
    return f"after {settings.violation_limit} within a day, for {hours} hour{'' if hours == 1 else 's'}"


def shown_word(word: BlockedTerm) -> str:
    """The word or pattern as lists show it; not escaped."""
    return f"pattern {word.text}" if word.is_pattern else word.text


def _refuse_too_many(words: Sequence[BlockedTerm]) -> None:
    if len(words) > WORDS_MAX:
        raise NotPossible(
            f"That would be {len(words)} words; a server can block {WORDS_MAX}. Nothing was added. "
            "`/video-admin words remove` makes room."
        )
    patterns = sum(word.is_pattern for word in words)
    if patterns > PATTERNS_MAX:
        raise NotPossible(
            f"{PATTERNS_MAX} patterns are blocked already, and that is the most. One pattern can hold several "
            "things: `this|that`."
        )


def _refuse_too_slow(words: Sequence[BlockedTerm]) -> None:
    steps = pattern_steps(words)
    if steps > ALL_PATTERNS_STEPS:
        raise NotPossible(
            "With that one, this server's patterns would take too long to search for: they would be "
            f"{steps:,} steps, and {ALL_PATTERNS_STEPS:,} is the most. Nothing was added. Use smaller numbers of "
            "repetition, or make room with `/video-admin words remove`."
        )


def _place_name(place: PolicyEntry) -> str:
    return f"{place.kind.value} {_MENTIONS[place.kind].format(place.target_id)}"


def _place_state(place: PolicyEntry | None) -> str | None:
    return None if place is None else "allowed" if place.allowed else "denied"


def _on(*, on: bool) -> str:
    return "on" if on else "off"
