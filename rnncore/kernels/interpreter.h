/* Runs element-wise programs (program.h) on strips of vectors: one decision an operation serves STRIP of them. */
#ifndef RNNCORE_INTERPRETER_H
#define RNNCORE_INTERPRETER_H

#include <math.h>

#include "flat.h"
#include "program.h"
#include "step.h"

#define STRIP 8 /* vectors in a register: 16 are no faster, 4 are slower */

typedef vec Register[STRIP];

/* Functions that programs call rarely: number by number, by the C library. */
#if REAL_IS_DOUBLE
#define SCALAR(function) function
#else
#define SCALAR(function) function##f
#endif
#define BY_NUMBER(name, function)                \
    static __attribute__((noinline)) vec name(vec x) \
    {                                            \
        for (ptrdiff_t i = 0; i < LANES; i++)    \
            x[i] = SCALAR(function)(x[i]);       \
        return x;                                \
    }
BY_NUMBER(vlog, log)
BY_NUMBER(vlog1p, log1p)
BY_NUMBER(vsin, sin)
BY_NUMBER(vcos, cos)
BY_NUMBER(verf, erf)
#undef BY_NUMBER
#undef SCALAR

INLINE vec vabs(vec x) { return choose(x < 0, -x, x); }

/* Where row i of the active ones begins. */
INLINE real *row_at(const Rows *array, ptrdiff_t i, const ptrdiff_t *rows)
{
    return (real *)array->at + (array->by == BY_NONE ? 0 : array->by == BY_PLACE ? rows[i] : i) * array->row;
}

#define EACH for (ptrdiff_t v = 0; v < vectors; v++)
#define CASE(code, value) \
    case code:            \
        EACH t[v] = value; \
        break;

/* The operations first ... last - 1 on the strip of `left` units from `unit` on of row i. */
static void run_strip(const Operation *first, const Operation *last, ptrdiff_t i, const ptrdiff_t *rows,
                      const Rows *arrays, ptrdiff_t unit, ptrdiff_t left, Register *file, vec *sums, const real *means)
{
    const ptrdiff_t vectors = left >= STRIP * LANES ? STRIP : (left + LANES - 1) / LANES;
    for (const Operation *o = first; o < last; o++) {
        vec *const t = file[o->to];
        const vec *const a = file[o->a], *const b = file[o->b], *const c = file[o->c];
        const real number = (real)o->constant;
        switch (o->op) {
        case OP_LOAD: {
            const real *p = row_at(&arrays[o->array], i, rows) + o->column + unit;
            EACH t[v] = load_first(p + v * LANES, left - v * LANES);
            break;
        }
        case OP_LOAD_ONE: {
            const vec one = splat(row_at(&arrays[o->array], i, rows)[o->column]);
            EACH t[v] = one;
            break;
        }
        case OP_STORE: {
            real *p = row_at(&arrays[o->array], i, rows) + o->column + unit;
            EACH store_first(p + v * LANES, a[v], left - v * LANES);
            break;
        }
        case OP_ADD_STORE: {
            real *p = row_at(&arrays[o->array], i, rows) + o->column + unit;
            EACH store_first(p + v * LANES, load_first(p + v * LANES, left - v * LANES) + a[v], left - v * LANES);
            break;
        }
        case OP_STORE_ONE:
            row_at(&arrays[o->array], i, rows)[o->column] = a[0][0];
            break;
        case OP_MEAN: {
            real kept[LANES];
            EACH if (left - v * LANES >= LANES) sums[o->column] += a[v];
            else {
                store(kept, a[v]);
                sums[o->column] += load_first(kept, left - v * LANES);
            }
            break;
        }
        CASE(OP_TAKE_MEAN, splat(means[o->column]))
        CASE(OP_CONSTANT, splat(number))
        CASE(OP_ADD, a[v] + b[v])
        CASE(OP_SUBTRACT, a[v] - b[v])
        CASE(OP_MULTIPLY, a[v] * b[v])
        CASE(OP_DIVIDE, a[v] / b[v])
        CASE(OP_NEGATE, -a[v])
        CASE(OP_MULTIPLY_ADD, a[v] * b[v] + c[v])
        CASE(OP_MULTIPLY_SUBTRACT, a[v] * b[v] - c[v])
        CASE(OP_SUBTRACT_PRODUCT, c[v] - a[v] * b[v])
        CASE(OP_ADD_CONSTANT, a[v] + number)
        CASE(OP_MULTIPLY_CONSTANT, number * a[v])
        CASE(OP_CONSTANT_MINUS, number - a[v])
        CASE(OP_CONSTANT_OVER, number / a[v])
        CASE(OP_SIGMOID_BACK, a[v] * (b[v] - b[v] * b[v]))
        CASE(OP_TANH_BACK, a[v] - a[v] * (b[v] * b[v]))
        CASE(OP_MAXIMUM, choose(a[v] < b[v], b[v], a[v]))
        CASE(OP_MINIMUM, choose(a[v] > b[v], b[v], a[v]))
        CASE(OP_LESS, choose(a[v] < b[v], splat(1), splat(0)))
        CASE(OP_WHERE, choose(a[v] != 0, b[v], c[v]))
        CASE(OP_SIGMOID, vsigmoid(a[v]))
        CASE(OP_TANH, vtanh(a[v]))
        CASE(OP_RELU, vrelu(a[v]))
        CASE(OP_EXP, vexp(a[v]))
        CASE(OP_LOG, vlog(a[v]))
        CASE(OP_LOG1P, vlog1p(a[v]))
        CASE(OP_SQRT, vsqrt(a[v]))
        CASE(OP_ABS, vabs(a[v]))
        CASE(OP_SIN, vsin(a[v]))
        CASE(OP_COS, vcos(a[v]))
        CASE(OP_ERF, verf(a[v]))
        default:
            break;
        }
    }
}

#undef CASE
#undef EACH

/* The program on n rows. */
static void run_program(const Program *program, ptrdiff_t n, const ptrdiff_t *rows, const Rows *arrays)
{
    Register file[MAX_REGISTERS];
    vec sums[MAX_MEANS];
    real means[MAX_MEANS];
    for (ptrdiff_t i = 0; i < n; i++)
        for (int k = 0; k < program->n_blocks; k++) {
            const Block *block = &program->blocks[k];
            for (int m = block->first_mean; m < block->last_mean; m++)
                sums[m] = (vec){0};
            for (ptrdiff_t unit = 0; unit < block->width; unit += STRIP * LANES)
                run_strip(program->operations + block->first, program->operations + block->last, i, rows, arrays, unit,
                          block->width - unit, file, sums, means);
            for (int m = block->first_mean; m < block->last_mean; m++)
                means[m] = sum_lanes(sums[m]) / (real)block->width;
        }
}

/* Rescale the gradients that each of n rows hands on, all its states together, to the threshold where their norm exceeds
 * it, and count that. */
static void clip_states(ptrdiff_t n, const ptrdiff_t *rows, const Rows *states, int n_states, double threshold,
                        Clipped *clipped)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double square = 0;
        for (int k = 0; k < n_states; k++)
            square += sum_squares(row_at(&states[k], i, rows), 1.0, states[k].row);
        if (!(square > threshold * threshold))
            continue;
        const double factor = threshold / __builtin_sqrt(square);
        for (int k = 0; k < n_states; k++)
            scale_array(row_at(&states[k], i, rows), factor, states[k].row);
        clipped->times++;
        clipped->factors += factor;
    }
}

#endif
