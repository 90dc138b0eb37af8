// Plotly figures in the page. One plotly.js serves those of all kernels.
const page = (window.__ipr_workbench ??= {});
page.plotly ??= new Promise((resolve) => { page.bring = resolve; });

// One drawing at a time. The page does its other work, which it shows, when they have taken a while: what changes
// together is then seen together.
const TURN = 100;  // milliseconds
async function takeTurn() {
  if (performance.now() - (page.turn ?? -TURN) < TURN) return;
  await new Promise((resolve) => setTimeout(resolve));
  page.turn = performance.now();
}
function inTurn(draw) {
  page.drawings = (page.drawings ?? Promise.resolve()).then(takeTurn).then(draw).catch((error) => console.error(error));
}

// The wheel zooms maps only; over any other figure it scrolls the page.
const options = (layout, Plotly) => ({
  displaylogo: false, plotlyServerURL: "", responsive: false, toImageButtonOptions: { format: "svg" }, scrollZoom: layout.dragmode === "select",
  modeBarButtonsToAdd: [{ name: "print", title: "Print, or save as PDF", icon: Plotly.Icons.disk, click: (div) => print(div, Plotly) }],
});

// Print a figure as it is seen, on a page of its size; the browser's dialogue saves it as PDF, with its fonts.
async function print(div, Plotly) {
  const { width, height, title } = div._fullLayout;
  const image = await Plotly.toImage(div, { format: "svg", width, height });
  page.printed?.remove();  // of the figure before, in browsers that do not tell when they have printed
  const frame = page.printed = document.createElement("iframe");
  frame.sandbox = "allow-same-origin allow-modals";  // no script runs there
  frame.style.cssText = "position: fixed; width: 0; height: 0; border: 0";
  frame.srcdoc = `<style>@page { size: ${width}px ${height}px; margin: 0 } body { margin: 0 } svg { display: block }</style>`
    + decodeURIComponent(image.slice(image.indexOf(",") + 1));
  await new Promise((resolve) => { frame.onload = resolve; document.body.append(frame); });
  frame.contentDocument.title = title?.text || "figure";
  frame.contentWindow.onafterprint = () => frame.remove();
  frame.contentWindow.print();
}

function bring(source) {
  if (!page.bring) return;
  const module = { exports: {} };
  // As CommonJS, so that an AMD loader in the page does not matter.
  new Function("module", "exports", "define", new TextDecoder().decode(source))(module, module.exports, undefined);
  page.bring(module.exports);
  page.bring = null;
}

// Return `next` with equal parts taken from `previous`: plotly does not draw the same object again.
function reuse(previous, next) {
  if (!previous || !next || typeof previous !== "object" || typeof next !== "object") return next;
  if (Array.isArray(previous) !== Array.isArray(next)) return next;
  const names = Object.keys(next);
  for (const name of names) next[name] = reuse(previous[name], next[name]);
  const same = names.length === Object.keys(previous).length && names.every((name) => next[name] === previous[name]);
  return same ? previous : next;
}

// Return the fields of a point that Python reads.
function fields(point) {
  const number = point.pointNumber ?? point.pointIndex ?? null;
  const { x, y, customdata } = point;
  return { trace: point.curveNumber, point: number, x, y, customdata: customdata ?? null, meta: point.data.meta ?? null };
}

function fillFigure({ el, sheet, send }) {
  const div = document.createElement("div");
  div.style.width = "100%";
  div.classList.add("ipr-figure");
  el.append(div);
  let isDrawn = false, isScheduled = false, isClosed = false, figure = {}, drawn = null;

  const report = (kind) => (event) => send({ kind, points: (event?.points ?? []).map(fields) });

  // Give plotly the width: its own fitting of a figure to its place, while it is drawn anew, never ended now and then.
  async function draw() {
    isScheduled = false;
    const Plotly = await page.plotly, value = sheet.get("value"), width = div.clientWidth;  // 0 where nobody sees it
    if (isClosed || !value) return;
    if (value === drawn) {
      if (width && width !== div._fullLayout.width) await Plotly.relayout(div, { width });
      return;
    }
    const next = JSON.parse(value);
    if (width) next.layout.width = width;
    figure = reuse(figure, next);
    const { data, layout } = figure;
    div.style.height = `${layout.height}px`;
    await Plotly.react(div, data, layout, options(layout, Plotly));
    drawn = value;
    div.setAttribute("role", "group");  // not "img", which would hide its buttons
    div.setAttribute("aria-label", layout.title?.text ?? "figure");
    if (isDrawn) return;
    isDrawn = true;
    div.on("plotly_click", report("click"));
    div.on("plotly_hover", report("hover"));
    div.on("plotly_unhover", report("leave"));
    // plotly also sends this when a drawing has cleared the box; only a reader's own has a range or a lasso.
    div.on("plotly_selected", (event) => (event?.range || event?.lassoPoints) && report("select")(event));
    div.on("plotly_deselect", report("deselect"));
  }

  // Changes that come faster than the page draws, of figure and of width, are drawn together.
  const schedule = () => {
    if (isScheduled) return;
    isScheduled = true;
    inTurn(draw);
  };
  sheet.on("change:value", schedule);
  schedule();

  const observer = new ResizeObserver(schedule);  // tells once at first
  observer.observe(div);
  return async () => {
    isClosed = true;
    sheet.off("change:value", schedule);
    observer.disconnect();
    (await page.plotly).purge(div);
    div.remove();
  };
}
