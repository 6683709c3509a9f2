"""What a command line lets a terminal hear."""

import subprocess
import sys

SAID = """
import logging, warnings
from hybrid_nas.calling import libraries_unheard

def speak(when):
    warnings.warn(f"{when} a font lacks a glyph", stacklevel=2)
    logging.getLogger("matplotlib").warning("%s no cache can be written", when)
    logging.getLogger("PIL.Image").error("%s strange data", when)
    logging.getLogger("workers.data.image_folder").warning("%s ours", when)

with libraries_unheard():
    speak("during:")
speak("after:")
"""


def test_libraries_are_unheard_and_we_are_not() -> None:
    done = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if ":" in line]
    assert [line for line in lines if "during" in line] == ["during: ours"]
    assert len([line for line in lines if "after: " in line]) == 4, done.stderr
