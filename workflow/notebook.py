"""Runs a notebook with parameters and keeps the executed copy.

``python workflow/notebook.py notebooks/06_comparison.ipynb out.ipynb -p profile demo -p seed 0``
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# jsonschema, which checks notebooks, would compile a grammar of internet addresses for two seconds;
# without this package, which is optional, it leaves that check out. No notebook has such a field.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

import nbformat  # noqa: E402
import papermill  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openurine_lib.files import atomic_path  # noqa: E402

KERNEL = {
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not one in the home folder
    # tqdm.auto then draws its bars as text, which reaches the terminal and the log
    "SPYDER": "1",
    "TQDM_MININTERVAL": "2",
}


class ParameterError(ValueError):
    """A parameter that the notebook does not have, or a value that does not fit it."""


class NotebookFailed(RuntimeError):
    """A cell raised; the message names the notebook, the cell and the kept copy."""


def parameters_of(notebook: str | Path) -> dict[str, Any]:
    """The notebook's parameters and their defaults, from its cell tagged ``parameters``."""
    if not Path(notebook).is_file():
        raise FileNotFoundError(f"no notebook {notebook}")
    found = papermill.inspect_notebook(str(notebook))
    return {name: ast.literal_eval(entry["default"]) for name, entry in found.items()}


def checked(notebook: str | Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters in the types of the notebook's defaults.

    Raises ParameterError for an unknown parameter, naming those there are, or for a wrong value.
    """
    defaults = parameters_of(notebook)
    name = Path(notebook).name
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ParameterError(
            f"{name} has no parameter {', '.join(unknown)}; it has: {', '.join(defaults) or 'none'}"
        )
    return {
        key: _as(type(defaults[key]), value, f"{name}: parameter {key}")
        for key, value in given.items()
    }


def execute(
    notebook: str | Path, out: str | Path, parameters: Mapping[str, Any], progress: bool = True
) -> Path:
    """Executes ``notebook`` in its own folder and writes the executed copy to ``out``.

    While it runs, the copy is ``out``'s ``*.running.ipynb``. If a cell raises, the copy stays as
    ``*.failed.ipynb`` and NotebookFailed tells where. What the cells print goes to standard output
    and error as it comes.
    """
    notebook = Path(notebook).resolve()
    out = Path(out).resolve()
    values = checked(notebook, parameters)
    out.parent.mkdir(parents=True, exist_ok=True)
    running = out.with_suffix(".running.ipynb")
    failed = out.with_suffix(".failed.ipynb")
    os.environ.update(KERNEL)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(running),
            values,
            kernel_name="python3",
            cwd=str(notebook.parent),
            progress_bar=progress,
            # results are on disk when a cell ends; to take torch apart takes two seconds
            shutdown_kernel="immediate",
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    except PapermillExecutionError as error:
        os.replace(running, failed)
        what = f"{error.ename}: {error.evalue}"
        raise NotebookFailed(
            f"{notebook.name}, cell {error.cell_index}: {what}\nexecuted copy: {failed}"
        ) from error
    os.replace(running, out)
    failed.unlink(missing_ok=True)
    return out


def publish(copy: Path, target: Path, home: Path) -> None:
    """Writes an executed copy for readers: progress bars at their end, no paths of this machine.

    home: the project folder; paths below it are shown from there.
    """
    book = nbformat.read(copy, as_version=4)
    book.metadata.pop("papermill", None)  # it names files of this machine
    for cell in book.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [_tidy(output, str(home)) for output in _joined(cell.outputs)]
    with atomic_path(target) as temporary:
        nbformat.write(book, temporary)


def _joined(outputs: list[Any]) -> list[Any]:
    """The outputs of a cell, with all that one stream got in one piece, where it first came."""
    streams: dict[str, Any] = {}
    joined = []
    for output in outputs:
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
            continue
        if output.output_type == "stream":
            streams[output.name] = output
        joined.append(output)
    return [output for output in joined if output.output_type != "stream" or shown(output.text)]


def _tidy(output: Any, home: str) -> Any:
    if output.output_type == "stream":
        output.text = shown(output.text).replace(f"{home}/", "")
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = content.replace(f"{home}/", "")
    return output


def shown(text: str) -> str:
    """What is left on a terminal: of a line that was written over, its last state."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "".join(f"{line}\n" for line in lines if line)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook")
    parser.add_argument("out")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    options = parser.parse_args(arguments)
    try:
        print(execute(options.notebook, options.out, dict(options.parameter)))
    except (ParameterError, NotebookFailed, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _as(kind: type, value: Any, what: str) -> Any:
    """``value`` as the type of a default; texts (from a command line) are read."""
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ParameterError(f"{what} is true or false, not {value!r}")
        return value.lower() == "true"
    if kind is type(value) or kind is type(None):
        return value
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{what} is of type {kind.__name__}, not {value!r}") from error


if __name__ == "__main__":
    sys.exit(main())
