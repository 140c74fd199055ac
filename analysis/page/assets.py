"""Style sheet and script of the report page."""

CSS = """
:root { --ink:#1b1f24; --soft:#59636e; --line:#d9dee3; --wash:#f4f6f8; --blue:#0b4a85; --red:#8c1127; --amber:#fff4d6;
  --paper:#fff; --edge:#767f88; --gold:#e3c46b; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink:#e6e9ec; --soft:#a9b3bd; --line:#39424b; --wash:#1f262d; --blue:#86bdf7; --red:#ff9d96; --amber:#3b3113;
    --paper:#14181d; --edge:#7d8894; --gold:#7a6523; } }
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main, header, footer { max-width: 1060px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 44px 0 6px; padding-top: 10px; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 26px 0 4px; }
p { margin: 6px 0 12px; max-width: 46em; }
.soft { color: var(--soft); font-size: .92rem; }
.banner { background: var(--amber); border: 1px solid var(--gold); border-radius: 6px;
  padding: 10px 14px; margin: 16px 0; }
.lines { padding-left: 1.2em; margin: 8px 0 18px; }
.lines li { margin: 7px 0; max-width: 52em; }
nav { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 14px 0 0; font-size: .92rem; }
a { color: var(--blue); }
.how { color: var(--ink); background: var(--wash); border-left: 3px solid var(--blue); padding: 7px 12px;
  max-width: 52em; font-size: .95rem; margin: 6px 0 12px; }
figure { margin: 10px 0 4px; }
.chart { width: 100%; min-height: 40px; color: #1b1f24; background: #fff; color-scheme: light; }
figcaption { max-width: 52em; margin: 4px 0 10px; }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.scroll .chart { width: max-content; }
.scroll.cut::before { content: "more to the right →"; display: block; position: sticky; left: 0; width: max-content;
  color: var(--soft); font-size: .85rem; }
.vega-bindings { font-size: .95rem; margin: 8px 0; }
.vega-bindings select { font: inherit; color: var(--ink); background: var(--paper);
  border: 1px solid var(--edge); padding: 3px 6px; margin-left: 6px; max-width: 100%; }
.vega-bind { margin: 4px 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { background: var(--wash); font-weight: 600; position: sticky; top: 0; }
td.number, th.number { text-align: right; }
td.down { color: var(--red); }
td.up { color: var(--blue); }
td.wrap { white-space: normal; min-width: 16em; max-width: 42em; overflow-wrap: anywhere; }
button.sort { font: inherit; font-weight: 600; background: none; border: 0; padding: 0; cursor: pointer;
  color: inherit; }
button.sort::after { content: " \\2195"; color: var(--soft); font-weight: 400; }
details { margin: 8px 0 14px; }
summary { cursor: pointer; color: var(--blue); font-size: .93rem; padding: 4px 0; }
.tall { max-height: 420px; overflow: auto; border: 1px solid var(--line); border-radius: 4px; }
.absent { border: 1px dashed var(--edge); border-radius: 6px; padding: 9px 14px; color: var(--soft); max-width: 52em; }
dl { max-width: 52em; } dt { font-weight: 600; margin-top: 8px; } dd { margin: 0 0 4px 0; }
footer { color: var(--soft); font-size: .88rem; margin-top: 50px; padding-bottom: 40px; }
#vg-tooltip-element { font-size: 13px !important; }
@media (max-width: 600px) {
  main, header, footer { padding: 0 14px; } header { padding-top: 16px; }
  h1 { font-size: 1.35rem; } h2 { font-size: 1.15rem; }
  th, td { padding: 4px 5px; } }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
@media print { nav, .choices, button.sort::after { display: none; } h2, h3, .how, summary { break-after: avoid; }
  figure, tr { break-inside: avoid; } thead { display: table-header-group; } th { position: static; }
  .scroll.cut::before { display: none; }
  .scroll, .tall { max-height: none; overflow: visible; } .chart svg { max-width: 100%; height: auto; }
  th, td { white-space: normal; padding: 2px 5px; } table { font-size: .7rem; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""

SCRIPT = """
function apart(holder) {  // of names that would lie upon each other the first stays; the table has all
  const every = [...holder.querySelectorAll("svg text")].filter((one) => one.textContent);
  const isName = (one) => one.closest(".mark-text.role-mark") && one.getAttribute("opacity") !== "0";
  const names = every.filter(isName);
  if (names.length > 400) return;  // a heat map, whose signs stand in their cells
  const boxes = every.filter((one) => !one.closest(".mark-text.role-mark")).map((one) => one.getBoundingClientRect());
  for (const one of names) {
    one.style.visibility = "";
    const box = one.getBoundingClientRect();
    const lies = (other) => box.left < other.right && other.left < box.right && box.top < other.bottom &&
      other.top < box.bottom;
    if (boxes.some(lies)) one.style.visibility = "hidden";
    else boxes.push(box);
  }
}
for (const box of document.querySelectorAll(".scroll")) {
  const look = new ResizeObserver(() => box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1));
  for (const one of [box, ...box.children]) look.observe(one);
}
for (const holder of document.querySelectorAll("[data-spec]")) {
  const spec = JSON.parse(document.getElementById(holder.dataset.spec).textContent);
  const bind = holder.closest("figure").querySelector(".choices");
  vegaEmbed(holder, spec, {actions: false, renderer: "svg", bind}).then(({view}) => {
    holder.querySelector("svg").setAttribute("aria-hidden", "true");  // what is seen is said below it
    holder.setAttribute("role", "img");
    holder.removeAttribute("aria-label");
    holder.removeAttribute("aria-roledescription");
    const again = () => setTimeout(() => apart(holder), 60);
    new ResizeObserver(again).observe(holder);
    bind.addEventListener("input", again);
    if (!holder.dataset.opens) return;
    view.addEventListener("click", (event, item) => {
      const cell = item && item.datum;
      if (!cell || !cell.source_task || !cell.target_task) return;
      const hash = new URLSearchParams({target: cell.target_task + "/" + cell.target_language,
        source: cell.source_task + "/" + cell.source_language, model: cell.model});
      location.href = holder.dataset.opens + "#" + hash;
    });
  }).catch((error) => {
    holder.textContent = "This figure could not be drawn: " + error.message;
    console.error(error);
  });
}
for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = button.closest("table"), column = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a), y = value(b), both = [Number(x), Number(y)];
      if (x === "" || y === "") return x === y ? 0 : x === "" ? 1 : -1;
      const order = both.some(Number.isNaN) ? x.localeCompare(y) : both[0] - both[1];
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  });
}
"""
