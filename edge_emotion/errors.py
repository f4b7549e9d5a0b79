"""Every error of the project. Each leaf is also the builtin that a caller would expect.

The message is one line: what is wrong, where, and what to do. ``exit_code`` is what the command line returns.
"""


class EdgeEmotionError(Exception):
    """Root of all errors raised on purpose by this project."""

    exit_code = 1


class ConfigError(EdgeEmotionError, ValueError):
    """A setting that is unknown, missing or impossible."""

    exit_code = 2


class SourceError(EdgeEmotionError, OSError):
    """Frames cannot be had: no such camera or file, time-out, broken stream."""

    exit_code = 3


class SourceStalled(SourceError, TimeoutError):  # noqa: N818 - the name is clear without Error
    """The source is open but gave no frame within its time-out."""


class SourceEnded(SourceError):  # noqa: N818 - it is no error
    """A finite source (file, images, memory) has given its last frame. Not a fault."""


class ModelError(EdgeEmotionError, ValueError):
    """A model folder that does not agree with its manifest: hash, labels, shape or results differ."""

    exit_code = 4


class UnknownModel(ModelError):  # noqa: N818 - the name is clear without Error
    """A name that is neither a shipped model nor a model folder."""

    exit_code = 2


class ReleaseRefused(EdgeEmotionError, ValueError):  # noqa: N818 - the name is clear without Error
    """A release of a model that is not to be trusted: unknown key, wrong signature, expired, or an old serial."""

    exit_code = 12


class RollOutStopped(EdgeEmotionError, RuntimeError):  # noqa: N818 - the name is clear without Error
    """A roll-out has ended before all nodes: too many of them failed, or none was there."""

    exit_code = 13


class BackendUnavailable(EdgeEmotionError, ImportError):  # noqa: N818 - the name is clear without Error
    """An optional library is not installed; the message names the package."""

    exit_code = 5


class SinkError(EdgeEmotionError, OSError):
    """Events cannot be delivered at all: refused credentials, unwritable file."""

    exit_code = 6


class ReaderGone(SinkError):  # noqa: N818 - the name is clear without Error
    """The program that read the events from standard output has ended: no other one can take its place."""

    exit_code = 11


class MemoryLimitReached(EdgeEmotionError, MemoryError):  # noqa: N818 - the name is clear without Error
    """The process holds more memory than ``max_rss`` allows. It ends in order, for a supervisor to start it again."""

    exit_code = 8
