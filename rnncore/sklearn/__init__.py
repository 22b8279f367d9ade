"""Recurrent networks as scikit-learn estimators: ``pip install rnncore[sklearn]``.

X holds sequences: a 3-D array ``(N, T, F)``, a list of N arrays ``(T_n, F)`` or ``(T_n,)``, whose lengths may
differ, or a 2-D array ``(N, T)``, each row of which is a sequence of T numbers.
"""

try:
    import sklearn  # noqa: F401
    from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        "rnncore.sklearn needs scikit-learn 1.6 or later: pip install rnncore[sklearn]"
    ) from error

from .classifier import RNNClassifier
from .regressor import RNNRegressor

__all__ = ["RNNClassifier", "RNNRegressor"]
