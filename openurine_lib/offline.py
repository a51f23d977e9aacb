"""Keeps ultralytics to itself: no update checks, no pip installs, no settings in the home folder, no telemetry.

The package imports it first of all, since ultralytics reads these once, when it is imported. Whoever wants them
otherwise sets them in the environment.
"""

import os
import tempfile

os.environ.setdefault("YOLO_AUTOINSTALL", "False")
os.environ.setdefault("YOLO_OFFLINE", "True")
os.environ.setdefault("YOLO_VERBOSE", "False")
os.environ.setdefault(
    "YOLO_CONFIG_DIR", os.path.join(tempfile.gettempdir(), f"openurine-{os.getuid()}")
)
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
