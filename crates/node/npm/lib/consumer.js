'use strict';

const { Unpacker } = require('./cells.js');
const { call, classes, fromParts } = require('./errors.js');
const { names, records } = require('./events/index.js');
const { clients, forget, mailbox, number, operate, stay } = require('./mailbox.js');
const native = require('./native.js');
const { throwIfAborted } = require('./signals.js');
const { toJson } = require('./options.js');


/** The generated `unpack` of each event, by number. */
const unpacks = [];
/** The event number of a tombstone. */
const TOMBSTONE = -2;
const NO_HEADERS = Object.freeze({});

/** A chunk of records from the addon. */
class Chunk {
  /** How many of its records are acknowledged. */
  done = 0;
  /** How many of its records the caller received. */
  given = 0;

  constructor(sequence, records) {
    this.sequence = sequence;
    this.records = records;
  }

  /** Whether it has records that the caller did not receive. */
  get hasMore() {
    return this.given < this.records.length;
  }

  /** Reading on acknowledges the records received before. */
  next() {
    this.done = this.given;
    return { done: false, value: this.records[this.given++] };
  }

  rest() {
    this.done = this.given;
    const rest = this.given === 0 ? this.records : this.records.slice(this.given);
    this.given = this.records.length;
    return rest;
  }
}

/**
 * An iterator, a call of `eachBatch`, or the calls of `nextBatch` together. Reading on acknowledges only
 * the records that the same reader received.
 */
class Reader {
  /** The chunk it received last. */
  chunk = null;
  /** Whether it has stopped reading. */
  ended = false;
  /** The number of waiting calls of an iterator's `next`, and the last of them. */
  calls = 0;
  turn = null;
}

/** Reads typed events one by one (`for await`) or in batches. */
class EventConsumer {
  #native;
  #id = number();
  #unpacker = new Unpacker();
  /** The readers that hold a chunk. */
  #readers = new Set();
  /** The reader for `nextBatch`. */
  #reader = new Reader();
  /** Whether a call of `nextBatch` is waiting. */
  #waiting = false;
  #waiters = [];
  #closed = false;

  constructor({ longs = 'number', ...options } = {}) {
    if (longs !== 'number' && longs !== 'bigint') {
      const message = 'longs must be "number" or "bigint"';
      throw new classes.InvalidConfig(message, { context: { setting: 'longs' } });
    }
    this.#unpacker.bigint = longs === 'bigint';
    const { topics } = options;
    const settings = typeof topics === 'string' ? { ...options, topics: [topics] } : options;
    this.#native = call(() => new native.Consumer(mailbox, this.#id, toJson(settings)));
    clients.set(this.#id, this);
  }

  /** A record is acknowledged when the loop asks for the next one. */
  [Symbol.asyncIterator]() {
    const reader = new Reader();
    return {
      next: () => this.#nextRecord(reader),
      // The next loop, or the group, reads the caller's last record again. A waiting `next` ends.
      return: (value) => {
        reader.ended = true;
        this.#giveBack(reader);
        this.onReady();
        return Promise.resolve({ done: true, value });
      },
    };
  }

  /** The next records, or `null` at the end. Acknowledges the records of the call before. */
  async nextBatch({ signal } = {}) {
    // A concurrent call has another caller; no later call acknowledges for that one.
    if (this.#waiting) return this.#nextBatch(new Reader(), signal);
    this.#waiting = true;
    try {
      return await this.#nextBatch(this.#reader, signal);
    } finally {
      this.#waiting = false;
    }
  }

  /** Calls `handler` with each batch until it throws, the signal aborts or there are no more. */
  async eachBatch(handler, { signal } = {}) {
    const reader = new Reader();
    for (;;) {
      let batch;
      try {
        batch = await this.#nextBatch(reader, signal);
      } catch (error) {
        if (signal?.aborted) return;
        throw error;
      }
      if (batch === null) return;
      try {
        await handler(batch);
      } catch (error) {
        this.#giveBack(reader);
        throw error;
      }
    }
  }

  /** Acknowledges every record that was received, without reading on. */
  acknowledge() {
    for (const { chunk } of this.#readers) {
      chunk.done = chunk.given;
      this.#open().progress(chunk.sequence, chunk.done);
    }
  }

  /** Commits what is acknowledged, and the last batch of `nextBatch`. */
  async commit({ timeoutMs = 30_000 } = {}) {
    const own = this.#reader.chunk;
    if (own !== null) own.done = own.given;
    for (const { chunk } of this.#readers) this.#open().progress(chunk.sequence, chunk.done);
    await operate((operation) => this.#open().commit(operation, timeoutMs));
  }

  /** The assigned partitions. */
  assignment() {
    return JSON.parse(this.#open().assignment());
  }

  /** The consumer's metrics in the Prometheus text format, lag included. */
  metrics() {
    return this.#open().metrics();
  }

  /** Commits what is acknowledged and leaves the group. Acknowledges nothing itself. */
  async close({ timeoutMs } = {}) {
    if (this.#closed) return;
    this.#closed = true;
    for (const { chunk } of this.#readers) this.#native.progress(chunk.sequence, chunk.done);
    for (const reader of [...this.#readers]) this.#release(reader);
    clients.delete(this.#id);
    this.onReady();
    try {
      await operate((operation) => this.#native.close(operation, timeoutMs));
    } finally {
      forget(this.#id);
    }
  }

  #open() {
    if (this.#closed) throw new classes.Closed('the consumer is closed; create a new one');
    return this.#native;
  }

  #nextRecord(reader) {
    const { chunk } = reader;
    if (reader.calls === 0 && chunk !== null && chunk.hasMore) return Promise.resolve(chunk.next());
    reader.calls++;
    reader.turn = this.#nextRecordLater(reader, reader.turn);
    return reader.turn;
  }

  async #nextRecordLater(reader, before) {
    try {
      // One call after the other, so that no two calls take a chunk.
      if (reader.calls > 1) await before.catch(() => {});
      const { chunk } = reader;
      if (chunk !== null && chunk.hasMore) return chunk.next();
      this.#finish(reader);
      const next = await this.#nextChunk(reader);
      return next === null ? { done: true, value: undefined } : next.next();
    } finally {
      reader.calls--;
    }
  }

  async #nextBatch(reader, signal) {
    const { chunk } = reader;
    if (chunk !== null && chunk.hasMore) return chunk.rest();
    this.#finish(reader);
    const next = await this.#nextChunk(reader, signal);
    return next === null ? null : next.rest();
  }

  /** The reader reads on: acknowledges its chunk. */
  #finish(reader) {
    const { chunk } = reader;
    if (chunk === null || this.#closed) return;
    this.#release(reader);
    this.#native.finish(chunk.sequence);
  }

  /** The next read returns the reader's chunk from its first record that is not acknowledged. */
  #giveBack(reader) {
    const { chunk } = reader;
    if (chunk === null || this.#closed) return;
    this.#release(reader);
    this.#native.giveBack(chunk.sequence, chunk.done);
    this.onReady();
  }

  #release(reader) {
    reader.chunk = null;
    this.#readers.delete(reader);
  }

  async #nextChunk(reader, signal) {
    stay(1);
    try {
      for (;;) {
        throwIfAborted(signal);
        if (this.#closed || reader.ended) return null;
        const chunk = this.#take();
        if (chunk !== null) {
          reader.chunk = chunk;
          this.#readers.add(reader);
          return chunk;
        }
        if (this.#native.atEnd()) return null;
        await this.#notified(signal);
      }
    } finally {
      stay(-1);
    }
  }

  #notified(signal) {
    return new Promise((resolve) => {
      if (signal === undefined || signal === null) {
        this.#waiters.push(resolve);
        return;
      }
      signal.addEventListener('abort', resolve, { once: true });
      // A signal that outlives many batches must not collect listeners.
      this.#waiters.push(() => {
        signal.removeEventListener('abort', resolve);
        resolve();
      });
    });
  }

  /** @internal */
  onReady() {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const notify of waiters) notify();
  }

  #take() {
    const unpacker = this.#unpacker;
    let taken = call(() => this.#native.take(unpacker.cells));
    while (taken !== null && taken.records === 0) {
      unpacker.cells = new Float64Array(taken.cells * 2);
      taken = call(() => this.#native.take(unpacker.cells));
    }
    if (taken === null) return null;
    const topics = JSON.parse(taken.topics);
    const errors = taken.errors ? JSON.parse(taken.errors) : undefined;
    unpacker.begin(taken.text);
    const found = new Array(taken.records);
    for (let i = 0; i < found.length; i++) found[i] = record(unpacker, topics, errors);
    return new Chunk(taken.sequence, found);
  }
}

function record(r, topics, errors) {
  const c = r.cells;
  let i = r.at;
  const topic = topics[c[i++]];
  const partition = c[i++];
  const offset = c[i++];
  const time = c[i++];
  r.at = i;
  const key = r.bytes();
  const count = c[r.at++];
  const headers = count === 0 ? NO_HEADERS : readHeaders(r, count);
  const number = c[r.at++];
  const timestamp = time === time ? time : null;
  if (number < 0) {
    const tombstone = number === TOMBSTONE;
    const error = tombstone ? null : fromParts(errors[c[r.at++]]);
    const value = tombstone ? null : r.bytes();
    return { topic, partition, offset, timestamp, key, headers, event: null, error, value, tombstone };
  }
  const unpack = (unpacks[number] ??= records[names[number]].unpack);
  const event = unpack(r);
  if (r.unsafe !== undefined) return unsafe(r, number, { topic, partition, offset, timestamp, key, headers });
  return { topic, partition, offset, timestamp, key, headers, event, error: null, value: null, tombstone: false };
}

function readHeaders(r, count) {
  const headers = {};
  for (let left = count; left > 0; left--) {
    const name = r.string();
    const value = r.bytes();
    if (name === '__proto__') {
      Object.defineProperty(headers, name, { value, writable: true, enumerable: true, configurable: true });
    } else {
      headers[name] = value;
    }
  }
  return headers;
}

/** An undecodable record: its event has an integer that a JavaScript number cannot hold. */
function unsafe(r, number, place) {
  const [event, field] = [names[number], r.unsafe];
  r.unsafe = undefined;
  const message =
    `${event}.${field} is beyond Number.MAX_SAFE_INTEGER; read it with longs: 'bigint' ` +
    `(${place.topic} [${place.partition}] at offset ${place.offset})`;
  const context = { event, field, topic: place.topic };
  const error = new classes.Undecodable(message, { context });
  return { ...place, event: null, error, value: null, tombstone: false };
}

if (Symbol.asyncDispose !== undefined) {
  EventConsumer.prototype[Symbol.asyncDispose] = function dispose() {
    return this.close();
  };
}

module.exports = { EventConsumer };
