"""A GRU trained by SciPy's L-BFGS-B: the sum of a noisy sequence, all sequences at once, no learning rate.

python examples/lbfgs.py
"""

import numpy as np
from scipy.optimize import minimize

from rnncore import GRU, Dense, LastStep, Network, SquaredError
from rnncore.data.batch import Batch


def main() -> tuple[float, float]:
    """Train, and return the loss before and after."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 64, 1))
    batch = Batch(x=x, target=np.tanh(0.5 * x.sum(axis=0)))

    # float64, because a line search compares values that differ in the last digits of float32.
    net = Network(GRU(1, 8), LastStep(), Dense(8, 1), seed=1, dtype="float64")
    objective = net.objective(batch, SquaredError())
    before, _ = objective(net.params.flat)

    result = minimize(objective, net.params.flat, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    net.params.flat[:] = result.x  # the network holds the last point tried, which need not be the best
    print(f"loss {before:.4f} -> {result.fun:.6f} in {result.nfev} evaluations")
    return before, float(result.fun)


if __name__ == "__main__":
    main()
