"""bitsandbytes looks as if it were not installed, until a process asks for it."""

import sys

from peft.import_utils import is_bnb_4bit_available, is_bnb_available
from transformers.utils import is_bitsandbytes_available

from adapters.quantising import bitsandbytes
from adapters.quantising.bitsandbytes import NAME

LOOKS = (is_bnb_available, is_bnb_4bit_available, is_bitsandbytes_available)


def test_libraries_that_looked_in_vain_look_again() -> None:
    before = sys.modules.pop(NAME, None)  # of a test that has asked for it in this process
    for look in LOOKS:
        look.cache_clear()
    bitsandbytes.hide()
    hidden = [look() for look in LOOKS]
    bitsandbytes.show()
    if before is not None:
        sys.modules[NAME] = before
    assert hidden == [False] * len(LOOKS)
    assert all(look() for look in LOOKS)
    bitsandbytes.hide()
    assert sys.modules[NAME] is not None, "what is imported stays so"
