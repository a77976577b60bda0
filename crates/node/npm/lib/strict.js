'use strict';

// Converts an event that the generated `pack` rejected to JSON. The core validates the JSON and names
// what is wrong. Values that JSON cannot represent are rejected here.

const { invalidEvent } = require('./errors.js');

const LONE_SURROGATE = /\p{Surrogate}/u;
/** A lone surrogate as JSON.stringify writes it. */
const ESCAPED_SURROGATE = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

const a = (kind) => (/^[aeiou]/.test(kind ?? '') ? `an ${kind}` : `a ${kind ?? 'value'}`);

function bigints(_, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}

function scalarJson(name, field, kind, value) {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) {
        throw invalidEvent(name, field, `must be ${a(kind)}, got ${value}`);
      }
      if (kind === 'long' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
        const why = `must be a safe integer or a bigint, got ${value}`;
        throw invalidEvent(name, field, why);
      }
      return String(value);
    case 'bigint':
      return value.toString();
    case 'string':
      if (LONE_SURROGATE.test(value)) {
        throw invalidEvent(name, field, 'must be valid Unicode, got a lone surrogate');
      }
      return JSON.stringify(value);
    case 'function':
    case 'symbol':
      throw invalidEvent(name, field, `must be ${a(kind)}, got a ${typeof value}`);
    default:
      return undefined;
  }
}

function fieldJson(name, field, kind, value) {
  const scalar = scalarJson(name, field, kind, value);
  if (scalar !== undefined) return scalar;
  if (field === 'timestamp' && value instanceof Date) return String(value.getTime());
  if (kind === 'map' && value instanceof Map) value = Object.fromEntries(value);
  let json;
  try {
    json = JSON.stringify(value, bigints);
  } catch (cause) {
    const cyclic = cause instanceof TypeError;
    throw invalidEvent(name, field, cyclic ? 'refers to itself' : 'cannot be read', cause);
  }
  if (json !== undefined && json[0] === '"') {
    throw invalidEvent(name, field, `must be ${a(kind)}, got an object`);
  }
  if (ESCAPED_SURROGATE.test(json)) {
    throw invalidEvent(name, field, 'must be valid Unicode, got a lone surrogate');
  }
  return json ?? 'null';
}

/** The event's JSON. Throws for a value that JSON would change. */
function strictJson(name, kinds, event) {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) {
    throw invalidEvent(name, undefined, 'must be an object with the fields of the event');
  }
  const members = [];
  for (const field of Object.keys(event)) {
    let value;
    try {
      value = event[field];
    } catch (cause) {
      throw invalidEvent(name, field, 'cannot be read: its getter threw', cause);
    }
    if (value === undefined) continue;
    members.push(`${JSON.stringify(field)}:${fieldJson(name, field, kinds[field], value)}`);
  }
  return `{${members.join(',')}}`;
}

module.exports = { strictJson };
