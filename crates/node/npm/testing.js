'use strict';

// A broker and a schema registry in this process, for the tests of a service.

const native = require('./lib/native.js');
const { call } = require('./lib/errors.js');
const { EventConsumer } = require('./lib/consumer.js');
const { EventProducer } = require('./lib/legacy.js');
const { TypedProducer } = require('./lib/producer.js');

const open = new Set();

/** A broker with the platform's topics and a registry, on free ports of 127.0.0.1. */
class TestPlatform {
  #native;
  #topicPrefix;
  #clients = new Set();

  constructor({ brokers = 1, topicPrefix = '' } = {}) {
    this.#native = call(() => new native.TestPlatform(brokers, topicPrefix));
    this.#topicPrefix = topicPrefix;
    open.add(this);
  }

  static async start(options) {
    return new TestPlatform(options);
  }

  get bootstrapServers() {
    return this.#native.bootstrapServers;
  }

  get registryUrl() {
    return this.#native.registryUrl;
  }

  /** Options that connect a producer or consumer. */
  get options() {
    return {
      bootstrapServers: this.bootstrapServers,
      securityProtocol: 'PLAINTEXT',
      schemaRegistryUrl: this.registryUrl,
      topicPrefix: this.#topicPrefix,
    };
  }

  /** Environment variables that connect a service. */
  get environment() {
    return {
      KAFKA_BOOTSTRAP_SERVERS: this.bootstrapServers,
      KAFKA_SECURITY_PROTOCOL: 'PLAINTEXT',
      KAFKA_SCHEMA_REGISTRY_URL: this.registryUrl,
    };
  }

  producer(options) {
    return this.#add(new TypedProducer({ ...this.options, ...options }));
  }

  eventProducer(options) {
    return this.#add(new EventProducer({ ...this.options, ...options }));
  }

  consumer(options) {
    return this.#add(new EventConsumer({ ...this.options, fetchMaxWaitMs: 10, ...options }));
  }

  #add(client) {
    this.#clients.add(client);
    return client;
  }

  /** All records of a topic. */
  async records(topic, options) {
    const reading = { topics: [topic], standalone: true, detectEnd: true, ...options };
    const consumer = new EventConsumer({ ...this.options, fetchMaxWaitMs: 10, ...reading });
    try {
      const found = [];
      for (let batch; (batch = await consumer.nextBatch()) !== null; ) found.push(...batch);
      return found;
    } finally {
      await consumer.close();
    }
  }

  createTopic(name, partitions = 1) {
    call(() => this.#native.createTopic(name, partitions));
  }

  takeDown() {
    call(() => this.#native.brokersUp(false));
  }

  bringUp() {
    call(() => this.#native.brokersUp(true));
  }

  delay(ms) {
    call(() => this.#native.delay(ms));
  }

  failNext(request, count, error) {
    call(() => this.#native.failNext(request, count, error));
  }

  failTopic(topic, error = null) {
    call(() => this.#native.failTopic(topic, error));
  }

  takeRegistryDown() {
    this.#native.registryUp(false);
  }

  bringRegistryUp() {
    this.#native.registryUp(true);
  }

  failRegistry(calls, { status, delayMs } = {}) {
    this.#native.failRegistry(calls, status, delayMs);
  }

  schemas(subject) {
    return JSON.parse(this.#native.versions(subject));
  }

  get registryCalls() {
    return this.#native.registryCalls;
  }

  /** Closes the producers and consumers that it created, and stops broker and registry. */
  async stop() {
    if (!open.delete(this)) return;
    const closing = [...this.#clients].map((client) => client.close({ timeoutMs: 2_000 }));
    await Promise.allSettled(closing);
    this.#native.stop();
  }
}

if (Symbol.asyncDispose !== undefined) {
  TestPlatform.prototype[Symbol.asyncDispose] = function dispose() {
    return this.stop();
  };
}

module.exports = { TestPlatform };
