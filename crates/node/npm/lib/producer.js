'use strict';

const { EventEmitter } = require('node:events');
const { setImmediate } = require('node:timers');
const { Packer } = require('./cells.js');
const { classes, call, invalidEvent } = require('./errors.js');
const { records, topics, names } = require('./events/index.js');
const { Group, Tally } = require('./group.js');
const internal = require('./internal.js');
const { unregister, register, groups, mailbox, number, operate, stay } = require('./mailbox.js');
const native = require('./native.js');
const { toJson } = require('./options.js');
const { abortable, throwIfAborted } = require('./signals.js');
const { strictJson } = require('./strict.js');
const atExit = require('./exit.js');

/** Limits of one call to the addon, so that it takes less than a millisecond of the event loop. */
const MAX_RECORDS = 512;
const MAX_CELLS = 1 << 14;
const MAX_TEXT = 1 << 18;

const CONNECT_TIMEOUT_MS = 30_000;

/** Kinds of content, see `crates/node/src/cells.rs`. */
const RAW = -1;
const JSON_VALUE = -2;
const STRICT = 100;
const LENIENT = 200;
const FLAT = 300;
const VALUES = 400;

const resolved = Promise.resolve();
// Kept, because a test may replace the global one by a fake clock.
const { nextTick } = process;

let resolveCaptured;
let rejectCaptured;

/** The executor of every promise: one function instead of a closure each. */
function capture(resolve, reject) {
  resolveCaptured = resolve;
  rejectCaptured = reject;
}

/** Sends typed events. The events of one microtask go to the addon in one call. */
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
  /** Whether the queue was full after the last call, without a notification of capacity since. */
  #queueIsFull = false;
  #capacityWaiters = [];
  #pending = 0;
  #closed = false;
  /** Whether it has connected or sent a record since it was opened. */
  #used = false;
  #dropIn;
  #writesJson = false;
  #delivered = 0;
  #errors = 0;

  constructor(options = {}, dropIn = false) {
    super();
    this.#options = toJson(options);
    this.#prefix = options.topicPrefix ?? '';
    this.#dropIn = dropIn;
    this.#open();
  }

  /** Sends an event. Resolves with its delivery report. */
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
      this[internal.count](null, 0, 1);
      reject(error);
      return promise;
    }
    this[internal.wait](resolve, reject, this[internal.topicOf](name));
    return promise;
  }

  /** Sends an event without a promise. Emits `error` if it fails. */
  enqueue(name, event, options) {
    this.#pack(name, event, options, true);
    this.#group.addWithoutPromise();
    this.#packed();
    return !this.#queueIsFull;
  }

  /** Sends events of one type. Resolves when all are acknowledged. */
  sendMany(name, events, options) {
    return new Promise((resolve, reject) => {
      const tally = new Tally(resolve, reject);
      this.#sendAll(tally, name, events, options)
        .catch((error) => tally.fail(Infinity, error))
        .finally(() => {
          this.#flush();
          tally.complete(1);
        });
    });
  }

  async #sendAll(tally, name, events, options) {
    const signal = options?.signal;
    let index = 0;
    let packed = 0;
    let left = MAX_RECORDS;
    for (const event of events) {
      // The records of other calls go first, in a call of their own.
      if (packed === 0) {
        throwIfAborted(signal);
        this.#flush();
        this.#group.assignTo(tally, index);
      }
      try {
        this.#pack(name, event, options, false);
        this.#group.addWithoutPromise();
        packed++;
        tally.left++;
      } catch (error) {
        this[internal.count](null, 0, 1);
        tally.fail(index, error);
        // The records of a group have consecutive indices.
        this.#flush();
        packed = 0;
      }
      index++;
      if (--left === 0 || this.#isFull()) {
        this.#flush();
        packed = 0;
        left = MAX_RECORDS;
        await (this.#queueIsFull ? this.#capacity() : immediate());
      }
    }
  }

  /** Sends any bytes to any topic; without a value a tombstone. */
  sendRaw(topic, record = {}) {
    return new Promise((resolve, reject) => {
      try {
        this[internal.packRaw](requireTopic(topic), record.key ?? null, record.value ?? null, record);
      } catch (error) {
        this[internal.count](null, 0, 1);
        reject(error);
        return;
      }
      this[internal.wait](resolve, reject, topic);
    });
  }

  /** Resolves when the queue has capacity. */
  ready() {
    this.#flush();
    return this.#queueIsFull ? this.#capacity() : Promise.resolve();
  }

  /** Connects. Optional: the first record connects as well. */
  async connect({ timeoutMs = CONNECT_TIMEOUT_MS } = {}) {
    this.#open();
    this.#use();
    await operate((operation) => this.#native.connect(operation, timeoutMs));
  }

  /** Resolves when every record sent so far is delivered or failed. */
  async flush({ timeoutMs = 60_000 } = {}) {
    this.#flush();
    if (this.#native === null) return;
    await operate((operation) => this.#native.flush(operation, timeoutMs));
  }

  /** Delivers the accepted records and closes the producer. */
  async close({ timeoutMs } = {}) {
    this.#closed = true;
    await this[internal.end](timeoutMs);
  }

  /** Counts of the records so far. */
  stats() {
    const queued = this.#native === null ? 0 : this.#native.stats().queued;
    return { delivered: this.#delivered, failed: this.#errors, queued };
  }

  /** The producer's metrics in the Prometheus text format. */
  metrics() {
    return this.#native === null ? '' : this.#native.metrics();
  }

  /** A `Writable` for events of one type, in object mode. */
  writable(name, options) {
    const { eventWritable } = require('./writable.js');
    return eventWritable(this, name, options);
  }

  // Internal to this package.

  #open() {
    if (this.#native !== null) return;
    if (this.#closed) throw new classes.Closed('the producer is closed; create a new one');
    this.#native = this.#create();
    this.#writesJson = this.#native.writesJson;
  }

  #use() {
    if (this.#used) return;
    this.#used = true;
    register(this.#id, this);
  }

  #create() {
    const created = call(() => new native.Producer(mailbox, this.#id, this.#options, this.#dropIn));
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      for (const message of created.unknownOptions) process.emitWarning(message, 'EventProducerWarning');
    }
    return created;
  }

  /** @internal */
  async [internal.end](timeoutMs) {
    this.#flush();
    const ended = this.#native;
    if (ended === null) return;
    this.#native = null;
    this.#used = false;
    try {
      await operate((operation) => ended.close(operation, timeoutMs));
    } finally {
      this[internal.onCapacity]();
      if (!this.#used) unregister(this.#id, this);
    }
  }

  /** @internal Whether it has a connection or unsent records. */
  get [internal.isUsed]() {
    return this.#native !== null && (this.#used || this.#packer.count > 0);
  }

  /** @internal Whether the drop-in's events are written as JSON. */
  get [internal.writesJson]() {
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
      // A getter threw, or the event is not an object. `strictJson` reports it.
    }
    packer.undo(start);
    const json = strictJson(name, record.kinds, event);
    if (check) call(() => this.#native.check(record.number, json));
    const again = packer.begin(STRICT + record.number, options, false);
    if (record.keepsHashes?.(event)) packer.keepHashes(again);
    packer.string(json);
    packer.end(again);
  }

  /** @internal Packs a valid event, replacing lone surrogates. Returns false if it needs the core. */
  [internal.packPlain](name, event, options) {
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
      // A bigint or a symbol instead of a number.
    }
    packer.undo(start);
    return false;
  }

  /** @internal Packs an event's JSON, which the core reads leniently. */
  [internal.packLenient](number, json, options) {
    if (this.#native === null) this.#open();
    const packer = this.#packer;
    const start = packer.begin(LENIENT + number, options, true);
    packer.string(json);
    packer.end(start);
  }

  /**
   * @internal Packs an event that is written as flat JSON, with these members in the schema's order:
   * as values if possible, otherwise as JSON.
   */
  [internal.packFlat](number, key, timestamp, source, members) {
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

  /** @internal Packs JSON for any topic. The addon protects its sensitive values. */
  [internal.packJson](topic, value, options) {
    if (this.#native === null) this.#open();
    this.#packTopic(JSON_VALUE, topic, value, options, true);
  }

  /** @internal Like `packJson`, for JSON that is already protected. */
  [internal.packProtected](topic, value, options) {
    if (this.#native === null) this.#open();
    this.#packTopic(RAW, topic, value, options, true);
  }

  /** @internal */
  [internal.packRaw](topic, key, value, { partition, headers }) {
    if (this.#native === null) this.#open();
    this.#packTopic(RAW, topic, value, { key, partition, headers }, false);
  }

  #packTopic(kind, topic, value, options, lenient) {
    const packer = this.#packer;
    const start = packer.begin(kind, options, lenient);
    try {
      packer.string(topic);
      packer.bytes(value, 'value');
    } catch (error) {
      packer.undo(start);
      throw error;
    }
    packer.end(start);
  }

  /** @internal Adds the promise of the record that was just packed. */
  [internal.wait](resolve, reject, topic) {
    this.#group.add(resolve, reject, topic);
    this.#packed();
  }

  /**
   * @internal Sends the records of a low-level producer in a call of their own, without counting them.
   * `pack` packs each. Sends none if one is rejected. Returns their deliveries.
   */
  [internal.sendLowLevel](records, pack) {
    this.#flush();
    try {
      for (const record of records) pack(record);
    } catch (error) {
      this.#packer.clear();
      throw error;
    }
    const group = this.#group;
    group.lowLevel = true;
    const add = ({ topic }) => new Promise((resolve, reject) => group.add(resolve, reject, topic));
    const deliveries = records.map(add);
    this.#flush();
    return deliveries;
  }

  /** @internal */
  get [internal.topicPrefix]() {
    return this.#prefix;
  }

  /** @internal The topic of a record's events. */
  [internal.topicOf](name) {
    return (this.#topics[name] ??= this.#prefix + topics[name]);
  }

  #isFull() {
    const { count, at, text } = this.#packer;
    return count >= MAX_RECORDS || at >= MAX_CELLS || text.length >= MAX_TEXT;
  }

  #packed() {
    if (this.#packer.count === 1) resolved.then(this.#flushSoon);
    else if (this.#isFull()) this.#flush();
  }

  #flush() {
    const packer = this.#packer;
    if (packer.count === 0) {
      // A `sendMany` without a valid event.
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
    this.#queueIsFull = this.#native.send(cells, packer.text, packer.count, id, quiet, group.lowLevel);
    packer.clear();
  }

  #capacity() {
    stay(1);
    return new Promise((resolve) => this.#capacityWaiters.push(resolve));
  }

  /** @internal */
  [internal.onCapacity]() {
    const full = this.#queueIsFull;
    this.#queueIsFull = false;
    const waiters = this.#capacityWaiters;
    this.#capacityWaiters = [];
    stay(-waiters.length);
    for (const resolve of waiters) resolve();
    if (full && this.listenerCount('drain') > 0) nextTick(() => this.emit('drain'));
  }

  /** @internal */
  [internal.onFailure](error) {
    // In a later turn, because it throws without a listener.
    nextTick(() => this.emit('error', error));
  }

  /** @internal Counts outcomes of a group; `null` for a record that was rejected before it had one. */
  [internal.count](group, delivered, failed) {
    this.#delivered += delivered;
    this.#errors += failed;
  }

  /** @internal Called for a failed record, before its promise rejects. */
  [internal.onRejected]() {}

  /** @internal Called when every record of a group has its outcome. */
  [internal.onCompleted]() {
    if (--this.#pending === 0) atExit.remove(this);
  }

  /** @internal Blocks at the process' exit. Returns the number of records not delivered in time. */
  [internal.flushBlocking](timeoutMs) {
    this.#flush();
    const end = Date.now() + timeoutMs;
    // A close that timed out may have left records in flight in a shared engine.
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

/** The topic. Throws if it is not a name. */
function requireTopic(topic) {
  if (typeof topic === 'string' && topic !== '') return topic;
  const what = topic === '' ? "''" : topic === null ? 'null' : typeof topic;
  throw new TypeError(`a topic must be a non-empty string, got ${what}`);
}

function unknownEvent(name) {
  const shown = typeof name === 'string' ? name : typeof name;
  return invalidEvent(shown, undefined, `is not an event: use one of ${names.join(', ')}`);
}

function immediate() {
  return new Promise((resolve) => setImmediate(resolve));
}

module.exports = { TypedProducer, requireTopic };
