"""``python -m parplan`` is the command ``parplan``."""

import sys

from parplan.cli import main

if __name__ == "__main__":
    sys.exit(main())
