"""Optimizer updates and weight penalties: one pass over the flat buffers (P,), in place.

P may be 0. Where momentum is 0 the velocity is neither read nor written, and may have length 0.
"""

from cython cimport floating
from libc.math cimport pow, sqrt

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave

cdef inline void *start(floating[::1] array) noexcept nogil:
    return &array[0] if array.shape[0] else NULL


def sgd_update(
    floating[::1] params, floating[::1] grads, floating[::1] velocity,
    double lr, double momentum, bint nesterov,
):
    """Stochastic gradient descent with momentum (Polyak, 1964; Nesterov's form: Sutskever et al., 2013).

    velocity = momentum * velocity + grads
    params -= lr * velocity                        or, with nesterov,  lr * (grads + momentum * velocity)

    Cost: 3 P numbers read, 2 P written; without momentum 2 P and P.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef float_state before
    with nogil:
        before = enter()
        table.sgd(start(params), start(grads), start(velocity), lr, momentum, nesterov, params.shape[0])
        leave(before)


def rmsprop_update(
    floating[::1] params, floating[::1] grads, floating[::1] square, floating[::1] velocity,
    double lr, double alpha, double eps, double momentum,
):
    """RMSprop (Tieleman & Hinton, 2012).

    square = alpha * square + (1 - alpha) * grads^2
    velocity = momentum * velocity + grads / (sqrt(square) + eps)
    params -= lr * velocity

    Cost: 4 P numbers read, 3 P written; without momentum 3 P and 2 P.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef float_state before
    with nogil:
        before = enter()
        table.rmsprop(
            start(params), start(grads), start(square), start(velocity),
            lr, alpha, eps, momentum, params.shape[0],
        )
        leave(before)


def adam_update(
    floating[::1] params, floating[::1] grads, floating[::1] mean, floating[::1] square,
    double lr, double beta1, double beta2, double eps, double decay, Py_ssize_t step,
):
    """Adam (Kingma & Ba, 2015); with decay AdamW (Loshchilov & Hutter, 2019). ``step`` counts from 1.

    mean = beta1 * mean + (1 - beta1) * grads
    square = beta2 * square + (1 - beta2) * grads^2
    params *= 1 - lr * decay
    params -= lr / (1 - beta1^step) * mean / (sqrt(square / (1 - beta2^step)) + eps)

    Cost: 4 P numbers read, 3 P written.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef float_state before
    with nogil:
        before = enter()
        table.adam(
            start(params), start(grads), start(mean), start(square),
            lr / (1 - pow(beta1, step)), beta1, beta2, eps,
            sqrt(1 - pow(beta2, step)), 1 - lr * decay, params.shape[0],
        )
        leave(before)


def l1_penalty(floating[::1] params, floating[::1] dparams, double strength):
    """dparams += strength * sign(params); returns strength * sum |params|.

    Cost: 2 P numbers read, P written.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef double value
    cdef float_state before
    with nogil:
        before = enter()
        value = table.l1(start(params), start(dparams), strength, params.shape[0])
        leave(before)
    return value


def l2_penalty(floating[::1] params, floating[::1] dparams, double strength):
    """dparams += strength * params; returns strength / 2 * sum params^2.

    Cost: 2 P numbers read, P written.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef double value
    cdef float_state before
    with nogil:
        before = enter()
        value = table.l2(start(params), start(dparams), strength, params.shape[0])
        leave(before)
    return value
