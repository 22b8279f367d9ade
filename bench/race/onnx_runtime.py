"""ONNX Runtime: a model of one RNN, LSTM or GRU operator; inference only."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from race.problem import Arrays, Problem

KINDS = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}
# Which of our gates stands where: ONNX has i o f c where we have i f g o, and z r h where we have r z n.
ORDER = {"elman": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
THREADS = 1


def start(threads: int) -> dict[str, str]:
    """Note the number of threads for the sessions to come; returns versions."""
    global THREADS
    THREADS = threads
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


def constants(cell: str, weights: Arrays, units: int) -> Arrays:
    """One direction's weights, W (GH, I), R (GH, H) and B (2GH,), which the runtime may pack once."""
    order = ORDER[cell]

    def reordered(array: np.ndarray) -> np.ndarray:
        gates = array.reshape(len(order), units, *array.shape[1:])
        return gates[list(order)].reshape(array.shape)

    recurrent_bias = np.zeros_like(weights["bias"])
    if cell == "gru":
        recurrent_bias[2 * units :] = weights["bias_hn"]
    bias = np.concatenate([reordered(weights["bias"]), reordered(recurrent_bias)])
    return {"W": reordered(weights["weight_ih"]), "R": reordered(weights["weight_hh"]), "B": bias}


def model(problem: Problem) -> onnx.ModelProto:
    """The operator with its weights as constants, of one direction or two."""
    steps, rows, inputs = problem.x.shape
    units = problem.dy.shape[2]
    sides = [constants(problem.cell, problem.weights, units)]
    attributes: dict[str, object] = {"linear_before_reset": 1} if problem.cell == "gru" else {}
    if problem.reverse is not None:
        sides.append(constants(problem.cell, problem.reverse, units))
        attributes["direction"] = "bidirectional"
    if problem.cell == "elman":
        attributes["activations"] = ["Tanh"] * len(sides)
    stacked = {name: np.stack([side[name] for side in sides]) for name in sides[0]}
    graph = helper.make_graph(
        [helper.make_node(KINDS[problem.cell], ["X", *stacked], ["Y"], hidden_size=units, **attributes)],
        problem.cell,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, rows, inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [steps, len(sides), rows, units])],
        [numpy_helper.from_array(array, name) for name, array in stacked.items()],
    )
    # An old version of operators and format, which every runtime of the last years reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


class Layer:
    """A session that runs the model."""

    def __init__(self, library: str, problem: Problem) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        content = model(problem).SerializeToString()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.feed = {"X": problem.x}

    def inference(self) -> np.ndarray:
        return self.session.run(["Y"], self.feed)[0]

    def arrays(self, mode: str) -> Arrays:
        y = self.inference()  # (T, directions, B, H)
        return {"y": np.concatenate([*y.transpose(1, 0, 2, 3)], axis=-1)}
