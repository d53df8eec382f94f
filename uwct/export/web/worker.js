// Paints, away from the page, which stays responsive. Messages in: {photo, style, key, alphas}; out: {progress, status},
// {ready}, {picture} and {fault}. Pictures are {data: Float32Array [height, width, 3] in [0, 1], height, width}.

const settings = await (await fetch("settings.json")).json();
const sessions = {}; // by the name of the model
let ort;
let kept = {}; // the last style's statistics, and its key

const tell = (message, transfer = []) => postMessage(message, transfer);

const PROCESSOR = ["wasm", "wasm"];

// Which build of ONNX Runtime, and what it computes on: the graphics card where there is one, not one that is emulated.
async function choose() {
  const card = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!card || card.info?.isFallbackAdapter || card.isFallbackAdapter) return PROCESSOR;
  return ["Suspending" in WebAssembly ? "jspi" : "asyncify", "webgpu"];
}

async function fetched(file, told) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} cannot be loaded`);
  const parts = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    told(value.length);
  }
  const found = new Blob(parts);
  const start = new Uint8Array(await found.slice(0, 2).arrayBuffer());
  const zipped = start[0] === 0x1f && start[1] === 0x8b; // unless the server has told the browser to unpack it
  return new Response(zipped ? found.stream().pipeThrough(new DecompressionStream("gzip")) : found).arrayBuffer();
}

async function load([build, provider]) {
  const names = ["style", ...settings.levels.map((level) => `level${level}`)];
  const files = [`runtime/${build}.wasm.gz`, ...names.map((name) => `models/${name}.onnx`)];
  const total = files.reduce((sum, file) => sum + settings.bytes[file], 0);
  let done = 0;
  const told = (bytes) => {
    done += bytes;
    const [a, b] = [done, total].map((x) => (x / 1e6).toFixed(1));
    tell({ progress: Math.min(1, done / total), status: `Loading the painter: ${a} of ${b} MB` });
  };
  const [wasm, ...models] = await Promise.all(files.map((file) => fetched(file, told)));
  tell({ status: "Starting the painter" });
  ort = await import(`./runtime/${build}.js`);
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: new URL(`runtime/${build}.loader.js`, location.href).href };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency) : 1;
  for (const [i, name] of names.entries()) {
    sessions[name] = await ort.InferenceSession.create(models[i], { executionProviders: [provider] });
  }
  tell({ ready: provider === "webgpu" ? "on the graphics card" : "on the processor" });
}

async function run(name, inputs) {
  return sessions[name].run(inputs, sessions[name].outputNames);
}

const tensor = (picture) => new ort.Tensor("float32", picture.data, [picture.height, picture.width, 3]);

async function paint({ photo, style, key, alphas }) {
  const steps = settings.levels.length + 1;
  if (kept.key !== key) {
    tell({ progress: 0.02, status: "Looking at the style" });
    kept = { key, ...(await run("style", { style: tensor(style) })) };
  }
  let picture = tensor(photo);
  for (const [i, level] of settings.levels.entries()) {
    tell({ progress: (i + 1) / steps, status: `Painting: ${i + 1} of ${settings.levels.length}` });
    const target = { mean: kept[`mean${level}`], cov: kept[`cov${level}`] };
    const found = await run(`level${level}`, { photo: picture, ...target, alphas: new ort.Tensor("float32", [alphas[i]], [1]) });
    picture = found.picture;
  }
  const data = await picture.getData();
  tell({ picture: { data, height: photo.height, width: photo.width } }, [data.buffer]);
}

const fault = (error) => tell({ fault: `That did not work: ${error.message || error}` });
onmessage = ({ data }) => paint(data).catch(fault);
const chosen = await choose();
load(chosen)
  .catch((error) => (chosen === PROCESSOR ? Promise.reject(error) : load(PROCESSOR)))
  .catch(fault);
