// The explorer's keys, those of the box around the place, and the sound in it: its speed, and the part that is looped.

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
function soundFigure(box) {
  return [...box.querySelectorAll(".js-plotly-plot")].find((plot) => (plot.layout?.title?.text ?? "").startsWith(SOUND));
}

// Return the first and the last second of the sound that its figure shows.
function soundPart(box, audio) {
  const plot = soundFigure(box);
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
      const [start, end] = soundPart(this.#box, audio);
      if (audio.currentTime < start - 0.02 || audio.currentTime >= end) audio.currentTime = start;
    };
    this.#timer = setInterval(keep, 20);
    keep();
  };

  // Move the cursor over waveform and spectrogram to this second, if they show it.
  #point(second) {
    const plot = soundFigure(this.#box), { xaxis, _size } = plot?._fullLayout ?? {};
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
    [target.currentTime] = soundPart(this.#box, target);
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

function action(send, facts, sound, event) {
  const { key, target } = event, { emotions, focus } = facts();
  const press = (kind, number) => () => send({ kind, number: number ?? -1, focus });
  const isControl = target.matches("button, input, audio, summary");
  if (key === " ") return isControl ? null : () => sound.toggle();
  if (STEPS[key]) return target.matches("audio") || isList(target) && /Up|Down/.test(key) ? null : press(STEPS[key]);
  if (event.repeat) return null;
  const number = emotionOf(emotions, event);
  if (number >= 0) return press("emotion", number);
  return key === "Backspace" || key.toLowerCase() === "u" ? press("undo") : null;
}

function fillShortcuts({ el, sheet, send }) {
  const box = el.parentElement, facts = () => JSON.parse(sheet.get("value")), sound = new Sound(facts, box);
  const onKey = (event) => {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (isText(target) || isMenu(target)) return;
    const act = action(send, facts, sound, event);
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
