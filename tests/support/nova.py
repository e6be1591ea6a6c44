"""A Nova that only hears what Neutron tells it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


class NovaEvents:
    """Collects external events, from `start` to `stop`."""

    def __init__(self) -> None:
        self._events: list[Json] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """The root address of the API."""
        return f"http://127.0.0.1:{self._server.server_port}/v2.1"

    def start(self) -> NovaEvents:
        """Begin to listen; return self."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def of_port(self, port_id: str) -> list[str]:
        """Return the names of the events about a port, in order."""
        return [event["name"] for event in list(self._events) if event.get("tag") == port_id]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        events = self._events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                received = json.loads(self.rfile.read(length))["events"]
                events.extend(received)
                answer = json.dumps({"events": [event | {"code": 200} for event in received]})
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler
