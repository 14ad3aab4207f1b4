"""Where the browser gets a clip's proxy from: Label Studio's own route, `dailies serve`, or the object store itself.

    local-files   /data/local-files/?d=clips/<id>.mp4        one origin with the page, asks for its login
    serve         http://127.0.0.1:8081/clips/<id>.mp4       `dailies serve` runs meanwhile
    presigned     https://bucket.../<id>.mp4?X-Amz-...       signed with our keys, works for a week at most

A presigned address needs no login, no server of ours and no folder of this machine, but a Label Studio that is there
already. It ends after `presigned_hours` (AWS's signature version 4 allows a week), and the bucket's CORS rules must
allow Label Studio's origin. It holds the key's id, never the secret.
"""

import os
from urllib.parse import parse_qs, urlsplit

from boto3.session import Session
from botocore.config import Config

from annotation.connection import MEDIA
from annotation.routing import RoutingSettings
from annotation.tasks import PROXY_FOLDER, local_files_address, proxy_path
from curation.records import UserError
from curation.tables import Workspace


def media_addresses(
    workspace: Workspace, clip_ids: list[str], settings: RoutingSettings, folder: str = PROXY_FOLDER
) -> dict[str, str]:
    """Clip id -> what the task tells the player; `folder` is the clips', below the media folder.

    Raises:
        UserError: presigned addresses of a workspace that is no object store, or served ones of one that is.
    """
    match settings.media:
        case "local-files":
            return {clip_id: local_files_address(clip_id, folder) for clip_id in clip_ids}
        case "serve":
            if not workspace.is_local:
                raise UserError(
                    f"`dailies serve` serves a local folder and the workspace is {workspace.uri}; "
                    "set annotation.routing.media to presigned"
                )
            return {clip_id: f"{settings.serve.url}/{proxy_path(clip_id, folder)}" for clip_id in clip_ids}
        case "presigned":
            return presigned(workspace.uri, clip_ids, round(settings.presigned_hours * 3600), folder)


def media_advice(workspace: Workspace, page_url: str, settings: RoutingSettings) -> str:
    """What to do where the server does not give the browser what `media_addresses` names."""
    match settings.media:
        case "local-files":
            return (
                f"see that {page_url} serves local files (LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED) and that its "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is {workspace.path(MEDIA)}"
            )
        case "serve":
            return f"see that `dailies serve` runs on this workspace and is reached at {settings.serve.url}"
        case "presigned":
            return f"see that your keys may read the bucket and that its CORS rules let {page_url} GET with Range"


def presigned(workspace_uri: str, clip_ids: list[str], expires_s: int, folder: str = PROXY_FOLDER) -> dict[str, str]:
    """Clip id -> an address of its proxy that the store honours for `expires_s` seconds. Asks nobody, only signs.

    Keys come from the environment, region and endpoint from the workspace's URI or else from there.

    Raises:
        UserError: the workspace is not on S3, or there are no keys.
    """
    parts = urlsplit(workspace_uri)
    if parts.scheme != "s3":
        raise UserError(
            f"presigned addresses are made by S3, and the workspace is {workspace_uri}; "
            "set annotation.routing.media to local-files or serve"
        )
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    endpoint = options.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL_S3")
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "://" not in endpoint:
        endpoint = f"{options.get('scheme', 'https')}://{endpoint}"
    style = {"addressing_style": "path"} if endpoint else {}
    session = Session(region_name=options.get("region"))
    if session.get_credentials() is None:
        raise UserError(
            "presigned addresses are signed with your keys and there are none; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    client = session.client("s3", endpoint_url=endpoint, config=Config(signature_version="s3v4", s3=style))
    prefix = f"{parts.path.strip('/')}/".lstrip("/")

    def address(clip_id: str) -> str:
        what = {"Bucket": parts.hostname, "Key": f"{prefix}{MEDIA}/{proxy_path(clip_id, folder)}"}
        return client.generate_presigned_url("get_object", Params=what, ExpiresIn=expires_s)

    return {clip_id: address(clip_id) for clip_id in clip_ids}
