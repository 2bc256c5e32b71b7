"""What members read about their own data, as Discord markdown: what is kept, exported and deleted. Pure."""

from bot.chat.messages.markdown import relative, several
from bot.domain.member_data import ErasurePreview, ErasureResult, RetentionPolicy
from bot.services.privacy import DataExport

_TERMS = (
    "**What I keep about you**, in all servers where you use me\n"
    "- **Your videos**: prompt, options, what you called the picture or which video it goes on from, where and "
    "when you asked, how it went and what it cost, so I can make, post and list them. {span} after a video is "
    "over, I forget who asked, where and for what; the server's totals stay.\n"
    "- **Your settings**, until {span} after your last video.\n"
    "- Where I'm no member: for 15 minutes, the key to answer you there (never exported).\n"
    "- **What the limits need**: which videos count, your credits and your own limits. After {span} your name is "
    "removed from these records, unless a limit still needs it.\n"
    "- **What protects a server**: bans and their reasons, until {span} after they end (a permanent one ends when "
    "an admin lifts it); blocked prompts only as a count, for a day.\n"
    "- **The audit log**: what you change as an admin, and what admins change about you (bans, credits, limits, "
    "cancelled videos), for {span}.\n"
    "{pictures}\n"
    "**Who else sees any of it**: the video service gets your picture, prompt and options, but not who you are; "
    "how long it keeps them is up to the service. Where moderators approve each video, they see its prompt, and "
    "the picture until they answer. They also see prompts that are blocked or fail.\n"
    "**What stays in Discord**: everything I posted. *Delete* or *Remove* under a message deletes it.\n"
    "**If a server removes me**, I delete what I keep for it {after}.\n"
    "`/videos privacy export` gives you a copy of everything that's yours; `/videos privacy delete` deletes it."
)

_PICTURES_KEPT = (
    "**Your pictures**, as your videos begin with them: I keep each until {span} after its video is over, so that "
    "it can be made again. *Delete* under a video deletes its picture too, at once.\n"
    "**What I don't keep**: your videos, once they're posted."
)
_PICTURES_NOT_KEPT = "**What I don't keep**: your picture once it's submitted, and your video once it's posted."

_STAYS = (
    "**What stays, and why**\n"
    "- Numbers without your name: when a video was made and what it cost, for the servers' totals.\n"
    "- That you made a video (not which one), for as long as a limit counts it. Deleting doesn't reset your "
    "quota.\n"
    "- The servers' own records: bans that still apply, until {span} after they end; blocked prompts for a day; "
    "limits that admins set just for you; and for {span} what you changed as an admin or admins changed about "
    "you.\n"
    "- Messages in Discord. Use *Delete* under your videos **first**: afterwards I don't know they're yours, "
    "and only moderators can delete them."
)

NOT_YOURS = "That question is for somebody else. Use `/videos privacy delete` to delete your own data."
"""For anyone who clicks another member's button."""


def terms(retention: RetentionPolicy) -> str:
    """What is kept, why and for how long, who else sees it, and what the member can do."""
    after = (
        "within the hour"
        if retention.days_after_leaving == 0
        else f"{several(retention.days_after_leaving, 'day')} later"
    )
    kept = several(min(retention.days_of_pictures, retention.days), "day")
    pictures = _PICTURES_KEPT.format(span=kept) if retention.days_of_pictures else _PICTURES_NOT_KEPT
    return _TERMS.format(span=several(retention.days, "day"), after=after, pictures=pictures)


def exported(export: DataExport) -> str:
    """The line above the file."""
    text = "Here's everything I keep about you, in all servers."
    if export.filename.endswith(".gz"):
        text += " It's long, so it's compressed (gzip)."
    if not export.complete:
        text += (
            " The oldest entries didn't fit: `left_out` in the file says how many. "
            "You can ask the bot's operator for them."
        )
    return text


def question(preview: ErasurePreview, retention: RetentionPolicy) -> str:
    """What deleting would do, before it is done."""
    lines = ["**Delete your data in all servers?** You can't undo this.", *_what_goes(preview)]
    lines.append(_STAYS.format(span=several(retention.days, "day")))
    if preview.asked_at is not None:
        lines.append(f"You already asked for this {relative(preview.asked_at)}, and I'm still finishing it.")
    return "\n".join(lines)


def _what_goes(preview: ErasurePreview) -> list[str]:
    lines = [f"- {several(preview.jobs, 'video')} of yours: I forget who asked, where and for what."]
    if preview.pictures:
        lines.append(f"- {several(preview.pictures, 'picture')} that I still have, and copies of them: deleted.")
    if preview.waiting:
        lines.append(f"- {several(preview.waiting, 'video')} waiting to start: cancelled for free.")
    if preview.in_progress:
        lines.append(
            f"- {several(preview.in_progress, 'video')} being made: never posted. It's paid for, so it counts, "
            "unless the video service can still stop it."
        )
    if preview.credits:
        lines.append(f"- {several(preview.credits, 'credit')}: lost.")
    if preview.has_settings:
        lines.append("- Your settings: back to the defaults.")
    return lines


def erased(result: ErasureResult) -> str:
    """What was done."""
    if result.done:
        return "Done. I've deleted everything about you except the servers' own records."
    lines = [f"Done. I've forgotten {several(result.jobs, 'video')} of yours."]
    if unfinished := result.cancelled + result.in_progress:
        lines.append(f"{several(unfinished, 'unfinished video')}: cancelled, and forgotten within a few hours.")
    lines.append(
        "What a limit still counts is forgotten once it no longer does. New videos you ask for are kept as usual."
    )
    return "\n".join(lines)
