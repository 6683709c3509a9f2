"""The command `bundle`."""

import shlex
from pathlib import Path

import click

from hybrid_nas.options import file_type, shown, zoo_option
from hybrid_nas.streams import echo


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@zoo_option
@shown("--to", "file", default="bundle.zip", type=file_type, help="The file to write.")
def bundle(names: tuple[str, ...], zoo: Path, file: Path) -> None:
    """Write a file that times entries of a zoo on a device without this project: all, or those of each NAME.

    There it needs Python with torch and timm, or with onnxruntime for entries that were exported with --onnx.
    """
    from workers.latency.bundle import write_bundle

    chosen = write_bundle(zoo, names, file)
    echo(f"wrote {file}: {', '.join(chosen)}")
    echo(f"on the device: python {shlex.quote(file.name)} --json device.json")
    echo("then here: launch.py profile --from device.json")
