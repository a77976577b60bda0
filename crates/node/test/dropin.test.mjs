// The drop-in `EventProducer`: every method, option, default and tolerance.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as esm from '@254carbon/event-producer';
import {
  closing,
  createTopics,
  environment,
  name,
  old,
  plain,
  platformTopics,
  readAll,
  readRaw,
  served,
  withEnvironment,
} from './support.mjs';

const { EventProducer, getEventProducer } = esm;
const require = createRequire(import.meta.url);

const call = {
  service: 'pricing-api',
  endpoint: '/v1/prices',
  method: 'GET',
  statusCode: 200,
  latencyMs: 12,
  requestSize: 0,
  responseSize: 512,
  userId: 'u-1',
  apiKey: 'secret-key',
  ipAddress: '192.0.2.7',
  errorMessage: null,
};

const everyEvent = (producer) => [
  producer.produceDataIngestionEvent({
    datasetName: 'prices',
    recordCount: 10,
    sizeBytes: 1000,
    location: 's3://x',
    metadata: { market: 'eex' },
  }),
  producer.produceServiceHealthEvent({
    serviceName: 'checkout',
    namespace: 'shop',
    healthStatus: 'HEALTHY',
    latencyMs: 3,
    errorRate: 0.01,
  }),
  producer.produceAPICallEvent(call),
  producer.produceDataQualityEvent({
    datasetName: 'prices',
    checkType: 'completeness',
    checkName: 'no-gaps',
    result: 'PASS',
    score: 1,
    failedRecords: 0,
    totalRecords: 10,
    message: 'fine',
  }),
];

const topicsOfEveryEvent = ['data-ingestion', 'system-health', 'audit-api-calls', 'data-quality'];

test('it is the same package under require and import', () => {
  const cjs = require('@254carbon/event-producer');
  assert.equal(cjs.EventProducer, EventProducer);
  assert.equal(esm.default.EventProducer, EventProducer);
  for (const exported of Object.keys(cjs)) assert.equal(esm[exported], cjs[exported], exported);
  assert.equal(esm.EventType.API_CALL, 'AuditAPICallEvent');
  assert.equal(esm.Topic.AUDIT_API_CALLS, 'audit-api-calls');
});

test('every method writes JSON where there is no registry, and connects by itself', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { sourceService: 'billing', topicPrefix });
  const reports = await Promise.all(everyEvent(producer));
  assert.deepEqual(
    reports.map(({ topic }) => topic),
    topicsOfEveryEvent.map((topic) => topicPrefix + topic),
  );
  assert.deepEqual(producer.getStats(), { delivered: 4, errors: 0 });
  assert.equal(producer.deliveryCount, 4);
  assert.equal(producer.errorCount, 0);
  const [{ key, value }] = await readRaw(`${topicPrefix}audit-api-calls`, 1);
  assert.equal(key.toString(), 'pricing-api');
  const event = JSON.parse(value);
  assert.match(event.eventId, /^[0-9a-f-]{36}$/);
  assert.ok(Math.abs(event.timestamp - Date.now()) < 60_000);
  delete event.eventId;
  delete event.timestamp;
  assert.deepEqual(event, {
    eventType: 'AuditAPICallEvent',
    source: 'billing',
    version: '1.0.0',
    service: 'pricing-api',
    endpoint: '/v1/prices',
    method: 'GET',
    statusCode: 200,
    latencyMs: 12,
    requestSizeBytes: 0,
    responseSizeBytes: 512,
    userId: 'u-1',
    apiKey: 'sha256:85dbe15d75ef9308',
    ipAddress: '192.0.2.7',
    errorMessage: null,
  });
});

test('every method writes the registry\'s Avro where there is one', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, schemaRegistryUrl: served.registry });
  await producer.connect();
  await Promise.all(everyEvent(producer));
  for (const topic of topicsOfEveryEvent) {
    const [{ value }] = await readRaw(topicPrefix + topic, 1);
    assert.equal(value[0], 0, topic);
  }
  const [{ event }] = await readAll(`${topicPrefix}data-ingestion`);
  assert.equal(event.source, 'unknown-service');
  assert.equal(event.format, 'parquet');
  assert.equal(event.status, 'SUCCESS');
  assert.deepEqual(event.metadata, { market: 'eex' });
});

test('KAFKA_EVENT_FORMAT decides above everything, for the typed methods too', async (t) => {
  const topicPrefix = await platformTopics();
  await withEnvironment({ KAFKA_EVENT_FORMAT: 'json' }, async () => {
    const producer = old(t, { topicPrefix, schemaRegistryUrl: served.registry, format: 'avro' });
    await producer.produceServiceHealthEvent({
      serviceName: 's',
      namespace: 'n',
      healthStatus: 'HEALTHY',
      latencyMs: 1,
      errorRate: 0,
    });
  });
  await withEnvironment({ KAFKA_EVENT_FORMAT: 'avro' }, async () => {
    const producer = old(t, { topicPrefix });
    await producer.produceAPICallEvent(call);
  });
  const [json] = await readRaw(`${topicPrefix}system-health`, 1);
  assert.equal(json.value[0], '{'.charCodeAt(0));
  const [avro] = await readRaw(`${topicPrefix}audit-api-calls`, 1);
  assert.deepEqual([...avro.value.subarray(0, 2)], [0xc3, 0x01]);
});

test('the environment is enough', async (t) => {
  const topicPrefix = await platformTopics();
  const variables = {
    ...environment,
    SERVICE_NAME: 'from-env',
    KAFKA_SCHEMA_REGISTRY_URL: served.registry,
  };
  await withEnvironment(variables, async () => {
    const producer = closing(t)(new EventProducer({ topicPrefix }));
    assert.equal(producer.sourceService, 'from-env');
    await producer.produceAPICallEvent(call);
  });
  const [{ event }] = await readAll(`${topicPrefix}audit-api-calls`);
  assert.equal(event.source, 'from-env');
});

test('getEventProducer takes the service and its options', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = closing(t)(getEventProducer('orders', { ...plain, topicPrefix }));
  assert.equal(producer.sourceService, 'orders');
  assert.equal(producer.clientId, 'orders-producer');
  await producer.produceAPICallEvent(call);
  const [{ event }] = await readAll(`${topicPrefix}audit-api-calls`);
  assert.equal(event.source, 'orders');
});

test('what JSON let through is let through as Avro', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, format: 'avro' });
  await producer.produceAPICallEvent({
    service: 'express',
    endpoint: '/x',
    method: 'POST',
    statusCode: '201',
    latencyMs: 3.7,
    requestSize: undefined,
    responseSize: '1024',
    userId: undefined,
    apiKey: undefined,
    ipAddress: undefined,
    errorMessage: undefined,
  });
  await producer.produceDataIngestionEvent({
    datasetName: 'd',
    recordCount: '7',
    sizeBytes: null,
    location: 'somewhere',
    metadata: null,
  });
  await producer.produceDataIngestionEvent({
    datasetName: 'd',
    recordCount: 8n,
    sizeBytes: NaN,
    location: 'bad \ud800 text',
    metadata: { rows: 5, nested: { a: 1 }, ok: true },
  });
  await producer.produceDataQualityEvent({
    datasetName: 'd',
    checkType: 't',
    checkName: 'n',
    result: 'PASS',
    score: '0.5',
  });
  await producer.produceServiceHealthEvent({
    serviceName: 'h',
    namespace: undefined,
    healthStatus: 'HEALTHY',
    latencyMs: undefined,
    errorRate: undefined,
  });
  assert.deepEqual(producer.getStats(), { delivered: 5, errors: 0 });
  const [{ event: api }] = await readAll(`${topicPrefix}audit-api-calls`);
  assert.equal(api.statusCode, 201);
  assert.equal(api.latencyMs, 4);
  assert.equal(api.requestSizeBytes, 0);
  assert.equal(api.responseSizeBytes, 1024);
  assert.equal(api.userId, null);
  assert.equal(api.ipAddress, 'unknown');
  const [{ event: one }, { event: two }] = await readAll(`${topicPrefix}data-ingestion`);
  assert.equal(one.recordCount, 7);
  assert.equal(one.sizeBytes, 0);
  assert.deepEqual(one.metadata, {});
  assert.equal(two.recordCount, 8);
  assert.equal(two.location, 'bad \ufffd text');
  assert.deepEqual(two.metadata, { rows: '5', nested: '{"a":1}', ok: 'true' });
  const [{ event: quality }] = await readAll(`${topicPrefix}data-quality`);
  assert.equal(quality.score, 0.5);
  assert.equal(quality.failedRecords, 0);
});

test('what a request has in the place of a value is let through as Avro', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, format: 'avro' });
  const odd = [
    { statusCode: 200n, latencyMs: 3n },
    { requestSize: ['12'], userId: ['u-2'], ipAddress: ['::1'] },
    { userId: ['a', 'b'], apiKey: ['k'] },
    { method: NaN, endpoint: () => 1, service: '' },
    { statusCode: Symbol('s'), ipAddress: null, service: Symbol('s') },
  ];
  for (const values of odd) await producer.produceAPICallEvent({ ...call, ...values });
  assert.deepEqual(producer.getStats(), { delivered: 5, errors: 0 });
  const found = await readAll(`${topicPrefix}audit-api-calls`);
  const events = found.map(({ event }) => event).sort((one, other) => (one.eventId < other.eventId ? -1 : 1));
  assert.deepEqual([events[0].statusCode, events[0].latencyMs], [200, 3]);
  assert.deepEqual([events[1].requestSizeBytes, events[1].userId, events[1].ipAddress], [12, 'u-2', '::1']);
  assert.equal(events[2].userId, '["a","b"]');
  assert.deepEqual([events[3].method, events[3].endpoint, events[3].service], ['unknown', 'unknown', 'unknown']);
  assert.deepEqual([events[4].statusCode, events[4].ipAddress, events[4].service], [0, 'unknown', 'unknown']);
});

test('what Avro cannot hold is a rejected promise that names the field', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, format: 'avro' });
  const event = { serviceName: 'h', namespace: 'n', latencyMs: 1, errorRate: 0 };
  await assert.rejects(producer.produceServiceHealthEvent({ ...event, healthStatus: 'ON_FIRE' }), {
    name: 'InvalidEventError',
    kind: 'InvalidEvent',
    field: 'healthStatus',
  });
  const cyclic = {};
  cyclic.self = cyclic;
  await assert.rejects(producer.produceCustomEvent('t', 'k', cyclic), TypeError);
  assert.deepEqual(producer.getStats(), { delivered: 0, errors: 2 });
});

test('a custom event is JSON of anything, on any topic', async (t) => {
  const topic = name('custom');
  await createTopics(topic);
  const producer = old(t);
  await producer.produceCustomEvent(topic, 'k', { a: [1, 'é'], nothing: undefined });
  await producer.produceCustomEvent(topic, null, 'text');
  await producer.produceCustomEvent(topic, 7, null);
  const found = await readRaw(topic, 3);
  const values = found.map(({ key, value }) => [key?.toString() ?? null, value.toString()]).sort();
  assert.deepEqual(values, [
    [null, '"text"'],
    ['7', 'null'],
    ['k', '{"a":[1,"é"]}'],
  ]);
});

test('one awaited call after the other, and after a disconnect another', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix });
  for (let i = 0; i < 20; i++) await producer.produceAPICallEvent({ ...call, latencyMs: i });
  await producer.disconnect();
  await producer.produceAPICallEvent(call);
  await producer.disconnect();
  await producer.connect();
  await producer.disconnect();
  await producer.disconnect();
  assert.deepEqual(producer.getStats(), { delivered: 21, errors: 0 });
  const found = await readAll(`${topicPrefix}audit-api-calls`);
  assert.deepEqual(
    found.map(({ event }) => event.latencyMs),
    [...Array(20).keys(), 12],
  );
});

const pem = (path) => readFileSync(path, 'utf8');

test('TLS comes as PEM texts, an encrypted key and an array of authorities', async (t) => {
  const topicPrefix = await platformTopics();
  const tls = {
    ca: [pem(served.strangerCa), pem(served.ca)],
    cert: pem(served.certificate),
    key: pem(served.encryptedKey),
    passphrase: served.keyPassword,
  };
  for (const bootstrapServers of [served.tls, served.tls.split(',')]) {
    const producer = closing(t)(new EventProducer({ bootstrapServers, tls, topicPrefix }));
    await producer.connect();
    await producer.produceAPICallEvent(call);
  }
  const buffers = { ca: readFileSync(served.ca), cert: readFileSync(served.certificate), key: readFileSync(served.key) };
  const producer = closing(t)(
    new EventProducer({ bootstrapServers: served.tls, tls: buffers, topicPrefix }),
  );
  await producer.produceAPICallEvent(call);
  assert.equal((await readAll(`${topicPrefix}audit-api-calls`)).length, 3);
});

test('rejectUnauthorized: false takes a broker of a strange authority', async (t) => {
  const topicPrefix = await platformTopics();
  const identity = { cert: pem(served.certificate), key: pem(served.key) };
  const strange = { ...identity, ca: pem(served.strangerCa) };
  const options = { bootstrapServers: served.tls, topicPrefix, deliveryTimeoutMs: 5_000 };
  const refused = closing(t)(new EventProducer({ ...options, tls: strange }));
  await assert.rejects(refused.connect(), { kind: 'Authentication' });
  const tls = { ...strange, rejectUnauthorized: false };
  const taken = closing(t)(new EventProducer({ ...options, tls }));
  await taken.produceAPICallEvent(call);
});

/** The variables of mutual TLS, and what a test changes in them. */
const files = (change = {}) => ({
  KAFKA_BOOTSTRAP_SERVERS: served.tls,
  KAFKA_SSL_CA_LOCATION: served.ca,
  KAFKA_SSL_CERTIFICATE_LOCATION: served.certificate,
  KAFKA_SSL_KEY_LOCATION: served.encryptedKey,
  KAFKA_SSL_KEY_PASSWORD: served.keyPassword,
  ...change,
});

/** The warnings of a producer's constructor and of `work`. */
async function warned(t, options, work = () => {}) {
  const warn = t.mock.method(console, 'warn', () => {});
  const producer = closing(t)(new EventProducer(options));
  const lines = warn.mock.calls.map((call) => call.arguments.join(' '));
  warn.mock.restore();
  await work(producer);
  return lines;
}

test('all three files in the environment are mutual TLS, without a warning', async (t) => {
  const topicPrefix = await platformTopics();
  for (const named of [{}, { KAFKA_SECURITY_PROTOCOL: 'ssl' }]) {
    await withEnvironment(files(named), async () => {
      const lines = await warned(t, { topicPrefix }, (producer) => producer.produceAPICallEvent(call));
      assert.deepEqual(lines, []);
    });
  }
});

test('tls: null is plaintext with a warning, whatever the environment has', async (t) => {
  const topicPrefix = await platformTopics();
  for (const named of [{}, { KAFKA_SECURITY_PROTOCOL: 'SSL' }]) {
    await withEnvironment(files({ KAFKA_BOOTSTRAP_SERVERS: served.plain, ...named }), async () => {
      const lines = await warned(t, { tls: null, topicPrefix }, (producer) => producer.produceAPICallEvent(call));
      assert.equal(lines.length, 1);
      assert.match(lines[0], /^\[EventProducer\] no TLS: tls is null/);
    });
  }
  await withEnvironment({ ...environment }, async () => {
    assert.deepEqual(await warned(t, { tls: null }), []);
  });
});

test('no certificates and no protocol are plaintext with a warning, so are some of the files', async (t) => {
  const topicPrefix = await platformTopics();
  for (const given of [{}, { KAFKA_SSL_CA_LOCATION: served.ca }, { KAFKA_SECURITY_PROTOCOL: '' }]) {
    await withEnvironment({ KAFKA_BOOTSTRAP_SERVERS: served.plain, ...given }, async () => {
      const lines = await warned(t, { topicPrefix }, (producer) => producer.produceAPICallEvent(call));
      assert.equal(lines.length, 1);
      assert.match(lines[0], /no TLS: KAFKA_SSL_CA_LOCATION, .* are not all set/);
    });
  }
});

test('a protocol of SSL without certificates is TLS with the system\'s authorities, and a warning', async (t) => {
  const variables = { KAFKA_BOOTSTRAP_SERVERS: served.tls, KAFKA_SECURITY_PROTOCOL: 'SSL' };
  await withEnvironment(variables, async () => {
    const lines = await warned(t, {}, (producer) => assert.rejects(producer.connect({ timeoutMs: 3_000 })));
    assert.equal(lines.length, 1);
    assert.match(lines[0], /TLS without client certificates/);
  });
});

test('a file that is not there is named by its variable when the producer is made', async () => {
  for (const name of ['KAFKA_SSL_CA_LOCATION', 'KAFKA_SSL_CERTIFICATE_LOCATION', 'KAFKA_SSL_KEY_LOCATION']) {
    await withEnvironment(files({ [name]: '/nowhere/file.pem' }), async () => {
      assert.throws(() => new EventProducer(), (error) => {
        assert.equal(error.kind, 'InvalidConfig');
        assert.match(error.message, new RegExp(`${name}, /nowhere/file.pem`));
        return true;
      });
    });
  }
});

test('a broker that is not there is said, not waited for without end', async () => {
  const producer = new EventProducer({ ...plain, bootstrapServers: '127.0.0.1:1', deliveryTimeoutMs: 1_000 });
  await assert.rejects(producer.connect({ timeoutMs: 500 }), (error) => error.retryable);
  await assert.rejects(producer.produceAPICallEvent(call), (error) => error.retryable);
  assert.deepEqual(producer.getStats(), { delivered: 0, errors: 1 });
  await producer.disconnect();
});

test('an unknown option is ignored with a warning, a wrong value is refused', async () => {
  const warned = once(process, 'warning');
  new EventProducer({ ...plain, logLevel: 2 });
  const [warning] = await warned;
  assert.match(warning.message, /log_level/);
  assert.throws(() => new EventProducer({ ...plain, properties: { 'linger.mss': 1 } }), {
    kind: 'InvalidConfig',
  });
});
