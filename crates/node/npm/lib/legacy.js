'use strict';

// The drop-in `EventProducer`: the methods, options, defaults and tolerances of the kafkajs-based
// package, and the members that subclasses, patches and tests of services use.
//
//   produceAPICallEvent({…}) ─┬─ nothing overridden ──────────────────▶ packed at once
//                             └─ _createBaseEvent ─▶ _produce ─┬──────▶ packed
//   produceCustomEvent ────────────────────────────▶ _produce ─┴─ a replaced `producer` ▶ its send
//
// All paths write the same bytes.

const { records } = require('./events/index.js');
const internal = require('./internal.js');
const { LowLevelProducer, Kafka, send } = require('./low-level.js');
const { legacyOptions } = require('./legacy-options.js');
const native = require('./native.js');
const { TypedProducer, requireTopic } = require('./producer.js');

/** Below the documented limits of 20 s and 10 s. */
const CONNECT_TIMEOUT_MS = 18_000;
const CLOSE_TIMEOUT_MS = 9_000;

/** The low-level producer that the constructor created. A service may replace `producer`. */
const OWN = Symbol('own producer');
/** The `source` that the addon fills in. */
const SERVICE = Symbol('service');
/** Typed events that are in an overridden `_produce`, also by their ids: it may copy them. */
const TYPED = Symbol('typed events');

/**
 * The typed methods: their record, topic and key field, and the fields from the method's parameters,
 * in the schema's order.
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

/** Sends the platform's events, as Avro with a schema registry and as JSON without one. */
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
    if (!this.connected && !this[internal.isUsed]) return;
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

  /** Sends any JSON value to any topic. */
  produceCustomEvent(topic, key, event) {
    if (this._produce === produce) return this._produce(topic, key, event);
    return overridden(this, topic, key, event);
  }

  getStats() {
    return { delivered: this.deliveryCount, errors: this.errorCount };
  }

  /** Creates the envelope, with these fields added. */
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

  /** Sends a typed event, or any JSON value. */
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
      this[internal.wait](resolve, reject, target);
    });
  }

  // Internal to this package.

  /** @internal */
  [internal.count](group, delivered, failed) {
    super[internal.count](group, delivered, failed);
    // Records that `disconnect` left in flight may be delivered later.
    if (delivered > 0 && !this.connected) this.connected = this[internal.isUsed];
    if (group !== null && group.lowLevel) return;
    this.deliveryCount += delivered;
    this.errorCount += failed;
  }

  /** @internal */
  [internal.onRejected](group, topic, error) {
    if (!group.lowLevel) log(topic, error);
  }

  /** @internal For the low-level producer. */
  [internal.connectNow]({ timeoutMs = CONNECT_TIMEOUT_MS } = {}) {
    return super.connect({ timeoutMs });
  }

  /** @internal For the low-level producer. The promises of undelivered records reject by themselves. */
  async [internal.disconnectNow]() {
    try {
      await this[internal.end](CLOSE_TIMEOUT_MS);
    } catch (error) {
      if (error.kind !== 'Timeout') throw error;
    }
  }

  /** @internal For the low-level producer: packs one message. A typed event is packed in the producer's format. */
  [internal.packMessage](message) {
    const { topic } = message;
    const event = typedMessages.get(message.of);
    if (event !== undefined && topic === this[internal.topicOf](event.call.name)) {
      packTyped(this, event.call, event.event, message);
    } else if (isProtected(message)) {
      this[internal.packProtected](topic, message.value, message);
    } else {
      this[internal.packJson](topic, message.value, message);
    }
  }
}

const { _createBaseEvent: createBaseEvent, _produce: produce } = EventProducer.prototype;

/** Messages passed to a replaced low-level producer, with their typed events. */
const typedMessages = new WeakMap();

/** Messages passed to a replaced low-level producer, with their topic and protected value. */
const protectedMessages = new WeakMap();

/** Whether the message still has its topic and protected value. */
function isProtected({ of, topic, value }) {
  const given = protectedMessages.get(of);
  return given !== undefined && given.topic === topic && given.value === value;
}

function hide(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true });
}

/** Whether neither `producer` nor its `send` was replaced. */
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
      if (producer[internal.writesJson]) packFlat(producer, call, fields);
      else packAvro(producer, call, fields);
    } catch (error) {
      refuse(producer, call.topic, error);
      reject(error);
      return;
    }
    producer[internal.wait](resolve, reject, producer[internal.topicOf](call.name));
  });
}

/** Sends through methods that a service overrode. */
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

/** The typed method that created the event, if it is sent to that method's topic. */
function callOf(producer, topic, event) {
  const known = producer[TYPED];
  if (known === undefined || known.size === 0) return undefined;
  if (typeof event !== 'object' || event === null) return undefined;
  const call = known.get(event) ?? known.get(event.eventId);
  return call?.topic === topic ? call : undefined;
}

/** Packs the arguments of `_produce`. Returns the topic's full name. */
function packAny(producer, topic, key, event) {
  requireTopic(topic);
  const call = callOf(producer, topic, event);
  const target = call === undefined ? topic : producer[internal.topicOf](call.name);
  const options = { key: keyBytes(key) };
  if (call !== undefined && !producer[internal.writesJson]) packTyped(producer, call, event, options);
  else producer[internal.packJson](target, jsonText(event), options);
  return target;
}

/** Sends through a replaced low-level producer. Protects sensitive values first. */
async function produceThrough(producer, topic, key, event) {
  try {
    requireTopic(topic);
    const call = callOf(producer, topic, event);
    const target = call === undefined ? topic : producer[internal.topicOf](call.name);
    const value = native.protectJson(target, producer[internal.topicPrefix] ?? '', jsonText(event));
    const message = { key, value };
    protectedMessages.set(message, { topic: target, value });
    if (call !== undefined && !producer[internal.writesJson]) typedMessages.set(message, { call, event });
    const sent = await producer.producer.send({ topic: target, messages: [message] });
    producer.deliveryCount++;
    return sent?.[0]?.report;
  } catch (error) {
    producer.errorCount++;
    log(topic, error);
    throw error;
  }
}

/** The addon writes the envelope before the members. */
function packFlat(producer, call, fields) {
  const { sourceService } = producer;
  const source = sourceService === producer[SERVICE] ? null : (JSON.stringify(sourceService) ?? '');
  const { number } = records[call.name];
  producer[internal.packFlat](number, keyBytes(fields[call.key]), Date.now(), source, fields);
}

function packAvro(producer, call, event) {
  const { sourceService } = producer;
  if (sourceService !== producer[SERVICE]) event.source = String(sourceService);
  if (!producer[internal.packPlain](call.name, event)) packLenient(producer, call, event);
}

/** Packs an event with its envelope, and with a key that may differ from its own. */
function packTyped(producer, call, event, options) {
  if (!producer[internal.packPlain](call.name, event, options)) {
    packLenient(producer, call, { ...event }, options);
  }
}

/** The core accepts numbers in strings, missing fields and values of other types here. */
function packLenient(producer, call, event, options) {
  // An empty name counts as missing.
  if (event[call.key] === '') event[call.key] = undefined;
  producer[internal.packLenient](records[call.name].number, JSON.stringify(event, bigints), options);
}

function bigints(_, value) {
  return typeof value === 'bigint' ? String(value) : value;
}

/** The event as JSON. A value that JSON leaves out would become a tombstone. */
function jsonText(event) {
  const json = JSON.stringify(event);
  if (json === undefined) {
    throw new TypeError(`an event must be a JSON value, got ${typeof event}`);
  }
  return json;
}

function keyBytes(key) {
  if (key === undefined || key === null) return null;
  return typeof key === 'string' || key instanceof Uint8Array ? key : String(key);
}

function refuse(producer, topic, error) {
  producer[internal.count](null, 0, 1);
  log(topic, error);
}

/** Logs as the kafkajs-based package did: a service may not await its promises. */
function log(topic, error) {
  console.error(`Error producing event to ${String(topic)}:`, error);
}

/** Creates a producer for this service. */
function getEventProducer(serviceName, options = {}) {
  return new EventProducer({ sourceService: serviceName, ...options });
}

module.exports = { EventProducer, getEventProducer };
