"""Renders the page's templates. All values are escaped; a name that a template misspells is an error."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bot.chat.messages import cost_texts, job_history_texts
from bot.chat.messages.markdown import plain
from bot.chat.messages.member_texts import message_link, video_link
from bot.chat.messages.provider_texts import provider_title
from bot.domain.job_history import history
from bot.domain.jobs import JobState
from bot.web.operator_page import formats

_PACKAGE = "bot.web.operator_page"

REFRESH_S = 30
"""How often a page that shows the present loads itself again."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "utc": formats.utc,
        "span": formats.span,
        "ago": formats.ago,
        "usd": formats.usd,
        "share": formats.share,
        "server": formats.server,
        "kind": formats.kind,
        "foreign": formats.text,
        "answer": formats.answer,
        "duration": formats.duration,
        "plain": plain,
        "provider": provider_title,
        "state": job_history_texts.state_name,
        "held": job_history_texts.held_name,
        "why_failed": job_history_texts.why_failed,
        "what_failed": job_history_texts.what_failed,
        "event": job_history_texts.event_text,
        "history": history,
        "chart_in_words": cost_texts.described,
        "video_link": video_link,
    }
    environment.globals |= {"State": JobState, "message_link": message_link, "refresh_s": REFRESH_S}
    return environment


def render(template: str, **values: Any) -> str:
    """The template with these values, as HTML."""
    return _environment().get_template(template).render(values)


@cache
def static(name: str) -> bytes:
    """A file that belongs to the page."""
    return (files(_PACKAGE) / "static" / name).read_bytes()
