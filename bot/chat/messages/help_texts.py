"""What `/help` says: what a member can do here and now, in one screen. Discord markdown, pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.chat.messages.markdown import joined_within, relative, several
from bot.chat.messages.reason_texts import text_of
from bot.chat.messages.status_texts import SERVICE_CLOSED
from bot.chat.messages.video_list_texts import TEXT_MAX
from bot.domain.durations import window_text
from bot.domain.errors import Reason
from bot.domain.limits import Allowance


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a member finds it. name: with its groups, such as `videos list`. id: of its first word.

    id: None if Discord didn't say it; then the name can't be clicked.
    """

    name: str
    id: int | None

    @property
    def mention(self) -> str:
        """Its name, clickable if possible."""
        return f"`/{self.name}`" if self.id is None else f"</{self.name}:{self.id}>"


@dataclass(frozen=True, slots=True)
class HelpLine:
    """Commands that belong together, and what they do."""

    commands: tuple[Command, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Help:
    """All that is said. order: the command that makes a video. refusal: why it wouldn't here and now, if so.

    for_admins, for_operator: empty for everybody else.
    """

    order: Command
    allowance: Allowance
    refusal: Reason | None
    service_closed: bool
    for_members: Sequence[HelpLine]
    for_admins: Sequence[Command] = ()
    for_operator: Sequence[Command] = ()


def help_text(shown: Help) -> str:
    """Whether a video can be ordered, what is left, and the commands that the member may use."""
    lines = [*_ordering(shown), *_left(shown.allowance)]
    lines += ["### Commands", *(f"{_mentions(line.commands)}: {line.text}" for line in shown.for_members)]
    if shown.for_admins:
        lines.append(f"**You manage me here:** {_mentions(shown.for_admins)}")
    if shown.for_operator:
        lines.append(f"**You operate me:** {_mentions(shown.for_operator)}")
    return joined_within(lines, TEXT_MAX)


def _ordering(shown: Help) -> list[str]:
    if shown.refusal is not None:
        return ["### You can't make a video here right now", f"🛑 {text_of(shown.refusal)}"]
    how = (
        f"Use {shown.order.mention} with a picture, and say what should happen in it. For a picture that is "
        "here already, open its message's menu: *Apps → Animate this image*."
    )
    lines = ["### You can make a video here", how]
    if shown.service_closed:
        lines.append(f"⚠️ {SERVICE_CLOSED} Your order would be kept and start when the service is back.")
    return lines


def _left(allowance: Allowance) -> list[str]:
    limits, usage = allowance.limits, allowance.usage
    left = usage.left(limits)
    if left is None:
        return ["You manage me here, so the limits for members don't apply to you."]
    line = f"You have **{left} of {limits.videos_per_window.value}** videos left in {window_text(limits.window)}"
    if usage.credits:
        line += f", and {several(sum(grant.left for grant in usage.credits), 'credit')}"
    unlocks_at = usage.next_available_at(limits)
    return [f"{line}." if unlocks_at is None else f"{line}. The next one unlocks {relative(unlocks_at)}."]


def _mentions(commands: Sequence[Command]) -> str:
    return " · ".join(command.mention for command in commands)
