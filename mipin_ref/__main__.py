"""python -m mipin_ref is the command line."""

import sys

from mipin_ref.cli import main

sys.exit(main())
