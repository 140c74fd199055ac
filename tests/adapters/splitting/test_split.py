"""Which part of a base lies on which GPU; that it then says the same is held on devices (`tests/device`)."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
import torch
import transformers as tf

from adapters.splitting.split import dealt, placed
from tests.evaluators.test_architectures import GROUPED


def test_the_fullest_holds_as_little_as_can_be() -> None:
    draw = random.Random(0)
    for _ in range(30):
        sizes, count = [draw.randint(1, 30) for _ in range(draw.randint(1, 7))], draw.randint(1, 4)
        numbers = dealt(sizes, count)
        assert numbers == sorted(numbers)
        assert max(numbers) < count
        held = max(sum(size for size, at in zip(sizes, numbers, strict=True) if at == number) for number in numbers)
        cuts = [sorted(cut) for many in range(count) for cut in combinations(range(1, len(sizes)), many)]
        ends = [zip([0, *cut], [*cut, len(sizes)], strict=True) for cut in cuts]
        assert held == min(max(sum(sizes[begin:end]) for begin, end in one) for one in ends)


@pytest.mark.parametrize(("tied", "head"), [(False, 2), (True, 0)])
def test_layers_stay_whole_and_what_is_tied_lies_together(tied: bool, head: int) -> None:
    config = tf.LlamaConfig(**{**GROUPED, "num_hidden_layers": 6}, vocab_size=320, tie_word_embeddings=tied)
    with torch.device("meta"):
        shell = tf.LlamaForCausalLM(config)
    devices = [torch.device("cuda", number) for number in range(3)]
    found = placed(shell, devices)
    layers = [found[f"model.layers.{number}"].index for number in range(6)]
    assert layers == sorted(layers)
    assert {*layers} == {0, 1, 2}
    assert found["model.embed_tokens"] == found["model.rotary_emb"] == devices[0]
    assert found["lm_head"] == devices[head]
    shell._no_split_modules = None
    with pytest.raises(ValueError, match="stay together"):
        placed(shell, devices)
