"""A training step of rnncore.jax.lstm beside lax.scan's, both under jit: medians of milliseconds.

    python bench/jax_lstm.py
"""

import statistics
import time

import jax
import jax.numpy as jnp

import rnncore.jax
from rnncore.layers import LSTM

T, B, I, H = 100, 32, 64, 128
ROUNDS = 15


def scanned(params, x):
    """The LSTM's equations, the products with x in one piece."""

    def step(carry, a_t):
        h, c = carry
        i, f, g, o = jnp.split(a_t + h @ params["weight_hh"].T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], H))
    final, y = jax.lax.scan(step, (zeros, zeros), x @ params["weight_ih"].T + params["bias"])
    return y, final


def main():
    params = rnncore.jax.Recurrent(LSTM(I, H)).init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (T, B, I))
    functions = {"lax.scan": scanned, "rnncore.jax": rnncore.jax.lstm}
    steps = {
        name: jax.jit(jax.value_and_grad(lambda p, x, f=function: (f(p, x)[0] ** 2).mean(), (0, 1)))
        for name, function in functions.items()
    }
    times = {name: [] for name in steps}
    for _ in range(ROUNDS + 2):  # the first two compile and warm up
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(params, x))
            times[name].append(time.perf_counter() - start)
    for name, found in times.items():
        print(f"{name}: {statistics.median(found[2:]) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
