"""What a training recipe can say. The recipes themselves: train/recipes/catalogue.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS, canonical
from edge_emotion.models.manifest import CropSpec, InputSpec
from train.data.augment import Augmentation
from train.data.layouts.fer import FER2013_CLASSES, SIZE

FER_CROP = CropSpec(margin=0.12, shift=-0.10, detail=SIZE)
"""From a BlazeFace box to the framing of FER2013, measured by ``python -m train crop``: docs/reference/models.md."""

CLASS_SETS: dict[str, tuple[str, ...]] = {
    "3": ("happiness", "sadness", "anger"),
    "4": ("neutral", "happiness", "surprise", "sadness"),
    "7": EMOTIONS[:7],
    "8": EMOTIONS,
}
"""Subsets that the comparison systems were built for; 7 leaves out contempt, which FER2013 does not know."""


def gray_input(size: int) -> InputSpec:
    """One grey channel, (pixel - 128) / 128: int8 models then read pixel - 128, with no rounding tie."""
    return InputSpec(height=size, width=size, channels=1, colour="gray", scale=1 / 128, offset=-1.0, crop=FER_CROP)


def rgb_input(size: int, *, scale: float = 1 / 128, offset: float = -1.0) -> InputSpec:
    """Three channels in the order of the networks' ImageNet weights, as sharp as the network can see."""
    crop = FER_CROP.model_copy(update={"detail": size})
    return InputSpec(height=size, width=size, channels=3, colour="rgb", scale=scale, offset=offset, crop=crop)


def class_names(value: Any) -> Any:
    """'4', 4, 'happy, sad' or a list as canonical names in the order of EMOTIONS; anything else as it is."""
    if isinstance(value, (int, str)):
        value = CLASS_SETS.get(str(value).strip()) or [name for name in str(value).split(",") if name.strip()]
    if isinstance(value, (list, tuple)):
        names = {canonical(str(name)) for name in value}
        return tuple(name for name in EMOTIONS if name in names)
    return value


def _start(value: Any) -> Any:
    """'none' is no weights, as on the command line."""
    return None if value == "none" else value


def _fer_class(name: str) -> str:
    if canonical(name) not in FER2013_CLASSES:
        raise ValueError(f"FER2013 does not know {name}")
    return canonical(name)


FerClass = Annotated[str, AfterValidator(_fer_class)]


class Recipe(BaseModel):
    """How one model is trained.

    ``network(input_shape, classes, dropout=..., weights=...)`` builds its graph, which ends in logits; ``weights`` is
    where it starts unless told otherwise: 'imagenet' or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    summary: str = Field(exclude=True)
    network: Callable[..., Any] = Field(exclude=True)
    weights: Annotated[str | None, BeforeValidator(_start)] = None
    input: InputSpec = gray_input(96)
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(class_names)] = None
    """What it tells apart: names, or 3, 4, 7 or 8 for a set of CLASS_SETS; None for all that the data set has."""
    label_votes: dict[FerClass, Annotated[float, Field(gt=0)]] = {}
    """FER+: further votes for FER2013's own label, by the label."""
    copies: Literal["near", "exact"] = "near"
    """Training faces of which another split holds such a copy are left out; near ones are those that are exact, too."""

    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=64, gt=0)
    seed: int = Field(default=1, ge=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled (Loshchilov and Hutter 2019); Adam has none."""
    schedule: Literal["cosine", "step", "plateau", "constant"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0)
    patience: int = Field(default=0, ge=0)
    """Stop after so many epochs without a better one; 0: never."""
    select: Literal["accuracy", "balanced_accuracy"] = "accuracy"
    """What the best epoch has most of, on the validation split; balanced over all classes that occur there."""

    freeze: float = Field(default=0.0, ge=0, le=1)
    """Share of the layers with weights, from the input on, that keep them at first; the head always learns. Layers
    that start from random weights are not frozen."""
    unfreeze_epochs: int = Field(default=0, ge=0)
    """Frozen layers are freed over so many epochs, the last ones first; 0: never."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Before the head; None: what the network's authors chose."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    """alpha of Zhang et al. 2018; 0: off."""
    cutmix: float = Field(default=0.0, ge=0)
    """alpha of Yun et al. 2019; 0: off. With ``mixup``, each batch takes one of the two."""
    augmentation: Augmentation = Augmentation()

    class_weights: float = Field(default=0.0, ge=0, le=1)
    """The loss of a face is weighted by the prior of its classes to the minus this power; 1: every class alike."""
    oversample: float = Field(default=0.0, ge=0, le=1)
    """Faces are drawn by the prior of their classes to the minus this power."""
    compensate: bool = False
    """The loss undoes what class weights and oversampling do to the prior, so that logits still estimate the natural
    frequencies; working points are then chosen by logit adjustment."""
    adjust: float = Field(default=0.0, ge=0, le=2)
    """tau of the logit-adjusted loss (Menon et al. 2021)."""

    distill: float = Field(default=0.0, ge=0, le=1)
    """Share of the teachers' answer in the target; used when teachers are given."""
    distill_temperature: float = Field(default=1.0, gt=0)

    def build(self, classes: int, *, weights: str | None) -> Any:
        """The graph for so many classes, from ``weights``: a path, 'imagenet' or None for random ones."""
        options = {} if self.dropout is None else {"dropout": self.dropout}
        return self.network(self.input.shape, classes, weights=weights, **options)

    @model_validator(mode="after")
    def _square(self) -> Recipe:
        if self.input.height != self.input.width:
            raise ValueError(f"input must be square, not {self.input.height} x {self.input.width}")
        return self

    def change(self, **values: Any) -> Recipe:
        """A recipe with other settings, validated; a mapping changes parts of ``augmentation`` or ``input``.

        Raises ConfigError for a setting that does not exist or does not fit.
        """
        fixed = [key for key in ("name", "network", "summary") if key in values]
        if fixed:
            raise ConfigError(f"recipe {self.name}: {fixed[0]} cannot be set; it is what makes a recipe")
        try:
            return Recipe.model_validate(_merge(self, values))
        except ValidationError as error:
            raise ConfigError(f"recipe {self.name}: {_explain(error)}") from error


def _merge(part: BaseModel, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``part`` under new ones, at any depth."""
    merged = dict(part)
    for key, value in values.items():
        below = merged.get(key)
        nested = isinstance(below, BaseModel) and isinstance(value, Mapping)
        merged[key] = _merge(below, value) if nested else value  # type: ignore[arg-type]
    return merged


def _explain(error: ValidationError) -> str:
    """The first fault, with the nearest name for one that does not exist."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        message = fault["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    fields = _fields_at(fault["loc"][:-1])
    near = get_close_matches(str(fault["loc"][-1]), fields, n=1)
    return f"no setting {where}" + (f", did you mean {near[0]}?" if near else f"; there are: {', '.join(fields)}")


def _fields_at(place: Sequence[int | str]) -> list[str]:
    """The settings that exist at a place in a recipe."""
    known: dict[tuple[int | str, ...], type[BaseModel]] = {
        (): Recipe, ("augmentation",): Augmentation, ("input",): InputSpec, ("input", "crop"): CropSpec
    }  # fmt: skip
    return list(known.get(tuple(place), Recipe).model_fields)
