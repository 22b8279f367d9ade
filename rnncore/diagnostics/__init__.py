"""Where the gradient goes: how far it reaches, why it stops, and what to change."""

from .contributions import Contributions, LayerContributions, weight_contributions
from .fixed_points import FixedPoints, fixed_points
from .flow import GradientFlow, LayerFlow, gradient_flow
from .health import Health, LayerHealth, cell_health
from .jacobians import Spectrum, jacobian, jacobian_spectrum
from .lyapunov import Lyapunov, lyapunov_exponents
from .monitor import GradientMonitor, GradientWarning
from .verdict import RULES, Finding, Report, Rule, diagnose

__all__ = [
    "RULES",
    "Contributions",
    "Finding",
    "FixedPoints",
    "GradientFlow",
    "GradientMonitor",
    "GradientWarning",
    "Health",
    "LayerContributions",
    "LayerFlow",
    "LayerHealth",
    "Lyapunov",
    "Report",
    "Rule",
    "Spectrum",
    "cell_health",
    "diagnose",
    "fixed_points",
    "gradient_flow",
    "jacobian",
    "jacobian_spectrum",
    "lyapunov_exponents",
    "weight_contributions",
]
