"""A server of our own that speaks as much of the OpenAI protocol as a drafter needs, and misbehaves on demand."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny-served"


@dataclass(frozen=True)
class Said:
    """What the server says: a status, a body, and headers."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


def chat(content: Any, finish_reason: str = "stop") -> Said:
    """A completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return Said(200, json.dumps({"object": "chat.completion", "choices": [choice]}))


def error(status: int, message: str, **headers: str) -> Said:
    return Said(status, json.dumps({"error": {"message": message}}), headers)


MODELS = Said(200, json.dumps({"object": "list", "data": [{"id": MODEL}, {"id": "another"}]}))


@dataclass
class ChatServer:
    """`answer` maps the number of a chat request (from 0) and its body to what is said."""

    answer: Callable[[int, dict[str, Any]], Said]
    models: Said = MODELS
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(answer: Callable[[int, dict[str, Any]], Said], models: Said = MODELS) -> Iterator[ChatServer]:
    """The server on a free port of this machine, for the block."""
    state = ChatServer(answer, models)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.keys.append(self.headers.get("Authorization"))
            self._say(state.models if self.path == "/v1/models" else error(404, "no such path"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                number = len(state.bodies)
                state.bodies.append(body)
                state.keys.append(self.headers.get("Authorization"))
                state.in_flight += 1
                state.most_in_flight = max(state.most_in_flight, state.in_flight)
            said = state.answer(number, body)
            with state.lock:
                state.in_flight -= 1
            self._say(said if self.path == "/v1/chat/completions" else error(404, "no such path"))

        def _say(self, said: Said) -> None:
            data = said.body.encode()
            try:
                self.send_response(said.status)
                for name, value in {**said.headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client had enough of waiting

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
