'use strict';

const { Unpacker } = require('./cells.js');
const { call, classes, fromParts } = require('./errors.js');
const { names, records } = require('./events/index.js');
const { clients, forget, mailbox, number, operate, stay } = require('./mailbox.js');
const native = require('./native.js');
const { throwIfAborted } = require('./signals.js');
const { toJson } = require('./options.js');


/** How each record is read, by its number. */
const unpacks = [];
/** What stands for an event's number in a record without a value. */
const TOMBSTONE = -2;
const NO_HEADERS = Object.freeze({});

/** A chunk of records that the addon handed over. */
class Chunk {
  /** How many of its records are acknowledged. */
  done = 0;
  /** How many were given to the caller. */
  given = 0;

  constructor(sequence, records) {
    this.sequence = sequence;
    this.records = records;
  }

  /** Whether it has records that were not given. */
  get goesOn() {
    return this.given < this.records.length;
  }

  /** Reading on acknowledges what was given before. */
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
 * One that reads: an iterator, a call of `eachBatch`, or the calls of `nextBatch` together. Reading on
 * acknowledges only what the same reader was given.
 */
class Reader {
  /** What it was given last. */
  chunk = null;
  /** Whether it reads no more. */
  ended = false;
  /** Calls of an iterator's `next` that wait, and the last of them. */
  calls = 0;
  turn = null;
}

/** Reads typed events: one by one (`for await`), or batch by batch. */
class EventConsumer {
  #native;
  #id = number();
  #unpacker = new Unpacker();
  /** Those that have a chunk in hand. */
  #readers = new Set();
  /** The reader of `nextBatch`. */
  #reader = new Reader();
  /** Whether a call of `nextBatch` waits. */
  #waiting = false;
  #wakes = [];
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
      // The record in the caller's hands comes again, to the next loop or to the group, and a `next`
      // that waits receives none.
      return: (value) => {
        reader.ended = true;
        this.#giveBack(reader);
        this.onReady();
        return Promise.resolve({ done: true, value });
      },
    };
  }

  /** The next records; acknowledges those given before. `null` where there are no more. */
  async nextBatch({ signal } = {}) {
    // A call while another one waits has another caller, of whom no later call says that it reads on.
    if (this.#waiting) return this.#nextBatch(new Reader(), signal);
    this.#waiting = true;
    try {
      return await this.#nextBatch(this.#reader, signal);
    } finally {
      this.#waiting = false;
    }
  }

  /** Calls `handler` with batches until it throws, the signal aborts or there are no more. */
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

  /** Acknowledges every record that was given, without reading on. */
  acknowledge() {
    for (const { chunk } of this.#readers) {
      chunk.done = chunk.given;
      this.#open().progress(chunk.sequence, chunk.done);
    }
  }

  /** Commits what is acknowledged and the batch of `nextBatch`, and waits for the answer. */
  async commit({ timeoutMs = 30_000 } = {}) {
    const own = this.#reader.chunk;
    if (own !== null) own.done = own.given;
    for (const { chunk } of this.#readers) this.#open().progress(chunk.sequence, chunk.done);
    await operate((operation) => this.#open().commit(operation, timeoutMs));
  }

  /** The partitions that are ours now. */
  assignment() {
    return JSON.parse(this.#open().assignment());
  }

  /** The consumer's metrics in Prometheus' text format, with its lag. */
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
    if (this.#closed) throw new classes.Closed('the consumer is closed; make a new one');
    return this.#native;
  }

  #nextRecord(reader) {
    const { chunk } = reader;
    if (reader.calls === 0 && chunk !== null && chunk.goesOn) return Promise.resolve(chunk.next());
    reader.calls++;
    reader.turn = this.#nextRecordLater(reader, reader.turn);
    return reader.turn;
  }

  async #nextRecordLater(reader, before) {
    try {
      // One call after the other, so that none takes a chunk while another one does.
      if (reader.calls > 1) await before.catch(() => {});
      const { chunk } = reader;
      if (chunk !== null && chunk.goesOn) return chunk.next();
      this.#finish(reader);
      const next = await this.#nextChunk(reader);
      return next === null ? { done: true, value: undefined } : next.next();
    } finally {
      reader.calls--;
    }
  }

  async #nextBatch(reader, signal) {
    const { chunk } = reader;
    if (chunk !== null && chunk.goesOn) return chunk.rest();
    this.#finish(reader);
    const next = await this.#nextChunk(reader, signal);
    return next === null ? null : next.rest();
  }

  /** The reader reads on: it has acknowledged its chunk. */
  #finish(reader) {
    const { chunk } = reader;
    if (chunk === null || this.#closed) return;
    this.#release(reader);
    this.#native.finish(chunk.sequence);
  }

  /** The next read gives what this reader was given and has not acknowledged, and what is behind. */
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
        await this.#woken(signal);
      }
    } finally {
      stay(-1);
    }
  }

  #woken(signal) {
    return new Promise((resolve) => {
      if (signal === undefined || signal === null) {
        this.#wakes.push(resolve);
        return;
      }
      signal.addEventListener('abort', resolve, { once: true });
      // A signal that outlives many batches must not gather listeners.
      this.#wakes.push(() => {
        signal.removeEventListener('abort', resolve);
        resolve();
      });
    });
  }

  /** @internal */
  onReady() {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
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

/** An event with a number that JavaScript cannot hold is an error rather than a wrong number. */
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
