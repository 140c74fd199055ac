"""Which of a tokenizer's chat templates writes a prompt."""

from __future__ import annotations

import json
from pathlib import Path

from evaluators.items.encoder import encoder_of
from study.config import Scoring
from study.models.chat import template_of
from tests.evaluators.conftest import model_of
from tests.support.tiny_models import make_model

SEVERAL = {"default": "plain", "tools": "{{ mark }}{{ messages[-1].content }}!"}


def test_it_is_the_one_that_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    several = [{"name": name, "template": template} for name, template in SEVERAL.items()]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": several}))
    encoder = encoder_of(model_of(folder))
    for name, expected in (("tools", ">hi!"), (True, "plain")):
        scoring = Scoring(apply_chat_template=name, chat_template_args={"mark": ">"})
        for write in (encoder.chat(scoring), template_of(encoder.tokenizer, scoring)):
            assert write is not None
            assert write([{"role": "user", "content": "hi"}]) == expected
