"""What a box of widgets needs of the page around it."""

from __future__ import annotations

import anywidget
from ipywidgets import Layout


class Keys(anywidget.AnyWidget):
    """Among a box's children, it keeps arrow keys for the box: JupyterLab would take them to go from cell to cell.

    It also names the buttons of a player of numbers, which are icons alone.
    """

    _css = """
    .ipr-page .widget-html-content { line-height: 1.35; }
    .ipr-page .widget-tab > .lm-TabBar .lm-TabBar-tab {
        flex-basis: auto; min-width: 0; padding: 0 6px; font-size: 12px;
    }
    """

    _esm = """
    // JupyterLab looks for this on the element that has the focus, and upwards until a shortcut matches.
    const keep = (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true");
    const NAMES = ["Play or pause", "Back to the first", "Repeat"];
    const name = (box) => box.querySelectorAll(".widget-play").forEach((play) =>
        play.querySelectorAll("button").forEach((button, i) => { button.ariaLabel = button.title = NAMES[i]; }));

    export default { render({ el }) {
        let frame, box, left = 100;
        const listen = () => {
            box = el.parentElement;
            if (box) {
                box.addEventListener("focusin", keep);
                name(box);
            }
            else if (left--) frame = requestAnimationFrame(listen);
        };
        listen();
        return () => {
            cancelAnimationFrame(frame);
            box?.removeEventListener("focusin", keep);
        };
    } };
    """

    def __init__(self) -> None:
        super().__init__(layout=Layout(display="none"))
