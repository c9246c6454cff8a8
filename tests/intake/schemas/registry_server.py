"""A schema registry over real HTTP, in a thread, with faults that tests can set."""

import json
import ssl
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """One answer as it goes over the wire."""

    status: int
    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012  # never written to


NOT_FOUND = Answer(404, b'{"error_code": 40403, "message": "Schema not found"}')


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that don't trust us break off."""


class RegistryServer:
    """Answers what it was given; counts what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._scheme = "http" if tls is None else "https"
        self._answers: dict[str, Answer] = {}
        self._deleted: set[str] = set()
        self._asked: list[tuple[str, str]] = []
        self._registered: dict[str, str] = {}
        self._lock = threading.Lock()
        self.fault: Answer | None = None
        """Given to all, whatever they ask."""
        self.faults: dict[str, Answer] = {}
        """Given to whoever asks for that path."""
        self.faults_left = 0
        """Where above 0, the fault is gone after so many answers."""
        self.hang = threading.Event()
        self.hang.set()
        """While it isn't set, no answer is given."""
        self.trickle = False
        """Send a byte now and then."""
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def add(self, schema_id: int, schema: str, **more: Any) -> None:
        self._put(f"/schemas/ids/{schema_id}", {"schema": schema, **more})

    def add_guid(self, guid: str, schema: str) -> None:
        self._put(f"/schemas/guids/{guid}", {"schema": schema})

    def add_version(self, subject: str, version: int, schema: str, *, deleted: bool = False, **more: Any) -> None:
        """A version of a subject; a deleted one is given only to those who ask for deleted ones too."""
        path = f"/subjects/{subject}/versions/{version}"
        self._put(path, {"subject": subject, "schema": schema, **more})
        if deleted:
            self._deleted.add(path)

    def _put(self, path: str, answer: dict[str, Any]) -> None:
        self._answers[path] = Answer(200, json.dumps(answer).encode())

    def registered(self) -> dict[str, str]:
        """The schema last registered, by subject."""
        with self._lock:
            return dict(self._registered)

    def register(self, path: str, authorization: str, body: bytes) -> Answer:
        """The answer to a schema that is handed in; the same one has the same id."""
        subject = path.removeprefix("/subjects/").removesuffix("/versions")
        with self._lock:
            self._asked.append((path, authorization))
            if (fault := self._next_fault()) is not None:
                return fault
            schema = str(json.loads(body)["schema"])
            self._registered[subject] = schema
        schema_id = 1_000 + zlib.crc32(schema.encode()) % 1_000_000
        return Answer(200, json.dumps({"id": schema_id}).encode())

    def asked(self) -> list[str]:
        """Paths asked for, in order."""
        with self._lock:
            return [path for path, _ in self._asked]

    def credentials(self) -> set[str]:
        """Authorization headers seen."""
        with self._lock:
            return {header for _, header in self._asked}

    def answer(self, path: str, authorization: str) -> Answer:
        with self._lock:
            self._asked.append((path, authorization))
            if (fault := self._next_fault()) is not None:
                return fault
        path, _, query = path.partition("?")
        if path in self._deleted and "deleted=true" not in query.split("&"):
            return NOT_FOUND
        return self.faults.get(path) or self._answers.get(path, NOT_FOUND)

    def _next_fault(self) -> Answer | None:
        fault = self.fault
        if self.faults_left:
            self.faults_left -= 1
            self.fault = fault if self.faults_left else None
        return fault

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(registry: RegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(registry.answer(self.path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(registry.register(self.path, self.headers.get("Authorization", ""), body))

        def _reply(self, answer: Answer) -> None:
            registry.hang.wait(10)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self._send(answer.body)
            except OSError:
                self.close_connection = True  # the client gave up

        def _send(self, body: bytes) -> None:
            if not registry.trickle:
                self.wfile.write(body)
                return
            for i in range(len(body)):
                self.wfile.write(body[i : i + 1])
                self.wfile.flush()
                if threading.Event().wait(0.1):
                    return

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the base class
            pass

    return Handler
