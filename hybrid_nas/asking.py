"""The commands that ask a service: submit, watch, stop, list, fetch. None needs the extra `service`."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
from click.core import ParameterSource

from hybrid_nas.options import flag, overwrite_option, shown, zoo_option
from hybrid_nas.server import Server
from hybrid_nas.streams import echo
from nas.errors import InvalidInputError
from nas.records import JSON
from nas.search.loop import EXIT_INTERRUPTED
from nas.text import text_table
from nas.workspace import TOKEN_VARIABLE

SERVER_VARIABLE = "NAS_SERVER"
KEPT_BY_SERVICE = ("storage", "artifacts", "cache", "ray_address", "storage_timeout_s", "quiet")
"""Options of a search that the service decides, or that mean files or the terminal here."""
server_option = click.option(
    "--server", "url", required=True, envvar=SERVER_VARIABLE, help=f"URL of the service; {SERVER_VARIABLE} by default."
)
quiet_option = flag("--quiet", help="Print errors and the end only.")


class SearchCommand(click.Command):
    """A command that also has the options of a search, which the group above it has."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own, then those of a search."""
        above = ctx.parent.command.params if ctx.parent is not None else []
        return [*super().get_params(ctx), *(param for param in above if param.name not in KEPT_BY_SERVICE)]


def _server(url: str) -> Server:
    return Server.at(url, os.environ.get(TOKEN_VARIABLE))


def _path(study: str) -> str:
    return f"/studies/{quote(study, safe='')}"


def _words(server: Server, study: JSON) -> str:
    """The arguments that name a study of a service in another command."""
    return f"{shlex.quote(study['name'])} --server {server}"


@click.command(cls=SearchCommand)
@server_option
@flag("--watch", "watched", help="Show the search until it ends.")
@click.pass_context
def submit(context: click.Context, /, url: str, watched: bool, **options: Any) -> None:
    """Queue a search on a service, with the options of a search."""
    given = {name: options[name] for name in options if _is_given(context, name)}
    server = _server(url)
    study = server.ask("POST", "/studies", _body(given))
    where = f"place {study['position']} in the queue" if study["position"] else study["state"]
    echo(f"submitted {study['name']}: {where}; next: launch.py watch {_words(server, study)}")
    if watched:
        _watch(server, study, quiet=False)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None)


def _body(given: dict[str, Any]) -> JSON:
    """What is sent: a recipe in a file goes along, since the service cannot read it."""
    body: JSON = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    recipe = body.get("recipe")
    if recipe is None or not (recipe.endswith(".json") or Path(recipe).expanduser().is_file()):
        return body
    del body["recipe"]
    try:
        return {**body, "recipe_json": json.loads(Path(recipe).expanduser().read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"--recipe {recipe} is no JSON file that can be read ({error}); give another"
        ) from error


@click.command()
@click.argument("study")
@server_option
@quiet_option
def watch(study: str, url: str, quiet: bool) -> None:
    """Show a search of a service until it ends, across restarts of the service too; Ctrl-C leaves the search alone."""
    server = _server(url)
    _watch(server, server.ask("GET", _path(study)), quiet=quiet)


def _watch(server: Server, study: JSON, *, quiet: bool) -> None:
    from hybrid_nas.watching import watch_study

    try:
        has_succeeded = watch_study(server, study, quiet=quiet)
    except KeyboardInterrupt:
        echo(f"no longer watched; the search goes on. Stop it: launch.py stop {_words(server, study)}")
        sys.exit(EXIT_INTERRUPTED)
    if not has_succeeded:
        sys.exit(1)


@click.command()
@click.argument("study")
@server_option
def stop(study: str, url: str) -> None:
    """Stop a search of a service in order; its state is saved."""
    answer = _server(url).ask("POST", f"{_path(study)}/stop")
    echo(f"study {answer['name']} is {answer['state']}")


@click.command("list")
@server_option
@click.option("--state", help="Only those that are queued, running, stopping, stopped, finished or failed.")
@click.option("--owner", help="Only those of this owner.")
@shown("--limit", default=50, type=click.IntRange(1, 500), help="How many, newest first.")
def list_studies(url: str, limit: int, **filters: str | None) -> None:
    """List the studies of a service."""
    query = urlencode({"limit": limit, **{name: value for name, value in filters.items() if value is not None}})
    page = _server(url).ask("GET", f"/studies?{query}")
    rows = [_row(study) for study in page["items"]]
    head = ("study", "owner", "state", "evaluated", "best top1", "front")
    echo(text_table(head, rows, right=0) if rows else "no studies")
    if len(rows) < page["total"]:
        echo(f"{page['total'] - len(rows)} more; give a larger --limit")


def _row(study: JSON) -> tuple[str, ...]:
    state = f"{study['state']} ({study['position']})" if study["position"] else study["state"]
    best = "" if study["best_top1"] is None else f"{study['best_top1']:.4f}"
    evaluated = f"{study['evaluated']}/{study['budget'] or '?'}"
    return study["name"], study["owner"] or "", state, evaluated, best, str(study["front_size"])


@click.command()
@click.argument("name")
@server_option
@zoo_option
@overwrite_option
def fetch(name: str, url: str, zoo: Path, overwrite: bool) -> None:
    """Copy the entry NAME of a service's zoo into a zoo here; every file is proved by its sum."""
    from search_spaces.zoo.taking import take_entry

    server = _server(url)
    path = f"/zoo/{quote(name, safe='')}"
    entry = server.ask("GET", path)["metrics"]
    folder = take_entry(zoo, server.fetch(f"{path}/download"), entry, overwrite=overwrite)
    echo(f"wrote {folder}")
