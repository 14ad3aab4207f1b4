"""Detectors and scorers are files in a folder, and the file's name is the name: no registry, nothing to forget.

`detectors/content.py` holds `ContentDetector` and its `ContentSettings`; `scorers/text_overlay.py` holds
`TextOverlayScorer` and `TextOverlaySettings`. Adding one is adding a file. Only what a recipe names is imported.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from curation.records import UserError


def names_in(folder: ModuleType) -> list[str]:
    """Names of the files of a folder, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__))


def class_named(folder: ModuleType, name: str, kind: str) -> type[Any]:
    """The class that the file `name` of a folder holds: `motion` and "Scorer" give `MotionScorer`.

    Raises:
        UserError: there is no such file.
    """
    if name not in names_in(folder):
        raise UserError(f"no {kind.lower()} {name!r}; the {kind.lower()}s are {', '.join(names_in(folder))}")
    module = importlib.import_module(f"{folder.__name__}.{name}")
    return getattr(module, "".join(word.capitalize() for word in name.split("_")) + kind)


def settings_named(folder: ModuleType, name: str, kind: str, given: Mapping[str, Any]) -> Any:
    """The settings of one detector or scorer, checked.

    Raises:
        UserError: no such file, or settings it does not have or take.
    """
    class_named(folder, name, kind)
    model: type[BaseModel] = class_named(folder, name, kind).settings_class
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        known = ", ".join(model.model_fields)
        raise UserError(f"settings of {kind.lower()} {name!r}: {problems}. It has: {known}") from error
