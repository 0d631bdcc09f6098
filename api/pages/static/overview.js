// Keeps the live values of the overview fresh. Without it the page still shows what was true when it was drawn.
// @ts-check

const PERIOD_MS = 2000;
const table = document.querySelector("table[data-live]");

/** @param {number} seconds */
function ageText(seconds) {
  return seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

async function refresh() {
  if (!table) return;
  const answer = await fetch(`/api/v1/readings/latest?enterprise=${encodeURIComponent(table.getAttribute("data-live") ?? "")}`);
  if (!answer.ok) return;
  const now = Date.parse(answer.headers.get("date") ?? "") || Date.now();
  for (const reading of await answer.json()) {
    const row = table.querySelector(`tr[data-series="${CSS.escape(reading.series)}"]`);
    if (!row) continue;
    const value = row.querySelector(".value");
    const age = row.querySelector(".age");
    if (value) value.textContent = reading.display;
    if (age) age.textContent = ageText(Math.max(0, (now - reading.instant_us / 1000) / 1000));
  }
}

if (table) {
  setInterval(() => { refresh().catch(() => {}); }, PERIOD_MS);
}
