"""The HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_emotion import __version__
from edge_emotion.config.settings import MqttSettings
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.errors import ConfigError
from edge_emotion.system.listening import bound_socket, remedy
from edge_emotion.system.log_limit import LogLimit
from edge_emotion.web.access import Access
from edge_emotion.web.application import make_application
from edge_emotion.web.live import LiveState
from edge_emotion.web.metrics import Metrics
from edge_emotion.web.node import Node
from edge_emotion.web.pictures import PictureClassifier
from edge_emotion.web.tap import Preview
from edge_emotion.web.website import Site

if TYPE_CHECKING:
    from asyncio import BaseTransport

    from edge_emotion.web.broker_nodes import BrokerNodes

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 100
"""Most connections and requests at the same time; more are answered by 503."""

BACKLOG = 64
"""Most connections that wait to be accepted."""

PATIENCE = 10.0
"""Seconds for a request to come, and for the rest of an answer to be taken after the end."""

STOP_SECONDS = 3.0
"""Longest time for the thread to end."""


class ImpatientProtocol(H11Protocol):
    """Ends a connection on which no request comes, or whose client does not take the rest: uvicorn waits for ever."""

    _seen: object = None
    """The last request as of the last look."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Start to look."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        if self not in self.connections:
            return
        cycle, idle = self.cycle, self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing():
            self.transport.abort()
        elif idle and cycle is self._seen:
            self.transport.close()
        self._seen = cycle
        self.loop.call_later(PATIENCE, self._look)


class PageServer:
    """Listens from the start on; ``stop`` ends it within seconds."""

    def __init__(self, site: Site) -> None:
        """Raises ConfigError if the address cannot be listened on."""
        self.metrics, self._site = site.metrics, site
        self._socket = _listening(site.settings)
        host, port = self._socket.getsockname()[:2]
        shown = "localhost" if site.settings.address[0] == "localhost" else f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{port}/"
        config = Config(
            make_application(site),
            loop="asyncio",
            http=ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        for name in ("uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._server = Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End streams and server; may be called twice."""
        self._server.should_exit = True
        self._site.live.end_streams()
        if self._site.preview is not None:
            self._site.preview.ended = True
        if self._site.nodes is not None:
            self._site.nodes.close()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        uvicorn, limited = logging.getLogger("uvicorn.error"), UvicornLog()
        uvicorn.addFilter(limited)
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("the server of the page has failed: there is no page any more; the daemon goes on")
        finally:
            uvicorn.removeFilter(limited)

    async def _serve(self) -> None:
        self._site.live.serve_in(asyncio.get_running_loop())
        await self._server.serve([self._socket])


class UvicornLog(logging.Filter):
    """Leaves out what uvicorn logs about slow viewers, and limits the lines that any client can cause."""

    def __init__(self) -> None:
        super().__init__()
        self._limit = LogLimit(log)

    def filter(self, record: logging.LogRecord) -> bool:
        """True for a line that is logged as it is."""
        message = record.getMessage()
        if "without completing response" not in message and record.levelno == logging.WARNING:
            self._limit.warning("the page: %s", message)
        return record.levelno > logging.WARNING and "without completing response" not in message


def _listening(settings: WebSettings) -> socket.socket:
    """A socket that is bound. Raises ConfigError."""
    try:
        bound = bound_socket(*settings.address)
        bound.listen(BACKLOG)
    except OSError as error:
        raise ConfigError(f"web.listen {settings.listen}: {error.strerror}; {remedy(error)}") from error
    return bound


def serve_alone(web: WebSettings, mqtt: MqttSettings | None, examine: Callable[[], dict[str, Any]]) -> PageServer:
    """A page without a daemon: pictures, and with a broker its nodes. Raises ConfigError."""
    live, access = LiveState(), Access(web, web.read_password(), web.read_token())
    live.describe({"version": __version__, "cameras": []}, [])
    pictures = PictureClassifier(None)
    return PageServer(Site(web, access, live, Metrics(live, None), examine, pictures, nodes=_nodes(mqtt)))


def serve_daemon(
    web: WebSettings, live: LiveState, preview: Preview | None, daemon: Daemon, control: Control
) -> PageServer:
    """The page of a daemon. Raises ConfigError for an address, password or token that cannot be used."""
    access = Access(web, web.read_password(), web.read_token())
    node = Node(daemon, control)
    return PageServer(
        Site(
            web,
            access,
            live,
            Metrics(live, node),
            control.examine,
            PictureClassifier(control.settings),
            node,
            _nodes(control.settings.mqtt),
            preview,
        )
    )


def _nodes(mqtt: MqttSettings | None) -> BrokerNodes | None:
    if mqtt is None:
        return None
    from edge_emotion.web.broker_nodes import BrokerNodes  # with the MQTT client, which else is not needed

    return BrokerNodes(mqtt)
