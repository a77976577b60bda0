// Shared helpers of the tests.

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventConsumer, EventProducer, TypedProducer } from '@254carbon/event-producer';
import kafkajs from 'kafkajs';

/** Addresses of the real services. */
export const served = JSON.parse(process.env.CARBON_EVENTS_SERVED);
export const root = process.env.CARBON_EVENTS_ROOT;

const require = createRequire(import.meta.url);
/** The generated tables of the package. */
export const tables = require(
  join(require.resolve('@254carbon/event-producer'), '../lib/events/index.js'),
);

export const client = new kafkajs.Kafka({
  clientId: 'tests',
  brokers: served.plain.split(','),
  logLevel: kafkajs.logLevel.NOTHING,
});

/** kafkajs, which reads the records here, does not support LZ4. */
export const plain = {
  bootstrapServers: served.plain,
  securityProtocol: 'PLAINTEXT',
  compression: 'none',
};
export const withRegistry = { ...plain, schemaRegistryUrl: served.registry };

/** The same options for consumers, without the compression. */
export const reading = {
  bootstrapServers: served.plain,
  securityProtocol: 'PLAINTEXT',
  schemaRegistryUrl: served.registry,
};

/** Runs `work` with these environment variables. */
export async function withEnvironment(variables, work) {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]));
  Object.assign(process.env, variables);
  try {
    return await work();
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

export const environment = {
  KAFKA_BOOTSTRAP_SERVERS: served.plain,
  KAFKA_SECURITY_PROTOCOL: 'PLAINTEXT',
};

let unique = 0;
/** A unique name. */
export function name(what = 'test') {
  return `${what}-${process.pid}-${Date.now().toString(36)}-${unique++}`;
}

/** Runs `work` with an admin client, and closes it: it would keep the process alive. */
async function withAdmin(work) {
  const admin = client.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Creates topics with three partitions each. */
export function createTopics(...topics) {
  return withAdmin(async (admin) => {
    await admin.createTopics({
      waitForLeaders: false,
      topics: topics.map((topic) => ({ topic, numPartitions: 3, replicationFactor: 1 })),
    });
    const known = () => admin.fetchTopicMetadata({ topics }).then(() => true, () => false);
    await until('the topics', known);
  });
}

/** The twelve topics and `market-data` under a prefix of their own. */
export async function platformTopics() {
  const prefix = `${name('p')}.`;
  await createTopics(...Object.values(tables.Topic).map((topic) => prefix + topic));
  return prefix;
}

/** All records of a topic, read by kafkajs: values and headers as Buffers. */
export async function readRaw(topic, count) {
  const consumer = client.consumer({ groupId: name('raw'), maxWaitTimeInMs: 50 });
  const found = [];
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message, partition }) => {
        found.push({ ...message, partition });
      },
    });
    await until(`${count} records on ${topic}`, () => found.length >= count);
  } finally {
    await consumer.disconnect();
  }
  return found;
}

/** The number of records in a topic. */
export function countRecords(topic) {
  return withAdmin(async (admin) => {
    let offsets;
    // A topic that was just created may have no leader yet.
    await until(`the offsets of ${topic}`, async () => {
      offsets = await admin.fetchTopicOffsets(topic).catch(() => undefined);
      return offsets !== undefined;
    });
    return offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
  });
}

/** All records of these topics, read by our consumer. */
export async function readAll(topics, options = {}) {
  const consumer = new EventConsumer({
    ...reading,
    topics,
    standalone: true,
    detectEnd: true,
    ...options,
  });
  const found = [];
  for (let batch; (batch = await consumer.nextBatch()) !== null; ) found.push(...batch);
  await consumer.close();
  return found;
}

/** Waits for a condition. */
export async function until(what, condition, timeoutMs = 30_000) {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what} did not come in ${timeoutMs} ms`);
    await sleep(20);
  }
}

/** Closes clients, last first. */
export function closing(t) {
  return (client) => {
    t.after(() => client.close({ timeoutMs: 5_000 }).catch(() => {}));
    return client;
  };
}

export function typed(t, options) {
  return closing(t)(new TypedProducer({ ...withRegistry, ...options }));
}

export function old(t, options, Class = EventProducer) {
  return closing(t)(new Class({ ...plain, ...options }));
}

const schemas = join(root, 'schemas');
const json = (...path) => JSON.parse(readFileSync(join(schemas, ...path), 'utf8'));

function files(...path) {
  return readdirSync(join(schemas, ...path)).sort();
}

/** Integers beyond what a number holds are read as bigints. */
function parseBig(text) {
  const marked = text.replace(/(?<=[:\s])(-?\d{16,})(?=\s*[,}\]\n])/g, '"bigint:$1"');
  return JSON.parse(marked, (_, value) => {
    if (typeof value !== 'string' || !value.startsWith('bigint:')) return value;
    const big = BigInt(value.slice(7));
    return Number.isSafeInteger(Number(big)) && BigInt(Number(big)) === big ? Number(big) : big;
  });
}

function fileBig(...path) {
  return parseBig(readFileSync(join(schemas, ...path), 'utf8'));
}

/** Every valid example: its input, its JSON, and its Avro body. */
export function* examples() {
  for (const record of tables.names) {
    for (const file of files('examples', record, 'valid')) {
      const example = file.replace('.json', '');
      const event = fileBig('examples', record, 'valid', file);
      const golden = files('golden', record);
      const written = golden.includes(file) ? fileBig('golden', record, file) : event;
      const body = readFileSync(join(schemas, 'golden', record, `${example}.avro`));
      yield { record, topic: tables.topics[record], example, event, written, body };
    }
  }
}

/** Every invalid example with its error. */
export function* invalidExamples() {
  for (const record of tables.names) {
    for (const file of files('examples', record, 'invalid')) {
      const { event, error } = fileBig('examples', record, 'invalid', file);
      yield { record, example: file.replace('.json', ''), event, error };
    }
  }
}

/** The record's typical example. */
export function typical(record) {
  return json('examples', record, 'valid', 'typical.json');
}

/** The CRC-64-AVRO fingerprints of the records. */
export function fingerprints() {
  return json('golden', 'fingerprints.json');
}

export function avsc(record) {
  return json(`${record}.avsc`);
}

export { sleep };
