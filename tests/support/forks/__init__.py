"""Processes as forks of one that has imported already what they import: most of what a tiny study costs.

stem.py is that process, keeper.py one beside each fork; shoot.py is what Ray starts in place of a worker, attend.py in
place of its own processes in Python, and graft.py has Ray start those; module.py stands for a command of Python's.
asking.py is what these three ask a stem with.
"""
