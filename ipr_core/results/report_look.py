"""Style and script of the report, on a screen and in print."""

STYLE = """
:root { --ink: #1c1e21; --faint: #5a5f6b; --line: #dde; --page: #fff; --card: #f6f7f9; --link: #1a5fb4; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --faint: #a3a8b4; --line: #343840; --page: #16181c; --card: #1f2228; --link: #8ab8ff; }
}
html { scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 84rem; display: flex; gap: 3rem; padding: 0 1.5rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
nav { flex: 0 0 14rem; position: sticky; top: 0; align-self: flex-start; max-height: 100vh; overflow: auto;
  padding: 2rem 0; font-size: 0.85rem; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav li { padding: 0.15rem 0 0.15rem 0.9rem; line-height: 1.35; }
nav li.h1 { font-weight: 600; padding: 0.4rem 0 0.1rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
main { flex: 1; min-width: 0; padding: 2rem 0 6rem; }
main > section { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 0.5rem; }
h1, h2, h3 { line-height: 1.25; margin: 1.6rem 0 0.6rem; break-after: avoid; }
header h1 { margin-top: 0; overflow-wrap: anywhere; }
h3 { font-size: 1rem; }
p, ul, ol, blockquote { max-width: 54rem; }
.asked { color: var(--faint); } .verdict { font-size: 1.15rem; font-weight: 600; }
.columns { display: flex; gap: 2rem; } .columns > div { flex: 1; } .columns ul { padding-left: 1.1rem; margin: 0; }
.columns li { margin-bottom: 0.3rem; font-size: 0.9rem; } .columns h3 { margin-top: 0.6rem; }
pre, details, .output, table { font-size: 0.85rem; }
pre { background: var(--card); border-radius: 6px; padding: 0.7rem 1rem; overflow-x: auto;
  line-height: 1.45; margin: 0.5rem 0; }
pre.stderr { color: var(--faint); } pre.error { border-left: 4px solid #d33; }
code { background: var(--card); border-radius: 4px; padding: 0.1em 0.3em; font-size: 0.9em; }
pre code { background: none; padding: 0; font-size: 1em; }
summary { color: var(--faint); cursor: pointer; }
table { border-collapse: collapse; border: 0; margin: 0.6rem 0; } .output { overflow-x: auto; min-width: 0; }
th, td { padding: 0.25rem 0.8rem; text-align: right; border: 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th:first-child, td:first-child, .settings td, .heard td, .heard th { text-align: left; }
.settings th { white-space: nowrap; vertical-align: top; }
math[display="block"] { margin: 0.9rem 0; font-size: 1.1em; overflow-x: auto; }
img, svg { max-width: 100%; } audio { height: 2.2rem; max-width: 16rem; }
.figures { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 0.8rem 1.4rem; }
.figures > * { grid-column: span 3; } .figures > .wide { grid-column: 1 / -1; }
.figures.first > * { grid-column: span 2; }
figure { margin: 0; min-width: 0; } figcaption { font-weight: 600; font-size: 0.85rem; }
.figure .infolayer text, .figure [class*="axislayer"] text,
.figure text[style*="fill: rgb(117, 117, 117)"] { fill: var(--ink) !important; }
@media screen and (max-width: 70rem) {
  body { display: block; } nav { position: static; padding: 1rem 0 0; } .columns { display: block; }
  .figures > *, .figures.first > * { grid-column: 1 / -1; }
}
@page { size: A4; margin: 12mm 14mm 13mm; }
@media print {
  nav, audio, .sound, .screen, details:not([open]) { display: none; }
  body { display: block; max-width: none; padding: 0; font-size: 9.2pt; line-height: 1.36; }
  main { padding: 0; } main > section { margin-top: 0.8rem; padding-top: 0; border-top: 0; }
  .appendix:not(:has(details[open])) { display: none; }
  header { break-after: page; } h1 { font-size: 16pt; margin: 0 0 0.4rem; }
  h2 { font-size: 12pt; margin: 0.5rem 0 0.3rem; }
  h3 { margin: 0.5rem 0 0.2rem; font-size: 9.6pt; } .verdict { font-size: 10.6pt; margin: 0.4rem 0; }
  p { margin: 0.35rem 0; max-width: none; orphans: 3; widows: 3; }
  .columns { display: flex; gap: 6mm; } .columns li { font-size: 8.6pt; margin-bottom: 0.15rem; }
  .figures { gap: 2mm 4mm; margin: 0.3rem 0; } .figures > * { grid-column: span 3; }
  .figures.first > * { grid-column: span 2; }
  figure, tr, li, pre, .output { break-inside: avoid; } pre { white-space: pre-wrap; }
  figcaption { font-size: 8pt; } table, .output { font-size: 7.6pt; margin: 0.25rem 0; overflow: visible; }
  th, td { padding: 0.1rem 0.4rem; } #results td:first-child { min-width: 24mm; }
  a { color: inherit; }
}
"""

# Titles are captions here. The legend lies below, where it needs no width, and pushes the plot up as far as it must.
# A figure with many curves grows by its legend, which is never cut: it is drawn with room for all of it, and then
# made as high as it has to be. Without that room plotly gives up.
# In print every figure has the width of its column, which is known before the page is laid out: plotly does not resize
# by itself while a browser prints.
DRAW = """
const PRINT = {first: 218, half: 334, wide: 682};
const places = [...document.querySelectorAll(".figure")];
const column = (place) => place.closest(".first") ? "first"
  : place.closest(".wide") || !place.closest(".figures") ? "wide" : "half";
const screen = new Map();
const PLOT = 120;
const room = (place) => 22 * place.data.length;
const settle = (place, height) => {
  const legend = place.querySelector(".legend");
  Plotly.relayout(place, {height: Math.max(height, PLOT + (legend ? legend.getBBox().height : 0))});
};
const fit = (place, width, height, size) => {
  Plotly.relayout(place, {width, height: height + room(place), "font.size": size,
    ...Object.fromEntries((place.layout.annotations || []).map((_, i) => [`annotations[${i}].font.size`, size]))});
  settle(place, height);
};
for (const place of places) {
  const {data, layout, config} = JSON.parse(place.firstElementChild.textContent);
  place.replaceChildren();
  const margin = {l: 10, r: 10, t: layout.annotations ? 28 : 12, b: 10};
  const legend = {...layout.legend, itemwidth: 30, maxheight: 1, orientation: "h", x: 0,
    xref: "container", xanchor: "left", y: 0, yref: "container", yanchor: "bottom"};
  const height = layout.height || 450;
  const drawn = {...layout, title: {text: ""}, width: undefined, height: height + 22 * data.length, margin, legend,
    uniformtext: {minsize: 6, mode: "hide"}, font: {...(layout.font || {}), size: 12}};
  screen.set(place, height);
  const settings = {...config, toImageButtonOptions: {format: "svg"}, responsive: true, displaylogo: false};
  Plotly.newPlot(place, data, drawn, settings).then(() => settle(place, height));
}
for (const details of document.querySelectorAll("details"))
  details.addEventListener("toggle", () => {
    if (details.open) details.querySelectorAll(".figure").forEach((place) => Plotly.Plots.resize(place));
  });
addEventListener("beforeprint", () => {
  for (const place of places.filter((place) => place.offsetParent)) {
    const kind = column(place), share = place.closest(".alone") ? 0.5 : 0.6;
    const height = Math.max(150, Math.min(share * screen.get(place), 330));
    fit(place, PRINT[kind], kind === "first" ? 215 : height, kind === "first" ? 8.5 : 9);
    place.style.minHeight = "0";
  }
});
addEventListener("afterprint", () => {
  for (const place of places.filter((place) => place.offsetParent)) {
    place.style.minHeight = `${screen.get(place)}px`;
    fit(place, place.parentElement.clientWidth, screen.get(place), 12);
  }
});
"""
