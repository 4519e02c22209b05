"""The `tandem` command: a table of its commands."""

import logging
import sys
from collections.abc import Callable

import typer

from core.logs import TextFormatter
from engine.device import check_packages
from lifecycle.cli.commands.adapt import adapt
from lifecycle.cli.commands.audit import audit
from lifecycle.cli.commands.changes import delete, update, upsert
from lifecycle.cli.commands.compress import compress
from lifecycle.cli.commands.evaluate import evaluate, gate
from lifecycle.cli.commands.explain import explain
from lifecycle.cli.commands.improve import improve
from lifecycle.cli.commands.index import index
from lifecycle.cli.commands.judgments import judgments
from lifecycle.cli.commands.keys import keys
from lifecycle.cli.commands.models import models
from lifecycle.cli.commands.profiles import profiles
from lifecycle.cli.commands.recommend import recommend
from lifecycle.cli.commands.releases import lineage, list_releases, rollback, sign
from lifecycle.cli.commands.rules import rules
from lifecycle.cli.commands.run import run
from lifecycle.cli.commands.sample import sample
from lifecycle.cli.commands.search import search
from lifecycle.cli.commands.search_many import search_many
from lifecycle.cli.commands.serve import serve
from lifecycle.cli.commands.suggest import suggest
from lifecycle.cli.commands.train import train
from lifecycle.cli.commands.triton import triton
from lifecycle.cli.failures import report_failure, watch_for_crashes
from lifecycle.cli.terminal import accept_any_text
from text.masking_on_demand import mask_if_needed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Two-tower retrieval for shops: train, index, release, serve, measure.",
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "sample": sample,
    "index": index,
    "releases": list_releases,
    "lineage": lineage,
    "rollback": rollback,
    "sign": sign,
    "audit": audit,
    "serve": serve,
    "upsert": upsert,
    "update": update,
    "delete": delete,
    "search": search,
    "search-many": search_many,
    "explain": explain,
    "suggest": suggest,
    "recommend": recommend,
    "judgments": judgments,
    "train": train,
    "adapt": adapt,
    "compress": compress,
    "improve": improve,
    "evaluate": evaluate,
    "gate": gate,
}
_GROUPS = {"models": models, "triton": triton, "rules": rules, "profiles": profiles, "keys": keys}

for name, command in _COMMANDS.items():
    app.command(name)(command)
for name, group in _GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Runs the command. Every failure is one line on standard error, with exit status 2."""
    accept_any_text()
    watch_for_crashes()
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter(mask=mask_if_needed))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("tandem").setLevel(logging.INFO)
    try:
        check_packages()
        app()
    except Exception as error:
        report_failure(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tandem: interrupted", file=sys.stderr)
        sys.exit(130)
