"""Files of profilers, told apart by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from parplan.files.atomic import read_bytes
from parplan.measuring.profiles.onnxruntime import read_onnxruntime
from parplan.measuring.profiles.profile import Profile
from parplan.measuring.profiles.torch_operators import read_operators
from parplan.measuring.trace_file import MAXIMUM_BYTES


def read_profile(path: Path, modules: Mapping[str, str]) -> Profile:
    """Return what torch.profiler (a mapping in JSON) or ONNX Runtime (a list) wrote.

    Parameters
    ----------
    modules
        The module of each node of an ONNX model by the node's name.

    Raises
    ------
    InputError
        Naming the file: missing, damaged, or neither of the two.
    """
    content = read_bytes(path, MAXIMUM_BYTES).lstrip()
    return read_onnxruntime(path, modules) if content[:1] == b"[" else read_operators(path)
