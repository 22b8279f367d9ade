# cython: boundscheck=False, wraparound=False, initializedcheck=False, freethreading_compatible=True
"""One LSTM and its readout on single numbers, in a loop that holds no GIL and touches no Python object."""

from libc.math cimport fabsf
from libc.stdlib cimport calloc, free

from rnncore.kernels cimport (
    Cell, cell_work_size, dense_rows, free_cell, import_rnncore, lstm_sequence, lstm_step, new_dense, new_lstm
)

import_rnncore()   # a clear ImportError if this rnncore does not fit


cdef class Forecast:
    """Foretells the next value of a series from all before it."""

    cdef Cell *lstm
    cdef Cell *readout
    cdef Py_ssize_t units
    cdef float *states       # h and c before the step, and h after it
    cdef void *work

    def __cinit__(
        self,
        const float[:, ::1] weight_ih,
        const float[:, ::1] weight_hh,
        const float[::1] bias,
        const float[:, ::1] weight,
        const float[::1] readout_bias,
    ):
        self.units = weight_hh.shape[1]
        if weight_ih.shape[1] != 1 or weight.shape[0] != 1 or weight.shape[1] != self.units:
            raise ValueError("the weights are not those of LSTM(1, H), Dense(H, 1)")
        if weight_ih.shape[0] != 4 * self.units or weight_hh.shape[0] != 4 * self.units:
            raise ValueError("the weights are not those of an LSTM")
        if bias.shape[0] != 4 * self.units or readout_bias.shape[0] != 1:
            raise ValueError("the biases do not fit the weights")
        self.lstm = new_lstm(1, self.units, &weight_ih[0, 0], &weight_hh[0, 0], &bias[0])
        self.readout = new_dense(self.units, 1, &weight[0, 0], &readout_bias[0])
        if self.lstm == NULL or self.readout == NULL:
            raise MemoryError
        self.states = <float *>calloc(3 * self.units, sizeof(float))
        self.work = calloc(cell_work_size(self.lstm, 1, 1), 1)
        if self.states == NULL or self.work == NULL:
            raise MemoryError

    def __dealloc__(self):
        free_cell(self.lstm)
        free_cell(self.readout)
        free(self.states)
        free(self.work)

    cdef float foretell(self, float value) noexcept nogil:
        """Take the next value; what will come after it?"""
        cdef float *h = self.states
        cdef float *c = h + self.units
        cdef float *after = c + self.units
        cdef float y
        cdef Py_ssize_t unit
        lstm_step(self.lstm, 1, &value, h, c, after, c, self.work)
        for unit in range(self.units):
            h[unit] = after[unit]
        dense_rows(self.readout, 1, h, &y)
        return y

    def surprise(self, const float[::1] series, float[::1] out):
        """out[t] = |series[t] - what was foretold|; the state goes on from call to call."""
        if series.shape[0] != out.shape[0]:
            raise ValueError(f"out has {out.shape[0]} entries, but series has {series.shape[0]}")
        cdef Py_ssize_t t
        cdef float expected = 0
        with nogil:
            for t in range(series.shape[0]):
                out[t] = fabsf(series[t] - expected)
                expected = self.foretell(series[t])

    def whole(self, const float[:, :, ::1] series, float[:, :, ::1] hidden, float[:, :, ::1] cells):
        """A batch of whole series (T, B, 1); hidden and cells (1+T, B, H), the initial state in row 0."""
        cdef Py_ssize_t steps = series.shape[0], rows = series.shape[1]
        if hidden.shape[0] != steps + 1 or hidden.shape[1] != rows or hidden.shape[2] != self.units:
            raise ValueError("hidden has another shape than (1+T, B, H)")
        if cells.shape[0] != steps + 1 or cells.shape[1] != rows or cells.shape[2] != self.units:
            raise ValueError("cells has another shape than (1+T, B, H)")
        if series.shape[2] != 1 or not steps or not rows:
            raise ValueError("series has another shape than (T, B, 1), or is empty")
        cdef void *work = calloc(cell_work_size(self.lstm, steps, rows), 1)
        if work == NULL:
            raise MemoryError
        with nogil:
            lstm_sequence(
                self.lstm, steps, rows, &series[0, 0, 0], &hidden[0, 0, 0], &cells[0, 0, 0], work
            )
        free(work)
