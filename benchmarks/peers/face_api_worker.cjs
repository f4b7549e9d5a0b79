'use strict';

/* Worker for npm's @vladmandic/face-api on WebAssembly, called as its users do: `... FOLDER ANSWER ssd|tiny`. */

const path = require('path');
const { serve } = require('./worker.cjs');

const LABELS = ['neutral', 'happy', 'sad', 'angry', 'fearful', 'disgusted', 'surprised'];
const PACKAGE = '@vladmandic/face-api';

serve(async (detector) => {
  const tf = require('@tensorflow/tfjs');
  require('@tensorflow/tfjs-backend-wasm').setThreadsCount(1);
  if (!await tf.setBackend('wasm')) throw new Error('tfjs could not start its wasm backend');
  const home = path.join(process.env.NODE_PATH, PACKAGE);
  const faceapi = require(path.join(home, 'dist', 'face-api.node-wasm.js'));
  const { faceExpressionNet, ssdMobilenetv1, tinyFaceDetector } = faceapi.nets;
  const [finder, options] = detector === 'ssd'
    ? [ssdMobilenetv1, new faceapi.SsdMobilenetv1Options()]
    : [tinyFaceDetector, new faceapi.TinyFaceDetectorOptions()];
  for (const net of [finder, faceExpressionNet]) await net.loadFromDisk(path.join(home, 'model'));

  async function withTensor({ data, height, width }, use) {
    const tensor = tf.tensor3d(data, [height, width, 3], 'int32');
    const result = await use(tensor);
    tensor.dispose();
    return result;
  }
  const scores = (expressions) => LABELS.map((label) => expressions[label]);
  const crop = async (face) => scores(await withTensor(face, (tensor) => faceExpressionNet.predictExpressions(tensor)));
  const frame = async (picture) => {
    const found = await withTensor(picture, (tensor) => faceapi.detectAllFaces(tensor, options).withFaceExpressions());
    return found.map(({ detection: { box }, expressions }) => (
      { box: [box.x, box.y, box.width, box.height], scores: scores(expressions) }));
  };
  const packages = [PACKAGE, '@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm'];
  // Both detectors share the classification of a crop: it is measured once.
  return { labels: LABELS, packages, frame, ...(detector === 'ssd' && { crop }) };
});
