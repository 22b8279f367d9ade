"""Compiled kernels: arrays in, arrays out; they know no model and check nothing."""
