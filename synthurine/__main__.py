"""``python -m synthurine``."""

import sys

from synthurine.command import main

sys.exit(main())
