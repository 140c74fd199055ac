"""The house rules of CONTRIBUTING.md, counted over every product file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.tiny_world import REPOSITORY

PACKAGES = ("study", "adapters", "trainers", "evaluators", "orchestrator", "analysis")
MOST_LINES, MOST_IN_A_FUNCTION, MOST_ARGUMENTS, MOST_MODULES, MOST_ANY = 250, 40, 6, 24, 120
FILES = [file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py"))]
FOLDERS = sorted({file.parent for file in FILES})


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All but what autograd calls with arguments of its own choice."""
    autograd = {
        inner
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith("autograd.Function") for base in node.bases)
        for inner in node.body
    }
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node not in autograd:
            yield node


def imported(file: Path) -> set[str]:
    """The packages that a file imports from."""
    nodes = list(ast.walk(tree(file)))
    found = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    found += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {module.partition(".")[0] for module in found}


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many it takes, `self` and `cls` aside; `*args` and `**kwargs` are one each."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"])) + (given.vararg is not None) + (given.kwarg is not None)


def test_a_file_fits_in_the_head() -> None:
    assert {
        name(file): lines for file in FILES if (lines := len(file.read_text("utf-8").splitlines())) > MOST_LINES
    } == {}


def test_a_function_fits_on_a_screen_and_takes_few_arguments() -> None:
    found = {(name(file), function.name): function for file in FILES for function in functions(file)}
    lines = {where: (function.end_lineno or 0) - function.lineno + 1 for where, function in found.items()}
    assert {where: count for where, count in lines.items() if count > MOST_IN_A_FUNCTION} == {}
    taken = {where: arguments(function) for where, function in found.items()}
    assert {where: count for where, count in taken.items() if count > MOST_ARGUMENTS} == {}


def test_no_product_file_knows_the_tests_or_the_benchmarks() -> None:
    assert [name(file) for file in FILES if imported(file) & {"tests", "bench"}] == []


def test_a_folder_is_a_package_of_few_modules() -> None:
    assert [name(folder) for folder in FOLDERS if not (folder / "__init__.py").is_file()] == []
    modules = {name(folder): len([f for f in folder.glob("*.py") if f.name != "__init__.py"]) for folder in FOLDERS}
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_any_is_an_exception() -> None:
    """Counted wherever the name stands, but for its import."""
    found = {
        name(file): sum(node.id == "Any" for node in ast.walk(tree(file)) if isinstance(node, ast.Name))
        for file in FILES
    }
    assert sum(found.values()) < MOST_ANY, {file: count for file, count in found.items() if count > 2}
