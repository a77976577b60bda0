'use strict';

// What services reach below the methods: `producer.producer` and `producer.kafka`, with the methods of
// kafkajs that they call, on the one connection of the event producer.

const its = require('./internal.js');
const { requireTopic } = require('./producer.js');

const EVENTS = {
  CONNECT: 'producer.connect',
  DISCONNECT: 'producer.disconnect',
  REQUEST: 'producer.network.request',
  REQUEST_TIMEOUT: 'producer.network.request_timeout',
  REQUEST_QUEUE_SIZE: 'producer.network.request_queue_size',
};

/** `producer.producer`: sends messages of any topic, JSON with its sensitive values treated. */
class LowLevelProducer {
  #owner;
  #listeners = new Map();
  events = EVENTS;

  constructor(owner) {
    this.#owner = owner;
  }

  async connect(options) {
    await this.#owner[its.connectNow](options);
    this.#emit(EVENTS.CONNECT);
  }

  async disconnect() {
    await this.#owner[its.disconnectNow]();
    this.#emit(EVENTS.DISCONNECT);
  }

  /** Sends `{ topic, messages: [{ key, value, headers, partition }] }`. */
  async send(topicMessages = {}) {
    return this.#send([topicMessages]);
  }

  /** Sends `{ topicMessages: [{ topic, messages }] }`. */
  async sendBatch({ topicMessages } = {}) {
    if (!Array.isArray(topicMessages)) throw new TypeError('topicMessages must be an array');
    return this.#send(topicMessages);
  }

  /** All of them, or none where one cannot be sent. */
  async #send(topicMessages) {
    const owner = this.#owner;
    const records = topicMessages.flatMap(recordsOf);
    const reports = await Promise.all(owner[its.sendAside](records, (one) => owner[its.packMessage](one)));
    return metadata(reports);
  }

  /** Calls `listener` on an event of kafkajs' name; gives what removes it. */
  on(name, listener) {
    if (!Object.values(EVENTS).includes(name)) throw new TypeError(`there is no event ${name}`);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  isIdempotent() {
    return true;
  }

  async transaction() {
    throw unsupported('transactions');
  }

  async sendOffsets() {
    throw unsupported('transactions');
  }

  #emit(type) {
    const listeners = this.#listeners.get(type) ?? [];
    for (const listener of listeners) listener({ type, timestamp: Date.now(), payload: {} });
  }
}

/** `producer.kafka`: gives low-level producers, and says where to find the rest. */
class Kafka {
  #owner;

  constructor(owner) {
    this.#owner = owner;
  }

  /** A low-level producer on the same connection. */
  producer() {
    return new LowLevelProducer(this.#owner);
  }

  admin() {
    throw unsupported('kafkajs\' admin client');
  }

  consumer() {
    throw unsupported('kafkajs\' consumer (there is EventConsumer)');
  }
}

function unsupported(what) {
  return new Error(
    `@254carbon/event-producer has no ${what}: it does not run on kafkajs; install kafkajs for it`,
  );
}

function recordsOf({ topic, messages }) {
  requireTopic(topic);
  if (!Array.isArray(messages)) throw new TypeError('messages must be an array');
  return messages.map((message) => recordOf(topic, message));
}

/** A message with what can be sent in it; `of` is the caller's own. */
function recordOf(topic, message) {
  const { key, value, headers, partition } = message;
  const content = bytes(value);
  if (content === undefined) throw new TypeError('a message\'s value must be a string, a Buffer or null');
  const name = bytes(key ?? null);
  const keyed = name === undefined ? String(key) : name;
  return { of: message, topic, key: keyed, value: content, headers: headersOf(headers), partition };
}

/** As it is where it can be sent. */
function bytes(value) {
  const sendable = typeof value === 'string' || value === null || value instanceof Uint8Array;
  return sendable ? value : undefined;
}

function headersOf(headers) {
  if (headers === undefined || headers === null) return undefined;
  const entries = Object.entries(headers).map(([name, value]) => {
    const values = (Array.isArray(value) ? value : [value]).map((one) =>
      one === undefined ? null : (bytes(one) ?? String(one)),
    );
    return [name, values];
  });
  return Object.fromEntries(entries);
}

/** What kafkajs resolves with: one a partition, with the offset of the first record there. */
function metadata(reports) {
  const partitions = new Map();
  for (const report of reports) {
    const place = `${report.partition} ${report.topic}`;
    const first = partitions.get(place);
    if (first === undefined || report.offset < first.offset) partitions.set(place, report);
  }
  return [...partitions.values()].map((report) => {
    const { topic, partition, offset } = report;
    const one = {
      topicName: topic,
      partition,
      errorCode: 0,
      baseOffset: String(offset),
      logAppendTime: '-1',
      logStartOffset: '0',
    };
    Object.defineProperty(one, 'report', { value: report });
    return one;
  });
}

module.exports = { Kafka, LowLevelProducer, send: LowLevelProducer.prototype.send };
