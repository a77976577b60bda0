// Loaded before the package (`node --import`), it times from inside what the package does on the
// event loop: each call of the addon that sends, each turn that reads outcomes, each turn of a
// `sendMany`. Beside them a fixed piece of plain JavaScript, run in between under the same load,
// shows what the machine adds: on busy cores every thread is held up, whatever it does.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const timers = require('node:timers');
const native = require(join(require.resolve('@254carbon/event-producer'), '../lib/native.js'));

const PLAIN = 'plain JavaScript, 0.2 ms';
const took = {
  'a call that sends': [],
  'a turn of outcomes': [],
  'a turn of sendMany': [],
  [PLAIN]: [],
};

function timed(name, work) {
  return function (...args) {
    const start = performance.now();
    try {
      return work.apply(this, args);
    } finally {
      took[name].push(performance.now() - start);
    }
  };
}

function spin(rounds) {
  let sum = 0;
  for (let i = 0; i < rounds; i++) sum = (sum * 31 + i) | 0;
  return sum;
}

/** How many rounds 0.2 ms take where nothing else runs: the best of many. */
function rounds() {
  const tried = 100_000;
  let best = Infinity;
  for (let i = 0; i < 100; i++) {
    const start = performance.now();
    spin(tried);
    best = Math.min(best, performance.now() - start);
  }
  return Math.round((tried * 0.2) / best);
}

const plain = timed(PLAIN, spin);
const plainRounds = rounds();
let turns = 0;

function outcomes(read) {
  const timedRead = timed('a turn of outcomes', read);
  return () => {
    timedRead();
    if (turns++ % 8 === 0) plain(plainRounds);
  };
}

let sendManyStart;
const send = timed('a call that sends', native.Producer.prototype.send);
native.Producer.prototype.send = function (...args) {
  const waiting = send.apply(this, args);
  if (sendManyStart !== undefined) took['a turn of sendMany'].push(performance.now() - sendManyStart);
  sendManyStart = undefined;
  return waiting;
};

native.Mailbox = class extends native.Mailbox {
  open(read) {
    super.open(outcomes(read));
  }
};

const { setImmediate } = timers;
timers.setImmediate = (work, ...args) => {
  if (work.name === 'goOn') return setImmediate(outcomes(work), ...args);
  return setImmediate(() => {
    sendManyStart = performance.now();
    work(...args);
    // What follows its promise runs before the next turn; nothing sent means nothing to time.
    setImmediate(() => (sendManyStart = undefined));
  });
};

/** What each took: `{ name: [milliseconds …] }`. */
globalThis.turnsTook = () => took;
