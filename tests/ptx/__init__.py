"""An executor of PTX: what the compiler made, run on the CPU with every access checked.

`parse` reads the text, `translate` makes LLVM IR of it, `machine` compiles that and runs a grid.
It stands in for a GPU up to the last step: what ptxas makes of the text is for the SASS gates.
No race detector, no shuffles, no textures; an instruction that it does not know is an error.
"""

from ptx.machine import Fault, Grid, Kernel, Report

__all__ = ["Fault", "Grid", "Kernel", "Report"]
