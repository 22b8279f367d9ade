/* Element-wise programs: what a cell written as its equations does between two products, row by row.
 *
 * A program is a list of blocks, a block a list of operations on registers. A register holds a strip of a row, up to
 * STRIP vectors of units; a block walks the strips of its width, then takes its means, which later blocks read. Arrays
 * are found through a table, so that one program serves every step, row and thread. */
#ifndef RNNCORE_PROGRAM_H
#define RNNCORE_PROGRAM_H

#include <stddef.h>

enum { MAX_REGISTERS = 64, MAX_MEANS = 32 };

/* How a row of an array is found: one row for all, by the row's place in the batch, by its place among the active. */
enum { BY_NONE, BY_PLACE, BY_COMPACT };

enum {
    OP_LOAD,       /* to = array[row][column + unit] */
    OP_LOAD_ONE,   /* to = array[row][column], the same for all units */
    OP_STORE,      /* array[row][column + unit] = a */
    OP_ADD_STORE,  /* array[row][column + unit] += a */
    OP_STORE_ONE,  /* array[row][column] = a, which is the same for all units */
    OP_CONSTANT,   /* to = constant */
    OP_MEAN,       /* mean number `column` takes in a */
    OP_TAKE_MEAN,  /* to = that mean, complete after the block */
    OP_ADD,        /* to = a + b */
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_NEGATE,
    OP_MULTIPLY_ADD,      /* a b + c */
    OP_MULTIPLY_SUBTRACT, /* a b - c */
    OP_SUBTRACT_PRODUCT,  /* c - a b */
    OP_ADD_CONSTANT,      /* a + constant */
    OP_MULTIPLY_CONSTANT, /* constant a */
    OP_CONSTANT_MINUS,    /* constant - a */
    OP_CONSTANT_OVER,     /* constant / a */
    OP_SIGMOID_BACK,      /* a b (1 - b) */
    OP_TANH_BACK,         /* a (1 - b b) */
    OP_MAXIMUM,
    OP_MINIMUM,
    OP_LESS,    /* 1 where a < b, else 0 */
    OP_WHERE,   /* b where a is not 0, else c */
    OP_SIGMOID, /* of a, as the others below */
    OP_TANH,
    OP_RELU,
    OP_EXP,
    OP_LOG,
    OP_LOG1P,
    OP_SQRT,
    OP_ABS,
    OP_SIN,
    OP_COS,
    OP_ERF
};

typedef struct {
    int op, to, a, b, c;
    int array;
    ptrdiff_t column;
    double constant;
} Operation;

typedef struct {
    ptrdiff_t width;      /* units of its values */
    int first, last;      /* its operations are first ... last - 1 */
    int first_mean, last_mean;
} Block;

typedef struct {
    const Operation *operations;
    const Block *blocks;
    int n_blocks;
} Program;

/* An array as a step sees it. */
typedef struct {
    void *at;       /* row 0 */
    ptrdiff_t row;  /* numbers from row to row */
    int by;         /* BY_... */
} Rows;

#endif
