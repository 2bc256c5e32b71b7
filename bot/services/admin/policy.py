"""A server's policy, for its admins: who can make which videos, where."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible
from bot.domain.guilds import BlockedTerm, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.domain.terms import ALL_PATTERNS_STEPS, PATTERN_CHARS_MAX, PATTERNS_MAX, TERMS_MAX
from bot.services.admin.audited import Admin, AdminProblem, AdminRefused, AuditedService
from bot.store.engine import Connection
from bot.store.guilds import guild_settings, policy_entries

POLICY_ENTRIES_MAX = 50
"""The most channels, and the most roles, that a server can allow or deny: these fit in one message."""

TYPED_MAX = PATTERN_CHARS_MAX
"""The longest blocked term that can be typed, in characters."""

VIOLATION_LIMIT_MAX = 20
VIOLATION_PAUSE_HOURS_MAX = 720


@dataclass(frozen=True, slots=True)
class TermsBlocked:
    """The result of blocking terms. known: those that were already blocked, as typed."""

    entry: AuditEntry
    known: tuple[BlockedTerm, ...]


class PolicyService(AuditedService):
    """Channels, roles, blocked terms, models, resolutions, age-restricted channels, approval and violations."""

    async def entries(self, admin: Admin, kind: PolicyEntryKind) -> list[PolicyEntry]:
        """The channels or roles that are allowed or denied."""
        async with self._database.read() as connection:
            return list((await _entries(connection, admin, kind)).values())

    async def set_entry(self, admin: Admin, entry: PolicyEntry) -> AuditEntry:
        """Allows or denies a channel or a role. Raises: NotPossible if there are too many."""
        if entry.kind is PolicyEntryKind.ROLE and entry.target_id == admin.guild_id:
            raise NotPossible(AdminRefused(AdminProblem.EVERYONE_IS_NO_ROLE))
        async with self._transaction(admin) as tx:
            same_kind = await _entries(tx.connection, admin, entry.kind)
            before = same_kind.get(entry.target_id)
            if before is None and len(same_kind) >= POLICY_ENTRIES_MAX:
                raise NotPossible(
                    AdminRefused(AdminProblem.TOO_MANY_POLICY_ENTRIES, POLICY_ENTRIES_MAX, subject=entry.kind)
                )
            await policy_entries.put_entry(tx.connection, admin.guild_id, entry)
            return await tx.record(_entry_change(entry, before, entry))

    async def remove_entry(self, admin: Admin, kind: PolicyEntryKind, target_id: int) -> AuditEntry:
        """Removes the rule for a channel or role. Raises: NotPossible if there is none."""
        async with self._transaction(admin) as tx:
            entry = (await _entries(tx.connection, admin, kind)).get(target_id)
            if entry is None:
                raise NotPossible(AdminRefused(AdminProblem.POLICY_ENTRY_NOT_SET, subject=kind))
            await policy_entries.remove_entry(tx.connection, admin.guild_id, kind, target_id)
            return await tx.record(_entry_change(entry, entry, None))

    async def terms(self, admin: Admin) -> tuple[BlockedTerm, ...]:
        """The blocked terms."""
        async with self._database.read() as connection:
            return await policy_entries.terms(connection, admin.guild_id)

    async def terms_and_settings(self, admin: Admin) -> tuple[tuple[BlockedTerm, ...], GuildSettings]:
        """The blocked terms, and the settings that say when they pause a member."""
        async with self._database.read() as connection:
            settings = (await guild_settings.get(connection, admin.guild_id)).settings
            return await policy_entries.terms(connection, admin.guild_id), settings

    async def block_terms(self, admin: Admin, typed: str, *, pattern: bool = False) -> TermsBlocked:
        """Blocks words and phrases, all or none of them, or one pattern.

        typed: words and phrases separated by commas or line breaks, or the pattern.
        Raises: UserError if one can't be used, NotPossible if there are too many.
        """
        while True:
            before = await self.terms(admin)
            added = await asyncio.to_thread(_add_terms, before, typed, pattern=pattern)
            async with self._transaction(admin) as tx:
                if await policy_entries.terms(tx.connection, admin.guild_id) != before:
                    continue  # another admin was quicker
                await policy_entries.add_terms(tx.connection, admin.guild_id, added.new)
                values = {"count": added.count} | (
                    {"added": [_term(term) for term in added.new]} if added.new else {}
                )
                change = AuditedChange(Action.TERMS_BLOCKED, before={"count": len(before)}, after=values)
                return TermsBlocked(await tx.record(change), added.known)

    async def unblock_term(self, admin: Admin, typed: str) -> AuditEntry:
        """Unblocks a term. Raises: NotPossible if it isn't blocked."""
        while True:
            before = await self.terms(admin)
            term = await asyncio.to_thread(_find_term, typed, before)
            if term is None:
                raise NotPossible(AdminRefused(AdminProblem.TERM_NOT_BLOCKED))
            async with self._transaction(admin) as tx:
                if await policy_entries.terms(tx.connection, admin.guild_id) != before:
                    continue  # another admin was quicker
                await policy_entries.remove_term(tx.connection, admin.guild_id, term.text)
                after = {"count": len(before) - 1, "removed": _term(term)}
                change = AuditedChange(Action.TERM_UNBLOCKED, before={"count": len(before)}, after=after)
                return await tx.record(change)

    async def set_resolutions(self, admin: Admin, allowed: frozenset[Resolution]) -> AuditEntry:
        """Allows only these. Raises: NotPossible if there are none."""
        if not allowed:
            raise NotPossible(AdminRefused(AdminProblem.NO_RESOLUTION_LEFT))
        async with self._transaction(admin) as tx:
            return await tx.change(Action.RESOLUTIONS_SET, allowed_resolutions=allowed)

    async def set_models(self, admin: Admin, allowed: frozenset[str] | None) -> AuditEntry:
        """Allows only the models of these names; None allows all.

        Raises: NotPossible if there are none, or one isn't offered.
        """
        if allowed is not None and not 0 < len(allowed) == sum(map(self._is_offered, allowed)):
            raise NotPossible(AdminRefused(AdminProblem.NO_SUCH_MODEL))
        async with self._transaction(admin) as tx:
            return await tx.change(Action.MODELS_SET, allowed_models=allowed)

    def _is_offered(self, name: str) -> bool:
        return self._defaults.catalog.model(name) is not None

    async def set_age_restricted_only(self, admin: Admin, *, only: bool) -> AuditEntry:
        """Sets whether videos are limited to age-restricted channels."""
        async with self._transaction(admin) as tx:
            return await tx.change(Action.AGE_RESTRICTED_ONLY_SET, age_restricted_only=only)

    async def set_approval(self, admin: Admin, *, needed: bool) -> AuditEntry:
        """Sets whether a moderator approves each job. Raises: NotPossible if there is no log channel."""
        async with self._transaction(admin) as tx:
            if needed and tx.guild.settings.log_channel_id is None:
                raise NotPossible(AdminRefused(AdminProblem.NO_LOG_CHANNEL))
            return await tx.change(Action.APPROVAL_SET, approval_required=needed)

    async def set_violation_limit(
        self, admin: Admin, limit: int | None, pause_hours: int | None, *, refused_content: bool | None = None
    ) -> AuditEntry:
        """Sets how many blocked prompts in a day pause a member, and for how long; None keeps a value.

        refused_content: whether what the video service's moderation refuses counts as well.
        Raises: NotPossible if a value is out of bounds.
        """
        if limit is not None and not 0 <= limit <= VIOLATION_LIMIT_MAX:
            raise NotPossible(AdminRefused(AdminProblem.VIOLATION_LIMIT_OUT_OF_BOUNDS, VIOLATION_LIMIT_MAX))
        if pause_hours is not None and not 1 <= pause_hours <= VIOLATION_PAUSE_HOURS_MAX:
            raise NotPossible(AdminRefused(AdminProblem.VIOLATION_PAUSE_OUT_OF_BOUNDS, VIOLATION_PAUSE_HOURS_MAX))
        async with self._transaction(admin) as tx:
            own = tx.guild.settings
            return await tx.change(
                Action.VIOLATION_LIMIT_SET,
                violation_limit=own.violation_limit if limit is None else limit,
                violation_pause_hours=own.violation_pause_hours if pause_hours is None else pause_hours,
                refused_content_counts=own.refused_content_counts if refused_content is None else refused_content,
            )


async def _entries(connection: Connection, admin: Admin, kind: PolicyEntryKind) -> dict[int, PolicyEntry]:
    entries = await policy_entries.entries(connection, admin.guild_id)
    return {entry.target_id: entry for entry in entries if entry.kind is kind}


@dataclass(frozen=True, slots=True)
class _AddedTerms:
    """What becomes of a server's terms. known: typed, but already blocked. count: of all of them then."""

    new: tuple[BlockedTerm, ...]
    known: tuple[BlockedTerm, ...]
    count: int


def _add_terms(before: Sequence[BlockedTerm], typed: str, *, pattern: bool) -> _AddedTerms:
    """Checks what is typed. With 500 terms that takes a tenth of a second: in a thread, outside of transactions.

    Raises: see `PolicyService.block_terms`.
    """
    from bot.domain import blocked_terms as matching  # noqa: PLC0415 - see there

    words = [] if pattern else matching.split_words(typed) or [""]
    terms = [matching.checked_pattern(typed)] if pattern else [matching.checked_word(word) for word in words]
    keys = {matching.match_key(term) for term in before}
    known: list[BlockedTerm] = []
    added: dict[str, BlockedTerm] = {}
    for term in terms:
        if (key := matching.match_key(term)) in keys or key in added:
            known.append(term)
        else:
            added[key] = term
    new = tuple(added.values())
    # A term replaces one of the other kind with the same text.
    after = {term.text: term for term in (*before, *new)}
    changes_patterns = any(term.is_pattern for term in new)
    _refuse_too_many(after.values(), matching.pattern_steps(after.values()) if changes_patterns else 0)
    return _AddedTerms(new, tuple(known), len(after))


def _find_term(typed: str, terms: Sequence[BlockedTerm]) -> BlockedTerm | None:
    from bot.domain.blocked_terms import find_term  # noqa: PLC0415 - see there

    return find_term(typed, terms)


def _refuse_too_many(terms: Collection[BlockedTerm], steps: int) -> None:
    if len(terms) > TERMS_MAX:
        raise NotPossible(AdminRefused(AdminProblem.TOO_MANY_TERMS, TERMS_MAX, len(terms)))
    if sum(term.is_pattern for term in terms) > PATTERNS_MAX:
        raise NotPossible(AdminRefused(AdminProblem.TOO_MANY_PATTERNS, PATTERNS_MAX))
    if steps > ALL_PATTERNS_STEPS:
        raise NotPossible(AdminRefused(AdminProblem.PATTERNS_TOO_SLOW, ALL_PATTERNS_STEPS, steps))


def _entry_change(entry: PolicyEntry, before: PolicyEntry | None, after: PolicyEntry | None) -> AuditedChange:
    was, now = (None if own is None else {"allowed": own.allowed} for own in (before, after))
    return AuditedChange(Action.POLICY_SET, TargetKind(entry.kind), str(entry.target_id), was, now)


def _term(term: BlockedTerm) -> dict[str, Any]:
    return {"text": term.text, "is_pattern": term.is_pattern}
