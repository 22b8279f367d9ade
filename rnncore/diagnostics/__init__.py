"""Where the gradient goes: how far it reaches, why it stops, and what to change."""

from .contributions import Contributions, LayerContributions, weight_contributions
from .fixed_points import FixedPoints, fixed_points
from .flow import GradientFlow, LayerFlow, gradient_flow
from .jacobians import Spectrum, jacobian, jacobian_spectrum
from .lyapunov import Lyapunov, lyapunov_exponents

__all__ = [
    "Contributions",
    "FixedPoints",
    "GradientFlow",
    "LayerContributions",
    "LayerFlow",
    "Lyapunov",
    "Spectrum",
    "fixed_points",
    "gradient_flow",
    "jacobian",
    "jacobian_spectrum",
    "lyapunov_exponents",
    "weight_contributions",
]
