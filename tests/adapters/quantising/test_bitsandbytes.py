"""bitsandbytes looks as if it were not installed, until a process asks for it."""

import sys

from peft.import_utils import is_bnb_4bit_available, is_bnb_available
from transformers.utils import is_bitsandbytes_available

from adapters.quantising import bitsandbytes


def test_libraries_that_looked_in_vain_look_again() -> None:
    if "bitsandbytes" in sys.modules and sys.modules["bitsandbytes"] is None:  # no test before has asked
        assert not is_bnb_available()
        assert not is_bitsandbytes_available()
    bitsandbytes.show()
    assert is_bnb_available()
    assert is_bnb_4bit_available()
    assert is_bitsandbytes_available()
    bitsandbytes.hide()
    assert sys.modules["bitsandbytes"] is not None
