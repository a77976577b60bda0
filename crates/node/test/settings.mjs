// The settings of the core as TypeScript has them. `node settings.mjs` prints the file; a test fails
// when the package's is not it.

import { createRequire } from 'node:module';

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

function type({ kind, choices, name, group }) {
  switch (kind) {
    case 'boolean':
      return 'boolean';
    case 'integer':
    case 'milliseconds':
      return 'number';
    case 'list':
      return name === 'urls' ? 'string | readonly string[]' : 'readonly string[]';
    case 'map':
      return name === 'properties'
        ? 'Readonly<Record<string, string | number | boolean>>'
        : 'Readonly<Record<string, number>>';
    case 'choice':
      return choices.map((choice) => `'${choice}'`).join(' | ');
    default:
      return name === 'bootstrap_servers' && group === 'connection'
        ? 'string | readonly string[]'
        : 'string';
  }
}

function member(setting) {
  const notes = [];
  if (setting.env) notes.push(`Environment: \`${setting.env}\`.`);
  if (setting.default !== null && !setting.secret && setting.default !== '') {
    notes.push(`Default: \`${setting.default}\`.`);
  }
  const lines = [...setting.doc.split('\n'), ...(notes.length > 0 ? ['', notes.join(' ')] : [])];
  const doc = lines.map((line) => `   * ${line}`.trimEnd()).join('\n');
  return `  /**\n${doc}\n   */\n  ${camel(setting.name)}?: ${type(setting)} | undefined;\n`;
}

/** The text of `lib/settings.d.ts`. */
export function settingsTypes(table) {
  const members = (group) => table.filter((setting) => setting.group === group).map(member).join('');
  return `// Written by crates/node/test/settings.mjs from the settings of the core. Do not edit.

import type { TlsOptions } from './legacy.js';

/** How to reach the brokers and the registry, and who we are to them. */
export interface ConnectionSettings {
${members('connection')}}

/** The schema registry. */
export interface RegistrySettings {
${members('registry')}}

/** How records are gathered, bounded, written and given up. */
export interface ProducerSettings {
${members('producer')}}

/** What is read, by which group, from where and with how much memory. */
export interface ConsumerSettings {
${members('consumer')}}

/** What producers and consumers have in common. */
export interface ClientOptions extends ConnectionSettings {
  /** The registry's URL, or several. */
  schemaRegistryUrl?: string | readonly string[] | undefined;
  /** Everything else about the registry. */
  registry?: RegistrySettings | undefined;
  /** PEM texts, as Node's own \`tls.connect\` takes them; \`false\` is no TLS. */
  tls?: TlsOptions | boolean | null | undefined;
}
`;
}

if (process.argv[1] === import.meta.filename || process.argv[1]?.endsWith('/settings.mjs')) {
  const native = createRequire(import.meta.url)(process.env.CARBON_EVENTS_ADDON);
  process.stdout.write(settingsTypes(JSON.parse(native.settings())));
}
