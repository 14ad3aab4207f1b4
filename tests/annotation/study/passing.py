"""Made-up absolute studies of planted rates: prompts, videos and judges differ, on each axis with the same strength."""

import math

import numpy as np
from scipy.special import ndtri

from annotation.study.axes import AXES, OVERALL
from annotation.study.votes import PassVotes

PUBLISHED = {  # HunyuanVideo's table: text alignment, motion, visual quality
    "hunyuan": (0.618, 0.665, 0.957),
    "cntop-a": (0.626, 0.617, 0.956),
    "cntop-b": (0.601, 0.629, 0.977),
    "gen-3": (0.477, 0.547, 0.975),
    "luma": (0.576, 0.442, 0.941),
    "cntop-c": (0.484, 0.472, 0.963),
}


def pass_study(
    generator: np.random.Generator,
    table: dict[str, tuple[float, ...]] = PUBLISHED,
    prompts: int = 100,
    judges: int = 20,
    answers: int = 1,
    of_prompt: float = 0.4,
    of_video: float = 0.5,
    of_judge: float = 0.3,
) -> PassVotes:
    """Votes of `answers` judges per video; the planted rates are those of all prompts and judges there might be.

    `of_...` are standard deviations of what an answer passes by, in those of the answer's own noise.
    """
    rate_SA = np.array(list(table.values()))
    systems, axes = rate_SA.shape
    system = np.repeat(np.arange(systems), prompts * answers)
    prompt = np.tile(np.repeat(np.arange(prompts), answers), systems)
    judge = generator.permutation(len(system)) % judges
    felt = generator.standard_normal((len(system), axes))
    felt += of_prompt * generator.standard_normal((prompts, axes))[prompt]
    felt += of_video * generator.standard_normal((prompts, systems, axes))[prompt, system]
    felt += of_judge * generator.standard_normal((judges, axes))[judge]
    deviation = math.sqrt(1 + of_prompt**2 + of_video**2 + of_judge**2)
    passed = felt + ndtri(rate_SA)[system] * deviation > 0
    return PassVotes(
        systems=tuple(table),
        prompts=tuple(f"p{place:04d}" for place in range(prompts)),
        judges=tuple(f"judge-{place}" for place in range(judges)),
        axes=(*AXES[:axes], OVERALL),
        system_N=system.astype(np.int32),
        prompt_N=prompt.astype(np.int32),
        judge_N=judge.astype(np.int32),
        passed_NA=np.column_stack([passed, passed.all(1)]).astype(np.int8),
    )
