"""What the bot says to a member about their own data: what is kept, what a copy holds, what deleting does.

Pure: terms and numbers come in, Discord's markdown goes out. No text of others stands in it.
"""

from bot.chat.messages.markdown import relative, several
from bot.domain.member_data import ErasurePreview, ErasureResult, RetentionPolicy
from bot.services.privacy import DataExport

_TERMS = (
    "**What I keep about you**, in all servers where you use me\n"
    "- **Your videos**: prompt and options, where and when you asked, how it went and what it cost, so that I can "
    "make, post and list them. {span} after a video is over I forget whose it was, where and what of; the "
    "server's sums stay.\n"
    "- **What limits need**: which videos count, credits, limits of your own. After {span} the lines of the "
    "ledger lose your name, unless a limit still looks at them.\n"
    "- **What protects a server**: bans with their reason, until {span} after they end; blocked prompts only as "
    "a count, for a day.\n"
    "- **The audit trail**: what you change as an admin, and what admins change about you (bans, credits, limits, "
    "cancelled videos), for {span}.\n"
    "**What I don't keep**: your picture waits only until it is handed in, a video until it is posted.\n"
    "**Who else gets something**: the video service gets your picture, prompt and options, not who you are; how "
    "long it keeps them is up to it. A server's moderators see picture and prompt where they let each video "
    "through first (the picture until they have answered), "
    "and the prompt where one is blocked or does not work out.\n"
    "**What stays in Discord**: all that I posted. *Remove* under a message takes it away.\n"
    "**A server that removes me**: what I keep for it goes {after}.\n"
    "`/videos privacy export` gives you a copy of all that is yours; `/videos privacy delete` has it deleted."
)

_STAYS = (
    "**What stays, and why**\n"
    "- Numbers without your name: when a video was made and what it cost, for the servers' sums.\n"
    "- That you made a video, not which, for as long as a limit counts it: deleting gives no fresh quota.\n"
    "- Bans and blocked prompts until they are over, limits that admins set for you alone, and for {span} what "
    "you changed as an admin or admins changed about you: these are the servers' own records.\n"
    "- Messages in Discord. Use *Remove* under your videos **first**: afterwards I don't know any more that they "
    "are yours, and only moderators can."
)

NOT_YOURS = "That question was put to somebody else. `/videos privacy delete` asks you."
"""To whoever clicks another member's button."""


def terms(kept: RetentionPolicy) -> str:
    """What is kept, why and how long; what goes where; what a member can do."""
    after = "within the hour" if kept.days_after_leaving == 0 else f"{_days(kept.days_after_leaving)} later"
    return _TERMS.format(span=_days(kept.days), after=after)


def exported(export: DataExport) -> str:
    """The line above the file."""
    text = "Here is all that I keep about you, in all servers."
    if export.filename.endswith(".gz"):
        text += " It is long, so it is compressed (gzip)."
    if not export.complete:
        text += (
            " The oldest did not fit: `left_out` in the file says how much. Ask the operator of this bot for it."
        )
    return text


def question(outlook: ErasurePreview, kept: RetentionPolicy) -> str:
    """What deleting would do, before it is done."""
    lines = ["**Delete your data, in all servers?** This can't be undone.", *_what_goes(outlook)]
    lines.append(_STAYS.format(span=_days(kept.days)))
    if outlook.asked_at is not None:
        lines.append(f"You asked for this {relative(outlook.asked_at)}, and the last of it is still under way.")
    return "\n".join(lines)


def _what_goes(outlook: ErasurePreview) -> list[str]:
    lines = [f"- {_videos(outlook.jobs)} of yours: I forget whose, where and what of."]
    if outlook.waiting:
        lines.append(f"- {_videos(outlook.waiting)} waiting to start: cancelled, free.")
    if outlook.under_way:
        lines.append(f"- {_videos(outlook.under_way)} in the making: never posted, but paid for, so it counts.")
    if outlook.credits:
        lines.append(f"- Credits for {_videos(outlook.credits)}: given up.")
    return lines


def erased(result: ErasureResult) -> str:
    """What was done."""
    if result.done:
        return "Done: I keep nothing about you any more but what is in the servers' own records."
    lines = [f"Done: I forgot {_videos(result.jobs)} of yours."]
    if unfinished := result.cancelled + result.in_progress:
        lines.append(f"{_videos(unfinished)} not finished yet: cancelled, and forgotten within some hours.")
    lines.append(
        "What a limit still counts is forgotten when it does no more; I see to that by myself. "
        "A new video that you ask for is kept as any other."
    )
    return "\n".join(lines)


def _videos(number: int) -> str:
    return several(number, "video")


def _days(number: int) -> str:
    return several(number, "day")
