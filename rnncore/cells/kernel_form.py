"""The form in which the kernels take a step: arrays by role, products, operations on registers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Role:
    """An array of a step; kinds are those of `rnncore.kernels.phases.StepProgram`."""

    kind: str
    row: int
    offset: int = 0
    modulus: int = 0


@dataclass(slots=True)
class Product:
    """out[:, out_column ...] = array[:, column ...] times a matrix, or += with ``add``, or from a bias on."""

    array: int
    column: int
    matrix: int
    out: int
    out_column: int
    add: bool
    bias: int | None = None


@dataclass(slots=True)
class Instruction:
    """One operation of program.h."""

    op: str
    to: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    array: int = 0
    column: int = 0
    constant: float = 0.0


@dataclass(slots=True)
class BlockOfUnits:
    """Operations first ... last - 1 walk the strips of ``width`` units, and take these means."""

    width: int
    first: int
    last: int
    first_mean: int
    last_mean: int


@dataclass(slots=True)
class Phase:
    """Products, then a program."""

    products: list[Product] = field(default_factory=list)
    operations: list[Instruction] = field(default_factory=list)
    blocks: list[BlockOfUnits] = field(default_factory=list)


@dataclass(slots=True)
class KernelForm:
    """All that a StepProgram is made from."""

    width: int  # of a row of sums
    projected: int  # the first of them, which x enters by matrix 0
    flops: float  # of one row in one step
    names: list[str] = field(default_factory=list)  # of the roles
    roles: list[Role] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    matrices: list[tuple[int, int, bool]] = field(default_factory=list)  # K, N, whether the weight is (K, N)
    biases: int = 0
    projected_add: bool = False
    outers: list[tuple[int, int, int]] = field(default_factory=list)  # column, N, source
    totals: list[tuple[int, int]] = field(default_factory=list)  # column, N
    sources: list[tuple[int, int, int]] = field(default_factory=list)  # role, column, K
    clipped: list[int] = field(default_factory=list)

    def role(self, name: str, kind: str, row: int, offset: int = 0, modulus: int = 0) -> int:
        """The number of a role, which is made when it is first asked for."""
        if name not in self.names:
            self.names.append(name)
            self.roles.append(Role(kind, row, offset, modulus))
        return self.names.index(name)
