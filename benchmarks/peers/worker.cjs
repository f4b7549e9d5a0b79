'use strict';

/*
 * Common part of the workers in JavaScript: reads the task, times their functions, writes the answer. Needs only node.
 *
 * npm_worker.py starts it as `node X_worker.cjs FOLDER ANSWER [OPTION ...]` and describes FOLDER and ANSWER. It does
 * the same as worker.py: as many warm-up calls, pictures decoded before the clock starts.
 */

const fs = require('fs');
const path = require('path');

const WARM_UP = 10;

/** The bytes of a file, N x H x W grey or N x H x W x 3, as N pictures {data: H x W x 3 bytes, height, width}. */
function pictures(file, [count, height, width, channels = 1]) {
  const bytes = fs.readFileSync(file);
  const size = height * width;
  return Array.from({ length: count }, (_, index) => {
    const own = bytes.subarray(index * size * channels, (index + 1) * size * channels);
    const data = new Uint8Array(size * 3);
    if (channels === 3) data.set(own);
    else for (let i = 0; i < size; i++) data.fill(own[i], 3 * i, 3 * i + 3);
    return { data, height, width };
  });
}

/** Milliseconds of each of `calls` calls, cycling through the inputs, after WARM_UP calls that do not count. */
async function time(call, inputs, calls) {
  const taken = [];
  for (let i = 0; i < WARM_UP + calls; i++) {
    const begin = process.hrtime.bigint();
    await call(inputs[i % inputs.length]);
    taken.push(Number(process.hrtime.bigint() - begin) / 1e6);
  }
  return taken.slice(WARM_UP);
}

/** Installed versions by package.json's text: `require` of it fails for packages with an `exports` list. */
function versions(packages) {
  const read = (name) => JSON.parse(fs.readFileSync(path.join(process.env.NODE_PATH, name, 'package.json'))).version;
  return { ...Object.fromEntries(packages.map((name) => [name, read(name)])), node: process.versions.node };
}

async function work(make) {
  const [folder, answer, ...options] = process.argv.slice(2);
  const task = JSON.parse(fs.readFileSync(path.join(folder, 'task.json')));
  const crops = pictures(path.join(folder, 'crops.raw'), task.crops);
  const frames = pictures(path.join(folder, 'frames.raw'), task.frames);
  const video = pictures(path.join(folder, 'video.raw'), task.video);
  const { labels, packages, crop, frame, remember } = await make(...options);
  const result = { labels, versions: JSON.stringify(versions(packages)) };
  if (task.judge && crop) {
    result.scores = [];
    for (const one of crops) result.scores.push(Array.from(await crop(one)));
  }
  if (task.judge && frame) {
    Object.assign(result, { boxes: [], box_scores: [] });
    for (const [index, one] of frames.entries()) {
      for (const { box, scores } of await frame(one)) {
        result.boxes.push([index, ...box]);
        result.box_scores.push(Array.from(scores));
      }
    }
  }
  if (crop) result.crop_ms = await time(crop, crops, task.calls);
  if (frame) {
    result.frame_ms = await time(frame, frames, task.calls);
    if (remember) remember();
    result.video_ms = await time(frame, [...video, ...video.slice(1, -1).reverse()], task.calls); // without a cut
  }
  fs.writeFileSync(answer, JSON.stringify(result));
}

/**
 * Do the task with the functions that `make(...options)` resolves to: {labels, packages, crop, frame,
 * remember}.
 *
 * crop: a picture -> C scores. frame: a picture -> faces {box: [x, y, width, height], scores: C}. Either may be missing.
 * remember: called before the frames of the video, for programs that use the frames before.
 * If it fails, the last line on stderr is the reason.
 */
exports.serve = (make) => work(make).catch((error) => {
  console.error(String(error.message || error).split('\n')[0]);
  process.exit(1);
});
