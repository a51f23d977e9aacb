"""Makes the book of a run that has ended; and its report page anew, which then leads to the book.

``python workflow/book.py --profile study``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openurine_lib import open_run  # noqa: E402
from openurine_lib.paper import book, report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="study")
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        run = open_run(options.data, options.profile, options.seed)
        page = book.build(run)
        report.build(run)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"The book:\n{page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
