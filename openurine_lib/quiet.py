"""Keeps ultralytics to itself: no update checks, no pip installs, no settings in the home folder, no telemetry.

Import it before ultralytics. Everything it sets can be set otherwise in the environment beforehand.
"""

import os
import tempfile

os.environ.setdefault("YOLO_AUTOINSTALL", "False")
os.environ.setdefault("YOLO_OFFLINE", "True")
os.environ.setdefault("YOLO_VERBOSE", "False")
os.environ.setdefault("YOLO_CONFIG_DIR", os.path.join(tempfile.gettempdir(), f"openurine-{os.getuid()}"))
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
