"""A member's settings: a private panel with a button for each switch and a menu for the resolution."""

from collections.abc import Sequence

import discord
from discord import ui

from bot.chat.context import Interaction, services_of
from bot.chat.messages import settings_texts as texts
from bot.chat.messages.reason_texts import Said
from bot.chat.views.persistent_button import PersistentButton, PersistentSelect, refuse_unless_offered
from bot.domain.errors import NotPossible
from bot.domain.jobs import Resolution
from bot.domain.member_settings import MemberSettings
from bot.domain.models import WAN22_FLASH
from bot.services.member_settings import SettingChanges

_BEST = "best"


class SettingButton(
    PersistentButton,
    template=r"zoetrope:set:(?P<name>pings|direct|spoilers|prompt_extend|watermark):(?P<value>on|off):(?P<user>[0-9]{1,20})",
):
    """Switches a setting. The custom id says what to, so that a click that is repeated changes nothing."""

    works_in_direct_messages = True

    def __init__(self, name: str, value: str, user: str | int) -> None:
        self.name, self.turns_on, self.user_id = name, value == "on", int(user)
        # It shows what is so now.
        label, style = (
            (texts.OFF, discord.ButtonStyle.secondary)
            if self.turns_on
            else (texts.ON, discord.ButtonStyle.success)
        )
        super().__init__(label, f"zoetrope:set:{name}:{value}:{user}", style)

    async def act(self, interaction: Interaction) -> None:
        """Changes the setting and shows all."""
        changes: SettingChanges = {self.name: self.turns_on}  # type: ignore[misc]  # one of those in the template
        await _change(interaction, self.user_id, changes)


class ResolutionSelect(PersistentSelect, template=r"zoetrope:set:resolution:(?P<user>[0-9]{1,20})"):
    """Chooses the resolution of orders that name none."""

    works_in_direct_messages = True

    def __init__(
        self,
        user: str | int,
        current: Resolution | None = None,
        possible: Sequence[Resolution] = tuple(Resolution),
    ) -> None:
        is_best = current not in possible
        options = [discord.SelectOption(label=texts.BEST, value=_BEST, default=is_best)]
        options += [
            discord.SelectOption(label=each.value, value=each.value, default=current is each) for each in possible
        ]
        self.user_id = int(user)
        super().__init__(f"zoetrope:set:resolution:{user}", options)

    async def act(self, interaction: Interaction) -> None:
        """Changes the setting and shows all."""
        chosen = None if self.chosen == _BEST else Resolution(self.chosen)
        await _change(interaction, self.user_id, {"resolution": chosen})


async def _change(interaction: Interaction, user_id: int, changes: SettingChanges) -> None:
    refuse_unless_offered(interaction)
    await interaction.response.defer()
    if interaction.user.id != user_id:
        raise NotPossible(Said(texts.NOT_YOURS))
    settings = await services_of(interaction).settings.change(user_id, **changes)
    await interaction.edit_original_response(view=panel(settings, user_id, interaction.client.catalog.resolutions))


def panel(
    settings: MemberSettings, user_id: int, resolutions: Sequence[Resolution] = WAN22_FLASH.resolutions
) -> ui.LayoutView:
    """All settings as they are. resolutions: those to choose from.

    It holds nothing in memory: a click is routed by the custom id.
    """
    container = ui.Container[ui.LayoutView](ui.TextDisplay(texts.HEADING), accent_color=discord.Color.blurple())
    for name, text in texts.SWITCHES.items():
        value = "off" if getattr(settings, name) else "on"
        container.add_item(ui.Section(ui.TextDisplay(text), accessory=SettingButton(name, value, user_id)))
    container.add_item(ui.TextDisplay(texts.RESOLUTION))
    container.add_item(ui.ActionRow(ResolutionSelect(user_id, settings.resolution, resolutions)))
    view = ui.LayoutView(timeout=None)
    view.add_item(container)
    return view
