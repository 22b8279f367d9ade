#include "../table.h"
#if RNNCORE_X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LEVEL "avx2"
#define VECTOR_BYTES 32
#define VECTOR_REGISTERS 16
#define REAL float
#define REAL_IS_DOUBLE 0
#define TABLE rnncore_avx2_float
#include "../level.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
