"""An S3 store (moto's server) that answers a seeded share of its requests with an error."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

BUCKET = "footage"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class _Failing:
    """A WSGI application in front of another, which it keeps from some of its requests."""

    def __init__(self, application: Any, share: float, seed: int) -> None:
        self.application, self.share, self.random = application, share, random.Random(seed)
        self.failed: list[int] = []
        self.num_requests = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.num_requests += 1
        if self.random.random() >= self.share:
            return self.application(environ, start_response)
        self.failed.append(self.num_requests)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status = self.random.choice([500, 503])
        return Response(SLOW_DOWN, status, content_type="application/xml")(environ, start_response)


@contextmanager
def flaky_store(failing_share: float, seed: int) -> Iterator[tuple[str, list[int]]]:
    """Yields the URI of an empty bucket and the growing list of requests that failed."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    failing = _Failing(DomainDispatcherApplication(create_backend_app), 0.0, seed)
    server = make_server("127.0.0.1", 0, failing, threaded=True)

    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        with mock.patch.dict(os.environ, {**secrets, "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ENDPOINT_URL": endpoint}):
            boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
            failing.share = failing_share
            yield f"s3://{BUCKET}", failing.failed
    finally:
        server.shutdown()
        thread.join()
