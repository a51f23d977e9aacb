"""JSON and YAML of strangers, parsed within bounds: the content, or Unreadable with its line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

MOST_YAML = 100_000  # characters; the longest taxonomy here has 2,400
JSON_TOKEN = re.compile(
    r'"(?:[^"\\]++|\\.)*+"|[{}\n]'
)  # a whole text, or what tells objects and lines


class Unreadable(ValueError):
    """A text that is not what it should be; ``line`` counts from 1, 0 is the text as a whole."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


def number(value: Any) -> float:
    """The number that a cell or an entry gives; NaN for what is none.

    Python would also read ``1_0`` as ten, other scripts' digits, and true as one.
    """
    odd = isinstance(value, str) and ("_" in value or not value.isascii())
    if odd or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # the last: an integer of 400 digits
        return math.nan


class Object(dict[str, Any]):
    """An object of a JSON text that knows the line on which it starts."""

    line = 0


def load_json(text: str) -> Any:
    """The content of a JSON text; its objects know their lines, which json itself does not tell.

    Raises Unreadable, also for a key that an object has twice: json would keep the last one.
    """
    lines = _object_lines(text)

    def at_its_line(pairs: list[tuple[str, Any]]) -> Object:
        found = Object(pairs)
        found.line = next(lines, 0)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise Unreadable(f"an object has {twice!r:.40} twice", found.line)
        return found

    try:
        return json.loads(text, object_pairs_hook=at_its_line)
    except json.JSONDecodeError as error:
        raise Unreadable(str(error), error.lineno) from error
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error
    except Unreadable:
        raise
    except ValueError as error:  # an integer of more digits than Python reads
        raise Unreadable(str(error)) from error


def with_lists(content: Any, names: Iterable[str]) -> Object:
    """The content, if it is an object that has a list of each name. Raises Unreadable."""
    for name in names:
        if not isinstance(content, Object) or not isinstance(content.get(name), list):
            raise Unreadable(f"{name} is not a list")
    return content


def _object_lines(text: str) -> Iterator[int]:
    """The line on which each object of a JSON text starts, in the order in which they end."""
    line = 1
    starts = []  # of the objects that have not ended yet
    for token in JSON_TOKEN.finditer(text):
        if token[0] == "\n":
            line += 1
        elif token[0] == "{":
            starts.append(line)
        elif token[0] == "}" and starts:  # inner objects end before outer ones
            yield starts.pop()


class _Loader(yaml.SafeLoader):
    """YAML without aliases, a few of which can stand for gigabytes, and with each key once."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not read here", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                what = f"the key {key!r:.40} stands twice"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key_node.start_mark)
            seen.add(key)
        return mapping


def load_yaml(text: str) -> Any:
    """The content of a YAML text. Raises Unreadable, also for aliases and a key given twice."""
    if len(text) > MOST_YAML:
        raise Unreadable(f"it has more than {MOST_YAML:,} characters")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 0
        raise Unreadable(error.problem or "it is no YAML", line) from error
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error
    except Exception as error:  # what a value says can raise anything: !!timestamp noon
        raise Unreadable(f"it is no YAML: {error}") from error
