"""Networks out of Keras files, without Keras and without HDF5.

net = load("model.keras")                     # or a whole-model .h5 of Keras 1 or 2
net = load("weights.h5", config="model.json") # architecture and weights in two files
load_weights("model.weights.h5", net)         # weights alone, for a network that is there already
"""

from .loading import load, load_weights

__all__ = ["load", "load_weights"]
