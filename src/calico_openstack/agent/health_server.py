"""The two probes over HTTP."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from calico_openstack.agent.health import Health


class HealthServer:
    """Serves ``/liveness`` and ``/readiness``: 200 or 503 with the table, 204 without one."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        probes = {"/liveness": health.liveness, "/readiness": health.readiness}

        class Handler(BaseHTTPRequestHandler):
            """Answers one probe."""

            def do_GET(self) -> None:
                """Answer."""
                probe = probes.get(self.path)
                if probe is None:
                    self.send_error(404)
                    return
                assessment = probe()
                body = assessment.table.encode()
                self.send_response(200 if assessment.good and body else 204 if not body else 503)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                if body:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Be quiet: probes come every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health-server", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is really listened on, also where 0 was asked for."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
