"use strict";

// A link to a claim opens its row.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; target.hidden = false; target.scrollIntoView(); }
}
addEventListener("hashchange", openTarget);
openTarget();

// A row is shown where one of its parts has a chosen verdict, and its study is chosen.
for (const section of document.querySelectorAll(".claims")) {
  const form = section.querySelector(".filters"), rows = [...section.querySelectorAll(".claim")];
  const chosen = (name) => new Set([...form.querySelectorAll(`[name=${name}]:checked`)].map((box) => box.value));
  const filter = () => {
    const verdicts = chosen("verdict"), studies = chosen("study");
    for (const row of rows)
      row.hidden = !studies.has(row.dataset.study) || !row.dataset.verdicts.split("|").some((one) => verdicts.has(one));
    form.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  form.hidden = false;
  form.addEventListener("change", filter);
  filter();
}

// The explorer is unpacked when it comes near the screen.
const explorer = document.getElementById("explorer"), controls = explorer.querySelector(".controls");
const summary = document.getElementById("summary"), table = document.getElementById("victims");
const SHARE = 10000, MOST_ROWS = 200;
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#666666"]; // Okabe and Ito's
let experiments = [], view = null, rows = [];

async function unpacked(id) {
  const letters = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(letters, (one) => one.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function options(select, values, names = values) {
  const before = select.value;
  select.replaceChildren(...values.map((value, n) => new Option(names[n], value)));
  if (values.map(String).includes(before)) select.value = before;
}

const distinct = (values) => [...new Set(values)];
const words = (name) => name.replaceAll("_", " ");

function selected() {
  const choice = controls.experiment.value;
  return choice === "all" ? experiments : [experiments[+choice]];
}

function refresh() { // what the chosen experiments have, into the other lists
  const own = selected();
  const attacks = distinct(own.flatMap((one) => one.attacks.map((attack) => attack[0])));
  if (own.length > 1) options(controls.attack, ["", ...attacks], ["the one it is judged by", ...attacks.map(words)]);
  else options(controls.attack, attacks, attacks.map(words));
  const chosen = own.flatMap((one) => one.attacks).filter(([name]) => name === controls.attack.value);
  options(controls.epsilon, distinct(chosen.map((attack) => attack[1])));
  controls.epsilon.parentElement.hidden = !chosen.length;
  options(controls.recipe, ["", ...distinct(own.flatMap((one) => one.groups.map((group) => group[4])))].map(String));
  controls.recipe.options[0].text = "all";
}

function collect() {
  const share = (value) => (value === null || value === undefined ? null : value / SHARE);
  const { attack, epsilon, recipe, fitted } = Object.fromEntries(new FormData(controls));
  const found = [];
  for (const one of selected()) {
    const position = attack ? one.attacks.findIndex((own) => own[0] === attack && own[1] === +epsilon) : 0;
    if (position < 0) continue;
    one.group.forEach((index, n) => {
      const [condition, , value, , own] = one.groups[index], adversarial = share(one.adversarial[position][n]);
      const share_fitted = share(one.fitted[n]);
      if (adversarial === null || (recipe && recipe !== own)) return;
      if (+fitted >= 0 && share_fitted !== null && share_fitted < +fitted) return;
      found.push({
        experiment: words(one.name), condition: words(condition) + (value === null ? "" : ` ${value}`),
        kind: words(condition), value, recipe: own, draw: one.draw[n], repeat: one.repeat[n], epochs: one.epochs[n] ?? null,
        fitted: share_fitted, natural: share(one.natural[n]), adversarial,
      });
    });
  }
  return found;
}

const COLUMNS = [["experiment"], ["condition"], ["recipe"], ["draw"], ["repeat"], ["epochs"],
  ["fitted", 2], ["natural", 4], ["adversarial", 4]];

function show(chosen, brushed) {
  const mean = (name) => {
    const values = chosen.map((row) => row[name]).filter((value) => value !== null);
    return values.length ? (values.reduce((a, b) => a + b, 0) / values.length).toFixed(3) : "—";
  };
  const count = brushed ? `${chosen.length} of ${rows.length} victims in the frame` : `${chosen.length} victims`;
  summary.textContent = `${count}: mean adversarial accuracy ${mean("adversarial")}, natural ${mean("natural")}, ` +
    `poisons fitted ${mean("fitted")}.` +
    (chosen.length > MOST_ROWS ? ` The ${MOST_ROWS} easiest to attack:` : "");
  const listed = [...chosen].sort((a, b) => a.adversarial - b.adversarial).slice(0, MOST_ROWS);
  const cells = (values, tag) => {
    const line = document.createElement("tr");
    line.append(...values.map((value) => Object.assign(document.createElement(tag), { textContent: value })));
    return line;
  };
  table.tHead.replaceChildren(cells(COLUMNS.map(([name]) => name), "th"));
  table.tBodies[0].replaceChildren(...listed.map((row) => cells(COLUMNS.map(([name, digits]) =>
    row[name] === null ? "—" : digits ? row[name].toFixed(digits) : row[name]), "td")));
  table.hidden = false;
}

async function draw() {
  rows = collect();
  const across = controls.across.value, several = controls.experiment.value === "all";
  const title = controls.across.selectedOptions[0].text;
  const color = several ? "experiment" : "kind", kinds = distinct(rows.map((row) => row[color]));
  const spec = {
    width: "container", height: 320, background: null, data: { values: rows },
    params: [{ name: "brush", select: { type: "interval" } }],
    mark: { type: "point", filled: true, size: rows.length > 3000 ? 8 : 30 },
    encoding: {
      x: { field: across, type: "quantitative", title, scale: { zero: false } },
      y: { field: "adversarial", type: "quantitative", title: "adversarial accuracy", scale: { domain: [0, 1] } },
      color: { field: color, type: "nominal", title: null, scale: { range: PALETTE },
        legend: kinds.length > 7 ? null : { orient: "top", columns: innerWidth < 600 ? 2 : 7 } },
      opacity: { condition: { param: "brush", value: 0.6 }, value: 0.12 },
    },
    config: { view: { stroke: null }, axis: { grid: false }, font: "sans-serif" },
  };
  if (view) view.finalize();
  view = (await vegaEmbed("#chart", spec, { actions: false, renderer: "canvas" })).view;
  view.addSignalListener("brush", (_, frame) => {
    const sides = Object.entries(frame);
    const within = (value, ends) => value !== null && value >= Math.min(...ends) && value <= Math.max(...ends);
    const inside = (row) => sides.every(([name, ends]) => within(row[name], ends));
    show(sides.length ? rows.filter(inside) : rows, sides.length > 0);
  });
  show(rows, false);
}

// Vega learns from a move which plot it is over; a finger presses without one before.
document.getElementById("chart").addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "mouse") event.target.dispatchEvent(new PointerEvent("pointermove", event));
}, { capture: true });

async function start() {
  if (!("DecompressionStream" in window)) {
    summary.textContent = "This browser is too old for this part; all above works.";
    return;
  }
  summary.textContent = "…";
  experiments = JSON.parse(await unpacked("data"));
  const engine = document.createElement("script");
  engine.textContent = await unpacked("engine");
  engine.type = "module";
  engine.textContent += "\ndispatchEvent(new Event('engine'));";
  const ready = new Promise((done) => addEventListener("engine", done, { once: true }));
  document.head.append(engine);
  await ready;
  const names = experiments.map((one) => `${one.tab ? `${one.tab}: ` : ""}${words(one.study)}, ${words(one.name)}`);
  options(controls.experiment, [...experiments.keys(), "all"], [...names, "all experiments"]);
  const first = experiments.findIndex((one) => `${one.study}/${one.name}` === explorer.dataset.first);
  controls.experiment.value = Math.max(0, first);
  refresh();
  controls.hidden = false;
  controls.addEventListener("change", (event) => {
    if (event.target === controls.experiment) controls.attack.value = controls.recipe.value = "";
    refresh();
    draw();
  });
  await draw();
}

if (document.getElementById("data").textContent) {
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((one) => one.isIntersecting)) { seen.disconnect(); start(); }
  }, { rootMargin: "600px" });
  seen.observe(explorer);
}
