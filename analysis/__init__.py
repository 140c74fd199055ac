"""From Parquet to tables, figures, report and advice.

Idea: every statistic is a pure function from a frame to a frame, in one module per idea, which also states the tables
it makes (`frames.Table`); reading the store and writing files happen at the two ends (`reading`, `page.files`). Imports
nothing of ours but `study`, and of that neither data nor models.
"""
