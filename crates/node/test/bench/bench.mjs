// Side by side with kafkajs and @platformatic/kafka on a real broker: `node bench.mjs [ROUNDS] [CASE …]`.
// The cases take turns, each round in processes of their own; medians are printed, and then how long
// ours hold the event loop (`turns.mjs`).

import { execFileSync } from 'node:child_process';
import kafkajs from 'kafkajs';
import { Services } from '../services.mjs';

const [rounds = '3', ...wanted] = process.argv.slice(2);

/** How many events a case takes in a round: a second or a few. */
function size(name) {
  if (name.startsWith('await')) return 3_000;
  if (name.startsWith('1,000') && name.includes('kafkajs')) return 20_000;
  if (/kafkajs|platformatic/.test(name)) return 200_000;
  return name.startsWith('1,000') ? 300_000 : 1_000_000;
}

const services = await Services.start('--steady');
const { plain } = services.addresses;
const topic = 'bench.audit-api-calls';
await services.order(`create-topic ${topic} 12 compression.type=lz4`);
// kafkajs does not support LZ4.
await services.order(`create-topic ${topic}-json 12`);
const env = { ...process.env, CARBON_EVENTS_SERVED: JSON.stringify(services.addresses) };
const node = (...words) =>
  JSON.parse(execFileSync(process.execPath, [...words, topic], { env, encoding: 'utf8', maxBuffer: 1 << 28 }));
const run = (...words) => node('cases.mjs', ...words);

const all = run('--list', '0').filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));

if (all.some((name) => name.startsWith('consume'))) {
  const kafka = new kafkajs.Kafka({ brokers: plain.split(','), logLevel: 0 });
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  const event = JSON.stringify({
    eventId: '019a492c-6eb3-7bc3-9407-000000000000', eventType: 'AuditAPICallEvent', timestamp: 1762164240051,
    source: 'bench', version: '1.0.0', correlationId: null, causationId: null, service: 'service-1',
    endpoint: '/v1/prices/gas/ttf', method: 'GET', statusCode: 200, latencyMs: 12, requestSizeBytes: 0,
    responseSizeBytes: 18432, userId: 'u-20417', apiKey: null, ipAddress: '198.51.100.7', errorMessage: null,
  });
  for (let sent = 0; sent < 300_000; sent += 2_000) {
    const messages = Array.from({ length: 2_000 }, (_, i) => ({ key: `service-${i}`, value: event }));
    await producer.send({ topic: `${topic}-json`, messages });
  }
  await producer.disconnect();
  run('sendMany', '1200000');
}

const results = new Map(all.map((name) => [name, []]));
for (let round = 0; round < Number(rounds); round++) {
  for (const name of all) {
    try {
      results.get(name).push(run(name, String(size(name))));
    } catch (error) {
      process.stderr.write(`${name}: ${error.message.split('\n')[0]}\n`);
    }
    process.stderr.write('.');
  }
}
process.stderr.write('\n');
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
console.log('| case | events/s | CPU s a million |\n|---|---|---|');
for (const [name, runs] of results) {
  if (runs.length === 0) continue;
  const rate = median(runs.map(({ count, seconds }) => count / seconds));
  const cpu = median(runs.map(({ count, cpu }) => (cpu * 1e6) / count));
  console.log(`| ${name} | ${Math.round(rate).toLocaleString('en')} | ${cpu.toFixed(2)} |`);
}

console.log('\n| event loop, ms | what | times | p50 | p99 | max |\n|---|---|---|---|---|---|');
const ours = /^(?:1,000 in flight|burst|enqueue|sendMany)/;
for (const name of all.filter((name) => ours.test(name) && !/kafkajs|platformatic/.test(name))) {
  const { turns } = node('--import', './turns.mjs', 'cases.mjs', name, String(size(name)));
  for (const [what, took] of Object.entries(turns)) {
    if (took.length === 0) continue;
    took.sort((a, b) => a - b);
    const at = (part) => took[Math.min(took.length - 1, Math.floor(took.length * part))].toFixed(3);
    console.log(`| ${name} | ${what} | ${took.length} | ${at(0.5)} | ${at(0.99)} | ${at(1)} |`);
  }
}
await services.stop();
