// Typed events: all records, golden bytes, errors, back-pressure.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pipeline } from 'node:stream/promises';
import { EventError, InvalidEventError, QueueFullError, TypedProducer } from '@254carbon/event-producer';
import { TestPlatform } from '@254carbon/event-producer/testing';
import {
  createTopics,
  examples,
  fingerprints,
  invalidExamples,
  name,
  plain,
  platformTopics,
  readAll,
  readRaw,
  tables,
  typed,
  typical,
  until,
} from './support.mjs';

const health = (change) => ({
  serviceName: 'checkout',
  namespace: 'shop',
  healthStatus: 'HEALTHY',
  latencyMs: 3,
  errorRate: 0.01,
  ...change,
});

test('every example of every record is written byte for byte as another library writes it', async (t) => {
  const prints = fingerprints();
  const expected = new Map();
  const topicPrefix = await platformTopics();
  const single = typed(t, { ...plain, schemaRegistryUrl: undefined, topicPrefix });
  for (const { record, example, event, body } of examples()) {
    const report = await single.send(record, event);
    expected.set(`${report.topic}/${report.partition}/${report.offset}`, { record, example, body });
  }
  assert.ok(expected.size > 120, `${expected.size} examples`);
  for (const [record, topic] of Object.entries(tables.topics)) {
    const own = [...expected].filter(([place]) => place.startsWith(`${topicPrefix}${topic}/`));
    const found = await readRaw(topicPrefix + topic, own.length);
    for (const { partition, offset, value } of found) {
      const { example, body } = expected.get(`${topicPrefix}${topic}/${partition}/${offset}`);
      const head = Buffer.from(`c301${prints[record]}`, 'hex');
      assert.deepEqual(value.subarray(0, 10), head, `${record}/${example}`);
      // JavaScript objects order numeric keys first.
      if (example === 'awkward-map-keys') assert.equal(value.length, 10 + body.length);
      else assert.deepEqual(value.subarray(10), body, `${record}/${example}`);
    }
  }
});

test('every example is read back as it was written, through the registry', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const places = new Map();
  const sends = [...examples()].map(async ({ record, example, event, written }) => {
    const { topic, partition, offset } = await producer.send(record, event);
    places.set(`${topic}/${partition}/${offset}`, { record, example, written });
  });
  await Promise.all(sends);
  const topics = Object.values(tables.topics).map((topic) => topicPrefix + topic);
  const found = await readAll(topics, { longs: 'bigint' });
  assert.equal(found.length, places.size);
  for (const { topic, partition, offset, event } of found) {
    const { record, example, written } = places.get(`${topic}/${partition}/${offset}`);
    const { kinds } = tables.records[record];
    const expected = Object.fromEntries(
      Object.entries(written).map(([field, value]) => {
        const long = kinds[field] === 'long' && field !== 'timestamp';
        return [field, long && value !== null ? BigInt(value) : value];
      }),
    );
    assert.deepEqual(event, expected, `${record}/${example}`);
  }
});

test('every invalid example is refused with the error that every language gives', async (t) => {
  const producer = typed(t);
  let count = 0;
  for (const { record, example, event, error } of invalidExamples()) {
    // A producer replaces an empty source, which is then a valid key.
    if (event.source === '') continue;
    await assert.rejects(producer.send(record, event), (found) => {
      assert.ok(found instanceof InvalidEventError, `${record}/${example}: ${found}`);
      assert.equal(found.kind, error.kind, `${record}/${example}`);
      assert.equal(found.message, error.message, `${record}/${example}`);
      assert.equal(found.field, error.field, `${record}/${example}`);
      assert.equal(found.event, record);
      return true;
    });
    count++;
  }
  assert.ok(count > 120, `${count} invalid examples`);
});

test('bad input is a rejected promise that names event and field, and disturbs nothing', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const cyclic = { a: 'b' };
  cyclic.self = cyclic;
  const throwing = health();
  Object.defineProperty(throwing, 'namespace', {
    enumerable: true,
    get() {
      throw new Error('no');
    },
  });
  const ingestion = typical('DataIngestionEvent');
  const cases = [
    ['ServiceHealthEvent', null, undefined],
    ['ServiceHealthEvent', 'text', undefined],
    ['ServiceHealthEvent', undefined, undefined],
    ['ServiceHealthEvent', [], undefined],
    ['ServiceHealthEvent', health({ latencyMs: '3' }), 'latencyMs'],
    ['ServiceHealthEvent', health({ latencyMs: 3.5 }), 'latencyMs'],
    ['ServiceHealthEvent', health({ latencyMs: NaN }), 'latencyMs'],
    ['ServiceHealthEvent', health({ latencyMs: 2 ** 53 }), 'latencyMs'],
    ['ServiceHealthEvent', health({ latencyMs: 2n ** 63n }), 'latencyMs'],
    ['ServiceHealthEvent', health({ errorRate: NaN }), 'errorRate'],
    ['ServiceHealthEvent', health({ errorRate: Infinity }), 'errorRate'],
    ['ServiceHealthEvent', health({ errorRate: -0.1 }), 'errorRate'],
    ['ServiceHealthEvent', health({ healthStatus: 'toString' }), 'healthStatus'],
    ['ServiceHealthEvent', health({ healthStatus: ['HEALTHY'] }), 'healthStatus'],
    ['ServiceHealthEvent', health({ serviceName: '' }), 'serviceName'],
    ['ServiceHealthEvent', health({ serviceName: 'a\udc00' }), 'serviceName'],
    ['ServiceHealthEvent', health({ message: Symbol('s') }), 'message'],
    ['ServiceHealthEvent', health({ message: () => 1 }), 'message'],
    ['ServiceHealthEvent', health({ message: new Date() }), 'message'],
    ['ServiceHealthEvent', health({ extra: 1 }), 'extra'],
    ['ServiceHealthEvent', health({ eventId: 'no-uuid' }), 'eventId'],
    ['ServiceHealthEvent', throwing, 'namespace'],
    ['DataIngestionEvent', { ...ingestion, metadata: cyclic }, 'metadata'],
    ['DataIngestionEvent', { ...ingestion, metadata: { a: 'x\ud800' } }, 'metadata'],
    ['DataIngestionEvent', { ...ingestion, metadata: ['a'] }, 'metadata'],
    ['DataIngestionEvent', { ...ingestion, metadata: new Map([['a', 'b']]), extra: 1 }, 'extra'],
  ];
  const good = producer.send('ServiceHealthEvent', health());
  for (const [record, event, field] of cases) {
    await assert.rejects(producer.send(record, event), (error) => {
      assert.ok(error instanceof InvalidEventError, `${field}: ${error.stack}`);
      assert.equal(error.event, record);
      const named = error.field === undefined ? undefined : error.field.split('.')[0];
      assert.equal(named, field, error.message);
      return true;
    });
  }
  await assert.rejects(producer.send('NoEvent', {}), /NoEvent is not an event/);
  await assert.rejects(producer.send('toString', {}), InvalidEventError);
  await assert.rejects(producer.send(Symbol('x'), {}), InvalidEventError);
  await assert.rejects(
    producer.send('ServiceHealthEvent', health(), { partition: 1.5 }),
    /partition must be an integer/,
  );
  await assert.rejects(
    producer.send('ServiceHealthEvent', health(), { headers: { a: 5 } }),
    /header a must be/,
  );
  await good;
  await producer.send('ServiceHealthEvent', health());
  assert.equal((await readAll(`${topicPrefix}system-health`)).length, 2);
});

test('values of similar types are converted', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  class Health {
    constructor() {
      Object.assign(this, health());
    }
    describe() {
      return 'x';
    }
  }
  await producer.send('ServiceHealthEvent', new Health());
  const when = new Date('2026-01-02T03:04:05.678Z');
  await producer.send('ServiceHealthEvent', health({ timestamp: when, message: undefined }));
  const metadata = new Map([['market', 'eex']]);
  await producer.send('DataIngestionEvent', { ...typical('DataIngestionEvent'), metadata });
  await producer.send('ServiceHealthEvent', Object.freeze(health({ latencyMs: -(2n ** 63n) })));
  const found = await readAll(`${topicPrefix}system-health`, { longs: 'bigint' });
  assert.deepEqual(
    found.map(({ event }) => event.latencyMs),
    [3n, 3n, -(2n ** 63n)],
  );
  assert.equal(found[1].event.timestamp, when.getTime());
  const [{ event }] = await readAll(`${topicPrefix}data-ingestion`);
  assert.deepEqual(event.metadata, { market: 'eex' });
});

test('keys, partitions and headers are the caller\'s to choose', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const headers = {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    binary: Buffer.from([0, 255, 128]),
    nothing: null,
    umlaut: 'ä',
  };
  const report = await producer.send('ServiceHealthEvent', health(), {
    key: Buffer.from([255, 1]),
    partition: 2,
    headers,
  });
  assert.equal(report.partition, 2);
  await producer.send('ServiceHealthEvent', health(), { key: null, partition: 2 });
  await producer.send('ServiceHealthEvent', health(), { key: 'eigen', partition: 2 });
  const found = await readAll(`${topicPrefix}system-health`);
  assert.deepEqual(found[0].key, Buffer.from([255, 1]));
  assert.equal(found[1].key, null);
  assert.equal(found[2].key, 'eigen');
  assert.deepEqual(found[0].headers, {
    traceparent: Buffer.from(headers.traceparent),
    binary: headers.binary,
    nothing: null,
    umlaut: Buffer.from('ä'),
  });
  await assert.rejects(producer.send('ServiceHealthEvent', health(), { partition: 99 }), {
    kind: 'UnknownTopic',
  });
});

test('raw records and tombstones go to any topic', async (t) => {
  const topic = name('raw');
  await createTopics(topic);
  const producer = typed(t);
  await producer.sendRaw(topic, { key: 'k', value: Buffer.from([1, 2, 255]), headers: { a: 'b' } });
  await producer.sendRaw(topic, { key: 'k' });
  const found = await readRaw(topic, 2);
  assert.deepEqual(found[0].value, Buffer.from([1, 2, 255]));
  assert.equal(found[0].headers.a.toString(), 'b');
  assert.equal(found[1].value, null);
  await assert.rejects(producer.sendRaw(topic, { value: {} }), /value must be/);
});

test('ten thousand at once settle with their own places, in the order of each key', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const count = 10_000;
  const sends = Array.from({ length: count }, (_, i) =>
    producer.send('ServiceHealthEvent', health({ serviceName: `s${i % 7}`, latencyMs: i })),
  );
  const reports = await Promise.all(sends);
  const places = new Map();
  reports.forEach(({ partition, offset }, i) => places.set(`${partition}/${offset}`, i));
  assert.equal(places.size, count);
  const found = await readAll(`${topicPrefix}system-health`);
  assert.equal(found.length, count);
  const last = new Map();
  for (const { partition, offset, event } of found) {
    assert.equal(places.get(`${partition}/${offset}`), event.latencyMs);
    assert.ok((last.get(event.serviceName) ?? -1) < event.latencyMs);
    last.set(event.serviceName, event.latencyMs);
  }
  assert.deepEqual(producer.stats(), { delivered: count, failed: 0, queued: 0 });
});

test('sendMany counts what is delivered and gives each failure its index', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const events = Array.from({ length: 5_000 }, (_, i) => health({ latencyMs: i }));
  assert.deepEqual(await producer.sendMany('ServiceHealthEvent', events), { delivered: 5_000 });
  assert.deepEqual(await producer.sendMany('ServiceHealthEvent', []), { delivered: 0 });
  events[3] = health({ errorRate: 2 });
  events[4_000] = health({ latencyMs: 'x' });
  await assert.rejects(producer.sendMany('ServiceHealthEvent', events), (error) => {
    assert.ok(error instanceof InvalidEventError);
    assert.deepEqual(
      error.failures.map(({ index, error: { field } }) => [index, field]),
      [
        [3, 'errorRate'],
        [4_000, 'latencyMs'],
      ],
    );
    assert.equal(error.delivered, 4_998);
    return true;
  });
  function* broken() {
    yield health();
    throw new RangeError('the source broke');
  }
  await assert.rejects(producer.sendMany('ServiceHealthEvent', broken()), RangeError);
  assert.equal((await readAll(`${topicPrefix}system-health`)).length, 9_999);
});

test('what is enqueued is delivered by flush, and its failure is an event', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix, properties: { 'message.max.bytes': 100_000 } });
  const errors = [];
  producer.on('error', (error) => errors.push(error));
  for (let i = 0; i < 3_000; i++) {
    producer.enqueue('ServiceHealthEvent', health({ latencyMs: i }));
  }
  producer.enqueue('ServiceHealthEvent', health({ message: 'x'.repeat(200_000) }));
  await producer.flush();
  await until('the error', () => errors.length === 1);
  assert.equal(errors[0].kind, 'RecordTooLarge');
  assert.deepEqual(producer.stats(), { delivered: 3_000, failed: 1, queued: 0 });
});

test('flush ends after the promises of what it flushed', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  let settled = 0;
  for (let i = 0; i < 20_000; i++) {
    producer.send('ServiceHealthEvent', health()).then(() => settled++);
  }
  await producer.flush();
  assert.equal(settled, 20_000);
});

test('what is wrong with an event that is enqueued is said at the call, and costs no other', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  producer.on('error', (error) => assert.fail(error));
  const wrong = {
    serviceName: [5, '', undefined],
    healthStatus: ['FINE'],
    latencyMs: [0.5, NaN, 2 ** 60, '3', 2n ** 64n],
    errorRate: [1.5, -0.1, NaN, Infinity],
    eventId: ['no-uuid', 7],
  };
  let sent = 0;
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      producer.enqueue('ServiceHealthEvent', health());
      sent++;
      assert.throws(() => producer.enqueue('ServiceHealthEvent', health({ [field]: value })), (error) => {
        assert.ok(error instanceof InvalidEventError);
        assert.deepEqual([error.event, error.field], ['ServiceHealthEvent', field]);
        return true;
      });
    }
  }
  await producer.flush();
  assert.deepEqual(producer.stats(), { delivered: sent, failed: 0, queued: 0 });
});

test('a full queue makes callers wait, and drops nothing', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  const producer = platform.producer({ queueMaxRecords: 100 });
  await producer.send('ServiceHealthEvent', health());
  platform.delay(100);
  let drained = 0;
  producer.on('drain', () => drained++);
  let full = 0;
  for (let i = 0; i < 2_000; i++) {
    if (!producer.enqueue('ServiceHealthEvent', health({ latencyMs: i }))) {
      full++;
      await producer.ready();
    }
  }
  platform.delay(0);
  await producer.flush();
  assert.ok(full > 0, 'the queue was never full');
  assert.ok(drained > 0, 'no drain event');
  assert.equal((await platform.records('system-health')).length, 2_001);
});

test('sends stay in order while the queue is full', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  const producer = platform.producer({ queueMaxRecords: 3 });
  await producer.send('ServiceHealthEvent', health());
  platform.delay(5);
  const sends = [];
  for (let i = 0; i < 600; i++) {
    sends.push(producer.send('ServiceHealthEvent', health({ latencyMs: i })));
    // In one call, in several, and while records of earlier calls wait.
    if (i % 150 === 149) await producer.ready();
    if (i === 300) platform.delay(0);
  }
  const reports = await Promise.all(sends);
  assert.equal(new Set(reports.map(({ partition }) => partition)).size, 1);
  const offsets = reports.map(({ offset }) => offset);
  assert.deepEqual(offsets, [...offsets].sort((one, other) => one - other));
});

test('close delivers the records that wait for a full queue', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  const producer = platform.producer({ queueMaxRecords: 2 });
  await producer.send('ServiceHealthEvent', health());
  platform.delay(20);
  const sends = Array.from({ length: 20 }, () => producer.send('ServiceHealthEvent', health()));
  await producer.close();
  assert.equal((await Promise.all(sends)).length, 20);
});

test('a queue that stays full rejects the send', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  const producer = platform.producer({ queueMaxRecords: 10, blockTimeoutMs: 200, deliveryTimeoutMs: 5_000 });
  await producer.send('ServiceHealthEvent', health());
  platform.takeDown();
  const sends = Array.from({ length: 30 }, () => producer.send('ServiceHealthEvent', health()));
  const outcomes = await Promise.allSettled(sends);
  const full = outcomes.filter(({ reason }) => reason instanceof QueueFullError);
  assert.ok(full.length > 0);
  assert.ok(outcomes.every(({ reason }) => reason instanceof EventError && reason.retryable));
});

test('a stream sends what is written to it, with back-pressure', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  async function* source() {
    for (let i = 0; i < 20_000; i++) yield health({ latencyMs: i });
  }
  await pipeline(source, producer.writable('ServiceHealthEvent'));
  assert.equal(producer.stats().delivered, 20_000);
  await assert.rejects(
    pipeline(async function* () {
      yield health({ errorRate: 7 });
    }, producer.writable('ServiceHealthEvent')),
    InvalidEventError,
  );
});

test('an aborted signal rejects with its reason', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const aborted = AbortSignal.abort(new Error('gone'));
  await assert.rejects(producer.send('ServiceHealthEvent', health(), { signal: aborted }), /gone/);
  await assert.rejects(
    producer.sendMany('ServiceHealthEvent', [health()], { signal: aborted }),
    /gone/,
  );
  const controller = new AbortController();
  const send = producer.send('ServiceHealthEvent', health(), { signal: controller.signal });
  controller.abort(new Error('later'));
  await assert.rejects(send, /later/);
  await producer.flush();
  assert.equal((await readAll(`${topicPrefix}system-health`)).length, 1);
});

test('sends that race with close complete or are refused', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  for (const isDown of [false, true]) {
    const producer = platform.producer({ queueMaxRecords: 50, closeTimeoutMs: isDown ? 200 : 10_000 });
    await producer.send('ServiceHealthEvent', health());
    if (isDown) platform.takeDown();
    const sends = Array.from({ length: 200 }, (_, i) =>
      producer.send('ServiceHealthEvent', health(), { partition: i % 3 === 0 ? 99 : 0 }));
    const closing = producer.close().catch((error) => error);
    sends.push(...Array.from({ length: 20 }, () => producer.send('ServiceHealthEvent', health())));
    const began = Date.now();
    const outcomes = await Promise.allSettled(sends);
    const closed = await closing;
    assert.ok(Date.now() - began < 5_000, `it took ${Date.now() - began} ms`);
    assert.ok(outcomes.every(({ status, reason }) => status === 'fulfilled' || reason instanceof EventError));
    assert.ok(outcomes.slice(-20).every(({ reason }) => reason?.kind === 'Closed'));
    assert.ok(isDown ? closed instanceof EventError : closed === undefined, String(closed));
    if (isDown) platform.bringUp();
  }
});

test('after close everything is a ClosedError', async () => {
  const producer = new TypedProducer({ ...plain });
  await producer.close();
  await producer.close();
  const closed = { name: 'ClosedError', kind: 'Closed', retryable: false };
  await assert.rejects(producer.send('ServiceHealthEvent', health()), closed);
  assert.throws(() => producer.enqueue('ServiceHealthEvent', health()), closed);
  await assert.rejects(producer.sendMany('ServiceHealthEvent', [health()]), closed);
  await assert.rejects(producer.connect(), closed);
});

test('a wrong option is refused with the nearest right one', () => {
  assert.throws(() => new TypedProducer({ bootstrapServer: 'a:1' }), {
    name: 'InvalidConfigError',
    setting: 'bootstrap_server',
    message: /did you mean `bootstrap_servers`/,
  });
  assert.throws(() => new TypedProducer({ ...plain, compression: 'lz5' }), { setting: 'compression' });
});

test('huge texts cross whole, or are refused', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const message = 'é'.repeat(300_000);
  await producer.send('ServiceHealthEvent', health({ message }));
  await assert.rejects(
    producer.send('ServiceHealthEvent', health({ message: 'x'.repeat(3_000_000) })),
    { kind: 'RecordTooLarge' },
  );
  const [{ event }] = await readAll(`${topicPrefix}system-health`);
  assert.equal(event.message, message);
});

test('every error has a class, a kind and what to do', async () => {
  const exported = await import('@254carbon/event-producer');
  const kinds = Object.keys(exported).filter((name) => /Error$/.test(name) && name !== 'EventError');
  assert.equal(kinds.length, 14);
  for (const kind of kinds) {
    const error = new exported[kind]('message', { cause: new Error('why') });
    assert.ok(error instanceof EventError && error instanceof Error);
    assert.equal(`${error.kind}Error`, kind);
    assert.equal(error.name, kind);
    assert.equal(typeof error.retryable, 'boolean');
    assert.equal(error.cause.message, 'why');
  }
});

test('metrics count events by topic', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  await producer.send('ServiceHealthEvent', health());
  assert.match(producer.metrics(), /system-health/);
});
