"""bitsandbytes, which only processes with a quantised model import.

PEFT imports it wherever it is installed, which takes seconds and a part of torch that nothing else here needs. So it
looks as if it were not, to PEFT and to transformers, until somebody asks to `show` it.
"""

from __future__ import annotations

import sys

NAME = "bitsandbytes"


def hide() -> None:
    """Let it look as if it were not installed, where it is not imported yet."""
    sys.modules.setdefault(NAME, None)  # type: ignore[arg-type]  # which is how Python marks what cannot be imported


def show() -> None:
    """Let libraries that have looked for it in vain look again."""
    if sys.modules.get(NAME, sys) is not None:
        return
    del sys.modules[NAME]
    from peft import import_utils as of_peft
    from transformers.utils import import_utils as of_transformers

    of_transformers.is_bitsandbytes_available.cache_clear()
    of_peft.is_bnb_available.cache_clear()
    of_peft.is_bnb_4bit_available.cache_clear()
