"""The recipe: one TOML file validated into frozen, typed settings. Each settings class lives beside what it configures.

    recipe.toml --parse--> --set a.b=c--> --validate--> Recipe --saved as--> <workspace>/recipes/<digest>.json

An unknown key is an error that lists the names that would be known there. Secrets are never part of a recipe.
"""

import argparse
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from annotation.project import AnnotationSettings
from annotation.study.settings import StudySettings
from annotation.suitability import CalibrateSettings
from curation.gates import GateSettings
from curation.groups import GroupSettings
from curation.records import UserError, content_id
from curation.score import ScoreSettings
from curation.split import SplitSettings
from curation.tables import Workspace
from jobs.engine import EngineSettings
from jobs.footage import FootageSettings
from jobs.generate import GenerateSettings
from jobs.measure_settings import MeasureSettings
from jobs.pack import PackSettings
from jobs.report import ReportSettings
from jobs.toy_settings import ToySettings
from training.stages import TrainSettings


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """Everything that shapes a run, resolved."""

    footage: FootageSettings = Field(default_factory=FootageSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    split: SplitSettings = Field(default_factory=SplitSettings)
    score: ScoreSettings = Field(default_factory=ScoreSettings)
    group: GroupSettings = Field(default_factory=GroupSettings)
    gates: GateSettings = Field(default_factory=GateSettings)
    annotation: AnnotationSettings = Field(default_factory=AnnotationSettings)
    calibrate: CalibrateSettings = Field(default_factory=CalibrateSettings)
    pack: PackSettings = Field(default_factory=PackSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    measure: MeasureSettings = Field(default_factory=MeasureSettings)
    study: StudySettings = Field(default_factory=StudySettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    toy: ToySettings = Field(default_factory=ToySettings)

    @property
    def digest(self) -> str:
        return content_id(self.model_dump_json())


@dataclass(frozen=True)
class Context:
    """What every verb gets."""

    recipe: Recipe
    workspace: Workspace
    args: argparse.Namespace


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply `path.to.key=value` overrides (values as in TOML, anything else is text).

    Raises:
        UserError: no such file, not TOML, an override without "=", or settings that do not validate.
    """
    file = Path(path)
    if not file.is_file():
        shipped = ", ".join(sorted(str(recipe) for recipe in Path(__file__).parent.glob("recipes/*.toml")))
        raise UserError(f"no recipe at {path}; recipes that come with Dailies: {shipped}")
    try:
        tree = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        _override(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path} does not fit:\n" + "\n".join(_explain(error))) from error


def save_recipe(recipe: Recipe, workspace: Workspace) -> None:
    """Keep the resolved recipe beside its outputs under its digest."""
    if not workspace.exists("recipes", f"{recipe.digest}.json"):
        workspace.write_bytes(recipe.model_dump_json(indent=1).encode(), "recipes", f"{recipe.digest}.json")


def _override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set wants path.to.key=value, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = path.split(".")
    node = tree
    for depth, name in enumerate(parents):
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: {'.'.join(parents[: depth + 1])} is a value, not a table of settings")
    node[leaf] = value


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the recipe"
        if problem["type"] == "extra_forbidden":
            names = ", ".join(sorted(_settings_at(problem["loc"][:-1]).model_fields))
            lines.append(f"  {where}: unknown setting; known here: {names}")
        else:
            given = json.dumps(problem["input"], default=str)
            lines.append(f"  {where}: {problem['msg']}, got {given[:80]}")
    return lines


def _settings_at(location: Sequence[int | str]) -> type[BaseModel]:
    """The settings class that a validation error's location points into."""
    current: Any = Recipe
    for part in location:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[part].annotation
        else:
            current = typing.get_args(current)[-1 if isinstance(part, str) else 0]
        if isinstance(current, types.UnionType):
            current = next(arg for arg in typing.get_args(current) if arg is not types.NoneType)
    return current
