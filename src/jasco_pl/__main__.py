"""`python -m jasco_pl` is `jasco`."""

import sys

from jasco_pl.cli import main

if __name__ == "__main__":
    sys.exit(main())
