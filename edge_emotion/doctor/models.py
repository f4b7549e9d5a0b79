"""The checks of the configured models, on the machine that is to run them."""

from __future__ import annotations

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings
from edge_emotion.doctor.report import Finding
from edge_emotion.factory.models import configured_classifier, configured_detector, following_detector, quick_detector
from edge_emotion.models.manifest import BaseManifest
from edge_emotion.protocols import InferenceBackend


def detector(settings: DetectorSettings) -> Finding:
    """Hash and tensors of the face detector and of those that help it.

    Raises ConfigError, ModelError or BackendUnavailable.
    """
    made = configured_detector(settings)
    quick_detector(settings, following_detector(settings))
    return _finding(made.manifest, "hash and tensors", made.backend)


def classifier(settings: ClassifierSettings) -> Finding:
    """Hash, tensors and golden set of the classifier. Raises ModelError, ConfigError or BackendUnavailable."""
    made = configured_classifier(settings)
    if made.refused:
        detail = f"{made.manifest.name}: {made.refused[0]}; {made.entry.file} is used instead"
        return Finding("warn", detail, "pip install --force-reinstall edge-emotion ai-edge-litert")
    tested = "hash, tensors and self-test" if made.entry.golden else "hash and tensors (it has no self-test)"
    return _finding(made.manifest, tested, made.backend)


def _finding(manifest: BaseManifest, tested: str, backend: InferenceBackend) -> Finding:
    """A TFLite file without its delegate gives the same answers, several times slower."""
    detail = f"{manifest.name} {manifest.version}: {tested} are as promised; {backend.name}"
    delegated = getattr(backend, "delegated", None)
    if delegated is False:
        return Finding("warn", f"{detail}, without XNNPACK", "pip install --force-reinstall ai-edge-litert")
    return Finding("ok", f"{detail}, XNNPACK" if delegated else detail)
