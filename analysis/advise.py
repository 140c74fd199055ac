"""`python -m analysis.advise STORE`: who helps this target, what will this source harm, what to train next.

Measured cells answer with their mean over models and its interval; cells that were never tried answer with the grid
model's prediction (`predict`) and say so. Beside each source stands what it does elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from study.cells import Cell
from study.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from analysis.reading.study import Study


def answers(transfer: pl.DataFrame, tests: pl.DataFrame | None, predicted: pl.DataFrame | None) -> pl.DataFrame:
    """`source, target, regime, expected, low, high, measured, n_models` for every pair that is known or predicted.

    Interval of a measured pair: mean over models ± 1.96 √(between models/n + mean squared error within/n), the error
    within from the items' bootstrap (`tests`) where it is known, else from seeds; null where neither is.
    """
    import polars as pl

    from analysis.frames import KEYS, SOURCE, TARGET, cell

    rows = transfer.filter(pl.col("delta").is_not_null())
    within = pl.col("delta_se")
    if tests is not None:
        rows = rows.join(tests.select(*KEYS, "low", "high"), on=KEYS, how="left")
        within = pl.coalesce((pl.col("high") - pl.col("low")) / 3.92, within)
    rows = rows.with_columns(within.alias("error"))
    n = pl.len()
    spread = (pl.col("delta").var().fill_null(0.0) + pl.col("error").pow(2).mean()) / n
    table = rows.group_by(*SOURCE, *TARGET, "regime").agg(
        pl.col("delta").mean().alias("expected"), spread.sqrt().alias("sd"), n.cast(pl.Int64).alias("n_models")
    )
    table = table.with_columns(
        (pl.col("expected") - 1.96 * pl.col("sd")).alias("low"),
        (pl.col("expected") + 1.96 * pl.col("sd")).alias("high"),
        pl.lit(True).alias("measured"),
    )
    if predicted is not None:
        unseen = predicted.filter(pl.col("delta").is_null())
        table = pl.concat([table, unseen.with_columns(pl.lit(False).alias("measured"))], how="diagonal_relaxed")
    names = [cell(*SOURCE).alias("source"), cell(*TARGET).alias("target")]
    columns = [*names, "regime", "expected", "low", "high", "measured", "n_models"]
    return table.select(columns).sort("source", "target")


def for_target(known: pl.DataFrame, target: str, max_harm: float | None = None) -> pl.DataFrame:
    """Sources for a target, best first, with `harm_elsewhere` and `mean_elsewhere` beside what is known of the pair.

    harm_elsewhere is the share (%) of the source's other targets with Δ ≤ −1.0 pp; sources above `max_harm` are left
    out.
    """
    import polars as pl

    from analysis.frames import HARM_PP

    here = known.filter(pl.col("target") == target).drop("target", "n_models")
    elsewhere = known.filter(pl.col("target") != target).group_by("source")
    risk = elsewhere.agg(
        ((pl.col("expected") <= HARM_PP).mean() * 100).alias("harm_elsewhere"),
        pl.col("expected").mean().alias("mean_elsewhere"),
    )
    table = here.join(risk, on="source", how="left").sort("expected", "source", descending=[True, False])
    if max_harm is not None:
        table = table.filter(pl.col("harm_elsewhere").fill_null(0.0) <= max_harm)
    return table


def for_source(known: pl.DataFrame, source: str) -> pl.DataFrame:
    """Targets of a source, most harmed first: `target, regime, expected, low, high, measured, n_models`."""
    import polars as pl

    return known.filter(pl.col("source") == source).drop("source").sort("expected", "target")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.advise", description="Advice from a transfer study.")
    parser.add_argument("store", metavar="STORE", help="the study's store, or the reference study's published CSV")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--target", metavar="task/language", help="who helps this target most, and at what risk elsewhere"
    )
    what.add_argument("--source", metavar="task/language", help="what an adapter of this source will harm and help")
    what.add_argument("--budget", metavar="N", type=int, help="which N further source cells to train")
    parser.add_argument("--model", metavar="M", help="one model only (default: the mean over models)")
    parser.add_argument(
        "--max-harm", metavar="PCT", type=float, help="leave out sources that harm more of their targets, %%"
    )
    parser.add_argument("--top", metavar="N", type=int, default=15, help="rows to print (default 15)")
    return parser


def _study(options: argparse.Namespace) -> Study:
    from dataclasses import replace

    import polars as pl

    from analysis.reading.study import load

    study = load(options.store)
    if not study.transfer.height:
        raise ConfigError(
            "STORE", options.store, "no adapter with a source cell has been scored", "run the sweep first"
        )
    if options.model:
        names = study.transfer["model"].unique().sort().to_list()
        if options.model not in names:
            raise ConfigError("--model", options.model, "the study has no such model", f"one of {', '.join(names)}")
        panels = tuple(p for p in study.panels if p.model == options.model)
        study = replace(study, transfer=study.transfer.filter(pl.col("model") == options.model), panels=panels)
    return study


def _cell(option: str, text: str, known: list[str]) -> str:
    try:
        name = str(Cell.parse(text))
    except ValueError as error:
        raise ConfigError(option, text, str(error), "write task/language") from error
    if name not in known:
        raise ConfigError(option, text, "the study knows no such cell", f"one of {', '.join(known)}")
    return name


def advise(study: Study, options: argparse.Namespace) -> tuple[str, pl.DataFrame]:
    """A sentence and the table that answers the question."""
    import polars as pl

    from analysis.frames import TARGET, NotComputable, cell
    from analysis.statistics import predict
    from analysis.statistics.significance import significance

    targets = study.transfer.select(cell(*TARGET).alias("t")).unique().sort("t")["t"].to_list()
    untried = [(c.task, c.language) for c in map(Cell.parse, targets)]
    model = None
    try:
        model = predict.fit_grid(predict.grid(study.transfer, untried))
        if options.budget:
            table = predict.next_sources(model, options.budget)
            return "Train next, in this order (sd of the predicted Δ of what is not measured, pp):", table
    except NotComputable as why:
        if options.budget:
            raise ConfigError("--budget", options.budget, str(why), "score other cells, or none") from why
    tests = significance(study.panels, study.units, draws=2000) if study.panels else None
    known = answers(study.transfer, tests, model.predict() if model else None)
    if options.target:
        target = _cell("--target", options.target, targets)
        table = for_target(known, target, options.max_harm)
        left = known.filter(pl.col("target") == target).height - table.height
        note = f" ({left} sources harm more than {options.max_harm:g} % of other targets)" if left else ""
        return f"Sources for {target}, best expected Δ first, pp{note}:", table
    source = _cell("--source", options.source, sorted(set(known["source"])))
    return f"Targets of {source}, most harmed first, pp:", for_source(known, source)


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on bad input."""
    options = _parser().parse_args(argv)
    try:
        sentence, table = advise(_study(options), options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    import polars as pl

    print(sentence)
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=2,
        tbl_width_chars=160, tbl_formatting="MARKDOWN", fmt_str_lengths=60,
    ):  # fmt: skip
        print(table.head(options.top))
    if table.height > options.top:
        print(f"{table.height - options.top} more rows; see --top")
    return 0


if __name__ == "__main__":
    sys.exit(main())
