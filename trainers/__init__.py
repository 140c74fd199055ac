"""From a source's examples to adapters, on a DeepSpeed engine. Knows nothing of Ray.

This file stays empty of imports, so that settings can be checked without torch.
"""
