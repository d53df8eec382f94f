// The page: pictures are chosen, a worker paints, the result is shown and downloaded. Nothing is sent anywhere.

const $ = (id) => document.getElementById(id);
const LEVELS = { 5: "Composition", 4: "Strokes", 3: "Small patterns", 2: "Fine texture", 1: "Colors" };
const SMALLEST = 32; // pixels a side, which the models need

const settings = await (await fetch("settings.json")).json();
const worker = new Worker("worker.js", { type: "module" });
const chosen = {}; // a bitmap of "photos" and of "styles"
let ready = false;
let started; // when painting began
let where = "";

function say(text, fault = false) {
  $("status").textContent = text;
  $("status").classList.toggle("fault", fault);
}

function allow() {
  $("paint").disabled = !(ready && !started && chosen.photos && chosen.styles);
}

// A picture's pixels on a canvas, its long side at most or, for `exactly`, at so many pixels.
function drawn(bitmap, side, exactly, canvas = document.createElement("canvas")) {
  const long = Math.max(bitmap.width, bitmap.height);
  const scale = exactly || long > side ? side / long : 1;
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((x) => Math.max(SMALLEST, Math.round(x * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function pixels(canvas) {
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const rgb = new Float32Array(3 * width * height);
  for (let i = 0, j = 0; i < data.length; i++) if (i % 4 < 3) rgb[j++] = data[i] / 255;
  return { data: rgb, width, height };
}

async function choose(kind, blob) {
  try {
    chosen[kind] = await createImageBitmap(blob);
  } catch {
    return say(`${blob.name || "That"} is not a picture that this browser can read.`, true);
  }
  if (kind === "photos") show();
  if (ready && !started) say("Press Paint.");
  allow();
}

function show() {
  $("after").hidden = $("comparison").hidden = true;
  $("download").setAttribute("aria-disabled", "true");
  $("download").removeAttribute("href");
  if (chosen.photos) drawn(chosen.photos, Number($("size").value), false, $("before"));
}

// One more picture to choose from, before the others.
function shelve(kind, url, name, first) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: kind });
  const image = Object.assign(document.createElement("img"), { src: url, alt: name, title: name });
  radio.onchange = async () => choose(kind, await (await fetch(url)).blob());
  label.append(radio, image);
  const shelf = document.querySelector(`#${kind} .shelf`);
  if (first) shelf.prepend(label);
  else shelf.insertBefore(label, shelf.querySelector(".add"));
  return radio;
}

function add(kind, file) {
  if (!file) return;
  const radio = shelve(kind, URL.createObjectURL(file), file.name, true);
  radio.onchange = () => choose(kind, file);
  radio.checked = true;
  choose(kind, file);
}

function slide(level, alpha) {
  const label = document.createElement("label");
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: 0.05, value: alpha });
  const number = document.createElement("output");
  (slider.oninput = () => (number.value = Number(slider.value).toFixed(2)))();
  label.append(LEVELS[level], slider, number);
  $("strengths").append(label);
  return slider;
}

const sliders = settings.levels.map((level, i) => slide(level, settings.alphas[i]));

$("paint").onclick = () => {
  const photo = pixels(drawn(chosen.photos, Number($("size").value), false, $("before")));
  const style = pixels(drawn(chosen.styles, settings.style_size, true));
  const key = (chosen.styles.key ??= crypto.randomUUID?.() ?? String(Math.random()));
  started = performance.now();
  say("Painting");
  allow();
  worker.postMessage({ photo, style, key, alphas: sliders.map((slider) => Number(slider.value)) }, [photo.data.buffer, style.data.buffer]);
};

function finish({ data, width, height }) {
  const canvas = Object.assign($("after"), { width, height, hidden: false });
  const image = new ImageData(width, height);
  image.data.fill(255);
  for (let i = 0, j = 0; j < data.length; i++) if (i % 4 < 3) image.data[i] = 255 * data[j++]; // rounds, and clips
  canvas.getContext("2d").putImageData(image, 0, 0);
  $("comparison").hidden = false;
  $("compare").value = 100;
  $("compare").oninput();
  canvas.toBlob((blob) => {
    URL.revokeObjectURL($("download").href);
    $("download").href = URL.createObjectURL(blob);
    $("download").setAttribute("aria-disabled", "false");
    say(`Painted in ${((performance.now() - started) / 1000).toFixed(1)} seconds, ${where}.`);
    started = undefined;
    allow();
  });
}

worker.onmessage = ({ data: { progress, status, ready: place, picture, fault } }) => {
  if (progress !== undefined) $("progress").value = progress;
  if (status) say(status);
  if (place) {
    [ready, where] = [true, place];
    say(chosen.photos && chosen.styles ? "Press Paint." : "Choose a photo and a style.");
  }
  if (picture) {
    $("progress").value = 1;
    finish(picture);
  }
  if (fault) {
    started = undefined;
    say(fault, true);
  }
  allow();
};
worker.onerror = () => say("This browser is too old to paint.", true);

$("compare").oninput = () => $("after").style.setProperty("--shown", `${$("compare").value}%`);
$("size").onchange = show;
for (const kind of ["photos", "styles"]) {
  const box = $(kind);
  for (const input of box.querySelectorAll("input[type=file]")) input.onchange = () => add(kind, input.files[0]);
  box.ondragover = (event) => event.preventDefault();
  box.ondrop = (event) => {
    event.preventDefault();
    add(kind, event.dataTransfer.files[0]);
  };
  const radios = settings[kind].map(({ file, name }) => shelve(kind, file, name, false));
  if (radios.length) {
    radios[0].checked = true;
    radios[0].onchange();
  }
}
