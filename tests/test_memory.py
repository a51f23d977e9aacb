"""A field of 10,000 px is predicted in the memory of the field and a few slices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BOUND = 60e6  # bytes beside the field; a slice has 1.2 MB, all 441 of them 540 MB, the field 300 MB
CODE = """
import json, resource, sys
import numpy as np
from test_inference import Bright
from openurine_lib.inference import predict_image

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

side = int(sys.argv[1])
detector = Bright(device="cpu", confidence_threshold=0.001, image_size=640)
# whatever is loaded at the first call
predict_image(detector, np.zeros((700, 700, 3), np.uint8), 640)
image = np.full((side, side, 3), 100, np.uint8)
for at in range(300, side, 900):
    image[at : at + 40, at : at + 30] = 255
before = peak()
boxes = predict_image(detector, image, 640)
grown = peak() - before
found = {"grown": grown, "slices": len(detector.calls), "boxes": len(boxes)}
print(json.dumps(found | {"field": image.nbytes}))
"""


def measured(side: int) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(side)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_field_of_10000_px_runs_in_bounded_memory():
    found = measured(10_000)
    assert found["field"] == 300e6 and found["slices"] >= 441 and found["boxes"] >= 11
    assert found["grown"] < BOUND, found
