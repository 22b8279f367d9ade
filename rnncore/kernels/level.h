/* One instruction set and one type: everything here is static, and leaves the file through TABLE alone. */
#include "elementwise.h"
#include "flat.h"
#include "losses.h"
#include "table.h"

const Kernels TABLE = {
    .name = LEVEL,
    .lanes = LANES,
    .exp = exp_array,
    .tanh = tanh_array,
    .sigmoid = sigmoid_array,
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
};
