"""What pyproject.toml cannot say: a wheel holds the default detector, which git has in carried/."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))

from openurine_lib import default_weights  # noqa: E402


class WithWeights(build_py):
    """Copies the weights, their record and their card into the package that is built."""

    def run(self) -> None:
        super().run()
        folder = default_weights.best(default_weights.CARRIED)
        if folder is None or self.editable_mode:  # editable: the checkout itself is used
            return
        target = Path(self.build_lib) / "openurine_lib" / default_weights.INSTALLED.name
        target.mkdir(parents=True, exist_ok=True)
        for name in default_weights.INSTALLED_FILES:
            shutil.copyfile(folder / name, target / name)


setup(cmdclass={"build_py": WithWeights})
