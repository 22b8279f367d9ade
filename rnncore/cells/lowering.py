"""From expressions to programs: which value is computed in which phase and block, and in which register.

A step's phases are separated by products. Within a phase, values that are made of a mean come in a later
block than what the mean is taken of, and values of different widths in blocks of their own. What a later
phase or block needs, and no array holds, waits in working memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kernels.phases import MAX_MEANS, MAX_REGISTERS
from .derivative import reachable
from .kernel_form import BlockOfUnits, Instruction, KernelForm, Phase
from .values import CellError, Value


@dataclass(frozen=True, slots=True)
class Load:
    """Where an array holds a value from a phase on."""

    role: str
    column: int
    stage: int


@dataclass(slots=True)
class Store:
    """What a step writes: ``kind`` is store, add_store or store_one; ``late`` ones come last of all."""

    role: str
    column: int
    value: Value
    width: int
    kind: str = "store"
    late: bool = False


def stage_of(value: Value, known: dict[int, int]) -> int:
    """The phase in which a value can be computed."""
    for part in reachable([value]):
        if part.order not in known:
            own = part.data.stage if part.op == "load" else 0
            known[part.order] = max([own, *(known[arg.order] for arg in part.args)])
    return known[value.order]


def lower(form: KernelForm, stores: Sequence[Store], phases: int) -> None:
    """Append operations and blocks to the form's phases, which have their products."""
    stages: dict[int, int] = {}
    by_phase: list[list[Store]] = [[] for _ in range(phases)]
    held: dict[int, tuple[Store, int]] = {}  # values that an array holds once they are stored
    for store in stores:
        stage = phases - 1 if store.late else stage_of(store.value, stages)
        by_phase[stage].append(store)
        if store.kind == "store" and not store.late and store.role != "dx" and store.value.op != "load":
            held.setdefault(store.value.order, (store, stage))
    waiting = _Waiting(form, held, by_phase, stages)
    for stage in reversed(range(phases)):
        own = [
            Store(s.role, s.column, waiting.take(s.value, stage), s.width, s.kind, s.late)
            for s in by_phase[stage]
        ]
        if own:
            _Blocks(form, own).emit(form.phases[stage])


class _Waiting:
    """Replaces what an earlier phase computed by a load of where it is."""

    def __init__(
        self,
        form: KernelForm,
        held: dict[int, tuple[Store, int]],
        by_phase: list[list[Store]],
        stages: dict[int, int],
    ) -> None:
        self.form, self.held, self.by_phase, self.stages = form, held, by_phase, stages
        self.made: dict[tuple[int, int], Value] = {}

    def take(self, value: Value, stage: int) -> Value:
        """The value as a phase computes it."""
        key = value.order, stage
        if key not in self.made:
            if not value.args:
                self.made[key] = value
            elif (before := stage_of(value, self.stages)) < stage:
                self.made[key] = self._load(value, before)
            else:
                self.made[key] = value.graph.make(value.op, *(self.take(arg, stage) for arg in value.args))
        return self.made[key]

    def _load(self, value: Value, before: int) -> Value:
        """Where a value of an earlier phase is, from then on."""
        if value.order not in self.held:
            role = self.form.role("waiting", "step_rows", 0)
            column = self.form.roles[role].row
            self.form.roles[role].row += value.width
            kind = "store_one" if value.uniform else "store"
            store = Store("waiting", column, value, value.width, kind)
            self.by_phase[before].append(store)
            self.held[value.order] = store, before
        store, at = self.held[value.order]
        load = Load(store.role, store.column, at)
        return value.graph.leaf("load", load, value.width, value.uniform)


class _Blocks:
    """The blocks of one phase."""

    def __init__(self, form: KernelForm, stores: list[Store]) -> None:
        self.form = form
        self.depths: dict[int, int] = {}
        self.means: dict[int, Value] = {}  # by the order of what is taken
        for value in reachable([store.value for store in stores]):
            below = [self.depths[arg.order] for arg in value.args]
            self.depths[value.order] = max(below, default=0) + (value.op == "mean")
            if value.op == "mean":
                self.means[value.args[0].order] = value
        last = max(self.depths.values(), default=0)
        self.by_block: dict[tuple[int, int], list[Store]] = {}
        for store in stores:
            depth = last if store.late else self.depths[store.value.order]
            width = 1 if store.kind == "store_one" else store.width
            self.by_block.setdefault((depth, width), []).append(store)
        for value in self.means.values():
            arg = value.args[0]
            self.by_block.setdefault((self.depths[arg.order], arg.width), [])
        self.mean_numbers: dict[int, int] = {}
        self.consumers: dict[int, int] = {}
        for value in reachable([store.value for store in stores]):
            for arg in value.args:
                self.consumers[arg.order] = self.consumers.get(arg.order, 0) + 1
        for store in stores:
            self.consumers[store.value.order] = self.consumers.get(store.value.order, 0) + 1
        self.made: dict[tuple[int, int], Value] = {}

    def used_once(self, value: Value) -> bool:
        """Whether one value alone needs this one."""
        return self.consumers.get(value.order, 0) == 1

    def emit(self, phase: Phase) -> None:
        """Append the blocks to a phase."""
        for key in sorted(self.by_block, reverse=True):
            self._hand_down(key)
        for depth, width in sorted(self.by_block):
            first_mean = len(self.mean_numbers)
            taken = [
                value.args[0]
                for value in self.means.values()
                if (self.depths[value.args[0].order], value.args[0].width) == (depth, width)
            ]
            for arg in taken:
                self.mean_numbers[arg.order] = len(self.mean_numbers)
            if len(self.mean_numbers) > MAX_MEANS:
                raise CellError(
                    f"the cell takes more than {MAX_MEANS} means a step, the most that the kernels have"
                )
            first = len(phase.operations)
            _Registers(self, phase, depth, width).run(taken, self.by_block[depth, width])
            phase.blocks.append(
                BlockOfUnits(width, first, len(phase.operations), first_mean, len(self.mean_numbers))
            )

    def _hand_down(self, key: tuple[int, int]) -> None:
        """Have earlier blocks store what this one needs of theirs."""
        depth = key[0]
        roots = [store.value for store in self.by_block[key]]
        roots += [
            v.args[0] for v in self.means.values() if (self.depths[v.args[0].order], v.args[0].width) == key
        ]
        for root in roots:
            self._visit(root, depth)

    def _visit(self, value: Value, depth: int) -> None:
        if (value.order, depth) in self.made or value.op == "mean":
            return
        found = self.made[value.order, depth] = self._from_before(value, depth)
        if found is value:
            for arg in value.args:
                self._visit(arg, depth)

    def _from_before(self, value: Value, depth: int) -> Value:
        if value.op == "mean" or not value.args or value.uniform or self.depths[value.order] >= depth:
            return value
        place = f"row of {value.order}"
        if place not in self.form.names:
            self.form.role(place, "one_row", value.width)
        before = self.by_block.setdefault((self.depths[value.order], value.width), [])
        if not any(store.role == place for store in before):
            before.append(Store(place, 0, value, value.width))
        return value.graph.leaf("load", Load(place, 0, 0), value.width)


_FUSED = {"add": "multiply_add", "subtract": "multiply_subtract"}


class _Registers:
    """Emits one block: each value once, in registers that are free again after its last use."""

    def __init__(self, blocks: _Blocks, phase: Phase, depth: int, width: int) -> None:
        self.blocks, self.phase, self.depth, self.width = blocks, phase, depth, width
        self.uses: dict[int, int] = {}
        self.where: dict[int, int] = {}
        self.free = list(reversed(range(MAX_REGISTERS)))

    def _seen(self, value: Value) -> Value:
        """The value as this block has it: a load, where an earlier block computed it."""
        if value.op in ("load", "mean", "constant"):
            return value
        return self.blocks.made.get((value.order, self.depth), value)

    def _args(self, value: Value) -> tuple[Value, ...]:
        if value.op == "mean":
            return ()  # it is taken from where it was summed up
        return tuple(map(self._seen, value.args))

    def run(self, taken: list[Value], stores: list[Store]) -> None:
        """The operations of means and stores."""
        early = [store for store in stores if not store.late]
        late = [store for store in stores if store.late]
        for value in [*taken, *(store.value for store in stores)]:
            self._count(self._seen(value))
        for value in taken:
            register = self._compute(self._seen(value))
            number = self.blocks.mean_numbers[value.order]
            self._append(Instruction("mean", a=register, column=number))
            self._release(self._seen(value))
        for store in early:
            self._store(store, self._compute(self._seen(store.value)))
        registers = [self._compute(self._seen(store.value)) for store in late]
        for store, register in zip(late, registers, strict=True):
            self._store(store, register)

    def _append(self, instruction: Instruction) -> None:
        self.phase.operations.append(instruction)

    def _store(self, store: Store, register: int) -> None:
        array = self.blocks.form.names.index(store.role)
        self._append(Instruction(store.kind, a=register, array=array, column=store.column))
        self._release(self._seen(store.value))

    def _count(self, value: Value) -> None:
        self.uses[value.order] = self.uses.get(value.order, 0) + 1
        if self.uses[value.order] == 1:
            for arg in self._parts(value)[1]:
                self._count(arg)

    def _release(self, value: Value) -> None:
        self.uses[value.order] -= 1
        if self.uses[value.order] == 0:
            self.free.append(self.where.pop(value.order))

    def _parts(self, value: Value) -> tuple[Instruction, tuple[Value, ...]]:
        """The instruction of a value, and the values in its registers a, b, c."""
        args = self._args(value)
        if value.op == "load":
            array = self.blocks.form.names.index(value.data.role)
            op = "load_one" if value.uniform else "load"
            return Instruction(op, array=array, column=value.data.column), ()
        if value.op == "constant":
            return Instruction("constant", constant=value.data), ()
        if value.op == "mean":
            inner = value.args[0]
            return Instruction("take_mean", column=self.blocks.mean_numbers[inner.order]), ()
        numbers = [arg.constant for arg in args]
        match value.op, numbers:
            case "add", [None, float(c)] | [float(c), None]:
                return Instruction("add_constant", constant=c), tuple(a for a in args if a.constant is None)
            case "subtract", [None, float(c)]:
                return Instruction("add_constant", constant=-c), args[:1]
            case "subtract", [float(c), None]:
                return Instruction("constant_minus", constant=c), args[1:]
            case "multiply", [None, float(c)] | [float(c), None]:
                return Instruction("multiply_constant", constant=c), tuple(
                    a for a in args if a.constant is None
                )
            case "divide", [float(c), None]:
                return Instruction("constant_over", constant=c), args[1:]
        return self._fused(value, args) or (Instruction(value.op), args)

    def _fused(self, value: Value, args: tuple[Value, ...]) -> tuple[Instruction, tuple[Value, ...]] | None:
        """A product and a sum as one operation, where nothing else needs the product."""
        if value.op not in _FUSED:
            return None
        left, right = args
        for product, other, op in ((left, right, _FUSED[value.op]), (right, left, "")):
            plain = product.op == "multiply" and None is product.args[0].constant is product.args[1].constant
            if plain and self.blocks.used_once(product):
                fused = op or ("multiply_add" if value.op == "add" else "subtract_product")
                return Instruction(fused), (*self._args(product), other)
        return None

    def _compute(self, value: Value) -> int:
        """The register of a value."""
        if value.order in self.where:
            return self.where[value.order]
        instruction, parts = self._parts(value)
        registers = [self._compute(part) for part in parts]
        for part in parts:
            self._release(part)
        if not self.free:
            raise CellError(
                f"the equation keeps more than {MAX_REGISTERS} values at once; take it apart by a linear "
                "map or a "
                "state in between"
            )
        instruction.to = self.where[value.order] = self.free.pop()
        for name, register in zip("abc", registers, strict=False):
            setattr(instruction, name, register)
        self._append(instruction)
        return instruction.to
