"use strict";

const API = "/api/v1";
const REFRESH_MS = 5000;
const PAGE = 50;
const byId = id => document.getElementById(id);
const segment = text => encodeURIComponent(text);
const digits = (value, count = 3) => value === null || value === undefined ? "" : Number(Number(value).toPrecision(count)).toString();
const fixed = value => value === null || value === undefined ? "" : value.toFixed(4);
const seconds = value => value < 0.05 ? "0" : digits(value);

// Whether the stream of events is broken: what was asked for may then be answered, and yet nothing new is heard.
let isDeaf = false;

// A request below /api/v1; throws with the service's own line, its status and the option that it is about.
async function ask(path, options = {}) {
  const headers = { "x-csrf-token": document.querySelector("meta[name=csrf-token]").content };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  let response, answer;
  try {
    response = await fetch(API + path, { ...options, headers, signal: AbortSignal.timeout(60000) });
    answer = response.status === 204 ? null : await response.json();  // a proxy in its own words is no answer
  } catch (error) {
    lost(true);
    throw new Error("the service does not answer; try again");
  }
  if (!isDeaf) lost(false);
  if (response.status === 401) location.assign(`/login?to=${segment(location.pathname)}`);
  if (!response.ok) throw Object.assign(new Error(answer.error.message), { status: response.status, field: answer.error.field });
  return answer;
}

function lost(isLost, text = "The service does not answer. What you see may be old; it is asked again.") {
  const banner = byId("lost");
  banner.hidden = !isLost;
  if (isLost) banner.textContent = text;
}

function say(text) { byId("answer").textContent = text; }

// Rows of a table, each cell of the class of its column's head; one line over all columns where there is none.
function fill(body, rows, none = "") {
  const heads = [...body.parentNode.tHead.rows[0].cells];
  body.replaceChildren();
  for (const cells of rows) {
    const row = body.insertRow();
    cells.forEach((cell, i) => {
      const place = row.insertCell();
      place.className = heads[i].className;
      place.append(cell ?? "");
    });
  }
  if (rows.length || !none) return;
  const place = body.insertRow().insertCell();
  place.colSpan = heads.length;
  place.className = "note";
  place.textContent = none;
}

function link(text, href) {
  const made = document.createElement("a");
  made.textContent = text;
  made.href = href;
  return made;
}

function pill(state) {
  const made = document.createElement("span");
  made.className = `state ${state}`;
  made.textContent = state;
  return made;
}

const trialPath = (study, number) => `/studies/${segment(study)}/trials/${number}`;

// Again and again, the next time only after the last one has ended, and not while nobody looks.
function repeat(work, every_ms) {
  const again = async () => {
    if (!document.hidden) await work().catch(() => {});
    setTimeout(again, every_ms);
  };
  again();
}

// ---- plots

// Axes with grid, labelled; forward maps a value of x before it is drawn linearly.
function axes(svg, box, x, y, xLabel, yLabel, xTicks, yTicks) {
  for (const value of xTicks) {
    addTo(svg, "line", { class: "grid", x1: x.pixel(value), x2: x.pixel(value), y1: box.top, y2: box.bottom });
    addTo(svg, "text", { x: x.pixel(value), y: box.bottom + 18, "text-anchor": "middle" }, digits(value, 6));
  }
  for (const value of yTicks) {
    addTo(svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: y.pixel(value), y2: y.pixel(value) });
    addTo(svg, "text", { x: box.left - 8, y: y.pixel(value) + 4, "text-anchor": "end" }, digits(value, 6));
  }
  addTo(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
  addTo(svg, "line", { class: "axis", x1: box.left, x2: box.left, y1: box.top, y2: box.bottom });
  addTo(svg, "text", { x: (box.left + box.right) / 2, y: box.bottom + 40, "text-anchor": "middle" }, xLabel);
  addTo(svg, "text", { transform: `translate(16 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel);
}

// Linear axes of a small plot.
function smallAxes(svg, xs, ys, xLabel, yLabel) {
  const box = { left: 62, right: 470, top: 10, bottom: 252 };
  const x = scale(xs, box.left, box.right, value => value), y = scale(ys, box.bottom, box.top, value => value);
  axes(svg, box, x, y, xLabel, yLabel, ticks(Math.max(0, x.low), x.high, 6), ticks(Math.max(0, y.low), y.high, 5));
  return { x, y };
}

// Members of a front as points to draw, costs in the unit of the axis.
function points(front, axis) {
  const isTimed = axis.objective === "latency_ms";
  return front.members.map(member => ({
    study: front.study,
    number: member.trial_number,
    top1: member.top1,
    cost: member[axis.objective] / axis.unit,
    low: (isTimed ? member.latency_ci_low_ms : member[axis.objective]) / axis.unit,
    high: (isTimed ? member.latency_ci_high_ms : member[axis.objective]) / axis.unit,
    knee: member.knee,
    layout: member.layout,
  }));
}

const steps = (list, x, y) => list.map((point, i) => (i ? `H${x.pixel(point.cost)}V` : `M${x.pixel(point.cost)} `) + y.pixel(point.top1)).join("");

// The inner part of a plot, whose letters stay readable on a narrow screen.
function sized(svg) {
  const all = svg.parentNode.clientWidth;  // an empty plot has no width of its own
  const width = Math.max(480, Math.min(960, all > 1000 ? all * 2 / 3 : all)), height = width < 600 ? 400 : 500;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { left: 62, right: width - 20, top: 15, bottom: height - 55 };
}

// Several fronts in one plot; a dot shows what it is, and leads to its trial.
function drawFronts(svg, fronts, axis) {
  const focused = document.activeElement?.closest("#plot a")?.getAttribute("href");
  svg.replaceChildren();
  const all = fronts.flat();
  if (!all.length) return;
  const box = sized(svg);
  const x = scale(all.flatMap(point => [point.low, point.high]), box.left, box.right, Math.log);
  const y = scale(all.map(point => point.top1), box.bottom, box.top, value => value);
  axes(svg, box, x, y, axis.name, "top1", logTicks(Math.exp(x.low), Math.exp(x.high)), ticks(y.low, y.high, 6));
  fronts.forEach((front, i) => {
    const series = fronts.length > 1 ? ` series${i}` : "";
    addTo(svg, "path", { class: "steps" + series, d: steps(front, x, y) });
    for (const point of front) {
      addTo(svg, "line", { class: "interval" + series, x1: x.pixel(point.low), x2: x.pixel(point.high), y1: y.pixel(point.top1), y2: y.pixel(point.top1) });
      const href = trialPath(point.study, point.number);
      const anchor = addTo(svg, "a", { role: "link", href, "aria-label": describe(point, axis) });
      addTo(anchor, "circle", { class: "dot" + series + (point.knee ? " knee" : ""), r: 6, cx: x.pixel(point.cost), cy: y.pixel(point.top1) });
      for (const happening of ["mouseenter", "focus"]) anchor.addEventListener(happening, () => showPoint(point, axis, fronts.length > 1));
      if (href === focused) anchor.focus();
    }
  });
}

const describe = (point, axis) =>
  `trial ${point.number}${point.knee ? " (knee)" : ""}: top1 ${point.top1.toFixed(4)}, ${axis.name} ${digits(point.cost, 4)}` +
  (point.high > point.low ? ` (95 % interval ${digits(point.low, 4)} to ${digits(point.high, 4)})` : "");

function inviteToPoint() {
  const detail = byId("detail");
  if (!detail.children.length) detail.textContent = "Point at a dot, or reach it by Tab, to see its layout. It leads to the trial.";
}

function showPoint(point, axis, named) {
  const text = document.createElement("span"), picture = document.createElement("img");
  text.textContent = (named ? point.study + "\n" : "") + describe(point, axis) + "\n" + point.layout;
  picture.src = `${API}${trialPath(point.study, point.number)}/drawing`;
  picture.alt = "";
  picture.addEventListener("error", () => picture.remove());
  byId("detail").replaceChildren(text, picture);
}

function drawSmall(svg, front, axis) {
  const list = points(front, axis);
  if (!list.length) return;
  const x = scale(list.map(point => point.cost), 4, 116, Math.log), y = scale(list.map(point => point.top1), 32, 4, value => value);
  svg.replaceChildren();
  addTo(svg, "path", { class: "steps", d: steps(list, x, y) });
  for (const point of list) addTo(svg, "circle", { class: "dot", r: 2, cx: x.pixel(point.cost), cy: y.pixel(point.top1) });
}

const axisOf = front => ({ objective: front.objectives[1], name: front.objectives[1], unit: 1 });

// ---- list of studies

function studiesPage() {
  const wanted = new URLSearchParams([...new URLSearchParams(location.search)].filter(([, value]) => value));
  wanted.set("limit", byId("list").dataset.limit);
  const drawn = new Map();
  const rowsByName = () => new Map([...document.querySelectorAll("tr[data-study]")].map(row => [row.dataset.study, row]));

  async function draw(row, name, hypervolume) {
    if (hypervolume === null || drawn.get(name) === hypervolume) return;
    drawn.set(name, hypervolume);
    const front = await ask(`/studies/${segment(name)}/front`);
    drawSmall(row.querySelector("svg"), front, axisOf(front));
    row.querySelector("input").disabled = false;
  }

  async function look() {
    const page = await ask(`/studies?${wanted}`);
    const names = page.items.map(study => study.name).join("/");
    if (names !== [...rowsByName().keys()].join("/")) {
      await renewList();
      drawn.clear();
    }
    const rows = rowsByName(), shown = page.items.filter(study => rows.has(study.name));
    for (const study of shown) showRow(rows.get(study.name), study);
    await Promise.allSettled(shown.map(study => draw(rows.get(study.name), study.name, study.hypervolume)));
  }

  byId("list").addEventListener("change", event => limitChosen(event.target));
  repeat(look, REFRESH_MS);
}

function showRow(row, study) {
  const field = name => row.querySelector(`[data-field=${name}]`);
  field("state").replaceChildren(pill(study.state), study.position ? `, place ${study.position}` : "");
  field("evaluated").textContent = study.evaluated + (study.budget ? ` of ${study.budget}` : "");
  field("progress").max = study.budget || 1;
  field("progress").value = study.evaluated;
  field("best").textContent = fixed(study.best_top1);
  field("hypervolume").textContent = fixed(study.hypervolume);
}

// The rows as the server has them now; what is chosen stays chosen, and the focus where it was.
async function renewList() {
  const list = byId("list"), focused = document.activeElement, isInside = list.contains(focused);
  const chosen = new Set([...list.querySelectorAll("input:checked")].map(box => box.value));
  const response = await fetch(location.href, { signal: AbortSignal.timeout(60000) });
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("list");
  if (!fresh) return location.reload();
  list.replaceChildren(...fresh.childNodes);
  for (const box of list.querySelectorAll("input[name=study]")) box.checked = chosen.has(box.value);
  if (!isInside) return;
  const alike = [...list.querySelectorAll(focused.tagName)];
  alike.find(each => each.href === focused.href && each.value === focused.value)?.focus();
}

function limitChosen(box) {
  const limit = Number(byId("list").dataset.compared);
  if (byId("list").querySelectorAll("input:checked").length <= limit) return;
  box.checked = false;
  byId("chosen").textContent = `One plot holds ${limit} fronts; take one away first.`;
}

async function comparePage() {
  const svg = byId("plot");
  if (!svg) return;
  const axis = JSON.parse(svg.dataset.axis);
  const rows = [...document.querySelectorAll("tr[data-study]")];
  const onTarget = svg.dataset.target ? `?target=${segment(svg.dataset.target)}` : "";
  const read = name => ask(`/studies/${segment(name)}/front${onTarget}`).catch(() => ({ study: name, members: [], target: null, hypervolume: null }));
  const fronts = await Promise.all(rows.map(row => read(row.dataset.study)));
  drawFronts(svg, fronts.map(front => points(front, axis)), axis);
  rows.forEach((row, i) => {
    const shown = { target: targetText(fronts[i].target), size: fronts[i].members.length, hypervolume: fixed(fronts[i].hypervolume) };
    for (const [name, text] of Object.entries(shown)) row.querySelector(`[data-field=${name}]`).textContent = text;
  });
  const devices = new Set(fronts.filter(front => front.members.length).map(front => JSON.stringify(front.target)));
  inviteToPoint();
  byId("devices").hidden = axis.objective !== "latency_ms" || devices.size < 2;
}

function targetText(target) {
  if (!target) return "";
  const settings = ["threads", "batch", "dtype"].filter(name => target[name] !== undefined && target[name] !== null);
  return `${target.runtime || target.kind} on ${target.device_name}, ${settings.map(name => `${name} ${target[name]}`).join(", ")}`;
}

// ---- one study

function studyPage() {
  const head = byId("study"), name = head.dataset.name;
  const base = `/studies/${segment(name)}`;
  const axis = JSON.parse(head.dataset.axis), recorded = Boolean(head.dataset.recorded);
  const filter = byId("filter"), target = byId("target");
  let offset = 0, shown = null, after = head.dataset.after;

  const soon = work => {
    let waits = null;
    return () => { waits = waits || setTimeout(() => { waits = null; work().catch(() => {}); }, 1500); };
  };
  const onTarget = () => target && target.value ? `?target=${segment(target.value)}` : "";

  async function drawFront() {
    const front = await ask(`${base}/front${onTarget()}`);
    const isOwn = front.objectives[1] === axis.objective;
    const used = isOwn ? axis : { objective: "latency_ms", name: "latency, ms", unit: 1 };
    drawFronts(byId("plot"), [points(front, used)], used);
    byId("size").textContent = front.members.length;
    byId("hypervolume").textContent = fixed(front.hypervolume);
    inviteToPoint();
  }

  async function drawGrowth() {
    const history = await ask(`${base}/history${onTarget()}`), svg = byId("growth");
    svg.replaceChildren();
    byId("growth-note").hidden = history.growths.length > 0;
    fill(byId("growths").tBodies[0], history.growths.map(each => [
      each.evaluated, digits(each.device_s), fixed(each.hypervolume), each.members, link(each.trial_number, trialPath(name, each.trial_number)),
    ]), "nothing yet");
    if (!history.growths.length) return;
    const last = history.growths[history.growths.length - 1];
    const list = [...history.growths.map(each => ({ cost: each.evaluated, top1: each.hypervolume })), { cost: history.evaluated, top1: last.hypervolume }];
    const { x, y } = smallAxes(svg, [0, ...list.map(each => each.cost)], [0, ...list.map(each => each.top1)], "evaluated", "hypervolume");
    addTo(svg, "path", { class: "steps", d: steps(list, x, y) });
  }

  async function listTrials() {
    const wanted = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
    wanted.set("offset", offset);
    wanted.set("limit", PAGE);
    const page = await ask(`${base}/trials?${wanted}`);
    fill(byId("trials").tBodies[0], page.items.map(trial => [
      link(trial.number, trialPath(name, trial.number)), pill(trial.state), fixed(trial.top1), digits(trial.latency_ms),
      digits(trial.param_count / 1e6), digits(trial.macs / 1e6), seconds(trial.duration_s), trial.layout,
    ]));
    const last = offset + page.items.length;
    byId("range").textContent = page.total ? `${offset + 1} to ${last} of ${page.total}` : "no trial fits";
    byId("earlier").disabled = offset === 0;
    byId("later").disabled = last >= page.total;
  }

  const workers = new Map();
  let doing = {};
  function showWorkers() {
    const names = [...new Set([...Object.keys(doing), ...workers.keys()])].sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    fill(byId("workers").tBodies[0], names.map(worker => {
      const trial = workers.get(worker);
      const last = trial ? [link(`${trial.number}, ${trial.state}`, trialPath(name, trial.number)), `${seconds(trial.duration_s)} s`, trial.recorded.slice(11, 19) + " UTC"] : ["", "", ""];
      return [worker, doing[worker] ?? "", ...last];
    }), "No worker has begun.");
  }
  function noteTrial(trial) {
    const known = workers.get(trial.worker);
    if (trial.worker && (!known || known.recorded < trial.recorded)) workers.set(trial.worker, trial);
    if (trial.state === "COMPLETE" || trial.state === "PRUNED") ends.push(Date.parse(trial.recorded));
  }
  async function readLatest() {
    const page = await ask(`${base}/trials?order=desc&limit=50`);
    page.items.sort((one, other) => one.recorded.localeCompare(other.recorded)).forEach(noteTrial);
    showWorkers();
    if (shown) showState(shown);
  }

  function showState(study) {
    shown = study;
    byId("state").className = `state ${study.state}`;
    byId("state").textContent = study.state;
    byId("position").textContent = study.position ? `place ${study.position} in the queue` : "";
    byId("exit").textContent = study.exit_line || "";
    byId("counts").textContent = Object.entries(study.trials).filter(([, count]) => count).map(([state, count]) => `${count} ${state}`).join(", ") || "none";
    byId("best").textContent = fixed(study.best_top1);
    showProgress(study.evaluated, study.budget);
    doing = study.workers;
    showWorkers();
    for (const [id, states] of [["stop", ["queued", "running"]], ["continue", ["stopped", "finished", "failed"]]])
      if (byId(id)) byId(id).disabled = !states.includes(study.state);
  }

  const ends = [];
  function showProgress(evaluated, budget) {
    byId("progress").value = evaluated;
    if (budget) byId("progress").max = budget;
    byId("evaluated").textContent = evaluated + (budget ? ` of ${budget}` : "") + " evaluated";
    byId("rate").textContent = rateText(evaluated, budget);
  }
  // By the last evaluations of this run; nothing where none runs.
  function rateText(evaluated, budget) {
    if (!shown || shown.state !== "running") return "";
    const since = Date.parse(shown.started) || 0;
    const list = ends.filter(end => end >= since).slice(-20);
    const minutes = list.length > 2 ? (list[list.length - 1] - list[0]) / 60000 : 0;
    if (!minutes) return "";
    const rate = (list.length - 1) / minutes, left = budget ? Math.max(0, budget - evaluated) / rate : 0;
    return `${rate < 1 ? `${digits(60 * rate)} an hour` : `${digits(rate)} a minute`}${left ? `, about ${spanText(left)} left` : ""}`;
  }

  function showLine(text) {
    const log = byId("log"), isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    const lines = log.textContent ? log.textContent.split("\n") : [];
    log.textContent = [...lines, text].slice(-400).join("\n");
    byId("log-note").hidden = true;
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  const refreshTrials = soon(listTrials), refreshFront = soon(drawFront), refreshGrowth = soon(drawGrowth);

  // The stream of the browser goes on by itself behind the last event, also after a restart of the service. Where it
  // gave up, because something else answered in between, another one begins there. A page that nobody sees has none:
  // a browser opens six at a time, and then waits with everything else.
  let stream = null;
  function listen() {
    stream?.close();
    if (document.hidden) { isDeaf = false; return; }
    stream = new EventSource(`${API}${base}/events?after=${segment(after)}`);
    const hear = heard => { isDeaf = !heard; lost(isDeaf); };
    stream.onopen = () => hear(true);
    stream.onerror = () => {
      hear(false);
      if (stream.readyState === EventSource.CLOSED) setTimeout(listenAgain, REFRESH_MS);
    };
    const on = (event, work) => stream.addEventListener(event, message => {
      hear(true);
      after = message.lastEventId;
      work(JSON.parse(message.data));
    });
    on("state", study => { showState(study); if (study.recorded && !recorded) location.reload(); });
    on("line", line => showLine(line.text));
    on("workers", each => { doing = each; showWorkers(); });
    on("front", () => { if (!recorded) return location.reload(); refreshFront(); refreshGrowth(); });
    on("trial", trial => {
      if (!recorded) return location.reload();
      noteTrial(trial);
      showWorkers();
      showProgress(trial.evaluated, trial.evaluated > trial.budget ? null : trial.budget);
      if (trial.state === "COMPLETE" && trial.top1 > Number(byId("best").textContent)) byId("best").textContent = fixed(trial.top1);
      refreshTrials();
    });
  }
  async function listenAgain() {
    try {
      showState(await ask(base));
      listen();
    } catch (error) {
      if (error.status === 404) return lost(true, "This study was deleted. What you see is what was left of it.");
      setTimeout(listenAgain, REFRESH_MS);
    }
  }

  filter.addEventListener("change", () => { offset = 0; listTrials().catch(() => {}); });
  filter.addEventListener("submit", event => event.preventDefault());
  byId("earlier").addEventListener("click", () => { offset = Math.max(0, offset - PAGE); listTrials().catch(() => {}); });
  byId("later").addEventListener("click", () => { offset += PAGE; listTrials().catch(() => {}); });
  byId("effects").addEventListener("toggle", () => { if (byId("effects").open) showEffects(base); });
  if (target) target.addEventListener("change", () => { for (const work of [drawFront, drawGrowth]) work().catch(error => { byId("detail").textContent = error.message; }); });
  actions(base, name, showState);
  const log = byId("log");
  log.scrollTop = log.scrollHeight;
  document.addEventListener("visibilitychange", listen);
  listen();
  const look = async () => showState(await ask(base));
  if (head.dataset.submitted) look().catch(() => {});
  else repeat(look, REFRESH_MS);  // no event says that a search of a terminal has ended
  if (!recorded) return;
  const first = Number(head.dataset.front) ? [drawFront, drawGrowth, listTrials, readLatest] : [listTrials, readLatest];
  for (const work of first) work().catch(() => {});
  if (byId("finalists")) showFinalists(base, name, axis).catch(() => {});
  listExports(base, name);
}

function spanText(minutes) {
  if (minutes < 90) return `${Math.ceil(minutes)} min`;
  return minutes < 2880 ? `${digits(minutes / 60, 2)} h` : `${digits(minutes / 1440, 2)} days`;
}

// What full training made of the front.
async function showFinalists(base, name, axis) {
  const front = await ask(`${base}/front?final=true`);
  fill(byId("finalists").tBodies[0], front.finalists.map(each => [
    link(each.trial_number, trialPath(name, each.trial_number)), `${fixed(each.top1)} (${fixed(each.top1_low)} to ${fixed(each.top1_high)})`, each.seeds.length,
    digits(each.cost / axis.unit), each.on_front ? "yes" : "no", `${Math.round(100 * each.front_probability)} %`, each.layout,
  ]));
}

// Once a script listens: before, the browser itself would have sent the form, to nobody.
function enable(form) {
  if (form) form.querySelector("button").disabled = false;
}

function actions(base, name, showState) {
  const act = async (path, options) => {
    say("");
    try {
      const study = await ask(base + path, options);
      if (study === null) return location.assign("/");
      showState(study);
      say(`${name} is ${study.state}.`);
    } catch (error) { say(error.message); }
  };
  const on = (id, happening, work) => byId(id)?.addEventListener(happening, event => { event.preventDefault(); work(event.target); });
  const onForm = (id, work) => { on(id, "submit", work); enable(byId(id)); };
  on("stop", "click", () => act("/stop", { method: "POST" }));
  on("continue", "click", () => act("/continue", { method: "POST" }));
  onForm("extend", form => act("/extend", { method: "POST", body: JSON.stringify({ budget: Number(form.budget.value) }) }));
  onForm("delete", form => act(`?confirm=${segment(form.confirm.value)}`, { method: "DELETE" }));
}

const percent = share => (100 * share).toFixed(1);
const sentences = (...texts) => texts.map(text => text[0].toUpperCase() + text.slice(1) + ".").join(" ");

async function showEffects(base) {
  const table = byId("effects").querySelector("table");
  try {
    const found = await ask(`${base}/explain`);
    fill(table.tBodies[0], found.genes.map(gene => [
      gene.gene, percent(gene.top1.alone), percent(gene.top1.total), percent(gene.cost.alone), percent(gene.cost.total), gene.best_for_top1, gene.cheapest,
    ].map(cell => cell === null ? "" : String(cell))));
    table.hidden = false;
    byId("effects-note").textContent = sentences(`learned from ${found.learned_from} trials`, ...found.warnings);
  } catch (error) { byId("effects-note").textContent = error.message; }
}

// ---- one trial

function trialPage() {
  const head = byId("trial"), study = head.dataset.study, number = head.dataset.number;
  const base = `/studies/${segment(study)}`;
  const drawing = byId("drawing"), leave = () => drawing.closest("figure").remove();
  drawing.addEventListener("error", leave);
  if (drawing.complete && !drawing.naturalWidth) leave();
  if (byId("curve")) drawCurve(byId("curve"));
  if (byId("exports")) listExports(base, study, `?trial=${number}`);
  if (byId("export")) byId("export").addEventListener("submit", event => {
    event.preventDefault();
    exportTrial(base, number, event.target).catch(error => say(error.message));
  });
  enable(byId("export"));
  if (byId("changes")) byId("changes").addEventListener("toggle", () => { if (byId("changes").open) showChanges(base, study, number); });
}

function drawCurve(svg) {
  const rungs = JSON.parse(svg.dataset.rungs);
  const { x, y } = smallAxes(svg, [0, ...rungs.map(rung => rung.steps)], rungs.map(rung => rung.top1), "steps", "top1");
  addTo(svg, "path", { class: "steps", d: "M" + rungs.map(rung => `${x.pixel(rung.steps)} ${y.pixel(rung.top1)}`).join("L") });
  for (const rung of rungs) addTo(svg, "circle", { class: "dot", r: 4, cx: x.pixel(rung.steps), cy: y.pixel(rung.top1) });
}

// Exports of a study, or of one trial: what waits, runs and has ended, whoever asked for it.
function listExports(base, study, query = "") {
  repeat(async () => {
    const page = await ask(`${base}/exports${query}`);
    byId("exports").hidden = !page.total;
    fill(byId("exports").querySelector("tbody"), page.items.map(job => [
      `${job.created.slice(0, 16).replace("T", " ")} UTC`, job.trial === null ? job.pick : link(job.trial, trialPath(study, job.trial)), pill(job.state), job.owner,
      job.entry ? link(job.entry, `/zoo/${segment(job.entry)}`) : job.message,
    ]));
  }, REFRESH_MS);
}

async function exportTrial(base, number, form) {
  const button = form.querySelector("button"), bar = byId("exporting"), told = { queued: "The export waits for its turn.", running: "The export is being written." };
  button.disabled = true;
  bar.hidden = false;
  say(told.queued);
  try {
    let job = await ask(`${base}/exports`, { method: "POST", body: JSON.stringify({ pick: `trial:${number}`, name: form.name.value || null, onnx: form.onnx.checked }) });
    while (told[job.state]) {
      await new Promise(done => setTimeout(done, 1000));
      job = await ask(`/jobs/${job.id}`).catch(error => { if (error.status) throw error; return job; });
      if (told[job.state] && byId("answer").textContent !== told[job.state]) say(told[job.state]);
    }
    if (job.state === "failed") throw new Error(job.message || "the export failed");
    const answer = byId("answer");
    answer.textContent = "Exported: ";
    answer.append(link(job.entry, `/zoo/${segment(job.entry)}`), ", ", link("download", `${API}/zoo/${segment(job.entry)}/download`));
  } finally {
    button.disabled = false;
    bar.hidden = true;
  }
}

async function showChanges(base, study, number) {
  const table = byId("changes").querySelector("table");
  try {
    const found = await ask(`${base}/explain?trial=${number}`);
    byId("lineage").replaceChildren(...found.lineage.map(each => {
      const item = document.createElement("li");
      item.append(link(`trial ${each.trial_number}`, trialPath(study, each.trial_number)), `: top1 ${each.top1.toFixed(4)}`);
      for (const [gene, before, after] of each.changed) item.append(`; ${gene} ${before} to ${after}`);
      return item;
    }));
    const effective = found.changes.filter(change => !change.no_effect), others = found.changes.filter(change => change.no_effect);
    fill(table.tBodies[0], effective.map(change => [
      change.gene, String(change.before), String(change.after),
      `${(100 * change.top1).toFixed(1)} ± ${(100 * change.top1_sd).toFixed(1)}`, change.cost_percent.toFixed(1),
      change.also.length ? `repair gives ${change.also.join(", ")}` : "",
    ]));
    table.hidden = false;
    const why = [...new Set(others.map(change => change.no_effect))].join(", or ");
    byId("without-effect").textContent = others.length ? `${others.length} other changes have no effect: ${why}.` : "";
    byId("changes-note").textContent = sentences("predicted by what the study taught; one gene changed at a time", ...found.warnings);
  } catch (error) { byId("changes-note").textContent = error.message; }
}

const PAGES = { studies: studiesPage, compare: comparePage, study: studyPage, trial: trialPage };
(PAGES[document.body.dataset.page] || (() => {}))();
