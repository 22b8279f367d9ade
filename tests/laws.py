"""What the laws are stated with: closeness, finite differences, and what a network holds."""

import numpy as np


def relative_error(got, want, scale=0.0):
    """Largest deviation beside the largest magnitude of ``want``; infinite if NaN came or shapes differ.

    ``scale`` is the least magnitude to compare with: that of the terms, where they may nearly cancel.
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return np.inf
    deviation = np.abs(got - want).max(initial=0)
    scale = np.abs(want).max(initial=scale)
    if deviation == 0:
        return 0.0
    return float(deviation / scale) if scale and np.isfinite(deviation) else np.inf


def assert_close(got, want, tolerance, name="", scale=0.0):
    """Fail unless the relative error (``relative_error``) is within the tolerance."""
    error = relative_error(got, want, scale)
    assert error <= tolerance, f"{name}: relative error {error:.2g}, allowed {tolerance:.2g}\n{got}\n{want}"


def assert_all_close(got, want, tolerance, scale=lambda name: 0.0):
    """``assert_close`` on each array of two dicts with the same keys; ``scale`` of each name."""
    assert got.keys() == want.keys()
    for name in want:
        assert_close(got[name], want[name], tolerance, name, scale(name))


def derivative(function, step=3e-4):
    """d function(s) / ds at s = 0 by central differences of fourth order, exact to about 1e-12."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def jacobian(function, array, step=3e-4):
    """d function() / d array, (outputs, array.size); ``function`` reads ``array``, which is moved."""
    columns = []
    flat = array.reshape(-1)
    assert np.shares_memory(flat, array), "entries of a copy would move nothing"
    for i in range(flat.size):
        before = flat[i]

        def moved(s, i=i, before=before):
            flat[i] = before + s
            return function()

        columns.append(derivative(moved, step))
        flat[i] = before
    return np.stack(columns, axis=1)


def assert_gradient(got, want, scale, name=""):
    """Every entry of a gradient agrees with finite differences to 1e-7 of itself.

    Entries that nearly vanish beside ``scale`` are below the resolution of the differences, 1e-11 of it.
    """
    error = np.abs(got - want)
    allowed = 1e-7 * np.abs(want) + 1e-11 * scale
    assert np.all(error <= allowed), f"{name}: off by {error.max():.2g}\n{got}\n{want}"


def leaves(state):
    """The arrays of a state, however its tuples are nested, in order; None has none."""
    if state is None:
        return []
    return [leaf for part in state for leaf in leaves(part)] if isinstance(state, tuple) else [state]


def like(state, make):
    """``make`` of each array of a state, in the same form."""
    if state is None:
        return None
    return tuple(like(part, make) for part in state) if isinstance(state, tuple) else make(state)


def snapshot(network):
    """All that a network holds and a call could change, for comparison with ``==``."""
    layers = [(layer.training, getattr(layer, "clipped_steps", None)) for layer in network.layers]
    generator = network.rng.bit_generator.state
    return network.params.flat.tobytes(), network.grads.flat.tobytes(), generator, network.training, layers


def assert_message(error, pieces):
    """The pieces, in their order, in one sentence on one line."""
    message, at = str(error.value), 0
    assert "\n" not in message
    for piece in pieces:
        assert piece in message[at:], f"{piece!r} is missing in: {message}"
        at = message.index(piece, at) + len(piece)
