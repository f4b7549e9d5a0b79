"""Reading the settings: a YAML file < the environment < the command line; faults as one line each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from edge_emotion.config.merge import nested
from edge_emotion.config.redaction import redact
from edge_emotion.config.settings import ENV_PREFIX, Settings
from edge_emotion.config.yaml_text import read_yaml
from edge_emotion.errors import ConfigError
from edge_emotion.system.paths import printable
from edge_emotion.system.plain_words import in_plain_words


def load(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environment: bool = True,
    sections: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings from ``file``, under the environment, under ``overrides`` (a nested mapping).

    ``sections`` are whole sections for which none of them has anything.

    Raises ConfigError for the first fault: what, at which key, what to do.
    """
    from_file = {} if file is None else _read_yaml(file)
    if environment:
        _check_environment()

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            variables = env_settings() if environment else {}
            from_environment = _with_camera_names(variables, from_file, overrides or {})
            given = {*(overrides or {}), *from_environment, *from_file}
            missing = {name: section for name, section in (sections or {}).items() if name not in given}
            layers = (from_environment, from_file, missing)
            return init_settings, *(InitSettingsSource(settings_cls, init_kwargs=layer) for layer in layers)

    try:
        return Layered(**(overrides or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error, {"command line": overrides or {}, str(file): from_file})) from error
    except ValueError as error:  # pydantic-settings: a malformed JSON value in the environment
        raise ConfigError(f"environment: {error}") from error


def parse_override(text: str) -> dict[str, Any]:
    """``mqtt.host=broker`` as ``{"mqtt": {"host": "broker"}}``; the value is YAML. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")) or key.startswith("_"):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, for example mqtt.host=broker.local")
    try:
        return nested(key, read_yaml(value))
    except ValueError as error:
        raise ConfigError(f"--set {printable(key)}: the value is not YAML: {error}") from error


def redacted(settings: Settings) -> dict[str, Any]:
    """The resolved tree as plain values, secrets shown as asterisks."""
    tree = settings.model_dump(mode="json", exclude_none=True)
    for camera in tree["cameras"].values():
        camera["source"] = redact(camera["source"])
    return tree


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        data = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read configuration {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not YAML: it is no UTF-8 text") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file} must hold keys and values at its top level, not a {type(data).__name__}")
    return {str(key): value for key, value in data.items()}


def environment_settings() -> list[str]:
    """Names of the environment variables that are meant as settings."""
    return [variable for variable in os.environ if variable.upper().startswith(ENV_PREFIX)]


def _check_environment() -> None:
    """pydantic-settings ignores variables that fit no field; a typo there must not pass silently."""
    for variable in environment_settings():
        first = variable[len(ENV_PREFIX) :].lower().split("__")[0]
        if first not in Settings.model_fields:
            raise ConfigError(f"environment variable {variable}: no setting {first!r}{_hint(first, Settings)}")


def _explain(error: ValidationError, layers: Mapping[str, Mapping[str, Any]]) -> str:
    """One fault in one line, typos first: they explain what is missing. The nearest key is the hint."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault, path = faults[0], [part for part in faults[0]["loc"] if part != "[key]"]
    layer = next((name for name, data in layers.items() if _holds(data, path)), None)
    if layer is None:
        layer = "environment" if path and fault["type"] != "missing" and _in_environment(path) else "settings"
    message = in_plain_words(fault["type"], fault["msg"])
    if fault["type"] == "extra_forbidden":
        message = "unknown key" + _hint(str(path[-1]), _section(path[:-1]))
    if fault["type"] == "missing" and path == ["cameras"]:
        message += "; give at least one, or --source"
    key = ".".join(map(str, path)) + ": " if path else ""
    return printable(f"{layer}: {key}{message}" + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))


def _holds(data: Any, path: Sequence[int | str]) -> bool:
    """True if a layer sets the value that the path leads to."""
    for part in path:
        if not isinstance(data, Mapping):
            return True
        if part not in data:
            return False
        data = data[part]
    return bool(path)


def _in_environment(path: Sequence[int | str]) -> bool:
    variable = ENV_PREFIX + "__".join(map(str, path))
    return any(name.upper().startswith(variable.upper()) for name in environment_settings())


def _section(path: Sequence[int | str]) -> type[BaseModel]:
    """The model that a path of keys leads to."""
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(str(part))
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        # On Python 3.10 dict[...] counts as a type.
        plain = [kind for kind in kinds if isinstance(kind, type) and get_origin(kind) is None]
        model = next((kind for kind in plain if issubclass(kind, BaseModel)), model)
    return model


def _hint(key: str, model: type[BaseModel]) -> str:
    near = get_close_matches(key, model.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(model.model_fields)}"


def _with_camera_names(environment: dict[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """The environment's settings with the cameras' names as the other layers write them.

    Names of environment variables distinguish neither case nor ``-`` and ``_``: ``FRONT_DOOR`` is the camera
    ``Front-Door`` if there is one.
    """
    cameras = environment.get("cameras")
    if not isinstance(cameras, dict):
        return environment
    known = [layer["cameras"] for layer in others if isinstance(layer.get("cameras"), Mapping)]
    names = {str(name).lower().replace("-", "_"): str(name) for layer in known for name in layer}
    return {**environment, "cameras": {names.get(name.lower(), name): value for name, value in cameras.items()}}
