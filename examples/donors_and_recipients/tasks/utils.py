"""lm-eval's own reading of the okapi data sets, for the languages that it has no task for."""

from lm_eval.tasks.okapi.arc_multilingual.utils import process_docs as process_arc
from lm_eval.tasks.okapi.hellaswag_multilingual.utils import process_docs as process_hellaswag
from lm_eval.tasks.okapi.truthfulqa_multilingual.utils import process_docs as process_truthfulqa

__all__ = ["process_arc", "process_hellaswag", "process_truthfulqa"]
