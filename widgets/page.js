// Fills the places that widgets keep in the page, and empties those that leave it.
const FILL = { figure: fillFigure, shortcuts: fillShortcuts, tips: fillTips, microphone: fillMicrophone };

function initialize({ model }) {
  // When the page is idle: plotly takes a while to load.
  (window.requestIdleCallback ?? setTimeout)(() => bring(model.get("source")), { timeout: 3000 });

  const places = document.getElementsByClassName(model.get("name")), filled = new Map();

  async function fill(el) {
    const id = [...el.classList].find((name) => name.startsWith("ipr-sheet-")).slice("ipr-sheet-".length);
    const sheet = await model.widget_manager.get_model(id);
    const send = (content, buffers) => model.send({ sheet: id, content }, undefined, buffers);
    return FILL[sheet.get("description")]({ el, sheet, send });
  }

  const look = () => {
    for (const [el, filling] of filled) {
      if (el.isConnected) continue;
      filled.delete(el);
      filling.then((empty) => empty?.());
    }
    for (const el of places) {
      if (!filled.has(el)) filled.set(el, fill(el).catch((error) => { if (el.isConnected) console.error(error); }));
    }
  };

  const observer = new MutationObserver(look);
  observer.observe(document.body, { childList: true, subtree: true });
  look();
  return () => {
    observer.disconnect();
    for (const filling of filled.values()) filling.then((empty) => empty?.());
  };
}

export default { initialize };
