'use strict';

// The package as it was before: the same methods, options, defaults and tolerances, and what
// subclasses, patches and tests of services reach in it.
//
//   produceAPICallEvent({…}) ─┬─ nothing is patched ──────────────────▶ packed at once
//                             └─ _createBaseEvent ─▶ _produce ─┬──────▶ packed
//   produceCustomEvent ────────────────────────────▶ _produce ─┴─ a patched `producer` ▶ its send
//
// Both ways write the same bytes.

const { records } = require('./events/index.js');
const its = require('./internal.js');
const { LowLevelProducer, Kafka, send } = require('./low-level.js');
const { legacyOptions } = require('./legacy-options.js');
const native = require('./native.js');
const { TypedProducer, requireTopic } = require('./producer.js');

/** Less than what the callers are promised: 20 s and 10 s. */
const CONNECT_TIMEOUT_MS = 18_000;
const CLOSE_TIMEOUT_MS = 9_000;

/** The producer's own low-level producer: a service may put another in its place. */
const OWN = Symbol('own producer');
/** The `source` that the addon fills in. */
const SERVICE = Symbol('service');
/** Typed events on their way through a patched `_produce`, and by their ids: it may copy them. */
const TYPED = Symbol('typed events');

/**
 * What each typed method sends: its record, its topic, which of its fields is the key, and its fields
 * made of the method's parameters, in the schema's order.
 */
const calls = {
  dataIngestion: {
    name: 'DataIngestionEvent',
    topic: 'data-ingestion',
    key: 'datasetName',
    fields: ({
      datasetName,
      recordCount,
      sizeBytes,
      location,
      status = 'SUCCESS',
      format = 'parquet',
      metadata = {},
    }) => ({ datasetName, recordCount, sizeBytes, format, location, status, metadata }),
  },
  serviceHealth: {
    name: 'ServiceHealthEvent',
    topic: 'system-health',
    key: 'serviceName',
    fields: ({ serviceName, namespace, healthStatus, latencyMs, errorRate, message = null }) => ({
      serviceName,
      namespace,
      healthStatus,
      latencyMs,
      errorRate,
      message,
    }),
  },
  apiCall: {
    name: 'AuditAPICallEvent',
    topic: 'audit-api-calls',
    key: 'service',
    fields: ({
      service,
      endpoint,
      method,
      statusCode,
      latencyMs,
      requestSize: requestSizeBytes,
      responseSize: responseSizeBytes,
      userId = null,
      apiKey = null,
      ipAddress = 'unknown',
      errorMessage = null,
    }) => ({
      service,
      endpoint,
      method,
      statusCode,
      latencyMs,
      requestSizeBytes,
      responseSizeBytes,
      userId,
      apiKey,
      ipAddress,
      errorMessage,
    }),
  },
  dataQuality: {
    name: 'DataQualityEvent',
    topic: 'data-quality',
    key: 'datasetName',
    fields: ({
      datasetName,
      checkType,
      checkName,
      result,
      score,
      failedRecords,
      totalRecords,
      message = null,
    }) => ({
      datasetName,
      checkType,
      checkName,
      result,
      score,
      failedRecords,
      totalRecords,
      message,
    }),
  },
};

/**
 * Produces the platform's events by the methods of old, in Avro where there is a schema registry
 * and in JSON where there is none.
 */
class EventProducer extends TypedProducer {
  constructor(options) {
    const { settings, service, sourceService, clientId } = legacyOptions(options ?? {});
    super(settings, true);
    this.sourceService = sourceService;
    this.clientId = clientId;
    this.deliveryCount = 0;
    this.errorCount = 0;
    this.kafka = new Kafka(this);
    this.producer = new LowLevelProducer(this);
    this.connected = false;
    hide(this, OWN, this.producer);
    hide(this, SERVICE, service);
    hide(this, TYPED, new Map());
  }

  async connect(options) {
    if (this.connected) return;
    await this.producer.connect(options);
    this.connected = true;
  }

  async disconnect() {
    if (!this.connected && !this[its.isUsed]) return;
    await this.producer.disconnect();
    this.connected = false;
  }

  async close(options) {
    await super.close(options);
    this.connected = false;
  }

  produceDataIngestionEvent(parameters) {
    return typed(this, calls.dataIngestion, parameters);
  }

  produceServiceHealthEvent(parameters) {
    return typed(this, calls.serviceHealth, parameters);
  }

  produceAPICallEvent(parameters) {
    return typed(this, calls.apiCall, parameters);
  }

  produceDataQualityEvent(parameters) {
    return typed(this, calls.dataQuality, parameters);
  }

  /** Any JSON on any topic. */
  produceCustomEvent(topic, key, event) {
    if (this._produce === produce) return this._produce(topic, key, event);
    return overridden(this, topic, key, event);
  }

  getStats() {
    return { delivered: this.deliveryCount, errors: this.errorCount };
  }

  /** The fields that all events have, and those of this one. */
  _createBaseEvent(eventType, additionalFields = {}) {
    return {
      eventId: native.eventId(),
      eventType,
      timestamp: Date.now(),
      source: this.sourceService,
      version: '1.0.0',
      ...additionalFields,
    };
  }

  /** Produces an event of the typed methods, or JSON of anything. */
  _produce(topic, key, event) {
    if (!ownsLowLevel(this)) return produceThrough(this, topic, key, event);
    return new Promise((resolve, reject) => {
      let target;
      try {
        target = packAny(this, topic, key, event);
      } catch (error) {
        refuse(this, topic, error);
        reject(error);
        return;
      }
      this[its.wait](resolve, reject, target);
    });
  }

  // What follows is for this package.

  /** @internal */
  [its.count](group, delivered, failed) {
    super[its.count](group, delivered, failed);
    // What a disconnect left in flight may be delivered after it.
    if (delivered > 0 && !this.connected) this.connected = this[its.isUsed];
    if (group !== null && group.aside) return;
    this.deliveryCount += delivered;
    this.errorCount += failed;
  }

  /** @internal */
  [its.onRejected](group, topic, error) {
    if (!group.aside) log(topic, error);
  }

  /** @internal For the low-level producer. */
  [its.connectNow]({ timeoutMs = CONNECT_TIMEOUT_MS } = {}) {
    return super.connect({ timeoutMs });
  }

  /** @internal For the low-level producer. What is not delivered fails in its own promise. */
  async [its.disconnectNow]() {
    try {
      await this[its.end](CLOSE_TIMEOUT_MS);
    } catch (error) {
      if (error.kind !== 'Timeout') throw error;
    }
  }

  /**
   * @internal For the low-level producer: packs one message of a caller's, a typed event's in the
   * producer's format.
   */
  [its.packMessage](message) {
    const { topic } = message;
    const event = typedMessages.get(message.of);
    if (event !== undefined && topic === this[its.topicOf](event.call.name)) {
      packTyped(this, event.call, event.event, message);
    } else if (isProtected(message)) {
      this[its.packProtected](topic, message.value, message);
    } else {
      this[its.packJson](topic, message.value, message);
    }
  }
}

const { _createBaseEvent: createBaseEvent, _produce: produce } = EventProducer.prototype;

/** Messages that typed methods give to a patched low-level producer, with their events. */
const typedMessages = new WeakMap();

/** Messages of which a patched low-level producer was given the protected value, with it. */
const protectedMessages = new WeakMap();

/** Whether the value is as it was protected, for that topic. */
function isProtected({ of, topic, value }) {
  const given = protectedMessages.get(of);
  return given !== undefined && given.topic === topic && given.value === value;
}

function hide(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true });
}

/** Whether the low-level producer is the one that was made here, and sends as it did. */
function ownsLowLevel(producer) {
  const low = producer.producer;
  return producer[OWN] === low && low.send === send;
}

function typed(producer, call, parameters) {
  let fields;
  try {
    fields = call.fields(parameters);
  } catch (error) {
    return Promise.reject(error);
  }
  if (
    ownsLowLevel(producer) &&
    producer._produce === produce &&
    producer._createBaseEvent === createBaseEvent
  ) {
    return typedAtOnce(producer, call, fields);
  }
  return typedThrough(producer, call, fields);
}

function typedAtOnce(producer, call, fields) {
  return new Promise((resolve, reject) => {
    try {
      if (producer[its.writesJson]) packFlat(producer, call, fields);
      else packAvro(producer, call, fields);
    } catch (error) {
      refuse(producer, call.topic, error);
      reject(error);
      return;
    }
    producer[its.wait](resolve, reject, producer[its.topicOf](call.name));
  });
}

/** By the methods that a service overrode or patched. */
async function typedThrough(producer, call, fields) {
  const event = producer._createBaseEvent(call.name, fields);
  const known = producer[TYPED] ?? new Map();
  const isObject = typeof event === 'object' && event !== null;
  const names = isObject ? [event, event.eventId].filter((name) => name !== undefined) : [];
  for (const name of names) known.set(name, call);
  try {
    return await producer._produce(call.topic, fields[call.key], event);
  } finally {
    for (const name of names) known.delete(name);
  }
}

async function overridden(producer, topic, key, event) {
  return producer._produce(topic, key, event);
}

/** The typed call that the event is of, if it is of one and goes where that sends. */
function callOf(producer, topic, event) {
  const known = producer[TYPED];
  if (known === undefined || known.size === 0) return undefined;
  if (typeof event !== 'object' || event === null) return undefined;
  const call = known.get(event) ?? known.get(event.eventId);
  return call?.topic === topic ? call : undefined;
}

/** Packs what `_produce` was given; gives the topic's full name. */
function packAny(producer, topic, key, event) {
  requireTopic(topic);
  const call = callOf(producer, topic, event);
  const target = call === undefined ? topic : producer[its.topicOf](call.name);
  const options = { key: keyBytes(key) };
  if (call !== undefined && !producer[its.writesJson]) packTyped(producer, call, event, options);
  else producer[its.packJson](target, jsonText(event), options);
  return target;
}

/**
 * Through a low-level producer that a service patched or put in the place of ours: what is sensitive
 * is protected before it is given to it.
 */
async function produceThrough(producer, topic, key, event) {
  try {
    requireTopic(topic);
    const call = callOf(producer, topic, event);
    const target = call === undefined ? topic : producer[its.topicOf](call.name);
    const value = native.protectJson(target, producer[its.topicPrefix] ?? '', jsonText(event));
    const message = { key, value };
    protectedMessages.set(message, { topic: target, value });
    if (call !== undefined && !producer[its.writesJson]) typedMessages.set(message, { call, event });
    const sent = await producer.producer.send({ topic: target, messages: [message] });
    producer.deliveryCount++;
    return sent?.[0]?.report;
  } catch (error) {
    producer.errorCount++;
    log(topic, error);
    throw error;
  }
}

/** The addon puts what all events have before the members. */
function packFlat(producer, call, fields) {
  const { sourceService } = producer;
  const source = sourceService === producer[SERVICE] ? null : (JSON.stringify(sourceService) ?? '');
  const { number } = records[call.name];
  producer[its.packFlat](number, keyBytes(fields[call.key]), Date.now(), source, fields);
}

function packAvro(producer, call, event) {
  const { sourceService } = producer;
  if (sourceService !== producer[SERVICE]) event.source = String(sourceService);
  if (!producer[its.packPlain](call.name, event)) packMended(producer, call, event);
}

/** An event that has its envelope, with a key that may be another than its own. */
function packTyped(producer, call, event, options) {
  if (!producer[its.packPlain](call.name, event, options)) {
    packMended(producer, call, { ...event }, options);
  }
}

/** The core takes what was meant: numbers in strings, what is missing, values of other types. */
function packMended(producer, call, event, options) {
  // No name is as good as none.
  if (event[call.key] === '') event[call.key] = undefined;
  producer[its.packMended](records[call.name].number, JSON.stringify(event, bigints), options);
}

function bigints(_, value) {
  return typeof value === 'bigint' ? String(value) : value;
}

/** The event as JSON. What JSON leaves out would be a record that deletes its key's. */
function jsonText(event) {
  const json = JSON.stringify(event);
  if (json === undefined) {
    throw new TypeError(`an event must be a value that JSON has, got ${typeof event}`);
  }
  return json;
}

function keyBytes(key) {
  if (key === undefined || key === null) return null;
  return typeof key === 'string' || key instanceof Uint8Array ? key : String(key);
}

function refuse(producer, topic, error) {
  producer[its.count](null, 0, 1);
  log(topic, error);
}

/** As ever: a service may not await its promises. */
function log(topic, error) {
  console.error(`Error producing event to ${String(topic)}:`, error);
}

/** A producer of this service. */
function getEventProducer(serviceName, options = {}) {
  return new EventProducer({ sourceService: serviceName, ...options });
}

module.exports = { EventProducer, getEventProducer };
