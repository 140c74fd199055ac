"""The vocabulary every layer shares: cells, config, identity, tasks, models, store and schemas.

Imports none of the project's other packages. This file stays empty so that `analysis`, which needs only
the store and the schemas, never pays for lm-eval or a tokenizer.
"""
