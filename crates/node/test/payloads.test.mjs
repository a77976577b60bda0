// JSON payloads, byte for byte as the kafkajs-based package wrote them, on every path. Only sensitive
// values differ: they never leave in clear.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { EventProducer } from '@254carbon/event-producer';
import { calls, comparable } from './legacy/calls.mjs';
import { createTopics, name, old, platformTopics, readRaw, served, tables, typed } from './support.mjs';

const recorded = JSON.parse(readFileSync(new URL('legacy/recorded.json', import.meta.url), 'utf8'));
const SECRET = 'sk_live_1';
const hashed = (text) => `sha256:${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;

/** The expected payload: the recorded one, with its secret hashed. */
function expected(name) {
  const { topic, key, value, error, errors } = recorded[name];
  if (error !== undefined) return { error: 'TypeError', errors };
  return { topic, key, value: value.replaceAll(`"${SECRET}"`, `"${hashed(SECRET)}"`) };
}

/** Compares the payload of every call, written by `produce`, with the expected one. */
async function compare(produce) {
  assert.deepEqual(Object.keys(calls).sort(), Object.keys(recorded).sort());
  const differences = [];
  for (const [name, call] of Object.entries(calls)) {
    const written = await produce(call);
    try {
      assert.deepEqual(written, expected(name));
    } catch (error) {
      differences.push(`${name}: ${error.message}`);
    }
  }
  assert.deepEqual(differences, []);
}

/** A producer of a class that writes nothing to standard error. */
function quiet(t) {
  t.mock.method(console, 'error', () => {});
}

/** Sends every call, one after the other, and reads the records. */
async function onTheWire(t, producer, { custom }) {
  const found = new Map();
  const reports = new Map();
  for (const [name, call] of Object.entries(calls)) {
    const before = producer.errorCount;
    try {
      reports.set(name, await call(producer));
    } catch (error) {
      found.set(name, { error: error.name, errors: producer.errorCount - before });
    }
  }
  const topics = new Map();
  for (const { topic } of reports.values()) topics.set(topic, (topics.get(topic) ?? 0) + 1);
  const records = new Map();
  for (const [topic, count] of topics) {
    for (const { partition, offset, key, value } of await readRaw(topic, count)) {
      records.set(`${topic} ${partition} ${offset}`, { key, value });
    }
  }
  for (const [name, { topic, partition, offset }] of reports) {
    const { key, value } = records.get(`${topic} ${partition} ${offset}`);
    assert.ok(!value.includes(SECRET), name);
    found.set(name, {
      topic: topic === custom ? 'legacy-custom' : topic.slice(topic.indexOf('.') + 1),
      key: key === null ? null : key.toString(),
      value: comparable(value.toString()),
    });
  }
  const names = new Map(Object.entries(calls).map(([name, call]) => [call, name]));
  await compare((call) => found.get(names.get(call)));
}

/** Replaces the custom topic of the calls by one of the test. */
class Renaming extends EventProducer {
  produceCustomEvent(topic, key, event) {
    return super.produceCustomEvent(topic === 'legacy-custom' ? this.custom : topic, key, event);
  }
}

async function renaming(t, Class, options) {
  const topicPrefix = await platformTopics();
  const custom = name('legacy-custom');
  await createTopics(custom, 'legacy-custom');
  const producer = old(t, { sourceService: 'billing', topicPrefix, ...options }, Class);
  producer.custom = custom;
  return { producer, custom };
}

test('every payload is what the first package wrote', async (t) => {
  quiet(t);
  const { producer, custom } = await renaming(t, Renaming);
  await onTheWire(t, producer, { custom });
});

test('every payload is the same through overridden methods', async (t) => {
  quiet(t);
  class Overriding extends Renaming {
    _createBaseEvent(eventType, fields) {
      return super._createBaseEvent(eventType, fields);
    }
    async _produce(topic, key, event) {
      return await super._produce(topic, key, event);
    }
  }
  const { producer, custom } = await renaming(t, Overriding);
  await onTheWire(t, producer, { custom });
});

test('every payload is the same through a patched low-level producer', async (t) => {
  quiet(t);
  const { producer, custom } = await renaming(t, Renaming);
  const { send } = producer.producer;
  producer.producer.send = function (record) {
    return send.call(this, record);
  };
  await onTheWire(t, producer, { custom });
});

test('a low-level producer in the place of ours is given the same payloads', async (t) => {
  quiet(t);
  const sent = [];
  const producer = new EventProducer({ sourceService: 'billing', securityProtocol: 'PLAINTEXT' });
  producer.producer = {
    async send(record) {
      sent.push(record);
    },
  };
  await compare(async (call) => {
    const before = producer.errorCount;
    try {
      await call(producer);
    } catch (error) {
      return { error: error.name, errors: producer.errorCount - before };
    }
    const { topic, messages } = sent.pop();
    const [{ key, value }] = messages;
    return { topic, key: key === undefined || key === null ? null : String(key), value: comparable(value) };
  });
});

/** All records of the platform's topics and another one, as one text. */
async function allBytes(topics) {
  let bytes = '';
  for (const [topic, count] of topics) {
    for (const { key, value, headers } of await readRaw(topic, count)) {
      bytes += `${key?.toString('latin1')} ${value?.toString('latin1')} ${JSON.stringify(headers)}\n`;
    }
  }
  return bytes;
}

const sloppy = [
  {},
  { ipAddress: null },
  { service: undefined },
  { statusCode: 2 ** 40 },
  { latencyMs: 'abc' },
  { statusCode: 'n/a' },
  { endpoint: { apiKey: SECRET } },
  { method: 'half \ud800' },
];
const call = {
  service: 's',
  endpoint: '/',
  method: 'GET',
  statusCode: 200,
  latencyMs: 1,
  requestSize: 0,
  responseSize: 0,
  apiKey: SECRET,
};
const change = {
  eventType: 'ConfigChangeEvent',
  component: 'c',
  oldValue: SECRET,
  newValue: `${SECRET}-2`,
  sensitive: true,
};

for (const [where, options] of [
  ['without a registry', {}],
  ['with a registry', { schemaRegistryUrl: served.registry }],
]) {
  test(`no secret leaves in clear ${where}, however it is given`, async (t) => {
    quiet(t);
    const topicPrefix = await platformTopics();
    const custom = name('secrets');
    await createTopics(custom);
    const [calls, changes] = ['audit-api-calls', 'config-changes'].map((topic) => topicPrefix + topic);
    const event = { eventType: 'AuditAPICallEvent', apiKey: SECRET };
    const counts = new Map();
    const count = (report) => counts.set(report.topic, (counts.get(report.topic) ?? 0) + 1);

    class Adding extends EventProducer {
      _createBaseEvent(eventType, fields) {
        return { ...super._createBaseEvent(eventType, fields), apiKey: SECRET, eventType: 'AuditAPICallEvent' };
      }
    }
    const producer = old(t, { ...options, topicPrefix });
    const adding = old(t, { ...options, topicPrefix }, Adding);
    for (const values of sloppy) {
      for (const one of [producer, adding]) {
        const sent = await one.produceAPICallEvent({ ...call, ...values }).catch((error) => {
          assert.equal(error.kind, 'InvalidEvent');
          assert.ok(!`${error.message} ${JSON.stringify(error)}`.includes(SECRET));
        });
        if (sent !== undefined) count(sent);
      }
    }
    for (const topic of [calls, custom]) {
      count(await producer.produceCustomEvent(topic, 'k', event));
      count(await producer.produceCustomEvent(topic, 'k', { list: [{ deep: event }] }));
      count(await producer._produce(topic, 'k', event));
      for (const value of [JSON.stringify(event), Buffer.from(JSON.stringify(event))]) {
        const messages = [{ key: 'k', value }, { value, headers: { a: 'b' } }];
        await producer.producer.send({ topic, messages });
        await producer.producer.sendBatch({ topicMessages: [{ topic, messages }] });
        for (let i = 0; i < 4; i++) count({ topic });
      }
    }
    count(await producer.produceCustomEvent(calls, 'k', { apiKey: SECRET }));
    count(await producer.produceCustomEvent(changes, 'k', change));
    count(await producer.produceCustomEvent(custom, 'k', change));
    const bytes = await allBytes(counts);
    assert.ok(!bytes.includes(SECRET), bytes);
    assert.ok(bytes.includes(hashed(SECRET)));
  });
}

test('a typed producer treats the secrets of its events and leaves raw bytes alone', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix });
  const topic = `${topicPrefix}audit-api-calls`;
  await producer.sendRaw(topic, { value: Buffer.from(JSON.stringify({ apiKey: SECRET })) });
  const [{ value }] = await readRaw(topic, 1);
  assert.equal(value.toString(), `{"apiKey":"${SECRET}"}`);
  assert.deepEqual(Object.values(tables.Topic), Object.values(tables.topics));
});
