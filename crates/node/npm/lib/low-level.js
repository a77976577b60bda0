'use strict';

// `producer.producer` and `producer.kafka` of the drop-in `EventProducer`: the methods of kafkajs that
// services call, on the event producer's connection.

const internal = require('./internal.js');
const { requireTopic } = require('./producer.js');

const EVENTS = {
  CONNECT: 'producer.connect',
  DISCONNECT: 'producer.disconnect',
  REQUEST: 'producer.network.request',
  REQUEST_TIMEOUT: 'producer.network.request_timeout',
  REQUEST_QUEUE_SIZE: 'producer.network.request_queue_size',
};

/** `producer.producer`: sends messages to any topic. Protects sensitive values in JSON. */
class LowLevelProducer {
  #owner;
  #listeners = new Map();
  events = EVENTS;

  constructor(owner) {
    this.#owner = owner;
  }

  async connect(options) {
    await this.#owner[internal.connectNow](options);
    this.#emit(EVENTS.CONNECT);
  }

  async disconnect() {
    await this.#owner[internal.disconnectNow]();
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

  /** Sends all records, or none if one cannot be sent. */
  async #send(topicMessages) {
    const owner = this.#owner;
    const records = topicMessages.flatMap(recordsOf);
    const reports = await Promise.all(owner[internal.sendLowLevel](records, (one) => owner[internal.packMessage](one)));
    return metadata(reports);
  }

  /** Adds a listener for one of kafkajs' events. Returns a function that removes it. */
  on(name, listener) {
    if (!Object.values(EVENTS).includes(name)) throw new TypeError(`unknown event ${name}`);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  isIdempotent() {
    return true;
  }

  async transaction() {
    throw unsupported('transactions', 'install kafkajs for them');
  }

  async sendOffsets() {
    throw unsupported('transactions', 'install kafkajs for them');
  }

  #emit(type) {
    const listeners = this.#listeners.get(type) ?? [];
    for (const listener of listeners) listener({ type, timestamp: Date.now(), payload: {} });
  }
}

/** `producer.kafka`: creates low-level producers. */
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
    throw unsupported('kafkajs admin client', 'install kafkajs for it');
  }

  consumer() {
    throw unsupported('kafkajs consumer', 'use EventConsumer, or install kafkajs for it');
  }
}

function unsupported(what, instead) {
  return new Error(`@254carbon/event-producer has no ${what}: ${instead}`);
}

function recordsOf({ topic, messages }) {
  requireTopic(topic);
  if (!Array.isArray(messages)) throw new TypeError('messages must be an array');
  return messages.map((message) => recordOf(topic, message));
}

/** A message converted for sending; `of` is the caller's message. */
function recordOf(topic, message) {
  const { key, value, headers, partition } = message;
  const content = bytes(value);
  if (content === undefined) throw new TypeError('a message\'s value must be a string, a Buffer or null');
  const name = bytes(key ?? null);
  const keyed = name === undefined ? String(key) : name;
  return { of: message, topic, key: keyed, value: content, headers: headersOf(headers), partition };
}

/** The value itself, or undefined if it cannot be sent. */
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

/** The result of kafkajs' `send`: for each partition, the offset of its first record. */
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
