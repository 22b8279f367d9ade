/* How the processor rounds and whether it flushes denormal numbers, for the time of a kernel.
 *
 * Gradients that vanish become denormal, and the processor adds and multiplies such numbers in microcode, at a hundredth
 * of the speed. So kernels flush: denormal operands and results count as 0. They round to nearest and trap nothing,
 * whatever the caller has set, and the caller's state comes back whole, its record of exceptions included.
 */
#ifndef RNNCORE_FLOAT_STATE_H
#define RNNCORE_FLOAT_STATE_H

#include <stdint.h>

#if defined(__SSE2__)
#include <xmmintrin.h>

typedef struct {
    unsigned mxcsr;
} float_state;

#define MXCSR_FLAGS 0x3fu  /* the exceptions that were seen */
#define MXCSR_PLAIN 0x1f80u /* nearest, every exception masked */
#define MXCSR_FLUSH 0x8040u /* results (bit 15) and operands (bit 6) */

static inline float_state read_float_state(void) { return (float_state){_mm_getcsr()}; }
static inline void write_float_state(float_state state) { _mm_setcsr(state.mxcsr); }

/* What kernels compute with. */
static inline float_state kernel_float_state(int keep_denormals)
{
    return (float_state){keep_denormals ? MXCSR_PLAIN : MXCSR_PLAIN | MXCSR_FLUSH};
}

/* Whether two states compute the same. */
static inline int same_arithmetic(float_state a, float_state b) { return !((a.mxcsr ^ b.mxcsr) & ~MXCSR_FLAGS); }

/* How a state computes in one word, which threads can hand on, and back: without what it has seen. */
static inline uint64_t arithmetic_bits(float_state state) { return state.mxcsr & ~MXCSR_FLAGS; }
static inline float_state arithmetic_of(uint64_t bits) { return (float_state){(unsigned)bits}; }

#elif defined(__aarch64__)

typedef struct {
    uint64_t fpcr;
    uint64_t fpsr;
} float_state;

#define FPCR_FLUSH (UINT64_C(1) << 24) /* operands and results */

static inline float_state read_float_state(void)
{
    float_state state;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(state.fpcr), "=r"(state.fpsr));
    return state;
}

static inline void write_float_state(float_state state)
{
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(state.fpcr), "r"(state.fpsr));
}

static inline float_state kernel_float_state(int keep_denormals)
{
    return (float_state){keep_denormals ? 0 : FPCR_FLUSH, 0};
}

static inline int same_arithmetic(float_state a, float_state b) { return a.fpcr == b.fpcr; }
static inline uint64_t arithmetic_bits(float_state state) { return state.fpcr; }
static inline float_state arithmetic_of(uint64_t bits) { return (float_state){bits, 0}; }

#else /* nothing is known of this processor: it computes as it does */

typedef struct {
    char unknown;
} float_state;

static inline float_state read_float_state(void) { return (float_state){0}; }
static inline void write_float_state(float_state state) { (void)state; }
static inline float_state kernel_float_state(int keep_denormals) { return (void)keep_denormals, (float_state){0}; }
static inline int same_arithmetic(float_state a, float_state b) { return (void)a, (void)b, 1; }
static inline uint64_t arithmetic_bits(float_state state) { return (void)state, 0; }
static inline float_state arithmetic_of(uint64_t bits) { return (void)bits, (float_state){0}; }

#endif

/* Writing takes longer than reading, and there is often nothing to write. */
static inline void compute_with(float_state wanted)
{
    if (!same_arithmetic(read_float_state(), wanted))
        write_float_state(wanted);
}

#endif
