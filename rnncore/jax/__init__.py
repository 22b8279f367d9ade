"""Recurrent layers as JAX functions on the CPU: ``pip install rnncore[jax]``.

They work under ``jit``, ``grad`` and ``vmap``. The backward pass runs the forward pass again, for JAX keeps
no tape of a callback.
"""

try:
    import jax  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rnncore.jax needs JAX: pip install rnncore[jax]", name="jax") from error

from .functions import Recurrent, gru, lstm

__all__ = ["Recurrent", "gru", "lstm"]
