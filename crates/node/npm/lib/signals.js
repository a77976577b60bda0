'use strict';

// AbortSignals. Early releases of Node 16 have no `reason`.

/** The error for an aborted signal. */
function reasonOf(signal) {
  if (signal.reason !== undefined) return signal.reason;
  const error = new Error('This operation was aborted');
  error.name = 'AbortError';
  error.code = 'ABORT_ERR';
  return error;
}

function throwIfAborted(signal) {
  if (signal !== undefined && signal !== null && signal.aborted) throw reasonOf(signal);
}

/** Returns resolve and reject of a promise that also rejects on abort; undefined if already aborted. */
function abortable(signal, resolve, reject) {
  if (signal.aborted) {
    reject(reasonOf(signal));
    return undefined;
  }
  const onAbort = () => reject(reasonOf(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  const wrap = (settle) => (value) => {
    signal.removeEventListener('abort', onAbort);
    settle(value);
  };
  return { resolve: wrap(resolve), reject: wrap(reject) };
}

module.exports = { abortable, throwIfAborted };
