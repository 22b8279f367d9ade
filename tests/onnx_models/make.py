"""Writes the models beside it, as PyTorch's two exporters and Keras's (through tf2onnx) write them.

    python tests/onnx_models/make.py torch       # needs torch and onnxscript
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
    {"torch": make_torch, "keras": make_keras}[sys.argv[1]]()
