'use strict';

const { EventEmitter } = require('node:events');
const { setImmediate } = require('node:timers');
const { Packer } = require('./cells.js');
const { classes, call, invalidEvent } = require('./errors.js');
const { records, topics, names } = require('./events/index.js');
const { Group, Tally } = require('./group.js');
const its = require('./internal.js');
const { discharge, enlist, groups, mailbox, number, operate, stay } = require('./mailbox.js');
const native = require('./native.js');
const { toJson } = require('./options.js');
const { abortable, throwIfAborted } = require('./signals.js');
const { strictJson } = require('./strict.js');
const atExit = require('./exit.js');

/** One call of the addon takes at most about so much: less than a millisecond of the event loop. */
const MAX_RECORDS = 512;
const MAX_CELLS = 1 << 14;
const MAX_TEXT = 1 << 18;

const CONNECT_TIMEOUT_MS = 30_000;

/** Kinds of content: `crates/node/src/cells.rs`. */
const RAW = -1;
const JSON_VALUE = -2;
const STRICT = 100;
const MENDED = 200;
const FLAT = 300;
const VALUES = 400;

const soon = Promise.resolve();
// Taken now: a test may replace the process' with a clock of its own.
const { nextTick } = process;

let resolveCaptured;
let rejectCaptured;

/** Every promise's executor: one function for all of them instead of one each. */
function capture(resolve, reject) {
  resolveCaptured = resolve;
  rejectCaptured = reject;
}

/** Sends typed events. Many of them go to the addon in one call, on the next microtask. */
class TypedProducer extends EventEmitter {
  #options;
  #hasWarned = false;
  #native = null;
  #prefix;
  #topics = Object.create(null);
  #id = number();
  #packer = new Packer();
  #group = new Group(this);
  #flushSoon = () => this.#flush();
  /** Whether the queue was full after the last call, and has had no capacity since. */
  #queueIsFull = false;
  #roomWaiters = [];
  #pending = 0;
  #closed = false;
  /** Whether it was connected, or has sent anything, since it was opened. */
  #used = false;
  #old;
  #writesJson = false;
  #delivered = 0;
  #errors = 0;

  constructor(options = {}, old = false) {
    super();
    this.#options = toJson(options);
    this.#prefix = options.topicPrefix ?? '';
    this.#old = old;
    this.#open();
  }

  /** Sends an event. Resolves with where it is once the brokers have acknowledged it. */
  send(name, event, options) {
    const promise = new Promise(capture);
    let resolve = resolveCaptured;
    let reject = rejectCaptured;
    if (options !== undefined && options !== null && options.signal !== undefined) {
      const settle = abortable(options.signal, resolve, reject);
      if (settle === undefined) return promise;
      ({ resolve, reject } = settle);
    }
    try {
      this.#pack(name, event, options, false);
    } catch (error) {
      this[its.count](null, 0, 1);
      reject(error);
      return promise;
    }
    this[its.wait](resolve, reject, this[its.topicOf](name));
    return promise;
  }

  /** Sends an event without a promise; a failure comes as an `error` event. */
  enqueue(name, event, options) {
    this.#pack(name, event, options, true);
    this.#group.pass();
    this.#packed();
    return !this.#queueIsFull;
  }

  /** Sends events of one record. Resolves when all are acknowledged. */
  sendMany(name, events, options) {
    return new Promise((resolve, reject) => {
      const tally = new Tally(resolve, reject);
      this.#sendAll(tally, name, events, options)
        .catch((error) => tally.fail(Infinity, error))
        .finally(() => {
          this.#flush();
          tally.settle(1);
        });
    });
  }

  async #sendAll(tally, name, events, options) {
    const signal = options?.signal;
    let index = 0;
    let packed = 0;
    let left = MAX_RECORDS;
    for (const event of events) {
      // What others have gathered goes first, in a call of its own.
      if (packed === 0) {
        throwIfAborted(signal);
        this.#flush();
        this.#group.countFor(tally, index);
      }
      try {
        this.#pack(name, event, options, false);
        this.#group.pass();
        packed++;
        tally.left++;
      } catch (error) {
        this[its.count](null, 0, 1);
        tally.fail(index, error);
        // The records of a group are neighbours.
        this.#flush();
        packed = 0;
      }
      index++;
      if (--left === 0 || this.#isFull()) {
        this.#flush();
        packed = 0;
        left = MAX_RECORDS;
        await (this.#queueIsFull ? this.#room() : immediate());
      }
    }
  }

  /** Sends a record of any bytes to any topic; without a value it deletes its key's records. */
  sendRaw(topic, record = {}) {
    return new Promise((resolve, reject) => {
      try {
        this[its.packRaw](requireTopic(topic), record.key ?? null, record.value ?? null, record);
      } catch (error) {
        this[its.count](null, 0, 1);
        reject(error);
        return;
      }
      this[its.wait](resolve, reject, topic);
    });
  }

  /** Resolves when there is room in the queue again; at once where there is some. */
  ready() {
    this.#flush();
    return this.#queueIsFull ? this.#room() : Promise.resolve();
  }

  /** Connects early; the first record would. */
  async connect({ timeoutMs = CONNECT_TIMEOUT_MS } = {}) {
    this.#open();
    this.#use();
    await operate((operation) => this.#native.connect(operation, timeoutMs));
  }

  /** Resolves when all records so far are settled. */
  async flush({ timeoutMs = 60_000 } = {}) {
    this.#flush();
    if (this.#native === null) return;
    await operate((operation) => this.#native.flush(operation, timeoutMs));
  }

  /** Delivers what was sent, and ends the producer. */
  async close({ timeoutMs } = {}) {
    this.#closed = true;
    await this[its.end](timeoutMs);
  }

  /** What became of the records so far. */
  stats() {
    const queued = this.#native === null ? 0 : this.#native.stats().queued;
    return { delivered: this.#delivered, failed: this.#errors, queued };
  }

  /** The producer's metrics in Prometheus' text format. */
  metrics() {
    return this.#native === null ? '' : this.#native.metrics();
  }

  /** A stream of events of one record: `Writable` in object mode. */
  writable(name, options) {
    const { eventWritable } = require('./writable.js');
    return eventWritable(this, name, options);
  }

  // What follows is for this package.

  #open() {
    if (this.#native !== null) return;
    if (this.#closed) throw new classes.Closed('the producer is closed; make a new one');
    this.#native = this.#make();
    this.#writesJson = this.#native.writesJson;
  }

  #use() {
    if (this.#used) return;
    this.#used = true;
    enlist(this.#id, this);
  }

  #make() {
    const made = call(() => new native.Producer(mailbox, this.#id, this.#options, this.#old));
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      for (const message of made.unknownOptions) process.emitWarning(message, 'EventProducerWarning');
    }
    return made;
  }

  /** @internal */
  async [its.end](timeoutMs) {
    this.#flush();
    const ended = this.#native;
    if (ended === null) return;
    this.#native = null;
    this.#used = false;
    try {
      await operate((operation) => ended.close(operation, timeoutMs));
    } finally {
      this[its.onRoom]();
      if (!this.#used) discharge(this.#id, this);
    }
  }

  /** @internal Whether there is anything to end: a connection, or records on their way. */
  get [its.isUsed]() {
    return this.#native !== null && (this.#used || this.#packer.count > 0);
  }

  /** @internal Whether the old package's events are written as JSON. */
  get [its.writesJson]() {
    return this.#writesJson;
  }

  #pack(name, event, options, check) {
    const record = records[name];
    if (record === undefined) throw unknownEvent(name);
    if (this.#native === null) this.#open();
    const packer = this.#packer;
    const start = packer.begin(record.number, options, false);
    try {
      if (record.pack(packer, event)) {
        packer.end(start);
        return;
      }
    } catch {
      // A getter that throws, or no object: both are named below.
    }
    packer.undo(start);
    const json = strictJson(name, record.kinds, event);
    if (check) call(() => this.#native.check(record.number, json));
    const again = packer.begin(STRICT + record.number, options, false);
    if (record.keepsHashes?.(event)) packer.keepHashes(again);
    packer.string(json);
    packer.end(again);
  }

  /** @internal Packs an event that is plainly right, mending its texts; false where it is not. */
  [its.packPlain](name, event, options) {
    if (this.#native === null) this.#open();
    const record = records[name];
    const packer = this.#packer;
    const start = packer.begin(record.number, options, true);
    try {
      if (record.pack(packer, event)) {
        packer.end(start);
        return true;
      }
    } catch {
      // A bigint or a symbol for a number.
    }
    packer.undo(start);
    return false;
  }

  /** @internal Packs an event's JSON, which the core takes as it was meant. */
  [its.packMended](number, json, options) {
    if (this.#native === null) this.#open();
    const packer = this.#packer;
    const start = packer.begin(MENDED + number, options, true);
    packer.string(json);
    packer.end(start);
  }

  /**
   * @internal Packs an event that becomes the JSON object of old, with these members in the schema's
   * order: their values, or where that cannot be, all of them as JSON.
   */
  [its.packFlat](number, key, timestamp, source, members) {
    if (this.#native === null) this.#open();
    const packer = this.#packer;
    let start = this.#beginFlat(VALUES + number, key, timestamp, source);
    let packed = false;
    try {
      packed = packer.values(members);
      if (packed) {
        packer.end(start);
        return;
      }
    } finally {
      if (!packed) packer.undo(start);
    }
    const json = JSON.stringify(members);
    start = this.#beginFlat(FLAT + number, key, timestamp, source);
    packer.string(json);
    packer.end(start);
  }

  #beginFlat(kind, key, timestamp, source) {
    const packer = this.#packer;
    const start = packer.begin(kind, undefined, true);
    packer.bytes(key, 'key');
    packer.room(1)[packer.at++] = timestamp;
    packer.bytes(source, 'source');
    return start;
  }

  /** @internal Packs JSON for any topic; what is sensitive in it is treated. */
  [its.packJson](topic, value, options) {
    if (this.#native === null) this.#open();
    this.#packTopic(JSON_VALUE, topic, value, options, true);
  }

  /** @internal As `packJson`, of what is treated already. */
  [its.packProtected](topic, value, options) {
    if (this.#native === null) this.#open();
    this.#packTopic(RAW, topic, value, options, true);
  }

  /** @internal */
  [its.packRaw](topic, key, value, { partition, headers }) {
    if (this.#native === null) this.#open();
    this.#packTopic(RAW, topic, value, { key, partition, headers }, false);
  }

  #packTopic(kind, topic, value, options, mends) {
    const packer = this.#packer;
    const start = packer.begin(kind, options, mends);
    try {
      packer.string(topic);
      packer.bytes(value, 'value');
    } catch (error) {
      packer.undo(start);
      throw error;
    }
    packer.end(start);
  }

  /** @internal Somebody waits for the record that was just packed. */
  [its.wait](resolve, reject, topic) {
    this.#group.wait(resolve, reject, topic);
    this.#packed();
  }

  /**
   * @internal Sends these records in a call of their own, which counts for nothing: `pack` packs each.
   * Gives their deliveries. Where one is refused, none is sent.
   */
  [its.sendAside](records, pack) {
    this.#flush();
    try {
      for (const record of records) pack(record);
    } catch (error) {
      this.#packer.clear();
      throw error;
    }
    const group = this.#group;
    group.aside = true;
    const wait = ({ topic }) => new Promise((resolve, reject) => group.wait(resolve, reject, topic));
    const deliveries = records.map(wait);
    this.#flush();
    return deliveries;
  }

  /** @internal */
  get [its.topicPrefix]() {
    return this.#prefix;
  }

  /** @internal The topic of a record's events. */
  [its.topicOf](name) {
    return (this.#topics[name] ??= this.#prefix + topics[name]);
  }

  #isFull() {
    const { count, at, text } = this.#packer;
    return count >= MAX_RECORDS || at >= MAX_CELLS || text.length >= MAX_TEXT;
  }

  #packed() {
    if (this.#packer.count === 1) soon.then(this.#flushSoon);
    else if (this.#isFull()) this.#flush();
  }

  #flush() {
    const packer = this.#packer;
    if (packer.count === 0) {
      // A `sendMany` of which no event was right.
      if (this.#group.tally !== null) this.#group = new Group(this);
      return;
    }
    const group = this.#group;
    this.#group = new Group(this);
    const id = number();
    groups.set(id, group);
    group.native = this.#native;
    stay(1);
    this.#use();
    if (this.#pending++ === 0) atExit.add(this);
    const cells = packer.cells.subarray(0, packer.at);
    const quiet = group.waiters === null;
    this.#queueIsFull = this.#native.send(cells, packer.text, packer.count, id, quiet, group.aside);
    packer.clear();
  }

  #room() {
    stay(1);
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** @internal */
  [its.onRoom]() {
    const full = this.#queueIsFull;
    this.#queueIsFull = false;
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    stay(-waiters.length);
    for (const resolve of waiters) resolve();
    if (full && this.listenerCount('drain') > 0) nextTick(() => this.emit('drain'));
  }

  /** @internal */
  [its.onFailure](error) {
    // Apart from here: without a listener it throws.
    nextTick(() => this.emit('error', error));
  }

  /** @internal Counts outcomes: those of a group, or of a record that was refused before it had one. */
  [its.count](group, delivered, failed) {
    this.#delivered += delivered;
    this.#errors += failed;
  }

  /** @internal A record failed, and its promise is about to be rejected. */
  [its.onRejected]() {}

  /** @internal All records of a group have their outcome. */
  [its.onSettled]() {
    if (--this.#pending === 0) atExit.remove(this);
  }

  /** @internal The process ends: gives how many records are not delivered within the time. */
  [its.flushBlocking](timeoutMs) {
    this.#flush();
    const end = Date.now() + timeoutMs;
    // One that was closed in vain has records in flight as well: a shared engine goes on with them.
    const natives = new Set();
    for (const group of groups.values()) if (group.producer === this) natives.add(group.native);
    let queued = 0;
    for (const one of natives) queued += one.flushBlocking(Math.max(0, end - Date.now()));
    return queued;
  }
}

if (Symbol.asyncDispose !== undefined) {
  TypedProducer.prototype[Symbol.asyncDispose] = function dispose() {
    return this.close();
  };
}

/** The topic, where it can be one. */
function requireTopic(topic) {
  if (typeof topic === 'string' && topic !== '') return topic;
  const what = topic === '' ? 'an empty one' : topic === null ? 'null' : typeof topic;
  throw new TypeError(`a topic must be a string that is not empty, got ${what}`);
}

function unknownEvent(name) {
  const shown = typeof name === 'string' ? name : typeof name;
  return invalidEvent(shown, undefined, `is no event: one of ${names.join(', ')}`);
}

function immediate() {
  return new Promise((resolve) => setImmediate(resolve));
}

module.exports = { TypedProducer, requireTopic };
