"""The catalogue with a Label Studio behind it: four clips, of which two lie in the review band and one has no score."""

from pathlib import Path

from annotation.project import AnnotationSettings
from annotation.server import ServerSettings
from curation.tables import Workspace
from jobs.config import Context
from tests.conftest import LABEL_STUDIO_VENV
from tests.jobs.catalogue import context_of

SHARPNESS = [20.0, 7.0, 6.0, None]  # keep, review, review, review


def reviewed_context(workspace: Workspace, title: str, fast_pass: bool = False) -> Context:
    """A context in the test session's workspace, with a project of its own."""
    folder = Path(workspace.root).parent
    context = context_of(folder, SHARPNESS)
    annotation = AnnotationSettings(
        title=title, fast_pass=fast_pass, server=ServerSettings(venv=str(LABEL_STUDIO_VENV))
    )
    recipe = context.recipe.model_copy(update={"annotation": annotation})
    return Context(recipe, context.workspace, context.args)
