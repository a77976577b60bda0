// Workers, the end of the process, the event loop, and leaks.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { EventProducer, TypedProducer } from '@254carbon/event-producer';
import { countRecords, plain, platformTopics, sleep, typed, until } from './support.mjs';

const health = {
  serviceName: 'checkout',
  namespace: 'shop',
  healthStatus: 'HEALTHY',
  latencyMs: 3,
  errorRate: 0,
};

const prelude = (topicPrefix) => `
  const { TypedProducer, EventProducer } = require('@254carbon/event-producer');
  const health = ${JSON.stringify(health)};
  const options = ${JSON.stringify({ ...plain, topicPrefix })};
  const producer = new TypedProducer(options);
`;

/** Runs a program. Returns its exit code, signal and output. */
function run(code, { signal, file } = {}) {
  const child = spawn(process.execPath, file === undefined ? ['-e', code] : [file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      written += data;
      if (signal !== undefined && written.includes('ready')) child.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`it does not end: ${written}`));
    }, 30_000);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, written });
    });
  });
}

test('the process stays alive while records are in flight, and no longer', async () => {
  const topicPrefix = await platformTopics();
  const { code, written } = await run(`${prelude(topicPrefix)}
    for (let i = 0; i < 1000; i++) producer.send('ServiceHealthEvent', health);
    producer.enqueue('ServiceHealthEvent', health);
    console.log('sent');
  `);
  assert.deepEqual([code, written], [0, 'sent\n']);
  assert.equal(await countRecords(`${topicPrefix}system-health`), 1_001);
});

test('an idle producer and a closed one keep no process', async () => {
  const { code } = await run(`${prelude('')}
    const idle = new EventProducer(options);
    producer.close();
  `);
  assert.equal(code, 0);
});

test('process.exit delivers what was sent, in the same tick too', async () => {
  const topicPrefix = await platformTopics();
  for (const last of ['process.exit(3)', 'throw new Error("uncaught")']) {
    const { code } = await run(`${prelude(topicPrefix)}
      producer.send('ServiceHealthEvent', health).then(() => {
        for (let i = 0; i < 500; i++) producer.send('ServiceHealthEvent', health);
        setImmediate(() => { ${last} });
      });
    `);
    assert.notEqual(code, 0);
  }
  assert.equal(await countRecords(`${topicPrefix}system-health`), 1_002);
});

test('what cannot be delivered before the end is said', async () => {
  const { code, written } = await run(`
    const { TypedProducer } = require('@254carbon/event-producer');
    const producer = new TypedProducer({ bootstrapServers: '127.0.0.1:1', securityProtocol: 'PLAINTEXT' });
    for (let i = 0; i < 7; i++) producer.send('ServiceHealthEvent', ${JSON.stringify(health)});
    setTimeout(() => process.exit(0), 100);
  `);
  assert.equal(code, 0);
  assert.match(written, /7 records were not acknowledged/);
});

test('SIGTERM with a handler that closes delivers everything', async () => {
  const topicPrefix = await platformTopics();
  const { code } = await run(
    `${prelude(topicPrefix)}
    process.on('SIGTERM', () => producer.close().then(() => process.exit(0)));
    for (let i = 0; i < 2000; i++) producer.send('ServiceHealthEvent', health);
    setInterval(() => {}, 1000);
    setImmediate(() => console.log('ready'));
  `,
    { signal: 'SIGTERM' },
  );
  assert.equal(code, 0);
  assert.equal(await countRecords(`${topicPrefix}system-health`), 2_000);
});

test('SIGTERM without a handler ends the process', async () => {
  const topicPrefix = await platformTopics();
  const { signal } = await run(
    `${prelude(topicPrefix)}
    setInterval(() => producer.send('ServiceHealthEvent', health), 1);
    producer.send('ServiceHealthEvent', health).then(() => console.log('ready'));
  `,
    { signal: 'SIGTERM' },
  );
  assert.equal(signal, 'SIGTERM');
});

test('an exception in a callback is the caller\'s, and the producer goes on', async () => {
  const topicPrefix = await platformTopics();
  const { code, written } = await run(`${prelude(topicPrefix)}
    const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    process.on('unhandledRejection', (error) => seen.push(error.message));
    producer.send('ServiceHealthEvent', health).then(() => { throw new Error('one'); });
    producer.on('error', () => { throw new Error('two'); });
    producer.enqueue('ServiceHealthEvent', { ...health, message: String.fromCharCode(0xd800) });
    setTimeout(async () => {
      await producer.send('ServiceHealthEvent', health);
      // Node reports an unhandled rejection after all pending callbacks.
      while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
      console.log(seen.sort().join());
    }, 300);
  `);
  assert.deepEqual([code, written], [0, 'one,two\n']);
});

test('workers have producers of their own, and may be terminated with records in flight', async () => {
  const topicPrefix = await platformTopics();
  const code = `${prelude(topicPrefix)}
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      for (let i = 0; i < 50; i++) {
        await Promise.all(Array.from({ length: 20 }, () => producer.send('ServiceHealthEvent', health)));
      }
      parentPort.postMessage('sent');
      if (workerData.stays) setInterval(() => producer.send('ServiceHealthEvent', health), 0);
      else await producer.close();
    })();
  `;
  const workers = Array.from({ length: 4 }, (_, i) =>
    new Worker(code, { eval: true, workerData: { stays: i % 2 === 1 } }),
  );
  await Promise.all(
    workers.map(
      (worker, i) =>
        new Promise((resolve, reject) => {
          worker.on('error', reject);
          worker.on('message', () => {
            if (i % 2 === 1) setTimeout(() => worker.terminate(), 20);
          });
          worker.on('exit', resolve);
        }),
    ),
  );
  assert.ok((await countRecords(`${topicPrefix}system-health`)) >= 4_000);
});

test('a worker\'s environment is its own', async () => {
  const env = { ...process.env, KAFKA_BOOTSTRAP_SERVERS: plain.bootstrapServers, KAFKA_SECURITY_PROTOCOL: 'PLAINTEXT' };
  const code = `const { EventProducer } = require('@254carbon/event-producer');
    const producer = new EventProducer();
    producer.connect().then(() => producer.disconnect());`;
  const worker = new Worker(code, { eval: true, env });
  await new Promise((resolve, reject) => worker.on('error', reject).on('exit', resolve));
});

test('the processes of a cluster have producers of their own', async () => {
  const topicPrefix = await platformTopics();
  const file = join(dirname(fileURLToPath(import.meta.url)), `cluster-${process.pid}.cjs`);
  writeFileSync(
    file,
    `const cluster = require('node:cluster');
    ${prelude(topicPrefix)}
    if (cluster.isPrimary) {
      producer.send('ServiceHealthEvent', health).then(() => {
        for (let i = 0; i < 3; i++) cluster.fork();
      });
    } else {
      Promise.all(Array.from({ length: 500 }, () => producer.send('ServiceHealthEvent', health)))
        .then(() => process.exit(0));
    }`,
  );
  const { code } = await run('', { file });
  rmSync(file);
  assert.equal(code, 0);
  assert.equal(await countRecords(`${topicPrefix}system-health`), 1_501);
});

test('the event loop is not held up while 200,000 events are sent', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix, schemaRegistryUrl: undefined });
  await producer.send('ServiceHealthEvent', health);
  const events = Array.from({ length: 200_000 }, () => health);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await sleep(200);
  delay.reset();
  delay.enable();
  await producer.sendMany('ServiceHealthEvent', events);
  delay.disable();
  const ms = (ns) => (ns / 1e6).toFixed(2);
  t.diagnostic(`ms: p50 ${ms(delay.percentile(50))} p99 ${ms(delay.percentile(99))} max ${ms(delay.max)}`);
  // The sampler itself counts in whole milliseconds and shares two cores with the broker.
  assert.ok(delay.percentile(50) < 5e6);
});

const threads = () => readdirSync('/proc/self/task').length;
const descriptors = () => readdirSync('/proc/self/fd').length;
const residentMb = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

test('a thousand producers leave neither threads, descriptors nor memory', async (t) => {
  const topicPrefix = await platformTopics();
  const once = async () => {
    const producer = new EventProducer({ ...plain, topicPrefix });
    await producer.produceServiceHealthEvent(health);
    await producer.disconnect();
  };
  for (let i = 0; i < 100; i++) await once();
  globalThis.gc();
  const before = [threads(), descriptors(), residentMb()];
  for (let i = 0; i < 1_000; i++) await once();
  globalThis.gc();
  await until('threads to end', () => threads() <= before[0] + 1);
  const after = [threads(), descriptors(), residentMb()];
  t.diagnostic(`threads, descriptors, MB: ${before} -> ${after}`);
  assert.ok(after[1] <= before[1] + 3);
  assert.ok(after[2] < before[2] + 40);
});

test('a producer that was not closed is released by the garbage collector', async () => {
  const topicPrefix = await platformTopics();
  const before = threads();
  await (async () => {
    for (let i = 0; i < 5; i++) {
      const producer = new TypedProducer({ ...plain, topicPrefix });
      await producer.send('ServiceHealthEvent', health);
    }
  })();
  await until('threads to end', async () => {
    globalThis.gc();
    await sleep(50);
    return threads() <= before + 2;
  });
});

const require = createRequire(import.meta.url);
const { clients } = require(join(require.resolve('@254carbon/event-producer'), '../lib/mailbox.js'));

test('ten thousand producers that were never used, or used and not closed, leave no entry', async () => {
  const topicPrefix = await platformTopics();
  const before = clients.size;
  const unused = Array.from({ length: 10_000 }, () => new EventProducer({ ...plain, topicPrefix }));
  assert.equal(clients.size, before);
  assert.equal(unused.length, 10_000);
  await (async () => {
    for (let i = 0; i < 20; i++) {
      await new EventProducer({ ...plain, topicPrefix }).produceServiceHealthEvent(health);
    }
  })();
  await until('the entries to go', async () => {
    globalThis.gc();
    await sleep(20);
    return clients.size <= before;
  });
});

test('a producer that is closed and used again has one entry, and none in the end', async () => {
  const topicPrefix = await platformTopics();
  const before = clients.size;
  const producer = new EventProducer({ ...plain, topicPrefix });
  for (let i = 0; i < 3; i++) {
    await producer.produceServiceHealthEvent(health);
    assert.equal(clients.size, before + 1);
    await producer.disconnect();
    assert.equal(clients.size, before);
  }
});

test('a million sends leave no growth', async (t) => {
  const topicPrefix = await platformTopics();
  const producer = typed(t, { topicPrefix, schemaRegistryUrl: undefined });
  const send = async (count) => {
    for (let sent = 0; sent < count; sent += 10_000) {
      const sends = Array.from({ length: 10_000 }, () => producer.send('ServiceHealthEvent', health));
      await Promise.all(sends);
    }
  };
  const used = () => {
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    return [heapUsed / 1e6, external / 1e6, residentMb()];
  };
  await send(200_000);
  const before = used();
  await send(800_000);
  let after;
  // V8 frees pages with a delay; leaked ones stay.
  await until('memory to be where it was', async () => {
    await sleep(100);
    after = used();
    return [8, 8, 60].every((growth, of) => after[of] < before[of] + growth);
  }).catch((error) => assert.fail(`${error.message}: ${before} MB, then ${after}`));
  t.diagnostic(`heap, external, resident MB: ${before.map(Math.round)} -> ${after.map(Math.round)}`);
});
