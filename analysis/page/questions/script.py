"""The script of the page of questions. It writes text as text: nothing from data becomes markup."""

SCRIPT = """
const PAGE = 40, ALL = "";
const $ = (id) => document.getElementById(id);
let data = null, wanted = null, found = [], shownSoFar = 0;

function element(name, text, more) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  return Object.assign(made, more);
}
function several(count, what) { return count.toLocaleString("en") + " " + what + (count === 1 ? "" : "s"); }
function fill(select, values, words) {
  const before = select.value;
  select.replaceChildren(...values.map((value, at) => element("option", words ? words[at] : value, {value})));
  if (values.includes(before)) select.value = before;
}
function asked() { return Object.fromEntries(new URLSearchParams(location.hash.slice(1))); }
function entry() { return TARGETS.find((one) => one.target === $("target").value); }
function sources() {
  const models = entry().models, mine = models.find((one) => one.model === $("model").value);
  const names = mine.sources.slice().sort();
  fill($("source"), [ALL, ...names], ["all sources: questions that many changed", ...names]);
}
function choose() {
  const hash = asked();
  fill($("target"), TARGETS.map((one) => one.target));
  if (TARGETS.some((one) => one.target === hash.target)) $("target").value = hash.target;
  models(hash);
}
function models(hash) {
  const names = entry().models.map((one) => one.model);
  const having = entry().models.find((one) => one.sources.includes(hash.source));
  fill($("model"), names);
  if (names.includes(hash.model)) $("model").value = hash.model;
  else if (having) $("model").value = having.model;
  sources();
  if (hash.source && [...$("source").options].some((one) => one.value === hash.source)) $("source").value = hash.source;
  load();
}
function remember() {
  const hash = new URLSearchParams({target: $("target").value, model: $("model").value});
  if ($("source").value) hash.set("source", $("source").value);
  history.replaceState(null, "", "#" + hash);
}
function load() {
  remember();
  const file = entry().file;
  if (data && wanted === file) return show();
  data = null;
  wanted = file;
  $("status").textContent = "Reading the questions of " + entry().target + " …";
  $("list").replaceChildren();
  const script = element("script", null, {src: file});
  script.onerror = () => {
    if (wanted === file) $("status").textContent = "The data of this target are not beside this page: " + file;
  };
  document.head.append(script);
  script.onload = () => script.remove();
}
function shown(made) {
  if (made.task + "/" + made.language !== entry().target) return;
  data = made;
  show();
}
function show() {
  const model = data.models.find((one) => one.model === $("model").value), side = $("side").value;
  const cell = model.cells.find((one) => one.source === $("source").value);
  const words = $("words").value.trim().toLowerCase(), least = Number($("least").value) || 0;
  const changes = (q) => (side === "gained" ? 0 : model.lost[q]) + (side === "lost" ? 0 : model.gained[q]);
  let rows = cell ? cell.flips.map((flip) => ({q: flip.q, flip}))
    : data.questions.map((_, q) => ({q})).filter(({q}) => model.base[q] && changes(q) > 0);
  if (cell && side !== "both") rows = rows.filter(({flip}) => side === "gained" ? flip.change > 0 : flip.change < 0);
  else if (!cell) rows.sort((a, b) => changes(b.q) - changes(a.q) || a.q - b.q);
  found = rows.filter(({q}) => changes(q) >= least && (!words || text(model, q).toLowerCase().includes(words)))
    .map((row) => ({...row, model, cell}));
  $("status").textContent = summary(model, cell);
  $("list").replaceChildren();
  shownSoFar = 0;
  more();
}
function text(model, q) {
  const one = data.questions[q];
  return [model.prompts ? model.prompts[q] : one.prompt, ...(one.options || []), one.reference || ""].join("\\n");
}
function summary(model, cell) {
  const of = cell ? cell.source + " on " + entry().target + ", " + model.model + ": " +
    several(cell.gained, "question") + " gained and " + cell.lost.toLocaleString("en") + " lost of " +
    cell.n.toLocaleString("en") + "; " + cell.flips.length.toLocaleString("en") + " of these are kept here."
    : entry().target + ", " + model.model + ": " + several(model.n, "question") + ", " +
      several(model.sources, "source") + "; questions that most sources changed come first.";
  const unknown = data.kept ? "" : " What was asked is not known: prompts were not kept when this target was scored.";
  return of + " " + several(found.length, "question") + " below." + unknown;
}
function more() {
  $("list").append(...found.slice(shownSoFar, shownSoFar + PAGE).map(article));
  shownSoFar = Math.min(shownSoFar + PAGE, found.length);
  $("more").hidden = shownSoFar >= found.length;
}
function article({q, flip, model, cell}) {
  const made = element("article"), one = data.questions[q], base = model.base[q] || {};
  const what = flip ? (flip.change > 0 ? ", gained" : ", lost") : "";
  made.append(element("h2", "Question " + one.id + what));
  made.append(element("p", "Lost by " + several(model.lost[q], "source") + ", gained by " + model.gained[q] + ", of " +
    model.sources + ".", {className: "soft"}));
  const prompt = model.prompts ? model.prompts[q] : one.prompt;
  const label = "Prompt of question " + one.id;
  if (prompt) made.append(element("pre", prompt, {tabIndex: 0, role: "group", ariaLabel: label}));
  const answers = [["base", base], ...(flip ? flip.seeds.map((own, at) => [cell.seeds[at] === null ? "adapter" :
    "seed " + cell.seeds[at], own]) : [])];
  made.append(base.text === undefined ? options(one, answers) : written(one, answers));
  if (!flip) made.append(...changers(q, model));
  return made;
}
function percent(p) { return p === null || p === undefined ? "–" : (p / 10).toFixed(1) + " %"; }
function options(one, answers) {
  const table = element("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const name of ["option", ...answers.map(([name]) => name)]) head.append(element("th", name, {scope: "col"}));
  const count = one.options ? one.options.length : Math.max(0, ...answers.map(([, own]) => (own.p || []).length));
  for (let at = 0; at < count; at++) {
    const row = body.insertRow(), cell = row.insertCell();
    cell.textContent = one.options ? one.options[at] : "option " + (at + 1);
    if (at === one.gold) cell.append(element("span", " (right)", {className: "mark"}));
    for (const [, own] of answers) {
      const where = row.insertCell();
      where.textContent = percent((own.p || [])[at]);
      where.className = "number";
      if (own.choice === at && count > 1) where.append(element("span", " chosen", {className: "mark"}));
    }
  }
  const scroll = element("div", null, {className: "scroll", tabIndex: 0, role: "group",
    ariaLabel: "Options of question " + one.id});
  scroll.append(table);
  return scroll;
}
function written(one, answers) {
  const list = element("dl");
  for (const [name, own] of [["right answer", {text: one.reference ?? "not known"}], ...answers])
    list.append(element("dt", name), element("dd", own.text === undefined ? "not known" : own.text || "(nothing)"));
  return list;
}
function changers(q, model) {
  const made = [];
  for (const [word, sign, trained] of [["Lost", -1, true], ["Gained", 1, true], ["Lost", -1, false],
    ["Gained", 1, false]]) {
    const names = model.cells.filter((cell) => cell.trained === trained &&
      cell.flips.some((flip) => flip.q === q && flip.change * sign > 0)).slice(0, 12);
    if (!names.length) continue;
    const all = names.length === (sign < 0 ? model.lost : model.gained)[q];
    const by = !trained ? ", of what the study did not train, at least by " : all ? " by " : " by, among others, ";
    const line = element("p", word + by, {className: "soft"});
    names.forEach((cell, at) => {
      const hash = new URLSearchParams({target: entry().target, model: model.model, source: cell.source});
      if (at) line.append(", ");
      line.append(element("a", cell.source, {href: "#" + hash}));
    });
    made.push(line);
  }
  return made;
}
$("target").addEventListener("change", () => models({source: $("source").value, model: $("model").value}));
$("model").addEventListener("change", () => { sources(); load(); });
$("source").addEventListener("change", load);
for (const id of ["side", "least", "words"]) $(id).addEventListener("input", () => { if (data) show(); });
$("more").addEventListener("click", more);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", choose);
choose();
"""
