"""Echo-state networks: recurrent weights stay as they were drawn, the readout is solved, not trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_finite, check_lengths, check_number, padding_mask
from .data.batch import as_batch
from .layers import Dense
from .network import Network

Array = NDArray[Any]


def ridge_readout(net: Network, source: Any, strength: float, washout: int = 0) -> float:
    """Set the network's last layer, a dense one, to the least squares fit of the targets (Jaeger, 2001).

    W, b minimize  sum over steps ||W f[t] + b - target[t]||² + strength ||W||²,  f what comes to the layer.

    All else of the network, its recurrent weights above all, stays as it is: draw them with a spectral
    radius, as ``Elman(inputs, units, recurrent_init="spectral:0.9")``. One pass over the data, dropout off,
    each batch from a zero state; sums are kept in float64, memory does not grow with the data.

    Parameters
    ----------
    net
        Ends in a `Dense` layer.
    source
        A data source, whose epoch 0 is read, or batches, without starts and weights. Targets are numbers in
        the shape of the network's output, or class ids, which stand for 1 in their class and 0 elsewhere.
    strength
        At least 0.
    washout
        So many first steps of each row are left out, while the zero state fades; at least 0.

    Returns
    -------
    float
        The mean over steps of half the squared distance, as `SquaredError` has it, on these data.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted, or the fit is not unique, which any strength above 0 makes it. The
        network is as before then.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net is a {type(net).__name__}, but a Network is wanted")
    readout = net.layers[-1]
    if not isinstance(readout, Dense):
        raise ValueError(f"the last layer is {readout}, but a Dense one is wanted to be solved for")
    if check_number("strength", strength) < 0:
        raise ValueError(f"strength is {strength}, but at least 0 is wanted")
    if isinstance(washout, bool) or not isinstance(washout, (int, np.integer)) or washout < 0:
        raise ValueError(f"washout is {washout!r}, but a whole number of at least 0 is wanted")
    units, outputs = readout.in_features, readout.out_features
    gram = np.zeros((units + 1, units + 1))
    moment = np.zeros((units + 1, outputs))
    square, count = 0.0, 0
    for features, target in _pairs(net, source, int(washout)):
        # A last column of ones is what the bias multiplies.
        rows = np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype=np.float64)
        gram += rows.T @ rows
        moment += rows.T @ target
        square += float(np.vdot(target, target))
        count += len(rows)
    if not count:
        raise ValueError(f"source holds no step beyond washout {washout}: there is nothing to fit")
    fit = _solve(gram, moment, strength)
    net.params[f"{len(net.layers) - 1}.weight"] = fit[:-1].T
    net.params[f"{len(net.layers) - 1}.bias"] = fit[-1]
    residual = square - 2 * np.vdot(fit, moment) + np.vdot(fit, gram @ fit)
    return max(0.0, float(residual) / (2 * count))


def _solve(gram: Array, moment: Array, strength: float) -> Array:
    """(gram + strength) fit = moment; nothing is added for the bias, in the last row."""
    ridge = np.full(len(gram), strength)
    ridge[-1] = 0
    try:
        factor = np.linalg.cholesky(gram + np.diag(ridge))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"with strength {strength} the fit is not unique: the features depend on each other; give more"
        ) from None
    half = np.linalg.solve(factor, moment)
    fit: Array = np.linalg.solve(factor.T, half)
    return fit


def _pairs(net: Network, source: Any, washout: int) -> Iterator[tuple[Array, Array]]:
    """What comes to the last layer (N, U), and the targets (N, O) in float64, batch by batch."""
    batches: Iterable[Any] = source.batches(0) if hasattr(source, "batches") else source
    if not isinstance(batches, Iterable):
        raise TypeError(f"source is a {type(source).__name__}, but a data source or batches are wanted")
    outputs = len(net.layers[-1].params["bias"])
    training = net.training
    net.eval()
    try:
        for batch in map(as_batch, batches):
            x, lengths = batch.x, getattr(batch, "lengths", None)
            for name in ("starts", "weights"):
                if getattr(batch, name, None) is not None:
                    raise ValueError(f"source has {name}, but whole rows that count alike are wanted")
            if isinstance(x, np.ndarray) and x.ndim == 3:
                check_finite("x", x, check_lengths(lengths, *x.shape[:2]))
            for layer in net.layers[:-1]:
                x, _, _ = layer.forward(x, None, lengths, record=False)
                lengths = None if layer.pools else lengths
            target = np.asarray(batch.target)
            if target.dtype.kind in "iu":
                _check_classes(target, lengths, outputs)
                target = (target[..., None] == np.arange(outputs)).astype(np.float64)
            if target.shape != (*x.shape[:-1], outputs):
                wanted = (*x.shape[:-1], outputs)
                raise ValueError(f"target has shape {target.shape}, but the network gives {wanted}")
            if x.ndim == 3:
                chosen = np.ones(x.shape[:2], np.bool_)
                chosen[:washout] = False
                if lengths is not None:
                    chosen[padding_mask(np.asarray(lengths), len(x))] = False
                x, target = x[chosen], target[chosen]
            check_finite("target", target)
            yield x, target.astype(np.float64)
    finally:
        net.train(training)


def _check_classes(target: Array, lengths: Any, outputs: int) -> None:
    """Raise ValueError for a class id, outside the padding, that no output stands for."""
    outside = (target < 0) | (target >= outputs)
    if lengths is not None and target.ndim == 2:
        outside[padding_mask(np.asarray(lengths), len(target))] = False
    if outside.any():
        raise ValueError(f"target has {target[outside][0]}, but class ids from 0 to {outputs - 1} are wanted")
