"""Keys, tips and styles of the page around a box of widgets."""

from __future__ import annotations

import anywidget
from ipywidgets import Layout


class Keys(anywidget.AnyWidget):
    """A child of a box that keeps arrow keys from JupyterLab, which would change cells.

    It also names sliders, sounds, and the buttons of a player of numbers, which are icons, for screen readers.
    """

    _css = """
    .ipr-page .widget-html-content { line-height: 1.35; }
    .ipr-page .ipr-caption .widget-html-content { line-height: 1.25; font-size: 12px; }
    .ipr-page .widget-html-content [title][tabindex] { text-decoration: underline dotted; cursor: help; }
    .ipr-tip {
        position: fixed; z-index: 10000; max-width: 300px; padding: 4px 8px; font: 12px/1.35 var(--jp-ui-font-family);
        color: var(--jp-ui-font-color1); background: var(--jp-layout-color1); border: 1px solid var(--jp-border-color1);
    }
    /* Figures are drawn in a grey that reads on a light and on a dark page: here the page's own reads better. What is
       written on a matrix's cells keeps its colour. */
    .ipr-figure .infolayer text, .ipr-figure [class*="axislayer"] text,
    .ipr-figure text[style*="fill: rgb(117, 117, 117)"] { fill: var(--jp-ui-font-color1) !important; }
    .ipr-page .widget-tab > .widget-tab-contents { padding: 4px 8px; }
    .ipr-page .widget-tab > .lm-TabBar .lm-TabBar-tab {
        flex-basis: auto; min-width: 0; padding: 0 6px; font-size: 12px;
    }
    """

    _esm = """
    // JupyterLab looks for this on the element that has the focus, and upwards until a shortcut matches.
    const keep = (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true");
    // By keyboard a title is shown by nobody else. In the body: the boxes around it would cut it off.
    const tip = document.createElement("div");
    tip.className = "ipr-tip";
    const explain = ({ target }) => {
        if (!target.matches("[title][tabindex]:focus-visible")) return;
        const { left, bottom } = target.getBoundingClientRect();
        tip.textContent = target.title;
        tip.style.left = `${Math.min(left, innerWidth - 320)}px`;
        tip.style.top = `${bottom + 4}px`;
        document.body.append(tip);
    };
    const hide = () => tip.remove();
    const HEARD = { focusin: [keep, explain], focusout: [hide] };
    const each = (act) => Object.entries(HEARD).forEach(([kind, hears]) => hears.forEach((hear) => act(kind, hear)));
    const NAMES = ["Play or pause", "Back to the first", "Repeat"];
    const name = (box) => {
        box.querySelectorAll(".widget-play").forEach((play) =>
            play.querySelectorAll("button").forEach((button, i) => { button.ariaLabel = button.title = NAMES[i]; }));
        box.querySelectorAll(".widget-slider").forEach((slider) => {
            const label = slider.querySelector(".widget-label")?.textContent;
            const handles = slider.querySelectorAll("[role=slider]");
            const ends = handles.length > 1 ? [", from", ", to"] : [""];
            handles.forEach((handle, i) => { handle.ariaLabel = `${label}${ends[i]}`; });
        });
        box.querySelectorAll("audio").forEach((audio) => { audio.ariaLabel = "Sound of the utterance"; });
    };

    export default { render({ el }) {
        let frame, box, left = 100;
        const listen = () => {
            box = el.parentElement;
            if (box) {
                each((kind, hear) => box.addEventListener(kind, hear));
                name(box);
            }
            else if (left--) frame = requestAnimationFrame(listen);
        };
        listen();
        return () => {
            cancelAnimationFrame(frame);
            hide();
            each((kind, hear) => box?.removeEventListener(kind, hear));
        };
    } };
    """

    def __init__(self) -> None:
        super().__init__(layout=Layout(display="none"))
