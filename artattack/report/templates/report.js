"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Figures. What is not shown has no width to be drawn to, so each is drawn when it is first shown, and once more
// whenever its width has changed: a narrow one is laid out in another way.
const draw = (plot) => {
  const width = plot.clientWidth;
  if (!width || plot.dataset.drawn === String(width)) return;
  plot.dataset.drawn = width;
  const { data, layout } = JSON.parse(plot.nextElementSibling.textContent);
  const names = layout.yaxis.ticktext;
  layout.width = width;
  if (names && width < 560) {  // names above their points instead of beside them
    const line = { xref: "paper", x: 0, xanchor: "left", showarrow: false };
    layout.annotations = names.map((text, n) => ({ ...line, text, y: n - 0.38 }));
    Object.assign(layout.yaxis, { showticklabels: false, showgrid: false });
    Object.assign(layout.margin, { l: 12, r: 20 });
    layout.height += 22 * names.length;
  }
  Plotly.react(plot, data, layout, { displayModeBar: false });
};
const drawShown = () => all(".plot").forEach(draw);
const widths = new ResizeObserver((changes) => changes.forEach(({ target }) => draw(target)));
all(".plot").forEach((plot) => widths.observe(plot));

// A choice shows the one part that it names.
const choose = (id, parts, name) => {
  const choice = document.getElementById(id);
  if (!choice) return;
  const show = () => {
    for (const part of parts) part.hidden = part.dataset[name] !== choice.value;
    drawShown();
  };
  choice.addEventListener("change", show);
  show();
};
choose("curve-choice", all(".curve"), "curve");
choose("transfer-choice", all("[data-place]"), "place");
drawShown();

// Two pictures over each other: the handle says how much of the upper one, the original, is shown.
for (const range of all(".compare input")) {
  const show = () => {
    range.parentElement.style.setProperty("--shown", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % original`);
  };
  range.addEventListener("input", show);
  show();
}

// Tables: sort by a heading, filter by words.
for (const table of all("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of headings) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort;
    const empty = (row) => row.cells[column].textContent === "";
    const rows = [...body.rows];
    const numeric = rows.every((row) => empty(row) || row.cells[column].matches(".number, .figure"));
    const compare = numeric ? (a, b) => Number(key(a)) - Number(key(b)) : (a, b) => key(a).localeCompare(key(b));
    // What is missing stands last either way.
    rows.sort((a, b) => empty(a) - empty(b) || (empty(a) ? 0 : (down ? -1 : 1) * compare(a, b)));
    body.append(...rows);
  }));
}
for (const input of all(".table input")) {
  const rows = [...input.closest(".table").querySelector("table").tBodies[0].rows];
  const count = input.closest(".filter").querySelector(".count");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  input.addEventListener("input", filter);
  filter();
}

// Gallery: one page at a time; a picture is decoded when its page is first shown.
const PAGE = 8;
const articles = all("#gallery article");
if (articles.length) {
  const files = JSON.parse(document.getElementById("files").textContent);
  const [attack, image, flips] = ["attack", "image", "flips"].map((name) => document.getElementById(`gallery-${name}`));
  let page = 0;
  const load = (article) => {
    for (const picture of all("img:not([src])", article)) {
      picture.addEventListener("load", () => picture.classList.toggle("small", picture.naturalWidth < 128));
      picture.src = files[picture.dataset.file];
    }
  };
  const show = () => {
    const chosen = articles.filter(({ dataset }) => (!attack.value || dataset.attack === attack.value)
      && (!image.value || dataset.image === image.value) && (!flips.checked || dataset.flip));
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const shown = new Set(chosen.slice(page * PAGE, (page + 1) * PAGE));
    for (const article of articles) article.hidden = !shown.has(article);
    shown.forEach(load);
    for (const pager of all("#gallery .pager")) {
      pager.querySelector(".page").textContent = `page ${page + 1} of ${pages}, ${chosen.length} pictures`;
      pager.querySelector(".previous").disabled = page === 0;
      pager.querySelector(".next").disabled = page === pages - 1;
    }
  };
  for (const control of [attack, image, flips]) control.addEventListener("change", () => { page = 0; show(); });
  for (const button of all("#gallery .pager button")) {
    button.addEventListener("click", () => { page += button.className === "next" ? 1 : -1; show(); });
  }
  addEventListener("beforeprint", () => articles.forEach((article) => { load(article); article.hidden = false; }));
  addEventListener("afterprint", show);
  show();
}

// On paper everything is shown.
addEventListener("beforeprint", () => {
  for (const part of all(".curve, [data-place]")) part.hidden = false;
  for (const part of all("#tables details:not([open])")) { part.open = true; part.dataset.printed = ""; }
  drawShown();
  for (const plot of all(".plot")) plot.style.width = `${plot.clientWidth}px`;  // drawings do not shrink with the page
});
addEventListener("afterprint", () => {
  for (const plot of all(".plot")) plot.style.width = "";
  for (const part of all("details[data-printed]")) { part.open = false; delete part.dataset.printed; }
  for (const choice of all("#curve-choice, #transfer-choice")) choice.dispatchEvent(new Event("change"));
});
