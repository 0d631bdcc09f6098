"""The house keeps its shape: sizes, names, empty package faces, documented public things."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("gateway", "collectors", "analytics", "api", "dashboards", "simulators")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 300, 60
LONGER_FILES: dict[str, str] = {
    "gateway/journal/verify.py": "the verifier is one bare file that imports nothing of the product (limit 400 lines)",
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "service", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= (400 if name_of(path) in LONGER_FILES else FILE_LINES)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_are_short_and_public_things_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert path.name == "__init__.py" or ast.get_docstring(tree), "the first line says what lives here"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"
    if "migrations" not in path.parts:
        for node in ast.iter_child_nodes(tree):
            is_public = isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ) and not node.name.startswith("_")
            assert not is_public or ast.get_docstring(node), f"{node.name} has no docstring"


def test_package_faces_are_empty_and_rooms_have_the_fields_names() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            assert path.read_text("utf-8") == "", path
        assert not VAGUE & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}, path


def test_each_wire_library_is_named_in_one_file_per_side() -> None:
    def naming(library: str) -> set[str]:
        found = set()
        for path in FILES:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if any(module.split(".")[0] == library for module in modules):
                    found.add(name_of(path))
        return found

    assert naming("pymodbus") == {"collectors/serial_stream.py"}
    assert naming("serial") == {"collectors/serial_stream.py"}
    assert naming("paho") == {
        "gateway/mqtt_connection.py",
        "gateway/mqtt_publishing.py",
        "simulators/mqtt_publisher.py",
    }


def test_every_folder_tells_what_it_is() -> None:
    for room in (*ROOMS, "tests", "benchmarks"):
        assert (ROOT / room / "README.md").is_file(), f"{room} has no README.md"
