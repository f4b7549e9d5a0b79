"""Which model of a node is updated, and where its releases lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_emotion.config.settings import ClassifierSettings, Settings
from edge_emotion.errors import ConfigError
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.system.paths import expand
from edge_emotion.updates.https_request import trusted_servers
from edge_emotion.updates.install import undo
from edge_emotion.updates.installed import InstalledModel
from edge_emotion.updates.minisign import PublicKey, read_public_key


@dataclass(frozen=True)
class Place:
    """The classifier of ``settings``, by the ``name`` in its manifest, with its releases in ``models``."""

    settings: Settings
    group: str
    name: str
    models: Path
    keys: tuple[PublicKey, ...]

    @property
    def installed(self) -> InstalledModel:
        """Its releases on the disk."""
        return InstalledModel(self.models, self.name)

    @property
    def classifier(self) -> ClassifierSettings:
        """The settings of the classifier; its model is the release in use, if there is one."""
        given = self.settings.classifier
        return given if self.installed.current() is None else given.model_copy(update={"model": str(self._link)})

    @property
    def _link(self) -> Path:
        return self.installed.link

    def undo(self) -> None:
        """Use the release before, else the model of the settings. Raises ConfigError, SinkError."""
        undo(self.models, self.name, may_leave=expand(self.settings.classifier.model) != self._link)


def place_of_settings(settings: Settings) -> Place:
    """The place that the settings name.

    Raises ConfigError for keys and certificates that cannot be read, ModelError, UnknownModel.
    """
    update = settings.update
    if update.group is None:
        raise ConfigError("update.group is not set")
    own = settings.state_path / f"{settings.node}.models"
    models = own if update.models is None else expand(update.models)
    if update.ca is not None:
        trusted_servers(update.ca)  # at the start, not when the first release is fetched
    name = load_manifest(find_model(settings.classifier.model)).name
    return Place(settings, update.group, name, models, tuple(read_public_key(file) for file in update.keys))
