"""An answer as it is printed."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

WORDS = {  # of what an answer's columns say, where their names do not
    "regime": "MT-ML the source's own cell, MT-CL same task, CT-ML same language, CT-CL neither",
    "delta": "the change that was measured; empty where nothing was",
    "expected": "what to expect of the change, luck allowed for; from low to high in 95 % of cases",
    "better": "that it is better is certain, as far as one in twenty of what is so called may be wrong; so `worse`",
    "can_be_harmed": "false where the base is at chance or at 0: a loss there is luck",
    "harm_elsewhere": "of its other targets that can be harmed (the base is above chance, or above 0), the share to "
    "expect a harm on, %; empty where none can be. A chance: where nothing was harmed its mean over sources was up to "
    "79 % with 20 items a target, 62 % with 100 and 25 % with 400 (in nineteen of twenty simulated studies), that of a "
    "single source also twice as much; `harm_shown` is certain",
    "harm_shown": "of these, the share of which a harm is certain, %: 0 where the noise could have made all of them",
    "over_donor": "Δ beyond the single donor that other items show as the best; beyond the best in truth it is less",
    "mean_elsewhere": "the mean of what to expect on them",
}


@dataclass(frozen=True)
class Advice:
    """A sentence and the table it speaks of, and what else there is to say."""

    sentence: str
    table: pl.DataFrame
    beside: tuple[Advice, ...] = ()

    def told(self) -> dict[str, object]:
        """The same for programs, with every row."""
        rows = self.table.with_columns(pl.col(pl.Float64, pl.Float32).fill_nan(None)).to_dicts()
        return {"sentence": self.sentence, "rows": rows, "beside": [other.told() for other in self.beside]}

    def legend(self) -> str:
        """What its columns mean, a line each."""
        return "\n".join(f"  {name}: {words}" for name, words in WORDS.items() if name in self.table.columns)

    def text(self, most: int) -> str:
        """The sentence and the first `most` rows, as Markdown."""
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=2,
            tbl_width_chars=160, tbl_formatting="MARKDOWN", fmt_str_lengths=60,
        ):  # fmt: skip
            shown = f"{self.sentence}\n{self.table.head(min(most, self.table.height))}"
        rest = self.table.height - most
        shown = f"{shown}\n{rest} more rows; see --top" if rest > 0 else shown
        return "\n\n".join([shown, *(other.text(most) for other in self.beside)])
