"""The card of a study's results as a data set of the Hub: a config for each Parquet file, what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.publishing.markdown import folded, header, table, text

LOADING = (
    'Load one with `datasets.load_dataset("PATH", "transfer")`, or its file with any reader of Parquet. Δ is 100 × '
    "(score with an adapter − score of the untouched base) on the same items, in percentage points, mean over seeds.\n"
)


def dataset_card(
    study: str,
    lines: Sequence[str],
    files: Mapping[str, tuple[str, int]],
    columns: Mapping[str, object],
    licence: str | None,
) -> str:
    """The card. `lines` are what the report says first, what to distrust before all; `files` and their rows by config.

    `columns` holds for each config a frame of column, type and meaning.
    """
    configs = [
        {"config_name": name, "data_files": file, **({"default": True} if name == "transfer" else {})}
        for name, (file, _) in files.items()
    ]
    tags = ["transfer-study", "evaluation"]
    top = header({"license": licence, "pretty_name": f"Transfer study {study}", "tags": tags, "configs": configs})
    said = "".join(f"- {text(line)}\n" for line in lines)
    about = "\n".join(
        f"### {name}\n\n{file}, {rows:,} rows.\n\n{folded('Columns', table(columns[name]))}"  # type: ignore[arg-type]
        for name, (file, rows) in files.items()
    )
    return f"{top}# Transfer study {text(study)}\n\n{said}\n## Tables\n\n{LOADING}\n{about}"
