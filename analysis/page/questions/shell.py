"""The page of the questions behind a report's numbers: what it says without its data, and the script that fills it."""

from __future__ import annotations

from analysis.page import html
from analysis.page.assets import CSS
from analysis.page.questions.data import MOST as MOST_QUESTIONS
from analysis.page.questions.flips import MOST
from analysis.page.questions.script import SCRIPT
from analysis.page.recipes import page_of
from analysis.reading.study import Study

TITLE = "Questions gained and lost"
OWN_CSS = """
form { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 10px 16px; margin: 14px 0; }
form label { display: grid; gap: 3px; font-size: .92rem; font-weight: 600; }
select, input { font: inherit; padding: 5px 6px; width: 100%; min-width: 0; color: var(--ink); background: var(--paper);
  border: 1px solid var(--edge); border-radius: 4px; }
article { border-top: 1px solid var(--line); padding: 8px 0 14px; }
article h2 { border: 0; margin: 6px 0; padding: 0; font-size: 1.05rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0 10px; padding: 8px 12px; max-height: 300px;
  overflow: auto; background: var(--wash); border-radius: 4px;
  font: .9rem/1.5 ui-monospace, "Liberation Mono", Menlo, monospace; }
article td, article th { white-space: normal; overflow-wrap: anywhere; }
article td:first-child { min-width: 9em; }
.mark { font-weight: 600; white-space: nowrap; }
button.more { font: inherit; padding: 8px 16px; }
@media print { pre { max-height: none; } form { display: none; } }
"""


def shell(study: Study, targets: str) -> str:
    """The document; `targets` is a JSON list of what there is, safe inside a script."""
    back = page_of(list(study.across.studies), str(study.recipe)) if study.across else "index.html"
    of = f" ({study.recipe})" if study.across else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<title>{TITLE}: {html.text(study.name)}</title><style>{CSS}{OWN_CSS}</style></head><body>
<header><h1>{TITLE}: {html.text(study.name)}{html.text(of)}</h1>
<p class="soft"><a href="{html.text(back)}">Back to the report</a></p>
<p>A question is <em>gained</em> where the adapters of a source answer it better than the untouched model, in the mean
over their seeds, and <em>lost</em> where they answer it worse.</p>
<details><summary>What is kept here, and what the shares are</summary><p>Of each cell at most {MOST} questions of either
kind are kept, those that changed most first, then those that most sources changed likewise; of a target at most
{MOST_QUESTIONS:,}, those that most cells have. Counts are of all. An option’s share is of the probability that the
model gives to the options; where accuracy is by length, the choice is, too, and need not be the most probable. Of
long prompts the end is shown.</p></details></header>
<main><form><label>Target <select id="target"></select></label><label>Model <select id="model"></select></label>
<label>Trained on <select id="source"></select></label>
<label>Show <select id="side"><option value="both">gained and lost</option><option value="lost">lost</option>
<option value="gained">gained</option></select></label>
<label>Changed by so many sources <input id="least" type="number" min="0" value="0" inputmode="numeric"></label>
<label>With the words <input id="words" type="search"></label></form>
<p id="status" role="status"></p><noscript><p class="absent">This page needs JavaScript.</p></noscript>
<div id="list"></div><button class="more" id="more" type="button" hidden>Show more</button></main>
<footer><p>Everything on this page works without a network; its data lie beside it.</p></footer>
<script>const TARGETS = {targets};{SCRIPT}</script></body></html>
"""
