'use strict';

// The package as it was before: the same methods, options, defaults and tolerances.

const { records } = require('./events/index.js');
const { TypedProducer } = require('./producer.js');

const RAW = {};
/** The kind of an event of these methods that needs mending. */
const MENDED = 200;

/** Stands where a text is missing that Avro cannot do without. */
const UNKNOWN = 'unknown';

/**
 * Produces the platform's events by the methods of old, in Avro where there is a schema registry
 * and in JSON where there is none.
 */
class EventProducer extends TypedProducer {
  constructor(options) {
    super(options ?? {}, true);
    this.sourceService = options?.sourceService ?? process.env.SERVICE_NAME ?? 'unknown-service';
    this.clientId = options?.clientId ?? `${this.sourceService}-producer`;
  }

  async disconnect() {
    await this.end(30_000);
  }

  produceDataIngestionEvent({
    datasetName,
    recordCount,
    sizeBytes,
    location,
    status = 'SUCCESS',
    format = 'parquet',
    metadata = {},
  } = {}) {
    const event = { datasetName, recordCount, sizeBytes, format, location, status, metadata };
    return this.#produce('DataIngestionEvent', datasetName, event);
  }

  produceServiceHealthEvent({
    serviceName,
    namespace,
    healthStatus,
    latencyMs,
    errorRate,
    message = null,
  } = {}) {
    const event = { serviceName, namespace, healthStatus, latencyMs, errorRate, message };
    return this.#produce('ServiceHealthEvent', serviceName, event);
  }

  produceAPICallEvent({
    service,
    endpoint,
    method,
    statusCode,
    latencyMs,
    requestSize,
    responseSize,
    userId,
    apiKey,
    ipAddress = 'unknown',
    errorMessage,
  } = {}) {
    const event = {
      service,
      endpoint,
      method,
      statusCode,
      latencyMs,
      requestSizeBytes: requestSize,
      responseSizeBytes: responseSize,
      userId,
      apiKey,
      ipAddress,
      errorMessage,
    };
    return this.#produce('AuditAPICallEvent', service, event);
  }

  produceDataQualityEvent({
    datasetName,
    checkType,
    checkName,
    result,
    score,
    failedRecords,
    totalRecords,
    message,
  } = {}) {
    const event = {
      datasetName,
      checkType,
      checkName,
      result,
      score,
      failedRecords,
      totalRecords,
      message,
    };
    return this.#produce('DataQualityEvent', datasetName, event);
  }

  /** Any JSON on any topic. */
  produceCustomEvent(topic, key, event) {
    return new Promise((resolve, reject) => {
      try {
        const value = JSON.stringify(event) ?? null;
        this.packRaw(String(topic), keyBytes(key), value, RAW);
      } catch (error) {
        this.onRefused();
        reject(error);
        return;
      }
      this.wait(resolve, reject, String(topic));
    });
  }

  getStats() {
    return { delivered: this.deliveryCount, errors: this.errorCount };
  }

  get deliveryCount() {
    return this.stats().delivered;
  }

  get errorCount() {
    return this.stats().failed;
  }

  #produce(name, key, event) {
    return new Promise((resolve, reject) => {
      try {
        if (!this.packPlain(name, event)) this.#packMended(name, key, event);
      } catch (error) {
        this.onRefused();
        reject(error);
        return;
      }
      this.wait(resolve, reject, this.topicOf(name));
    });
  }

  /** The core takes what was meant: numbers in strings, what is missing, values of other types. */
  #packMended(name, key, event) {
    const record = records[name];
    const avro = !this.writesJson;
    for (const field of Object.keys(event)) {
      const value = event[field];
      const kind = record.kinds[field];
      if (kind === 'double') event[field] = Number.isFinite(Number(value)) ? Number(value) : 0;
      else if (typeof value === 'bigint') event[field] = String(value);
      else if (avro && (value === undefined || value === null) && record.required.has(field)) {
        if (kind === 'string') event[field] = UNKNOWN;
      }
    }
    const json = JSON.stringify(event, bigints).replace(LONE_SURROGATE, '$1\\ufffd');
    this.packContent(MENDED + record.number, keyBytes(key), json);
  }
}

/** Half a surrogate pair as JSON.stringify writes it. */
const LONE_SURROGATE = /(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g;

function bigints(_, value) {
  return typeof value === 'bigint' ? String(value) : value;
}

function keyBytes(key) {
  if (key === undefined || key === null) return null;
  return typeof key === 'string' || key instanceof Uint8Array ? key : String(key);
}

/** A producer of this service. */
function getEventProducer(serviceName, options = {}) {
  return new EventProducer({ sourceService: serviceName, ...options });
}

module.exports = { EventProducer, getEventProducer };
