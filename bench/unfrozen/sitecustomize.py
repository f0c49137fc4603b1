"""On the path of a Python, it makes `gc.freeze` do nothing there; see the scenario `freeze`."""

import gc

gc.freeze = lambda: None
