// A listening test. The kernel numbers the clips, and the page knows nothing of them but their sound.
// Of four states one is shown: "ready" (before a sound may play), "voting", "paused", "over".

const RATE = 16000;  // samples a second
const PATIENCE = 4000;  // milliseconds until a listener is told that a vote is not kept yet
const SURE = ["a guess", "fairly", "very"];
const WELCOME = "You hear one clip at a time, and vote by keys or clicks. Use headphones in a quiet room if you can.";
const PAUSED = "Paused. Every vote so far is kept: go on now, or close this page and come back another day.";

// Return an element. Texts never become HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function button(text, key, attributes = {}) {
  return make("button", { type: "button", ...attributes }, make("span", { class: "ipr-name" }, text), ...cap(key));
}

// Return the drawing of a key; screen readers hear of keys by aria-keyshortcuts.
function cap(key) {
  return key ? [make("kbd", { "aria-hidden": "true" }, key)] : [];
}

// Plays samples at once: the browser is not asked to decode anything.
class Player {
  #context; #source; #began = 0; #before = 0; #sounds = new Map();

  unlock() {  // in a key press or a click, without which browsers play nothing
    this.#context ??= new AudioContext();
    this.#context.resume();
  }

  has(number) { return this.#sounds.has(number); }

  keep(number, view) {
    const pcm = new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    this.#sounds.set(number, Float32Array.from(pcm, (sample) => sample / 32768));
  }

  forget(isNeeded) {
    for (const number of this.#sounds.keys()) if (!isNeeded(number)) this.#sounds.delete(number);
  }

  play(number, whenEnded) {
    this.stop();
    this.unlock();
    const samples = this.#sounds.get(number), buffer = this.#context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const source = this.#source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.onended = () => { if (source === this.#source) { this.stop(); whenEnded(); } };
    this.#began = this.#context.currentTime;
    source.start();
  }

  stop() {
    if (!this.#source) return;
    this.#before = this.seconds;
    const source = this.#source;
    this.#source = null;
    source.stop();
  }

  get playing() { return Boolean(this.#source); }
  get position() { return this.#source ? this.#context.currentTime - this.#began : 0; }
  get share() { return this.#source ? Math.min(1, this.position / this.#source.buffer.duration) : 0; }
  // Seconds of this clip that were heard, all replays together.
  get seconds() { return this.#before + (this.#source ? Math.min(this.position, this.#source.buffer.duration) : 0); }
  begin() { this.stop(); this.#before = 0; }
  close() { this.stop(); this.#context?.close(); }
}

// Build the page, and return its parts by name.
function build(emotions) {
  const parts = { emotions: emotions.map(({ name, digit, letter }) => toggle(name, [digit, letter])) };
  parts.other = toggle("other", ["o"]);
  parts.unsure = toggle("cannot tell", ["x"]);
  parts.sure = SURE.map((name) => toggle(name, []));
  parts.word = make("input", { type: "text", maxlength: "200", "aria-label": "Your own word for it, if you like",
    placeholder: "your own word for it, if you like", autocomplete: "off", spellcheck: "false" });
  parts.wordRow = make("div", { class: "ipr-row ipr-word" }, parts.word);
  parts.progress = make("p", { class: "ipr-progress" });
  parts.bar = make("div", { class: "ipr-bar" });
  parts.soundBar = make("div", { class: "ipr-bar" });
  parts.pause = button("Pause for today", "Esc", { "aria-keyshortcuts": "Escape" });
  parts.replay = make("button", { type: "button", class: "ipr-replay", "aria-keyshortcuts": "Space" },
    make("span", {}, "Play again"),
    make("div", { class: "ipr-track", "aria-hidden": "true" }, parts.soundBar), ...cap("Space"));
  parts.back = button("Back", "←", { "aria-keyshortcuts": "ArrowLeft Backspace" });
  parts.keep = button("Keep vote", "Enter", { class: "ipr-main", "aria-keyshortcuts": "Enter" });
  parts.status = make("p", { class: "ipr-status", role: "status", "aria-live": "polite" });
  parts.fault = make("p", { class: "ipr-fault", role: "alert" });
  parts.begin = button("Begin", "Enter", { class: "ipr-main", "aria-keyshortcuts": "Enter" });
  parts.restText = make("p");
  assemble(parts);
  return parts;
}

function toggle(name, keys) {
  const shortcuts = keys.filter(Boolean);
  const attributes = { "aria-pressed": "false", ...(shortcuts.length && { "aria-keyshortcuts": shortcuts.join(" ") }) };
  return button(name, shortcuts.join(" "), attributes);
}

function assemble(parts) {
  const task = make("p", { class: "ipr-task", id: `ipr-task-${crypto.randomUUID?.() ?? Math.random()}` },
    "Listen, choose every emotion that you hear in the voice, and keep your vote.");
  parts.voting = make("div", {},
    make("div", { class: "ipr-row" }, parts.progress, parts.pause),
    make("div", { class: "ipr-track ipr-votes-bar", "aria-hidden": "true" }, parts.bar),
    task, parts.replay,
    make("div", { class: "ipr-choices", role: "group", "aria-label": "What you hear" },
      ...parts.emotions, parts.other, parts.unsure),
    parts.wordRow,
    make("div", { class: "ipr-row ipr-sure", role: "group", "aria-label": "How sure you are, if you like to say" },
      make("span", { class: "ipr-quiet" }, "How sure are you? (optional)"), ...parts.sure, ...cap("↑ ↓")),
    make("div", { class: "ipr-row ipr-foot" }, parts.back, parts.keep));
  parts.rest = make("div", { class: "ipr-rest" }, parts.restText, parts.begin);
  parts.root = make("div", { class: "ipr-listening", role: "application", tabindex: "0",
    "aria-label": "Listening test", "aria-describedby": task.id }, parts.voting, parts.rest, parts.status, parts.fault);
  // JupyterLab looks for this on the element that has the focus, and would take the keys for its own.
  for (const element of [parts.root, ...parts.root.querySelectorAll("button, input")]) {
    element.setAttribute("data-lm-suppress-shortcuts", "true");
  }
}

const isPressed = (element) => element.getAttribute("aria-pressed") === "true";
const press = (element, value) => element.setAttribute("aria-pressed", String(value));

class Test {
  #model; #parts; #player = new Player(); #emotions;
  #state = "ready"; #number = null; #following = null; #request = null; #timer; #frame; #sent = 0;

  constructor(model) {
    this.#model = model;
    this.#emotions = model.get("emotions");
    this.#parts = build(this.#emotions);
    this.#listenToClicks();
    this.#parts.root.addEventListener("keydown", (event) => this.onKey(event));
    this.#rest("ready", WELCOME, "Begin");
  }

  get root() { return this.#parts.root; }

  focus() { this.#parts.begin.focus(); }

  // What the listener does.

  #listenToClicks() {
    const { emotions, other, unsure, sure, replay, back, keep, pause, begin } = this.#parts;
    const on = (element, act) => element.addEventListener("click", (event) => {
      act();
      if (event.detail && document.activeElement !== this.#parts.word) this.root.focus();  // a click: keys go on
    });
    emotions.forEach((element, i) => on(element, () => this.#choose(element, this.#emotions[i].name)));
    on(other, () => this.#chooseOther());
    on(unsure, () => this.#choose(unsure, "cannot tell"));
    sure.forEach((element, i) => on(element, () => this.#setSure(isPressed(element) ? null : i + 1)));
    on(replay, () => this.#play());
    on(back, () => this.#back());
    on(keep, () => this.#keep());
    on(pause, () => this.#pause());
    on(begin, () => this.#begin());
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    event.stopPropagation();
    const isWord = event.target === this.#parts.word;
    const act = this.#state === "voting" ? this.#action(event, isWord) : this.#restAction(event);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act();
  }

  #restAction({ key, target }) {
    const isMeant = key === "Enter" && target !== this.#parts.begin && this.#state !== "over";
    return isMeant ? () => this.#begin() : null;
  }

  #action(event, isWord) {
    const { key, target } = event, { replay, back, pause, keep, root } = this.#parts;
    if (isWord) return { Enter: () => this.#keep(), Escape: () => root.focus() }[key] ?? null;
    if (key === "Enter") return [replay, back, pause, keep].includes(target) ? null : () => this.#keep();
    if (key === " ") return target.tagName === "BUTTON" ? null : () => this.#play();
    const moves = { Backspace: () => this.#back(), ArrowLeft: () => this.#back(), Escape: () => this.#pause(),
      ArrowUp: () => this.#moveSure(1), ArrowDown: () => this.#moveSure(-1),
      o: () => this.#chooseOther(), x: () => this.#choose(this.#parts.unsure, "cannot tell") };
    return moves[key] ?? moves[key.toLowerCase()] ?? this.#emotionAction(event);
  }

  #emotionAction({ key, code, shiftKey }) {
    const digit = /^[1-9]$/.test(key) ? key : !shiftKey && /^Digit[1-9]$/.test(code) ? code.at(-1) : null;
    const pressed = digit ?? key.toLowerCase();
    const i = this.#emotions.findIndex(({ digit, letter }) => pressed && (pressed === digit || pressed === letter));
    return i < 0 ? null : () => this.#choose(this.#parts.emotions[i], this.#emotions[i].name);
  }

  #choose(element, name) {
    if (this.#request) return;
    const { emotions, other, unsure } = this.#parts, value = !isPressed(element);
    const excluded = element === unsure ? [...emotions, other] : [unsure];
    if (value) excluded.forEach((rival) => press(rival, false));
    press(element, value);
    this.#show();
    this.#say(`${name} ${value ? "chosen" : "not chosen"}`);
  }

  #chooseOther() {
    this.#choose(this.#parts.other, "other");
    if (isPressed(this.#parts.other)) this.#parts.word.focus();
  }

  #sureness() { return this.#parts.sure.findIndex(isPressed) + 1 || null; }

  #setSure(value) {
    if (this.#request) return;
    this.#parts.sure.forEach((element, i) => press(element, i + 1 === value));
    this.#say(value ? `How sure: ${SURE[value - 1]}` : "How sure: not said");
  }

  #moveSure(step) {
    const value = Math.max(0, Math.min(SURE.length, (this.#sureness() ?? 0) + step));
    this.#setSure(value || null);
  }

  #pause() {
    this.#player.stop();
    this.#rest("paused", PAUSED, "Go on");
  }

  #begin() {
    this.#player.unlock();
    if (this.#state === "paused" && this.#number !== null) {
      this.#enter("voting");
      this.root.focus();
      this.#say("");
      return this.#play();
    }
    this.#ask({ kind: "begin" });
  }

  #back() {
    if (this.#request) return;
    if (this.#number === 0) return this.#say("This is the first clip.");
    this.#ask({ kind: "back", number: this.#number });
  }

  // A vote can be sent again when no answer came: the kernel counts the last one of a clip.
  #keep() {
    const { emotions, other, unsure, word } = this.#parts;
    const chosen = emotions.flatMap((element, i) => (isPressed(element) ? [i] : []));
    if (!chosen.length && !isPressed(other) && !isPressed(unsure)) {
      return this.#say("Choose an emotion first, or other, or cannot tell.");
    }
    performance.mark("ipr-vote");
    this.#ask({ kind: "vote", number: this.#number, emotions: chosen, other: isPressed(other),
      cannot_tell: isPressed(unsure), word: isPressed(other) ? word.value : "", sure: this.#sureness(),
      seconds: this.#player.seconds });
  }

  // What the kernel is asked, and answers.

  #ask(content) {
    clearTimeout(this.#timer);
    this.#request = `${Math.random()}`.slice(2) + ++this.#sent;  // of this page alone
    this.#parts.fault.textContent = "";
    this.#timer = setTimeout(() => this.#complain(content.kind), PATIENCE);
    this.#model.send({ ...content, request: this.#request });
  }

  #complain(kind) {
    this.#parts.fault.textContent = (kind === "vote" ? "This vote is not kept yet: " : "") +
      "nothing answers. Wait a little, or press Enter to try again. If that does not help, load the page " +
      "again, or run the notebook again: you go on with this clip.";
  }

  onMessage(content, buffers) {
    if (content.kind === "sound") return this.#onSound(content.number, buffers[0]);
    const isBroken = content.request === "broken" && content.number !== this.#number;
    if (content.request !== this.#request && !isBroken) return;
    clearTimeout(this.#timer);
    this.#request = null;
    if (content.kind === "fault") this.#parts.fault.textContent = content.text;
    if (content.kind === "end") this.#end(content);
    if (content.kind === "turn") this.#turn(content);
  }

  #onSound(number, view) {
    this.#player.keep(number, view);
    const isAwaited = this.#state === "voting" && this.root.dataset.sound === "awaited";
    if (isAwaited && number === this.#number) this.#play();
  }

  #turn({ number, following, total, answer }) {
    const hadWord = document.activeElement === this.#parts.word;
    this.#player.begin();
    this.#number = number;
    this.#following = following;
    this.#fill(answer);
    this.#enter("voting");
    if (hadWord || document.activeElement === this.#parts.begin) this.root.focus();
    this.#parts.progress.textContent = `${number + 1} of ${total}`;
    this.#parts.bar.style.width = `${(100 * number) / total}%`;
    this.#say(`Clip ${number + 1} of ${total}${answer ? ", with your vote" : ""}`);
    this.#play();
    this.#player.forget((kept) => [number - 1, number, following].includes(kept));
    if (following !== null && !this.#player.has(following)) this.#model.send({ kind: "sound", number: following });
  }

  #fill(answer) {
    const { emotions, other, unsure, sure, word } = this.#parts;
    emotions.forEach((element, i) => press(element, answer?.emotions.includes(i) ?? false));
    press(other, answer?.other ?? false);
    press(unsure, answer?.cannot_tell ?? false);
    sure.forEach((element, i) => press(element, answer?.sure === i + 1));
    word.value = answer?.word ?? "";
  }

  #end({ votes, broken }) {
    this.#player.begin();
    const passed = broken ? ` ${broken} clips could not be played: tell who has set up the test.` : "";
    this.#rest("over", `That was the last clip. Thank you: ${votes} votes are kept.${passed}`, "");
  }

  // What is shown.

  #rest(state, text, action) {
    this.#enter(state);
    this.#parts.restText.textContent = text;
    this.#parts.begin.hidden = !action;
    this.#parts.begin.querySelector(".ipr-name").textContent = action;
    this.#say(state === "ready" ? "" : text);
    if (state !== "ready") (action ? this.#parts.begin : this.root).focus();
    this.#parts.status.hidden = true;
  }

  #enter(state) {
    this.#state = this.root.dataset.state = state;
    this.#parts.voting.hidden = state !== "voting";
    this.#parts.rest.hidden = state === "voting";
    this.#parts.status.hidden = false;
    this.#show();
  }

  #show() {
    this.root.dataset.clip = this.#number ?? "";
    this.#parts.wordRow.hidden = !isPressed(this.#parts.other);
  }

  #say(text) { this.#parts.status.textContent = text; }

  #play() {
    if (!this.#player.has(this.#number)) {
      this.root.dataset.sound = "awaited";
      this.#model.send({ kind: "sound", number: this.#number });
      return;
    }
    this.root.dataset.sound = "playing";
    this.#player.play(this.#number, () => { this.root.dataset.sound = "ended"; });
    if (performance.getEntriesByName("ipr-vote").length) {
      performance.measure("ipr-vote-to-sound", "ipr-vote");
      performance.clearMarks("ipr-vote");
    }
    cancelAnimationFrame(this.#frame);
    const draw = () => {
      this.#parts.soundBar.style.width = `${100 * this.#player.share}%`;
      if (this.#player.playing) this.#frame = requestAnimationFrame(draw);
    };
    draw();
  }

  close() {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#player.close();
  }
}

function render({ model, el }) {
  const test = new Test(model);
  el.append(test.root);
  const onMessage = (content, buffers) => test.onMessage(content, buffers);
  model.on("msg:custom", onMessage);
  // Where the test is the whole page, keys count without a click first; in JupyterLab they may be meant for a cell.
  const isAlone = !document.querySelector("#jp-main-dock-panel, .jp-LabShell, .jp-NotebookPanel");
  const onPageKey = (event) => { if (event.target === document.body) test.onKey(event); };
  if (isAlone) document.addEventListener("keydown", onPageKey);
  const frame = requestAnimationFrame(() => test.focus());
  return () => {
    cancelAnimationFrame(frame);
    model.off("msg:custom", onMessage);
    document.removeEventListener("keydown", onPageKey);
    test.close();
  };
}

export default { render };
