"""The race: rnncore against PyTorch, JAX, ONNX Runtime and its own NumPy reference; ``make race`` runs it.

From the bottom up: ``grid`` (what is run), ``problem`` (the numbers all get, and whether results agree),
one file a library (``ours``, ``pytorch``, ``jax_scan``, ``onnx_runtime``), ``worker`` (a process that holds
one of them), ``crew`` (the main process's side of the workers), ``measure`` (the order of measurements),
``results`` (the JSON file), ``machine``, ``summary`` (what follows from the results), ``report``,
``picture``, ``__main__``.
"""
