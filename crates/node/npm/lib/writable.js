'use strict';

const { Writable } = require('node:stream');

/** A stream that sends the events written to it. A write completes when its events are acknowledged. */
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
