"""What other packages cimport: ``from rnncore.kernels cimport lstm_step``. steps.pxd has the declarations.

Streams of whole networks are in rnncore.kernels.stream, which wants NumPy's headers too.
"""

from .steps cimport (
    IDENTITY, RELU, SIGMOID, TANH, Cell, advance_cell, cell_states, cell_work_size, dense_rows,
    elman_sequence, elman_step, free_cell, gru_sequence, gru_step, import_rnncore, lstm_sequence, lstm_step,
    new_dense, new_elman, new_gru, new_gru_variant, new_leaky, new_lstm, new_lstm_variant, new_skip,
    set_zoneout
)
