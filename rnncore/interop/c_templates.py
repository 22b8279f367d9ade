"""What every exported file has beside its layers and functions."""

HEAD = """\
/* ${title}
 *
 * Written by rnncore ${version}. C99; link with libm. Elsewhere, C or C++, declare what is in here by
 *
 *     #define ${NAME}_DECLARATIONS
 *     #include "${file}"
 *
 * ${name}_reset sets all states to zero: call it before the first step. A state holds what one sequence has
 * left behind; steps on different states may run at the same time.
 *
 * Compile with -O2 or -O3 for the processor at hand (-march=native); GCC before version 12 needs -O3. All
 * loops vectorise without -ffast-math. States are fastest at addresses that are multiples of 64.
 *
 * Bytes: ${weights} of weights, ${state} of state, ${stack} of stack; nothing is allocated. A step takes
 * ${multiply_adds} multiply-adds and ${others} other operations; none depends on a branch on numbers.
 *
 * sigmoid and tanh have relative errors below ${accuracy}; below -${end} sigmoid stays at its value there.
 * Inputs, states and what a layer hands on count as 0 where they are smaller than ${tiny_in_words}, so that
 * no denormal numbers, which many processors handle slowly, arise from them.
 */
#ifndef ${NAME}_DECLARED
#define ${NAME}_DECLARED

#include <stddef.h>

#define ${NAME}_INPUTS ${inputs} /* ${inputs_are} */
#define ${NAME}_OUTPUTS ${outputs}
${weights_size}
#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
${fields}
} ${name}_state;
${weights_type}
void ${name}_reset(${name}_state *state);

/* ${contract} */
${step};

/* n steps: x is n times ${NAME}_INPUTS numbers, y n times ${NAME}_OUTPUTS. */
${run};

#ifdef __cplusplus
}
#endif

#endif
#ifndef ${NAME}_DECLARATIONS

#include <math.h>
#include <stdint.h>
#include <string.h>

"""
WEIGHTS_TYPE = """
typedef struct ${name}_weights ${name}_weights;

/* The weights in a block of memory, or NULL if its size, header or checksum is not right for this network.
 * Nothing is copied. The block must start at a multiple of ${itemsize} bytes; a multiple of 64 is fastest. */
const ${name}_weights *${name}_load(const void *block, size_t size);
"""
LOAD = """
typedef char ${name}_weights_have_their_size[sizeof(${name}_weights) == ${NAME}_WEIGHTS_SIZE ? 1 : -1];

const ${name}_weights *${name}_load(const void *block, size_t size)
{
    const unsigned char *bytes = block;
    uint32_t head[8], word;
    uint64_t sum = 0, sums = 0;
    if (size != ${NAME}_WEIGHTS_SIZE || (uintptr_t)block % ${itemsize} != 0)
        return NULL;
    memcpy(head, bytes, sizeof head);
    if (memcmp(bytes, "rnncore", 8) != 0 || head[2] != 0x01020304u || head[3] != ${itemsize}u)
        return NULL;
    if (head[4] != ${layout_low}u || head[5] != ${layout_high}u)
        return NULL;
    for (size_t at = ${header}; at < ${NAME}_WEIGHTS_SIZE; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        sum += word;
        sums += sum;
    }
    return sums == ((uint64_t)head[7] << 32 | head[6]) ? block : NULL;
}
"""
RESET = """
void ${name}_reset(${name}_state *state)
{
    memset(state, 0, sizeof *state);
}
"""
STEP = """
${step}
{
    ${name}_once(state, ${given}x, y);
}

${run}
{
    for (size_t t = 0; t < n; t++)
        ${name}_once(state, ${given}x + ${NAME}_INPUTS * t, y + ${NAME}_OUTPUTS * t);
}
"""
STEP_OF_IDS = """
${step}
{
    return ${name}_run(state, ${given}1, &x, y);
}

${run}
{
    for (size_t t = 0; t < n; t++)
        if (x[t] < 0 || x[t] >= ${NAME}_INPUTS)
            return -1;
    for (size_t t = 0; t < n; t++)
        ${name}_once(state, ${given}x[t], y + ${NAME}_OUTPUTS * t);
    return 0;
}
"""
