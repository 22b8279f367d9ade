"""A layer's attributes: each is read, known to change nothing, or a reason to refuse the file."""

from __future__ import annotations

import reprlib
from typing import Any

# What training, initial values, memory or speed depend on, and no result.
HARMLESS = {
    "name", "trainable", "implementation", "unroll", "seed", "unit_forget_bias", "stateful", "dropout",
    "recurrent_dropout", "batch_input_shape", "input_shape", "input_dim", "input_length", "input_dtype",
    "consume_less", "init", "inner_init", "forget_bias_init", "dropout_W", "dropout_U", "weights",
}  # fmt: skip
HARMLESS_ENDINGS = ("_initializer", "_regularizer", "_constraint")
# The precision of training is free: weights are float32 or float64 in each of these.
POLICIES = ("float32", "float64", "mixed_float16", "mixed_bfloat16")
MISSING = object()


class Attributes:
    """The configuration of one layer, read attribute by attribute.

    Parameters
    ----------
    label
        The layer as messages name it.
    own
        Its ``config``.
    """

    def __init__(self, label: str, own: dict[str, Any]) -> None:
        self.label = label
        self._left = {
            name: value
            for name, value in own.items()
            if name not in HARMLESS and not name.endswith(HARMLESS_ENDINGS)
        }
        self._check_policy(self._left.pop("dtype", None))

    def take(self, *names: str, default: Any = MISSING) -> Any:
        """The value of an attribute that had these names in the versions of Keras.

        ValueError if it is not there and has no default.
        """
        found = [self._left.pop(name) for name in names if name in self._left]
        if not found and default is MISSING:
            raise ValueError(f"{self.label} does not say its {names[0]}")
        return found[0] if found else default

    def expect(self, name: str, *allowed: Any) -> None:
        """Raise ValueError unless the attribute is missing or one of the allowed values."""
        value = self._left.pop(name, MISSING)
        if value is not MISSING and not any(type(value) is type(one) and value == one for one in allowed):
            raise ValueError(f"{self.label} has {name}={reprlib.repr(value)}, which no layer here has")

    def flag(self, name: str, default: bool) -> bool:
        """A truth value."""
        value = self.take(name, default=default)
        if not isinstance(value, (bool, int)):
            raise ValueError(f"{self.label} has {name}={reprlib.repr(value)}, but true or false is expected")
        return bool(value)

    def size(self, *names: str, default: Any = MISSING) -> Any:
        """A whole number above 0, or the default."""
        value = self.take(*names, default=default)
        if value is not default and (type(value) is not int or value < 1):
            raise ValueError(f"{self.label} has {names[0]}={reprlib.repr(value)}, but a size is expected")
        return value

    def close(self) -> None:
        """Raise ValueError that names an attribute which nobody has read."""
        for name, value in self._left.items():
            if value is not None:
                raise ValueError(
                    f"{self.label} has {str(name)[:80]}={reprlib.repr(value)}, which is not understood here"
                )

    def _check_policy(self, policy: Any) -> None:
        if isinstance(policy, dict):
            own = policy.get("config")
            policy = own.get("name") if isinstance(own, dict) else None
        if policy is not None and policy not in (*POLICIES, "int32", "int64"):
            raise ValueError(
                f"{self.label} computes in {reprlib.repr(policy)}, where float32 or float64 is expected"
            )
