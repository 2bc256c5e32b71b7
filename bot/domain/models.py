"""The models that videos are made with, and the providers that offer them. Pure.

A model is a value, and everything follows from its declaration: the options of `/animate`, the checks of an order
and of its picture, prices, budgets and texts. Which of them a bot offers is a setting; see `Catalog`.

Sources, read 2026-11-28: the vendor's page of `wan22_i2v_flash`, and Alibaba Model Studio's pages of its models.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple, TypeVar

from bot.domain.jobs import DEFAULT_DURATION_S, DEFAULT_MODEL, Job, Order, ProviderName, Resolution

_T = TypeVar("_T")


class TaskKind(NamedTuple):
    """What decides how long a task takes and what it costs: tasks of one kind are alike."""

    provider: ProviderName
    model: str
    resolution: Resolution
    duration_s: int


def kind_of(job: Job) -> TaskKind:
    """The kind of a job's task; of one that no provider has yet, as if it were made by Vtrix."""
    order = job.order
    return TaskKind(job.provider or ProviderName.VTRIX, order.model, order.resolution, order.duration_s)


NAMES_NO_COSTS = frozenset({ProviderName.DASHSCOPE})
"""Providers whose tasks' costs are computed from the settings. Nothing can be learned from those: an average of
them would only delay what an operator changes."""


class Currency(StrEnum):
    """What a provider bills in."""

    USD = "USD"
    CNY = "CNY"


@dataclass(frozen=True, slots=True)
class Offering:
    """A model at one provider.

    upstream_name: what the provider calls the model. per_second: the price of a second of video, by resolution, in
    `currency`.
    """

    provider: ProviderName
    upstream_name: str
    per_second: Mapping[Resolution, Decimal] = field(hash=False)
    currency: Currency

    def price(self, resolution: Resolution, duration_s: int, usd_per: Mapping[Currency, Decimal]) -> Decimal:
        """What a video costs in USD. usd_per: how many USD one unit of a currency is."""
        return self.per_second[resolution] * duration_s * usd_per[self.currency]


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a model takes as a first frame: the sides in pixels, and the file's size."""

    side_min_px: int = 360
    side_max_px: int = 2000
    max_bytes: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """A model as members choose it.

    name: as the database and the settings call it. title: for people. resolutions: the lowest first. durations_s:
    of its videos, in seconds; the first is the default. prompt_max, negative_prompt_max: in code points of the NFC
    text; the model silently ignores what is longer. has_audio: whether its videos have sound. can_extend: whether
    it may go on from the last frame of another video.
    """

    name: str
    title: str
    offerings: tuple[Offering, ...]
    resolutions: tuple[Resolution, ...]
    durations_s: tuple[int, ...]
    prompt_max: int = 800
    negative_prompt_max: int = 500
    picture: PictureLimits = PictureLimits()
    has_audio: bool = False
    can_extend: bool = True

    def offering(self, provider: ProviderName) -> Offering | None:
        """The model at this provider; None if it isn't offered there."""
        return next((one for one in self.offerings if one.provider is provider), None)

    def best_resolution(self, allowed: Collection[Resolution], wanted: Resolution | None = None) -> Resolution:
        """For orders that name none: the wanted one or, unless it may be had, the best that may.

        allowed: by the server; empty for all. Where it allows none of the model's, the model's best.
        """
        possible = [one for one in self.resolutions if not allowed or one in allowed] or list(self.resolutions)
        return wanted if wanted is not None and wanted in possible else possible[-1]


WAN22_FLASH = Model(
    name=DEFAULT_MODEL,
    title="Wan 2.2 Flash",
    offerings=(
        Offering(
            ProviderName.VTRIX,
            "wan22_i2v_flash",
            {Resolution.P480: Decimal("0.014"), Resolution.P720: Decimal("0.028")},
            Currency.USD,
        ),
        Offering(
            ProviderName.DASHSCOPE,
            "wan2.2-i2v-flash",
            {Resolution.P480: Decimal("0.10"), Resolution.P720: Decimal("0.20")},
            Currency.CNY,
        ),
    ),
    resolutions=(Resolution.P480, Resolution.P720),
    durations_s=(DEFAULT_DURATION_S,),
)

WAN25_PREVIEW = Model(
    name="wan25_i2v_preview",
    title="Wan 2.5 Preview",
    # Read 2026-11-29. Limits of texts and pictures, durations, seed, sound: Alibaba Model Studio's page
    # `image-to-video-api-reference`, as public copies have it (a newer one takes larger pictures, resellers say
    # 2,000 characters). Prices: docs.crazyrouter.com/video/wan, which quotes Model Studio's page `model-pricing`
    # for Beijing. Its videos have sound there, whatever is asked for.
    offerings=(
        Offering(
            ProviderName.DASHSCOPE,
            "wan2.5-i2v-preview",
            {
                Resolution.P480: Decimal("0.30"),
                Resolution.P720: Decimal("0.60"),
                Resolution.P1080: Decimal("1.00"),
            },
            Currency.CNY,
        ),
    ),
    resolutions=(Resolution.P480, Resolution.P720, Resolution.P1080),
    durations_s=(5, 10),
    prompt_max=1500,
    has_audio=True,
)

DECLARED: tuple[Model, ...] = (WAN22_FLASH, WAN25_PREVIEW)
"""All models that can be offered; the first is the default."""

DEFAULT_USD_PER = {Currency.USD: Decimal(1), Currency.CNY: Decimal("0.14")}
"""How many USD one unit of a currency is, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models that this bot offers, and where it has them made.

    models: the first is the default. providers: in the order in which they are asked. usd_per: see
    `Offering.price`. prices: the estimated cost of a video in USD, where it isn't what the declaration says.
    """

    models: tuple[Model, ...] = (WAN22_FLASH,)
    providers: tuple[ProviderName, ...] = (ProviderName.VTRIX,)
    usd_per: Mapping[Currency, Decimal] = field(default_factory=lambda: DEFAULT_USD_PER, hash=False)
    prices: Mapping[TaskKind, Decimal] = field(default_factory=dict, hash=False)

    @property
    def default(self) -> Model:
        """The model of orders that name none."""
        return self.models[0]

    def model(self, name: str) -> Model | None:
        """The model of this name; None if the bot doesn't offer it."""
        return next((model for model in self.models if model.name == name), None)

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one model."""
        return len(self.models) > 1

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """What at least one of the models makes, the lowest first."""
        return tuple(one for one in Resolution if any(one in model.resolutions for model in self.models))

    @property
    def durations_s(self) -> tuple[int, ...]:
        """How long the videos of at least one of the models are, in seconds, the shortest first."""
        return tuple(sorted({duration_s for model in self.models for duration_s in model.durations_s}))

    @property
    def has_durations(self) -> bool:
        """Whether one of the models makes videos of different lengths."""
        return any(len(model.durations_s) > 1 for model in self.models)

    @property
    def prompt_max(self) -> int:
        """The longest prompt that one of the models reads."""
        return max(model.prompt_max for model in self.models)

    @property
    def negative_prompt_max(self) -> int:
        """The longest negative prompt that one of the models reads."""
        return max(model.negative_prompt_max for model in self.models)

    def usual(self, allowed: Collection[str] | None) -> Model:
        """The model of orders that name none: the first that the server allows; the default if it allows none.

        allowed: names of models; None for all.
        """
        return next((model for model in self.models if allowed is None or model.name in allowed), self.default)

    def kinds_of(self, order: Order) -> tuple[TaskKind, ...]:
        """The kinds of task that can make this order, in the order in which the providers are asked."""
        model = self.model(order.model)
        return () if model is None else self._kinds(model, order.resolution, order.duration_s)

    def kinds(self) -> tuple[TaskKind, ...]:
        """All kinds of task that the bot may create."""
        return tuple(
            kind
            for model in self.models
            for resolution in model.resolutions
            for duration_s in model.durations_s
            for kind in self._kinds(model, resolution, duration_s)
        )

    def estimate(self, kind: TaskKind) -> Decimal:
        """What a task costs in USD, as long as nothing is known of what tasks of its kind really cost."""
        if (price := self.prices.get(kind)) is not None:
            return price
        model = self.model(kind.model)
        offering = None if model is None else model.offering(kind.provider)
        if offering is None:
            raise KeyError(kind)
        return offering.price(kind.resolution, kind.duration_s, self.usd_per)

    def _kinds(self, model: Model, resolution: Resolution, duration_s: int) -> tuple[TaskKind, ...]:
        return tuple(
            TaskKind(provider, model.name, resolution, duration_s)
            for provider in self.providers
            if model.offering(provider) is not None
        )


def declared(name: str) -> Model | None:
    """The model of this name, offered or not; None if this version of the bot doesn't know it."""
    return next((model for model in DECLARED if model.name == name), None)


def title_of(name: str) -> str:
    """What a model is called; its name, if this version of the bot doesn't know it."""
    model = declared(name)
    return name if model is None else model.title


def subsets(things: Sequence[_T]) -> list[tuple[_T, ...]]:
    """All choices of at least one of the things, in their order: of all, then of one, of two and so on."""
    counts = [len(things), *range(1, len(things))]
    return [some for count in counts for some in combinations(things, count)]


KNOWN_NAMES = " or ".join(f"`{model.name}`" for model in DECLARED)
"""All models' names, for operators."""


def checked_names(names: Collection[str]) -> tuple[str, ...]:
    """The names of models as the settings give them, each once. Raises: ValueError, for operators to read."""
    if not names:
        raise ValueError("it names no model")
    if any(declared(name) is None for name in names):
        raise ValueError("it names a model that isn't known")
    return tuple(dict.fromkeys(names))


def not_offered(names: Collection[str], providers: Collection[ProviderName]) -> list[str]:
    """Those of the models' names that none of the providers offers."""
    models = [model for model in DECLARED if model.name in names]
    return [model.name for model in models if not any(map(model.offering, providers))]


def configured(
    names: Sequence[str],
    providers: Sequence[ProviderName],
    *,
    usd_per: Mapping[Currency, Decimal] = DEFAULT_USD_PER,
    prices: Mapping[TaskKind, Decimal],
) -> Catalog:
    """What the settings say is offered: declared models by name, the default first. The rest: see `Catalog`."""
    models = tuple(model for name in names for model in DECLARED if model.name == name)
    return Catalog(models, tuple(providers), usd_per, prices)


DEFAULT_CATALOG = Catalog()
"""The default model, made where it was made before there was a choice."""
