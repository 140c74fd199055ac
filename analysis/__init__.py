"""From Parquet to tables, figures, report and advice.

Idea: every statistic is a pure function from a frame to a frame, in one module per idea; reading the store and
writing files happen at the two ends (`load`, `report`). Imports nothing of ours but `study`, and of that neither
data nor models; charting and statistics libraries are imported where they are used.
"""
