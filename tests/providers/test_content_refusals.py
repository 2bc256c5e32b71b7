"""Which errors of a gateway are about the content of a picture, a prompt or a video."""

import pytest

from bot.domain.jobs import RejectedPart
from bot.providers.content_refusals import is_content_refusal, rejected_part

ABOUT_CONTENT = [
    ("DataInspectionFailed", None),
    ("DataInspectionFailed", "Input data may contain inappropriate content."),
    ("InvalidParameter", "Data inspection failed for the input."),
    ("data_inspection_failed", None),
    ("InputImageSensitiveContentDetected", None),
    ("OutputVideoSensitiveContentDetected", None),
    ("content_policy_violation", None),
    ("content-filter", None),
    ("moderation_blocked", None),
    ("IPInfringementSuspect", None),
    ("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement."),
    ("FaqRuleBlocked", "Input or output data is blocked by faq rule."),
    ("CustomRoleBlocked", "Input or output data may contain inappropriate content with custom rule."),
    ("400", "Input data is suspected of being involved in IP infringement."),
    ("400", "Input or output data is blocked by faq rule."),
    ("400", "Output data may contain inappropriate content."),
    ("400", "Input text data may contain inappropriate content"),
    ("002014001", "Green net check failed for image"),
    (None, "The image is unsafe."),
    (None, "Sensitive words were found in the prompt"),
    (None, "Your request was rejected as a result of our safety system"),
    (None, "This violates our usage policies"),
    (None, "提示词包含敏感内容"),
    (None, "图片审核未通过"),
]
ABOUT_SOMETHING_ELSE = [
    (
        "InvalidParameter.DataInspection",
        "Unable to download the media resource during the data inspection process.",
    ),
    ("RuleBlocked", "Requests are blocked by a rate limit"),
    (None, None),
    ("400", None),
    ("InvalidParameter", "Illegal image format"),
    ("InvalidParameter", "The parameter name is case sensitive: check your input"),
    ("InvalidParameter", "Parameter names are case-sensitive, see the input's documentation"),
    ("InvalidURL", "The content of the image can't be downloaded"),
    ("002014001", "Video generation failed"),
    ("Arrearage", "Access denied, please make sure your account is in good standing."),
    ("Throttling.RateQuota", "Requests rate limit exceeded"),
    ("413", "Content Too Large"),
]


@pytest.mark.parametrize(("code", "message"), ABOUT_CONTENT)
def test_a_refusal_of_the_content_is_recognised(code: str | None, message: str | None) -> None:
    assert is_content_refusal(code, message)


@pytest.mark.parametrize(("code", "message"), ABOUT_SOMETHING_ELSE)
def test_other_errors_are_not_taken_for_one(code: str | None, message: str | None) -> None:
    assert not is_content_refusal(code, message)


@pytest.mark.parametrize(
    ("code", "message", "part"),
    [
        ("InputImageSensitiveContentDetected", None, RejectedPart.PICTURE),
        ("InputTextSensitiveContentDetected", None, RejectedPart.PROMPT),
        ("OutputVideoSensitiveContentDetected", "The prompt is sensitive", RejectedPart.VIDEO),
        ("002014001", "Green net check failed for image", RejectedPart.PICTURE),
        ("DataInspectionFailed", "Output data may contain inappropriate content.", RejectedPart.VIDEO),
        ("DataInspectionFailed", "Input text data may contain inappropriate content", RejectedPart.PROMPT),
        (None, "提示词包含敏感内容", RejectedPart.PROMPT),
        (None, "图片审核未通过", RejectedPart.PICTURE),
        (None, "Video generation failed: sensitive words in the prompt", RejectedPart.PROMPT),
        ("DataInspectionFailed", "Input data may contain inappropriate content.", None),
        ("DataInspectionFailed", "Input or output data may contain inappropriate content.", None),
        ("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement.", None),
        (None, "The image or the prompt is unsafe", None),
        (None, None, None),
    ],
)
def test_a_refusal_of_the_content_names_one_part_or_none(
    code: str | None, message: str | None, part: RejectedPart | None
) -> None:
    assert rejected_part(code, message) is part
