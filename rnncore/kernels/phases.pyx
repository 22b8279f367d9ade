"""A cell's step as the kernels run it: products and element-wise programs, taking turns.

Built once from a ``KernelForm`` of rnncore.cells, whose lists become the structures of phases.pxd.
"""

from libc.stdlib cimport calloc, free

from .dispatch cimport Block, Kernels, Operation, kernels

cdef extern from "program.h":
    int MOST_REGISTERS "MAX_REGISTERS"
    int MOST_MEANS "MAX_MEANS"
    int OP_LOAD, OP_LOAD_ONE, OP_STORE, OP_ADD_STORE, OP_STORE_ONE, OP_CONSTANT, OP_MEAN, OP_TAKE_MEAN
    int OP_ADD, OP_SUBTRACT, OP_MULTIPLY, OP_DIVIDE, OP_NEGATE, OP_MULTIPLY_ADD, OP_MULTIPLY_SUBTRACT
    int OP_SUBTRACT_PRODUCT, OP_ADD_CONSTANT, OP_MULTIPLY_CONSTANT, OP_CONSTANT_MINUS, OP_CONSTANT_OVER
    int OP_SIGMOID_BACK, OP_TANH_BACK, OP_MAXIMUM, OP_MINIMUM, OP_LESS, OP_WHERE, OP_SIGMOID, OP_TANH
    int OP_RELU, OP_EXP, OP_LOG, OP_LOG1P, OP_SQRT, OP_ABS, OP_SIN, OP_COS, OP_ERF

MAX_REGISTERS, MAX_MEANS = MOST_REGISTERS, MOST_MEANS

#: the operations of program.h by name
OPERATIONS = {
    "load": OP_LOAD, "load_one": OP_LOAD_ONE, "store": OP_STORE, "add_store": OP_ADD_STORE,
    "store_one": OP_STORE_ONE, "constant": OP_CONSTANT, "mean": OP_MEAN, "take_mean": OP_TAKE_MEAN,
    "add": OP_ADD, "subtract": OP_SUBTRACT, "multiply": OP_MULTIPLY, "divide": OP_DIVIDE,
    "negate": OP_NEGATE, "multiply_add": OP_MULTIPLY_ADD, "multiply_subtract": OP_MULTIPLY_SUBTRACT,
    "subtract_product": OP_SUBTRACT_PRODUCT, "add_constant": OP_ADD_CONSTANT,
    "multiply_constant": OP_MULTIPLY_CONSTANT, "constant_minus": OP_CONSTANT_MINUS,
    "constant_over": OP_CONSTANT_OVER, "sigmoid_back": OP_SIGMOID_BACK, "tanh_back": OP_TANH_BACK,
    "maximum": OP_MAXIMUM, "minimum": OP_MINIMUM, "less": OP_LESS, "where": OP_WHERE,
    "sigmoid": OP_SIGMOID, "tanh": OP_TANH, "relu": OP_RELU, "exp": OP_EXP, "log": OP_LOG,
    "log1p": OP_LOG1P, "sqrt": OP_SQRT, "abs": OP_ABS, "sin": OP_SIN, "cos": OP_COS, "erf": OP_ERF,
}

cdef dict KINDS = {
    "timed": TIMED, "fixed": FIXED, "vector": VECTOR, "sums": SUMS, "step_rows": STEP_ROWS,
    "one_row": ONE_ROW,
}


cdef class Memory:
    """What a program's structures lie in, freed with it."""

    cdef list blocks

    def __cinit__(self):
        self.blocks = []

    cdef void *take(self, Py_ssize_t count, size_t size) except NULL:
        cdef void *block = calloc(max(count, 1), size)
        if block == NULL:
            raise MemoryError(f"cannot allocate {count} times {size} bytes")
        self.blocks.append(<size_t>block)
        return block

    def __dealloc__(self):
        for block in self.blocks:
            free(<void *><size_t>block)


cdef int take_roles(StepProgram p, Memory memory, form) except -1:
    p.n_roles, p.n_matrices, p.n_clipped = len(form.roles), len(form.matrices), len(form.clipped)
    p.roles = <Role *>memory.take(p.n_roles, sizeof(Role))
    for i, role in enumerate(form.roles):
        p.roles[i] = Role(KINDS[role.kind], role.row, role.offset, role.modulus)
    p.matrices = <Matrix *>memory.take(p.n_matrices, sizeof(Matrix))
    for i, (K, N, turned) in enumerate(form.matrices):
        p.matrices[i] = Matrix(K, N, turned)
    p.clipped = <int *>memory.take(p.n_clipped, sizeof(int))
    for i, place in enumerate(form.clipped):
        p.clipped[i] = place
    return 0


cdef int take_products(StepProgram p, Memory memory, form) except -1:
    p.n_products = sum(len(phase.products) for phase in form.phases)
    p.products = <StepProduct *>memory.take(p.n_products, sizeof(StepProduct))
    products = [product for phase in form.phases for product in phase.products]
    for i, q in enumerate(products):
        p.products[i] = StepProduct(
            q.array, q.column, q.matrix, q.out, q.out_column, q.add, -1 if q.bias is None else q.bias
        )
    return 0


cdef int take_gradients(StepProgram p, Memory memory, form) except -1:
    p.n_outers, p.n_totals, p.n_sources = len(form.outers), len(form.totals), len(form.sources)
    p.outers = <Outer *>memory.take(p.n_outers, sizeof(Outer))
    p.totals = <Total *>memory.take(p.n_totals, sizeof(Total))
    p.sources = <Source *>memory.take(p.n_sources, sizeof(Source))
    for i, (column, N, source) in enumerate(form.outers):
        p.outers[i] = Outer(column, N, source)
    for i, (column, N) in enumerate(form.totals):
        p.totals[i] = Total(column, N)
    for i, (role, column, K) in enumerate(form.sources):
        p.sources[i] = Source(role, column, K)
    return 0


cdef int take_programs(StepProgram p, Memory memory, form) except -1:
    cdef Operation *operations
    cdef Block *blocks
    cdef int first = 0
    p.n_phases = len(form.phases)
    p.phases = <Phase *>memory.take(p.n_phases, sizeof(Phase))
    for i, phase in enumerate(form.phases):
        operations = <Operation *>memory.take(len(phase.operations), sizeof(Operation))
        for k, o in enumerate(phase.operations):
            operations[k] = Operation(OPERATIONS[o.op], o.to, o.a, o.b, o.c, o.array, o.column, o.constant)
        blocks = <Block *>memory.take(len(phase.blocks), sizeof(Block))
        for k, b in enumerate(phase.blocks):
            blocks[k] = Block(b.width, b.first, b.last, b.first_mean, b.last_mean)
        p.phases[i].first_product, first = first, first + <int>len(phase.products)
        p.phases[i].last_product = first
        p.phases[i].program.operations, p.phases[i].program.blocks = operations, blocks
        p.phases[i].program.n_blocks = len(phase.blocks)
    return 0


cdef class StepProgram:
    """The compiled form of one direction of a cell's step.

    Where an array of a step lies, by its role's kind: *timed*, a row of the batch at step t + offset, modulo
    ``modulus`` where that is not 0; *fixed*, (B, row), the same at every step; *vector*, one row for all;
    *sums*, a row for each active row of a chunk of steps; *step_rows*, the same of one step; *one_row*, room
    for a single row.
    """

    def __cinit__(self, form):
        cdef Memory memory = Memory()
        self.memory = memory
        if len(form.roles) > MAX_ROLES or len(form.matrices) > MAX_MATRICES:
            raise ValueError(
                f"the cell needs {len(form.roles)} arrays and {len(form.matrices)} matrices a step; the "
                "kernels "
                f"take {MAX_ROLES} and {MAX_MATRICES} at most, so write the cell with fewer linear maps"
            )
        self.width, self.projected, self.flops = form.width, form.projected, form.flops
        self.projected_add, self.n_biases = form.projected_add, form.biases
        take_roles(self, memory, form)
        take_products(self, memory, form)
        take_gradients(self, memory, form)
        take_programs(self, memory, form)

    def adopt(self, library, list addresses, bint is_double):
        """Run these functions, one for each phase, 0 for a phase without a program, in place of the
        interpreter, as long as the kernels in force are those of now. ``library`` is kept as long as they are
        needed."""
        cdef const Kernels *made_for = kernels(is_double)
        if len(addresses) != self.n_phases:
            raise RuntimeError(f"expected {self.n_phases} functions, got {len(addresses)}")
        self.library = library
        for phase, address in enumerate(addresses):
            self.phases[phase].made_for = NULL
            if address:
                self.phases[phase].run = <RunProgram><size_t>address
                self.phases[phase].made_for = made_for
