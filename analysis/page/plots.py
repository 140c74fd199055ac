"""The figures of the report as Altair charts, each drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from analysis.page.charts.style import Spec
from analysis.page.sections import SECTIONS, Section, draw
from analysis.reading.study import Study
from analysis.tables.asked import Asked, Tables
from study.errors import ConfigError
from study.options import closest_first

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.TopLevelMixin


class Plots(Asked["Chart"]):
    """Charts by the names of docs/report_columns.md; of several recipes by `recipe/name`.

    ConfigError for one that cannot be drawn, with the reason.
    """

    def __init__(self, study: Study, tables: Tables) -> None:
        self._tables, across = tables, study.across
        named = across.studies.items() if across else ((None, study),)
        self._studies: dict[str | None, Study] = dict(named)
        self._of: dict[str, tuple[str | None, Section]] = {
            f"{recipe}/{section.name}" if recipe else section.name: (recipe, section)
            for recipe in self._studies
            for section in SECTIONS
            if section.table in tables.about
        }

    def how(self, name: str) -> str:
        """How to read a figure."""
        return self._section(name)[1].how

    def __getitem__(self, name: str) -> Chart:
        import altair as alt

        recipe, section = self._section(name)
        spec = self._drawn(recipe, section)
        if spec is None:
            reason = self._tables.of[recipe][section.table].reason or section.few
            raise ConfigError("plot", name, f"it cannot be drawn: {reason}", "list(plots) names the others")
        # what is made here is as the schema says, and was tested; `from_dict` of Chart itself tries every kind
        for key, kind in (("layer", alt.LayerChart), ("hconcat", alt.HConcatChart), ("facet", alt.FacetChart)):
            if key in spec:
                return kind.from_dict(spec, validate=False)
        return alt.Chart.from_dict(spec, validate=False)

    def _section(self, name: str) -> tuple[str | None, Section]:
        if name not in self._of:
            raise ConfigError("plot", name, "there is no such figure", f"one of {closest_first(name, self._of)}")
        return self._of[name]

    def _drawn(self, recipe: str | None, section: Section) -> Spec | None:
        return draw(section, self._studies[recipe], self._tables.of[recipe], page=False)

    def _names(self) -> Iterable[str]:
        return self._of

    def _has(self, name: str) -> bool:
        return self._drawn(*self._of[name]) is not None
