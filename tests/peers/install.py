#!/usr/bin/env python3
"""Puts each peer of the benchmark into a Python of its own: their requirements do not agree.

Called by `./dev bench peers` with a folder: FOLDER/NAME is the environment of requirements/NAME.txt,
and complete once it holds the file `ready`. A peer that cannot be had is no failure: the file
FOLDER/NAME.error says why in one line, and the next call tries again. Asks PyPI only.
"""

import subprocess
import sys
import venv
from pathlib import Path

import old_libc

REQUIREMENTS = Path(__file__).parent / "requirements"
# How long pip may take for one peer.
INSTALL_MAX = 600
# A wheel that says it is for a later libc than this machine's; see old_libc.py.
LATER_LIBC = {"ballista": "manylinux_2_39_x86_64"}
# Those that come without a wheel: Python and Java, nothing is compiled.
SOURCES = "pyspark,pyspark-client"


def pip(place, *arguments):
    """Runs pip; raises RuntimeError with its first line about an error."""
    command = [place / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_MAX)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"pip did not end within {INSTALL_MAX} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise RuntimeError(errors[0] if errors else f"pip ended with {done.returncode}")


def install(name, place):
    """Makes the environment of one peer."""
    venv.create(place, clear=True, with_pip=True)
    pins = (REQUIREMENTS / f"{name}.txt").read_text().split()
    later = [pin for pin in pins if pin.partition("==")[0] in LATER_LIBC]
    wheels = ["--only-binary", ":all:", "--no-binary", SOURCES]
    pip(place, *wheels, *(pin for pin in pins if pin not in later))
    for pin in later:
        packages = next(place.glob("lib/python3*/site-packages"))
        platform = LATER_LIBC[pin.partition("==")[0]]
        pip(place, "--only-binary", ":all:", "--no-deps", "--platform", platform, "--target", str(packages), pin)
        for library in (packages / pin.partition("==")[0]).glob("*.so"):
            old_libc.adapt(library)
    (place / "ready").touch()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        name, place = path.stem, folder / path.stem
        error = folder / f"{name}.error"
        if (place / "ready").exists():
            continue
        print(f"peers: fetching {', '.join(path.read_text().split())}", file=sys.stderr)
        error.unlink(missing_ok=True)
        try:
            install(name, place)
        except Exception as reason:  # whatever it is: the others are wanted
            said = str(reason).splitlines() or [repr(reason)]
            error.write_text(said[0] + "\n")
            print(f"peers: no {name}: {said[0]}", file=sys.stderr)


if __name__ == "__main__":
    main()
