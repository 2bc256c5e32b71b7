"""Descriptions of what the bot posts, for members who can't see it. Pure; plain text, as Discord shows it."""

from bot.chat.messages.markdown import fitting, one_line
from bot.domain.jobs import Job
from bot.domain.orders import ALT_TEXT_MAX


def of_video(job: Job) -> str:
    """The member's description of their picture, else the prompt."""
    return job.picture_alt_text or _from_prompt("A video", job)


def of_picture(job: Job) -> str:
    """The same for the picture itself."""
    return job.picture_alt_text or _from_prompt("The picture for a video", job)


def _from_prompt(what: str, job: Job) -> str:
    return fitting(f"{what}: {one_line(job.order.prompt)}", ALT_TEXT_MAX, str)
