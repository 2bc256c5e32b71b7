"""Recognises that a gateway refused a picture, a prompt or a video for its content. Pure.

Gateways name it in many ways: `DataInspectionFailed`, `SensitiveContentDetected`, or only in a sentence. Words
that also describe malformed requests, such as `illegal` or `invalid`, prove nothing.
"""

import re

_CODE = re.compile(
    r"datainspection|inappropriate|moderation|nsfw|greennet|infringement"
    r"|(?:sensitive|unsafe|harmful|prohibited)(?:content|input|output|text|image|prompt|word)"
    r"|content(?:policy|filter|safety|violation|risk|refused|blocked)"
)
"""In a code without its punctuation and case."""

_BAD = r"(?:inappropriate|(?<!case )(?<!case-)sensitive|unsafe|harmful|offensive|obscene|pornographic|sexual|nsfw)"
_WHAT = (
    r"(?:contents?|data|information|materials?|images?|pictures?|prompts?|texts?|videos?|words?|inputs?|outputs?)"
)
_MESSAGE = re.compile(
    rf"\b{_BAD}\b[^.]{{0,40}}\b{_WHAT}\b|\b{_WHAT}\b[^.]{{0,40}}{_BAD}\b"
    r"|\bcontent (?:policy|policies|moderation|safety|filters?|review)\b|\bsafety (?:system|filter|check|polic)"
    r"|\bmoderation\b|\bcommunity guidelines\b|\bgreen ?net\b|\bdata inspection\b"
    r"|\bviolat\w+ [^.]{0,40}\b(?:polic(?:y|ies)|guidelines)\b"
    r"|敏感|违规|違規|违禁|不当内容|内容安全|审核(?:未|不)通过|涉黄|涉政|涉暴"
)


def is_content_refusal(code: str | None, message: str | None) -> bool:
    """Whether an error with this code and message is about the content. A known code alone is proof."""
    return _says_code(code) or (message is not None and _MESSAGE.search(message.casefold()) is not None)


def _says_code(code: str | None) -> bool:
    return code is not None and _CODE.search(re.sub(r"[^a-z]", "", code.casefold())) is not None
