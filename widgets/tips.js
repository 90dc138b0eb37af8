// What helps a reader without a mouse: tips by keyboard, names of controls, and arrow keys that stay in their box.

// JupyterLab looks for this on the element that has the focus, and upwards until a shortcut matches.
const keepKeys = (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true");
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
const hideTip = () => tip.remove();
const HELP = { focusin: [keepKeys, explain], focusout: [hideTip] };
const eachHelp = (act) => Object.entries(HELP).forEach(([kind, hears]) => hears.forEach((hear) => act(kind, hear)));
const PLAYER = ["Play or pause", "Back to the first", "Repeat"];
const nameControls = (box) => {
  box.querySelectorAll(".widget-play").forEach((play) =>
    play.querySelectorAll("button").forEach((button, i) => { button.ariaLabel = button.title = PLAYER[i]; }));
  box.querySelectorAll(".widget-slider").forEach((slider) => {
    const label = slider.querySelector(".widget-label")?.textContent;
    const handles = slider.querySelectorAll("[role=slider]");
    const ends = handles.length > 1 ? [", from", ", to"] : [""];
    handles.forEach((handle, i) => { handle.ariaLabel = `${label}${ends[i]}`; });
  });
  box.querySelectorAll("audio").forEach((audio) => { audio.ariaLabel = "Sound of the utterance"; });
};

function fillTips({ el }) {
  const box = el.parentElement;
  let timer;
  // What is in the box comes later than this element, and may change.
  const observer = new MutationObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(nameControls, 200, box);
  });
  observer.observe(box, { childList: true, subtree: true });
  eachHelp((kind, hear) => box.addEventListener(kind, hear));
  nameControls(box);
  return () => {
    clearTimeout(timer);
    observer.disconnect();
    hideTip();
    eachHelp((kind, hear) => box.removeEventListener(kind, hear));
  };
}
