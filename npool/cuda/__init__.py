"""The CUDA engine: the same plans and reducers as on the CPU, for arrays in a GPU's memory.

Nothing here is imported before an array on a device arrives. It has not run on a GPU yet; what
is known of it, and how, is in the documentation ('How the GPU kernels are proven').
"""
