/* One instruction set and one type: everything here is static, and leaves the file through TABLE alone. */
#include "activations.h"
#include "elementwise.h"
#include "flat.h"
#include "gru_before.h"
#include "interpreter.h"
#include "losses.h"
#include "narrow.h"
#include "small.h"
#include "table.h"

/* Where BLAS runs in place of the tiles: for the weight gradients, products over all rows, at the levels whose tiles are
 * slower. The projections and dx stay on the tiles everywhere: each of their rows must have the same bits whatever rows
 * are beside it, which BLAS does not grant. Figures: bench/README.md, "Crossover". */
#ifndef BLAS_IS_FASTER
#define BLAS_IS_FASTER 0
#endif

const Kernels TABLE = {
    .name = LEVEL,
    .lanes = LANES,
    .exp = exp_array,
    .tanh = tanh_array,
    .sigmoid = sigmoid_array,
    .softmax = softmax_array,
    .times = times_array,
    .blend = blend_array,
    .split = split_array,
    .activate = activate_rows,
    .activate_back = activate_rows_back,
    .all_finite = all_finite_array,
    .norm = norm_array,
    .scale = scale_array,
    .clip_value = clip_value_array,
    .l1 = l1_array,
    .l2 = l2_array,
    .sgd = sgd_array,
    .rmsprop = rmsprop_array,
    .adam = adam_array,
    .softmax_row = softmax_row,
    .sigmoid_span = sigmoid_span,
    .squared_span = squared_span,
    .blas = BLAS_IS_FASTER,
    .block_rows = BLOCK_ROWS,
    .packed_size = packed_size,
    .pack = pack,
    .pack_rows = pack_rows,
    .multiply = multiply,
    .multiply_unpacked = multiply_unpacked,
    .is_narrow = is_narrow,
    .multiply_narrow = multiply_narrow,
    .accumulate_outer = accumulate_outer,
    .add_rows = add_rows,
    .add_products = add_products,
    .elman_forward = elman_step_forward,
    .elman_backward = elman_step_backward,
    .leaky_forward = leaky_step_forward,
    .leaky_backward = leaky_step_backward,
    .lstm_forward = lstm_step_forward,
    .lstm_backward = lstm_step_backward,
    .lstm_variant_forward = lstm_variant_step_forward,
    .lstm_variant_backward = lstm_variant_step_backward,
    .lstm_coupled_forward = lstm_coupled_step_forward,
    .lstm_coupled_backward = lstm_coupled_step_backward,
    .gru_forward = gru_step_forward,
    .gru_backward = gru_step_backward,
    .gru_variant_forward = gru_variant_step_forward,
    .gru_variant_backward = gru_variant_step_backward,
    .gru_before_forward = gru_before_step_forward,
    .gru_before_backward = gru_before_step_backward,
    .small_units = MOST_VECTORS * LANES,
    .elman_steps = elman_steps,
    .lstm_steps = lstm_steps,
    .gru_steps = gru_steps,
    .clip_rows = clip_rows,
    .run_program = run_program,
    .clip_states = clip_states,
};
