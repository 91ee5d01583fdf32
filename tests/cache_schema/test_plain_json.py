"""JSON as every reader takes it, and nothing in the library that writes another."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest

import ta2n.cache_schema.plain_json
import ta2n.cli
import ta2n.pipeline
from ta2n.cache_schema.plain_json import finite, to_json

OWN = Path(str(ta2n.cache_schema.plain_json.__file__)).resolve()
PACKAGES = [OWN.parent, *(Path(str(one.__file__)).resolve().parent for one in (ta2n.cli, ta2n.pipeline))]
MODULES = [file for package in PACKAGES for file in sorted(package.rglob("*.py")) if file != OWN]


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_finite_number_is_null_wherever_it_stands(number: float) -> None:
    values = {"a": number, "b": [1.5, number, {"c": (number, "x")}], "d": "Infinity", "e": True, "f": 10**30}
    expected = {"a": None, "b": [1.5, None, {"c": [None, "x"]}], "d": "Infinity", "e": True, "f": 10**30}
    assert strict(to_json(values)) == expected
    assert finite(values) == expected
    assert strict(to_json(number)) is None


def test_all_else_is_written_as_python_writes_it() -> None:
    values = {"b": [1, 2.5, None], "a": {"ö": (1e300, -0.0)}, "path": Path("x")}
    for options in ({}, {"indent": 2}, {"sort_keys": True}, {"ensure_ascii": False, "separators": (",", ":")}):
        assert to_json(values, default=str, **options) == json.dumps(values, default=str, **options)
    with pytest.raises(TypeError, match="not JSON serializable"):
        to_json({"a": object()})


def _writes_json(tree: ast.AST) -> list[int]:
    """Lines that call the standard library's writer, or take it by its name."""
    writers = {"dump", "dumps", "JSONEncoder"}
    found = []
    for node in ast.walk(tree):
        called = isinstance(node, ast.Attribute) and node.attr in writers
        if called and isinstance(node.value, ast.Name) and node.value.id == "json":  # type: ignore[attr-defined]
            found.append(node.lineno)  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom) and node.module == "json" and writers & {name.name for name in node.names}:
            found.append(node.lineno)
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    for source in ("import json\njson.dumps(1)", "import json\njson.dump(1, f)", "from json import loads, dumps"):
        assert _writes_json(ast.parse(source))
    assert not _writes_json(ast.parse("import json\njson.loads('1')"))
    assert len(MODULES) > 100


def test_no_module_writes_json_by_itself() -> None:
    lines = [f"{module}:{line}" for module in MODULES for line in _writes_json(ast.parse(module.read_text()))]
    assert not lines, "use ta2n.cache_schema.plain_json.to_json"
