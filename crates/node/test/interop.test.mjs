// Other libraries read our records, and we read theirs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import avsc from 'avsc';
import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import kafkajs from 'kafkajs';
import { avsc as schemaOf, client, platformTopics, readAll, readRaw, served, tables, typed, typical } from './support.mjs';

const registry = new SchemaRegistry({ host: served.registry });

const records = tables.names;

test('@kafkajs/confluent-schema-registry reads all twelve of ours', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  for (const record of records) {
    const event = typical(record);
    await producer.send(record, event);
    const [{ value }] = await readRaw(topicPrefix + tables.topics[record], 1);
    const found = await registry.decode(value);
    const written = { ...event };
    if (record === 'AuditAPICallEvent' && written.apiKey) written.apiKey = found.apiKey;
    if (record === 'ConfigChangeEvent' && written.sensitive) {
      written.oldValue = found.oldValue;
      written.newValue = found.newValue;
    }
    assert.deepEqual(JSON.parse(JSON.stringify(found)), written, record);
  }
});

test('we read all twelve of @kafkajs/confluent-schema-registry', async () => {
  const topicPrefix = await platformTopics();
  const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  for (const record of records) {
    const topic = topicPrefix + tables.topics[record];
    const schema = JSON.stringify(schemaOf(record));
    const { id } = await registry.register(
      { type: SchemaType.AVRO, schema },
      { subject: `${topic}-value` },
    );
    const event = typical(record);
    const value = await registry.encode(id, event);
    await producer.send({ topic, messages: [{ key: 'k', value }] });
    const [{ event: found, error }] = await readAll(topic);
    assert.equal(error, null, String(error));
    assert.deepEqual(found, event, record);
  }
  await producer.disconnect();
});

test('avsc reads our single objects', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix, schemaRegistryUrl: undefined });
  for (const record of records) {
    const event = typical(record);
    await producer.send(record, event);
    const [{ value }] = await readRaw(topicPrefix + tables.topics[record], 1);
    const type = avsc.Type.forSchema(schemaOf(record), { omitRecordMethods: true });
    const found = JSON.parse(JSON.stringify(type.fromBuffer(value.subarray(10))));
    assert.equal(found.eventId, event.eventId, record);
    assert.deepEqual(Object.keys(found), Object.keys(event), record);
  }
});

test('a key goes to the partition that Java\'s producer gives it', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const topic = `${topicPrefix}audit-api-calls`;
  const theirs = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await theirs.connect();
  for (const key of ['a', 'pricing-api', 'ключ', 'x'.repeat(300)]) {
    const { partition } = await producer.send('AuditAPICallEvent', {
      ...typical('AuditAPICallEvent'),
      service: key,
    });
    const [sent] = await theirs.send({ topic, messages: [{ key, value: '{}' }] });
    assert.equal(partition, sent.partition, key);
  }
  await theirs.disconnect();
});
