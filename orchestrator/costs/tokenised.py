"""What a model's tokenizer makes of a study's languages: how many tokens a character takes, and which two share.

Counted on texts of the study's own that are known to be in a language, of each as many characters, spread over all.
What guesses where there is no tokenizer.json says nothing of tokens, and is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

from orchestrator.costs.tokens import TokenCounter, counter_of
from orchestrator.planning.seen import of_languages
from orchestrator.planning.survey import Survey
from study.models.resolve import Model
from study.store.seen import SeenTokens

CHARACTERS = 20_000  # of a language
TEXTS = 200


def tokenised(models: Sequence[Model], found: Survey) -> dict[str, SeenTokens]:
    """By model; nothing of a study of one language."""
    cells = {cell for source in found.examples for cell in source.cells} | found.target_texts.keys()
    if len({cell.language for cell in cells}) < 2:
        return {}
    texts = {name: some_of(own) for name, own in sorted(of_languages(found).items())}
    counters = ((model.name, counter_of(model)) for model in models) if len(texts) > 1 else ()
    return {name: of_languages_by(counter, texts) for name, counter in counters if counter.exact}


def some_of(texts: Sequence[str]) -> list[str]:
    """At most so many texts, spread over all, each cut so that together they have no more than so many characters."""
    some = texts[:: -(-len(texts) // TEXTS)]
    return [text[: CHARACTERS // len(some)] for text in some]


def of_languages_by(counter: TokenCounter, texts: Mapping[str, Sequence[str]]) -> SeenTokens:
    """Of each language tokens per character; of each two the share of tokens that they have in common.

    That is Σ min(p, q) over the tokens of the vocabulary, of which p and q are the shares in either's texts.
    """
    read = {name: counter.tokens(some, False) for name, some in texts.items()}
    counts = {name: Counter(token for tokens in some for token in tokens) for name, some in read.items()}
    size = {name: count.total() for name, count in counts.items()}
    counts = {name: count for name, count in counts.items() if size[name]}
    overlap: dict[str, dict[str, float]] = {name: {} for name in counts}
    for a, b in combinations_with_replacement(counts, 2):
        both = (min(n / size[a], counts[b][token] / size[b]) for token, n in counts[a].items())
        overlap[a][b] = overlap[b][a] = sum(both)
    return SeenTokens({name: size[name] / sum(map(len, texts[name])) for name in counts}, overlap)
