"""`dailies study plan`: what the study of the recipe would tell, and how large it must be for what is wanted.

    prompts, systems, judges, answers_wanted --annotation/study/planning.py--> half-widths, hours; needs

It needs no video and no prompt yet: `study.plan.prompts` stands for the table, and `study.plan` says what is assumed.
"""

from typing import TYPE_CHECKING

from annotation.study.planning import Needs, Size, forecast, needs
from annotation.study.settings import StudySettings
from jobs.study_tables import read_study_prompts

if TYPE_CHECKING:
    from jobs.config import Context


def plan(context: "Context") -> int:
    """Print it; returns exit code 0."""
    settings = context.recipe.study
    size = size_of(settings)
    print(f"study plan, {settings.design.value}: {forecast(size, settings.plan).words}", flush=True)
    for line in tell_needs(needs(size, settings.plan), size):
        print(f"study plan: {line}", flush=True)
    return 0


def size_of(settings: StudySettings) -> Size:
    """The size of the study that the recipe describes, as far as it does; two systems where it names fewer.

    Raises:
        UserError: `study.prompts` is no table of prompts.
    """
    prompts = len(read_study_prompts(settings)) if settings.prompts else settings.plan.prompts
    return Size(settings.design, max(2, len(settings.systems)), prompts, settings.judges, settings.answers_wanted)


def tell_needs(found: Needs, size: Size) -> list[str]:
    """How many of what bring a difference to the wanted half-width, one line each."""
    numbers = {
        "prompts": (found.prompts, size.prompts),
        "judges": (found.judges, size.judges),
        "answers per question": (found.answers_wanted, size.answers_wanted),
    }
    return [
        f"to know a difference to within {found.half_width:g}: "
        + (f"{number} {what}" if number else f"no number of {what} is enough")
        + f", the rest as planned ({planned} now)"
        for what, (number, planned) in numbers.items()
    ]
