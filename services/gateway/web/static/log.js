// The log of a job. Only the rows on the screen are in the page; lines are loaded by range.
// Rows are built from text nodes and classes, so nothing in a log becomes markup.
const place = document.getElementById("log");
const LINE = 18, STEP = 28, CHUNK = 500, KEPT = 40, ABOVE = 30;
const words = { success: "succeeded", failed: "failed", timed_out: "timed out", running: "running", cancelled: "cancelled" };
let facts = JSON.parse(place.dataset.facts);
let sections = [], height = 0, follow = false, marked = null;
const open = new Map(); // by the step's first line
const chunks = new Map(); // by the chunk's first line: Map of line number to row, or a promise
const view = document.createElement("div"), rows = document.createElement("div"), bar = document.createElement("div");

function make(kind, classes, text) {
  const made = document.createElement(kind);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

function duration(seconds) {
  if (seconds === null) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

// Lines outside of steps are a section without a head.
function arrange() {
  const made = [];
  let line = 1;
  for (const step of facts.steps) {
    if (step.first - 1 > line) made.push({ first: line, end: step.first - 1 });
    made.push({ ...step, step: true });
    line = step.end + 1;
  }
  if (line < facts.next) made.push({ first: line, end: facts.next });
  let top = 0;
  for (const one of made) {
    one.top = top;
    one.head = one.step ? STEP : 0;
    one.open = !one.step || isOpen(one);
    top += one.head + (one.open ? (one.end - one.first) * LINE : 0);
  }
  sections = made;
  height = top;
  rows.style.height = `${height}px`;
}

function isOpen(step) {
  if (open.has(step.first)) return open.get(step.first);
  const failed = facts.steps.some((one) => one.outcome === "failed" || one.outcome === "timed_out");
  return failed ? step.outcome === "failed" || step.outcome === "timed_out" : step.outcome === "running" || facts.steps.length === 1 || step.end - step.first < 200;
}

function rowAt(number) {
  const chunk = chunks.get(Math.floor((number - 1) / CHUNK) * CHUNK + 1);
  return chunk instanceof Map ? chunk.get(number) : undefined;
}

function want(number) {
  const first = Math.floor((number - 1) / CHUNK) * CHUNK + 1;
  const kept = chunks.get(first);
  const whole = kept instanceof Map && (kept.upTo >= Math.min(first + CHUNK, facts.next));
  if (whole || kept instanceof Promise || kept?.loading) return;
  if (kept) kept.loading = true;
  const upTo = facts.next;
  const loading = fetch(`${place.dataset.base}/lines?${place.dataset.query}from=${first}`)
    .then((answer) => answer.ok ? answer.json() : Promise.reject(answer.status))
    .then((found) => {
      const chunk = new Map(found.map((row) => [row[0], row]));
      chunk.upTo = Math.min(first + CHUNK, upTo);
      chunks.delete(first);
      chunks.set(first, chunk);
      while (chunks.size > KEPT) chunks.delete(chunks.keys().next().value);
      draw();
    })
    .catch(() => { chunks.delete(first); });
  if (!kept) chunks.set(first, loading);
}

function lineRow(number, top) {
  const row = rowAt(number);
  const made = make("div", `row ${row ? row[1] : ""}${number === marked ? " marked" : ""}`);
  made.id = `L${number}`;
  made.style.top = `${top}px`;
  const link = make("a", "", String(number));
  link.href = `#L${number}`;
  const text = make("span");
  for (const piece of row ? row[2] : []) text.append(typeof piece === "string" ? piece : make("span", piece[0], piece[1]));
  made.append(link, text);
  return made;
}

function stepRow(section) {
  const made = make("button", "step");
  made.type = "button";
  made.setAttribute("aria-expanded", String(section.open));
  made.style.top = `${section.top}px`;
  const mark = document.getElementById("marks").content.querySelector(`[data-mark="${section.outcome}"]`);
  if (mark) made.append(mark.cloneNode(true));
  const code = section.outcome === "failed" && section.exit_code !== null ? `exited ${section.exit_code}` : words[section.outcome] ?? section.outcome;
  made.append(make("span", "", section.name), make("span", "took", `${code} ${duration(section.seconds)}`));
  made.addEventListener("click", () => { open.set(section.first, !section.open); follow = false; arrange(); draw(); rows.querySelectorAll(".step").forEach((one) => { if (one.textContent === made.textContent) one.focus(); }); });
  return made;
}

function draw() {
  const from = Math.max(0, view.scrollTop - ABOVE * LINE), to = view.scrollTop + view.clientHeight + ABOVE * LINE;
  const made = [];
  for (const section of sections) {
    const lines = section.open ? section.end - section.first : 0;
    if (section.top + section.head + lines * LINE < from || section.top > to) continue;
    if (section.step) made.push(stepRow(section));
    const begin = section.top + section.head;
    const first = Math.max(0, Math.floor((from - begin) / LINE)), last = Math.min(lines, Math.ceil((to - begin) / LINE));
    for (let index = first; index < last; index++) {
      want(section.first + index);
      made.push(lineRow(section.first + index, begin + index * LINE));
    }
  }
  const focused = rows.contains(document.activeElement) ? document.activeElement.textContent : null;
  rows.replaceChildren(...made);
  if (focused) [...rows.querySelectorAll("button, a")].find((one) => one.textContent === focused)?.focus({ preventScroll: true });
}

function setFollow(wanted) {
  follow = wanted && !facts.over;
  button.setAttribute("aria-pressed", String(follow));
  if (follow) view.scrollTop = height;
}

function show(number, toMiddle) {
  for (const section of sections) {
    if (number < section.first || number >= section.end) continue;
    if (!section.open) { open.set(section.first, true); arrange(); }
    const now = sections.find((one) => one.first === section.first);
    view.scrollTop = now.top + now.head + (number - section.first) * LINE - (toMiddle ? view.clientHeight / 2 : 0);
  }
  draw();
}

function fromAddress() {
  const found = /^#L(\d+)$/.exec(location.hash);
  marked = found ? Number(found[1]) : null;
  if (marked) show(marked, true);
  return marked !== null;
}

const button = make("button", "", "Follow");
if (facts.next > 1 || !facts.over) {
  button.type = "button";
  button.hidden = facts.over;
  button.addEventListener("click", () => setFollow(!follow));
  const all = make("button", "", "Open all steps");
  all.type = "button";
  all.addEventListener("click", () => {
    const wanted = sections.some((one) => one.step && !one.open);
    for (const one of sections) if (one.step) open.set(one.first, wanted);
    all.textContent = wanted ? "Close all steps" : "Open all steps";
    arrange(); draw();
  });
  const count = make("span", "quiet small");
  bar.className = "log-bar";
  bar.append(button, all, count);
  view.className = "log-view";
  view.tabIndex = 0;
  view.setAttribute("role", "region");
  view.setAttribute("aria-label", "Log");
  rows.className = "log-rows";
  view.append(rows);
  const frame = make("div", "log");
  frame.append(view);
  place.replaceChildren(bar, frame);
  const told = () => { count.textContent = `${facts.next - 1} lines`; };
  told();
  arrange();
  let drawing = false, last = 0;
  view.addEventListener("scroll", () => {
    if (view.scrollTop < last - 2) setFollow(false);
    last = view.scrollTop;
    if (!drawing) { drawing = true; requestAnimationFrame(() => { drawing = false; draw(); }); }
  });
  window.addEventListener("hashchange", fromAddress);
  window.addEventListener("resize", draw);
  if (!fromAddress()) {
    const failed = facts.steps.find((one) => one.outcome === "failed" || one.outcome === "timed_out");
    if (failed) {
      const section = sections.find((one) => one.first === failed.first);
      const bottom = section.top + section.head + (failed.end - failed.first) * LINE;
      view.scrollTop = Math.max(Math.min(section.top, bottom), bottom - view.clientHeight + LINE);
    }
    draw();
    if (!facts.over) setFollow(true);
  }
  if (!facts.over) {
    const source = new EventSource(`${place.dataset.base}/live?${place.dataset.query}`);
    source.addEventListener("facts", (event) => {
      facts = JSON.parse(event.data);
      told();
      const head = document.getElementById("job-status");
      if (head.dataset.shown !== facts.head) head.innerHTML = head.dataset.shown = facts.head; // escaped by the server
      arrange();
      if (follow) view.scrollTop = height;
      draw();
      place.dataset.status = facts.status;
      if (facts.over) { source.close(); button.hidden = true; place.dataset.ended = ""; }
    });
  }
}
