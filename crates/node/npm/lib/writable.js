'use strict';

const { Writable } = require('node:stream');

/** A stream that sends what is written to it; what it takes at a time is acknowledged first. */
function eventWritable(producer, name, { highWaterMark = 8192, signal, ...options } = {}) {
  return new Writable({
    objectMode: true,
    highWaterMark,
    signal,
    write(event, _, done) {
      producer.sendMany(name, [event], options).then(() => done(), done);
    },
    writev(chunks, done) {
      const events = chunks.map(({ chunk }) => chunk);
      producer.sendMany(name, events, options).then(() => done(), done);
    },
  });
}

module.exports = { eventWritable };
