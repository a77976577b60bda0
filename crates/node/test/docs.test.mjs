// Runs the snippets of docs/node.md.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { createTopics, environment, root, served, tables } from './support.mjs';

const require = createRequire(import.meta.url);
const modules = join(dirname(require.resolve('@254carbon/event-producer/package.json')), '../..');
const folder = join(modules, '../snippets');
mkdirSync(folder, { recursive: true });

const page = readFileSync(join(root, 'docs/node.md'), 'utf8');
const snippets = [...page.matchAll(/^## (.*?)$|^```(\w+)\n([\s\S]*?)^```$/gm)].reduce(
  ({ found, section }, [, heading, language, code]) => {
    if (heading !== undefined) return { found, section: heading };
    return { found: [...found, { section, language, code }], section };
  },
  { found: [], section: '' },
).found;

test('each test that the page names is there', async () => {
  const rows = [...page.matchAll(/^\| .* \| `(\w+)`: (.+) \|$/gm)];
  assert.ok(rows.length > 20);
  for (const [, file, name] of rows) {
    const path = new URL(`${file}.test.mjs`, import.meta.url);
    assert.ok(existsSync(path), file);
    const code = readFileSync(path, 'utf8').replaceAll("\\'", "'");
    const how = /, replaced (in a subclass|on the prototype),/;
    // Some are created in a loop.
    const made = [name, name.replace(how, ', replaced ${how},'), name.replace(/^Node 16/, '${runtime}')];
    assert.ok(made.some((one) => code.includes(`'${one}'`) || code.includes(`\`${one}\``)), `${file}: ${name}`);
  }
});

/** Declarations that a snippet assumes. */
const given = {
  producer: "const producer = new TypedProducer({ sourceService: 'docs' });",
  requests: "const requests = [{ endpoint: '/a', latencyMs: 1 }, { endpoint: '/b', latencyMs: 2 }];",
  cause: "const cause = { eventId: '019a492c-6eb3-7bc3-9407-a13bdbb6e1e8', correlationId: null };",
  events:
    "const events = Array.from({ length: 100 }, () => ({ serviceName: 's', namespace: 'n', healthStatus: 'HEALTHY', latencyMs: 1, errorRate: 0 }));",
  caPem: "import { readFileSync } from 'node:fs'; const caPem = readFileSync(process.env.CA, 'utf8');",
  certificatePem: "const certificatePem = readFileSync(process.env.CERTIFICATE, 'utf8');",
  keyPem: "const keyPem = readFileSync(process.env.KEY, 'utf8');",
};

function program(code) {
  if (code.includes('require(')) {
    const request = "{ url: '/x', method: 'GET', headers: {} }";
    return `${code}\nhandle(${request}, { statusCode: 200 }).then(() => producer.disconnect());`;
  }
  const declares = (name) =>
    new RegExp(`\\bconst (\\{[^}]*)?\\b${name}\\b|import [^;]*\\b${name}\\b`).test(code);
  const uses = (name) => new RegExp(`\\b${name}\\b`).test(code) && !declares(name);
  const before = Object.keys(given).filter(uses).map((name) => given[name]);
  const imports = code.includes("from '@254carbon/event-producer'")
    ? ''
    : "import { TypedProducer, EventConsumer } from '@254carbon/event-producer';\n";
  const after = /\bproducer\b/.test(code) && !code.includes('producer.close') ? '\nawait producer.close();' : '';
  return `${imports}${before.join('\n')}\n${code}${code.includes('TestPlatform') ? '' : after}`;
}

test('the topics are there', async () => {
  await createTopics(...Object.values(tables.Topic));
});

const env = {
  ...process.env,
  ...environment,
  KAFKA_SCHEMA_REGISTRY_URL: served.registry,
  CA: served.ca,
  CERTIFICATE: served.certificate,
  KEY: served.key,
};

for (const [index, { section, language, code }] of snippets.entries()) {
  if (language !== 'js' && language !== 'ts') continue;
  test(`docs/node.md, ${section}: snippet ${index}`, () => {
    const typescript = language === 'ts';
    const extension = typescript ? 'mts' : code.includes('require(') ? 'cjs' : 'mjs';
    const file = join(folder, `snippet-${index}.${extension}`);
    // The page's key has no password.
    writeFileSync(file, typescript ? code : program(code.replace(", passphrase: 'secret'", '')));
    if (typescript) {
      const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--types', 'node'];
      const result = spawnSync(join(modules, '.bin/tsc'), [...options, file], { encoding: 'utf8' });
      assert.equal(result.status, 0, result.stdout);
      return;
    }
    execFileSync(process.execPath, [file], { env, timeout: 60_000, stdio: 'pipe' });
  });
}
