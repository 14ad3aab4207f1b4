"""`dailies study create | collect | report | plan`: a blind study of generated videos, judged by people.

    create   prompts, systems --study_inputs, study_format, study_media--> shown videos, failures
             shown videos --questions of the first round--> study_items --desk--> Label Studio
    collect  Label Studio --> study_answers --round answered?--> study_items of the next round --> Label Studio
    report   study_answers --> tables, intervals, ranks, pages     (jobs/study_report.py)
    plan     how many prompts and judges a wanted interval needs   (annotation/study/planning.py)

The study is `[study]` of the recipe. Every action may be run again: nothing is made or asked twice, and what was
interrupted goes on. A pairwise study asks a first random share, then rounds of the comparisons that are in doubt; the
next round comes when nearly all of the last one is answered (or with `--go-on`), until the ranking is settled.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from annotation.connection import stop_server
from annotation.study.adaptive import Choice, answered_share, choose
from annotation.study.axes import Design
from annotation.study.crowd import answers_to, crowd_for
from annotation.study.dealing import Question, asked, first_items, next_items, questions
from annotation.study.desk import Desk, names_of_judges, open_desk
from annotation.study.judges import judges as judges_of, left_out
from annotation.study.rows import given, pair_votes
from curation.records import UserError
from curation.study_records import StudyItem
from jobs.cluster import joined
from jobs.collect import repeat
from jobs.engine import run as run_job
from jobs.progress import Progress
from jobs.study_format import agree, tell_failures
from jobs.study_inputs import find_videos
from jobs.study_media import media_job, take_all
from jobs.study_plan import plan
from jobs.study_state import Study, keep, open_study, with_prompts, with_videos
from jobs.study_tables import read_gold, read_study_prompts

if TYPE_CHECKING:
    from jobs.config import Context

ACTIONS = ("create", "collect", "report", "plan")
NEARLY_ALL = 0.9  # of a round's answers, when the next one comes; nobody waits for the slowest judge
STRANGERS_TOLD = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="make and ask the study, collect answers, report, or plan")
    parser.add_argument("--every", type=float, default=0, metavar="SECONDS", help="collect until Ctrl-C")
    parser.add_argument("--simulate", action="store_true", help="collect: let made-up judges answer to the end first")
    parser.add_argument("--go-on", action="store_true", help="collect: ask the next round though answers are missing")
    parser.add_argument("--stop-server", action="store_true", help="end the embedded Label Studio afterwards")


def run(context: "Context") -> int:
    args = context.args
    if args.action == "report":
        from jobs.study_report import write_study_report

        print(f"study report: {write_study_report(context.workspace, context.recipe)}", flush=True)
        return 0
    if args.action == "plan":
        return plan(context)
    code = create(context) if args.action == "create" else _collect_every(context)
    if args.stop_server:
        stop_server(context.workspace)
    return code


def create(context: "Context") -> int:
    """Find, bring to one format and ask; what is there already stays."""
    study, code = prepare(context)
    if not study.items:
        names = names_of_judges(study.settings, context.recipe.annotation)
        gold = read_gold(study.settings)
        items = first_items(study.settings, study.prompts, study.videos, study.secret, gold, names)
        study = study.with_items(items)
    with open_desk(context.workspace, study.settings, context.recipe.annotation) as desk:
        _push(study, desk, study.items)
        for judge, login in desk.login().items():
            print(f"study: {judge or 'anybody'} starts at {login}", flush=True)
    print("study: `dailies study collect` takes in the answers and asks the next round", flush=True)
    return code


def prepare(context: "Context") -> tuple[Study, int]:
    """The study with its prompts and all shown videos; the exit code says whether every video is accounted for.

    Raises:
        UserError: inputs that make no study.
    """
    settings, workspace = context.recipe.study, context.workspace
    if len(settings.systems) < (2 if settings.design is Design.PAIRWISE else 1):
        raise UserError(f"study.systems names {len(settings.systems)}; a {settings.design.value} study needs more")
    study = with_prompts(open_study(workspace, settings), read_study_prompts(settings))
    takes = []
    for system in settings.systems:
        videos = find_videos(system, study.prompts, workspace)
        if videos.strangers:
            some = ", ".join(videos.strangers[:STRANGERS_TOLD])
            print(f"study: {system.name} has {len(videos.strangers)} videos of no prompt, such as {some}", flush=True)
        takes += take_all(system.name, videos.found)
    common, takes = agree(takes, settings, study.kept.format if study.kept else None)
    for line in tell_failures(takes):
        print(f"study: {line}", flush=True)
    if common is None:
        raise UserError(
            "no video can be shown: " + "; ".join(sorted({f"{take.reason}: {take.detail}" for take in takes}))
        )
    print(f"study: every video is shown at {common}", flush=True)
    job = media_job(workspace, settings.name, study.secret, common, takes)
    with joined():
        tally = run_job(job, workspace, context.recipe.engine)
    print(tally, flush=True)
    study = with_videos(study, job.finished() & {key for item in job.items for key in item.inputs})
    _say_comparable(study)
    return study if study.kept else keep(study, common), tally.exit_code


def _say_comparable(study: Study) -> None:
    """Of how many prompts each pair of systems has both videos."""
    every = questions(study.videos, study.settings, study.secret)
    for pair, number in sorted(Counter(question.pair for question in every).items()):
        names = " and ".join(filter(None, pair))
        print(f"study: {names}: {number} of {len(study.prompts)} prompts can be judged", flush=True)


def _collect_every(context: "Context") -> int:
    settings, reviewers = context.recipe.study, context.recipe.annotation.reviewers
    if context.args.simulate and reviewers != "simulated":
        raise UserError(
            f"annotation.reviewers is {reviewers!r}: simulated answers would mix with people's; set it to simulated"
        )
    if context.args.every and context.args.go_on:
        raise UserError("--go-on asks one round more, and --every would do so every time; give one of them")
    if not open_study(context.workspace, settings).items:
        print(f"study collect: nothing was asked in study {settings.name}; `dailies study create` asks", flush=True)
        return 0
    return repeat(lambda: collect(context), context.args.every)


def collect(context: "Context") -> int:
    """Take in what judges answered, and ask the next round when it is due."""
    study = open_study(context.workspace, context.recipe.study)
    annotation = context.recipe.annotation
    with open_desk(context.workspace, study.settings, annotation) as desk:
        _push(study, desk, study.items)  # a push that was interrupted
        while True:
            if context.args.simulate:
                _answer_as_crowd(study, desk, annotation)
            study = _pull(study, desk)
            new, said = next_round(study, names_of_judges(study.settings, annotation), context.args.go_on)
            print(f"study: {said}", flush=True)
            if new:
                study = study.with_items(new)
                _push(study, desk, new)
            if not (new and context.args.simulate):
                return 0


def next_round(study: Study, judges: Sequence[str], go_on: bool = False) -> tuple[list[StudyItem], str]:
    """The items to ask now, none while judges are busy or when all is known; and where the study stands, in words."""
    settings = study.settings
    share = answered_share(study.items, study.answers)
    said = f"{share:.0%} of what was asked is answered"
    chosen: Sequence[Question] = ()
    if share >= NEARLY_ALL or go_on:
        chosen, more = _chosen(study)
        said = f"{said}; {more}"
    gold = read_gold(settings)
    new = next_items(
        settings, study.prompts, study.videos, study.items, study.answers, chosen, study.secret, gold, judges
    )
    return new, f"{said}; {len(new)} new items" if new else said


def _chosen(study: Study) -> tuple[Sequence[Question], str]:
    settings = study.settings
    if settings.design is Design.PAIRWISE and settings.adaptive.enabled:
        failed = left_out(judges_of(given(study.items, study.answers), settings.checks))
        votes = pair_votes(study.prompts, study.videos, study.items, study.answers, failed)
        choice = choose(settings, study.prompts, study.videos, study.items, votes, study.secret)
        return choice.questions, _said(choice)
    done = set(asked(study.items, study.videos))
    left = [question for question in questions(study.videos, settings, study.secret) if question not in done]
    return left, f"{len(left)} questions are left"


def _said(choice: Choice) -> str:
    known = f"{choice.asked} of {choice.possible} comparisons asked, {choice.reason}"
    return f"{known}; finished" if choice.finished else known


def _push(study: Study, desk: Desk, items: Sequence[StudyItem]) -> None:
    with Progress("study, to Label Studio", len(items), "items") as progress:
        new = desk.push(items, study.texts, progress.advance)
    print(f"study: {len(items)} items = {new} pushed + {len(items) - new} there already", flush=True)


def _pull(study: Study, desk: Desk) -> Study:
    answers, failures = desk.collect()
    after = study.with_answers(answers)
    new, invalid = len(after.answers) - len(study.answers), study.keep_failures(failures)
    known = len(answers) - new
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in sorted(Counter(row.reason for row in failures).items())
    )
    print(
        f"study collect: {len(answers) + len(failures)} answers pulled = {new} new + {known} known + {len(failures)} "
        f"invalid{f' ({reasons}; {invalid} of them new)' if failures else ''}",
        flush=True,
    )
    return after


def _answer_as_crowd(study: Study, desk: Desk, annotation: Any) -> None:
    """Let made-up judges answer everything that waits."""
    names = names_of_judges(study.settings, annotation)
    crowd = crowd_for(study.videos, names, study.settings.seed)
    done = {(row.item_key, row.judge) for row in study.answers}
    waiting = [item for item in study.items if (item.item_key, item.judge) not in done]
    with Progress("study, simulated judges", len(waiting), "answers") as progress:
        for judge in names:
            mine = [item for item in waiting if item.judge == judge]
            rows = answers_to(crowd, study.videos, [(item, judge) for item in mine])
            answers = {row.item_key: json.loads(row.answers) for row in rows}
            desk.answer(judge, answers, {row.item_key: row.lead_time_s or 0.0 for row in rows}, progress.advance)
