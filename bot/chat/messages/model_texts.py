"""What people read about models: in commands and forms, and with a video. Pure."""

from collections.abc import Iterable

from bot.chat.messages.markdown import escaped
from bot.domain.jobs import DEFAULT_MODEL, Order
from bot.domain.models import Catalog, Model, declared, title_of

MODEL_LABEL = "Model"
MODEL_DEFAULT = "The first one that this server allows"
DURATION_LABEL = "Length"
DURATION_DEFAULT = "The model's usual length"
ALL_MODELS = "all"


def command_description(catalog: Catalog) -> str:
    """What `/animate` does."""
    lengths = " or ".join(f"{duration_s}-" for duration_s in catalog.durations_s)
    return f"Turn a picture and a prompt into a {lengths}second video"


def choice(model: Model) -> str:
    """The model as a choice, with what it makes."""
    durations = " or ".join(map(str, model.durations_s))
    return f"{described(model)} ({'/'.join(model.resolutions)}, {durations} s)"


def described(model: Model) -> str:
    """The model with what is special about its videos."""
    return f"{model.title}, with sound" if model.has_audio else model.title


def model_of(order: Order) -> str:
    """The model of an order, which may not be offered any more."""
    model = declared(order.model)
    return order.model if model is None else described(model)


def options(order: Order) -> list[str]:
    """What a video is like that was ordered: its resolution, and more where its model has more."""
    if order.model == DEFAULT_MODEL:
        return [order.resolution.value]
    return [escaped(model_of(order)), order.resolution.value, f"{order.duration_s} s"]


def seconds(duration_s: int) -> str:
    """A video's length as a choice."""
    return f"{duration_s} seconds"


def listed(names: Iterable[str] | None) -> str:
    """The models of these names; None for all."""
    return ALL_MODELS if names is None else " and ".join(map(title_of, names))


def is_special(order: Order, catalog: Catalog) -> bool:
    """Whether it matters which model an order is for: there is a choice, or there was."""
    return catalog.has_choice or order.model != catalog.default.name
