'use strict';

// Events cross to the addon and back as numbers in one Float64Array (cells) and all texts in one
// string. `crates/node/src/cells.rs` and `chunk.rs` document the layout. The code for the fields of each
// record is generated in `events/`.

/** The first cells of an event: kind, number of cells, length of its texts, options. */
const HEAD = 4;

const KEY = 1;
const NO_KEY = 2;
const PARTITION = 4;
const HEADERS = 8;
const LENIENT = 16;
const KEEP_HASHES = 32;

/** Values other than strings, see `crates/node/src/flat.rs`. */
const NULL = -1;
const ABSENT = -2;
const TRUE = -3;
const FALSE = -4;
const WHOLE = -5;
const JSON_TEXT = -6;

/** Packs events for one call to the addon. */
class Packer {
  cells = new Float64Array(1 << 14);
  at = 0;
  text = '';
  count = 0;

  /** Reserves cells. Returns the array, which may be a new one. */
  room(cells) {
    if (this.at + cells > this.cells.length) {
      const larger = new Float64Array(Math.max(this.cells.length * 2, this.at + cells));
      larger.set(this.cells);
      this.cells = larger;
    }
    return this.cells;
  }

  /** Starts an event. `end` or `undo` must follow, with the returned position. */
  begin(kind, options, lenient) {
    const start = this.at;
    const cells = this.room(HEAD + 1);
    cells[start] = kind;
    cells[start + 2] = this.text.length;
    cells[start + 3] = lenient ? LENIENT : 0;
    this.at = start + HEAD;
    if (options !== undefined && options !== null) {
      try {
        this.#options(start, options);
      } catch (error) {
        this.undo(start);
        throw error;
      }
    }
    return start;
  }

  /** Marks the event's JSON as that of a read event: its hashes are not hashed again. */
  keepHashes(start) {
    this.cells[start + 3] += KEEP_HASHES;
  }

  end(start) {
    this.cells[start + 1] = this.at - start;
    this.cells[start + 2] = this.text.length - this.cells[start + 2];
    this.count++;
  }

  undo(start) {
    this.text = this.text.substring(0, this.cells[start + 2]);
    this.at = start;
  }

  #options(start, { key, partition, headers }) {
    let given = 0;
    if (key === null) {
      given |= NO_KEY;
    } else if (key !== undefined) {
      given |= KEY;
      this.bytes(key, 'key');
    }
    if (partition !== undefined && partition !== null) {
      if ((partition | 0) !== partition) throw new TypeError('partition must be an integer');
      given |= PARTITION;
      this.room(1)[this.at++] = partition;
    }
    if (headers !== undefined && headers !== null) {
      given |= HEADERS;
      const count = this.at;
      this.room(1)[this.at++] = 0;
      for (const name of Object.keys(headers)) {
        const values = headers[name];
        for (const value of Array.isArray(values) ? values : [values]) {
          this.string(name);
          this.bytes(value, `header ${name}`);
          this.cells[count]++;
        }
      }
    }
    this.cells[start + 3] += given;
  }

  string(text) {
    this.room(1)[this.at++] = text.length;
    this.text += text;
  }

  /** A string, bytes or null. */
  bytes(value, what) {
    if (typeof value === 'string') {
      this.string(value);
    } else if (value === null || value === undefined) {
      this.room(1)[this.at++] = -1;
    } else if (value instanceof Uint8Array) {
      const { buffer, byteOffset, byteLength } = value;
      this.room(1)[this.at++] = -2 - byteLength;
      this.text += Buffer.from(buffer, byteOffset, byteLength).latin1Slice();
    } else {
      throw new TypeError(`${what} must be a string, a Buffer or null`);
    }
  }

  /** The values of an object's members. Returns false if it needs JSON.stringify. */
  values(object) {
    const values = Object.values(object);
    for (let i = 0; i < values.length; i++) if (!this.value(values[i])) return false;
    return true;
  }

  /** A value as JSON.stringify writes it. Returns false if it needs JSON.stringify. */
  value(value) {
    const cells = this.room(2);
    switch (typeof value) {
      case 'string':
        cells[this.at++] = value.length;
        this.text += value;
        return true;
      case 'number':
        if (Number.isSafeInteger(value)) {
          cells[this.at++] = WHOLE;
          cells[this.at++] = value;
        } else if (Number.isFinite(value)) {
          this.#json(String(value));
        } else {
          cells[this.at++] = NULL;
        }
        return true;
      case 'boolean':
        cells[this.at++] = value ? TRUE : FALSE;
        return true;
      case 'object':
        if (value === null) {
          cells[this.at++] = NULL;
          return true;
        }
        // `toJSON` receives the member's name.
        if (typeof value.toJSON === 'function') return false;
        this.#json(JSON.stringify(value));
        return true;
      case 'bigint':
        return false;
      default:
        cells[this.at++] = ABSENT;
        return true;
    }
  }

  #json(text) {
    const cells = this.room(2);
    cells[this.at++] = JSON_TEXT;
    cells[this.at++] = text.length;
    this.text += text;
  }

  /** A map of strings. Returns false if it holds anything else. */
  map(map) {
    const count = this.at;
    this.room(1)[this.at++] = 0;
    let entries = 0;
    for (const [key, value] of map instanceof Map ? map : Object.entries(map)) {
      if (typeof value !== 'string' || typeof key !== 'string') return false;
      const cells = this.room(2);
      cells[this.at++] = key.length;
      cells[this.at++] = value.length;
      this.text += key + value;
      entries++;
    }
    this.cells[count] = entries;
    return true;
  }

  /** A list of strings. Returns false if it holds anything else. */
  strings(list) {
    const cells = this.room(list.length + 1);
    cells[this.at++] = list.length;
    for (let i = 0; i < list.length; i++) {
      const text = list[i];
      if (typeof text !== 'string') return false;
      cells[this.at++] = text.length;
      this.text += text;
    }
    return true;
  }

  /** A list; `pack` packs each item. */
  list(list, pack) {
    this.room(1)[this.at++] = list.length;
    for (let i = 0; i < list.length; i++) {
      if (!pack(this, list[i])) return false;
    }
    return true;
  }

  /** Empties it for the next call. */
  clear() {
    this.at = 0;
    this.text = '';
    this.count = 0;
  }
}

/** Reads the records of a chunk. */
class Unpacker {
  cells = new Float64Array(1 << 14);
  at = 0;
  text = '';
  read = 0;
  /** Whether longs are read as bigints. */
  bigint = false;
  /** The first field with an integer that a JavaScript number cannot hold. */
  unsafe = undefined;

  begin(text) {
    this.text = text;
    this.at = 0;
    this.read = 0;
  }

  /** A string, a Buffer or null. */
  bytes() {
    const length = this.cells[this.at++];
    if (length === -1) return null;
    if (length >= 0) return this.text.substring(this.read, (this.read += length));
    return this.#raw(-2 - length);
  }

  #raw(length) {
    const text = this.text.substring(this.read, (this.read += length));
    return Buffer.from(text, 'latin1');
  }

  string() {
    const length = this.cells[this.at++];
    return this.text.substring(this.read, (this.read += length));
  }

  /** A long that a number cannot hold. */
  wide(field, high, low) {
    const value = (BigInt(high) << 32n) | BigInt(low);
    if (this.bigint) return value;
    return this.far(field, high, low);
  }

  /** Like `wide`, for a field that is always a number. */
  far(field, high, low) {
    this.unsafe ??= field;
    return Number((BigInt(high) << 32n) | BigInt(low));
  }

  map() {
    const map = {};
    for (let entries = this.cells[this.at++]; entries > 0; entries--) {
      const key = this.string();
      const value = this.string();
      if (key === '__proto__') {
        const property = { value, writable: true, enumerable: true, configurable: true };
        Object.defineProperty(map, key, property);
      } else {
        map[key] = value;
      }
    }
    return map;
  }

  strings() {
    const list = new Array(this.cells[this.at++]);
    for (let i = 0; i < list.length; i++) list[i] = this.string();
    return list;
  }

  list(unpack) {
    const list = new Array(this.cells[this.at++]);
    for (let i = 0; i < list.length; i++) list[i] = unpack(this);
    return list;
  }
}

/** An enum's symbols by number, and their numbers by symbol. */
function symbols(names) {
  const numbers = Object.create(null);
  names.forEach((name, number) => (numbers[name] = number));
  return { names, numbers };
}

/** The number of an object's fields. */
function count(object) {
  let fields = 0;
  // eslint-disable-next-line no-unused-vars
  for (const _ in object) fields++;
  return fields;
}

/** Whether an object has no fields other than these. */
function only(object, names) {
  for (const name in object) if (!names.has(name)) return false;
  return true;
}

function isLong(value) {
  return Number.isSafeInteger(value) || typeof value === 'bigint';
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function isUuid(value) {
  return typeof value === 'string' && UUID.test(value);
}

/** Writes a long. Returns the next position, or -1 if it exceeds 64 bits. */
function long(cells, at, value) {
  if (typeof value === 'number') {
    cells[at] = value;
    return at + 1;
  }
  if (BigInt.asIntN(64, value) !== value) return -1;
  cells[at] = NaN;
  cells[at + 1] = Number(value >> 32n);
  cells[at + 2] = Number(value & 0xffffffffn);
  return at + 3;
}

module.exports = { Packer, Unpacker, symbols, count, only, isLong, isUuid, long };
