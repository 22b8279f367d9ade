/* One thread's share of one time step: what a cell's functions read and write.
 *
 * Rows of the batch are named by their places, so that rows of any length lie in any order and finished
 * ones cost nothing. Arrays are (B, H) or (B, G*H) of one time step, indexed by a row's place; the
 * *compact* ones have a row for each active row, in the order of `rows`.
 */
#ifndef RNNCORE_STEP_H
#define RNNCORE_STEP_H

#include <stddef.h>

enum { ACTIVATION_TANH, ACTIVATION_SIGMOID, ACTIVATION_RELU, ACTIVATION_IDENTITY };

typedef struct {
    ptrdiff_t n;            /* active rows */
    const ptrdiff_t *rows;  /* (n,) their places in the batch */
    ptrdiff_t units;        /* H */
    ptrdiff_t first_panel;  /* the panels of units that a forward step computes: first_panel ... last_panel - 1 */
    ptrdiff_t last_panel;
    int turned;             /* from the last panel to the first, so that it begins with what the cache still holds */
    ptrdiff_t ahead;        /* numbers from this step's (B, H) states to those of the step that comes next */
    int gate_activation;    /* ACTIVATION_..., of the gates that open and close */
    int activation;         /* ACTIVATION_..., of the candidate state */
    const void *packed;     /* recurrent weights in panels: product.h */
    const void *weight;     /* those weights as they are, (G*H, H), if they are not packed; else NULL */
    void *room;             /* for a panel of them */
    const void *packed_hn;  /* those of n, GRU with the reset before its product */
    void *projected;        /* compact (n, panels): W_ih x + b */
    const void *bias_hn;    /* (H,), GRU */
    const void *weight_ci;  /* (H,) peepholes, LSTM, or NULL */
    const void *weight_cf;
    const void *weight_co;
    const void *leak;       /* (H,), leaky Elman */
    const void *noise;      /* (B, H), leaky Elman, or NULL */
    const void *h_prev;     /* (B, H) states before the step */
    const void *entering;   /* (B, H) what the product takes in place of h_prev, or NULL */
    const void *drop;       /* (B, H) the factors of h_prev in it, or NULL */
    const void *c_prev;
    void *h;                /* (B, H) states after it */
    void *c;
    void *gates;            /* (B, G*H) activations, or NULL where no tape is wanted */
    void *candidates;       /* (B, H), GRU, or NULL */
    const void *dy;         /* (B, H) upstream gradient */
    void *dh;               /* (B, H) gradients carried back, of the state after the step; left behind: the part */
    void *dc;               /* for the state before it that does not go through the product, if the cell has one */
    void *dcells;           /* (B, H), or NULL: where the gradient of c goes, for who wants to look at it */
    void *dgates;           /* compact (n, G*H): of the sums that the input enters */
    void *drecurrent;       /* compact (n, G*H): of the recurrent products; a GRU's differ from dgates */
    void *dleak;            /* compact (n, H): of the leak, or NULL */
} Step;

/* Steps of one row, one after the other: small.h. `step` is the first of them; its projected, h and h_prev go on from
 * there, and c takes what c_prev becomes in the end. */
typedef struct {
    Step step;
    ptrdiff_t steps;
    ptrdiff_t wide;         /* numbers in a projected row */
} Run;

/* What clipping per time step did: how often it acted, and the sum of the factors by which. */
typedef struct {
    ptrdiff_t times;
    double factors;
} Clipped;

#endif
