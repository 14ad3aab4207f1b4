"""The embedded Label Studio: one server per workspace, hardened, on loopback, in its own virtual environment."""

from pydantic import BaseModel, Field


class ServerSettings(BaseModel, frozen=True, extra="forbid"):
    """The Label Studio that Dailies starts itself; unused where `annotation.url` names another one."""

    venv: str = Field(
        ".venv-labelstudio",
        description="virtual environment that holds label-studio; a relative path is below the working directory",
    )
    port: int = Field(0, ge=0, le=65535, description="loopback port; 0 takes a free one and the same one again later")
    start_timeout_s: float = Field(
        300.0, gt=0, description="how long the server may take to answer /health; 26 s measured for a first start"
    )
