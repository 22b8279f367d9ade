/* One instruction set and one type: everything here is static, and leaves the file through TABLE alone. */
#include "elementwise.h"
#include "table.h"

const Kernels TABLE = {
    .name = LEVEL,
    .lanes = LANES,
    .exp = exp_array,
    .tanh = tanh_array,
    .sigmoid = sigmoid_array,
};
