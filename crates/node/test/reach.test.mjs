// The members that subclasses, patches and tests of services use.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { mock, test } from 'node:test';
import { EventProducer, EventType, Topic, getEventProducer } from '@254carbon/event-producer';
import { countRecords, createTopics, name, old, plain, platformTopics, readAll, readRaw, served, sleep } from './support.mjs';

const require = createRequire(import.meta.url);

const health = { serviceName: 'checkout', namespace: 'shop', healthStatus: 'HEALTHY', latencyMs: 3, errorRate: 0 };
const typedCalls = {
  produceDataIngestionEvent: ['data-ingestion', 'DataIngestionEvent', { datasetName: 'key' }],
  produceServiceHealthEvent: ['system-health', 'ServiceHealthEvent', { serviceName: 'key' }],
  produceAPICallEvent: ['audit-api-calls', 'AuditAPICallEvent', { service: 'key' }],
  produceDataQualityEvent: ['data-quality', 'DataQualityEvent', { datasetName: 'key' }],
};

/** A producer that does not connect. */
function alone(Class = EventProducer, options) {
  return new Class({ sourceService: 'billing', securityProtocol: 'PLAINTEXT', bootstrapServers: '127.0.0.1:1', ...options });
}

const SECRET = 'sk_live_1';

function quiet(t) {
  return t.mock.method(console, 'error', () => {});
}

test('the enums have the members of the first package, and are plain objects', () => {
  const events = {
    DATA_INGESTION: 'DataIngestionEvent',
    DATA_QUALITY: 'DataQualityEvent',
    DATA_LINEAGE: 'DataLineageEvent',
    DATA_TRANSFORMATION: 'DataTransformationEvent',
    SERVICE_HEALTH: 'ServiceHealthEvent',
    DEPLOYMENT: 'DeploymentEvent',
    CONFIG_CHANGE: 'ConfigChangeEvent',
    SECURITY: 'SecurityEvent',
    USER_ACTION: 'AuditUserActionEvent',
    API_CALL: 'AuditAPICallEvent',
    DATA_ACCESS: 'AuditDataAccessEvent',
    ADMIN_OPERATION: 'AuditAdminOperationEvent',
  };
  const topics = {
    DATA_INGESTION: 'data-ingestion',
    DATA_QUALITY: 'data-quality',
    DATA_LINEAGE: 'data-lineage',
    DATA_TRANSFORMATION: 'data-transformation',
    SYSTEM_HEALTH: 'system-health',
    DEPLOYMENT_EVENTS: 'deployment-events',
    CONFIG_CHANGES: 'config-changes',
    SECURITY_EVENTS: 'security-events',
    AUDIT_USER_ACTIONS: 'audit-user-actions',
    AUDIT_API_CALLS: 'audit-api-calls',
    AUDIT_DATA_ACCESS: 'audit-data-access',
    AUDIT_ADMIN_OPS: 'audit-admin-operations',
  };
  // A topic that came later adds a member.
  assert.deepEqual({ ...EventType, ...events }, EventType);
  assert.deepEqual({ ...Topic, ...topics }, Topic);
  for (const object of [EventType, Topic]) {
    assert.equal(Object.isFrozen(object), false);
    object.MINE = 'mine';
    assert.equal(object.MINE, 'mine');
    delete object.MINE;
  }
});

test('the names of members that an earlier version had are still there', () => {
  assert.equal(EventType.AUDIT_API_CALL, 'AuditAPICallEvent');
  assert.equal(EventType.AUDIT_ADMIN_OPERATION, 'AuditAdminOperationEvent');
  assert.equal(Topic.AUDIT_ADMIN_OPERATIONS, 'audit-admin-operations');
  assert.equal(Topic.MARKET_DATA, 'market-data');
});

test('the file of the first package is there by its name, under require and import', async () => {
  const whole = require('@254carbon/event-producer');
  for (const path of ['event-producer.js', 'event-producer']) {
    assert.equal(require(`@254carbon/event-producer/${path}`), whole);
    const module = await import(`@254carbon/event-producer/${path}`);
    assert.equal(module.EventProducer, EventProducer);
    assert.equal(module.default.getEventProducer, getEventProducer);
  }
});

test('a new producer has the fields of old: not connected, nothing counted', () => {
  const producer = alone();
  for (const field of ['sourceService', 'deliveryCount', 'errorCount', 'kafka', 'producer', 'connected']) {
    assert.ok(Object.keys(producer).includes(field), field);
  }
  const { sourceService, deliveryCount, errorCount, connected } = producer;
  assert.deepEqual({ sourceService, deliveryCount, errorCount, connected }, {
    sourceService: 'billing',
    deliveryCount: 0,
    errorCount: 0,
    connected: false,
  });
  assert.equal(alone(EventProducer, { sourceService: undefined }).sourceService, 'unknown-service');
});

test('the base event has the envelope and the fields after it', () => {
  const producer = alone();
  const event = producer._createBaseEvent(EventType.DEPLOYMENT, { deploymentName: 'api', correlationId: 'c-1' });
  assert.deepEqual(Object.keys(event), [
    'eventId', 'eventType', 'timestamp', 'source', 'version', 'deploymentName', 'correlationId',
  ]);
  assert.match(event.eventId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.ok(Math.abs(event.timestamp - Date.now()) < 60_000);
  assert.deepEqual([event.eventType, event.source, event.version], ['DeploymentEvent', 'billing', '1.0.0']);
  assert.equal(Object.keys(producer._createBaseEvent('X')).length, 5);
  assert.notEqual(producer._createBaseEvent('X').eventId, event.eventId);
  assert.equal(EventProducer.prototype._createBaseEvent.call({ sourceService: 'other' }, 'X').source, 'other');
});

for (const how of ['in a subclass', 'on the instance', 'on the prototype']) {
  test(`_produce, replaced ${how}, is given every event`, async (t) => {
    const seen = [];
    function replaced(topic, key, event) {
      seen.push([topic, key, event.eventType]);
      return Promise.resolve(seen.length);
    }
    class Subclass extends EventProducer {}
    const producer = alone(Subclass);
    if (how === 'in a subclass') Subclass.prototype._produce = replaced;
    else if (how === 'on the instance') producer._produce = replaced;
    else t.mock.method(EventProducer.prototype, '_produce', replaced);
    for (const [method, [topic, eventType, parameters]] of Object.entries(typedCalls)) {
      assert.equal(await producer[method](parameters), seen.length);
      assert.deepEqual(seen.at(-1), [topic, 'key', eventType]);
    }
    await producer.produceCustomEvent('any', 'k', { eventType: 'Mine' });
    assert.deepEqual(seen.at(-1), ['any', 'k', 'Mine']);
    assert.deepEqual(producer.getStats(), { delivered: 0, errors: 0 });
  });

  test(`_createBaseEvent, replaced ${how}, makes every typed event`, async (t) => {
    const sent = [];
    function replaced(eventType, fields) {
      return { eventType, fields: Object.keys(fields), correlationId: 'c-1' };
    }
    class Subclass extends EventProducer {}
    const producer = alone(Subclass);
    producer.producer = { send: async (record) => sent.push(record) };
    if (how === 'in a subclass') Subclass.prototype._createBaseEvent = replaced;
    else if (how === 'on the instance') producer._createBaseEvent = replaced;
    else t.mock.method(EventProducer.prototype, '_createBaseEvent', replaced);
    for (const [method, [topic, eventType, parameters]] of Object.entries(typedCalls)) {
      await producer[method](parameters);
      const { topic: to, messages } = sent.at(-1);
      const event = JSON.parse(messages[0].value);
      assert.deepEqual([to, event.eventType, event.correlationId], [topic, eventType, 'c-1']);
      assert.ok(event.fields.length > 5);
    }
    assert.equal(producer.deliveryCount, 4);
  });
}

test('a send that a test puts in is given the topic and one message with its JSON', async () => {
  for (const put of ['producer', 'producer.send']) {
    const producer = alone();
    const send = mock.fn(async () => {});
    if (put === 'producer') producer.producer = { send };
    else producer.producer.send = send;
    for (const [method, [topic, eventType, parameters]] of Object.entries(typedCalls)) {
      assert.equal(await producer[method](parameters), undefined);
      const [{ arguments: given }] = send.mock.calls.slice(-1);
      assert.equal(given.length, 1);
      const { messages, ...rest } = given[0];
      assert.deepEqual(rest, { topic });
      assert.equal(messages.length, 1);
      assert.deepEqual(Object.keys(messages[0]), ['key', 'value']);
      assert.equal(messages[0].key, 'key');
      assert.equal(JSON.parse(messages[0].value).eventType, eventType);
    }
    await producer.produceCustomEvent('any', 5, { a: 1 });
    assert.deepEqual(send.mock.calls.at(-1).arguments, [{ topic: 'any', messages: [{ key: 5, value: '{"a":1}' }] }]);
    assert.deepEqual(producer.getStats(), { delivered: 5, errors: 0 });
  }
});

test('a low-level producer that replaces ours is given no secret', async () => {
  const change = { eventType: 'ConfigChangeEvent', sensitive: true, oldValue: SECRET, newValue: SECRET };
  for (const options of [{}, { schemaRegistryUrl: 'http://127.0.0.1:1', topicPrefix: 'dev.' }]) {
    for (const put of ['producer', 'producer.send']) {
      const producer = alone(EventProducer, options);
      const sent = [];
      const send = async ({ topic, messages }) => void sent.push([topic, messages[0].value]);
      if (put === 'producer') producer.producer = { send };
      else producer.producer.send = send;
      await producer.produceAPICallEvent({ service: 's', apiKey: SECRET });
      await producer.produceCustomEvent('audit-api-calls', 'k', { api_key: SECRET, text: 'half \ud800' });
      await producer.produceCustomEvent('any', 'k', [{ eventType: 'AuditAPICallEvent', apiKey: [SECRET] }, change]);
      assert.equal(sent.length, 3);
      for (const [, value] of sent) assert.ok(!value.includes(SECRET), value);
      const [[topic, call], [, custom], [, nested]] = sent.map(([topic, value]) => [topic, JSON.parse(value)]);
      assert.equal(topic, `${options.topicPrefix ?? ''}audit-api-calls`);
      assert.match(call.apiKey, /^sha256:[0-9a-f]{16}$/);
      assert.deepEqual(custom, { api_key: call.apiKey, text: 'half \ud800' });
      assert.equal(nested[1].newValue, '***');
    }
  }
});

test('a low-level producer that passes on hashes once', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = new EventProducer({ ...plain, sourceService: 'billing', topicPrefix });
  t.after(() => producer.disconnect());
  const send = producer.producer.send.bind(producer.producer);
  producer.producer.send = (request) => send(request);
  const topic = `${topicPrefix}audit-api-calls`;
  await producer.produceAPICallEvent({ service: 's', apiKey: SECRET });
  await producer.produceCustomEvent(topic, 'k', { apiKey: SECRET });
  const hashed = `sha256:${createHash('sha256').update(SECRET).digest('hex').slice(0, 16)}`;
  const written = await readRaw(topic, 2);
  assert.deepEqual(written.map(({ value }) => JSON.parse(value).apiKey), [hashed, hashed]);
});

test('a send that fails counts as an error, is logged without the event, and rejects', async (t) => {
  const logged = quiet(t);
  const producer = alone();
  const failure = new Error('broken');
  producer.producer.send = async () => {
    throw failure;
  };
  await assert.rejects(producer.produceAPICallEvent({ service: 's', apiKey: 'sk_live_1' }), failure);
  assert.deepEqual(producer.getStats(), { delivered: 0, errors: 1 });
  assert.deepEqual(logged.mock.calls.map((call) => call.arguments), [
    ['Error producing event to audit-api-calls:', failure],
  ]);
});

test('connect and disconnect call the low-level producer, once each', async () => {
  const producer = alone();
  const low = { connect: mock.fn(async () => {}), disconnect: mock.fn(async () => {}), send: mock.fn(async () => {}) };
  producer.producer = low;
  await producer.disconnect();
  assert.equal(low.disconnect.mock.callCount(), 0);
  await producer.connect();
  await producer.connect();
  assert.equal(producer.connected, true);
  await producer.produceServiceHealthEvent(health);
  await producer.disconnect();
  await producer.disconnect();
  assert.equal(producer.connected, false);
  producer.connected = true;
  await producer.connect();
  await producer.disconnect();
  const calls = Object.values(low).map((method) => method.mock.callCount());
  assert.deepEqual(calls, [1, 2, 1]);
});

test('connected is true from the first acknowledgement, or connect, until disconnect', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix });
  assert.equal(producer.connected, false);
  await producer.produceServiceHealthEvent(health);
  assert.equal(producer.connected, true);
  await producer.disconnect();
  assert.equal(producer.connected, false);
  await producer.connect();
  assert.equal(producer.connected, true);
});

test('the counters are fields that may be set', async (t) => {
  quiet(t);
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix });
  await producer.produceServiceHealthEvent(health);
  producer.deliveryCount = 0;
  producer.deliveryCount++;
  producer.errorCount = 40;
  const many = Array.from({ length: 2_000 }, () => producer.produceServiceHealthEvent(health));
  await Promise.all(many);
  assert.equal(producer.deliveryCount, 2_001);
  await assert.rejects(producer.produceCustomEvent('t', 'k', undefined), TypeError);
  assert.deepEqual(producer.getStats(), { delivered: 2_001, errors: 41 });
  const { deliveryCount, errorCount } = { ...producer };
  assert.deepEqual([deliveryCount, errorCount], [2_001, 41]);
});

test('each delivery is counted before its promise goes on', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix });
  let before = 0;
  const sends = Array.from({ length: 1_500 }, async () => {
    await producer.produceServiceHealthEvent(health);
    before++;
    assert.ok(producer.deliveryCount >= before);
  });
  await Promise.all(sends);
});

test('the low-level producer sends messages of any kind, and counts nothing', async (t) => {
  const topic = name('low');
  await createTopics(topic);
  const producer = old(t);
  const low = producer.producer;
  const heard = [];
  const remove = low.on(low.events.CONNECT, ({ type }) => heard.push(type));
  await low.connect();
  remove();
  const [metadata] = await low.send({
    topic,
    acks: -1,
    messages: [
      { key: 'k', value: 'text', partition: 1, headers: { trace: 'a', list: ['b', Buffer.from('c')] } },
      { key: Buffer.from('k2'), value: Buffer.from([0, 255]), partition: 1 },
      { value: null, partition: 1, key: 'deleted' },
    ],
  });
  assert.deepEqual(metadata, {
    topicName: topic,
    partition: 1,
    errorCode: 0,
    baseOffset: '0',
    logAppendTime: '-1',
    logStartOffset: '0',
  });
  const sent = await low.sendBatch({ topicMessages: [{ topic, messages: [{ value: 'batched', partition: 2 }] }] });
  assert.equal(sent[0].partition, 2);
  const found = (await readRaw(topic, 4)).map(({ key, value, headers }) => ({
    key: key?.toString(),
    value: value?.toString('latin1'),
    headers: JSON.parse(JSON.stringify(headers, (_, one) => (one?.type === 'Buffer' ? Buffer.from(one).toString() : one))),
  }));
  found.sort((one, other) => String(one.key) > String(other.key) ? 1 : -1);
  assert.deepEqual(found, [
    { key: 'deleted', value: undefined, headers: {} },
    { key: 'k', value: 'text', headers: { trace: 'a', list: ['b', 'c'] } },
    { key: 'k2', value: '\x00ÿ', headers: {} },
    { key: undefined, value: 'batched', headers: {} },
  ]);
  assert.deepEqual(producer.getStats(), { delivered: 0, errors: 0 });
  for (const wrong of [{}, { topic }, { topic: '', messages: [] }, { topic, messages: [{}] }, { topic, messages: [{ value: 5 }] }]) {
    await assert.rejects(low.send(wrong), TypeError);
  }
  await assert.rejects(low.transaction(), /install kafkajs/);
  assert.deepEqual(heard, ['producer.connect']);
});

test('a send of which one message is refused sends none of them, and rejects once', async (t) => {
  const [topic, other] = [name('whole'), name('whole')];
  await createTopics(topic, other);
  const unhandled = t.mock.fn();
  process.on('unhandledRejection', unhandled);
  t.after(() => process.off('unhandledRejection', unhandled));
  const low = old(t).producer;
  const good = { key: 'k', value: 'never' };
  const getter = { get value() { throw new RangeError('a getter'); } };
  await low.send({ topic, messages: [{ value: 'first' }] });
  const refused = [{ value: 5 }, { value: 'x', partition: 1.5 }, { value: 'x', partition: 1_000 }, { value: 'x'.repeat(2_000_000) }, getter];
  for (const bad of refused) {
    await assert.rejects(low.send({ topic, messages: [good, good, bad, good] }));
    const topicMessages = [{ topic: other, messages: [good] }, { topic, messages: [bad] }];
    await assert.rejects(low.sendBatch({ topicMessages }));
  }
  for (const bad of [{ topic: '', messages: [good] }, { topic: other }, null]) {
    await assert.rejects(low.sendBatch({ topicMessages: [{ topic, messages: [good] }, bad] }));
  }
  await low.send({ topic, messages: [{ value: 'last' }] });
  await sleep(50);
  assert.equal(unhandled.mock.callCount(), 0);
  const found = await readRaw(topic, 2);
  assert.deepEqual(found.map(({ value }) => value.toString()).sort(), ['first', 'last']);
  assert.equal(await countRecords(topic), 2);
  assert.equal(await countRecords(other), 0);
});

test('the client makes low-level producers, and says where to find the rest', async (t) => {
  const topic = name('low');
  await createTopics(topic);
  const producer = old(t);
  const low = producer.kafka.producer({ idempotent: true });
  await low.connect();
  await low.send({ topic, messages: [{ value: 'x' }] });
  await low.disconnect();
  assert.throws(() => producer.kafka.admin(), /install kafkajs/);
  assert.throws(() => producer.kafka.consumer(), /EventConsumer/);
});

test('overridden methods write Avro where there is a registry, with what they changed', async (t) => {
  const topicPrefix = await platformTopics();
  class Correlating extends EventProducer {
    _createBaseEvent(eventType, fields) {
      return { ...super._createBaseEvent(eventType, fields), causationId: 'cause', region: 'eu' };
    }
    async _produce(topic, key, event) {
      await null;
      return super._produce(topic, `${key}-2`, { ...event, correlationId: 'c-1' });
    }
  }
  const producer = old(t, { topicPrefix, schemaRegistryUrl: served.registry }, Correlating);
  const report = await producer.produceServiceHealthEvent({ ...health, latencyMs: '7' });
  assert.equal(report.topic, `${topicPrefix}system-health`);
  const [{ value, key }] = await readRaw(report.topic, 1);
  assert.equal(value[0], 0);
  assert.equal(key.toString(), 'checkout-2');
  const [{ event }] = await readAll(report.topic);
  assert.deepEqual([event.correlationId, event.causationId, event.latencyMs], ['c-1', 'cause', 7]);
  // Its own events are JSON, like custom events.
  const made = producer._createBaseEvent('ServiceHealthEvent', health);
  await producer.produceCustomEvent(`${topicPrefix}system-health`, 'k', made);
  const found = await readRaw(report.topic, 2);
  assert.equal(found.filter((one) => one.value[0] === 123).length, 1);
});

test('a patched send that passes on writes Avro where there is a registry', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = old(t, { topicPrefix, schemaRegistryUrl: served.registry });
  const { send } = producer.producer;
  producer.producer.send = function (record) {
    record.messages[0].headers = { traced: 'yes' };
    return send.call(this, record);
  };
  const report = await producer.produceServiceHealthEvent(health);
  const [{ value, headers }] = await readRaw(report.topic, 1);
  assert.equal(value[0], 0);
  assert.equal(headers.traced.toString(), 'yes');
});

test('a subclass may have members of any other name', async (t) => {
  const topicPrefix = await platformTopics();
  const names = [
    'send', 'sendMany', 'enqueue', 'flush', 'close', 'ready', 'stats', 'metrics', 'count', 'wait', 'end', 'topicOf', 'pack',
    'packJson', 'onSettled', 'onRejected', 'options', 'topics', 'client', 'native', 'queue', 'log', 'logger', 'isUsed', 'used',
  ];
  class Named extends EventProducer {
    constructor(options) {
      super(options);
      for (const name of names) this[name] = `mine: ${name}`;
    }
  }
  for (const options of [{}, { schemaRegistryUrl: served.registry }]) {
    const producer = new Named({ ...plain, topicPrefix, ...options });
    await producer.connect();
    await producer.produceServiceHealthEvent(health);
    await producer.produceServiceHealthEvent({ ...health, latencyMs: '5' });
    await producer.produceCustomEvent(`${topicPrefix}system-health`, 'k', health);
    await producer.producer.send({ topic: `${topicPrefix}system-health`, messages: [{ value: '{}' }] });
    await assert.rejects(producer.produceCustomEvent('', 'k', {}), TypeError);
    await producer.disconnect();
    assert.deepEqual(producer.getStats(), { delivered: 3, errors: 1 });
    for (const name of names) assert.equal(producer[name], `mine: ${name}`);
  }
});

test('a source that is set later stands in every event from then on', async (t) => {
  const topicPrefix = await platformTopics();
  for (const options of [{}, { schemaRegistryUrl: served.registry }]) {
    const producer = old(t, { topicPrefix, sourceService: 'first', ...options });
    await producer.produceServiceHealthEvent({ ...health, latencyMs: 1 });
    producer.sourceService = 'second';
    await producer.produceServiceHealthEvent({ ...health, latencyMs: 2 });
  }
  const found = await readAll(`${topicPrefix}system-health`);
  const sources = found.map(({ event }) => `${event.latencyMs} ${event.source}`).sort();
  assert.deepEqual(sources, ['1 first', '1 first', '2 second', '2 second']);
});

test('a topic that is no text is refused at once, and what JSON has not is no deletion', async (t) => {
  const logged = quiet(t);
  const producer = alone();
  for (const topic of [undefined, null, '', 5, {}, [], Symbol('t'), ['t']]) {
    await assert.rejects(producer.produceCustomEvent(topic, 'k', {}), TypeError);
    await assert.rejects(producer._produce(topic, 'k', {}), TypeError);
    await assert.rejects(producer.sendRaw(topic, { value: 'x' }), TypeError);
  }
  for (const event of [undefined, () => 1, Symbol('s'), { toJSON: () => undefined }]) {
    await assert.rejects(producer.produceCustomEvent('t', 'k', event), TypeError);
  }
  for (const method of Object.keys(typedCalls)) await assert.rejects(producer[method](), TypeError);
  await assert.rejects(producer.produceCustomEvent(), TypeError);
  assert.equal(producer.errorCount, 8 * 3 + 4 + 1);
  assert.equal(logged.mock.callCount(), 8 * 2 + 4 + 1);
});

test('a key is text, bytes or nothing; anything else becomes its text', async (t) => {
  const topic = name('keys');
  await createTopics(topic);
  const producer = old(t);
  const keys = [undefined, null, '', 'text', 7, Buffer.from('bytes'), 'half \ud800', true];
  for (const key of keys) await producer.produceCustomEvent(topic, key, {});
  const found = (await readRaw(topic, keys.length)).map(({ key }) => key?.toString() ?? null);
  assert.deepEqual(found.sort(), ['', '7', 'bytes', 'half \ufffd', 'text', 'true', null, null].sort());
});

test('a producer for every event costs little and leaves nothing', async (t) => {
  const topicPrefix = await platformTopics();
  const one = async () => {
    const producer = old(t, { topicPrefix, sourceService: 'jobs' });
    await producer.connect();
    await producer.produceServiceHealthEvent(health);
    await producer.disconnect();
    assert.deepEqual(producer.getStats(), { delivered: 1, errors: 0 });
  };
  await one();
  const start = performance.now();
  for (let i = 0; i < 300; i++) await one();
  t.diagnostic(`${((performance.now() - start) / 300).toFixed(2)} ms each`);
});
