"""ONNX models out of networks, and networks out of ONNX models: ``pip install rnncore[onnx]``.

report = export(net, "model.onnx")      # writes, checks, says how far the results differ
model = load("model.onnx")              # model.net is a Network; model.run takes the file's own inputs
"""

from .reading import Model, load
from .runtime import Report
from .writing import export

__all__ = ["Model", "Report", "export", "load"]
