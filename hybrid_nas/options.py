"""Options that several commands have."""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from hybrid_nas.commands import UserPath
from nas.config import STORAGE_TIMEOUT_S
from nas.files import user_file, user_folder
from nas.workspace import DEFAULT_STORAGE, STORAGE_VARIABLE

file_type = UserPath("file", user_file)
folder_type = UserPath("directory", user_folder)
at_least = click.IntRange
shown = partial(click.option, show_default=True)
flag = partial(click.option, is_flag=True)
storage_option = click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    default=DEFAULT_STORAGE,
    help=f"Database URL; {STORAGE_VARIABLE} or {DEFAULT_STORAGE} by default.",
)
study_option = click.option("--study", help="Name of the study; may be left out where the database has only one.")
artifacts_option = click.option("--artifacts", help="Folder of weights and drawings; beside the database by default.")
ray_option = click.option("--ray-address", help="Running Ray cluster to use; a local one is started by default.")
storage_timeout_option = shown(
    "--storage-timeout-s",
    default=STORAGE_TIMEOUT_S,
    help="Wait this long for a database or a disk that cannot be used.",
)
given_file = partial(click.option, is_flag=False, flag_value="-")
json_option = given_file("--json", "json_file", help="Give it as JSON, to a file or without one to the output.")
name_option = partial(click.option, "--name")
onnx_option = flag("--onnx", help="Add a checked ONNX file.")
overwrite_option = flag("--overwrite", help="Replace a model of that name.")
zoo_option = shown("--zoo", default="zoo", type=folder_type, help="Folder of the zoo.")
cache_option = click.option(
    "--cache",
    help="Folder of decoded images, shared by the workers of a node; beside the database by default, in the temporary "
    "folder of each node with --ray-address.",
)


def space_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How large the networks of a space are, and what they are made of."""
    scale = shown("--scale", default="nano", help="nano, mobile, tiny, small or base.")
    mixers = click.option(
        "--mixers",
        help="What the space may choose among: core, efficient, all, or names of mixers and feed-forwards by commas.",
    )
    return scale(mixers(command))


def known_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is known before a search."""
    start = shown(
        "--warm-start", default="presets", help="presets: published layouts; study:NAME: what that one found; none."
    )
    scores = click.option(
        "--scores",
        metavar="NAMES|FILE",
        help="What may rank architectures as training does: training-free scores by name (zico, az_nas, ...), a JSON "
        "or CSV file of numbers, or both.",
    )
    return start(scores(command))


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hard limits on the costs of an architecture."""
    latency = click.option("--max-latency-ms", type=float, help="Reject slower candidates before training.")
    params = click.option("--max-params", type=int, help="Reject larger candidates before training.")
    macs = click.option("--max-macs", type=int, help="Reject costlier candidates before training.")
    return latency(params(macs(command)))


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the data of a study lie, and its decoded images."""
    where = click.option("--data", help="Where the data of the study lie now; where they lay then, by default.")
    return where(cache_option(command))


def new_data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a search trains on, and its decoded images."""
    what = shown("--data", default="digits", help="digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE.")
    return what(cache_option(command))
