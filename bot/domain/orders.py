"""Checks what a member typed and makes an order of it that the model takes whole.

The upstream cuts what is too long without a word (source: the model's page), so the bot says so before. One
character is one code point of the NFC text, whatever the script. Pure.
"""

import unicodedata

from bot.domain.errors import OrderRefused
from bot.domain.jobs import Order, Resolution

PROMPT_MAX = 800
NEGATIVE_PROMPT_MAX = 500
SEED_MAX = 2_147_483_647

_UNSEEN = {"Cf", "Mn", "Me", "Zs"}
"""Kinds of characters that show nothing by themselves."""


def clean_text(text: str) -> str:
    """The text in NFC, on one line, without control characters, lone surrogates and doubled white space.

    Empty where nothing in it can be seen, such as a lone zero-width joiner.
    """
    kept = "".join(
        " " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char
        for char in unicodedata.normalize("NFC", text)
    )
    if all(unicodedata.category(char) in _UNSEEN for char in kept):
        return ""
    return " ".join(kept.split())


def check_order(
    *,
    prompt: str,
    negative_prompt: str | None = None,
    resolution: str | None = None,
    seed: int | None = None,
    prompt_extend: bool = True,
    watermark: bool = False,
) -> Order:
    """An order from what a member typed. resolution: 720P, where none is named.

    Raises: OrderRefused, with a text for the member.
    """
    cleaned = clean_text(prompt)
    if not cleaned:
        raise OrderRefused("The prompt is empty. Describe in a few words what should move in your picture.")
    _refuse_longer(cleaned, PROMPT_MAX, "The prompt")
    unwanted = clean_text(negative_prompt or "") or None
    if unwanted is not None:
        _refuse_longer(unwanted, NEGATIVE_PROMPT_MAX, "The negative prompt")
    if resolution is None:
        resolution = Resolution.P720
    if resolution not in set(Resolution):
        raise OrderRefused(f"The resolution must be one of {', '.join(Resolution)}.")
    if seed is not None and not 0 <= seed <= SEED_MAX:
        raise OrderRefused(f"The seed must be a whole number from 0 to {SEED_MAX}.")
    return Order(
        prompt=cleaned,
        negative_prompt=unwanted,
        resolution=Resolution(resolution),
        seed=seed,
        prompt_extend=prompt_extend,
        watermark=watermark,
    )


def _refuse_longer(text: str, most: int, name: str) -> None:
    if len(text) > most:
        raise OrderRefused(
            f"{name} is {len(text)} characters long; the model reads at most {most}. Shorten it and try again."
        )
