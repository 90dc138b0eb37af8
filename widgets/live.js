// A plotly figure in the page. One plotly.js serves all of them: a model that has `source` brings it.
const page = (window.__ipr_workbench ??= {});
page.plotly ??= new Promise((resolve) => { page.bring = resolve; });

// The wheel zooms a map alone: over any other figure it scrolls the page, as everywhere.
const shown = (layout) => ({ displaylogo: false, plotlyServerURL: "", responsive: false, scrollZoom: layout.dragmode === "select" });

function bring(source) {
  if (!page.bring) return;
  const module = { exports: {} };
  // As CommonJS: whether the page has an AMD loader does not matter.
  new Function("module", "exports", "define", new TextDecoder().decode(source))(module, module.exports, undefined);
  page.bring(module.exports);
  page.bring = null;
}

// `now`, made of the parts of `before` that are equal: what is the same object plotly does not draw again.
function share(before, now) {
  if (!before || !now || typeof before !== "object" || typeof now !== "object") return now;
  if (Array.isArray(before) !== Array.isArray(now)) return now;
  const names = Object.keys(now);
  for (const name of names) now[name] = share(before[name], now[name]);
  const same = names.length === Object.keys(before).length && names.every((name) => now[name] === before[name]);
  return same ? before : now;
}

// What Python needs to know of a point.
function plain(point) {
  const number = point.pointNumber ?? point.pointIndex ?? null;
  const { x, y, customdata } = point;
  return { trace: point.curveNumber, point: number, x, y, customdata: customdata ?? null, meta: point.data.meta ?? null };
}

function initialize({ model }) {
  const source = model.get("source");
  // When the page is idle: it takes a while, and the models that are being made meanwhile would give up.
  if (source) (window.requestIdleCallback ?? setTimeout)(() => bring(source), { timeout: 3000 });
}

async function render({ model, el }) {
  const sheet = await model.widget_manager.get_model(model.get("sheet").slice("IPY_MODEL_".length));
  const place = document.createElement("div");
  place.style.width = "100%";
  place.classList.add("ipr-figure");
  el.append(place);
  let drawn = false, waiting = false, gone = false, figure = {};

  const tell = (kind) => (event) => model.send({ kind, points: (event?.points ?? []).map(plain) });

  async function draw() {
    waiting = false;
    const Plotly = await page.plotly;
    if (gone || !sheet.get("value")) return;
    figure = share(figure, JSON.parse(sheet.get("value")));
    const { data, layout } = figure;
    place.style.height = `${layout.height}px`;
    await Plotly.react(place, data, layout, shown(layout));
    place.setAttribute("role", "group");  // not "img", which would hide its buttons
    place.setAttribute("aria-label", layout.title?.text ?? "figure");
    if (drawn) return;
    drawn = true;
    place.on("plotly_click", tell("click"));
    place.on("plotly_hover", tell("hover"));
    place.on("plotly_unhover", tell("leave"));
    // plotly says so too when a drawing has cleared the box: only what a reader drew has a range or a lasso.
    place.on("plotly_selected", (event) => (event?.range || event?.lassoPoints) && tell("select")(event));
    place.on("plotly_deselect", tell("deselect"));
  }

  // Changes that come faster than the page draws are drawn once.
  const ask = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  };
  sheet.on("change:value", ask);
  ask();

  const sized = new ResizeObserver(async () => {
    if (!drawn) return ask();
    const Plotly = await page.plotly;
    if (!gone && place.offsetParent) Plotly.Plots.resize(place);
  });
  sized.observe(el);
  return async () => {
    gone = true;
    sheet.off("change:value", ask);
    sized.disconnect();
    (await page.plotly).purge(place);
    place.remove();
  };
}

export default { initialize, render };
