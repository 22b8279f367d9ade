"""Writes the models beside it, as PyTorch's two exporters and Keras's (through tf2onnx) write them.

    python tests/onnx_models/make.py torch       # needs torch and onnxscript
    python tests/onnx_models/make.py states
    python tests/onnx_models/make.py keras       # needs tensorflow and tf2onnx

Last run with PyTorch 2.13, onnxscript 0.7, Keras 3.15 on TensorFlow, tf2onnx 1.17. Debugging texts that hold
paths and stack traces are taken out.
"""

import sys
from pathlib import Path

import onnx

HERE = Path(__file__).parent


def strip(path):
    model = onnx.load(path)
    del model.graph.value_info[:]
    parts = (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input)
    for part in (*parts, *model.graph.output):
        part.ClearField("metadata_props")
        part.doc_string = ""
    path.write_bytes(model.SerializeToString())


def make_torch():
    import torch

    class Model(torch.nn.Module):
        def __init__(self, kind, ids=False, last=False, softmax=False, **options):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, 3) if ids else None
            self.rnn = getattr(torch.nn, kind)(3, 4, **options)
            self.head = torch.nn.Linear(8 if options.get("bidirectional") else 4, 2)
            self.last, self.softmax = last, softmax

        def forward(self, x):
            x = x if self.embedding is None else self.embedding(x)
            y, _ = self.rnn(x)
            if self.last:
                y = y[:, -1]
            y = self.head(y)
            return torch.softmax(y, -1) if self.softmax else y

    both = {"num_layers": 2, "bidirectional": True}
    models = {
        "torch_script_lstm": Model("LSTM"),
        "torch_script_gru_bidirectional": Model("GRU", **both),
        "torch_script_rnn_batch_first": Model("RNN", ids=True, last=True, softmax=True, batch_first=True),
        "torch_export_gru_bidirectional": Model("GRU", **both),
        "torch_export_lstm_last_step": Model("LSTM", last=True, batch_first=True, **both),
        "torch_export_rnn": Model("RNN", nonlinearity="relu"),
        "torch_export_rnn_bidirectional": Model("RNN", ids=True, last=True, batch_first=True, **both),
    }
    free = {0: torch.export.Dim("a"), 1: torch.export.Dim("b")}
    for name, model in models.items():
        x = torch.randn(5, 2, 3) if model.embedding is None else torch.randint(0, 7, (5, 2))
        path = HERE / f"{name}.onnx"
        more = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "a", 1: "b"}}}
        if "export" in name:
            more = {"dynamo": True, "external_data": False, "dynamic_shapes": (free,)}
        torch.onnx.export(model.eval(), (x,), path, **more)
        strip(path)


def make_states():
    import torch

    class Carried(torch.nn.Module):
        """States as inputs and outputs, those of both layers in one array."""

        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(3, 4, num_layers=2)

        def forward(self, x, h, c):
            y, (h, c) = self.rnn(x, (h, c))
            return y, h, c

    class Learned(torch.nn.Module):
        """States that the file starts from."""

        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(3, 4, bidirectional=True, batch_first=True)
            self.start = torch.nn.Parameter(torch.randn(2, 1, 4))

        def forward(self, x):
            return self.rnn(x, self.start.expand(-1, x.shape[0], -1).contiguous())[0]

    rows = {1: torch.export.Dim("b")}
    for way in ("script", "export"):
        state = torch.zeros(2, 2, 4)
        for name, model, given in [
            ("carried", Carried(), (torch.randn(5, 2, 3), state, state + 1)),
            ("learned", Learned(), (torch.randn(2, 5, 3),)),
        ]:
            path = HERE / f"torch_{way}_{name}_states.onnx"
            names = ["x", "h", "c"][: len(given)]
            axes = {n: {1: "b"} if name == "carried" else {0: "b"} for n in names}
            more = {"dynamo": False, "input_names": names, "dynamic_axes": axes}
            if way == "export":
                free = rows if name == "carried" else {0: torch.export.Dim("b")}
                more = {"dynamo": True, "external_data": False, "dynamic_shapes": (free,) * len(given)}
            torch.onnx.export(model.eval(), given, path, **more)
            strip(path)


def make_keras():
    import tensorflow as tf
    import tf2onnx
    from keras import Input, Sequential
    from keras import layers as L

    chains = {
        "keras_lstm": [L.LSTM(4, return_sequences=True), L.Dense(2)],
        "keras_bidirectional": [L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Dense(2)],
        "keras_gru_loop": [L.GRU(4, return_sequences=True), L.GRU(5), L.Dense(2, activation="softmax")],
    }
    for name, chain in chains.items():
        model = Sequential([Input((None, 3)), *chain])
        signature = [tf.TensorSpec([None, None, 3], tf.float32, name="x")]
        function = tf.function(lambda x, model=model: model(x, training=False), input_signature=signature)
        path = HERE / f"{name}.onnx"
        tf2onnx.convert.from_function(function, signature, opset=15, output_path=str(path))
        strip(path)


if __name__ == "__main__":
    {"torch": make_torch, "states": make_states, "keras": make_keras}[sys.argv[1]]()
