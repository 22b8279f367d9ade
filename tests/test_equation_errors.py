"""What is wrong with a user's equation is said in its own terms: its line, and what to write instead."""

import math

import numpy as np
import pytest

from rnncore import Network
from rnncore.cells import Cell, CellError, exp, mean, sigmoid, tanh, where

I, H = 2, 3


def cell_of(step, **others):
    """A cell with this step."""
    return type("Own", (Cell,), {"step": step, **others})(I, H)


def refusal(step, **others):
    """What tracing the step is refused with."""
    with pytest.raises(CellError) as error:
        cell_of(step, **others).parameter_shapes()
    assert isinstance(error.value, ValueError)
    return str(error.value)


def numpy_function(self, x, h):
    a = self.linear("a", x, h)
    return np.tanh(a)  # wrong


def numpy_function_of_two(self, x, h):
    return np.maximum(self.linear("a", x, h), 0)  # wrong


def numpy_array_of_a_value(self, x, h):
    return np.asarray(h)  # wrong


def math_function(self, x, h):
    return h * math.exp(h)  # wrong


def choice_by_value(self, x, h):
    a = self.linear("a", x, h)
    if a > 0:  # wrong
        return a
    return 0.1 * a


def loop_by_value(self, x, h):
    while h < 1:  # wrong
        h = h + 1
    return h


def both_by_value(self, x, h):
    a = self.linear("a", x, h)
    return where(a > 0 and a < 1, a, h)  # wrong


def chained_comparison(self, x, h):
    return where(0 < h < 1, h, 0)  # wrong


def larger_by_python(self, x, h):
    return max(self.linear("a", x, h), 0)  # wrong


def equality(self, x, h):
    return where(h == 0, 1, h)  # wrong


def name_twice(self, x, h):
    f = sigmoid(self.linear("f", x, h))
    return f * tanh(self.linear("f", x, f * h))  # wrong


def name_of_a_vector_twice(self, x, h):
    a = self.linear("a", x, h)
    return a * self.vector("a")  # wrong


def name_with_a_space(self, x, h):
    return self.linear("my gate", x, h)  # wrong


def name_left_out(self, x, h):
    return self.linear(x, h)  # wrong


def number_as_operand(self, x, h):
    return self.linear("a", x, 0.5)  # wrong


def list_as_operand(self, x, h):
    return self.linear("a", [x, h])  # wrong


def mean_as_operand(self, x, h):
    return self.linear("a", x, mean(h))  # wrong


def no_operand(self, x, h):
    return h + self.linear("a")  # wrong


def operand_twice(self, x, h):
    return self.linear("a", x, h, h)  # wrong


def size_of_nothing(self, x, h):
    return self.linear("a", x, h, size=0)  # wrong


def symbolic_exponent(self, x, h):
    return h**x  # wrong


def symbolic_exponent_of_a_number(self, x, h):
    return 2**h  # wrong


def matrix_by_hand(self, x, h):
    return h @ np.eye(H)  # wrong


def matrix_by_hand_in_front(self, x, h):
    return np.eye(H) @ h  # wrong


def array_as_number(self, x, h):
    return h * np.ones(H)  # wrong


def array_as_number_in_front(self, x, h):
    return np.ones(H) * h  # wrong


def text_as_number(self, x, h):
    return h + "1"  # wrong


def differing_sizes(self, x, h):
    return x + h  # wrong


def index(self, x, h):
    return self.linear("a", x, h, size=2 * H)[0]  # wrong


def unpacked(self, x, h):
    f, n = self.linear("a", x, h, size=2 * H)  # wrong
    return f * n


def uneven_split(self, x, h):
    f, n = self.split(self.linear("a", x, h), 2)  # wrong
    return f * n


def split_of_a_gate(self, x, h):
    f, n = self.split(sigmoid(self.linear("a", x, h, size=2 * H)), 2)  # wrong
    return f * n


def where_without_comparison(self, x, h):
    return where(True, h, 0)  # wrong


def function_of_a_number(self, x, h):
    return h * exp(1)  # wrong


def delayed_sum(self, x, h):
    return self.linear("a", x, self.delayed(h + 1, 2))  # wrong


def delayed_by_nothing(self, x, h):
    return self.linear("a", x, self.delayed(h, 0))  # wrong


REFUSED = {
    numpy_function: ["numpy.tanh", "rnncore.cells.tanh"],
    numpy_function_of_two: ["numpy.maximum", "rnncore.cells.maximum"],
    numpy_array_of_a_value: ["no array", "rnncore.cells", "NumPy's"],
    math_function: ["no number", "rnncore.cells", "math"],
    choice_by_value: ["no truth value", "where(condition, a, b)", "option"],
    loop_by_value: ["no truth value", "where(condition, a, b)"],
    both_by_value: ["no truth value", "where(condition, a, b)"],
    chained_comparison: ["no truth value", "where(condition, a, b)"],
    larger_by_python: ["no truth value", "where(condition, a, b)"],
    equality: ["==", "where(a < b"],
    name_twice: ["'f'", "twice"],
    name_of_a_vector_twice: ["'a'", "twice"],
    name_with_a_space: ["'my gate'", "such as 'f'"],
    name_left_out: ["named <symbolic", "such as 'f'"],
    number_as_operand: ["'a'", "symbolic values, such as x and h", "0.5"],
    list_as_operand: ["'a'", "symbolic values, such as x and h"],
    mean_as_operand: ["'a'", "per unit", "one number for all"],
    no_operand: ["'a'", "no operand", "linear(name, x, h)"],
    operand_twice: ["'a'", "same operand twice"],
    size_of_nothing: ["'a'", "size 0", "at least 1"],
    symbolic_exponent: ["exponent", "exp(v * log(base))"],
    symbolic_exponent_of_a_number: ["exponent", "exp(v * log(base))"],
    matrix_by_hand: ["self.linear", "@"],
    matrix_by_hand_in_front: ["self.linear", "@"],
    array_as_number: ["symbolic value or a number", "array"],
    array_as_number_in_front: ["numpy.multiply", "numbers and symbolic values"],
    text_as_number: ["symbolic value or a number", "'1'"],
    differing_sizes: ["add", "2 and 3 units", "self.linear(name, value, size=...)"],
    index: ["indexed", "self.split(value, parts)"],
    unpacked: ["unpacked", "self.split(value, parts)"],
    uneven_split: ["3 units", "2 equal parts"],
    split_of_a_gate: ["linear map", "self.split(self.linear("],
    where_without_comparison: ["where", "u < v", "True"],
    function_of_a_number: ["exp", "symbolic value", "1"],
    delayed_sum: ["self.delayed(h, 3)"],
    delayed_by_nothing: ["whole number of steps", "at least 1", "0"],
}


def assert_says(message, pieces):
    at = 0
    for piece in pieces:
        assert piece in message[at:], f"{piece!r} is missing in: {message}"
        at = message.index(piece, at) + len(piece)


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.__name__)
def test_the_message_says_what_to_write_and_names_the_line(step):
    message = refusal(step)
    sentence, _, place = message.partition("\n")
    assert_says(sentence, REFUSED[step])
    assert_says(place, [step.__qualname__, "line ", "# wrong"])


def two_for_one(self, x, h):
    return self.linear("a", x, h), h  # wrong


def one_for_two(self, x, h, c):
    return self.linear("a", x, h)  # wrong


def nothing_returned(self, x, h):
    self.linear("a", x, h)  # wrong


def text_returned(self, x, h):
    return "h"  # wrong


def wide_returned(self, x, h):
    return self.linear("a", x, h, size=7)  # wrong


def input_returned(self, x, h):
    return x  # wrong


def wide_second(self, x, h, c):
    return self.linear("a", x, h), self.linear("b", x, c, size=7)  # wrong


RETURNED = {
    two_for_one: ["returned 2 values", "1 state", "(h)", "return h"],
    one_for_two: ["returned 1 value", "2 states", "(h, c)", "return h, c"],
    nothing_returned: ["returned None", "h", "symbolic value"],
    text_returned: ["returned a str", "h", "symbolic value"],
    wide_returned: ["returned 7 units", "h", "3", "size=3", "state_sizes"],
    input_returned: ["returned 2 units", "h", "3", "size=3"],
    wide_second: ["returned 7 units", "c", "3", "size=3"],
}


@pytest.mark.parametrize("step", RETURNED, ids=lambda step: step.__name__)
def test_what_a_step_returns_is_checked(step):
    assert_says(refusal(step), [step.__qualname__, *RETURNED[step], "\n", "line ", "# wrong"])


def test_a_network_does_not_hide_the_line():
    with pytest.raises(CellError) as error:
        Network(cell_of(choice_by_value))
    assert_says(str(error.value), ["no truth value", "\n", choice_by_value.__qualname__, "# wrong"])
    with pytest.raises(CellError) as error:
        Network(cell_of(wide_returned))
    assert_says(str(error.value), ["returned 7 units", "\n", wide_returned.__qualname__, "# wrong"])


def test_states_are_named_one_by_one():
    def step(self, x, *states):
        return states

    assert_says(refusal(step), ["(x, *states)", "step(self, x, h)"])


def test_a_step_has_a_state():
    def step(self, x):
        return x

    assert_says(refusal(step), ["(x)", "step(self, x, h)"])


def test_a_cell_has_a_step():
    with pytest.raises(CellError, match=r"Silent has no equation; write its method step\(self, x, h\)"):
        type("Silent", (Cell,), {})(I, H)


def test_parameters_of_one_name_are_refused():
    def step(self, x, h):
        return self.linear("a", x, h) + self.vector("weight_hh")

    assert_says(refusal(step), ["'weight_hh'", "another name"])


def test_values_do_not_outlive_their_trace():
    kept = []

    def step(self, x, h):
        kept.append(h)
        return self.linear("a", x, h) + kept[0]  # wrong

    cell_of(step).parameter_shapes()
    assert_says(refusal(step), ["another trace", "inside of step", "# wrong"])


def test_sizes_of_states_are_counted():
    def step(self, x, h, c):
        return h, c

    assert_says(refusal(step, state_sizes=lambda self: (H,)), ["state_sizes", "1", "2"])


def test_an_error_of_the_users_own_is_left_alone():
    def step(self, x, h):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        cell_of(step).parameter_shapes()
