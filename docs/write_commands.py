"""Writes docs/reference/commands.md from what `--help` says of every command.

PYTHONPATH=. python docs/write_commands.py
"""

from collections.abc import Iterator
from pathlib import Path

import click

import launch

PAGE = Path(__file__).parent / "reference/commands.md"
HEAD = """\
# Commands

`python docs/write_commands.py` writes this page from the help texts. `python launch.py COMMAND --help` says the same.

Every path, alone or within another value, may begin with `~` or `~user`. A relative one begins in the current folder.
Paths and names are UTF-8.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted. After 130 the state is saved, and the same command
continues.
"""


def page() -> str:
    """The whole page, in Markdown."""
    context = click.Context(launch.cli, info_name="launch.py")
    sections = [HEAD, *_section("launch.py", launch.cli)]
    for name in launch.cli.list_commands(context):
        command = launch.cli.get_command(context, name)
        assert command is not None, f"{name} is listed and not there"
        sections += _section(f"launch.py {name}", command)
        for part in sorted(command.commands) if isinstance(command, click.Group) else ():
            sections += _section(f"launch.py {name} {part}", command.commands[part])
    return "\n".join(sections)


def _section(title: str, command: click.Command) -> Iterator[str]:
    """Heading, what the command does, and one row for each option, in the order of the help."""
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    usage = " ".join([title, *(argument.make_metavar(click.Context(command)) for argument in arguments)])
    yield f"## {usage}\n"
    yield f"{_one_line(command.help or '')}\n"
    yield "| option | value | default | meaning |"
    yield "|---|---|---|---|"
    for option in options:
        yield _row(option, click.Context(command))
    yield ""


def _row(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else option.make_metavar(context)
    default = ""
    if option.show_default and option.default is not None:
        default = f"`{option.default}`"
    elif option.required:
        default = "required"
    cells = [f"`{option.opts[0]}`", value, default, _one_line(option.help or "")]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
