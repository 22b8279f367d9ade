"""Optimizer updates and weight penalties on the flat buffers (P,), in place."""

import numpy as np


def sgd_update(params, grads, velocity, lr, momentum, nesterov):
    """Stochastic gradient descent with momentum (Polyak, 1964; Nesterov's form: Sutskever et al., 2013)."""
    if momentum == 0:
        params -= lr * grads
        return
    velocity[...] = momentum * velocity + grads
    params -= lr * (grads + momentum * velocity) if nesterov else lr * velocity


def rmsprop_update(params, grads, square, velocity, lr, alpha, eps, momentum):
    """RMSprop (Tieleman & Hinton, 2012)."""
    square[...] = alpha * square + (1 - alpha) * grads**2
    direction = grads / (np.sqrt(square) + eps)
    if momentum == 0:
        params -= lr * direction
        return
    velocity[...] = momentum * velocity + direction
    params -= lr * velocity


def adam_update(params, grads, mean, square, lr, beta1, beta2, eps, decay, step):
    """Adam (Kingma & Ba, 2015); with decay AdamW (Loshchilov & Hutter, 2019). ``step`` counts from 1."""
    mean[...] = beta1 * mean + (1 - beta1) * grads
    square[...] = beta2 * square + (1 - beta2) * grads**2
    params *= 1 - lr * decay
    params -= lr / (1 - beta1**step) * mean / (np.sqrt(square / (1 - beta2**step)) + eps)


def l1_penalty(params, dparams, strength):
    """dparams += strength * sign(params); returns strength * sum |params|."""
    dparams += strength * np.sign(params)
    return strength * float(np.sum(np.abs(params), dtype=np.float64))


def l2_penalty(params, dparams, strength):
    """dparams += strength * params; returns strength / 2 * sum params^2."""
    dparams += strength * params
    return strength / 2 * float(np.sum(params.astype(np.float64) ** 2))
