"""An ONNX model run by ONNX Runtime, or by the onnx package's own evaluator; how far results lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Beyond this two results are of different models, not of different orders of summation.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


@dataclass(frozen=True)
class Report:
    """How well an exported or imported model agrees with its network.

    Attributes
    ----------
    difference
        The largest difference of an output, relative to the largest magnitude in it.
    runtime
        What ran the ONNX model: ``"onnxruntime"`` or ``"onnx.reference"``.
    """

    difference: float
    runtime: str


def require_onnx() -> Any:
    """The onnx package; ModuleNotFoundError that names the extra if it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("ONNX needs the onnx package: pip install rnncore[onnx]") from error
    return onnx


def runtimes(dtype: np.dtype[Any]) -> list[str]:
    """What can run a model of this type here, the best first."""
    found = ["onnx.reference"]
    if dtype == np.float32:  # ONNX Runtime's recurrent operators have no float64
        try:
            import onnxruntime  # noqa: F401
        except ModuleNotFoundError:
            pass
        else:
            found.insert(0, "onnxruntime")
    return found


def hint(runtime: str) -> str:
    """What to say of a difference: the onnx package's evaluator ignores some attributes."""
    if runtime == "onnxruntime":
        return ""
    return "; it knows no activations but the usual ones and no coupled gates: pip install onnxruntime"


def run(model: Any, inputs: dict[str, Array], runtime: str) -> list[Array]:
    """The model's outputs.

    Raises
    ------
    ValueError
        If the runtime refuses the model.
    """
    try:
        return _run(model, inputs, runtime)
    except Exception as error:  # each runtime has its own errors
        reason = " ".join(str(error).split())[:300]
        hint = "" if runtime == "onnxruntime" else "; pip install onnxruntime, which can do more"
        raise ValueError(f"{runtime} cannot run the model: {reason}{hint}") from error


def _run(model: Any, inputs: dict[str, Array], runtime: str) -> list[Array]:
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return [np.asarray(output) for output in session.run(None, inputs)]
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):
        return [np.asarray(output) for output in ReferenceEvaluator(model).run(None, inputs)]


def difference(got: Sequence[Array], want: Sequence[Array]) -> float:
    """The largest relative difference of any output; infinite where shapes differ or NaN comes."""
    worst = 0.0
    for ours, theirs in zip(got, want, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        apart = np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)
        scale = np.abs(theirs).max(initial=0.0)
        relative = 0.0 if apart == 0 else apart / scale if scale else np.inf
        worst = max(worst, float(relative) if np.isfinite(relative) else float("inf"))
    return worst
