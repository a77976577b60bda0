// Starts real services, and runs the test files with them: all, or those whose names contain one of
// the arguments.

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { Services } from './services.mjs';

const wanted = process.argv.slice(2);
const files = readdirSync('.')
  .filter((file) => file.endsWith('.test.mjs'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));

const services = await Services.start('--tls', '--sasl');
const env = { ...process.env, CARBON_EVENTS_SERVED: JSON.stringify(services.addresses) };
for (const name of Object.keys(env)) {
  if (name.startsWith('KAFKA_') || name.startsWith('SERVICE_')) delete env[name];
}
const tests = spawn(
  process.execPath,
  ['--expose-gc', '--test', '--test-concurrency=1', '--test-timeout=600000', ...files],
  { stdio: 'inherit', env },
);
tests.on('exit', async (code) => {
  await services.stop();
  process.exitCode = code ?? 1;
});
