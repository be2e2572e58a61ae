"""`python -m jasco_pl.compose`."""

from __future__ import annotations

import argparse
import sys

from jasco_pl.compose.dataset import add_arguments, run
from jasco_pl.errors import UserError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="jasco compose", description="Compose and render the embedded set: music with exact annotations.")
    add_arguments(parser)
    try:
        sys.exit(run(parser.parse_args()))
    except UserError as error:
        print(f"jasco compose: {error}", file=sys.stderr)
        sys.exit(2)
