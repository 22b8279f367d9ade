#define LEVEL "baseline"
#define VECTOR_BYTES 16
#define VECTOR_REGISTERS 16
#define BLAS_IS_FASTER 1
#define REAL float
#define REAL_IS_DOUBLE 0
#define TABLE rnncore_baseline_float
#include "../level.h"
