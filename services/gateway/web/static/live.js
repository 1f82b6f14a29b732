// Keeps the sections of a page current: each event has the new HTML of those that changed.
const root = document.querySelector("[data-live]");
function replace(id, html) {
  const section = document.getElementById(id);
  if (!section || section.dataset.shown === html) return;
  const focused = document.activeElement;
  const at = section.contains(focused) ? [...section.querySelectorAll("a, button, [tabindex], summary")].indexOf(focused) : -1;
  const open = new Set([...section.querySelectorAll("details[open]")].map((one) => one.id));
  section.innerHTML = html; // rendered and escaped by the server; scripts in it would not run
  for (const one of section.querySelectorAll("details")) one.open = open.has(one.id);
  if (at >= 0) section.querySelectorAll("a, button, [tabindex], summary")[at]?.focus();
}
if (root) {
  const source = new EventSource(root.dataset.live);
  source.addEventListener("sections", (event) => {
    const told = JSON.parse(event.data);
    for (const [id, html] of Object.entries(told.sections)) replace(id, html);
    root.dataset.status = told.status;
    const name = document.getElementById("run-head").querySelector(".verdict p").textContent.split(/[:.]/)[0];
    document.title = document.title.replace(/^[^:]*/, name);
  });
  source.addEventListener("end", () => { source.close(); root.dataset.ended = ""; });
}
