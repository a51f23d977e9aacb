"""Keeps ultralytics quiet: no update checks, installs, telemetry, or settings in the home folder.

It also lets it load nothing that could run code: neither objects in a weights file, nor expressions
in a network's description.

The package imports this module first, since ultralytics reads these variables once, when it is
imported. Whoever wants other values sets them in the environment.
"""

import os
import tempfile

os.environ.setdefault("YOLO_AUTOINSTALL", "False")
os.environ.setdefault("YOLO_OFFLINE", "True")
os.environ.setdefault("YOLO_VERBOSE", "False")
os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "True")
os.environ.setdefault(
    "YOLO_CONFIG_DIR", os.path.join(tempfile.gettempdir(), f"openurine-{os.getuid()}")
)
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
