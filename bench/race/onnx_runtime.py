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


def model(problem: Problem) -> onnx.ModelProto:
    """The operator with its weights as constants, which the runtime may pack once."""
    units = problem.dy.shape[2]
    order = ORDER[problem.cell]

    def reordered(array: np.ndarray) -> np.ndarray:
        gates = array.reshape(len(order), units, *array.shape[1:])
        return gates[list(order)].reshape(array.shape)

    recurrent_bias = np.zeros_like(problem.weights["bias"])
    if problem.cell == "gru":
        recurrent_bias[2 * units :] = problem.weights["bias_hn"]
    constants = {
        "W": reordered(problem.weights["weight_ih"])[None],  # (1, GH, I): one direction
        "R": reordered(problem.weights["weight_hh"])[None],
        "B": np.concatenate([reordered(problem.weights["bias"]), reordered(recurrent_bias)])[None],
    }
    attributes = {"linear_before_reset": 1} if problem.cell == "gru" else {}
    steps, rows, inputs = problem.x.shape
    graph = helper.make_graph(
        [helper.make_node(KINDS[problem.cell], ["X", *constants], ["Y"], hidden_size=units, **attributes)],
        problem.cell,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, rows, inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [steps, 1, rows, units])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
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
        return {"y": self.inference()[:, 0]}
