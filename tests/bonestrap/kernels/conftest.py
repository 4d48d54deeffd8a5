"""The kernels of a test file run in triton's interpreter, on the CPU in float32."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from bonestrap import kernels

KERNELS = "bonestrap.kernels."


def take_out() -> dict[str, ModuleType]:
    """Forget triton and the kernels: whether they are interpreted is decided when they are imported."""
    names = [name for name in sys.modules if f"{name}.".startswith("triton.") or name.startswith(KERNELS)]
    for name in names:
        if name.startswith(KERNELS):  # `from bonestrap.kernels import moments` asks the package first
            vars(kernels).pop(name.removeprefix(KERNELS), None)
    return {name: sys.modules.pop(name) for name in names if not name.startswith("triton._C")}


def put_back(modules: dict[str, ModuleType]) -> None:
    sys.modules.update(modules)
    for name, module in modules.items():
        if name.startswith(KERNELS):
            setattr(kernels, name.removeprefix(KERNELS), module)


@pytest.fixture(scope="module")
def interpreter() -> Iterator[None]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    before = take_out()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        from triton import language
        from triton.runtime import interpreter

        # Every call of a function inside a kernel would replace triton's operations by interpreted ones anew.
        replace, done = interpreter._patch_lang, set()

        def once(function: Any) -> object:
            known = function.__globals__.values()
            known = tuple(any(part is module for part in known) for module in (language, language.core))
            if known not in done:
                done.add(known)
                replace(function)
            return interpreter._LangPatchScope()

        patch.setattr(interpreter, "_patch_lang", once)
        yield
    take_out()
    put_back(before)
