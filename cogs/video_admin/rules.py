"""`/video-admin`: what members can ask for, where, and who."""

from collections.abc import Callable
from typing import Any, Literal

import discord
from discord import app_commands
from discord.app_commands import AppCommandChannel, AppCommandThread, Choice, Range

from bot.chat.authorization import admin_of
from bot.chat.autocomplete import matching
from bot.chat.context import Interaction, services_of
from bot.chat.messages import audit_texts, policy_texts
from bot.chat.messages.markdown import CHOICES_MAX
from bot.chat.permissions.option_validation import id_in
from bot.chat.replies import answer_long
from bot.domain.guilds import PolicyEntry, PolicyEntryKind
from bot.domain.models import Catalog, subsets
from bot.domain.terms import choice_value
from bot.services.admin.policy import TYPED_MAX, VIOLATION_LIMIT_MAX, VIOLATION_PAUSE_HOURS_MAX
from cogs.video_admin.group import begin, group

channels = app_commands.Group(name="channels", description="Which channels videos can be made in", parent=group)
roles = app_commands.Group(name="roles", description="Which roles can make videos", parent=group)
words = app_commands.Group(name="words", description="Words that prompts can't contain", parent=group)


@channels.command(name="allow", description="Allow videos in a channel or category; all others are then denied")
@app_commands.describe(channel="A channel, a category or a thread")
async def allow_channel(interaction: Interaction, channel: AppCommandChannel | AppCommandThread) -> None:
    """Allows a channel."""
    await _set_entry(interaction, PolicyEntry(PolicyEntryKind.CHANNEL, channel.id, allowed=True))


@channels.command(name="deny", description="Deny videos in a channel or category")
@app_commands.describe(channel="A channel, a category or a thread")
async def deny_channel(interaction: Interaction, channel: AppCommandChannel | AppCommandThread) -> None:
    """Denies a channel."""
    await _set_entry(interaction, PolicyEntry(PolicyEntryKind.CHANNEL, channel.id, allowed=False))


@roles.command(name="allow", description="Let members with a role make videos; all others then can't")
@app_commands.describe(role="Members who have it can make videos")
async def allow_role(interaction: Interaction, role: discord.Role) -> None:
    """Allows a role."""
    await _set_entry(interaction, PolicyEntry(PolicyEntryKind.ROLE, role.id, allowed=True))


@roles.command(name="deny", description="Stop members with a role from making videos")
@app_commands.describe(role="Members who have it can't make videos")
async def deny_role(interaction: Interaction, role: discord.Role) -> None:
    """Denies a role."""
    await _set_entry(interaction, PolicyEntry(PolicyEntryKind.ROLE, role.id, allowed=False))


@words.command(name="add", description="Block words or phrases in prompts")
@app_commands.describe(
    words="Words and phrases, separated by commas, in any language",
    pattern="Treat it as one regular expression (RE2)",
)
async def block_terms(interaction: Interaction, words: Range[str, 1, 4000], pattern: bool = False) -> None:  # noqa: FBT001, FBT002 - a slash command's option
    """Blocks words, or one pattern."""
    service, admin = await begin(interaction)
    result = await service.policy.block_terms(admin, words, pattern=pattern)
    await interaction.edit_original_response(content=policy_texts.terms_blocked(result))


@words.command(name="remove", description="Unblock a word, phrase or pattern")
@app_commands.describe(word="Which one; the list shows what is blocked")
async def unblock_term(interaction: Interaction, word: Range[str, 1, TYPED_MAX]) -> None:
    """Unblocks a word."""
    service, admin = await begin(interaction)
    entry = await service.policy.unblock_term(admin, word)
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@unblock_term.autocomplete("word")
async def known_words(interaction: Interaction, current: str) -> list[Choice[str]]:
    """What is blocked."""
    blocked = await services_of(interaction).admins.policy.terms(await admin_of(interaction))
    return matching([(policy_texts.term_choice(word), choice_value(word)) for word in blocked], current)


@words.command(name="show", description="Everything that's blocked, visible only to you")
async def show_words(interaction: Interaction) -> None:
    """Shows the blocked words."""
    service, admin = await begin(interaction)
    blocked, settings = await service.policy.terms_and_settings(admin)
    text, whole = policy_texts.blocked_terms(blocked, settings), policy_texts.terms_file(blocked)
    await answer_long(interaction, text, filename="blocked_words.txt", whole=whole)


@words.command(name="strikes", description="How many blocked prompts in 24 hours pause a member, and for how long")
@app_commands.describe(
    count="0 for never",
    pause_hours="How long the pause lasts, in hours",
    refused_content="on: what the video service's moderation refuses counts as well (default: off)",
)
async def set_violation_limit(
    interaction: Interaction,
    count: Range[int, 0, VIOLATION_LIMIT_MAX] | None = None,
    pause_hours: Range[int, 1, VIOLATION_PAUSE_HOURS_MAX] | None = None,
    refused_content: Literal["on", "off"] | None = None,
) -> None:
    """Sets when blocked prompts pause a member; without options, shows it."""
    service, admin = await begin(interaction)
    counts = None if refused_content is None else refused_content == "on"
    entry = await service.policy.set_violation_limit(admin, count, pause_hours, refused_content=counts)
    await interaction.edit_original_response(content=audit_texts.answer(entry))


def _resolutions_command(catalog: Catalog) -> app_commands.Command[Any, ..., None]:
    """Which resolutions members can choose, of those that the models make."""
    combinations = {policy_texts.resolutions(some): some for some in subsets(catalog.resolutions)}

    @app_commands.command(name="resolutions", description="Which resolutions videos can have")
    @app_commands.describe(allow="What members can choose")
    @app_commands.choices(allow=[Choice(name=name, value=name) for name in combinations])
    async def set_resolutions(interaction: Interaction, allow: str) -> None:
        service, admin = await begin(interaction)
        entry = await service.policy.set_resolutions(admin, frozenset(combinations.get(allow, ())))
        await interaction.edit_original_response(content=audit_texts.answer(entry))

    return set_resolutions


def _models_command(catalog: Catalog) -> app_commands.Command[Any, ..., None]:
    """Which models members can choose."""
    combinations = {policy_texts.models(some): some for some in subsets(catalog.models)[:CHOICES_MAX]}

    @app_commands.command(name="models", description="Which models videos can be made with")
    @app_commands.describe(allow="What members can choose; all of them also means those that join later")
    @app_commands.choices(allow=[Choice(name=name, value=name) for name in combinations])
    async def set_models(interaction: Interaction, allow: str) -> None:
        service, admin = await begin(interaction)
        chosen = combinations.get(allow, ())
        allowed = None if len(chosen) == len(catalog.models) else frozenset(model.name for model in chosen)
        entry = await service.policy.set_models(admin, allowed)
        await interaction.edit_original_response(content=audit_texts.answer(entry))

    return set_models


def add_commands_for(catalog: Catalog) -> None:
    """Adds the commands whose choices follow from the models."""
    group.add_command(_resolutions_command(catalog), override=True)
    group.remove_command("models")
    if catalog.has_choice:
        group.add_command(_models_command(catalog))


@group.command(name="age-restricted", description="Whether videos are limited to age-restricted channels")
@app_commands.describe(only="on: only in age-restricted channels; off: in any allowed channel")
async def set_age_restricted(interaction: Interaction, only: Literal["on", "off"]) -> None:
    """Sets whether videos are limited to age-restricted channels."""
    service, admin = await begin(interaction)
    entry = await service.policy.set_age_restricted_only(admin, only=only == "on")
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@group.command(name="approval", description="Whether a moderator has to approve each video")
@app_commands.describe(needed="on: each new video waits for a moderator in the log channel; off: none does")
async def set_approval(interaction: Interaction, needed: Literal["on", "off"]) -> None:
    """Sets whether jobs wait for a moderator."""
    service, admin = await begin(interaction)
    entry = await service.policy.set_approval(admin, needed=needed == "on")
    await interaction.edit_original_response(content=policy_texts.approval(entry, needed=needed == "on"))


async def _set_entry(interaction: Interaction, entry: PolicyEntry) -> None:
    service, admin = await begin(interaction)
    change = await service.policy.set_entry(admin, entry)
    await interaction.edit_original_response(content=policy_texts.entry_changed(change, entry))


def _add_shared_commands(rules: app_commands.Group, kind: PolicyEntryKind) -> None:
    """Adds the commands that are the same for channels and roles."""

    @rules.command(name="forget", description=f"Remove the rule for a {kind}")
    @app_commands.rename(target=kind.value)
    @app_commands.describe(target=f"An allowed or denied {kind}, including deleted ones")
    async def forget(interaction: Interaction, target: str) -> None:
        service, admin = await begin(interaction)
        entry = await service.policy.remove_entry(admin, kind, id_in(target))
        await interaction.edit_original_response(content=audit_texts.answer(entry))

    @forget.autocomplete("target")
    async def known(interaction: Interaction, current: str) -> list[Choice[str]]:
        names = _names(interaction, kind)
        entries = await services_of(interaction).admins.policy.entries(await admin_of(interaction), kind)
        choices = [(policy_texts.entry_choice(entry, names), str(entry.target_id)) for entry in entries]
        return matching(choices, current)

    @rules.command(name="show", description=f"Which {kind}s are allowed and denied")
    async def show(interaction: Interaction) -> None:
        service, admin = await begin(interaction)
        entries = await service.policy.entries(admin, kind)
        text = policy_texts.policy_entries(kind, entries, _names(interaction, kind))
        await interaction.edit_original_response(content=text)


def _names(interaction: Interaction, kind: PolicyEntryKind) -> Callable[[int], str | None]:
    """Looks names up in discord.py's cache."""
    guild = interaction.guild

    def name_of(target_id: int) -> str | None:
        if guild is None:
            return None
        is_role = kind is PolicyEntryKind.ROLE
        found = guild.get_role(target_id) if is_role else guild.get_channel_or_thread(target_id)
        return None if found is None else found.name

    return name_of


_add_shared_commands(channels, PolicyEntryKind.CHANNEL)
_add_shared_commands(roles, PolicyEntryKind.ROLE)
