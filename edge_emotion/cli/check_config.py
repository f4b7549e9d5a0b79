"""``edge-emotion check-config``: prints the resolved settings."""

from __future__ import annotations

import yaml

from edge_emotion.config.loader import redacted
from edge_emotion.config.settings import Settings
from edge_emotion.factory.cameras import make_source
from edge_emotion.factory.models import make_models
from edge_emotion.factory.sinks import make_sinks
from edge_emotion.updates.library import pynacl_for


def check_config(settings: Settings) -> None:
    """Print the resolved settings as YAML, secrets redacted, after making everything that they name.

    No camera, file or connection is opened. Raises what ``run`` would raise before it opens them: models that are
    not there or unfit, libraries that are missing, certificates, keys and password files that cannot be read.
    """
    models = make_models(settings)
    for camera in settings.cameras.values():
        make_source(camera)
    for sink in make_sinks(settings, models.classifier, models.detector):
        sink.check()
    _ = settings.state_path
    if settings.update.group is not None:
        with pynacl_for("update.group"):
            from edge_emotion.updates.place import place_of_settings
        place_of_settings(settings)
    print(yaml.safe_dump(redacted(settings), sort_keys=False).rstrip())
