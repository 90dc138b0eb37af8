// Return what is wrong with the layout of the board in this page: [kind, text, by how much], an entry each.
// cut: text outside a box that hides what does not fit; overlap: two texts on each other; width: a figure of another
// width than its place. Text that a reader can scroll to is not cut.
() => {
  const board = document.querySelector(".ipr-board");
  const faults = [];
  const note = (kind, text, size) => faults.push([kind, text.trim().slice(0, 60), size]);

  // The edges that hide what lies outside them, of an element and all around it.
  function edges(element) {
    const list = [];
    for (let box = element; box && box !== board.parentElement; box = box.parentElement) {
      const { overflowX, overflowY } = getComputedStyle(box), { left, right, top, bottom } = box.getBoundingClientRect();
      if (["hidden", "clip"].includes(overflowX)) list.push(["left", left, "right", right]);
      if (["hidden", "clip"].includes(overflowY)) list.push(["top", top, "bottom", bottom]);
    }
    return list;
  }

  // The texts in sight, with their rectangles; menus and lists are the browser's own, see below.
  const texts = [];
  const walker = document.createTreeWalker(board, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement, svg = element.closest("svg");
    if (!node.textContent.trim() || element.closest("style, script, select, .hoverlayer, .modebar")) continue;
    if (!(svg?.parentElement ?? element).offsetParent || getComputedStyle(element).visibility === "hidden") continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rectangle of range.getClientRects())
      if (rectangle.width >= 1 && rectangle.height >= 1) texts.push({ text: node.textContent, element, svg, rectangle });
  }

  const FREE = 2;  // pixels that the space around a letter may be cut or overlap
  for (const { text, element, svg, rectangle } of texts) {
    const around = svg ? [svg.getBoundingClientRect()].map((s) => [["left", s.left, "right", s.right], ["top", s.top, "bottom", s.bottom]]).flat() : [];
    for (const [low, least, high, most] of [...edges(element), ...around]) {
      const outside = Math.max(least - rectangle[low], rectangle[high] - most);
      if (outside > FREE) { note("cut", text, outside); break; }
    }
  }
  texts.forEach((a, i) => texts.slice(i + 1).forEach((b) => {
    if (a.element.contains(b.element) || b.element.contains(a.element)) return;
    const width = Math.min(a.rectangle.right, b.rectangle.right) - Math.max(a.rectangle.left, b.rectangle.left);
    const height = Math.min(a.rectangle.bottom, b.rectangle.bottom) - Math.max(a.rectangle.top, b.rectangle.top);
    if (width > FREE && height > 2 * FREE) note("overlap", `${a.text} | ${b.text}`, [width, height]);
  }));

  const pen = document.createElement("canvas").getContext("2d");
  for (const select of board.querySelectorAll("select")) {
    if (!select.offsetParent) continue;
    const style = getComputedStyle(select);
    pen.font = style.font;
    const room = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const shown = select.size > 1 ? [...select.options] : [...select.selectedOptions];
    const widest = shown.reduce((best, option) => Math.max(best, pen.measureText(option.textContent).width), 0);
    if (widest > room + FREE) note("cut", shown[0].textContent, widest - room);
  }
  for (const plot of board.querySelectorAll(".js-plotly-plot"))
    if (plot.offsetParent && Math.abs(plot.clientWidth - plot._fullLayout.width) > 1)
      note("width", plot._fullLayout.title.text, [plot._fullLayout.width, plot.clientWidth]);
  return faults;
}
