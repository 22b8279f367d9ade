"""Where the gradient goes: how far it reaches, why it stops, and what to change."""

from .flow import GradientFlow, LayerFlow, gradient_flow

__all__ = ["GradientFlow", "LayerFlow", "gradient_flow"]
