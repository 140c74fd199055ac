"""Ray's workers as forks of one process that has imported already what they import: most of what a tiny study costs.

stem.py is that process, keeper.py one beside each worker, shoot.py what Ray starts in place of it; graft.py has Ray
start that.
"""
