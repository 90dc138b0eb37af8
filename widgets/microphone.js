// A button that records by the browser's microphone, and sends the recording to the kernel: nowhere else.
const REFUSALS = {
  NotAllowedError: "The browser was not allowed to use the microphone: allow it beside the page's address, and try again.",
  NotFoundError: "No microphone is there: connect one, and try again.",
  NotReadableError: "The microphone is in use by another program, or does not answer.",
};
const NO_ACCESS = "This page may not use a microphone: browsers allow it at https:// and on this machine (localhost) alone.";

function fillMicrophone({ el, sheet, send }) {
  const button = document.createElement("button"), status = document.createElement("span");
  button.type = "button";
  button.className = "jupyter-button widget-button ipr-record";
  status.className = "ipr-record-status";
  status.setAttribute("role", "status");
  el.append(button, status);
  let recorder = null, stream = null, isWaiting = false;
  const facts = () => JSON.parse(sheet.get("value") || "{}");
  const say = (text) => { status.textContent = text; };

  function show() {
    const { refusal } = facts(), isRecording = recorder?.state === "recording";
    button.textContent = isRecording ? "■ Stop" : "● Record";
    button.disabled = isWaiting || (!isRecording && Boolean(refusal));
    button.setAttribute("aria-pressed", String(isRecording));
  }

  const release = () => { stream?.getTracks().forEach((track) => track.stop()); stream = null; };

  async function begin() {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return say(NO_ACCESS);
    isWaiting = true;
    show();
    try {
      // As it is: calls have their voices cleaned and levelled, corpora do not.
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio });
      if (el.isConnected) record();
      else release();
    } catch (error) {
      release();
      say(REFUSALS[error.name] ?? `The microphone does not work: ${error.message}.`);
    }
    isWaiting = false;
    show();
  }

  function record() {
    const parts = [], began = performance.now(), { seconds } = facts();
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const clock = setInterval(() => {
      const time = (performance.now() - began) / 1000;
      say(`${time.toFixed(1)} of ${seconds} s`);
      if (time >= seconds) recorder.stop();
    }, 100);
    recorder.onstop = async () => {
      clearInterval(clock);
      release();
      if (!el.isConnected) return;
      show();
      say("Labelling …");
      send({}, [await new Blob(parts).arrayBuffer()]);
    };
    recorder.start();
  }

  const answer = () => {
    const { refusal, note } = facts();
    if (recorder?.state !== "recording") say(refusal || note || "");
    show();
  };
  button.onclick = () => (recorder?.state === "recording" ? recorder.stop() : begin());
  sheet.on("change:value", answer);
  answer();
  return () => {
    sheet.off("change:value", answer);
    if (recorder?.state === "recording") recorder.stop();
    release();
    el.replaceChildren();
  };
}
