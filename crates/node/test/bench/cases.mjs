// One case in a process of its own: `node cases.mjs CASE COUNT TOPIC` prints what it took as JSON.
// Every case sends (or reads) the same events, 18 fields and about 200 bytes of Avro each.

import { once } from 'node:events';
import kafkajs from 'kafkajs';
import { EventConsumer, EventProducer, TypedProducer } from '@254carbon/event-producer';

const [, , name, countText, topic] = process.argv;
const count = Number(countText);
const served = JSON.parse(process.env.CARBON_EVENTS_SERVED);

const SERVICES = Array.from({ length: 4096 }, (_, i) => `service-${i}`);

function call(i) {
  return {
    service: SERVICES[i & 4095],
    endpoint: '/v1/prices/gas/ttf',
    method: 'GET',
    statusCode: 200,
    latencyMs: i & 1023,
    requestSizeBytes: 0,
    responseSizeBytes: 18432,
    userId: 'u-20417',
    apiKey: null,
    ipAddress: '198.51.100.7',
    errorMessage: null,
  };
}

function oldCall(i) {
  const { requestSizeBytes: requestSize, responseSizeBytes: responseSize, ...rest } = call(i);
  return { ...rest, requestSize, responseSize };
}

let id = 0;
/** The events of the kafkajs-based package. */
function json(i) {
  const event = {
    eventId: `019a492c-6eb3-7bc3-9407-${String(id++).padStart(12, '0')}`,
    eventType: 'AuditAPICallEvent',
    timestamp: Date.now(),
    source: 'bench',
    version: '1.0.0',
    correlationId: null,
    causationId: null,
    ...call(i),
  };
  return { key: event.service, value: JSON.stringify(event) };
}

const options = {
  bootstrapServers: served.plain,
  securityProtocol: 'PLAINTEXT',
  schemaRegistryUrl: served.registry,
  sourceService: 'bench',
  topicPrefix: topic.slice(0, -'audit-api-calls'.length),
};

/** The events of a service without a registry. */
const JSON_MODE = { format: 'json' };

async function ours(work, Class = TypedProducer, more = {}) {
  const producer = new Class({ ...options, ...more });
  await producer.send('AuditAPICallEvent', call(0));
  return { work: () => work(producer), end: () => producer.close() };
}

async function theirs(work) {
  const kafka = new kafkajs.Kafka({ brokers: served.plain.split(','), logLevel: 0 });
  const producer = kafka.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    idempotent: false,
  });
  await producer.connect();
  await producer.send({ topic, acks: -1, messages: [json(0)] });
  return { work: () => work(producer), end: () => producer.disconnect() };
}

async function platformatic(work) {
  const { Producer, stringSerializers } = await import('@platformatic/kafka');
  const producer = new Producer({
    clientId: 'bench',
    bootstrapBrokers: served.plain.split(','),
    serializers: stringSerializers,
  });
  const send = (messages) =>
    producer.send({ messages: messages.map((message) => ({ topic, ...message })), acks: -1 });
  await send([json(0)]);
  return { work: () => work(send), end: () => producer.close() };
}

/** Sends with a fixed number of records in flight. */
async function inFlight(width, send) {
  let next = 0;
  const worker = async () => {
    while (next < count) await send(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

const read = (event) => {
  let sum = 0;
  for (const field of FIELDS) sum += event[field] === null ? 0 : 1;
  return sum;
};
const FIELDS = [
  'eventId', 'eventType', 'timestamp', 'source', 'version', 'correlationId', 'causationId', 'service',
  'endpoint', 'method', 'statusCode', 'latencyMs', 'requestSizeBytes', 'responseSizeBytes', 'userId',
  'apiKey', 'ipAddress', 'errorMessage',
];

const cases = {
  'await, one by one: old API': () =>
    ours((p) => inFlight(1, (i) => p.produceAPICallEvent(oldCall(i))), EventProducer),
  'await, one by one: old API, JSON': () =>
    ours((p) => inFlight(1, (i) => p.produceAPICallEvent(oldCall(i))), EventProducer, JSON_MODE),
  'await, one by one: kafkajs': () =>
    theirs((p) => inFlight(1, (i) => p.send({ topic, acks: -1, messages: [json(i)] }))),
  'await, one by one: @platformatic/kafka': () => platformatic((send) => inFlight(1, (i) => send([json(i)]))),
  '1,000 in flight: send': () =>
    ours((p) => inFlight(1_000, (i) => p.send('AuditAPICallEvent', call(i)))),
  '1,000 in flight: old API': () =>
    ours((p) => inFlight(1_000, (i) => p.produceAPICallEvent(oldCall(i))), EventProducer),
  '1,000 in flight: old API, JSON': () =>
    ours((p) => inFlight(1_000, (i) => p.produceAPICallEvent(oldCall(i))), EventProducer, JSON_MODE),
  '1,000 in flight: kafkajs': () =>
    theirs((p) => inFlight(1_000, (i) => p.send({ topic, acks: -1, messages: [json(i)] }))),
  'burst, a promise each: send': () =>
    ours(async (p) => {
      for (let i = 0; i < count; ) {
        const sends = [];
        for (let end = Math.min(count, i + 20_000); i < end; i++) sends.push(p.send('AuditAPICallEvent', call(i)));
        await Promise.all(sends);
      }
    }),
  'burst, a promise each, 200,000: send': () =>
    ours(async (p) => {
      for (let i = 0; i < count; ) {
        const sends = [];
        for (let end = Math.min(count, i + 200_000); i < end; i++) sends.push(p.send('AuditAPICallEvent', call(i)));
        await Promise.all(sends);
      }
    }),
  'enqueue': () =>
    ours(async (p) => {
      for (let i = 0; i < count; i++) {
        if (!p.enqueue('AuditAPICallEvent', call(i))) await p.ready();
      }
      await p.flush();
    }),
  'sendMany': () =>
    ours(async (p) => {
      for (let i = 0; i < count; ) {
        const events = [];
        for (let end = Math.min(count, i + 100_000); i < end; i++) events.push(call(i));
        await p.sendMany('AuditAPICallEvent', events);
      }
    }),
  'sendBatch of 1,000: kafkajs': () =>
    theirs(async (p) => {
      for (let i = 0; i < count; ) {
        const messages = [];
        for (let end = Math.min(count, i + 1_000); i < end; i++) messages.push(json(i));
        await p.sendBatch({ acks: -1, topicMessages: [{ topic, messages }] });
      }
    }),
  'send of 1,000: @platformatic/kafka': () =>
    platformatic(async (send) => {
      for (let i = 0; i < count; ) {
        const messages = [];
        for (let end = Math.min(count, i + 1_000); i < end; i++) messages.push(json(i));
        await send(messages);
      }
    }),
  'consume: eachBatch': async () => {
    const consumer = new EventConsumer({
      ...options, topicPrefix: undefined, topics: topic, groupId: `bench-${process.pid}-${Date.now()}`,
    });
    let seen = 0;
    let fields = 0;
    const work = async () => {
      while (seen < count) {
        for (const { event } of await consumer.nextBatch()) {
          fields += read(event);
          seen++;
        }
      }
    };
    return { work, end: () => consumer.close(), fields: () => fields };
  },
  'consume: for await': async () => {
    const consumer = new EventConsumer({
      ...options, topicPrefix: undefined, topics: topic, groupId: `bench-${process.pid}-${Date.now()}`,
    });
    let seen = 0;
    let fields = 0;
    const work = async () => {
      for await (const { event } of consumer) {
        fields += read(event);
        if (++seen >= count) break;
      }
    };
    return { work, end: () => consumer.close(), fields: () => fields };
  },
  'consume: kafkajs eachBatch + JSON.parse': async () => {
    const kafka = new kafkajs.Kafka({ brokers: served.plain.split(','), logLevel: 0 });
    const consumer = kafka.consumer({ groupId: `bench-${process.pid}-${Date.now()}` });
    await consumer.connect();
    await consumer.subscribe({ topic: `${topic}-json`, fromBeginning: true });
    let seen = 0;
    let fields = 0;
    const work = () =>
      new Promise((resolve) => {
        consumer.run({
          eachBatch: async ({ batch }) => {
            for (const { value } of batch.messages) {
              fields += read(JSON.parse(value));
              if (++seen === count) resolve();
            }
          },
        });
      });
    return { work, end: () => consumer.disconnect(), fields: () => fields };
  },
  'consume: @platformatic/kafka + JSON.parse': async () => {
    const { Consumer } = await import('@platformatic/kafka');
    const consumer = new Consumer({
      clientId: 'bench',
      groupId: `bench-${process.pid}-${Date.now()}`,
      bootstrapBrokers: served.plain.split(','),
    });
    let seen = 0;
    let fields = 0;
    const work = async () => {
      const stream = await consumer.consume({ topics: [`${topic}-json`], mode: 'earliest', maxWaitTime: 10 });
      stream.on('data', ({ value }) => {
        fields += read(JSON.parse(value));
        if (++seen === count) stream.emit('enough');
      });
      await once(stream, 'enough');
      await stream.close();
    };
    return { work, end: () => consumer.close(true), fields: () => fields };
  },
};

if (name === '--list') {
  console.log(JSON.stringify(Object.keys(cases)));
} else {
  const { work, end, fields } = await cases[name]();
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  await work();
  const seconds = (performance.now() - startedAt) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  console.log(JSON.stringify({ count, seconds, cpu: (user + system) / 1e6, fields: fields?.(), turns: globalThis.turnsTook?.() }));
  await Promise.race([end(), new Promise((resolve) => setTimeout(resolve, 3_000))]);
  process.exit(0);
}
