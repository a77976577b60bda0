// The broker and registry for the tests of a service.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestPlatform } from '@254carbon/event-producer/testing';

const health = {
  serviceName: 'orders',
  namespace: 'shop',
  healthStatus: 'HEALTHY',
  latencyMs: 3,
  errorRate: 0,
};

async function start(t, options) {
  const platform = await TestPlatform.start(options);
  t.after(() => platform.stop());
  return platform;
}

test('the events of a service are read', async (t) => {
  const platform = await start(t);
  assert.deepEqual(await platform.records('system-health'), []);
  const producer = platform.producer({ sourceService: 'orders' });
  await producer.send('ServiceHealthEvent', health);
  const [{ event, topic }] = await platform.records('system-health');
  assert.equal(event.source, 'orders');
  assert.equal(topic, 'system-health');
  assert.equal(platform.schemas('system-health-value').length, 1);
  assert.ok(platform.registryCalls > 0);
});

test('topics behind a prefix are one environment\'s own', async (t) => {
  const platform = await start(t, { topicPrefix: 'staging.' });
  await platform.producer().send('ServiceHealthEvent', health);
  await platform.eventProducer().produceServiceHealthEvent(health);
  const records = await platform.records('system-health');
  assert.deepEqual(records.map(({ topic }) => topic), ['staging.system-health', 'staging.system-health']);
  assert.equal(records[0].event.serviceName, 'orders');
  assert.deepEqual(await platform.records('system-health', { topicPrefix: '' }), []);
  assert.throws(() => platform.producer({ topicPrefix: 'stag ing' }), { kind: 'InvalidConfig' });
});

test('a service survives what the platform does to it', async (t) => {
  const platform = await start(t, { brokers: 3 });
  platform.failRegistry(1, { status: 503 });
  platform.failNext('Produce', 2, 'NotLeader');
  await platform.eventProducer().produceServiceHealthEvent(health);
  platform.takeRegistryDown();
  await platform.eventProducer({ schemaRegistryUrl: null }).produceServiceHealthEvent(health);
  platform.bringRegistryUp();
  assert.equal((await platform.records('system-health')).length, 2);
});

test('a failure that stays is the caller\'s to see', async (t) => {
  const platform = await start(t);
  const producer = platform.producer({ deliveryTimeoutMs: 1_000 });
  platform.failTopic('system-health', 'TopicAuthorizationFailed');
  await assert.rejects(producer.send('ServiceHealthEvent', health), { kind: 'Authorization' });
  platform.failTopic('system-health', null);
  platform.takeDown();
  await assert.rejects(producer.send('DataQualityEvent', {
    datasetName: 'd',
    checkType: 't',
    checkName: 'n',
    result: 'PASS',
    score: 1,
    failedRecords: 0,
    totalRecords: 1,
  }), (error) => error.retryable);
  assert.throws(() => platform.failNext('Produce', 1, 'Nonsense'), { kind: 'InvalidConfig' });
});

test('a registry outage fails the read and the same records come later', async (t) => {
  const platform = await start(t);
  const producer = platform.producer();
  await producer.sendMany('ServiceHealthEvent', Array.from({ length: 20 }, () => health));
  platform.takeRegistryDown();
  const consumer = platform.consumer({
    topics: 'system-health',
    groupId: 'g',
    unreachableAfterMs: 300,
  });
  t.after(() => consumer.close());
  const read = async (count) => {
    const records = [];
    for await (const record of consumer) {
      records.push(record);
      if (records.length === count) break;
    }
    return records;
  };
  for (let tries = 0; tries < 2; tries++) {
    await assert.rejects(read(20), (error) => error.kind === 'Unavailable' && error.retryable);
  }
  platform.bringRegistryUp();
  let records;
  while (!records) {
    // One more failure may be in flight.
    records = await read(20).catch((error) => assert.ok(error.retryable));
  }
  assert.equal(records.filter(({ event }) => event).length, 20);
});

test('a loop outlasts a short registry outage', async (t) => {
  const platform = await start(t);
  const producer = platform.producer();
  await producer.sendMany('ServiceHealthEvent', Array.from({ length: 20 }, () => health));
  platform.takeRegistryDown();
  setTimeout(() => platform.bringRegistryUp(), 500);
  const consumer = platform.consumer({ topics: 'system-health', groupId: 'g', detectEnd: true });
  t.after(() => consumer.close());
  const errors = [];
  for await (const { error } of consumer) errors.push(error);
  assert.deepEqual(errors, Array(20).fill(null));
});

test('the environment is enough to connect', async (t) => {
  const platform = await start(t);
  assert.deepEqual(Object.keys(platform.environment), [
    'KAFKA_BOOTSTRAP_SERVERS',
    'KAFKA_SECURITY_PROTOCOL',
    'KAFKA_SCHEMA_REGISTRY_URL',
  ]);
  const consumer = platform.consumer({ topics: 'system-health', groupId: 'g' });
  await platform.producer().send('ServiceHealthEvent', health);
  const [{ event }] = await consumer.nextBatch();
  assert.equal(event.serviceName, 'orders');
});
