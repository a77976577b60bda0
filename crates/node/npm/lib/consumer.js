'use strict';

const { Unpacker } = require('./cells.js');
const { call, classes, fromParts } = require('./errors.js');
const { names, records } = require('./events/index.js');
const { clients, forget, mailbox, number, operate, stay } = require('./mailbox.js');
const native = require('./native.js');
const { throwIfAborted } = require('./signals.js');
const { toJson } = require('./options.js');

const CLOSE_TIMEOUT_MS = 30_000;

/** How each record is read, by its number. */
const unpacks = [];
const NO_HEADERS = Object.freeze({});

/** A chunk of records that the addon handed over. */
class Chunk {
  /** How many of its records were given to the caller. */
  given = 0;
  /** Whether the caller still has the last of them in hand. */
  inHand = false;

  constructor(sequence, records) {
    this.sequence = sequence;
    this.records = records;
  }

  get handled() {
    return this.given - (this.inHand ? 1 : 0);
  }

  next() {
    this.inHand = true;
    return { done: false, value: this.records[this.given++] };
  }

  rest() {
    const rest = this.given === 0 ? this.records : this.records.slice(this.given);
    this.given = this.records.length;
    this.inHand = false;
    return rest;
  }
}

/** Reads typed events: one by one (`for await`), or batch by batch. */
class EventConsumer {
  #native;
  #id = number();
  #unpacker = new Unpacker();
  #chunk = null;
  #wakes = [];
  #closed = false;
  /** Whether a handler of `eachBatch` is at work. */
  #handling = false;

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

  /** A record counts as handled when the next one is asked for. */
  [Symbol.asyncIterator]() {
    return {
      next: () => this.#nextRecord(),
      // The record in the caller's hands comes again, to the next loop or to the group.
      return: (value) => {
        const chunk = this.#chunk;
        if (chunk !== null) {
          chunk.given = chunk.handled;
          chunk.inHand = false;
        }
        return Promise.resolve({ done: true, value });
      },
    };
  }

  /** The next records; those given before count as handled. `null` where there are no more. */
  async nextBatch({ signal } = {}) {
    const left = this.#chunk;
    if (left !== null && left.given < left.records.length) return left.rest();
    this.#handledAll();
    const chunk = await this.#nextChunk(signal);
    return chunk === null ? null : chunk.rest();
  }

  /** Calls `handler` with batches until it throws, the signal aborts or there are no more. */
  async eachBatch(handler, { signal } = {}) {
    for (;;) {
      let batch;
      try {
        batch = await this.nextBatch({ signal });
      } catch (error) {
        if (signal?.aborted) return;
        throw error;
      }
      if (batch === null) return;
      this.#handling = true;
      try {
        await handler(batch);
      } catch (error) {
        this.#giveBack(batch.length);
        throw error;
      } finally {
        this.#handling = false;
      }
    }
  }

  /** Commits what is handled now; it is done from time to time anyway. */
  async commit({ timeoutMs = 30_000 } = {}) {
    const chunk = this.#chunk;
    if (chunk !== null && !this.#handling) this.#open().progress(chunk.sequence, chunk.handled);
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

  /** Commits what is handled and leaves the group. */
  async close({ timeoutMs = CLOSE_TIMEOUT_MS } = {}) {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#handling && this.#chunk !== null) this.#chunk.given = 0;
    this.#handledSoFar();
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

  #nextRecord() {
    const chunk = this.#chunk;
    if (chunk !== null && chunk.given < chunk.records.length) {
      return Promise.resolve(chunk.next());
    }
    return this.#nextRecordLater();
  }

  async #nextRecordLater() {
    this.#handledAll();
    const chunk = await this.#nextChunk();
    return chunk === null ? { done: true, value: undefined } : chunk.next();
  }

  /** The chunk is handled as far as it was given. */
  #handledAll() {
    const chunk = this.#chunk;
    if (chunk === null || this.#closed) return;
    this.#chunk = null;
    this.#native.handled(chunk.sequence, chunk.given);
  }

  /** What the caller does not have in hand any more is handled. */
  #handledSoFar() {
    const chunk = this.#chunk;
    if (chunk === null) return;
    this.#chunk = null;
    this.#native.handled(chunk.sequence, chunk.handled);
  }

  /** The last so many records that were given are not handled, nor is what is behind them. */
  #giveBack(records) {
    if (this.#chunk === null || this.#closed) return;
    this.#chunk.given -= records;
    this.#handledSoFar();
  }

  async #nextChunk(signal) {
    stay(1);
    try {
      for (;;) {
        throwIfAborted(signal);
        if (this.#closed) return null;
        const chunk = this.#take();
        if (chunk !== null) {
          this.#chunk = chunk;
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
    if (taken !== null && taken.records === 0) {
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
    const error = fromParts(errors[c[r.at++]]);
    const value = r.bytes();
    return { topic, partition, offset, timestamp, key, headers, event: null, error, value };
  }
  const unpack = (unpacks[number] ??= records[names[number]].unpack);
  const event = unpack(r);
  if (r.unsafe !== undefined) return unsafe(r, number, { topic, partition, offset, timestamp, key, headers });
  return { topic, partition, offset, timestamp, key, headers, event, error: null, value: null };
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
  return { ...place, event: null, error, value: null };
}

if (Symbol.asyncDispose !== undefined) {
  EventConsumer.prototype[Symbol.asyncDispose] = function dispose() {
    return this.close();
  };
}

module.exports = { EventConsumer };
