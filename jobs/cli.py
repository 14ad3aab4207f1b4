"""The command line: `dailies VERB --recipe FILE --workspace DIR_OR_URI [--set a.b=c]`.

Each verb is one short module of this folder, imported only when it is asked for. Exit codes: 0 done and accounted for,
1 something failed, is pending or does not add up, 2 the user gave something that does not work (said in one message),
130 interrupted (what is finished stays; run it again to go on).
"""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from curation.records import UserError

VERBS = {
    "split": "cut raw footage into clips (virtual: spans of their source)",
    "score": "score every clip, one decode for all scorers; or one scorer on one clip",
    "curate": "split and score in one decode",
    "group": "find near duplicates and concepts among the clips",
    "gates": "judge clips by the gates and show what each rule costs",
    "tune": "a contact sheet of clips around one gate's threshold",
    "draft": "draft captions with a vision-language model",
    "route": "judge clips by the gates and send the review band to Label Studio",
    "serve": "give annotators' browsers the review clips, read-only",
    "collect": "pull, check and resolve people's answers",
    "backup": "copy the embedded Label Studio's data into one file, or put it back",
    "annotators": "show how far people agree, and each annotator beside the others",
    "calibrate": "learn from people's verdicts which clips they would keep, and propose gates",
    "pack": "write the chosen clips into WebDataset shards",
    "encode": "encode the packed clips into latent shards, ahead of the training stages that read latents",
    "train": "walk the training stages over the packed shards",
    "generate": "make videos from prompts, with a trained checkpoint or released weights",
    "measure": "measure generated videos, VAEs and checkpoints automatically",
    "study": "compare generated videos blindly by people: create, collect, report, plan",
    "weights": "inspect, convert or export weights of the networks",
    "report": "write one HTML file that shows what became of everything",
    "trace": "tell the whole history of one clip",
    "demo": "run all of the above in order",
    "train-tiny": "walk the whole training recipe on a toy set in minutes, and score what it learned",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dailies", description="From raw footage to a trained video generator.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, description in VERBS.items():
        verbs.add_parser(verb, help=description, description=description.capitalize() + ".", add_help=False)
    return parser


def _verb_parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"dailies {verb}", description=VERBS[verb].capitalize() + ".")
    module = importlib.import_module(_module_of(verb))
    if not _needs_recipe(module):
        module.add_arguments(parser)
        return parser
    parser.add_argument("--recipe", required=True, metavar="FILE", help="TOML file with the settings of the run")
    parser.add_argument("--workspace", required=True, metavar="DIR_OR_URI", help="folder or s3://bucket/prefix")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override one setting of the recipe; repeatable"
    )
    module.add_arguments(parser)
    return parser


def _module_of(verb: str) -> str:
    return f"jobs.{verb.replace('-', '_')}"


def _needs_recipe(module: ModuleType) -> bool:
    """A verb on files alone says `NEEDS_RECIPE = False`, takes no recipe or workspace and gets its arguments only."""
    return getattr(module, "NEEDS_RECIPE", True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `dailies` command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    known, _ = _parser().parse_known_args(given[:1])
    args = _verb_parser(known.verb).parse_args(given[1:])
    from curation.tables import Workspace
    from jobs.config import Context, load_recipe, save_recipe
    from jobs.storage import open_workspace

    module = importlib.import_module(_module_of(known.verb))
    try:
        if not _needs_recipe(module):
            return module.run(args)
        recipe = load_recipe(args.recipe, args.set)
        if os.environ.get("RANK", "0") != "0":  # of the processes that torchrun started, the first one writes
            return module.run(Context(recipe, Workspace(args.workspace), args))
        dry_run = getattr(args, "dry_run", False)  # of the verbs that have it
        workspace = open_workspace(args.workspace, writable=not dry_run)
        if not dry_run:
            save_recipe(recipe, workspace)
        return module.run(Context(recipe, workspace, args))
    except UserError as error:
        print(f"dailies {known.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"dailies {known.verb}: {error}; what is finished stays, make room and run it again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"dailies {known.verb}: interrupted; what is finished stays, run it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
