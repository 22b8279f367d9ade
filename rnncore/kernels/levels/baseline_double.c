#define LEVEL "baseline"
#define VECTOR_BYTES 16
#define VECTOR_REGISTERS 16
#define BLAS_IS_FASTER 1
#define REAL double
#define REAL_IS_DOUBLE 1
#define TABLE rnncore_baseline_double
#include "../level.h"
