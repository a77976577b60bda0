'use strict';

// When the process exits with records in flight, waits for their delivery, and reports how many are
// not acknowledged in time.

const internal = require('./internal.js');

const TIMEOUT_MS = 5_000;

const producers = new Set();
let listening = false;

function onExit() {
  let left = 0;
  const end = Date.now() + TIMEOUT_MS;
  for (const producer of producers) {
    left += producer[internal.flushBlocking](Math.max(0, end - Date.now()));
  }
  if (left > 0) {
    process.stderr.write(
      `@254carbon/event-producer: ${left} records were not acknowledged before the process ended\n`,
    );
  }
}

function add(producer) {
  if (!listening) {
    listening = true;
    process.on('exit', onExit);
  }
  producers.add(producer);
}

function remove(producer) {
  producers.delete(producer);
}

module.exports = { add, remove };
