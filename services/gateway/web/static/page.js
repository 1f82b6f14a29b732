// Keeps relative times current, copies commands, and asks before a form that asks for it is sent.
function ago(at) {
  const passed = Math.max(0, (Date.now() - at) / 1000);
  if (passed < 45) return "just now";
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.round(passed / length);
    if (count >= 1 || unit === "minute") return `${Math.max(count, 1)} ${unit}${count > 1 ? "s" : ""} ago`;
  }
}
setInterval(() => {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const said = ago(Date.parse(time.dateTime));
    if (time.textContent !== said) time.textContent = said;
  }
}, 15000);
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
    button.textContent = "Copied";
  });
}
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
