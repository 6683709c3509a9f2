"use strict";

const API = "/api/v1";
const REFRESH_MS = 5000;
const PAGE = 50;
const byId = id => document.getElementById(id);
const segment = text => encodeURIComponent(text);
const digits = (value, count = 3) => value === null || value === undefined ? "" : Number(Number(value).toPrecision(count)).toString();

// A request below /api/v1; throws with the service's own line.
async function ask(path, options = {}) {
  const headers = { "x-csrf-token": document.querySelector("meta[name=csrf-token]").content };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(API + path, { ...options, headers, signal: AbortSignal.timeout(60000) });
  } catch (error) {
    lost(true);
    throw new Error("the service does not answer; it will be asked again");
  }
  lost(false);
  if (response.status === 401) location.assign(`/login?to=${segment(location.pathname)}`);
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

function lost(isLost) {
  const banner = byId("lost");
  banner.hidden = !isLost;
  if (isLost) banner.textContent = "The service does not answer. What you see may be old; it is asked again.";
}

function say(text) { byId("answer").textContent = text; }

function fill(body, rows) {
  body.replaceChildren(...rows.map(cells => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const place = row.insertCell();
      if (cell instanceof Node) place.append(cell); else place.textContent = cell;
    }
    return row;
  }));
}

function link(text, href) {
  const made = document.createElement("a");
  made.textContent = text;
  made.href = href;
  return made;
}

const trialPath = (study, number) => `/studies/${segment(study)}/trials/${number}`;

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

// Members of a front as points to draw, costs in the unit of the axis.
function points(front, axis) {
  const suffix = axis.objective === "latency_ms";
  return front.members.map(member => ({
    study: front.study,
    number: member.trial_number,
    top1: member.top1,
    cost: member[axis.objective] / axis.unit,
    low: (suffix ? member.latency_ci_low_ms : member[axis.objective]) / axis.unit,
    high: (suffix ? member.latency_ci_high_ms : member[axis.objective]) / axis.unit,
    knee: member.knee,
    layout: member.layout,
  }));
}

const steps = (list, x, y) => list.map((point, i) => (i ? `H${x.pixel(point.cost)}V` : `M${x.pixel(point.cost)} `) + y.pixel(point.top1)).join("");

// The inner part of a plot, whose letters stay readable on a narrow screen.
function sized(svg) {
  const [width, height] = svg.clientWidth < 600 ? [480, 400] : [960, 520];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { left: 62, right: width - 20, top: 15, bottom: height - 55 };
}

// Several fronts in one plot; a dot shows what it is, and leads to its trial.
function drawFronts(svg, fronts, axis) {
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
      const anchor = addTo(svg, "a", { role: "link", href: trialPath(point.study, point.number), "aria-label": describe(point, axis) });
      addTo(anchor, "circle", { class: "dot" + series + (point.knee ? " knee" : ""), r: 6, cx: x.pixel(point.cost), cy: y.pixel(point.top1) });
      for (const happening of ["mouseenter", "focus"]) anchor.addEventListener(happening, () => showPoint(point, axis, fronts.length > 1));
    }
  });
}

const describe = (point, axis) =>
  `trial ${point.number}${point.knee ? " (knee)" : ""}: top1 ${point.top1.toFixed(4)}, ${axis.name} ${digits(point.cost, 4)}` +
  (point.high > point.low ? ` (95 % interval ${digits(point.low, 4)} to ${digits(point.high, 4)})` : "");

function showPoint(point, axis, named) {
  const text = document.createElement("span"), picture = document.createElement("img");
  text.textContent = (named ? point.study + "\n" : "") + describe(point, axis) + "\n" + point.layout;
  picture.src = `${API}${trialPath(point.study, point.number)}/drawing`;
  picture.alt = "";
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

async function studiesPage() {
  const rows = new Map([...document.querySelectorAll("tr[data-study]")].map(row => [row.dataset.study, row]));
  const wanted = new URLSearchParams([...new URLSearchParams(location.search)].filter(([, value]) => value));
  wanted.set("limit", Math.max(1, rows.size));
  const drawn = new Map();
  const draw = async (name, hypervolume) => {
    if (hypervolume === null || drawn.get(name) === hypervolume) return;
    drawn.set(name, hypervolume);
    const front = await ask(`/studies/${segment(name)}/front`);
    drawSmall(rows.get(name).querySelector("svg"), front, axisOf(front));
    rows.get(name).querySelector("input").disabled = false;
  };
  const look = async () => {
    const page = await ask(`/studies?${wanted}`);
    for (const study of page.items) {
      const row = rows.get(study.name);
      if (!row) continue;
      const field = name => row.querySelector(`[data-field=${name}]`);
      const state = document.createElement("span");
      state.className = `state ${study.state}`;
      state.textContent = study.state;
      field("state").replaceChildren(state, study.position ? `, place ${study.position}` : "");
      field("evaluated").textContent = study.evaluated + (study.budget ? ` of ${study.budget}` : "");
      field("best").textContent = study.best_top1 === null ? "" : study.best_top1.toFixed(4);
      field("hypervolume").textContent = study.hypervolume === null ? "" : study.hypervolume.toFixed(4);
      await draw(study.name, study.hypervolume).catch(() => {});
    }
  };
  if (rows.size) repeat(look, REFRESH_MS);
}

// Again and again, the next time only after the last one has ended, and not while nobody looks.
function repeat(work, every_ms) {
  const again = async () => {
    if (!document.hidden) await work().catch(() => {});
    setTimeout(again, every_ms);
  };
  again();
}

async function comparePage() {
  const svg = byId("plot");
  if (!svg) return;
  const axis = JSON.parse(svg.dataset.axis);
  const names = [...document.querySelectorAll("tr[data-study]")].map(row => row.dataset.study);
  const fronts = await Promise.all(names.map(name => ask(`/studies/${segment(name)}/front`).catch(() => ({ study: name, members: [] }))));
  drawFronts(svg, fronts.map(front => points(front, axis)), axis);
}

// ---- one study

function studyPage() {
  const head = byId("study"), name = head.dataset.name;
  const base = `/studies/${segment(name)}`;
  let axis = JSON.parse(head.dataset.axis), recorded = Boolean(head.dataset.recorded);
  const filter = byId("filter");
  let offset = 0;

  const soon = work => {
    let waits = null;
    return () => { waits = waits || setTimeout(() => { waits = null; work().catch(() => {}); }, 1500); };
  };

  async function drawFront() {
    const front = await ask(`${base}/front`);
    if (!axis.objective) return location.reload();
    drawFronts(byId("plot"), [points(front, axis)], axis);
    byId("size").textContent = front.members.length;
    byId("hypervolume").textContent = front.hypervolume.toFixed(4);
    const best = front.members[front.members.length - 1];
    if (best) byId("best").textContent = best.top1.toFixed(4);
    if (byId("detail").textContent.startsWith("No trial")) byId("detail").textContent = "Point at a dot, or reach it by Tab, to see its layout. It leads to the trial.";
  }

  async function drawGrowth() {
    const history = await ask(`${base}/history`), svg = byId("growth");
    svg.replaceChildren();
    if (!history.growths.length) return;
    const list = [...history.growths.map(each => ({ cost: each.evaluated, top1: each.hypervolume })), { cost: history.evaluated, top1: history.growths[history.growths.length - 1].hypervolume }];
    const box = { left: 62, right: 470, top: 10, bottom: 252 };
    const x = scale([0, ...list.map(each => each.cost)], box.left, box.right, value => value);
    const y = scale([0, ...list.map(each => each.top1)], box.bottom, box.top, value => value);
    axes(svg, box, x, y, "evaluated", "hypervolume", ticks(Math.max(0, x.low), x.high, 6), ticks(Math.max(0, y.low), y.high, 5));
    addTo(svg, "path", { class: "steps", d: steps(list, x, y) });
  }

  async function listTrials() {
    const wanted = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
    wanted.set("offset", offset);
    wanted.set("limit", PAGE);
    const page = await ask(`${base}/trials?${wanted}`);
    fill(byId("trials").tBodies[0], page.items.map(trial => [
      link(trial.number, trialPath(name, trial.number)), trial.state, trial.top1 === null ? "" : trial.top1.toFixed(4), digits(trial.latency_ms),
      digits(trial.param_count / 1e6), digits(trial.macs / 1e6), digits(trial.duration_s), trial.layout,
    ]));
    const last = offset + page.items.length;
    byId("range").textContent = page.total ? `${offset + 1} to ${last} of ${page.total}` : "no trial fits";
    byId("earlier").disabled = offset === 0;
    byId("later").disabled = last >= page.total;
  }

  const workers = new Map();
  function showWorkers() {
    const rows = [...workers].sort(([one], [other]) => one.localeCompare(other));
    fill(byId("workers").tBodies[0], rows.map(([worker, trial]) => [
      worker, link(`${trial.number}, ${trial.state}`, trialPath(name, trial.number)), `${digits(trial.duration_s)} s`, trial.recorded.slice(11, 19) + " UTC",
    ]));
  }
  function noteWorker(trial) {
    const known = workers.get(trial.worker);
    if (!known || known.recorded < trial.recorded) workers.set(trial.worker, trial);
  }
  async function listWorkers() {
    const page = await ask(`${base}/trials?order=desc&limit=50`);
    page.items.forEach(noteWorker);
    showWorkers();
  }

  function showState(study) {
    const state = byId("state");
    state.className = `state ${study.state}`;
    state.textContent = study.state;
    byId("position").textContent = study.position ? `place ${study.position} in the queue` : "";
    byId("exit").textContent = study.exit_line || "";
    byId("counts").textContent = `${study.trials.COMPLETE}, ${study.trials.FAIL}`;
    showProgress(study.evaluated, study.budget);
    for (const [id, states] of [["stop", ["queued", "running", "stopping"]], ["continue", ["stopped", "finished", "failed"]]])
      if (byId(id)) byId(id).disabled = !states.includes(study.state);
  }

  const ends = [];
  function showProgress(evaluated, budget) {
    byId("progress").value = evaluated;
    if (budget) byId("progress").max = budget;
    byId("evaluated").textContent = evaluated + (budget ? ` of ${budget}` : "") + " evaluated";
    while (ends.length > 20) ends.shift();
    const minutes = ends.length > 2 ? (ends[ends.length - 1] - ends[0]) / 60000 : 0;
    if (!minutes) return;
    const rate = (ends.length - 1) / minutes, left = budget ? Math.max(0, budget - evaluated) / rate : 0;
    byId("rate").textContent = `${rate.toFixed(1)} a minute` + (left ? `, about ${Math.ceil(left)} min left` : "");
  }

  function showLine(text) {
    const log = byId("log"), isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    const lines = log.textContent ? log.textContent.split("\n") : [];
    log.textContent = [...lines, text].slice(-400).join("\n");
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  const refreshTrials = soon(listTrials), refreshFront = soon(drawFront), refreshGrowth = soon(drawGrowth);

  // The stream of the browser goes on by itself behind the last event, also after a restart of the service.
  function listen() {
    const stream = new EventSource(`${API}${base}/events?after=${segment(head.dataset.after)}`);
    stream.onopen = () => lost(false);
    stream.onerror = () => lost(true);
    const on = (event, work) => stream.addEventListener(event, message => { lost(false); work(JSON.parse(message.data)); });
    on("state", study => { showState(study); if (study.recorded && !recorded) location.reload(); });
    on("line", line => showLine(line.text));
    on("front", () => { refreshFront(); refreshGrowth(); });
    on("trial", trial => {
      ends.push(Date.parse(trial.recorded));
      noteWorker(trial);
      showWorkers();
      showProgress(trial.evaluated, trial.budget);
      refreshTrials();
    });
  }

  filter.addEventListener("change", () => { offset = 0; listTrials().catch(() => {}); });
  byId("earlier").addEventListener("click", () => { offset = Math.max(0, offset - PAGE); listTrials().catch(() => {}); });
  byId("later").addEventListener("click", () => { offset += PAGE; listTrials().catch(() => {}); });
  byId("effects").addEventListener("toggle", () => { if (byId("effects").open) showEffects(base); });
  actions(base, name, showState);
  const log = byId("log");
  log.scrollTop = log.scrollHeight;
  listen();
  ask(base).then(showState).catch(() => {});
  if (!recorded) return;
  for (const work of [drawFront, drawGrowth, listTrials, listWorkers]) work().catch(() => {});
}

function actions(base, name, showState) {
  if (!byId("stop")) return;
  const act = async (path, options) => {
    say("");
    try {
      const study = await ask(base + path, options);
      if (study === null) return location.assign("/");
      showState(study);
      say(`${name} is ${study.state}.`);
    } catch (error) { say(error.message); }
  };
  byId("stop").addEventListener("click", () => act("/stop", { method: "POST" }));
  byId("continue").addEventListener("click", () => act("/continue", { method: "POST" }));
  byId("extend").addEventListener("submit", event => {
    event.preventDefault();
    act("/extend", { method: "POST", body: JSON.stringify({ budget: Number(event.target.budget.value) }) });
  });
  byId("delete").addEventListener("submit", event => {
    event.preventDefault();
    act(`?confirm=${segment(event.target.confirm.value)}`, { method: "DELETE" });
  });
}

const percent = share => (100 * share).toFixed(1);

async function showEffects(base) {
  const table = byId("effects").querySelector("table");
  try {
    const found = await ask(`${base}/explain`);
    fill(table.tBodies[0], found.genes.map(gene => [
      gene.gene, percent(gene.top1.alone), percent(gene.top1.total), percent(gene.cost.alone), percent(gene.cost.total), gene.best_for_top1 ?? "", gene.cheapest ?? "",
    ]));
    table.hidden = false;
    byId("effects-note").textContent = [`Learned from ${found.learned_from} trials.`, ...found.warnings].join(" ");
  } catch (error) { byId("effects-note").textContent = error.message; }
}

// ---- one trial

function trialPage() {
  const head = byId("trial"), study = head.dataset.study, number = head.dataset.number;
  const base = `/studies/${segment(study)}`;
  byId("drawing").addEventListener("error", () => byId("drawing").closest("figure").remove());
  if (byId("export")) byId("export").addEventListener("submit", event => {
    event.preventDefault();
    exportTrial(base, number, event.target).catch(error => say(error.message));
  });
  if (byId("changes")) byId("changes").addEventListener("toggle", () => { if (byId("changes").open) showChanges(base, study, number); });
}

async function exportTrial(base, number, form) {
  form.querySelector("button").disabled = true;
  say("The export waits for its turn.");
  try {
    let job = await ask(`${base}/exports`, { method: "POST", body: JSON.stringify({ pick: `trial:${number}`, name: form.name.value || null, onnx: form.onnx.checked }) });
    while (job.state === "queued" || job.state === "running") {
      await new Promise(done => setTimeout(done, 1000));
      job = await ask(`/jobs/${job.id}`);
      say(job.state === "running" ? "The export is being written." : "The export waits for its turn.");
    }
    if (job.state === "failed") throw new Error(job.message || "the export failed");
    const answer = byId("answer");
    answer.textContent = "Exported: ";
    answer.append(link(job.entry, `/zoo/${segment(job.entry)}`), ", ", link("download", `${API}/zoo/${segment(job.entry)}/download`));
  } finally { form.querySelector("button").disabled = false; }
}

async function showChanges(base, study, number) {
  const table = byId("changes").querySelector("table");
  try {
    const found = await ask(`${base}/explain?trial=${number}`);
    const line = found.lineages.find(ancestors => String(ancestors[0].trial_number) === number) || [];
    byId("lineage").replaceChildren(...line.map(each => {
      const item = document.createElement("li");
      item.append(link(`trial ${each.trial_number}`, trialPath(study, each.trial_number)), `: top1 ${each.top1.toFixed(4)}`);
      for (const [gene, before, after] of each.changed) item.append(`; ${gene} ${before} to ${after}`);
      return item;
    }));
    fill(table.tBodies[0], found.changes.map(change => [
      change.gene, change.before, change.after,
      change.top1 === null ? "" : `${(100 * change.top1).toFixed(1)} ± ${(100 * change.top1_sd).toFixed(1)}`,
      change.cost_percent === null ? "" : change.cost_percent.toFixed(1),
      change.no_effect ? `no effect: ${change.no_effect}` : change.also.length ? `repair gives ${change.also.join(", ")}` : "",
    ]));
    table.hidden = false;
    byId("changes-note").textContent = "Predicted by what the study taught; one gene changed at a time.";
  } catch (error) { byId("changes-note").textContent = error.message; }
}

const PAGES = { studies: studiesPage, compare: comparePage, study: studyPage, trial: trialPage };
(PAGES[document.body.dataset.page] || (() => {}))();
