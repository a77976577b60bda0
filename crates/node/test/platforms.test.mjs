// Runs the smoke test of the other platforms' addons on this platform.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

test('one pass needs the package alone', () => {
  const program = fileURLToPath(new URL('smoke.cjs', import.meta.url));
  const options = { encoding: 'utf8', timeout: 120_000 };
  const { status, stdout, stderr } = spawnSync(process.execPath, [program], options);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^passed: round trips on Node/);
});
