"""`/operator`: manages all servers; only in the operator's server and only for the operator's users.

Registered in that server, if one is set. The command tree checks with `bot.chat.authorization` before each command
and autocomplete.
"""

import io
from typing import Literal

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from bot.chat.authorization import OPERATOR_COMMAND, operator_of
from bot.chat.autocomplete import matching
from bot.chat.context import Interaction, ServiceBot
from bot.chat.messages import cost_texts, operator_texts
from bot.chat.messages.provider_texts import provider_title
from bot.chat.messages.server_names import server_choice
from bot.chat.views import operator_buttons
from bot.domain.guilds import Access
from bot.domain.jobs import ProviderName
from bot.services.operator.operator_input import server_id
from bot.services.operator.service import Operator, OperatorService

group = app_commands.Group(
    name=OPERATOR_COMMAND,
    description="Run the bot across all servers",
    # Hides it from others; the bot's settings decide who can use it.
    default_permissions=discord.Permissions(manage_guild=True),
)
reconcile = app_commands.Group(
    name="reconcile", description="Videos that you may be billed for though nobody got them", parent=group
)


@group.command(description="All servers: what they use, what it costs, and whether they can make videos")
async def servers(interaction: Interaction) -> None:
    """Lists the servers, the most expensive first; also as a file if they don't fit."""
    service, _ = await _begin(interaction)
    names = await operator_buttons.names(interaction)
    uses = await service.servers(names)
    text, whole = operator_texts.servers(uses, names, await service.overview())
    files = []
    if not whole:
        files.append(discord.File(io.BytesIO(operator_texts.servers_csv(uses, names)), "servers.csv"))
    await interaction.edit_original_response(content=text, attachments=files)


@group.command(description="Show or change budgets: for all servers together, or for one")
@app_commands.describe(
    server="Only this server's budget",
    usd_per_day="Such as 10 or 2.50; `setting` goes back to the default",
    usd_per_month="Such as 100; `setting` goes back to the default",
    queue_max="How many videos can wait in the queue; `setting` goes back to the default",
)
async def budgets(
    interaction: Interaction,
    server: str | None = None,
    usd_per_day: Range[str, 1, 30] | None = None,
    usd_per_month: Range[str, 1, 30] | None = None,
    queue_max: Range[str, 1, 30] | None = None,
) -> None:
    """Changes the given budgets; without options, shows them."""
    service, operator = await _begin(interaction)
    entry = None if server is None else server_id(server)
    if usd_per_day or usd_per_month or queue_max:
        amounts = {"usd_per_day": usd_per_day, "usd_per_month": usd_per_month, "queue_max": queue_max}
        text = operator_texts.changed(await service.set_budgets(operator, entry, **amounts))
    elif entry is None:
        text = operator_texts.budgets(await service.overview(), service.rules)
    else:
        names = await operator_buttons.names(interaction)
        text = operator_texts.server(await service.server(entry), service.rules, names)
    await interaction.edit_original_response(content=text)


@group.command(description="Let a server make videos, even one that hasn't invited the bot yet")
@app_commands.describe(server="From the list, or its id")
async def allow(interaction: Interaction, server: str) -> None:
    """Allows a server."""
    await _set_access(interaction, server, Access.ALLOWED)


@group.command(description="Stop taking videos from a server; queued ones are cancelled at no cost")
@app_commands.describe(server="From the list, or its id")
async def block(interaction: Interaction, server: str) -> None:
    """Blocks a server."""
    await _set_access(interaction, server, Access.BLOCKED)


@group.command(description="Neither allow nor block a server: OPEN_TO_ALL_SERVERS decides")
@app_commands.describe(server="From the list, or its id")
async def unset(interaction: Interaction, server: str) -> None:
    """Removes a server's allow or block."""
    await _set_access(interaction, server, Access.OPEN)


async def _set_access(interaction: Interaction, server: str, access: Access) -> None:
    service, operator = await _begin(interaction)
    entry, cancelled = await service.set_access(operator, server_id(server), access)
    text = operator_texts.access(entry, access, cancelled, open_to_all=service.rules.open_to_all)
    await interaction.edit_original_response(content=text)


@group.command(
    description="Stop taking new videos anywhere and finish the rest; without an option, show the state"
)
@app_commands.describe(state="on: take no new videos; off: take videos again")
async def drain(interaction: Interaction, state: Literal["on", "off"] | None = None) -> None:
    """Starts or ends draining, and shows what is left."""
    service, operator = await _begin(interaction)
    lines = [operator_texts.changed([await service.drain(operator, on=state == "on")])] if state else []
    lines.append(operator_texts.drain(await service.overview()))
    await interaction.edit_original_response(content="\n".join(lines))


@group.command(description="Whether videos are submitted to the video service; can resume that")
@app_commands.describe(state="`open` tries again now, instead of waiting as long as the service asked")
async def gate(interaction: Interaction, state: Literal["open"] | None = None) -> None:
    """Shows why submissions are stopped, and resumes them."""
    service, operator = await _begin(interaction)
    lines = [operator_texts.changed([await service.open_gate(operator)])] if state else []
    lines.append(operator_texts.gate(await service.gate()))
    await interaction.edit_original_response(content="\n".join(lines))


@reconcile.command(name="list", description="Videos that need reconciling")
async def open_jobs(interaction: Interaction) -> None:
    """Lists the jobs that may have a paid task."""
    service, _ = await _begin(interaction)
    jobs = await service.unreconciled()
    names = await operator_buttons.names(interaction)
    await interaction.edit_original_response(content=operator_texts.unreconciled(jobs, names))


@reconcile.command(description="The task exists: continue with it and deliver the video, free for the member")
@app_commands.describe(
    job="Which one",
    upstream_id="The task's id at the video service",
    provider="Where you found it; only needed if the list doesn't say it",
)
@app_commands.choices(provider=[Choice(name=provider_title(name), value=name) for name in ProviderName])
async def found(
    interaction: Interaction, job: str, upstream_id: Range[str, 1, 300], provider: str | None = None
) -> None:
    """Resumes a job with its task."""
    service, operator = await _begin(interaction)
    where = None if provider is None else ProviderName(provider)
    revived = await service.task_found(operator, job.strip(), upstream_id, where)
    await interaction.edit_original_response(content=operator_texts.found(revived))


@reconcile.command(description="There's no such task, or it cost nothing: close the job and free its budget")
@app_commands.describe(job="Which one")
async def lost(interaction: Interaction, job: str) -> None:
    """Closes a job that has no task."""
    service, operator = await _begin(interaction)
    closed = await service.task_lost(operator, job.strip())
    await interaction.edit_original_response(content=operator_texts.lost(closed))


@group.command(description="Post a message in every server's log channel, or its system channel")
@app_commands.describe(text="You can use Discord's markdown; nobody is pinged")
async def announce(interaction: Interaction, text: Range[str, 1, operator_texts.ANNOUNCEMENT_MAX]) -> None:
    """Shows the announcement with a button that sends it."""
    service, _ = await _begin(interaction)
    reach = await service.announcement_reach()
    question = operator_texts.ask_announce(reach.reached, len(reach.unreached))
    embed, view = operator_buttons.announcement(text)
    await interaction.edit_original_response(content=question, embed=embed, view=view)


@group.command(description="What videos cost: average prices, this month's totals, what's reserved, and a chart")
async def costs(interaction: Interaction) -> None:
    """Shows prices and sums, and a chart of the last thirty days."""
    service, _ = await _begin(interaction)
    text, history = cost_texts.costs(await service.costs()), await service.cost_history.history()
    chart, files = await service.cost_history.chart(history), []
    if chart is not None:
        files.append(discord.File(io.BytesIO(chart), "costs.png", description=cost_texts.described(history)))
    await interaction.edit_original_response(content=text, attachments=files)


@group.command(description="All ledger entries for one video, and what the video service said last")
@app_commands.describe(job="Its id, from the log or `/operator reconcile list`")
async def ledger(interaction: Interaction, job: Range[str, 1, 100]) -> None:
    """Shows the ledger entries of one job, and its provider's last response."""
    service, _ = await _begin(interaction)
    text = cost_texts.job_ledger(await service.ledger(job), await operator_buttons.names(interaction))
    await interaction.edit_original_response(content=text)


@group.command(description="Who changed what with `/operator`, newest first")
async def log(interaction: Interaction) -> None:
    """Shows the operator's audit log."""
    service, _ = await _begin(interaction)
    text = operator_texts.audit_log_lines(await service.audit_log())
    await interaction.edit_original_response(content=text)


@budgets.autocomplete("server")
@allow.autocomplete("server")
@block.autocomplete("server")
@unset.autocomplete("server")
async def known_servers(interaction: Interaction, current: str) -> list[Choice[str]]:
    """Servers by name or id, the most expensive first."""
    service, _ = await operator_of(interaction)
    names = await operator_buttons.names(interaction)
    ids = await service.server_ids(names)
    choices = [(server_choice(guild_id, names), str(guild_id)) for guild_id in ids]
    return matching(choices, current)


@found.autocomplete("job")
@lost.autocomplete("job")
@ledger.autocomplete("job")
async def open_job(interaction: Interaction, current: str) -> list[Choice[str]]:
    """Jobs that need reconciling."""
    service, _ = await operator_of(interaction)
    names = await operator_buttons.names(interaction)
    choices = [(operator_texts.job_choice(job, names), job.id) for job in await service.unreconciled()]
    return matching(choices, current)


async def _begin(interaction: Interaction) -> tuple[OperatorService, Operator]:
    """Defers the private reply; returns the service and the operator. Raises: NotPossible for anybody else."""
    await interaction.response.defer(ephemeral=True)
    return await operator_of(interaction)


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded. Without an operator's server, there is no `/operator`."""
    bot.add_dynamic_items(operator_buttons.AnnounceButton)
    operator = bot.services.operator
    if operator is not None:
        bot.tree.add_command(group, guild=discord.Object(operator.guild_id))
