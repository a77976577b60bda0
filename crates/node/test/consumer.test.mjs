// Consumers: reading, acknowledgement, undecodable records.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { EventConsumer, UndecodableError } from '@254carbon/event-producer';
import { TestPlatform } from '@254carbon/event-producer/testing';
import { client, closing, name, platformTopics, readAll, reading, typed, until } from './support.mjs';

const health = (latencyMs, change) => ({
  serviceName: 'checkout',
  namespace: 'shop',
  healthStatus: 'HEALTHY',
  latencyMs,
  errorRate: 0,
  ...change,
});

async function filled(t, count) {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const events = Array.from({ length: count }, (_, i) => health(i));
  await producer.sendMany('ServiceHealthEvent', events);
  return `${topicPrefix}system-health`;
}

/** The records that a new member of the group reads. */
async function latencies(t, topics, groupId) {
  const seen = [];
  for await (const { event } of reader(t, topics, { groupId, detectEnd: true })) seen.push(event.latencyMs);
  return seen;
}

const reader = (t, topics, options) =>
  closing(t)(new EventConsumer({ ...reading, topics, ...options }));

test('the iterator gives every record once, in order, and ends with the consumer', async (t) => {
  const topic = await filled(t, 2_000);
  const consumer = reader(t, topic, { groupId: name('g') });
  const seen = [];
  for await (const { event, offset, timestamp, key } of consumer) {
    assert.equal(event.latencyMs, offset);
    assert.equal(key, 'checkout');
    assert.ok(Math.abs(timestamp - Date.now()) < 600_000);
    seen.push(event.latencyMs);
    if (seen.length === 2_000) setImmediate(() => consumer.close());
  }
  assert.deepEqual(seen, [...Array(2_000).keys()]);
});

test('acknowledged records are not read again after a close, others are', async (t) => {
  const topic = await filled(t, 1_500);
  const groupId = name('g');
  const first = reader(t, topic, { groupId });
  let seen = 0;
  for await (const { event } of first) {
    assert.equal(event.latencyMs, seen);
    if (++seen === 700) break;
  }
  await first.close();
  const second = reader(t, topic, { groupId });
  const batch = await second.nextBatch();
  // The last record of the loop is not acknowledged.
  assert.equal(batch[0].event.latencyMs, 699);
});

test('a loop that was left goes on where it stopped', async (t) => {
  const topic = await filled(t, 100);
  const consumer = reader(t, topic, { groupId: name('g') });
  for await (const { event } of consumer) if (event.latencyMs === 41) break;
  for await (const { event } of consumer) {
    assert.ok([41, 42].includes(event.latencyMs));
    break;
  }
});

test('a batch whose handler throws is read again by the group', async (t) => {
  const topic = await filled(t, 50);
  const groupId = name('g');
  const first = reader(t, topic, { groupId });
  await assert.rejects(
    first.eachBatch(() => {
      throw new RangeError('the database is down');
    }),
    RangeError,
  );
  await first.close();
  const second = reader(t, topic, { groupId, detectEnd: true });
  let seen = 0;
  await second.eachBatch(async (records) => {
    seen += records.length;
  });
  assert.equal(seen, 50);
});

test('a failed handler leaves its batch to the next reader', async (t) => {
  const topic = await filled(t, 10);
  const groupId = name('g');
  const first = reader(t, topic, { groupId });
  await assert.rejects(async () => {
    try {
      await first.nextBatch();
      throw new RangeError('the database is down');
    } finally {
      await first.close();
    }
  }, RangeError);
  assert.deepEqual(await latencies(t, topic, groupId), [...Array(10).keys()]);
});

test('a failed handler leaves its record to the next reader', async (t) => {
  const topic = await filled(t, 10);
  const groupId = name('g');
  const first = reader(t, topic, { groupId });
  await assert.rejects(async () => {
    for await (const { event } of first) {
      if (event.latencyMs === 4) throw new RangeError('the database is down');
    }
  }, RangeError);
  await first.close();
  assert.deepEqual(await latencies(t, topic, groupId), [4, 5, 6, 7, 8, 9]);
});

test('a loop that is left without an error acknowledges', async (t) => {
  const topic = await filled(t, 10);
  const groupId = name('g');
  const first = reader(t, topic, { groupId });
  for await (const { event } of first) {
    if (event.latencyMs !== 4) continue;
    first.acknowledge();
    break;
  }
  await first.close();
  assert.deepEqual(await latencies(t, topic, groupId), [5, 6, 7, 8, 9]);
});

test('a read of another loop acknowledges nothing', async (t) => {
  const topic = await filled(t, 10);
  const groupId = name('g');
  const consumer = reader(t, topic, { groupId, maxBatchRecords: 5 });
  const slow = consumer.eachBatch(() => new Promise(() => {}));
  slow.catch(() => {});
  await until('a batch', () => /consumed_records_total\{[^}]*\} 10/.test(consumer.metrics()));
  const signal = AbortSignal.timeout(500);
  await consumer.eachBatch(() => {}, { signal });
  await consumer.close();
  assert.deepEqual(await latencies(t, topic, groupId), [...Array(10).keys()]);
});

test('a batch whose handler throws comes at the next read', async (t) => {
  const topic = await filled(t, 10);
  const consumer = reader(t, topic, { groupId: name('g') });
  let failed;
  const fail = (records) => {
    failed = records;
    throw new RangeError('the database is down');
  };
  await assert.rejects(consumer.eachBatch(fail), RangeError);
  assert.deepEqual(await consumer.nextBatch(), failed);
});

test('closing keeps its time while no broker answers', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  const cases = [
    [{ timeoutMs: 0 }, 0],
    [{ timeoutMs: 500 }, 500],
    // The setting's.
    [undefined, 300],
  ];
  for (const [options, timeoutMs] of cases) {
    const group = { topics: 'system-health', groupId: name('g'), closeTimeoutMs: 300 };
    const consumer = platform.consumer(group);
    await until('an assignment', () => consumer.assignment().length > 0);
    platform.delay(20_000);
    const began = performance.now();
    await consumer.close(options).catch((error) => assert.equal(error.kind, 'Timeout'));
    assert.ok(performance.now() - began < timeoutMs + 1_000);
    platform.delay(0);
  }
});

const HASH = 'sha256:ba7816bf8f01cfea';
const call = {
  service: 'billing',
  endpoint: '/v1/invoices',
  method: 'GET',
  statusCode: 200,
  latencyMs: 12,
  requestSizeBytes: 0,
  responseSizeBytes: 2048,
  ipAddress: '198.51.100.7',
};

test('the hash of an event that is passed on stays, what looks like a hash is hashed', async (t) => {
  const platform = await TestPlatform.start();
  t.after(() => platform.stop());
  const producer = platform.producer();
  const consumer = platform.consumer({ topics: 'audit-api-calls', groupId: name('g') });
  await producer.send('AuditAPICallEvent', { ...call, apiKey: 'abc' });
  const [{ event }] = await consumer.nextBatch();
  assert.equal(event.apiKey, HASH);
  await producer.send('AuditAPICallEvent', event);
  event.timestamp = new Date();
  await producer.send('AuditAPICallEvent', event);
  event.apiKey = 'sha256:5dd5a8ed37a3d2fb';
  await producer.send('AuditAPICallEvent', event);
  await producer.send('AuditAPICallEvent', { ...call, apiKey: HASH });
  const keys = [];
  while (keys.length < 4) keys.push(...(await consumer.nextBatch()).map(({ event }) => event.apiKey));
  assert.deepEqual(keys, [HASH, HASH, 'sha256:04d7215c1efb4968', 'sha256:f02734af3c773f54']);
});

test('a key in the environment keys the hashes', () => {
  const code = `
    const { TestPlatform } = require('@254carbon/event-producer/testing');
    (async () => {
      const platform = await TestPlatform.start();
      await platform.producer().send('AuditAPICallEvent', { ...${JSON.stringify(call)}, apiKey: 'abc' });
      const [{ event }] = await platform.records('audit-api-calls');
      console.log(event.apiKey);
      await platform.stop();
    })();`;
  for (const [key, expected] of [['secret', 'sha256:9946dad4e00e913f'], ['', HASH]]) {
    const env = { ...process.env, KAFKA_EVENT_HASH_KEY: key };
    const shown = execFileSync(process.execPath, ['-e', code], { env, encoding: 'utf8', timeout: 60_000 });
    assert.equal(shown.trim(), expected);
  }
});

test('a tombstone has no event and no error', async (t) => {
  const topicPrefix = await platformTopics();
  const topic = `${topicPrefix}system-health`;
  const producer = typed(t, { topicPrefix });
  await producer.sendRaw(topic, { key: 'catalog' });
  await producer.send('ServiceHealthEvent', health(1), { key: 'catalog' });
  const consumer = reader(t, topic, { standalone: true, detectEnd: true });
  const [tombstone, other] = await consumer.nextBatch();
  const { event, error, value, key } = tombstone;
  assert.deepEqual({ event, error, value, key }, { event: null, error: null, value: null, key: 'catalog' });
  assert.deepEqual([tombstone.tombstone, other.tombstone], [true, false]);
  assert.match(consumer.metrics(), /tombstone_records_total\{[^}]*\} 1/);
  assert.match(consumer.metrics(), /undecodable_records_total\{[^}]*\} 0/);
});

test('commit commits what is acknowledged', async (t) => {
  const topic = await filled(t, 10);
  const groupId = name('g');
  const consumer = reader(t, topic, { groupId, autoCommit: false });
  await consumer.nextBatch();
  await consumer.commit();
  const admin = client.admin();
  await admin.connect();
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
  await admin.disconnect();
  assert.ok(partitions.some(({ offset }) => Number(offset) > 0));
  assert.equal(consumer.assignment().length, 3);
  assert.match(consumer.metrics(), /system-health/);
});

test('a signal ends the wait for records', async (t) => {
  const topicPrefix = await platformTopics();
  const consumer = reader(t, `${topicPrefix}system-health`, { groupId: name('g') });
  const signal = AbortSignal.timeout(50);
  await assert.rejects(consumer.nextBatch({ signal }), { name: 'TimeoutError' });
  await consumer.eachBatch(() => {}, { signal: AbortSignal.timeout(50) });
});

test('undecodable records come with their bytes, and reading continues', async (t) => {
  const topicPrefix = await platformTopics();
  const topic = `${topicPrefix}system-health`;
  const producer = typed(t, { topicPrefix });
  const to = { key: 'k', partition: 1 };
  await producer.sendRaw(topic, { ...to, value: Buffer.from([0, 0, 0, 0, 99, 1, 2]) });
  await producer.sendRaw(topic, { ...to, value: 'no event' });
  await producer.send('ServiceHealthEvent', health(1), to);
  const found = await readAll(topic);
  assert.equal(found.length, 3);
  for (const { event, error } of found.slice(0, 2)) {
    assert.equal(event, null);
    assert.ok(error.kind === 'Undecodable' || error.kind === 'Unavailable', String(error));
    assert.equal(error.topic, topic);
  }
  assert.deepEqual(found[0].value, Buffer.from([0, 0, 0, 0, 99, 1, 2]));
  assert.equal(found[1].value.toString(), 'no event');
  assert.equal(found[2].event.latencyMs, 1);
  assert.equal(found[2].error, null);
});

test('the JSON of older producers is read beside Avro', async (t) => {
  const topicPrefix = await platformTopics();
  const topic = `${topicPrefix}deployment-events`;
  const producer = client.producer();
  await producer.connect();
  const value = JSON.stringify({
    eventId: '019a492c-6eb3-7bc3-9407-a13bdbb6e1e8',
    eventType: 'DeploymentEvent',
    timestamp: 1762164240051,
    source: 'deployer',
    deploymentName: 'checkout',
    namespace: 'shop',
    action: 'DEPLOY',
    version: '2.0.1',
    replicas: '3',
    deployedBy: 'ci',
  });
  await producer.send({ topic, messages: [{ key: 'checkout', value }] });
  await producer.disconnect();
  const [{ event }] = await readAll(topic);
  assert.equal(event.deployedVersion, '2.0.1');
  assert.equal(event.version, '1.0.0');
  assert.equal(event.replicas, 3);
});

test('a number that JavaScript cannot hold is an error, or a bigint', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  await producer.send('ServiceHealthEvent', health(2n ** 60n));
  await producer.send('ServiceHealthEvent', health(5));
  const topic = `${topicPrefix}system-health`;
  const [wide, plainOne] = await readAll(topic);
  assert.ok(wide.error instanceof UndecodableError);
  assert.equal(wide.error.field, 'latencyMs');
  assert.equal(wide.event, null);
  assert.equal(plainOne.event.latencyMs, 5);
  const [big] = await readAll(topic, { longs: 'bigint' });
  assert.equal(big.event.latencyMs, 2n ** 60n);
  assert.throws(() => new EventConsumer({ ...reading, topics: topic, longs: 'string' }), {
    kind: 'InvalidConfig',
  });
});

test('an unknown topic and a closed consumer are errors', async (t) => {
  const consumer = reader(t, name('nowhere'), { groupId: name('g') });
  await assert.rejects(consumer.nextBatch(), { kind: 'UnknownTopic' });
  await consumer.close();
  await consumer.close();
  await assert.rejects(consumer.commit(), { kind: 'Closed' });
  assert.equal(await consumer.nextBatch(), null);
  assert.throws(() => new EventConsumer({ ...reading, topics: [] }), { setting: 'topics' });
});

test('two members of a group share the partitions', async (t) => {
  const topic = await filled(t, 10);
  const groupId = name('g');
  const one = reader(t, topic, { groupId });
  const two = reader(t, topic, { groupId });
  const reading = Promise.all([one, two].map((consumer) => consumer.eachBatch(() => {})));
  await until('a fair share', () => {
    const counts = [one, two].map((consumer) => consumer.assignment().length);
    return counts[0] + counts[1] === 3 && Math.min(...counts) > 0;
  });
  await Promise.all([one.close(), two.close()]);
  await reading;
});

test('a header of any name is an ordinary entry', async (t) => {
  const topicPrefix = await platformTopics();
  const topic = `${topicPrefix}data-quality`;
  const producer = typed(t, { topicPrefix });
  const given = JSON.parse('{"__proto__": "evil", "hasOwnProperty": "own", "constructor": "c", "a": "1"}');
  await producer.sendRaw(topic, { key: 'k', value: 'x', headers: given });
  const [{ headers }] = await readAll(topic);
  assert.deepEqual(Object.keys(headers), ['__proto__', 'hasOwnProperty', 'constructor', 'a']);
  assert.equal(Object.getPrototypeOf(headers), Object.prototype);
  assert.equal(Object.getOwnPropertyDescriptor(headers, '__proto__').value.toString(), 'evil');
});

test('loops that share a batch are committed without a gap', async (t) => {
  const topic = await filled(t, 2_000);
  const groupId = name('g');
  const consumer = reader(t, topic, { groupId, detectEnd: true });
  const slow = consumer[Symbol.asyncIterator]();
  await slow.next();
  await slow.next();
  let seen = 0;
  await consumer.eachBatch((records) => {
    seen += records.length;
  });
  assert.ok(seen > 0 && seen < 2_000);
  await consumer.close();
  // The slow loop has acknowledged the first record by reading the second.
  assert.deepEqual(await latencies(t, topic, groupId), [...Array(2_000).keys()].slice(1));
});

test('what a loop gives back is read before the rest and holds back what comes after it', async (t) => {
  const topic = await filled(t, 2_000);
  const groupId = name('g');
  const consumer = reader(t, topic, { groupId, detectEnd: true });
  const first = consumer[Symbol.asyncIterator]();
  for (let i = 0; i < 10; i++) await first.next();
  const second = consumer[Symbol.asyncIterator]();
  const { value } = await second.next();
  assert.ok(value.event.latencyMs >= 512);
  await first.return();
  const [again, ...others] = await consumer.nextBatch();
  assert.equal(again.event.latencyMs, 9);
  assert.ok(others.every(({ event }, i) => event.latencyMs === 10 + i));
  // The second loop reads to the end while the first one holds earlier records.
  for await (const _ of { [Symbol.asyncIterator]: () => second });
  await consumer.close();
  assert.equal((await latencies(t, topic, groupId))[0], 9);
});

test('an iterator that ends while it waits takes no record', async (t) => {
  const topicPrefix = await platformTopics();
  const topic = `${topicPrefix}system-health`;
  const consumer = reader(t, topic, { groupId: name('g') });
  await until('an assignment', () => consumer.assignment().length > 0);
  const iterator = consumer[Symbol.asyncIterator]();
  const waits = iterator.next();
  await iterator.return();
  assert.deepEqual(await waits, { done: true, value: undefined });
  await typed(t, { topicPrefix }).send('ServiceHealthEvent', health(7));
  const [{ event }] = await consumer.nextBatch();
  assert.equal(event.latencyMs, 7);
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
});

test('calls of next at once give a record each, in order', async (t) => {
  const topic = await filled(t, 1_100);
  const groupId = name('g');
  const consumer = reader(t, topic, { groupId, detectEnd: true });
  const iterator = consumer[Symbol.asyncIterator]();
  const calls = Array.from({ length: 1_101 }, () => iterator.next());
  const results = await Promise.all(calls);
  assert.deepEqual(
    results.map(({ value }) => value?.event.latencyMs),
    [...Array(1_100).keys(), undefined],
  );
  await consumer.close();
  assert.deepEqual(await latencies(t, topic, groupId), []);
});
