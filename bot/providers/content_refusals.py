"""Recognises that a gateway refused a picture, a prompt or a video for its content, and which of them. Pure.

Gateways name it in many ways: `DataInspectionFailed`, `SensitiveContentDetected`, or only in a sentence. Words
that also describe malformed requests, such as `illegal` or `invalid`, prove nothing.

Alibaba Model Studio documents four codes for it ("Error codes", help.aliyun.com/en/model-studio/error-code, as of
June 2026): `DataInspectionFailed` (also `data_inspection_failed`), `IPInfringementSuspect`, `FaqRuleBlocked` and
`CustomRoleBlocked`. `InvalidParameter.DataInspection` is none of them: that picture could not be downloaded.
"""

import re

from bot.domain.jobs import RejectedPart

_CODE = re.compile(
    r"datainspectionfail|inappropriate|moderation|nsfw|greennet|infringement|(?:faqrule|custom(?:role|rule))blocked"
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
    r"|\bmoderation\b|\bcommunity guidelines\b|\bgreen ?net\b|\bdata inspection fail|\bip infringement\b"
    r"|\bblocked by (?:faq|custom) rule"
    r"|\bviolat\w+ [^.]{0,40}\b(?:polic(?:y|ies)|guidelines)\b"
    r"|敏感|违规|違規|违禁|不当内容|内容安全|审核(?:未|不)通过|涉黄|涉政|涉暴"
)

_PARTS = {
    RejectedPart.PICTURE: re.compile(r"image|picture|photo|\bframe\b|图片|图像|首帧"),
    RejectedPart.PROMPT: re.compile(r"prompt|text|\bwords?\b|提示词|文本|关键词"),
    RejectedPart.VIDEO: re.compile(r"output|video(?! generation)|视频(?!生成)"),
}
"""Words for a part of the order, in a code or a message without its case."""


def is_content_refusal(code: str | None, message: str | None) -> bool:
    """Whether an error with this code and message is about the content. A known code alone is proof."""
    return _says_code(code) or (message is not None and _MESSAGE.search(message.casefold()) is not None)


def rejected_part(code: str | None, message: str | None) -> RejectedPart | None:
    """Which part of an order such an error is about; None if it doesn't say so, or names several.

    Where the code names one (`OutputVideoSensitiveContentDetected`), the message isn't read.
    """
    return _part_in(code or "") or _part_in(message or "")


def _part_in(said: str) -> RejectedPart | None:
    lowered = said.casefold()
    named = {part for part, words in _PARTS.items() if words.search(lowered)}
    if "input" in lowered:  # "input or output data": either
        named.discard(RejectedPart.VIDEO)
    return named.pop() if len(named) == 1 else None


def _says_code(code: str | None) -> bool:
    return code is not None and _CODE.search(re.sub(r"[^a-z]", "", code.casefold())) is not None
