// Taking a picture with the camera of the browser's own device, or where that is not allowed, with the phone's program.

import { el, say } from "./dom.js";

/** Fill `place` with the controls; `take` gets each picture as a File. */
export function takePicture(place, take) {
  if (navigator.mediaDevices?.getUserMedia) place.append(...viewfinder(take));
  else place.append(...fallback(take));
}

function viewfinder(take) {
  const video = el("video", { playsinline: true, hidden: true, "aria-label": "Your camera" });
  video.muted = true;
  const problem = el("p", { role: "status", class: "note" });
  const start = el("button", { type: "button" }, "Use this browser's camera");
  const shoot = el("button", { type: "button", hidden: true }, "Take the picture");
  const stop = el("button", { type: "button", hidden: true, class: "plain" }, "Switch the camera off");
  const show = (on) => {
    start.hidden = on;
    for (const each of [video, shoot, stop]) each.hidden = !on;
    (on ? shoot : start).focus();
  };
  start.addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
      await video.play();
      say(problem, "");
      show(true);
    } catch (error) {
      say(problem, `The browser does not give its camera: ${error.message}`);
    }
  });
  shoot.addEventListener("click", () => snapshot(video).toBlob((blob) => {
    take(new File([blob], `camera-${Date.now()}.jpg`, { type: "image/jpeg" }));
  }, "image/jpeg", 0.92));
  stop.addEventListener("click", () => {
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    show(false);
  });
  return [start, video, el("div", { class: "buttons" }, shoot, stop), problem];
}

function snapshot(video) {
  const canvas = el("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas;
}

function fallback(take) {
  const input = el("input", { type: "file", id: "shot", accept: "image/*", capture: "user" });
  input.addEventListener("change", () => {
    [...input.files].forEach(take);
    input.value = "";
  });
  return [
    el("label", { for: "shot" }, "Take one with a phone's camera "), input,
    el("p", { class: "note" }, "A picture from within this page needs HTTPS, or the browser on the device itself."),
  ];
}
