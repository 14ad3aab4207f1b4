"""Where bytes lie: a local path or a URI that `pyarrow.fs` understands, as a file system and a path on it.

Object stores fail now and then, so S3 is asked up to 6 times with growing pauses; AWS's own default is 3. A store that
cannot be reached at all is noticed after about half a minute.
"""

import os
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs as pafs

from curation.records import UserError

S3_ATTEMPTS = 6
_S3_OPTIONS = ("region", "scheme", "endpoint_override")


def located(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system and the path on it. A path without "://" is local.

    S3 takes keys, region and endpoint from the environment as AWS's own tools do (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL).
    Keys are taken from nowhere else, since addresses are printed, stored with every clip and shown by the report.

    Raises:
        pyarrow.ArrowInvalid: the scheme is unknown.
        UserError: a URI with a user or password, or with an option that is not one of region, scheme and
            endpoint_override.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    parts = urlsplit(uri)
    if parts.password or (parts.scheme == "s3" and parts.username):
        raise UserError(
            f"an address holds no keys, and {parts.scheme}://...@{parts.netloc.rpartition('@')[2]} does; leave out "
            "what is before the @ and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    if parts.scheme != "s3":
        return pafs.FileSystem.from_uri(uri)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := sorted(options.keys() - set(_S3_OPTIONS)):
        raise UserError(f"{uri}: unknown option {', '.join(unknown)}; an S3 address has {', '.join(_S3_OPTIONS)}")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/")} | ({"scheme": scheme} if scheme else {})
    filesystem = pafs.S3FileSystem(retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS), **options)
    return filesystem, f"{parts.hostname}{parts.path}"
