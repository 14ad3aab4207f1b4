"""Listing raw footage: which files are inputs, under ids that notice a file replaced under its old name."""

from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs as pafs
from pydantic import BaseModel, Field

from curation.filesystem import located
from curation.records import UserError, content_id


class FootageSettings(BaseModel, frozen=True, extra="forbid"):
    """Where the raw footage lies."""

    path: str = Field(default="", description="folder or s3://bucket/prefix that is searched with everything below it")
    extensions: tuple[str, ...] = Field(
        default=(
            "mp4",
            "mov",
            "m4v",
            "mkv",
            "webm",
            "avi",
            "ts",
            "mts",
            "m2ts",
            "mpg",
            "mpeg",
            "mxf",
            "flv",
            "wmv",
            "3gp",
        ),
        description="files with these endings are inputs, whatever is in them",
    )
    rendered_films: int | None = Field(
        default=None, ge=1, description="where path is empty the demo renders films: how many, None for all"
    )


@dataclass(frozen=True)
class FootageFile:
    """One listed file."""

    input_id: str
    uri: str
    size_bytes: int
    modified_ns: int


def list_footage(settings: FootageSettings) -> list[FootageFile]:
    """Every input below the footage path, sorted by address.

    Raises:
        UserError: the path is not set, does not exist, or holds no file with a known ending.
    """
    if not settings.path:
        raise UserError("footage.path is not set; give --set footage.path=FOLDER_OR_URI or set it in the recipe")
    is_uri = "://" in settings.path
    filesystem, root = located(settings.path if is_uri else str(Path(settings.path).resolve()))
    prefix = settings.path.partition("://")[0] + "://" if is_uri else ""
    if filesystem.get_file_info(root).type == pafs.FileType.NotFound:
        raise UserError(f"footage.path {settings.path} does not exist")
    endings = tuple(f".{extension.lower()}" for extension in settings.extensions)
    infos = filesystem.get_file_info(pafs.FileSelector(root, recursive=True))
    files = sorted(
        (info for info in infos if info.type == pafs.FileType.File and info.base_name.lower().endswith(endings)),
        key=lambda info: info.path,
    )
    if not files:
        raise UserError(f"footage.path {settings.path} holds no file that ends in {', '.join(endings)}")
    return [
        FootageFile(
            content_id(f"{prefix}{info.path}", info.size, info.mtime_ns or 0),
            f"{prefix}{info.path}",
            info.size or 0,
            info.mtime_ns or 0,
        )
        for info in files
    ]
