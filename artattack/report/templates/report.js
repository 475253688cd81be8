"use strict";
// Figures. Those that cannot be seen have no width to be drawn to, so each is drawn when it is first shown.
const draw = (plot) => {
  if (plot.dataset.drawn || !plot.offsetParent) return;
  plot.dataset.drawn = "1";
  const figure = JSON.parse(document.querySelector(`script[data-for="${CSS.escape(plot.id)}"]`).textContent);
  if (window.innerWidth < 640) {
    figure.layout.font.size = 10;
    figure.layout.margin = { l: 8, r: 8, t: 8, b: 40 };
    if (figure.layout.yaxis.ticktext) {  // names above their points instead of beside them
      Object.assign(figure.layout.yaxis, { ticklabelposition: "inside top", ticklabelshift: 10 });
      figure.layout.height += 18 * figure.layout.yaxis.ticktext.length;
    }
  }
  Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
};
const choice = document.getElementById("curve-choice");
const showCurve = () => {
  for (const curve of document.querySelectorAll(".curve")) curve.hidden = curve.dataset.curve !== choice.value;
  document.querySelectorAll(".plot").forEach(draw);
};
if (choice) {
  choice.addEventListener("change", showCurve);
  showCurve();
} else document.querySelectorAll(".plot").forEach(draw);

// Tables: sort by a heading, filter by text.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort;
    const number = (value) => value === "inf" ? Infinity : Number(value);
    const numeric = [...body.rows].every((row) => key(row) !== "" && !Number.isNaN(number(key(row))));
    const compare = numeric
      ? (a, b) => number(key(a)) - number(key(b)) || 0
      : (a, b) => key(a).localeCompare(key(b));
    const empty = (row) => row.cells[column].textContent === "";
    body.append(...[...body.rows].sort((a, b) => empty(a) - empty(b) || (down ? -1 : 1) * compare(a, b)));
  }));
}
for (const input of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const count = input.closest(".filter").querySelector(".count");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  input.addEventListener("input", filter);
  filter();
}

// Gallery: one page at a time.
const PAGE = 12;
const articles = [...document.querySelectorAll("#gallery article")];
if (articles.length) {
  const attack = document.getElementById("gallery-attack");
  const flips = document.getElementById("gallery-flips");
  const [before, next] = ["before", "next"].map((name) => document.getElementById(`gallery-${name}`));
  let page = 0;
  const show = () => {
    const chosen = articles.filter((article) =>
      (!attack.value || article.dataset.attack === attack.value) && (!flips.checked || article.dataset.flip));
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const shown = new Set(chosen.slice(page * PAGE, (page + 1) * PAGE));
    for (const article of articles) article.hidden = !shown.has(article);
    document.getElementById("gallery-page").textContent = `page ${page + 1} of ${pages}, ${chosen.length} pictures`;
    before.disabled = page === 0;
    next.disabled = page === pages - 1;
  };
  for (const control of [attack, flips]) control.addEventListener("change", () => { page = 0; show(); });
  before.addEventListener("click", () => { page -= 1; show(); });
  next.addEventListener("click", () => { page += 1; show(); });
  addEventListener("beforeprint", () => articles.forEach((article) => { article.hidden = false; }));
  addEventListener("afterprint", show);
  show();
}
