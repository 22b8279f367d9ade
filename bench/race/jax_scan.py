"""JAX: ``lax.scan`` under ``jit``, the input projection one product before the scan, gradients by ``vjp``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from race.problem import Arrays, Problem


def start(threads: int) -> dict[str, str]:
    """Returns versions; JAX takes as many threads as it has cores, and the worker has given it that many."""
    return {"jax": jax.__version__}


def elman(weights: dict[str, Any], x: Any) -> Any:
    projected = x @ weights["weight_ih"].T + weights["bias"]

    def step(h, px):
        h = jnp.tanh(px + recurrent(h, weights))
        return h, h

    return lax.scan(step, zeros(weights, x), projected)[1]


def lstm(weights: dict[str, Any], x: Any) -> Any:
    projected = x @ weights["weight_ih"].T + weights["bias"]

    def step(state, px):
        h, c = state
        i, f, g, o = jnp.split(px + recurrent(h, weights), 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return lax.scan(step, (zeros(weights, x), zeros(weights, x)), projected)[1]


def gru(weights: dict[str, Any], x: Any) -> Any:
    projected = x @ weights["weight_ih"].T + weights["bias"]

    def step(h, px):
        r, z, n = jnp.split(recurrent(h, weights), 3, axis=-1)
        pr, pz, pn = jnp.split(px, 3, axis=-1)
        r, z = jax.nn.sigmoid(pr + r), jax.nn.sigmoid(pz + z)
        n = jnp.tanh(pn + r * (n + weights["bias_hn"]))
        h = (1 - z) * n + z * h
        return h, h

    return lax.scan(step, zeros(weights, x), projected)[1]


def recurrent(h: Any, weights: dict[str, Any]) -> Any:
    """h @ weight_hh.T (B, GH), without a copy: as fast as with one made before the scan, or faster."""
    return lax.dot_general(h, weights["weight_hh"], (((1,), (1,)), ((), ())))


def zeros(weights: dict[str, Any], x: Any) -> Any:
    """The initial state (B, H)."""
    return jnp.zeros((x.shape[1], weights["weight_hh"].shape[1]), x.dtype)


class Layer:
    """One cell, compiled once for its value and once for value and gradients."""

    def __init__(self, library: str, problem: Problem) -> None:
        jax.clear_caches()
        function = cell = {"elman": elman, "lstm": lstm, "gru": gru}[problem.cell]
        self.weights = {name: jnp.asarray(weight) for name, weight in problem.weights.items()}
        if problem.reverse is not None:
            reverse = {name: jnp.asarray(weight) for name, weight in problem.reverse.items()}
            self.weights = {"forward": self.weights, "reverse": reverse}

            def function(weights, x):
                back = cell(weights["reverse"], x[::-1])[::-1]
                return jnp.concatenate([cell(weights["forward"], x), back], axis=-1)

        self.x, self.dy = jnp.asarray(problem.x), jnp.asarray(problem.dy)
        self.value = jax.jit(function)

        @jax.jit
        def value_and_gradients(weights, x, dy):
            y, pull_back = jax.vjp(function, weights, x)
            return y, *pull_back(dy)

        self.value_and_gradients = value_and_gradients

    def inference(self) -> Any:
        return jax.block_until_ready(self.value(self.weights, self.x))

    def training(self) -> Any:
        return jax.block_until_ready(self.value_and_gradients(self.weights, self.x, self.dy))

    def arrays(self, mode: str) -> Arrays:
        if mode == "inference":
            return {"y": np.asarray(self.inference())}
        y, dweights, dx = self.training()
        named = {name: np.asarray(dweights[name]) for name in self.weights}
        return {"y": np.asarray(y), "dx": np.asarray(dx), **named}
