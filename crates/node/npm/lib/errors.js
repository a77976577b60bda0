'use strict';

const native = require('./native.js');

/** The base of all errors of this package. */
class EventError extends Error {
  constructor(message, { kind = 'Internal', context = {}, cause } = {}) {
    super(message, cause === undefined || cause === null ? undefined : { cause });
    this.kind = kind;
    this.retryable = retryable.has(kind);
    this.context = context;
  }

  get topic() {
    return this.context.topic;
  }

  get event() {
    return this.context.event;
  }

  get field() {
    return this.context.field;
  }

  get setting() {
    return this.context.setting;
  }
}

const retryable = new Set();
const classes = Object.create(null);

for (const { kind, retryable: again } of JSON.parse(native.errorKinds())) {
  if (again) retryable.add(kind);
  const name = `${kind}Error`;
  classes[kind] = {
    [name]: class extends EventError {
      constructor(message, options) {
        super(message, { ...options, kind });
      }
    },
  }[name];
  Object.defineProperty(classes[kind].prototype, 'name', { value: name, configurable: true });
}
Object.defineProperty(EventError.prototype, 'name', { value: 'EventError', configurable: true });

/** An error of the addon's: `{kind, message, context, cause}`. */
function fromParts({ kind, message, context, cause }) {
  const Class = classes[kind] ?? EventError;
  const because = typeof cause === 'string' ? new Error(cause) : undefined;
  return new Class(message, { context, cause: because });
}

/** Calls the addon; what it throws becomes an instance of its kind's class. */
function call(work) {
  try {
    return work();
  } catch (error) {
    let parts;
    try {
      parts = JSON.parse(error.message);
    } catch {
      throw error;
    }
    throw fromParts(parts);
  }
}

function invalidEvent(event, field, why, cause) {
  const context = field === undefined ? { event } : { event, field };
  const what = field === undefined ? event : `${event}.${field}`;
  return new classes.InvalidEvent(`${what} ${why}`, { context, cause });
}

module.exports = { EventError, classes, fromParts, call, invalidEvent };
