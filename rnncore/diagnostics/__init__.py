"""Where the gradient goes: how far it reaches, why it stops, and what to change."""

from .flow import GradientFlow, LayerFlow, gradient_flow
from .jacobians import Spectrum, jacobian, jacobian_spectrum

__all__ = [
    "GradientFlow",
    "LayerFlow",
    "Spectrum",
    "gradient_flow",
    "jacobian",
    "jacobian_spectrum",
]
