"""What members read about their own settings, as Discord markdown. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

HEADING = "### Your settings\nFor all your videos, in every server. They apply from now on."

SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "pings": "**Ping me**\nwhen a video is ready or didn't work",
        "direct": (
            "**Direct messages**\nI send your videos to you instead of the channel. If you take none, they "
            "appear in the channel."
        ),
        "spoilers": "**Always a spoiler**\nwhatever your picture is",
        "prompt_extend": "**Let the model add detail**\nto your prompts, if you don't choose it with `/animate`",
        "watermark": "**Watermark**\nin the corner, if you don't choose it with `/animate`",
    }
)
"""The settings that are on or off, by name."""

RESOLUTION = "**Resolution**\nif you don't choose one with `/animate`"
BEST = "The best the server allows"
ON, OFF = "On", "Off"
NOT_YOURS = "Those settings are somebody else's. Use `/videos settings` to change your own."
