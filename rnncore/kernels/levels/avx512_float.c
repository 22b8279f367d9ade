#include "../table.h"
#if RNNCORE_X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")
#endif
#define LEVEL "avx512"
#define VECTOR_BYTES 64
#define VECTOR_REGISTERS 32
#define REAL float
#define REAL_IS_DOUBLE 0
#define TABLE rnncore_avx512_float
#include "../level.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
