// The keys of the box that this widget is a child of, and the sound in it: its speed, and the part that is looped.

const SOUND = "Sound";  // how the title of the figure begins whose x axis is the sound's time
const STEPS = { ArrowDown: "next", ArrowRight: "next", ArrowUp: "previous", ArrowLeft: "previous" };

const isText = (target) => target.isContentEditable || target.matches("textarea, input:not([type=checkbox])");
const isMenu = (target) => target.matches("select") && target.size < 2;  // has letters and arrows of its own
const isList = (target) => target.matches("select") && !isMenu(target);

// Return the number of the emotion with this key, or -1.
function emotionOf(emotions, { key, code, shiftKey }) {
  const digit = /^[1-9]$/.test(key) ? key : !shiftKey && /^Digit[1-9]$/.test(code) ? code.at(-1) : null;
  const pressed = digit ?? key.toLowerCase();
  return emotions.findIndex(({ digit, letter }) => pressed && (pressed === digit || pressed === letter));
}

// Return the figure of the sound.
function figure(box) {
  return [...box.querySelectorAll(".js-plotly-plot")].find((plot) => (plot.layout?.title?.text ?? "").startsWith(SOUND));
}

// Return the first and the last second of the sound that its figure shows.
function part(box, audio) {
  const plot = figure(box);
  const axis = plot?._fullLayout?.xaxis, [first, last] = axis?.visible === false ? [] : axis?.range ?? [];
  const end = Math.min(last ?? audio.duration, audio.duration), start = Math.max(0, first ?? 0);
  return end - start > 0.02 ? [start, end] : [0, audio.duration];
}

class Sound {
  #timer; #box; #facts; #cursor = document.createElement("div");

  constructor(facts, box) {
    this.#facts = facts;
    this.#box = box;
    this.#cursor.className = "ipr-cursor";
    this.#cursor.style.cssText = "position: absolute; width: 2px; pointer-events: none; z-index: 5; background: var(--jp-error-color1)";
    box.addEventListener("play", this.#follow, true);
    box.addEventListener("pause", this.#leave, true);
    box.addEventListener("ended", this.#again, true);
    box.addEventListener("loadstart", this.set, true);
    this.set();
  }

  get audio() { return this.#box.querySelector("audio"); }

  set = () => {
    const { audio } = this, { speed } = this.#facts();
    if (!audio) return;
    audio.preservesPitch = true;
    audio.defaultPlaybackRate = audio.playbackRate = speed;  // a new sound begins with the default
  };

  toggle() {
    const { audio } = this;
    if (!audio) return;
    if (!audio.paused) return audio.pause();
    audio.play().catch(() => {});  // the browser asks for a click first
  }

  // While it plays and loops, keep it inside the part. A timer: frames are rare where nothing moves.
  #follow = ({ target: audio }) => {
    clearInterval(this.#timer);
    const keep = () => {
      if (audio.paused) return clearInterval(this.#timer);
      this.#point(audio.currentTime);
      if (!this.#facts().loop || audio.seeking) return;
      const [start, end] = part(this.#box, audio);
      if (audio.currentTime < start - 0.02 || audio.currentTime >= end) audio.currentTime = start;
    };
    this.#timer = setInterval(keep, 20);
    keep();
  };

  // Move the cursor over waveform and spectrogram to this second, if they show it.
  #point(second) {
    const plot = figure(this.#box), { xaxis, _size } = plot?._fullLayout ?? {};
    const [first, last] = xaxis?.range ?? [];
    if (!(second >= first && second <= last)) return this.#leave();
    Object.assign(this.#cursor.style, { left: `${xaxis._offset + xaxis.d2p(second) - 1}px`, top: `${_size.t}px`, height: `${_size.h}px` });
    if (this.#cursor.parentElement !== plot) {
      plot.style.position = "relative";
      plot.append(this.#cursor);
    }
  }

  #leave = () => this.#cursor.remove();

  #again = ({ target }) => {
    if (!this.#facts().loop) return;
    [target.currentTime] = part(this.#box, target);
    target.play().catch(() => {});
  };

  close() {
    clearInterval(this.#timer);
    this.#leave();
    this.#box.removeEventListener("play", this.#follow, true);
    this.#box.removeEventListener("pause", this.#leave, true);
    this.#box.removeEventListener("ended", this.#again, true);
    this.#box.removeEventListener("loadstart", this.set, true);
  }
}

function action(model, facts, sound, event) {
  const { key, target } = event, { emotions, focus } = facts();
  const send = (kind, number) => () => model.send({ kind, number: number ?? -1, focus });
  const isControl = target.matches("button, input, audio, summary");
  if (key === " ") return isControl ? null : () => sound.toggle();
  if (STEPS[key]) return target.matches("audio") || isList(target) && /Up|Down/.test(key) ? null : send(STEPS[key]);
  if (event.repeat) return null;
  const number = emotionOf(emotions, event);
  if (number >= 0) return send("emotion", number);
  return key === "Backspace" || key.toLowerCase() === "u" ? send("undo") : null;
}

function begin(model, sheet, box) {
  const facts = () => JSON.parse(sheet.get("value")), sound = new Sound(facts, box);
  const onKey = (event) => {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (isText(target) || isMenu(target)) return;
    const act = action(model, facts, sound, event);
    if (!act && !(isList(target) && event.key.length === 1)) return;  // letters would choose an id in the list
    event.preventDefault();
    event.stopPropagation();
    act?.();
  };
  const onClick = ({ target, detail }) => {  // the keys go on, also where the button is disabled by its click
    if (detail && target.closest("button")) box.focus({ preventScroll: true });
  };
  const onFocus = () => box.querySelectorAll(".ipr-corrected").forEach((line) => line.setAttribute("role", "status"));
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Explorer of utterances");
  const heard = { keydown: onKey, click: onClick, focusin: onFocus };
  Object.entries(heard).forEach(([kind, hear]) => box.addEventListener(kind, hear));
  sheet.on("change:value", sound.set);
  return () => {
    Object.entries(heard).forEach(([kind, hear]) => box.removeEventListener(kind, hear));
    sheet.off("change:value", sound.set);
    sound.close();
  };
}

async function render({ model, el }) {
  const sheet = await model.widget_manager.get_model(model.get("sheet").slice("IPY_MODEL_".length));
  let frame, left = 100, end = () => {};
  const wait = () => {  // until the box has this element
    if (el.parentElement) end = begin(model, sheet, el.parentElement);
    else if (left--) frame = requestAnimationFrame(wait);
  };
  wait();
  return () => {
    cancelAnimationFrame(frame);
    end();
  };
}

export default { render };
