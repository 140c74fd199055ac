"""Ray's workers as forks of one process that has imported already what they import: most of what a tiny study costs.

stem.py is that process, shoot.py what Ray starts in place of a worker, graft.py has it start that.
"""
