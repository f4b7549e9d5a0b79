"""Settings of a training recipe. The recipes themselves are in train/recipes/catalogue.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from edge_emotion.config.merge import merged
from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS, canonical
from edge_emotion.models.manifest import CropSpec, InputSpec
from edge_emotion.system.plain_words import in_plain_words
from train.data.augment import Augmentation
from train.data.layouts.fer import FER2013_CLASSES, SIZE

FER_CROP = CropSpec(margin=0.12, shift=-0.10, detail=SIZE)
"""Framing of FER2013 relative to a BlazeFace box, measured by ``python -m train crop``: docs/reference/models.md."""

CLASS_SETS: dict[str, tuple[str, ...]] = {
    "3": ("happiness", "sadness", "anger"),
    "4": ("neutral", "happiness", "surprise", "sadness"),
    "7": EMOTIONS[:7],
    "8": EMOTIONS,
}
"""Subsets of the comparison systems; 7 leaves out contempt, which FER2013 lacks."""


def gray_input(size: int) -> InputSpec:
    """Input of one grey channel, (pixel - 128) / 128: int8 models then get exactly pixel - 128."""
    return InputSpec(height=size, width=size, channels=1, colour="gray", scale=1 / 128, offset=-1.0, crop=FER_CROP)


def rgb_input(size: int, *, scale: float = 1 / 128, offset: float = -1.0) -> InputSpec:
    """Input of three channels in the order of the ImageNet weights, at the full resolution of the network."""
    crop = FER_CROP.model_copy(update={"detail": size})
    return InputSpec(height=size, width=size, channels=3, colour="rgb", scale=scale, offset=offset, crop=crop)


def class_names(value: Any) -> Any:
    """Key of CLASS_SETS ('4', 4), 'happy, sad' or list as canonical names in the order of EMOTIONS; else unchanged."""
    if isinstance(value, (int, str)):
        value = CLASS_SETS.get(str(value).strip()) or [name for name in str(value).split(",") if name.strip()]
    if isinstance(value, (list, tuple)):
        names = {canonical(str(name)) for name in value}
        return tuple(name for name in EMOTIONS if name in names)
    return value


def _start(value: Any) -> Any:
    """'none' means no weights, as on the command line."""
    return None if value == "none" else value


def _fer_class(name: str) -> str:
    if canonical(name) not in FER2013_CLASSES:
        raise ValueError(f"FER2013 has no class {name}")
    return canonical(name)


FerClass = Annotated[str, AfterValidator(_fer_class)]


class Recipe(BaseModel):
    """Settings of the training of one model.

    ``network(input_shape, classes, dropout=..., weights=...)`` builds its graph, which ends in logits; ``weights``: its
    default starting point, 'imagenet' or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    summary: str = Field(exclude=True)
    network: Callable[..., Any] = Field(exclude=True)
    weights: Annotated[str | None, BeforeValidator(_start)] = None
    input: InputSpec = gray_input(96)
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(class_names)] = None
    """The classes: names, or 3, 4, 7 or 8 for a set of CLASS_SETS; None for all of the data set."""
    label_votes: dict[FerClass, Annotated[float, Field(gt=0)]] = {}
    """FER+: emotion -> further votes that FER2013's own label adds."""
    copies: Literal["near", "exact"] = "near"
    """Kind of copies of other splits' faces that are left out of the training split; 'near' includes exact ones."""

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
    """Stop after this number of epochs without a better one; 0: never."""
    select: Literal["accuracy", "balanced_accuracy"] = "accuracy"
    """Metric on the validation split that chooses the best epoch; balanced over all classes that occur there."""

    freeze: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the layers with weights, from the input on, that are frozen at first; never the head.

    Layers that start from random weights are not frozen.
    """
    unfreeze_epochs: int = Field(default=0, ge=0)
    """Frozen layers are unfrozen over this number of epochs, the last ones first; 0: never."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout before the head; None: as in the network's paper."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    """alpha of Zhang et al. 2018; 0: off."""
    cutmix: float = Field(default=0.0, ge=0)
    """alpha of Yun et al. 2019; 0: off. With ``mixup``, each batch uses one of the two."""
    augmentation: Augmentation = Augmentation()

    class_weights: float = Field(default=0.0, ge=0, le=1)
    """Weight of a face in the loss: the prior of its classes to the power of minus this; 1: all classes equal."""
    oversample: float = Field(default=0.0, ge=0, le=1)
    """Probability of drawing a face: the prior of its classes to the power of minus this."""
    undersample: float = Field(default=0.0, ge=0, le=1)
    """As ``oversample``, but each face at most once in an epoch, which is shorter: frequent classes are thinned out
    (random undersampling; He and Garcia 2009). Not with ``oversample``."""
    compensate: bool = False
    """Cancel in the loss the effect of class weights and sampling on the prior, so that logits still estimate the
    natural frequencies; operating points are then chosen by logit adjustment."""
    adjust: float = Field(default=0.0, ge=0, le=2)
    """tau of the logit-adjusted loss (Menon et al. 2021)."""

    distill: float = Field(default=0.0, ge=0, le=1)
    """Weight of the teachers' output in the loss, if there are teachers."""
    distill_temperature: float = Field(default=1.0, gt=0)

    def build(self, classes: int, *, weights: str | None) -> Any:
        """Build the graph for ``classes`` classes, from ``weights``: a path, 'imagenet' or None for random ones."""
        options = {} if self.dropout is None else {"dropout": self.dropout}
        return self.network(self.input.shape, classes, weights=weights, **options)

    @model_validator(mode="after")
    def _square(self) -> Recipe:
        if self.input.height != self.input.width:
            raise ValueError(f"input must be square, not {self.input.height} x {self.input.width}")
        return self

    @model_validator(mode="after")
    def _one_sampling(self) -> Recipe:
        if self.oversample and self.undersample:
            raise ValueError("oversample and undersample exclude each other: set one of them to 0")
        return self

    def change(self, **values: Any) -> Recipe:
        """A recipe with other settings, validated; ``augmentation`` and ``input`` are merged, all else is replaced.

        Raises ConfigError for an invalid value, and for a setting that does not exist or is fixed (``name``).
        """
        fixed = [key for key in ("name", "network", "summary") if key in values]
        if fixed:
            raise ConfigError(f"recipe {self.name}: {fixed[0]} cannot be set; it is what makes a recipe")
        replaced = {key: value for key, value in values.items() if not isinstance(getattr(self, key, None), BaseModel)}
        try:
            return Recipe.model_validate(merged(self, values) | replaced)
        except ValidationError as error:
            raise ConfigError(f"recipe {self.name}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The first fault as text, with the closest name for a setting that does not exist."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        message = in_plain_words(fault["type"], fault["msg"])
        return f"{where}: {message}" if where else message
    fields = _fields_at(fault["loc"][:-1])
    near = get_close_matches(str(fault["loc"][-1]), fields, n=1)
    return f"no setting {where}" + (f", did you mean {near[0]}?" if near else f"; there are: {', '.join(fields)}")


def _fields_at(place: Sequence[int | str]) -> list[str]:
    """The names of the settings at a place in a recipe."""
    known: dict[tuple[int | str, ...], type[BaseModel]] = {
        (): Recipe, ("augmentation",): Augmentation, ("input",): InputSpec, ("input", "crop"): CropSpec
    }  # fmt: skip
    return list(known.get(tuple(place), Recipe).model_fields)
