'use strict';

/* Worker for npm's @vladmandic/human on WebAssembly, faces and emotions only: `... FOLDER ANSWER`. */

const fs = require('fs');
const path = require('path');
const { serve } = require('./worker.cjs');

const LABELS = ['angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral'];
const PACKAGE = '@vladmandic/human';
const GREY = [0.2989, 0.587, 0.114];
const OFF = { enabled: false };

/** Without tfjs-node, tfjs has no loader for models on disk: register one. */
function readModelsFromDisk({ io }) {
  const load = (file) => {
    const model = JSON.parse(fs.readFileSync(file));
    return io.getModelArtifactsForJSON(model, async (manifest) => {
      const parts = manifest.flatMap((group) => group.paths).map((name) => path.join(path.dirname(file), name));
      const bytes = Uint8Array.from(Buffer.concat(parts.map((part) => fs.readFileSync(part))));
      return [manifest.flatMap((group) => group.weights), bytes.buffer];
    });
  };
  const scheme = 'file://';
  io.registerLoadRouter((url) => (url.startsWith(scheme) ? { load: () => load(url.slice(scheme.length)) } : null));
}

serve(async () => {
  const tf = require('@tensorflow/tfjs-core');
  require('@tensorflow/tfjs-backend-wasm').setThreadsCount(1);
  readModelsFromDisk(tf);
  const modules = process.env.NODE_PATH;
  const { Human } = require(path.join(modules, PACKAGE, 'dist', 'human.node-wasm.js'));
  const human = new Human({
    backend: 'wasm',
    wasmPath: path.join(modules, '@tensorflow', 'tfjs-backend-wasm', 'dist', path.sep),
    modelBasePath: `file://${path.join(modules, PACKAGE, 'models', path.sep)}`,
    cacheSensitivity: 0, // otherwise it reuses the result of one picture for the next ones, which only a video allows
    face: { mesh: OFF, iris: OFF, description: OFF },
    body: OFF,
    hand: OFF,
    gesture: OFF,
  });
  await human.load();
  if (tf.getBackend() !== 'wasm') throw new Error('tfjs could not start its wasm backend');
  const model = human.models.models.emotion;
  if (!human.models.models.blazeface || !model) throw new Error('human could not load its models');

  // human rounds its scores down to two decimals, which creates ties: this keeps the network's own output.
  const execute = model.execute.bind(model);
  let outputs = [];
  model.execute = (input) => {
    const output = execute(input);
    outputs.push(output.dataSync());
    return output;
  };

  // human has no call for a cropped face: its own preparation of one is repeated here (its src/gear/emotion.ts).
  const crop = ({ data, height, width }) => tf.tidy(() => {
    const face = tf.div(tf.tensor4d(data, [1, height, width, 3], 'float32'), 255);
    const [, rows, columns] = model.inputs[0].shape;
    const grey = tf.sum(tf.mul(tf.image.resizeBilinear(face, [rows, columns]), GREY), 3, true);
    return execute(tf.mul(tf.sub(grey, 0.5), 2)).dataSync();
  });
  const frame = async ({ data, height, width }) => {
    const tensor = tf.tensor3d(data, [height, width, 3], 'int32');
    outputs = [];
    const { face, error } = await human.detect(tensor);
    tensor.dispose();
    if (error) throw new Error(error);
    return face.map(({ box }, index) => ({ box, scores: outputs[index] }));
  };
  const remember = () => { human.config.cacheSensitivity = 0.7; }; // its default
  const packages = [PACKAGE, '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'];
  return { labels: LABELS, packages, crop, frame, remember };
});
