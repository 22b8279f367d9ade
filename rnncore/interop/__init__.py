"""Faces toward other tools: weights and models of PyTorch, ONNX and Keras.

Each is a module of its own, imported when it is needed: ``import rnncore.interop.torch``.
"""
